"""Movements: what entries on their way to the ledger say of money, for the metrics.

Looked at as bytes where they are sent, whoever booked them; so it has to be cheap.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from pydantic_core import from_json

from streams.engine import Outgoing
from streams.wallets.journal import reinvested, settled

CHECKS_PER_S = 50
"""Entries a second that are added up at most, so that it costs little whatever the load."""

_KIND = b',"kind":"'
_KIND_WITHIN = 120
"""Within so many bytes an entry says its kind."""

_OF_A_PAYOUT = _KIND + b"payout."
"""What entries of payouts say: others move nothing over a rail."""

_OF_A_LABEL = tuple(
    _KIND + kind + b'"'
    for kind in (
        *(b"earning.cleared", b"earning.forfeited"),
        *(b"fraud.labelled", b"commission.labelled"),
    )
)

_SOME_LOTS = b',"lots":['
"""What entries say that move credit, in front of their postings."""
_LOTS_THAT_COUNT = (b'["reinvested.', b'"spent","')
_LOTS_WITHIN = 640
"""Longer than what may stand in front of it, in bytes. To look through whole entries, of some
kilobytes each, would cost more than all else that is counted."""
_OVER_A_RAIL = re.compile(rb'\["/clearing:([a-z0-9_]+)","([A-Z]{3,5})",(-?\d+),')
_POSTINGS = b',"postings":'
_BEHIND = b',"writes":'


class Moved(NamedTuple):
    """What some entries moved, in minor units."""

    booked: Counter[tuple[str, str]]
    """By (currency, direction)."""
    settled: Counter[tuple[str, str]]
    """Spent credit of undone grants, by (currency, outcome)."""
    over_rails: Counter[tuple[str, str, str]]
    """By (rail, currency, direction)."""
    verdicts: Counter[str]
    """Labels of sales, by verdict."""
    of_labels: Counter[tuple[str, str]]
    """What labels found, by (currency, outcome): see :meth:`streams.metrics.Metrics.labelled`."""


def moved(entries: Iterable[Outgoing]) -> Moved:
    """What messages of the ledger say was moved; looked at whole only where they may say so."""
    with_lots, of_payouts, of_labels = [], [], []
    for entry in entries:
        value = entry.value or b""
        at = value.find(_SOME_LOTS, 0, _LOTS_WITHIN)
        if at >= 0:
            end = value.find(_POSTINGS, at)
            if any(value.find(word, at, end) >= 0 for word in _LOTS_THAT_COUNT):
                with_lots.append(entry)
        at = value.find(_KIND, 0, _KIND_WITHIN)
        if value.startswith(_OF_A_PAYOUT, at):
            of_payouts.append(value)
        elif value.startswith(_OF_A_LABEL, at):
            of_labels.append(value)
    verdicts, found = labels(of_labels)
    return Moved(reinvested(with_lots), settled(with_lots), over_rails(of_payouts), verdicts, found)


def labels(entries: Iterable[bytes]) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """What entries of labels tell: verdicts on sales, and what was found, sellers above too."""
    verdicts: Counter[str] = Counter()
    found: Counter[tuple[str, str]] = Counter()
    for value in entries:
        label = from_json(value).get("label")
        if label is not None:
            record, currency, verdict, _, _, forfeited, gone = label
            verdicts[verdict] += record.startswith("s:")
            found[currency, "forfeited"] += forfeited
            found[currency, "gone"] += gone
    return verdicts, found


def over_rails(entries: Iterable[bytes]) -> Counter[tuple[str, str, str]]:
    """What entries of payouts moved over rails: by rail, currency and direction.

    ``paid`` is what left over the rail, ``came_back`` what it returned, in minor units.
    """
    amounts: Counter[tuple[str, str, str]] = Counter()
    for value in entries:
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

    def look(self, entries: Sequence[Outgoing]) -> tuple[int, Mapping[str, int]]:
        """How many entries were added up, and by how much they miss zero, by currency."""
        second = int(self._monotonic())
        if second != self._second:
            self._second, self._left = second, self._per_s
        some = entries[: self._left]
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
