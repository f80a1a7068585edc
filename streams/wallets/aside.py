"""What sellers have set aside: rules of verify for held and pending earnings, purchases, quotes.

Each of their accounts is the sum of things that are listed; discounts are listed and on no account.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from models.ledger import PURCHASE
from models.quotes import QUOTE
from models.releases import ACCOUNT as PENDING_ACCOUNT
from models.releases import PENDING
from models.reviews import ACCOUNT as HELD_ACCOUNT
from models.reviews import HELD
from models.shards import shard_of
from streams.wallets.evidence import Evidence
from streams.wallets.shardstate import ShardState

T = TypeVar("T")

Key = tuple[str, str]
"""A seller, and the name of what is hers."""

LATE_MAX_MS = 10 * 60_000
"""How long behind its time a release may be, in a system that runs."""


def held_apart(evidence: Evidence) -> Iterator[str]:
    """Earnings of which something else is held in Redis than in the journal, or on the account."""
    yield from evidence.violations(HELD)
    yield from _apart(
        evidence,
        evidence.journal.fold.reviews.held,
        lambda state: state.held,
        lambda held: (held.currency, held.left),
        HELD_ACCOUNT,
        "of her earnings",
    )


def pending_apart(evidence: Evidence) -> Iterator[str]:
    """Earnings that are pending otherwise in Redis than in the journal, or not on the account."""
    yield from evidence.violations(PENDING)
    yield from _apart(
        evidence,
        evidence.journal.fold.releases.lots,
        lambda state: state.pending,
        lambda lot: (lot.currency, lot.left),
        PENDING_ACCOUNT,
        "of her earnings",
    )
    for shard, state in evidence.steady():
        sums: Counter[str] = Counter()
        for lot in state.pending.values():
            sums[lot.currency] += lot.left
        for currency in sums.keys() | state.pending_sums.keys():
            told = state.pending_sums.get(currency, 0)
            if sums[currency] != told:
                yield f"shard {shard}: {told} {currency} are pending, in lots {sums[currency]}"


def pending_forgotten(evidence: Evidence) -> Iterator[str]:
    """Pending earnings that nothing is going to release, or that nothing has released in time."""
    for _, state in evidence.steady():
        timers = dict(state.releasing)
        for (seller, name), lot in state.pending.items():
            due = timers.pop((seller, lot.currency, name), None)
            if due != lot.until_ms:
                yield f"{name} of {seller} is pending until {lot.until_ms}, its timer is {due}"
            elif evidence.now_ms - due > LATE_MAX_MS:
                late_s = (evidence.now_ms - due) // 1000
                yield f"{name} of {seller} was to be released {late_s} s ago"
        for seller, _, name in timers:
            yield f"{name} of {seller} has a timer and nothing is pending"


def purchases_apart(evidence: Evidence) -> Iterator[str]:
    """Purchases that stand otherwise in Redis than in the journal, and what is authorised for none.

    One of which nothing is left is forgotten after a while.
    """
    yield from evidence.violations(PURCHASE)
    yield from _apart(
        evidence,
        evidence.journal.fold.purchases,
        lambda state: state.purchases,
        lambda purchase: (purchase.currency, purchase.open),
        "authorised",
        "of purchases",
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
        evidence,
        evidence.journal.fold.conversions.quotes,
        lambda state: state.quotes,
        lambda quote: (quote.source, quote.sold if quote.step == "quoted" else 0),
        "quoted",
        "of quotes",
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


def count_held(evidence: Evidence) -> str:
    """What the rule of held earnings looks at."""
    return f"{len(evidence.journal.fold.reviews.held):,} earnings"


def count_pending(evidence: Evidence) -> str:
    """What the rules of pending earnings look at."""
    return f"{evidence.journal.fold.releases.held_back:,} earnings"


def count_purchases(evidence: Evidence) -> str:
    """What the rules of purchases look at."""
    return f"{len(evidence.journal.fold.purchases):,} purchases"


def count_quotes(evidence: Evidence) -> str:
    """What the rules of quotes look at."""
    return f"{len(evidence.journal.fold.conversions.quotes):,} quotes"


def count_discounts(evidence: Evidence) -> str:
    """What the rule of discounts looks at."""
    return f"{len(evidence.journal.fold.discounts):,} discounts"


def _apart(  # noqa: PLR0917 - what is compared
    evidence: Evidence,
    known: Mapping[Key, T],
    there: Callable[[ShardState], Mapping[Key, T | None]],
    aside: Callable[[T], tuple[str, int]],
    account: str,
    what: str,
) -> Iterator[str]:
    """What is set aside otherwise in Redis than in the journal, or on the account than for it.

    ``known``: of the journal. ``there``: of a shard in Redis, None for one that is listed only.
    ``aside``: currency and minor units that one sets aside on ``account``. What sets nothing aside
    may be forgotten in Redis.
    """
    of_shard: dict[int, set[Key]] = defaultdict(set)
    for key in known:
        of_shard[shard_of(key[0])].add(key)
    for shard, state in evidence.steady():
        found, sums = there(state), Counter[Key]()
        for key in found.keys() | of_shard[shard]:
            one, told = found.get(key), known.get(key)
            if one is not None:
                currency, minor = aside(one)
                sums[key[0], currency] += minor
            elif told is None:
                yield f"{key[1]} of {key[0]} is listed, and nothing is known of it"
            if one != told and (one is not None or (told is not None and aside(told)[1])):
                yield f"{key[1]} of {key[0]} is {one} in Redis, {told} in the journal"
        yield from _unlike(state.balances, sums, account, what)


def _unlike(
    balances: Mapping[tuple[str, str], int], sums: Counter[Key], account: str, what: str
) -> Iterator[str]:
    """Where what is on the account is not what is set aside. ``sums``: by seller and currency."""
    left = sums.copy()
    for (name, currency), minor in balances.items():
        seller, _, of = name.rpartition("/")
        if seller and of == account and left.pop((seller, currency), 0) != minor:
            yield f"{name} has {minor} {currency}, {what} {sums[seller, currency]}"
    for (seller, currency), minor in left.items():
        if minor:
            yield f"{seller} has no {account} {currency}, {what} {minor}"
