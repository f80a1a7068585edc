"""The pages are true: what they link to and name is there, what is made is current."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
import typer

from models.events import PayoutReported
from models.payouts import (
    GIVES_BACK,
    IN_FLIGHT,
    PAID,
    REPORTED,
    RESOLVED_AS,
    TERMINAL,
    TRANSITIONS,
    PayoutState,
)
from streams.cli import app
from streams.settings import Settings, variable
from streams.worker import company_rules

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])

S = PayoutState

_OTHER_VARIABLES = {"PAYOUTS_SECRETS_DIR", "PAYOUTS_ENV_FILE", "PAYOUTS_TEST_REDIS_URL"}
"""Variables of ours that are no setting."""


def block(page: str, language: str) -> str:
    """The one code block of a language in a page under docs/."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(found)


def mover(state: PayoutState, after: PayoutState) -> str:
    """Who takes a payout from one state to another."""
    if state not in IN_FLIGHT | PAID or (state, after) == (S.RESERVED, S.CANCELLED):
        return "nobody yet"
    if state is S.RESERVED:
        return "host"
    if after is S.UNKNOWN:
        return "silence"
    movers = "answer" if after in GIVES_BACK else "answer, report"
    return f"{movers}, person" if state is S.UNKNOWN and after in RESOLVED_AS else movers


def state_diagram() -> str:
    """The payout states as a Mermaid diagram, from the table that the wallets go by."""
    lines = ["stateDiagram-v2", "    [*] --> requested"]
    for state, after in TRANSITIONS.items():
        # In the order of the states, so that the text does not change by itself.
        lines += [f"    {state} --> {a}: {mover(state, a)}" for a in TRANSITIONS if a in after]
        if state in TERMINAL:
            lines.append(f"    {state} --> [*]")
    return "\n".join(lines) + "\n"


def commands(group: typer.Typer, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command of the command line, as the words that call it."""
    for command in group.registered_commands:
        name = command.name or (command.callback.__name__ if command.callback else "")
        yield (*words, name)
    for part in group.registered_groups:
        yield from commands(part.typer_instance, (*words, part.name or ""))


def test_the_diagram_of_payout_states_is_current() -> None:
    assert block("money.md", "mermaid") == state_diagram(), f"put this there:\n{state_diagram()}"


@pytest.mark.parametrize("state", sorted(REPORTED))
def test_a_report_moves_what_the_diagram_says_it_does(state: PayoutState) -> None:
    report = PayoutReported(
        id="r1", version=1, occurred_at=datetime(2026, 11, 25, tzinfo=UTC), seller_id="anna",
        payout_id="00d2c4aa-9e7f-5a3b-8c1d-0f9e8d7c6b5a", rail="paypal", state=state,
    )  # fmt: skip
    operation = company_rules(Settings()).report(report)
    arrows = {mover(before, state) for before, after in TRANSITIONS.items() if state in after}
    if "answer" in arrows or "answer, report" in arrows:
        assert (operation["op"] == "transit") == ("answer, report" in arrows)


def test_the_picture_of_the_flow_is_one_file_of_its_own() -> None:
    tree = ElementTree.parse(ROOT / "docs" / "flow.svg")
    tags = {element.tag.rpartition("}")[2] for element in tree.iter()}
    assert "title" in tags
    assert not tags & {"script", "image", "foreignObject", "use"}
    assert "prefers-color-scheme: dark" in (ROOT / "docs" / "flow.svg").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)|src=\"([^\"]+)\"", page.read_text(encoding="utf-8"))
    for link in (one or other for one, other in links):
        if not link.startswith("https://"):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_commands_settings_and_targets_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    known = set(commands(app))
    groups = {words[0] for words in known if len(words) > 1}
    for first, second in re.findall(
        r"(?:^|`|/)payouts ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", text, re.M
    ):
        wanted = (first, second) if first in groups and second else (first,)
        assert wanted in known or (len(wanted) == 1 and first in groups), (
            f"payouts {first} {second}"
        )
    settings = {variable(name) for name in Settings.model_fields} | _OTHER_VARIABLES
    assert set(re.findall(r"\bPAYOUTS_[A-Z][A-Z_]*[A-Z]\b", text)) <= settings
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)) <= targets


def test_a_page_names_files_that_exist() -> None:
    for page in PAGES:
        for name in re.findall(
            r"`((?:docs|tests|models|rails|streams)/[A-Za-z0-9_./]+)`", page.read_text()
        ):
            assert (ROOT / name).exists(), f"{page.name} names {name}"
