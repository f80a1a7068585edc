"""What sellers have set aside: rules of purchases, quotes and discounts, as `verify` asks them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from models.ledger import PURCHASE
from models.quotes import QUOTE
from models.shards import shard_of
from streams.wallets.evidence import Evidence


def purchases_apart(evidence: Evidence) -> Iterator[str]:
    """Purchases that stand otherwise in Redis than in the journal, and what is authorised for none.

    One of which nothing is left is forgotten after a while.
    """
    yield from evidence.violations(PURCHASE)
    known = evidence.journal.fold.purchases
    steady = dict(evidence.steady())
    for state in steady.values():
        held: Counter[tuple[str, str]] = Counter()
        for key, found in state.purchases.items():
            held[key[0], found.currency] += found.open
            if known.get(key) != found:
                yield f"{key[1]} of {key[0]} is {found} in Redis, {known.get(key)} in the journal"
        for (account, currency), minor in state.balances.items():
            seller, _, name = account.rpartition("/")
            if seller and name == "authorised" and held[seller, currency] != minor:
                yield f"{account} has {minor} {currency}, of purchases {held[seller, currency]}"
    for key, purchase in known.items():
        there = steady.get(shard_of(key[0]))
        if purchase.open and there is not None and key not in there.purchases:
            yield f"{key[1]} of {key[0]} is not in Redis, {purchase.open} are authorised"


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
    known = evidence.journal.fold.conversions.quotes
    steady = dict(evidence.steady())
    for state in steady.values():
        reserved: Counter[tuple[str, str]] = Counter()
        for key, found in state.quotes.items():
            reserved[key[0], found.source] += found.sold if found.step == "quoted" else 0
            if known.get(key) != found:
                yield f"{key[1]} of {key[0]} is {found} in Redis, {known.get(key)} in the journal"
        for (account, currency), minor in state.balances.items():
            seller, _, name = account.rpartition("/")
            if seller and name == "quoted" and reserved[seller, currency] != minor:
                yield f"{account} has {minor} {currency}, of quotes {reserved[seller, currency]}"
    for key, quote in known.items():
        there = steady.get(shard_of(key[0]))
        if quote.step == "quoted" and there is not None and key not in there.quotes:
            yield f"{key[1]} of {key[0]} is not in Redis, {quote.sold} are reserved"


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
