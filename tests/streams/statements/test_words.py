"""Every kind of entry that the Redis functions can write has words for people."""

from __future__ import annotations

import re
import typing
from collections.abc import Sequence
from pathlib import Path

import pytest

from models import events
from models.ledger import MARKER, SELLER_ACCOUNTS, Entry, Posting
from models.movements import ALSO, WORDS, words_of
from models.payouts import PayoutState
from models.quotes import Quote
from streams.statements.sheet import ACCOUNT_WORDS
from streams.wallets import library

FOLDER = Path(library.__file__).parent / "functions"

_ENTRY = re.compile(r"new_entry\(\s*shard,\s*\w+,\s*(.+?),\s*(?:'XXX'|[\w.]+)\s*\)")

NOT_BOOKED = {"payout.reported"}
"""Events that no entry is named after: it moves a payout's state."""


def event_types() -> set[str]:
    """The types of all events that come in."""
    found: set[str] = set()
    for model in vars(events).values():
        if isinstance(model, type) and issubclass(model, events.Event):
            annotation = (
                model.model_fields["type"].annotation if "type" in model.model_fields else 0
            )
            found |= set(typing.get_args(annotation))
    return found


def kinds_of(expression: str) -> set[str]:
    """The kinds that an argument of `new_entry` can become."""
    if literal := re.fullmatch(r"'([\w.]+)'", expression):
        return {literal[1]}
    if either := re.fullmatch(r"op\.topic and ('[\w.]+') or ('[\w.]+')", expression):
        return kinds_of(either[1]) | kinds_of(either[2])
    if expression == "op.kind":
        return event_types() - NOT_BOOKED
    if expression == "'payout.' .. op.state":
        return {f"payout.{state}" for state in PayoutState}
    if expression == "op.kind .. '.outdated'":
        return {"seller.updated.outdated", "rate.quoted.outdated"}
    raise AssertionError(f"say here what kinds {expression} can become")


def written() -> dict[str, set[str]]:
    """The kinds that each Lua file writes."""
    found: dict[str, set[str]] = {}
    for file in sorted(FOLDER.glob("*.lua")):
        code = re.sub(r"--.*|function new_entry\(.*\)", "", file.read_text())
        calls = code.count("new_entry(")
        expressions = _ENTRY.findall(code)
        assert len(expressions) == calls, f"{file.name}: not every new_entry is understood"
        named = [f"'{kind}'" for kind in re.findall(r"entry\.kind = '([\w.]+)'", code)]
        found[file.name] = set().union(*map(kinds_of, [*expressions, *named]))
    return found


def test_what_the_functions_write_is_found() -> None:
    kinds = set().union(*written().values())
    assert {"sale.completed", "payout.settled", "earning.released", "event.refused"} <= kinds


def test_every_kind_has_words() -> None:
    lacking = {
        file: sorted(kinds - set(WORDS)) for file, kinds in written().items() if kinds - set(WORDS)
    }
    assert not lacking, f"give these words in models/movements.py: {lacking}"


def test_no_words_are_left_over() -> None:
    assert set(WORDS) == set().union(*written().values(), {MARKER})


def test_words_name_only_what_an_entry_can_fill_in() -> None:
    places = set(re.findall(r"\{\w+\}", " ".join([*WORDS.values(), *ALSO.values()])))
    assert places == {
        *("{volume}", "{amount}", "{rail}", "{campaigns}", "{reward}", "{fee}"),
        *("{reinvested}", "{exchange}", "{pending}", "{until}", "{reason}", "{verdict}"),
    }


def test_every_account_of_a_seller_has_words() -> None:
    assert set(SELLER_ACCOUNTS) <= set(ACCOUNT_WORDS)


def test_an_exchange_is_told_with_both_amounts() -> None:
    quote = Quote("q", "quoted", "EUR", "JPY", 1_000, 1_605, 16, 0, "r", 1, 1, 100, 0)
    entry = Entry(0, 1, "conversion.quoted", "id", "a", 0, (), quote=quote)
    assert words_of(entry) == "Set aside to be exchanged: 10.00 EUR for 1,605 JPY"


@pytest.mark.parametrize(
    ("action", "accounts", "words"),
    [
        ("granted", ("/spendback", "a/credit"), "store credit granted (spring)"),
        ("granted", ("/bonuses", "a/available"), "bonus granted (spring)"),
        ("unfired", ("a/available", "/bonuses"), "bonus taken back (spring)"),
        ("granted", ("/bonuses", "a/credit"), "store credit and bonus granted (spring)"),
    ],
)
def test_what_campaigns_reward_with_is_told(
    action: str, accounts: Sequence[str], words: str
) -> None:
    postings = tuple(Posting(each, "EUR", 0, 0) for each in accounts)
    credits = ((action, "lot", "spring", "p", "EUR", 1, 70),)
    entry = Entry(0, 1, "threshold.settled", "id", "a", 0, postings, credits=credits)
    assert words_of(entry) == f"{WORDS['threshold.settled']}; {words}"
