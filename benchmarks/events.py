"""What the jobs are given: profiles that are booked before, and sales."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pydantic_core import from_json, to_json

from rails.destination import Seal
from streams.demo.company import Company, day_window
from streams.demo.messages import Kind, Message
from streams.demo.ways import PAYPAL

SELLERS = 400
WARM_UP_SALES = 1_000
"""Booked before a run counts."""

PAID_CURRENCIES = frozenset({"EUR", "GBP", "USD", "JPY", "CAD"})
"""What a rail of the packaged policy carries: each of these sales may lead to a payout command."""


def profiles_and_sales(
    seed: int, count: int, *, seal: Seal, upline: bool = False
) -> tuple[list[Message], list[Message]]:
    """Everybody's profile, and ``count`` sales of sellers that can be paid.

    Without ``upline`` nobody has a sponsor: one sale leads to one payout command. The sales are
    spread over one day of every seller.
    """
    company = Company(seed, SELLERS, seal=seal.seal, rails=(PAYPAL,))
    # About one event in two is a sale that a rail carries.
    start_ms, rate = day_window(int(time.time() * 1000), 2 * count)
    profiles = [company.profile(seller, start_ms, start_ms) for seller in company.sellers]
    payable = {seller.key for seller in company.sellers if company.ways(seller)}
    sales: list[Message] = []
    for message in company.events(10 * count, start_ms=start_ms, rate=rate):
        if _is_payable_sale(message, payable):
            sales.append(message)
            if len(sales) == count:
                break
    if not upline:
        profiles = [_without_sponsor(message) for message in profiles]
    return profiles, list(_within(start_ms, rate, sales))


class Workload(NamedTuple):
    """What a run books: everybody's profile, sales that do not count yet, and those that do."""

    profiles: list[Message]
    warm_up: list[Message]
    sales: list[Message]


def workload(seed: int, count: int, *, seal: Seal) -> Workload:
    """Profiles and ``count`` sales as :func:`profiles_and_sales` has them, behind the warm-up's."""
    profiles, sales = profiles_and_sales(seed, WARM_UP_SALES + count, seal=seal)
    return Workload(profiles, sales[:WARM_UP_SALES], sales[WARM_UP_SALES:])


def _is_payable_sale(message: Message, payable: set[bytes]) -> bool:
    if message.topic != "sales" or message.kind is not Kind.EVENT or message.key not in payable:
        return False
    body: Mapping[str, object] = from_json(message.value)
    return body["type"] == "sale.completed" and body["currency"] in PAID_CURRENCIES


def _within(start_ms: int, rate: float, sales: list[Message]) -> Iterator[Message]:
    # A stream that ran on into the sellers' next day would start new campaign periods.
    last_ms = sales[-1].at_ms
    if last_ms - start_ms > 7 * 3_600_000:
        raise ValueError("the sales do not fit into one day of every seller")
    yield from sales


def _without_sponsor(message: Message) -> Message:
    body = from_json(message.value)
    body.pop("sponsor_id", None)
    message.value = to_json(body)
    return message
