"""Rules of verify for earnings that are held: as the journal has them, and listed for review."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from models.reviews import ACCOUNT, HELD
from models.shards import shard_of
from streams.wallets.evidence import Evidence


def held_apart(evidence: Evidence) -> Iterator[str]:
    """Earnings of which something else is held in Redis than in the journal, or on the account."""
    yield from evidence.violations(HELD)
    known = evidence.journal.fold.reviews.held
    for shard, state in evidence.steady():
        mine = {key for key in known if shard_of(key[0]) == shard}
        sums: Counter[tuple[str, str]] = Counter()
        for key in state.held.keys() | mine:
            found = state.held.get(key)
            if found != known.get(key):
                yield f"{key[1]} of {key[0]} is {found} in Redis, {known.get(key)} in the journal"
            elif found is None:
                yield f"{key[1]} of {key[0]} is listed, and nothing is known of it"
            if found is not None:
                sums[key[0], found.currency] += found.left
        for (account, currency), minor in state.balances.items():
            seller, _, name = account.rpartition("/")
            held = sums.pop((seller, currency), 0) if seller and name == ACCOUNT else minor
            if held != minor:
                yield f"{account} has {minor} {currency}, held of its earnings are {held}"
        for (seller, currency), minor in sums.items():
            yield f"{seller} has no {ACCOUNT} {currency}, of her earnings {minor} are"


def held_told(evidence: Evidence) -> str:
    """What the rule looks at."""
    return f"{len(evidence.journal.fold.reviews.held):,} earnings"


def labels_told(evidence: Evidence) -> str:
    """The labels that there are."""
    return f"{evidence.journal.fold.reviews.verdicts.total():,} labels"
