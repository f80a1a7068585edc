"""Reviews: earnings that are held, and what labels made of them, as the journal's entries tell.

What of an earning is held is told by the entry that holds it, and so is each change: taken back by
a return, released when the profile came or a label said that the sale is genuine, forfeited when
one said that it is a fraud. The wallets keep the same (``labels.lua``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from models.verdicts import Verdict

if TYPE_CHECKING:
    from models.ledger import Entry

HELD = "what is held was held, less what was released, forfeited or taken back"
LABEL = "a label moves money once, by somebody, for a reason"

ACCOUNT = "held"

_BOOKED = frozenset({"sale.completed", "commission.earned"})
_CLEAR, _FORFEIT = "earning.cleared", "earning.forfeited"
_KINDS = {
    "held": _BOOKED,
    "taken": frozenset({"sale.returned", "commission.reversed"}),
    "released": frozenset({"earning.released", _CLEAR}),
    "forfeited": frozenset({_FORFEIT}),
}
"""By what became of what is held: the kinds of entries that may do so."""


class Held(NamedTuple):
    """What is held of an earning, in minor units."""

    currency: str
    left: int


class Label(NamedTuple):
    """A label, as its entry tells it: see the field ``label`` of the ledger's schema."""

    record: str
    currency: str
    verdict: Verdict
    by: str
    reason: str
    forfeited: int
    gone: int

    @classmethod
    def parse(cls, record: str, currency: str, verdict: str, *rest: object) -> Label:
        """The label in a journal entry. Raises ValueError, TypeError."""
        return cls(record, currency, Verdict(verdict), *rest)  # type: ignore[arg-type]


@dataclass(slots=True)
class Reviews:
    """What is held of each earning, by seller and the name of the earning's record."""

    held: dict[tuple[str, str], Held] = field(default_factory=dict)
    moved: Counter[tuple[str, str]] = field(default_factory=Counter)
    """What was held, taken, released and forfeited, by currency, in minor units."""
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    """Labels of sales."""
    _cleared: set[tuple[str, str]] = field(default_factory=set)
    _forfeited: set[tuple[str, str]] = field(default_factory=set)

    def apply(self, entry: Entry) -> Iterator[tuple[str, str]]:
        """Take an entry; by rule what is wrong with it, if those before it are right."""
        own = f"{entry.seller}/{ACCOUNT}"
        posted = _posted(entry, own)
        if entry.held is not None:
            name, currency, what, minor, left = entry.held
            posted[currency] -= minor if what == "held" else -minor
            self.moved[what, currency] += minor
            for text in self._change(entry, name, what, minor, Held(currency, left)):
                yield HELD, text
        for currency, minor in posted.items():
            if minor:
                yield HELD, f"{entry.id} moves {minor} {currency} of {own} and names no earning"
        if entry.label is not None:
            for text in self._labelled(entry, entry.label):
                yield LABEL, text
        elif entry.kind in {_CLEAR, _FORFEIT}:
            yield LABEL, f"{entry.id} names no label"

    def _change(self, entry: Entry, name: str, what: str, minor: int, after: Held) -> Iterator[str]:
        key = (entry.seller, name)
        before = self.held.pop(key, None)
        if after.left:
            self.held[key] = after
        if entry.kind not in _KINDS[what]:
            yield f"{entry.id} says of {name} that it is {what}, by {entry.kind}"
        if what == "held":
            if before is not None or after.left != minor or minor <= 0:
                yield f"{entry.id} holds {minor} of {name}, {before} is held already"
        elif before is None or before._replace(left=before.left - minor) != after or minor <= 0:
            yield f"{entry.id} leaves {after} of {name}, of {before} {minor} are {what}"
        elif what == "taken":
            if minor != min(before.left, _posted(entry, "/commissions")[after.currency]):
                yield f"{entry.id} takes {minor} of {name}, not what is held first"
        elif after.left:
            yield f"{entry.id} leaves {after.left} of {name} when it is {what}"

    def _labelled(self, entry: Entry, label: Label) -> Iterator[str]:
        key = (entry.seller, label.record)
        if label.record.startswith("s:"):
            self.verdicts[label.verdict] += 1
        if not (label.by and label.reason) or label.by == entry.seller:
            yield f"{entry.id} is by {label.by or 'nobody'}, because of {label.reason or 'nothing'}"
        if label.verdict.fraud == (entry.kind == _CLEAR) and entry.kind in {_CLEAR, _FORFEIT}:
            yield f"{entry.id} is {entry.kind} by the verdict {label.verdict}"
        given_up = _posted(entry, f"{entry.seller}/{ACCOUNT}", f"{entry.seller}/pending")
        took = -given_up[label.currency] if entry.kind == _FORFEIT else 0
        if label.forfeited != took:
            yield f"{entry.id} forfeits {took}, and tells of {label.forfeited}"
        if entry.kind == _FORFEIT:
            if key in self._forfeited:
                yield f"{entry.id} forfeits {label.record} again"
            self._forfeited.add(key)
        elif entry.kind == _CLEAR:
            if key in self._forfeited | self._cleared:
                yield f"{entry.id} releases {label.record}, which was decided before"
            self._cleared.add(key)


def _posted(entry: Entry, *accounts: str) -> Counter[str]:
    """What an entry moved on some accounts together, by currency."""
    sums: Counter[str] = Counter()
    for account, currency, minor, _ in entry.postings:
        if account in accounts:
            sums[currency] += minor
    return sums
