"""Every kind of fault can be done, and the rail knows every behaviour that is asked of it."""

from __future__ import annotations

from pathlib import Path

from rails.sandbox.behaviours import BEHAVIOURS
from streams.faults.kinds import KINDS
from streams.faults.strikes import STRIKES


def test_each_kind_has_its_strike_and_each_strike_its_kind() -> None:
    assert set(STRIKES) == set(KINDS)


def test_the_sandbox_knows_what_is_to_befall() -> None:
    assert {kind.befalls for kind in KINDS.values() if kind.befalls} <= set(BEHAVIOURS)


def test_the_page_has_every_kind_with_its_sentence() -> None:
    page = (Path(__file__).parents[3] / "docs" / "faults.md").read_text(encoding="utf-8")
    for kind in KINDS.values():
        assert f"| `{kind.name}` | {kind.sentence}" in page
