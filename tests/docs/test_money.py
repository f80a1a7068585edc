"""The worked example of docs/money.md is what the wallets book, entry for entry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from models.decisions import Tier
from models.events import decode
from models.ledger import SELLER_ACCOUNTS
from models.payouts import PayoutState
from models.rules import Rules, transition
from models.sellers import Method, Seller, read_seller
from models.shards import shard_of
from streams.settings import Settings
from streams.wallets.server import RedisServer
from streams.wallets.store import Operation, Store
from streams.wallets.terms import Terms
from streams.worker import ASK_AFTER_MS, company_rules
from tests.docs.test_pages import block
from tests.streams.wallets.harness import opened

ANNA = "anna"
NOW_MS = 1_795_600_000_000
DAY_MS = 86_400_000
RETENTION_MS = 90 * DAY_MS


@pytest.fixture
def empty_redis(redis_url: str) -> Iterator[str]:
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    yield redis_url
    client.flushall()
    client.close()


class Example:
    """Anna's wallet, in the order in which the page tells it."""

    def __init__(self, store: Store, rules: Rules) -> None:
        self.rules = rules
        self.entries: list[dict[str, Any]] = []
        self._store = store
        terms = Terms(RETENTION_MS, 30 * DAY_MS, ASK_AFTER_MS, rules.context())
        self._terms = terms.json()
        self._offset = 0
        self._seq = 0

    async def book(self, operation: Operation, topic: str | None = None) -> None:
        self._offset += 1
        if topic is not None:
            source = {"topic": topic, "partition": 0, "offset": self._offset}
            operation = {**operation, "hash": f"{self._offset:016x}", **source}
        shard = shard_of(ANNA)
        context = {
            "now": NOW_MS + self._offset,
            "known": self._seq,
            "epoch": await opened(self._store, shard),
        }
        booked = (await self._store.book({shard: (context, self._terms, [operation])}))[shard]
        assert booked.outcomes == ["booked"]
        self._seq = booked.seq
        self.entries += [json.loads(entry.messages[0].value or b"") for entry in booked.outbox]

    async def pays(self, *states: PayoutState) -> None:
        payout = next(entry["payout"][0] for entry in self.entries if "payout" in entry)
        for state in states:
            await self.book(transition(f"{payout}-{state}", payout, state))

    async def anna(self) -> Seller:
        found = await self._store.look({shard_of(ANNA): ([ANNA], [])})
        return read_seller(ANNA, found[shard_of(ANNA)].profiles[ANNA])


def event(topic: str, number: int, kind: str, **fields: object) -> Any:
    body = {
        "id": f"e{number}", "type": kind, "version": 1, "occurred_at": "2026-11-25T10:00:00Z",
        "seller_id": ANNA, **fields,
    }  # fmt: skip
    value = json.dumps(body).encode()
    return decode(topic, value, now_ms=NOW_MS + 10 * DAY_MS, retention_ms=RETENTION_MS)


def told(entry: dict[str, Any]) -> str:
    """An entry as the page writes it: the seller's accounts in their order, then the house's."""
    names = [f"{ANNA}/{name}" for name in SELLER_ACCOUNTS]
    own = [each for name in names for each in entry["postings"] if each[0] == name]
    house = sorted(each for each in entry["postings"] if each[0].startswith("/"))
    moves = [
        f"{account.removeprefix(ANNA + '/')} {minor:+d}" for account, _, minor, _ in own + house
    ]
    return f"{entry['kind']:<20}{', '.join(moves) or 'no postings'}"


async def tell(example: Example) -> None:
    rules, money = example.rules, {"currency": "EUR"}
    payout = {"rail": "paypal", "destination": "v1.k1.3q2-7wAAbXlzZWFsZWQ"}
    place = {"country": "DE", "zone": "Europe/Berlin", "sponsor_id": "bert"}
    profile = event("sellers", 1, "seller.updated", status="active", payout=payout, **place)
    methods = [Method(payout["destination"], (payout["rail"],))]
    await example.book(rules.profile(profile, methods, None, []), "sellers")
    anna = await example.anna()

    async def sale(number: int, sale_id: str, amount: int, tier: Tier) -> None:
        made = event(
            "sales", number, "sale.completed", sale_id=sale_id, amount_minor=amount, **money
        )
        await example.book(rules.sale(made, anna, rules.plan.retail(amount, "EUR"), tier), "sales")

    async def returned(number: int, sale_id: str, amount: int) -> None:
        back = event(
            "sales", number, "sale.returned", sale_id=sale_id, amount_minor=amount, **money
        )
        await example.book(rules.sale_return(back, anna), "sales")

    await sale(2, "s1", 12_990, Tier.INSTANT)
    await example.pays(PayoutState.SUBMITTED, PayoutState.SETTLED)
    await returned(3, "s1", 4_330)
    await sale(4, "s2", 12_990, Tier.HOLD)
    await returned(5, "s2", 12_990)
    spent = event("redemptions", 6, "credit.redeemed", amount_minor=400, order_ref="o1", **money)
    await example.book(rules.redemption(spent), "redemptions")
    await example.pays(PayoutState.RETURNED)


async def test_the_worked_example_is_what_is_booked(empty_redis: str) -> None:
    store = Store(RedisServer(empty_redis))
    await store.load()
    example = Example(store, company_rules(Settings()))
    try:
        await tell(example)
    finally:
        await store.close()
    made = "".join(told(entry) + "\n" for entry in example.entries)
    assert block("money.md", "text") == made, f"put this there:\n{made}"
