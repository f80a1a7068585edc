"""Movements: what entries on their way to the ledger say of money, for the metrics.

Looked at as bytes where they are sent, whoever booked them; so it has to be cheap.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from pydantic_core import from_json

from streams.engine import Outgoing
from streams.wallets.journal import LEDGER

CHECKS_PER_S = 50
"""Entries a second that are added up at most, so that it costs little whatever the load."""

_OF_A_PAYOUT = b',"kind":"payout.'
"""What entries of payouts say, within their head: others move nothing over a rail. To look through
whole entries, of some kilobytes, would cost more than all else that is counted."""
_HEAD_BYTES = 120
_OVER_A_RAIL = re.compile(rb'\["/clearing:([a-z0-9_]+)","([A-Z]{3,5})",(-?\d+),')
_POSTINGS = b',"postings":'
_BEHIND = b',"writes":'


def over_rails(messages: Iterable[Outgoing]) -> Counter[tuple[str, str, str]]:
    """What entries among messages moved over rails: by rail, currency and direction.

    ``paid`` is what left over the rail, ``came_back`` what it returned, in minor units.
    """
    amounts: Counter[tuple[str, str, str]] = Counter()
    for message in messages:
        value = message.value or b""
        if message.topic == LEDGER and value.find(_OF_A_PAYOUT, 0, _HEAD_BYTES) >= 0:
            for rail, currency, figure in _OVER_A_RAIL.findall(value):
                minor = int(figure)
                direction = "paid" if minor > 0 else "came_back"
                amounts[rail.decode(), currency.decode(), direction] += abs(minor)
    return amounts


class SpotCheck:
    """Adds up the postings of entries that are sent: every one, up to a number a second.

    Redis refuses an entry that does not sum to zero; this reads what it wrote.
    """

    def __init__(self, monotonic: Callable[[], float], *, per_s: int = CHECKS_PER_S) -> None:
        self._monotonic = monotonic
        self._per_s = per_s
        self._second = 0
        self._left = per_s

    def look(self, messages: Sequence[Outgoing]) -> tuple[int, Mapping[str, int]]:
        """How many entries were added up, and by how much they miss zero, by currency."""
        second = int(self._monotonic())
        if second != self._second:
            self._second, self._left = second, self._per_s
        if not self._left or not messages or messages[0].topic != LEDGER:
            return 0, {}
        some = messages[: self._left]
        self._left -= len(some)
        missing: Counter[str] = Counter()
        for message in some:
            for currency, minor in imbalance(message.value or b"").items():
                missing[currency] += abs(minor)
        return len(some), missing


def imbalance(entry: bytes) -> dict[str, int]:
    """By how much an entry's postings miss zero, by currency; empty if they do not."""
    begin = entry.find(_POSTINGS)
    end = entry.find(_BEHIND, begin)
    if begin < 0 or end < 0:
        return {}
    sums: Counter[str] = Counter()
    for _, currency, minor, _ in from_json(entry[begin + len(_POSTINGS) : end]):
        sums[currency] += minor
    return {currency: minor for currency, minor in sums.items() if minor}
