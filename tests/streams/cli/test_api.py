"""`payouts api` and `payouts api-key`, as they are called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streams.api.keys import KeyRing, Scope
from streams.cli import app

RUNNER = CliRunner()


def run(*words: str) -> tuple[int, str]:
    """A command's exit code and what it printed."""
    result = RUNNER.invoke(app, list(words))
    return result.exit_code, result.output.strip()


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of keys."""
    path = tmp_path / "keys.yaml"
    monkeypatch.setenv("PAYOUTS_API_KEYS", str(path))
    return path


def test_a_key_is_made_listed_and_revoked(keys: Path) -> None:
    code, token = run("api-key", "create", "till", "--scopes", "wallets.read, credit.spend")
    assert code == 0
    key = KeyRing(keys).find(f"Bearer {token}")
    assert key is not None
    assert (key.client, key.scopes) == ("till", (Scope.READ, Scope.SPEND))
    assert run("api-key", "list")[1].split() == [key.id, "till", "wallets.read,credit.spend"]
    assert run("api-key", "revoke", key.id)[0] == 0
    assert run("api-key", "list")[1] == ""
    assert "there is no key" in run("api-key", "revoke", key.id)[1]


def test_what_cannot_be_a_key_is_told(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, told = run("api-key", "create", "till", "--scopes", "everything")
    assert (code, "wallets.read" in told) == (2, True)
    assert run("api-key", "create", "Till 1", "--scopes", "wallets.read")[0] == 2
    assert not keys.exists()
    monkeypatch.delenv("PAYOUTS_API_KEYS")
    assert "PAYOUTS_API_KEYS is not set" in run("api")[1]
    assert "PAYOUTS_API_KEYS is not set" in run("api-key", "list")[1]


def test_the_document_is_printed() -> None:
    assert json.loads(run("api", "--openapi")[1])["openapi"] == "3.1.0"
