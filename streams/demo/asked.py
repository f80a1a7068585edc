"""What purchases, reinvestments and conversions must come to, computed from the messages alone.

Whether a till's request finds the money hangs on what was booked before it in other topics, so
which of them are refused cannot be told. What must follow from the others can:

    a purchase     is for what was asked, or less if that will do; captured and refunded is the sum
                   of what tills told; nothing is released of it while it is neither over nor ended
    reinvested     is what was asked for once, and of each earning at most the preference's share
    a conversion   is of the currencies and the amount that were asked for, and made if it was taken
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from models.ledger import Fold, Purchase
from models.plan import CommissionPlan
from models.quotes import Quote
from streams.demo.messages import Kind, Message
from streams.demo.oracle import earnings


@dataclass(slots=True)
class _Wanted:
    """A purchase as tills told it, of what was not refused."""

    currency: str = ""
    asked_minor: int = 0
    partial: bool = False
    captured_minor: int = 0
    refunded_minor: int = 0
    over: bool = False
    """Whether a till said that no more will be captured."""

    def explains(self, found: Purchase) -> bool:
        """Whether the ledger's purchase is this one."""
        least = 1 if self.partial else self.asked_minor
        rest = found.authorised - found.captured
        return (
            found.currency == self.currency
            and least <= found.authorised <= self.asked_minor
            and (found.captured, found.refunded) == (self.captured_minor, self.refunded_minor)
            and (found.released == rest if self.over else found.released in {0, rest})
        )


@dataclass(slots=True)
class _Facts:
    """What the stream says of wallets; keys begin with the seller."""

    purchases: dict[tuple[str, str], _Wanted] = field(default_factory=lambda: defaultdict(_Wanted))
    once: Counter[tuple[str, str]] = field(default_factory=Counter)
    whole: set[tuple[str, str]] = field(default_factory=set)
    """Wallets that reinvested all that was available, whatever that was."""
    percents: dict[tuple[str, str], int] = field(default_factory=dict)
    quotes: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    made: set[tuple[str, str]] = field(default_factory=set)


def purchases_apart(messages: Iterable[Message], fold: Fold) -> Iterator[str]:
    """Purchases of which the ledger says otherwise than the tills."""
    wanted = _read(messages, fold.booked).purchases
    for key in sorted(wanted.keys() | fold.purchases.keys()):
        found = fold.purchases.get(key)
        if found is None or key not in wanted or not wanted[key].explains(found):
            yield f"{key[1]} of {key[0]} is {found}, the tills told {wanted.get(key)}"


def reinvestments_apart(
    messages: Collection[Message], plan: CommissionPlan, fold: Fold
) -> Iterator[str]:
    """Wallets that reinvested something else than their sellers asked for."""
    facts = _read(messages, fold.booked)
    most = _standing_most(messages, plan, facts.percents)
    for key in sorted(facts.once.keys() | most.keys() | fold.reinvested.keys()):
        found, once = fold.reinvested.get(key, 0), facts.once[key]
        enough = found >= 0 if key in most else found >= once
        if not enough or (key not in facts.whole and found > once + most.get(key, 0)):
            share = f"at most {most[key]} by preference" if key in most else "no preference"
            yield f"{key[0]} reinvested {found} {key[1]}, asked for: {once} once, {share}"


def conversions_apart(messages: Iterable[Message], fold: Fold) -> Iterator[str]:
    """Quotes of which the ledger says otherwise than the sellers."""
    facts, found = _read(messages, fold.booked), fold.conversions.quotes
    for key in sorted(facts.quotes.keys() | facts.made | found.keys()):
        asked, quote = facts.quotes.get(key), found.get(key)
        if asked is None or quote is None or not _answers(quote, asked, key in facts.made):
            yield f"{key[1]} of {key[0]} is {quote}, asked for: {asked}"


def _answers(quote: Quote, asked: Mapping[str, Any], made: bool) -> bool:
    """Whether a quote is what was asked for, and used if its seller took it."""
    return (
        (quote.source, quote.target) == (asked["source_currency"], asked["target_currency"])
        and asked.get("source_minor", quote.sold) == quote.sold
        and asked.get("target_minor", quote.bought) == quote.bought
        and (quote.step == "converted") == made
    )


def _standing_most(
    messages: Iterable[Message], plan: CommissionPlan, percents: Mapping[tuple[str, str], int]
) -> dict[tuple[str, str], int]:
    """What preferences can have come to: returns, debt and what is kept liquid make it less."""
    most: dict[tuple[str, str], int] = defaultdict(int)
    for seller_id, currency, minor in earnings(messages, plan):
        percent = percents.get((seller_id, currency), 0)
        if percent:
            # Rounded, and perhaps in two parts: half to even may give each a unit.
            most[seller_id, currency] += minor * percent // 100 + 2
    return most


def _read(messages: Iterable[Message], booked: Collection[str]) -> _Facts:
    """What was told and had an effect; an event counts once."""
    facts = _Facts()
    seen: set[str] = set()
    for message in messages:
        if message.kind is Kind.BAD or message.topic not in {"sellers", "redemptions"}:
            continue
        event = json.loads(message.value)
        if event["id"] not in seen and event["id"] in booked:
            seen.add(event["id"])
            _note(facts, event)
    return facts


def _note(facts: _Facts, event: dict[str, Any]) -> None:
    kind, seller_id = event["type"], event["seller_id"]
    if kind == "seller.updated":
        for currency, terms in event.get("reinvest", {}).items():
            facts.percents[seller_id, currency] = terms["percent"]
    elif kind == "earnings.reinvested":
        facts.once[seller_id, event["currency"]] += event.get("amount_minor", 0)
        if "amount_minor" not in event:
            facts.whole.add((seller_id, event["currency"]))
    elif kind == "conversion.quoted":
        facts.quotes[seller_id, event["quote_id"]] = event
    elif kind == "conversion.made":
        facts.made.add((seller_id, event["quote_id"]))
    elif kind.startswith("purchase."):
        _purchase(facts.purchases[seller_id, event["authorisation_id"]], kind, event)
    else:
        raise ValueError(f"no rule says what comes of {kind}")


def _purchase(wanted: _Wanted, kind: str, event: dict[str, Any]) -> None:
    minor = event.get("amount_minor", 0)
    if kind == "purchase.authorised":
        wanted.currency, wanted.asked_minor = event["currency"], minor
        wanted.partial = event.get("partial", False)
    elif kind == "purchase.captured":
        wanted.captured_minor += minor
        wanted.over = wanted.over or event.get("final", False)
    elif kind == "purchase.refunded":
        wanted.refunded_minor += minor
    elif kind == "purchase.voided":
        wanted.over = True
    else:
        raise ValueError(f"no rule says what comes of {kind}")
