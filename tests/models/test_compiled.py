"""Compiled modules give what their sources give, bit for bit, and none runs that is out of date."""

from __future__ import annotations

import math
import os
import random
import shutil
import struct
import subprocess
import sys
from array import array
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from importlib import import_module
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import models
from models import compiled
from models.events import SaleCompleted, SaleReturned
from models.features import Profile, entities
from models.money import MINOR_MAX, is_currency
from models.policy import ExplorePolicy, FraudPolicy
from tests.models.test_features import DAY_MS, KEYS, START_MS, returned, sale

CURRENCIES = [
    code for code in ("EUR", "JPY", "BHD", "VND", "USD", "XOF", "CLF") if is_currency(code)
]
# In an order in which each finds those that it imports.
ORDER = (
    "units",
    "usual",
    "accounts",
    "uplines",
    "buying",
    "conduct",
    "spending",
    "labelled",
    "around",
    "selling",
    "usage",
    "features",
    "decisions",
    "logits",
)


@pytest.fixture(scope="module")
def _compiled() -> None:
    if compiled.form() != "compiled":
        reason = f"the form is {compiled.form()}; `make compiled` compiles"
        # As for servers: in CI a skip would hide every test.
        wanted = os.environ.get("CI") and os.environ.get("COMPILER") != "none"
        pytest.fail(reason) if wanted else pytest.skip(reason)


@contextmanager
def _in_place(modules: Mapping[str, ModuleType]) -> Iterator[None]:
    """With these modules of the package in place of those that are loaded."""
    before = {name: import_module(f"models.{name}") for name in ORDER}
    try:
        for name, module in modules.items():
            sys.modules[f"models.{name}"] = module
            setattr(models, name, module)
        yield
    finally:
        for name, module in before.items():
            sys.modules[f"models.{name}"] = module
            setattr(models, name, module)


@pytest.fixture(scope="module")
def source(_compiled: None) -> Mapping[str, Any]:
    """The modules in Python, each with the others in Python."""
    found: dict[str, Any] = {}
    for name in ORDER:
        with _in_place(found):
            path = Path(models.__path__[0]) / f"{name}.py"
            spec = spec_from_file_location(f"models.{name}", path)
            assert spec is not None
            assert spec.loader is not None
            module = module_from_spec(spec)
            with _in_place({**found, name: module}):
                spec.loader.exec_module(module)
            found[name] = module
    return found


def bits(row: list[float] | None) -> bytes | None:
    return None if row is None else struct.pack(f"<{len(row)}d", *row)


def test_all_are_compared() -> None:
    assert set(ORDER) == set(compiled.MODULES)


def test_both_forms_are_at_hand(source: Mapping[str, Any]) -> None:
    for name in ORDER:
        assert source[name].__file__.endswith(f"{name}.py")
        assert not str(import_module(f"models.{name}").__file__).endswith(".py")
    for module in ("buying", "spending"):
        assert source[module].usual is source["usual"]
    for module in ("accounts", "uplines"):
        assert getattr(source["around"], module) is source[module]
    for module in ("around", "conduct", "labelled", "selling", "spending", "units", "usage"):
        assert getattr(source["features"], module) is source[module]
    for module in ("buying", "spending"):
        assert getattr(source["usage"], module) is source[module]
    assert source["decisions"].FEATURES is source["features"].FEATURES


def spoilt(rng: random.Random, text: str) -> str:
    """A state that somebody tampered with: its text, or what is in it."""
    place = rng.randrange(len(text))
    texts = (
        text[:place],
        text + rng.choice(("A", "AAAA", "\n", "=")),
        text[:place] + rng.choice("é=- \x00😀") + text[place + 1 :],
        rng.choice(("rubbish", "====", "é" * len(text))),
        b64encode(rng.randbytes(len(text) // 4 * 3)).decode(),
    )
    try:
        raw = bytearray(b64decode(text, validate=True))
    except ValueError:
        return rng.choice(texts)  # it was tampered with before
    if len(raw) < 5 or rng.random() < 0.5:
        return rng.choice(texts)
    place = rng.randrange(len(raw) - 3)
    if rng.random() < 0.3:
        raw[place] ^= 1 << rng.randrange(8)
    else:
        figures = (float("nan"), float("inf"), -1.0, 3e38, 1e-40, 1e18)
        words = (b"\xff" * 4, b"\x00" * 4, b"\x00\x00\xff\xff")
        raw[place : place + 4] = rng.choice((struct.pack("<f", rng.choice(figures)), *words))
    return b64encode(raw).decode()


def happening(rng: random.Random, at_ms: int) -> SaleCompleted | SaleReturned:
    if rng.random() < 0.08:
        return returned(at_ms, rng.choice((1, rng.randrange(1, 90_000), MINOR_MAX)))
    country: list[str | None] = [None, "DE", "US"]
    return sale(
        at_ms,
        rng.choice((0, 1, 5_000, rng.randrange(90_000), MINOR_MAX)),
        seller=rng.choice(("anna", "bo", "cy", "di", "ed", "flo", "gus")),
        currency=rng.choice(CURRENCIES),
        card=rng.choice((None, "c1", "c2", "c3", f"c{rng.randrange(400)}")),
        device=rng.choice((None, "d1", "d2", "d3", f"d{rng.randrange(400)}")),
        customer=rng.choice((None, "k1", "k2", "anna", f"k{rng.randrange(400)}")),
        country=rng.choice(country),
    )


def named(names: list[str]) -> SaleCompleted:
    """A sale whose seller, card, device and customer have these names, which no decoder takes."""
    fields = ("seller_id", "instrument_ref", "device_ref", "customer_ref")
    return sale().model_copy(update=dict(zip(fields, names, strict=True)))


def profile_of(rng: random.Random, at_ms: int) -> Profile | None:
    if rng.random() < 0.2:
        return None
    times = (None, 0, at_ms - rng.randrange(90 * DAY_MS), at_ms + rng.randrange(DAY_MS))
    return Profile(
        rng.choice((None, "DE")),
        rng.choice(times),
        rng.choice(times),
        rng.random() < 0.1,
        rng.choice(((), ("b:1",), ("b:2", "b:3"))),
        rng.choice((None, "u:1", "u:2")),
    )


@pytest.mark.parametrize("seed", range(6))
def test_vectors_and_states_are_the_same(seed: int, source: Mapping[str, Any]) -> None:
    import models.features as fast

    slow, rng = source["features"], random.Random(seed)
    at_ms, states, sold = START_MS, dict[str, str | None](), 0
    for _ in range(2_500):
        at_ms += rng.choice((0, 1, 900, 60_000, 3_600_000, DAY_MS, 40 * DAY_MS))
        late = rng.choice((0, 0, 0, 5_000, 3 * DAY_MS))
        event, profile = happening(rng, at_ms - late), profile_of(rng, at_ms)
        for key in (*entities(event), *(profile.around if profile else ())):
            if (text := states.get(key)) and rng.random() < 0.02:
                states[key] = spoilt(rng, text)
        row, updates = fast.observe(states, event, profile)
        due, due_updates = slow.observe(states, event, profile)
        assert bits(row) == bits(due)
        assert list(updates.items()) == list(due_updates.items())
        states.update(updates)
        if isinstance(event, SaleCompleted) and row is not None and rng.random() < 0.3:
            fraud = rng.random() < 0.4
            told = fast.learn(states, event, row, fraud=fraud)
            assert told == slow.learn(states, event, due, fraud=fraud)
            states.update(told)
            sold += 1
    assert sold > 500


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=110)
    | st.binary(min_size=12, max_size=75).map(lambda raw: b64encode(raw).decode())
    | st.binary(min_size=75, max_size=75).map(lambda raw: "\x02" + b64encode(raw).decode()[1:])
    | st.binary(min_size=14, max_size=14).map(lambda raw: b64encode(b"\x01" + raw).decode())
    | st.binary(min_size=32, max_size=32).map(lambda raw: b64encode(b"\x01" + raw).decode())
)
def test_any_text_for_a_state_is_taken_alike(source: Mapping[str, Any], text: str) -> None:
    import models.features as fast

    profile = Profile(accounts=("b:1",), upline="u:1")
    states: dict[str, str | None] = dict.fromkeys((*KEYS, *profile.around), text)
    event = sale(card="c", device="d", customer="k")
    row, updates = fast.observe(states, event, profile)
    due, due_updates = source["features"].observe(states, event, profile)
    assert (bits(row), updates) == (bits(due), due_updates)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(max_size=80), min_size=4, max_size=4))
def test_any_names_are_marked_alike(source: Mapping[str, Any], names: list[str]) -> None:
    import models.features as fast

    event, profile = named(names), Profile(accounts=("b:1",))
    row, updates = fast.observe({}, event, profile)
    due, due_updates = source["features"].observe({}, event, profile)
    assert (bits(row), updates) == (bits(due), due_updates)


def test_a_name_that_is_no_text_is_refused_alike(source: Mapping[str, Any]) -> None:
    import models.features as fast

    for form in (fast, source["features"]):
        with pytest.raises(UnicodeEncodeError):
            form.observe({}, named(["anna", "\ud800", "d", "k"]), None)


@pytest.mark.parametrize("at_ms", [-1, 2**32 * 1000, 2**62])
def test_a_time_that_no_state_holds_is_refused_alike(source: Mapping[str, Any], at_ms: int) -> None:
    import models.features as fast

    for form in (fast, source["features"]):
        with pytest.raises(struct.error):
            form.observe({}, sale(card="c", device="d", customer="k"), None, at_ms=at_ms)


def test_what_is_read_of_labels_is_the_same(source: Mapping[str, Any]) -> None:
    import models.labelled as fast

    slow, rng = source["labelled"], random.Random(5)
    text = ""
    for _ in range(3_000):
        at = rng.randrange(1, 2**32)
        text = fast.labelled(text, at, fraud=rng.random() < 0.5)
        given_text = text if rng.random() < 0.7 else spoilt(rng, text)
        assert bits([*fast.known(given_text, at)]) == bits([*slow.known(given_text, at)])


def test_logits_are_the_same(source: Mapping[str, Any]) -> None:
    import models.logits as fast

    rng = random.Random(7)
    odd = (0.0, -0.0, 1e308, -1e308, 5e-324)
    for width, products in ((1, 0), (3, 4), (66, 120)):
        numbers = (
            array("d", [rng.gauss(0, 1) for _ in range(width)]),
            array("d", [rng.uniform(0.1, 3) for _ in range(width)]),
            array("q", [rng.randrange(width) for _ in range(products)]),
            array("q", [rng.randrange(width) for _ in range(products)]),
            array("d", [rng.gauss(0, 1) for _ in range(width + products)]),
        )
        rows = [
            [rng.choice(odd) if rng.random() < 0.1 else rng.gauss(0, 3) for _ in range(width)]
            for _ in range(200)
        ]
        found = fast.logits(rows, *numbers, 8.0, -4.5)
        assert bits(found) == bits(source["logits"].logits(rows, *numbers, 8.0, -4.5))
        probable = source["logits"].probabilities(found)
        assert bits(fast.probabilities(found)) == bits(probable)
        for row in rows[:50]:
            shares = fast.shares(row, *numbers, 8.0)
            assert bits(shares) == bits(source["logits"].shares(row, *numbers, 8.0))
    for wrong in ([math.nan], [math.inf], [1.0, 2.0], ["x"], []):
        one = (array("d", [0.0]), array("d", [1.0]), array("q"), array("q"), array("d", [1.0]))
        for form in (fast, source["logits"]):
            with pytest.raises((ValueError, TypeError)):
                form.logits([wrong], *one, 8.0, 0.0)
            with pytest.raises((ValueError, TypeError)):
                form.shares(wrong, *one, 8.0)


POLICIES = (
    FraudPolicy(hold_score=Decimal("0.9")),
    FraudPolicy(
        hold_score=Decimal("0.5"),
        unscored_cap={"EUR": 1_000},
        review_cost={"EUR": 500, "JPY": 700},
        wait_cost=3,
        partial_min=20,
        explore=ExplorePolicy(share=50, max={"EUR": 9_000}, day_max={"EUR": 10_000_000}),
    ),
)


@pytest.mark.parametrize("policy", POLICIES)
def test_decisions_are_the_same(source: Mapping[str, Any], policy: FraudPolicy) -> None:
    import models.decisions as fast

    slow, rng = source["decisions"], random.Random(11)
    found = set()
    for _ in range(4_000):
        score = rng.choice((None, float("nan"), 0.0, 1.0, 0.5, rng.random(), rng.random() / 50))
        amount = rng.choice((0, 1, rng.randrange(100_000), MINOR_MAX))
        drawn = rng.random()
        words = {
            "profile": rng.choice((None, Profile(), Profile(), Profile(suspended=True))),
            "explain": rng.choice((None, lambda: ["a word"])),
            "draw": rng.choice((None, lambda: drawn)),  # noqa: B023 - asked at once
        }
        currency = rng.choice(("EUR", "JPY", "BHD"))
        decision = fast.decide(score, amount, currency, policy, **words)
        due = slow.decide(score, amount, currency, policy, **words)
        assert repr(tuple(decision)) == repr(tuple(due))
        found.add(decision.tier.value)
        told: dict[str, Any] = {
            "event_id": "e", "seller_id": "s", "topic": "sales", "partition": 1, "offset": 2,
            "vector": [rng.random() for _ in fast.FEATURES], "model": "m", "at_ms": 3,
            "amount_minor": amount, "currency": currency, "policy": "p", "sale_id": "x",
        }  # fmt: skip
        record = decision.record(standing=fast.standing_of(words["profile"]), **told)
        assert record == due.record(standing=slow.standing_of(words["profile"]), **told)
        again = fast.read_record(record)
        assert repr(again.decision) == repr(slow.read_record(record).decision)
        rederived = fast.decide_again(again, score, policy, words["explain"])
        assert repr(tuple(rederived)) == repr(tuple(decision))
    assert found >= {"instant", "hold"}


def test_a_module_is_held_against_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    was = {name: compiled.digest_of(name) for name in compiled.MODULES}
    real = compiled.get_data

    def edit(file: str) -> None:
        def edited(package: str, name: str) -> bytes | None:
            return (real(package, name) or b"") + b"#" * (name == file)

        monkeypatch.setattr(compiled, "get_data", edited)

    for name, digest in was.items():
        compiled.check(f"models.{name}", digest)
    edit("features.py")
    with pytest.raises(ImportError, match=r"models/features\.py .* `make compiled`"):
        compiled.check("models.features", was["features"])
    compiled.check("models.spending", was["spending"])
    edit("packing.pxd")
    for name, digest in was.items():
        with pytest.raises(ImportError, match=f"models/{name}"):
            compiled.check(f"models.{name}", digest)


@pytest.mark.usefixtures("_compiled")
@pytest.mark.parametrize("module", compiled.MODULES)
def test_a_source_that_changed_is_told_at_once(tmp_path: Path, module: str) -> None:
    package = tmp_path / "models"
    shutil.copytree(models.__path__[0], package, ignore=shutil.ignore_patterns("__pycache__"))

    def imported() -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-B", "-c", f"import models.{module} as it; print(it.__file__)"]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert imported().stdout.startswith(f"{package}/{module}.")
    with (package / f"{module}.py").open("a") as file:
        file.write("# as somebody edits it\n")
    ended = imported()
    assert ended.returncode != 0
    assert ended.stderr.splitlines()[-1] == (
        f"ImportError: models/{module}.py or its types changed after it was compiled: "
        "`make compiled` compiles it again, `make uncompiled` goes without"
    )


def test_the_form_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    forms = {"python": (0, 0), "compiled": (1, 1), "mixed": (0, 1)}
    for form, kinds in forms.items():
        loaders = {
            f"models.{name}": SourceFileLoader("x", "x")
            if not kind
            else ExtensionFileLoader("x", "x")
            for name, kind in zip(("conduct", "features"), kinds, strict=True)
        }
        monkeypatch.setattr(compiled, "MODULES", ("conduct", "features"))
        monkeypatch.setattr(
            compiled, "find_spec", lambda name, of=loaders: spec_from_loader(name, of[name])
        )
        assert compiled.form() == form
