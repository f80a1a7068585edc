"""Budgets: what a campaign may cost in all, and how its shards come to their slices of it.

Every shard grants by itself, from what it was handed of the budget. One shard is the budget's home
and hands out slices; the turn of a shard counts them, so that a question or an answer that comes
twice or late changes nothing. The operations are those of ``budget.lua`` and ``spendback.lua``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from models.shards import shard_of

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
