"""`payouts review`, against a real broker and Redis: what is held, and somebody's decision."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

from models.shards import SHARDS
from streams.cli import app
from streams.wallets.library import library
from streams.wallets.verify import verify
from tests.streams.wallets.harness import Company

EVA = ("--by", "Eva Klein", "--reason", "called her")


@pytest.fixture
async def company(
    own_broker: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Company]:
    """Two sales of Anna's are held, and one of Cleo's, whose profile has not come."""
    monkeypatch.setenv("PAYOUTS_KAFKA_BROKERS", own_broker)
    monkeypatch.setenv("PAYOUTS_REDIS_URL", redis_url)
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    client.function_flush()
    client.function_load(library().source)
    async with Company(own_broker, redis_url) as made:
        await made.wallets.heal(range(SHARDS))
        made.publish(
            "sellers", made.seller("ben"), made.seller("eva", sponsor_id="ben"),
            made.seller("anna", receiver="anna@x.example", sponsor_id="eva"),
        )  # fmt: skip
        await made.work()
        made.clock.now_ms -= 5 * 3_600_000
        made.publish("sales", made.sale("anna", 20_000, "a1"))
        await made.work()
        made.clock.now_ms += 5 * 3_600_000
        made.publish(
            "sales", made.sale("anna", 40_000, "a2"), made.sale("cleo", 4_000, "c1"),
            made.sale("anna", 4_000, "paid"),
        )  # fmt: skip
        await made.work()
        yield made
    client.flushall()
    client.close()


async def run(*words: str) -> Any:
    return await asyncio.to_thread(CliRunner().invoke, app, ["review", *words])


async def test_what_is_held_is_listed_shown_and_decided(company: Company) -> None:
    listed = json.loads((await run("list", "--json")).stdout)
    assert [one["sale_id"] for one in listed["held"]] == ["a1", "a2", "c1"]
    assert (listed["sales"], listed["commissions"]) == (3, 4)
    assert [one["reasons"] for one in listed["held"]] == [["unscored"], ["unscored"], ["profile"]]
    assert listed["held"][0]["held_minor"] == 5_000
    table = (await run("list", "--limit", "2")).stdout
    assert table.splitlines()[1].split() == [
        "5", "h", "50.00", "EUR", "a1", "anna", "unscored",
    ]  # fmt: skip
    assert table.splitlines()[-1] == "3 sales, and 4 commissions"
    shown = (await run("show", "a1")).stdout
    assert "held minor: 5000\n" in shown
    assert "reasons: unscored\n" in shown

    sent = await run("release", "a1", *EVA, "--id", "r1")
    assert sent.exit_code == 0, sent.output
    assert "sent as r1: cleared, 50.00 EUR of anna" in sent.stdout
    sent = await run("forfeit", "a2", *EVA, "--verdict", "chargeback")
    assert sent.exit_code == 0, sent.output
    await company.work()
    await company.janitor.once()
    scraped = company.metrics.exposition().decode()
    assert "payouts_review_earnings 1.0" in scraped
    assert json.loads((await run("show", "a1", "--json")).stdout)["verdict"] == "cleared"
    again = await run("forfeit", "a1", *EVA)
    assert (again.exit_code, "a1 is decided: cleared" in again.stderr) == (1, True)
    verdict = await asyncio.to_thread(verify, company.settings, whole=True)
    assert verdict.ok, [check for check in verdict.checks if not check.ok]
    assert dict(verdict.fold.reviews.verdicts) == {"cleared": 1, "chargeback": 1}


@pytest.mark.parametrize("by", ["anna", "Eva", "ben"])
async def test_nobody_who_earns_by_it_decides(company: Company, by: str) -> None:
    refused = await run("release", "a1", "--by", by, "--reason", "she is honest")
    assert refused.exit_code == 1
    assert f"{by} earns by a1: somebody else has to decide" in refused.stderr


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("release", "none", *EVA), 1, "no sale 'none' is known"),
        (("release", "a1", "--seller", "ben", *EVA), 1, "no sale 'a1' is known of ben"),
        (("release", "paid", *EVA), 1, "nothing is held of paid"),
        (("release", "a1", "--by", " ", "--reason", "x"), 2, "by: "),
        (("show", "none"), 1, "no sale 'none' is known"),
    ],
)
async def test_what_is_not_sent(
    company: Company, words: tuple[str, ...], code: int, told: str
) -> None:
    refused = await run(*words)
    assert refused.exit_code == code
    assert told in refused.stderr
