"""What each seller must have earned, computed from the messages alone and from the rules alone.

It knows nothing of shards, batches, journals or order: it reads the whole stream, then does the
sums. So where the pipeline agrees with it, the pipeline is right for a reason of its own.

    a sale of A        earns its seller the plan's retail share C, and each seller above her the
                       share of her level, up to the plan's last level
    returns of R       of that sale take back ratio(C, R, A) of each share, at most C
    without receipt    a return takes back what a sale of its amount would have earned
    from outside       a commission counts as it is; its reversals take back, at most all of it
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from models.money import ratio
from models.plan import CommissionPlan
from streams.demo.messages import Kind, Message

Earned = dict[str, dict[str, int]]
"""Seller id → currency → minor units earned net of what was taken back. No zeros."""


_EARN_NOTHING = frozenset(
    {
        "purchase.authorised",
        "purchase.captured",
        "purchase.voided",
        "purchase.refunded",
        "earnings.reinvested",
        "rate.quoted",
        "conversion.quoted",
        "conversion.made",
    }
)
"""What is done with earnings changes nothing about them (:mod:`streams.demo.asked`)."""


@dataclass(slots=True)
class _Item:
    """An amount of a seller's: a sale, a return, a commission."""

    seller_id: str
    currency: str
    amount_minor: int


@dataclass(slots=True)
class _Facts:
    """Everything the stream says, whatever the order it says it in."""

    sponsors: dict[str, str] = field(default_factory=dict)
    sales: dict[str, _Item] = field(default_factory=dict)
    returned: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    without_receipt: list[_Item] = field(default_factory=list)
    commissions: dict[str, _Item] = field(default_factory=dict)
    reversed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    plain_reversals: list[_Item] = field(default_factory=list)


def expected(messages: Iterable[Message], plan: CommissionPlan) -> Earned:
    """What each seller has earned when every message has been taken in.

    Bad messages and repeats count for nothing; a return whose sale never comes neither.
    """
    facts = _read(messages)
    earned: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for sale_id, sale in facts.sales.items():
        back_minor = facts.returned.get(sale_id, 0)
        for seller_id, share_minor in _shares(sale, facts.sponsors, plan):
            taken_minor = _taken(share_minor, back_minor, sale.amount_minor)
            earned[seller_id][sale.currency] += share_minor - taken_minor
    for item in facts.without_receipt:
        for seller_id, share_minor in _shares(item, facts.sponsors, plan):
            earned[seller_id][item.currency] -= share_minor
    for commission_id, item in facts.commissions.items():
        back_minor = min(item.amount_minor, facts.reversed.get(commission_id, 0))
        earned[item.seller_id][item.currency] += item.amount_minor - back_minor
    for item in facts.plain_reversals:
        earned[item.seller_id][item.currency] -= item.amount_minor
    return _without_zeros(earned)


def earnings(messages: Iterable[Message], plan: CommissionPlan) -> Iterator[tuple[str, str, int]]:
    """Every single earning, before anything is taken back: seller, currency, minor units."""
    facts = _read(messages)
    for sale in facts.sales.values():
        for seller_id, share_minor in _shares(sale, facts.sponsors, plan):
            yield seller_id, sale.currency, share_minor
    for item in facts.commissions.values():
        yield item.seller_id, item.currency, item.amount_minor


def _taken(share_minor: int, back_minor: int, sale_minor: int) -> int:
    """What returns of ``back_minor`` take back of a share of a sale."""
    if back_minor == 0:
        return 0
    return min(share_minor, ratio(share_minor, back_minor, sale_minor))


def _shares(
    sale: _Item, sponsors: dict[str, str], plan: CommissionPlan
) -> Iterator[tuple[str, int]]:
    """Who earns how much of a sale: its seller, then hop by hop up the tree."""
    yield sale.seller_id, plan.retail(sale.amount_minor, sale.currency)
    above = sponsors.get(sale.seller_id)
    level = 1
    while above is not None:
        share_minor = plan.upline(sale.amount_minor, sale.currency, level)
        if share_minor is None:
            return
        yield above, share_minor
        above = sponsors.get(above)
        level += 1


def _read(messages: Iterable[Message]) -> _Facts:
    facts = _Facts()
    seen: set[str] = set()
    for message in messages:
        if message.kind is Kind.BAD:
            continue
        event = json.loads(message.value)
        if event["id"] not in seen:
            seen.add(event["id"])
            _note(facts, event)
    return facts


def _note(facts: _Facts, event: dict[str, Any]) -> None:
    kind = event["type"]
    if kind == "seller.updated":
        if event.get("sponsor_id") is not None:
            facts.sponsors[event["seller_id"]] = event["sponsor_id"]
        return
    if kind in _EARN_NOTHING:
        return
    item = _Item(event["seller_id"], event["currency"], event["amount_minor"])
    if kind == "sale.completed":
        facts.sales[event["sale_id"]] = item
    elif kind == "sale.returned" and event.get("sale_id") is not None:
        facts.returned[event["sale_id"]] += item.amount_minor
    elif kind == "sale.returned":
        facts.without_receipt.append(item)
    elif kind == "commission.earned":
        facts.commissions[event["commission_id"]] = item
    elif kind == "commission.reversed" and event.get("commission_id") is not None:
        facts.reversed[event["commission_id"]] += item.amount_minor
    elif kind == "commission.reversed":
        facts.plain_reversals.append(item)
    else:
        raise ValueError(f"the oracle knows no rule for {kind}")


def _without_zeros(earned: dict[str, dict[str, int]]) -> Earned:
    lean: Earned = {}
    for seller_id, by_currency in earned.items():
        left = {currency: minor for currency, minor in by_currency.items() if minor}
        if left:
            lean[seller_id] = left
    return lean
