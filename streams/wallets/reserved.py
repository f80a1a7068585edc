"""What sellers have set aside: rules of purchases, quotes and discounts, as `verify` asks them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from models.ledger import PURCHASE
from models.quotes import QUOTE
from models.shards import shard_of
from streams.wallets.evidence import Evidence

T = TypeVar("T")

Key = tuple[str, str]
"""A seller, and the name of what is hers."""


def purchases_apart(evidence: Evidence) -> Iterator[str]:
    """Purchases that stand otherwise in Redis than in the journal, and what is authorised for none.

    One of which nothing is left is forgotten after a while.
    """
    yield from evidence.violations(PURCHASE)
    yield from _apart(
        evidence.journal.fold.purchases,
        [(shard, state.balances, state.purchases) for shard, state in evidence.steady()],
        "authorised",
        "purchases",
        lambda purchase: (purchase.currency, purchase.open),
    )


def purchases_forgotten(evidence: Evidence) -> Iterator[str]:
    """Authorisations that never end."""
    for _, state in evidence.steady():
        for key, purchase in state.purchases.items():
            if purchase.open and key not in state.ending:
                yield f"{key[1]} of {key[0]} has no time at which it ends"


def quotes_apart(evidence: Evidence) -> Iterator[str]:
    """Quotes used twice or otherwise than promised, and what is reserved for none.

    One that is over is forgotten after a while.
    """
    yield from evidence.violations(QUOTE)
    yield from _apart(
        evidence.journal.fold.conversions.quotes,
        [(shard, state.balances, state.quotes) for shard, state in evidence.steady()],
        "quoted",
        "quotes",
        lambda quote: (quote.source, quote.sold if quote.step == "quoted" else 0),
    )


def quotes_forgotten(evidence: Evidence) -> Iterator[str]:
    """Quotes that never end."""
    for _, state in evidence.steady():
        for key, quote in state.quotes.items():
            if quote.step == "quoted" and key not in state.quotes_ending:
                yield f"{key[1]} of {key[0]} has no time at which it ends"


def discounts_apart(evidence: Evidence) -> Iterator[str]:
    """Discounts that were used twice, or can be used in Redis and not by the journal."""
    yield from evidence.violations("a discount is used once")
    steps = evidence.journal.fold.discounts
    usable = {key for key, step in steps.items() if step in {"granted", "returned"}}
    for shard, state in evidence.steady():
        for key in state.discounts ^ {key for key in usable if shard_of(key[0]) == shard}:
            yield f"{key[1]} of {key[0]} is {steps.get(key)} in the journal"


def count_purchases(evidence: Evidence) -> str:
    """What the rules of purchases look at."""
    return f"{len(evidence.journal.fold.purchases):,} purchases"


def count_quotes(evidence: Evidence) -> str:
    """What the rules of quotes look at."""
    return f"{len(evidence.journal.fold.conversions.quotes):,} quotes"


def count_discounts(evidence: Evidence) -> str:
    """What the rule of discounts looks at."""
    return f"{len(evidence.journal.fold.discounts):,} discounts"


def _apart(
    known: Mapping[Key, T],
    shards: Sequence[tuple[int, Mapping[tuple[str, str], int], Mapping[Key, T]]],
    account: str,
    noun: str,
    aside: Callable[[T], tuple[str, int]],
) -> Iterator[str]:
    """What is set aside otherwise in Redis than in the journal, or is for nothing.

    ``known``: of the journal. ``shards``: number, balances, and what Redis has. ``aside``: currency
    and minor units that one sets aside on the account.
    """
    for _, balances, there in shards:
        held: Counter[Key] = Counter()
        for key, found in there.items():
            currency, minor = aside(found)
            held[key[0], currency] += minor
            if known.get(key) != found:
                yield f"{key[1]} of {key[0]} is {found} in Redis, {known.get(key)} in the journal"
        for (name, currency), minor in balances.items():
            seller, _, of = name.rpartition("/")
            if seller and of == account and held[seller, currency] != minor:
                yield f"{name} has {minor} {currency}, of {noun} {held[seller, currency]}"
    by_shard = {shard: there for shard, _, there in shards}
    for key, one in known.items():
        mine = by_shard.get(shard_of(key[0]))
        minor = aside(one)[1]
        if minor and mine is not None and key not in mine:
            yield f"{key[1]} of {key[0]} is not in Redis, {minor} are {account}"
