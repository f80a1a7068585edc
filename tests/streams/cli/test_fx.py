"""`payouts fx`, on a real broker and Redis."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import redis
from click.testing import Result
from typer.testing import CliRunner

from models import fx
from models.fx import Rate, Wanted
from models.quotes import Quote
from models.shards import SHARDS
from streams.cli import app
from streams.cli.fx import report
from streams.wallets.library import library
from tests.streams.wallets.harness import Company


def made(source: str, target: str, sold: int, bought: int) -> Quote:
    return Quote("q", "converted", source, target, sold, bought, 2, 1, "r", 1, 1, 0, 0)


def test_a_period_has_its_own_flows_and_realises_against_what_was_before() -> None:
    before = (1_000, made("EUR", "USD", 10_000, 10_839))
    after = (2_000, made("USD", "EUR", 6_000, 4_997))
    assert report([before, after], 2_000) == {
        "conversions": [
            {"source": "USD", "target": "EUR", "count": 1, "sold_minor": 6_000,
             "bought_minor": 4_997},
        ],
        "pairs": [
            {"held": "EUR", "held_minor": 5_000, "in": "USD", "cost_minor": -5_421,
             "realised_minor": 579},
        ],
        "markup_minor": {"EUR": 2},
        "rounding_minor": {"EUR": 1},
    }  # fmt: skip
    [pair] = report([before, after], 2_001)["pairs"]
    assert pair["realised_minor"] == 0


async def run(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["fx", *words])


async def test_the_journal_is_read(
    own_broker: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    client.function_load(library().source, replace=True)
    monkeypatch.setenv("PAYOUTS_KAFKA_BROKERS", own_broker)
    monkeypatch.setenv("PAYOUTS_REDIS_URL", redis_url)
    async with Company(own_broker, redis_url) as company:
        await company.wallets.heal(range(SHARDS))
        assert "nothing was converted" in (await run()).output
        company.publish("sellers", company.seller("anna"))
        company.publish("sales", company.sale("anna", 4_000, "s"))
        await company.work()
        now, policy = company.clock.now_ms, company.rules.policy.fx
        rate = Rate("r", "EUR", "USD", 10_842, 10_000, now, now + 1_000)
        wanted = Wanted("EUR", "USD", 1_000, None)
        operations = [
            fx.quote("a", "anna", "q", wanted, rate, policy=policy),
            fx.convert("b", "anna", "q"),
        ]
        assert await company.wallets.post(operations) == ["booked", "booked"]
        told: dict[str, Any] = json.loads((await run("--json")).stdout)
        assert told["pairs"] == [
            {"held": "EUR", "held_minor": 1_000, "in": "USD", "cost_minor": -1_084,
             "realised_minor": 0},
        ]  # fmt: skip
        assert told["markup_minor"] == {"USD": 10}
        shown = (await run("--since", "2026-01-01")).output
        assert "markup: 0.10 USD" in shown
        assert (await run("--since", "2026-01-02", "--until", "2026-01-01")).exit_code == 2
    client.flushall()
    client.close()
