"""Suspects: earnings that are held in part, or let through by chance, as the journal tells of them.

The wallets decide both where the balances are (``earn.lua``): what is held is the share that the
entry names of what the earning brought, and what is let through stays within the shard's part of
the day.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from models.debts import day_of
from models.money import BASIS_POINTS

if TYPE_CHECKING:
    from models.ledger import Entry

PARTIAL = "of a partial earning the share that is not paid is held"
EXPLORED = "what is let through by chance stays within its day's most"
REJECTED = "a rejected sale earns nothing"


@dataclass(slots=True)
class Suspects:
    """What was let through by chance, and how much is held of how many partial earnings."""

    days: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)
    """By shard and currency: the last day (UTC) on which anything was, and how much on it."""
    explored: int = 0
    """Sales that were let through."""
    partial: int = 0
    rejected: int = 0

    def apply(self, entry: Entry) -> Iterator[tuple[str, str]]:
        """Take an entry; which rules it breaks, and how, if those before it are right."""
        if entry.partial is not None:
            self.partial += 1
            yield from ((PARTIAL, text) for text in _held_otherwise(entry, entry.partial))
        elif entry.tier == "partial":
            yield PARTIAL, f"{entry.id} does not say what is held"
        if entry.tier == "reject":
            self.rejected += 1
            if entry.postings:
                yield REJECTED, f"{entry.id} was rejected and moves money"
        if entry.explored is not None:
            self.explored += 1
            yield from ((EXPLORED, text) for text in self._let_through(entry, entry.explored))

    def _let_through(self, entry: Entry, told: tuple[str, int, int, int, int]) -> Iterator[str]:
        currency, day, minor, after, most = told
        last_day, before = self.days.get((entry.shard, currency), (day, 0))
        self.days[entry.shard, currency] = (day, after)
        if after != minor + (before if last_day == day else 0):
            yield f"{entry.id} makes it {after} {currency} on day {day}, {before} and {minor} are"
        if after > most:
            yield f"{entry.id} makes it {after} {currency} on day {day}, at most {most} may be"
        if entry.tier != "instant" or day < day_of(entry.at_ms):
            yield f"{entry.id} is {entry.tier}, let through on day {day}"


def _held_otherwise(entry: Entry, told: tuple[int, int, int]) -> Iterator[str]:
    share_bp, kept, held = told
    share = kept - kept * share_bp // BASIS_POINTS
    if held != share:
        yield f"{entry.id} holds {held}, its share of {kept} is {share}"
    if entry.tier != "partial" or not 0 < share_bp < BASIS_POINTS:
        yield f"{entry.id} is {entry.tier}, with {share_bp} basis points not held"
    paid = entry.worked[0][5] if entry.worked else 0
    # Returns that came ahead of it took of what is held first.
    back = kept + paid + _posted(entry, "/commissions")
    posted = _posted(entry, f"{entry.seller}/held")
    if posted != held - min(held, back):
        yield f"{entry.id} moves {posted} to held, of {held} less the {back} that came back"


def _posted(entry: Entry, account: str) -> int:
    return sum(posting.minor for posting in entry.postings if posting.account == account)
