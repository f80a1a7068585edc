"""What the wallets really publish fits the public schemas: every kind, made by Redis itself."""

import json
import uuid
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

from jsonschema import Draft202012Validator
from pydantic_core import to_json

from models.decisions import Tier
from models.events import decode
from models.payouts import PayoutState
from models.published import TOPICS
from models.rules import Operation, Rules, transition
from models.schema import documents
from models.sellers import Method, read_seller
from models.shards import shard_of
from streams.engine import Outgoing
from streams.settings import Settings
from streams.wallets.server import RedisServer
from streams.wallets.store import Store
from streams.worker import company_rules
from tests.streams.wallets.harness import opened

DAY_MS = 86_400_000
NOW = datetime.now(UTC)
NOW_MS = int(NOW.timestamp() * 1000)


def rules() -> Rules:
    return company_rules(Settings())


class Till:
    """One seller's events, booked one by one; collects what is published."""

    def __init__(self, store: Store, made: Rules) -> None:
        self.store = store
        self.rules = made
        self.seller = f"S-{uuid.uuid4().hex[:12]}"
        self.published: dict[str, list[Outgoing]] = defaultdict(list)
        self._offset = 0
        self._static = to_json(
            {
                "retention_ms": 90 * DAY_MS,
                "wait_ms": DAY_MS,
                "ask_ms": 60_000,
                "campaigns": made.context(),
            }
        )

    def event(self, topic: str, kind: str, **fields: Any) -> Any:
        body = {
            "id": uuid.uuid4().hex,
            "type": kind,
            "version": 1,
            "occurred_at": (NOW - timedelta(minutes=1)).isoformat(),
            "seller_id": self.seller,
            **fields,
        }
        value = json.dumps(body).encode()
        return decode(topic, value, now_ms=NOW_MS, retention_ms=90 * DAY_MS)

    async def book(self, topic: str | None, operation: Operation) -> str:
        if topic is not None:
            self._offset += 1
            operation |= {"hash": "0" * 16, "topic": topic, "partition": 0}
            operation["offset"] = self._offset
        shard = shard_of(self.seller)
        context = {"now": NOW_MS, "known": 0, "epoch": await opened(self.store, shard)}
        reply = (await self.store.book({shard: (context, self._static, [operation])}))[shard]
        for entry in reply.outbox:
            for message in entry.messages:
                self.published[message.topic].append(message)
        return reply.outcomes[0]


async def test_every_message_the_wallets_publish_fits(redis_url: str) -> None:
    store = Store(RedisServer(redis_url))
    await store.load()
    till = Till(store, rules())
    try:
        await trade(till)
    finally:
        await store.close()

    made = documents()
    seen = set()
    for topic in TOPICS:
        validator = Draft202012Validator(json.loads(made[f"{topic}.json"]))
        for message in till.published[topic]:
            value = json.loads(message.value)
            seen.add(value.get("type", topic))
            assert [error.message for error in validator.iter_errors(value)] == [], value
            assert message.key.decode() == till.seller
    assert seen == {
        *("ledger", "payout.command", "payout.updated", "destination.refused"),
        *("credit.granted", "credit.unfired"),
    }
    upline = [json.loads(message.value)["type"] for message in till.published["commissions"]]
    assert upline == ["commission.earned", "commission.reversed"]
    for message in till.published["commissions"]:
        decode("commissions", message.value, now_ms=NOW_MS, retention_ms=90 * DAY_MS)


async def trade(till: Till) -> None:
    """A profile, a sale that is paid out and grants credit, a settled payout, a return."""
    profile = till.event(
        "sellers",
        "seller.updated",
        country="DE",
        zone="Europe/Berlin",
        sponsor_id="S-0",
        payout={"rail": "paypal", "destination": "v1.k1.c2VhbGVk"},
    )
    methods = [
        Method(profile.payout.destination, ("paypal",)),
        Method("v1.k1.Zm9v", ("adyen",), "iban_check_digits_invalid"),
    ]
    operation = till.rules.profile(profile, methods, None, [])
    assert await till.book("sellers", operation) == "booked"
    seller = read_seller(till.seller, f"1|{operation['profile']}".encode())

    fields = {"sale_id": uuid.uuid4().hex, "currency": "EUR", "amount_minor": 60_000}
    sale = till.event("sales", "sale.completed", **fields)
    earned = till.rules.plan.retail(60_000, "EUR")
    assert await till.book("sales", till.rules.sale(sale, seller, earned, Tier.INSTANT)) == "booked"

    payout = json.loads(till.published["payouts.commands"][0].value)["payout_id"]
    for state in (PayoutState.SUBMITTED, PayoutState.SETTLED):
        assert await till.book(None, transition(uuid.uuid4().hex, payout, state)) == "booked"

    returned = till.event("sales", "sale.returned", **fields)
    operation = till.rules.sale_return(returned, seller)
    operation |= {"raw": "{}", "headers": "{}"}
    assert await till.book("sales", operation) == "booked"
