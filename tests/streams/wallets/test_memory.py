"""What a seller costs in Redis, beside the bounded history of records, ids and payouts."""

import json
from collections import defaultdict

import redis

from models.features import Profile, observe
from tests.streams.wallets.harness import Shard, campaign
from tests.streams.wallets.test_operations import profile

SELLERS = 500
SALES = 3
SELLER_BYTES_MAX = 2_048
HISTORY = {"r", "d", "y", "o"}
"""Records, event ids, payouts and outbox: each bounded by time."""

STORED = json.dumps(
    {"country": "DE", "zone": "Europe/Berlin", "status": "active", "occurred": 1_790_000_000_000,
     "sponsor": "seller-1234", "joined": 1_700_000_000_000, "rail": "paypal",
     "destination": "v1.demo." + "A" * 120}
)  # fmt: skip


def test_a_seller_takes_less_than_two_kilobytes(client: redis.Redis) -> None:
    campaigns = [
        campaign(name, "volume", expires_ms=86_400_000, EUR=[(1, 10_000, 500, 0, 0)])
        for name in ("first-sale", "power-day", "monthly-growth", "team-week")
    ]
    empty = int(client.info("memory")["used_memory"])  # type: ignore[index]
    for number in range(SELLERS):
        shard = Shard(client, f"seller-{number:05}", campaigns)
        shard._ids, place = number * 100, {"partition": number}
        assert shard.one(profile(shard, profile=STORED, **place)) == "booked"
        counts = [[i, "2026-11", shard.now_ms + 86_400_000] for i in range(1, 5)]
        state: dict[str, str | None] = {}
        for _ in range(SALES):
            sale = shard.sale(2_000, counts=counts, rev=1, **place)
            _, updates = observe(state, _event(shard, sale), Profile("DE", None, None, False))
            state |= updates
            sale["state"] = updates[f"s:{shard.seller}"]
            assert shard.one(sale) == "booked"
        client.delete(shard.key("o"))  # published
    used: dict[str, int] = defaultdict(int)
    for key in client.scan_iter("*"):
        kind = key.decode().split(":")[1]
        used[kind] += int(client.memory_usage(key))  # type: ignore[arg-type]
    per_seller = {kind: size // SELLERS for kind, size in sorted(used.items())}
    total = (int(client.info("memory")["used_memory"]) - empty) // SELLERS  # type: ignore[index]
    assert set(per_seller) == {"m", "h", "p", "w", "x", "n", "l", "t", "d", "r"}
    lasting = sum(size for kind, size in per_seller.items() if kind not in HISTORY)
    assert lasting <= SELLER_BYTES_MAX, (per_seller, total)
    # Nothing is there that no kind accounts for.
    assert total < sum(per_seller.values()) * 1.5, (per_seller, total)


def _event(shard: Shard, sale: dict[str, object]) -> object:
    from datetime import UTC, datetime

    from models.events import SaleCompleted

    return SaleCompleted.model_validate(
        {"id": sale["id"], "occurred_at": datetime.fromtimestamp(shard.now_ms / 1000, UTC),
         "seller_id": shard.seller, "sale_id": sale["id"], "currency": "EUR", "amount_minor": 8_000,
         "customer_ref": "c1", "instrument_ref": "i1", "device_ref": "d1"}
    )  # fmt: skip
