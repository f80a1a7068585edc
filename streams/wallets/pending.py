"""Rules of verify for earnings that are pending: as the journal has them, and with an end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from models.releases import ACCOUNT, PENDING
from models.shards import shard_of
from streams.wallets.evidence import Evidence

LATE_MAX_MS = 10 * 60_000
"""How long behind its time a release may be, in a system that runs."""


def pending_apart(evidence: Evidence) -> Iterator[str]:
    """Earnings that are pending otherwise in Redis than in the journal, or not on the account."""
    yield from evidence.violations(PENDING)
    known = evidence.journal.fold.releases.lots
    for shard, state in evidence.steady():
        mine = {key for key in known if shard_of(key[0]) == shard}
        held: Counter[tuple[str, str]] = Counter()
        sums: Counter[str] = Counter()
        for key in state.pending.keys() | mine:
            found = state.pending.get(key)
            if found != known.get(key):
                yield f"{key[1]} of {key[0]} is {found} in Redis, {known.get(key)} in the journal"
            if found is not None:
                held[key[0], found.currency] += found.left
                sums[found.currency] += found.left
        for (account, currency), minor in state.balances.items():
            seller, _, name = account.rpartition("/")
            lots = held.pop((seller, currency), 0) if seller and name == ACCOUNT else minor
            if lots != minor:
                yield f"{account} has {minor} {currency}, pending of its earnings are {lots}"
        for (seller, currency), minor in held.items():
            yield f"{seller} has no {ACCOUNT} {currency}, of her earnings {minor} are"
        for currency in sums.keys() | state.pending_sums.keys():
            if sums[currency] != state.pending_sums.get(currency, 0):
                told = state.pending_sums.get(currency, 0)
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


def pending_told(evidence: Evidence) -> str:
    """What these rules look at."""
    return f"{evidence.journal.fold.releases.held_back:,} earnings"
