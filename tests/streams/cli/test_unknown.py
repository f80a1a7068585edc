"""`payouts unknown`, against a real broker and Redis: what rails are silent about, and its end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

from models.payouts import FailureCategory, PayoutState
from models.shards import SHARDS
from rails.paypal.capabilities import PAYPAL
from rails.rail import Instruction, Outcome, failed, unknown
from streams.cli import app
from streams.deadletters import read
from streams.wallets import evidence
from streams.wallets.library import library
from streams.wallets.rebuild import rebuild
from streams.wallets.verify import verify
from tests.streams.wallets import harness
from tests.streams.wallets.harness import DAY_MS, Company, Shard
from tests.streams.wallets.test_rebuild import keys

EVA = ("--by", "Eva Klein", "--reason", "PayPal, case 4711")


class Answering:
    """PayPal, silent until it is told what to answer."""

    name = "paypal"
    capabilities = PAYPAL
    answer: Outcome = unknown("timeout")

    async def submit(self, instruction: Instruction) -> Outcome:
        """What it was told."""
        return self.answer

    enquire = cancel = submit

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def rail() -> Answering:
    return Answering()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    made = redis.Redis.from_url(redis_url)
    made.flushall()
    made.function_flush()
    made.function_load(library().source)
    yield made
    made.flushall()
    made.close()


@pytest.fixture
async def company(
    own_broker: str,
    redis_url: str,
    rail: Answering,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Company]:
    """Anna's payout went out 40 days ago and Ben's 3 days ago; both rails have been silent."""
    monkeypatch.setenv("PAYOUTS_KAFKA_BROKERS", own_broker)
    monkeypatch.setenv("PAYOUTS_REDIS_URL", redis_url)
    monkeypatch.setattr(evidence, "QUIET_S", 0.05)
    monkeypatch.setattr(evidence, "LATE_MAX_S", 0.3)
    clock = harness.Clock()
    clock.now_ms -= 40 * DAY_MS  # before gates and paces are made, which want it to go on
    monkeypatch.setattr(harness, "Clock", lambda: clock)
    async with Company(own_broker, redis_url, rails={"paypal": rail}) as made:
        await made.wallets.heal(range(SHARDS))
        made.publish("sellers", *(made.seller(who, receiver=f"{who}@x.example") for who in SELLERS))
        await made.work()
        for who, days in SELLERS.items():
            made.publish("sales", made.sale(who, 8_000, f"{who}-1"))
            await made.work()
            made.clock.now_ms += days * DAY_MS
        # Enquiries, ever later: the next one is in a day.
        for _ in range(5):
            await made.janitor.once()
            made.clock.now_ms += DAY_MS // 5
        await made.janitor.once()
        yield made


SELLERS = {"anna": 37, "ben": 2}
"""And how many days pass then."""


async def run(*words: str) -> Any:
    return await asyncio.to_thread(CliRunner().invoke, app, ["unknown", *words])


async def listed(*words: str) -> list[dict[str, Any]]:
    found = await run("list", "--json", *words)
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    assert told["payouts"] >= len(told["unknown"])
    unknown: list[dict[str, Any]] = told["unknown"]
    return unknown


def payout_of(client: redis.Redis, seller: str) -> str:
    return Shard(client, seller).only_payout()


async def test_the_longest_first_are_listed(company: Company, client: redis.Redis) -> None:
    both = await listed()
    assert [one["seller_id"] for one in both] == ["anna", "ben"]
    assert both[0] | {"payout_id": "", "since": "", "asked_next": ""} == {
        "payout_id": "", "seller_id": "anna", "rail": "paypal", "currency": "EUR",
        "amount_minor": 1_971, "fee_minor": 29, "since": "", "attempts": 1, "asked": 4,
        "asked_next": "", "reference": None, "reason": "timeout",
    }  # fmt: skip
    assert [one["seller_id"] for one in await listed("--limit", "1")] == ["anna"]
    assert [one["seller_id"] for one in await listed("--older-than", "30d")] == ["anna"]
    assert await listed("--rail", "visa") == []
    lines = (await run("list")).stdout.splitlines()
    assert lines[1].split()[:5] == ["40", "days", payout_of(client, "anna"), "paypal", "19.71"]
    assert lines[-1] == "2 payouts"
    refused = await run("list", "--older-than", "soon")
    assert (refused.exit_code, "--older-than is minutes" in refused.stderr) == (2, True)


async def test_a_person_ends_them_and_the_rail_contradicts(
    company: Company, client: redis.Redis, rail: Answering
) -> None:
    anna, ben = payout_of(client, "anna"), payout_of(client, "ben")
    sent = await run("resolve", anna, "--as", "failed", *EVA, "--yes", "--id", "r1")
    assert sent.exit_code == 0, sent.output
    assert "sent as r1: failed, 19.71 EUR of anna" in sent.stdout
    await run("resolve", ben, "--as", "settled", *EVA, "--yes", "--reference", "B-1")
    # Another system's word, in the same batch: the first counts.
    other = company.event(
        "payout.resolved", "ben", payout_id=ben, attempt=0, outcome="failed", currency="EUR",
        amount_minor=1_971, by="bot", reason="x",
    )  # fmt: skip
    company.publish("commissions", other)
    await company.work()
    assert Shard(client, "anna").balances()[:3] == (2_000, 0, 0)
    assert Shard(client, "ben").balances()[:3] == (0, 0, 0)
    assert await listed() == []
    assert (await run("list")).stdout == "no payout is unknown\n"
    counted = company.metrics.exposition().decode()
    assert 'payouts_payout_transitions_total{rail="paypal",state="failed"} 1.0' in counted
    [letter] = read(company.settings.kafka_client())
    assert letter.reason == "payout_resolved"

    again = await run("resolve", anna, "--as", "failed", *EVA)
    assert (again.exit_code, "resolved already: failed, by Eva Klein" in again.stdout) == (0, True)
    otherwise = await run("resolve", anna, "--as", "settled", *EVA, "--yes")
    assert (otherwise.exit_code, "is resolved: failed" in otherwise.stderr) == (1, True)
    shown = await asyncio.to_thread(CliRunner().invoke, app, ["wallet", "show", "anna"])
    assert "failed (resolved by Eva Klein: PayPal, case 4711)" in shown.stdout

    before = keys(client)
    client.flushall()
    await asyncio.to_thread(rebuild, company.settings, from_empty=True)
    assert keys(client) == before

    # The rail says otherwise, of both: by a webhook, and of Ben's when it is asked then.
    rail.answer = failed(FailureCategory.RETRYABLE, "never_seen")
    for who, payout, state in (("anna", anna, "settled"), ("ben", ben, "failed")):
        company.publish("rail.updates", company.event(
            "payout.reported", who, payout_id=payout, rail="paypal", state=state))  # fmt: skip
    await company.work()
    await company.janitor.once()
    assert 'payouts_contradicted_total{rail="paypal"} 2.0' in company.metrics.exposition().decode()
    assert Shard(client, "anna").balances()[:3] == (2_000, 0, 0)
    [stored] = Shard(client, "ben").payouts().values()
    assert (stored["state"], stored["attempt"]) == (PayoutState.SETTLED, 0)

    verdict = await asyncio.to_thread(verify, company.settings, whole=True)
    assert [check for check in verdict.checks if not check.ok] == []
    assert verdict.fold.resolutions.resolved == {anna: "failed", ben: "settled"}


async def test_what_is_not_sent(company: Company, client: redis.Redis) -> None:
    anna, ben = payout_of(client, "anna"), payout_of(client, "ben")
    for words, code, told in (
        (("none", "--as", "failed", *EVA), 2, "'none' is no payout id"),
        ((ben[:-1] + "x", "--as", "failed", *EVA), 1, "there is no payout"),
        ((anna, "--as", "accepted", *EVA), 2, "'accepted' is not one of"),
        ((anna, "--as", "failed", "--by", " ", "--reason", "x"), 2, "by: "),
        ((anna, "--as", "failed", "--by", "Eva", "--reason", ""), 2, "reason: "),
        ((anna, "--as", "failed", "--by", "Anna", "--reason", "x"), 1, "whose payout it is"),
        ((anna, "--as", "failed", *EVA), 1, "nobody to ask here; --yes does it"),
        ((ben, "--as", "failed", *EVA, "--yes"), 1, "hands it to paypal again, under its guard"),
    ):  # fmt: skip
        refused = await run("resolve", *words)
        assert (refused.exit_code, told in refused.stderr) == (code, True), refused.stderr
    # It is asked about.
    due: Any = client.zscore(Shard(client, "anna").key("e"), anna)
    client.zadd(Shard(client, "anna").key("e"), {anna: company.clock.now_ms - 1})
    refused = await run("resolve", anna, "--as", "returned", *EVA, "--yes")
    assert (refused.exit_code, "is being asked about" in refused.stderr) == (1, True)
    client.zadd(Shard(client, "anna").key("e"), {anna: due})
    # It was, a moment ago.
    key = Shard(client, "anna").key(f"y:{anna}")
    stored = json.loads(client.get(key) or "")  # type: ignore[arg-type]
    client.set(key, json.dumps(stored | {"changed_ms": company.clock.now_ms}))
    refused = await run("resolve", anna, "--as", "failed", *EVA, "--yes")
    assert (refused.exit_code, "within the last minute" in refused.stderr) == (1, True)
    assert await company.work() == 0
