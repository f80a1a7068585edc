"""Budgets: what a campaign may cost in all, and how its shards come to their slices of it.

Every shard grants by itself, from what it was handed of the budget. One shard is the budget's home
and hands out slices; the turn of a shard counts them, so that a question or an answer that comes
twice or late changes nothing. When the home is short, what lies idle in other shards is called in.
The operations are those of ``budget.lua`` and ``spendback.lua``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from models.reinvestment import campaign_of
from models.shards import shard_of

if TYPE_CHECKING:
    from models.ledger import Entry

Operation = dict[str, Any]

Steps = Generator[list[Operation], list[str], Operation | None]
"""Operations to book together, one list behind the other; it takes the outcomes of each."""


class Needs(NamedTuple):
    """How a shard stands with a campaign's budget in a currency. Amounts in minor units."""

    campaign: str
    currency: str
    turn: int = 0
    """Slices that it was handed so far."""
    handed: int = 0
    """What these came to."""
    used: int = 0
    needed: int = 0
    """What the thresholds are worth that wait."""
    spent_at: int = 0
    """The whole budget, if no more of it was to be had when the shard last asked; else 0."""
    back: int = 0
    """What of its slices the shard gave back."""
    spent_until_ms: int = 0
    """Until when it takes the budget for spent, in milliseconds since the epoch."""

    @property
    def got(self) -> int:
        """What it was handed and has not given back."""
        return self.handed - self.back

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


def topping_up(shard: int, needs: Needs, budget_minor: int) -> Steps:
    """What sees that a shard has what it needs of a budget, as far as anything is left.

    Each list has to count for ever before the next is booked: the home has taken a slice from the
    budget before the shard hears of it, and a shard has given back before the home hears of that.
    So no loss of Redis, nor an end between two lists, can hand the same money out twice. Returns
    the operation by which the shard hears; None if somebody else asked meanwhile.
    """
    if needs.lacking <= 0:
        return topped_up(
            shard, needs, turn=needs.turn, handed=needs.handed, spent_at=needs.spent_at
        )
    [outcome] = yield [slice_of_budget(shard, needs, budget_minor)]
    if outcome.startswith("short:"):
        holders = [int(holder) for holder in outcome.removeprefix("short:").split(",")]
        yield from _called_in(needs, holders, budget_minor)
        [outcome] = yield [slice_of_budget(shard, needs, budget_minor, last=True)]
    word, *figures = outcome.split(":")
    if word != "given":
        return None
    handed, left = map(int, figures)
    spent_at = budget_minor if left == 0 else 0
    return topped_up(shard, needs, turn=needs.turn + 1, handed=handed, spent_at=spent_at)


def _called_in(
    needs: Needs, holders: Iterable[int], budget_minor: int
) -> Generator[list[Operation], list[str], None]:
    """What lies idle in shards goes back to the budget's home."""
    asked = [give_back(shard, needs) for shard in holders]
    outcomes = yield asked
    told = [
        reclaim(operation["shard"], needs, back=int(outcome.removeprefix("back:")),
                budget_minor=budget_minor)
        for operation, outcome in zip(asked, outcomes, strict=True)
        if outcome != "back:0"
    ]  # fmt: skip
    if told:
        yield told


def slice_of_budget(
    shard: int, needs: Needs, budget_minor: int, *, last: bool = False
) -> Operation:
    """A slice for a shard, booked at the budget's home.

    Outcome ``given:<in all>:<left>``, or ``short:<shard>,…``, if the home has less than is needed:
    these may have some that lies idle. With ``last`` it was called in, and less will do.
    """
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
        "last": last,
    }


def give_back(shard: int, needs: Needs) -> Operation:
    """A shard gives back what lies idle in it: outcome ``back:<in all>``."""
    return {
        "op": "give_back",
        "id": f"giveback:{needs.campaign}:{needs.currency}:{shard}",
        "shard": shard,
        "campaign": needs.campaign,
        "currency": needs.currency,
    }


def reclaim(shard: int, needs: Needs, *, back: int, budget_minor: int) -> Operation:
    """The budget's home hears what a shard has given back in all."""
    return {
        "op": "reclaim",
        "id": f"reclaim:{needs.campaign}:{needs.currency}:{shard}:{back}",
        "shard": home_of(needs.campaign),
        "campaign": needs.campaign,
        "currency": needs.currency,
        "from": shard,
        "back": back,
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


RECLAIMED = "budget.reclaimed"
"""Kind of the entry by which a budget's home hears what a shard gave back."""


@dataclass(slots=True)
class Budgets:
    """What campaigns cost, by campaign and currency, as every shard's entries say."""

    used: dict[tuple[str, str], dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    """What each shard drew."""
    got: dict[tuple[str, str], dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    """What each shard says that it was handed and has not given back."""
    handed: dict[tuple[str, str], dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    """The same, as the budget's home says."""
    whole: dict[tuple[str, str], int] = field(default_factory=dict)
    """The largest that each budget was when a slice of it was handed out."""

    def apply(self, entry: Entry) -> Iterator[str]:
        """Take an entry; what is wrong with it, if the shards before it are right.

        What a home hears that a shard gave back, that shard can have no more.
        """
        for campaign, currency, drawn, used, got in entry.budgets:
            key, shard = (campaign, currency), entry.shard
            if (cost := _rewarded(entry, campaign, currency)) not in {None, drawn}:
                yield f"{entry.id} draws {drawn} {currency} of {campaign} for bonuses of {cost}"
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
            less = more < 0 and entry.kind != RECLAIMED
            if given != total or less or (more > 0 and given > whole):
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


def _rewarded(entry: Entry, campaign: str, currency: str) -> int | None:
    """What bonuses of a campaign on what was reinvested cost in an entry; None if it has none."""
    moved = [
        minor * ((before == "granted") - (after == "reversed"))
        for lot, of, before, after, minor in entry.lots
        if of == currency and campaign_of(lot) == campaign
    ]
    return sum(moved) if moved else None
