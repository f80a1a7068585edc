"""Budgets: what a campaign may cost in all, and how its shards come to their slices of it.

Every shard grants by itself, from what it was handed of the budget. One shard is the budget's home
and hands out slices; the turn of a shard counts them, so that a question or an answer that comes
twice or late changes nothing. The operations are those of ``budget.lua`` and ``spendback.lua``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from models.shards import shard_of

if TYPE_CHECKING:
    from models.ledger import Entry

Operation = dict[str, Any]


class Needs(NamedTuple):
    """How a shard stands with a campaign's budget in a currency. Amounts in minor units."""

    campaign: str
    currency: str
    turn: int = 0
    """Slices that it was handed so far."""
    got: int = 0
    used: int = 0
    needed: int = 0
    """What the thresholds are worth that wait."""
    spent_at: int = 0
    """The whole budget, if it was all handed out when the shard last asked; else 0."""

    @property
    def lacking(self) -> int:
        """What it has to be handed beside what it has."""
        return max(0, self.needed - (self.got - self.used))


def home_of(campaign_id: str) -> int:
    """The shard that keeps a campaign's budget."""
    return shard_of(f"budget/{campaign_id}")


def read_needs(timer: str, stored: bytes) -> Needs:
    """From a timer ``bud:<campaign>:<currency>`` and what the shard keeps of the budget."""
    _, campaign, currency = timer.split(":")
    figures = map(int, stored.split(b",")) if stored else ()
    return Needs(campaign, currency, *figures)


def slice_of_budget(shard: int, needs: Needs, budget_minor: int) -> Operation:
    """A slice for a shard, booked at the budget's home: outcome ``given:<in all>:<left>``."""
    return {
        "op": "slice",
        "id": f"slice:{needs.campaign}:{needs.currency}:{shard}:{needs.turn}",
        "shard": home_of(needs.campaign),
        "campaign": needs.campaign,
        "currency": needs.currency,
        "to": shard,
        "turn": needs.turn,
        "need": needs.lacking,
        "budget": budget_minor,
    }


def topped_up(shard: int, needs: Needs, *, turn: int, handed: int, spent_at: int) -> Operation:
    """A shard learns of its slice; what waited for it is granted or refused."""
    return {
        "op": "topup",
        "id": f"topup:{needs.campaign}:{needs.currency}:{shard}:{turn}",
        "shard": shard,
        "campaign": needs.campaign,
        "currency": needs.currency,
        "turn": turn,
        "handed": handed,
        "spent_at": spent_at,
    }


@dataclass(slots=True)
class Budgets:
    """What campaigns cost, by campaign and currency, as every shard's entries say."""

    used: dict[tuple[str, str], dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    """What each shard drew."""
    got: dict[tuple[str, str], dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    """What each shard says that it was handed."""
    handed: dict[tuple[str, str], dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    """What each shard was handed, as the budget's home says."""
    whole: dict[tuple[str, str], int] = field(default_factory=dict)
    """The largest that each budget was when a slice of it was handed out."""

    def apply(self, entry: Entry) -> Iterator[str]:
        """Take an entry; what is wrong with it, if the shards before it are right."""
        for campaign, currency, drawn, used, got in entry.budgets:
            key, shard = (campaign, currency), entry.shard
            before = self.used[key].get(shard, 0)
            if before + drawn != used or not 0 <= used <= got:
                figures = f"{before} to {used} of {got}"
                yield f"{entry.id} draws {drawn} {currency} of {campaign}: {figures}"
            self.used[key][shard], self.got[key][shard] = used, got
        if entry.slice is not None:
            campaign, currency, to, handed, given, whole = entry.slice
            key = (campaign, currency)
            more = handed - self.handed[key].get(to, 0)
            self.handed[key][to] = handed
            total = sum(self.handed[key].values())
            if given != total or more < 0 or (more and given > whole):
                yield f"{entry.id} hands out {given} {currency} of {campaign}, {total} of {whole}"
            self.whole[key] = max(whole, self.whole.get(key, 0))

    def overspent(self, *, at_rest: bool) -> Iterator[str]:
        """Budgets that were overspent, and at rest shards that use what nobody handed to them."""
        for key, used in self.used.items():
            campaign, currency = key
            whole = self.whole.get(key, 0)
            if at_rest and sum(used.values()) > whole:
                yield f"{campaign} cost {sum(used.values())} {currency}, its budget is {whole}"
            for shard, got in self.got[key].items():
                handed = self.handed[key].get(shard, 0)
                if at_rest and got > handed:
                    yield f"shard {shard} has {got} {currency} of {campaign}, handed {handed}"
