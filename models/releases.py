"""Releases: earnings that are pending until a time, as the journal's entries tell of them.

What is pending of one earning is a lot: it is held back once, by its schedule; returns of the
earning take of it; and what is left is released when its time has come, all at once. The wallets
keep the same (``releases.lua``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from models.money import BASIS_POINTS, ratio

if TYPE_CHECKING:
    from models.ledger import Entry

PENDING = "a schedule's share of an earning is pending until its time"

ACCOUNT = "pending"

_BOOKED = frozenset({"sale.completed", "commission.earned"})
_HOLD = _BOOKED | {"earning.released"}
_TAKE = frozenset({"sale.returned", "commission.reversed"})
_RELEASE = "pending.released"
_KINDS = {"held": _HOLD, "taken": _TAKE, "released": frozenset({_RELEASE})}
"""By what became of a lot: the kinds of entries that may do so."""


class Pending(NamedTuple):
    """What is pending of an earning: minor units, until when in ms since the epoch, and why."""

    currency: str
    left: int
    until_ms: int
    reason: str


def read_pending(text: str) -> tuple[Pending, int]:
    """A lot as the wallets keep it, and what was held back at first. Raises ValueError."""
    currency, left, held, until_ms, reason, *_ = text.split(",")
    return Pending(currency, int(left), int(until_ms), reason), int(held)


@dataclass(slots=True)
class Releases:
    """The lots that are pending, by seller and the name of the earning's record."""

    lots: dict[tuple[str, str], Pending] = field(default_factory=dict)
    held_back: int = 0
    """Earnings of which a share was held back, in all."""
    moved: Counter[tuple[str, str]] = field(default_factory=Counter)
    """What was held back, taken and released, by currency, in minor units."""

    def apply(self, entry: Entry) -> Iterator[str]:
        """Take an entry; what is wrong with it, if those before it are right."""
        posted: Counter[str] = Counter()
        own = f"{entry.seller}/{ACCOUNT}"
        for account, currency, minor, _ in entry.postings:
            if account == own:
                posted[currency] += minor
        if entry.pending is not None:
            name, currency, what, minor, left, until_ms, reason = entry.pending
            posted[currency] -= minor if what == "held" else -minor
            self.moved[what, currency] += minor
            yield from self._change(
                entry, name, what, minor, Pending(currency, left, until_ms, reason)
            )
        elif entry.kind == _RELEASE:
            yield f"{entry.id} releases no lot"
        for currency, minor in posted.items():
            if minor:
                yield f"{entry.id} moves {minor} {currency} of {own} beside its lot"

    def _change(
        self, entry: Entry, name: str, what: str, minor: int, after: Pending
    ) -> Iterator[str]:
        key = (entry.seller, name)
        before = self.lots.pop(key, None)
        if after.left:
            self.lots[key] = after
        if entry.kind not in _KINDS[what]:
            yield f"{entry.id} says of {name} that it is {what}, by {entry.kind}"
        if what == "held":
            self.held_back += 1
            if before is not None or after.left != minor or after.until_ms <= entry.at_ms:
                yield f"{entry.id} holds {minor} of {name} back, {before} is pending already"
            yield from _held_otherwise(entry, minor)
            return
        if before is None or before._replace(left=before.left - minor) != after or minor <= 0:
            yield f"{entry.id} leaves {after} of {name}, of {before} {minor} are {what}"
        elif what == "taken" and minor != min(before.left, _taken_behind_held(entry)):
            yield f"{entry.id} takes {minor} of {name}, not what is pending first"
        elif what == "released" and (after.left or entry.at_ms < after.until_ms):
            yield f"{entry.id} releases {minor} of {name}, {after.left} are left, at {entry.at_ms}"


def _held_otherwise(entry: Entry, minor: int) -> Iterator[str]:
    """Whether what is held back is the share that the entry names, of what its earning brought."""
    if entry.schedule is None:
        yield f"{entry.id} names no schedule"
        return
    share_bp, earned, reversed_, gained = entry.schedule
    share = min(ratio(earned, share_bp, BASIS_POINTS) - reversed_, gained)
    if minor != share:
        yield f"{entry.id} holds {minor} back, its schedule {share}"
    paid = entry.worked[0][5] if entry.worked else 0
    if entry.kind in _BOOKED:
        if earned - reversed_ != -_posted(entry, "/commissions"):
            yield f"{entry.id} has a schedule of {earned}, less {reversed_}, earns another amount"
        # Of a partial earning a part went to what is held.
        brought = earned - reversed_ - paid - _posted(entry, f"{entry.seller}/held")
    else:
        brought = -_posted(entry, f"{entry.seller}/held") - paid
    if gained != brought:
        yield f"{entry.id} has a schedule of {gained} that became available, of {brought}"


def _taken_behind_held(entry: Entry) -> int:
    """What a return takes, less what of it is still held for review: that goes first."""
    return _posted(entry, "/commissions") + _posted(entry, f"{entry.seller}/held")


def _posted(entry: Entry, account: str) -> int:
    return sum(posting.minor for posting in entry.postings if posting.account == account)
