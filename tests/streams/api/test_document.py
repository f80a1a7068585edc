"""The document, the tables behind it, and the limits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.config import ConfigError
from models.refusals import Denied, Reason
from streams.api.document import codes_of, document
from streams.api.endpoints import ENDPOINTS, Counter
from streams.api.history import HISTORY, Histories
from streams.api.keys import KeyRing, Scope, make, read, write
from streams.api.limits import Limits
from streams.api.problems import TITLES
from streams.api.purchases import PURCHASES, Till
from streams.api.routes import ROUTES

ROOT = Path(__file__).parents[3]


def test_the_document_is_current() -> None:
    text = (ROOT / "docs" / "openapi.json").read_text(encoding="utf-8")
    assert text == document(), "run: payouts api --openapi > docs/openapi.json"


def test_every_code_has_a_status_and_is_answered_by_something() -> None:
    answered = {code for one in ROUTES for code in codes_of(one)}
    assert set(TITLES) == answered | {Denied.METHOD_NOT_ALLOWED}
    assert set(Denied) <= set(TITLES)
    # No code means two things.
    assert not {str(code) for code in Denied} & {str(code) for code in Reason}


def test_every_endpoint_is_done_by_something_and_needs_a_scope() -> None:
    for doer, table in ((Counter, ENDPOINTS), (Till, PURCHASES), (Histories, HISTORY)):
        assert all(callable(getattr(doer, one.name)) for one in table)
    assert len({one.name for one in ROUTES}) == len(ROUTES)
    assert {one.scope for one in ROUTES} == set(Scope)
    paths = json.loads(document())["paths"]
    for one in ROUTES:
        operation = paths[one.path][one.method.lower()]
        assert "security" not in operation
        assert {"401", "403", "429", "503"} <= operation["responses"].keys()


@pytest.mark.parametrize("page", ["api.md"])
def test_the_page_names_every_code_path_and_scope(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for code in TITLES:
        assert f"`{code}`" in text, code
    for one in ROUTES:
        assert f"`{one.method} {one.path}`" in text, one.name
    for scope in Scope:
        assert f"`{scope}`" in text, scope


def test_a_bucket_fills_with_time() -> None:
    now = [0.0]
    limits = Limits(10, 2, lambda: now[0])
    assert [limits.wait_s("a") for _ in range(3)] == [0, 0, pytest.approx(0.1)]
    assert limits.wait_s("b") == 0
    now[0] = 0.1
    assert [limits.wait_s("a") for _ in range(2)] == [0, pytest.approx(0.1)]
    now[0] = 100.0
    assert [limits.wait_s("a") > 0 for _ in range(3)] == [False, False, True]


class TestKeys:
    def test_the_file_has_no_secret_and_is_its_owners(self, tmp_path: Path) -> None:
        path = tmp_path / "keys.yaml"
        made = make("till", [Scope.READ, Scope.SPEND])
        write(path, [made.key])
        assert path.stat().st_mode & 0o777 == 0o600
        assert read(path) == (made.key,)
        assert made.token.rpartition("_")[2] not in path.read_text()
        assert not list(tmp_path.glob(".*"))

    def test_who_may_read_the_file_still_may_when_it_is_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "keys.yaml"
        write(path, [])
        path.chmod(0o644)
        write(path, [make("till", [Scope.READ]).key])
        assert path.stat().st_mode & 0o777 == 0o644

    def test_a_token_proves_its_key_and_nothing_else_does(self, tmp_path: Path) -> None:
        path = tmp_path / "keys.yaml"
        made, other = make("till", [Scope.READ]), make("shop", [Scope.READ])
        write(path, [made.key])
        ring = KeyRing(path)
        assert ring.find(f"Bearer {made.token}") == made.key
        assert ring.find(f"bearer {made.token}") == made.key
        _, id_, secret = made.token.split("_", 2)
        for wrong in ("", made.token, f"Basic {made.token}", f"Bearer {other.token}", "Bearer ",
                      f"Bearer pk_{other.key.id}_{secret}", f"Bearer pk_{id_}_{'A' * 43}",
                      f"Bearer pk_{id_}_{made.key.sha256[:43]}"):  # fmt: skip
            assert ring.find(wrong) is None
        assert not ring.refresh()
        write(path, [other.key])
        assert ring.refresh()
        assert ring.find(f"Bearer {made.token}") is None
        assert ring.find(f"Bearer {other.token}") == other.key

    def test_a_file_that_cannot_be_used_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "keys.yaml"
        with pytest.raises(FileNotFoundError):
            KeyRing(path)
        key = make("till", [Scope.READ]).key.model_dump(mode="json")
        for wrong in ({"keys": [{**key, "scopes": ["all"]}]}, {"keys": [key, key]}):
            path.write_text(json.dumps(wrong))
            with pytest.raises(ConfigError):
                KeyRing(path)
