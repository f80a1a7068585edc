"""`payouts verify`, `rebuild` and `wallet show`, on a real broker and Redis."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis
from click.testing import Result
from typer.testing import CliRunner

from models.shards import SHARDS, shard_of
from streams.cli import app
from streams.wallets.library import library
from tests.streams.wallets.harness import Company


@pytest.fixture
async def company(
    own_broker: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Company]:
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    client.function_load(library().source, replace=True)
    monkeypatch.setenv("PAYOUTS_KAFKA_BROKERS", own_broker)
    monkeypatch.setenv("PAYOUTS_REDIS_URL", redis_url)
    monkeypatch.setenv("PAYOUTS_PARTITIONS", "2")
    async with Company(own_broker, redis_url) as made:
        made.publish("sellers", made.seller("anna", receiver="anna@example.com"))
        await made.work()
        made.publish("sales", made.sale("anna", 4_000, "a"), made.sale("eve", 4_000, "b"))
        await made.work()
        yield made
    client.flushall()
    client.close()


async def run(*words: str, answer: str | None = None) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, list(words), input=answer)


class TestVerify:
    async def test_tells_each_rule_and_ends_with_0(self, company: Company, tmp_path: Path) -> None:
        file = tmp_path / "verdict.json"
        result = await run("verify", "--whole", "--json", str(file))
        assert result.exit_code == 0, result.output
        assert "BROKEN" not in result.stdout
        assert "wallets equal the journal" in result.stdout
        verdict = json.loads(file.read_text())
        assert verdict["ok"] is True
        assert {check["ok"] for check in verdict["checks"]} == {True}

    async def test_ends_with_1_when_a_rule_is_broken(
        self, company: Company, redis_url: str
    ) -> None:
        client = redis.Redis.from_url(redis_url)
        client.hincrby(f"{{s{shard_of('anna')}}}:w:anna", "EUR:held", 1)
        client.close()
        result = await run("verify", "--json", "-")
        assert result.exit_code == 1
        assert json.loads(result.stdout)["ok"] is False
        assert "rules do not hold" in result.stderr

    async def test_one_line_when_redis_is_gone(
        self, company: Company, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PAYOUTS_REDIS_URL", "redis://127.0.0.1:1/0")
        result = await run("verify")
        assert result.exit_code == 1
        assert result.stderr.count("\n") == 1
        assert "cannot read from Redis" in result.stderr


class TestRebuild:
    async def test_from_empty_asks_first(self, company: Company) -> None:
        refused = await run("rebuild", "--from-empty", answer="n\n")
        assert refused.exit_code == 1
        done = await run("rebuild", "--from-empty", "--yes")
        assert done.exit_code == 0, done.output
        assert "entries redone, 0 published that were not" in done.stdout
        assert (await run("verify", "--whole")).exit_code == 0

    async def test_redis_ahead_of_the_journal_is_refused(
        self, company: Company, redis_url: str
    ) -> None:
        client = redis.Redis.from_url(redis_url)
        client.hincrby(f"{{s{shard_of('anna')}}}:m", "seq", 1)
        client.close()
        result = await run("rebuild")
        assert result.exit_code == 1
        assert "the journal to" in result.stderr


class TestWalletShow:
    async def test_shows_what_a_seller_has_and_not_where_she_is_paid(
        self, company: Company
    ) -> None:
        result = await run("wallet", "show", "anna")
        assert result.exit_code == 0, result.output
        assert "10.00" in result.stdout  # credit of the first sale
        assert "reserved" in result.stdout
        assert "v1." not in result.stdout

    async def test_as_json(self, company: Company) -> None:
        statement = json.loads((await run("wallet", "show", "anna", "--json")).stdout)
        assert statement["accounts"]["EUR"]["in_flight"] == 1_000
        assert [payout["state"] for payout in statement["payouts"]] == ["reserved"]
        assert statement["profile"]["methods"] == [{"rails": ["paypal"], "standing": "on file"}]
        assert "v1." not in json.dumps(statement)

    async def test_a_seller_whose_profile_has_not_come(self, company: Company) -> None:
        result = await run("wallet", "show", "eve")
        assert "no profile yet" in result.stdout
        assert "1 earnings and returns wait" in result.stdout

    async def test_a_seller_that_nobody_knows(self, company: Company) -> None:
        result = await run("wallet", "show", "nobody")
        assert result.exit_code == 1
        assert "nothing is known of a seller 'nobody'" in result.stderr


class TestSnapshot:
    async def test_is_where_an_emptied_redis_begins(self, company: Company, redis_url: str) -> None:
        await company.wallets.heal(range(SHARDS))
        done = await run("snapshot")
        assert done.exit_code == 0, done.output
        assert "keys, " in done.stdout
        client = redis.Redis.from_url(redis_url)
        client.flushall()
        client.close()
        rebuilt = await run("rebuild")
        assert rebuilt.stdout.startswith("0 entries redone"), rebuilt.output
        assert (await run("verify", "--whole")).exit_code == 0

    async def test_of_an_emptied_redis_is_refused(self, company: Company, redis_url: str) -> None:
        client = redis.Redis.from_url(redis_url)
        client.flushall()
        client.close()
        result = await run("snapshot")
        assert result.exit_code == 1
        assert "start a worker" in result.stderr


class TestCancel:
    async def test_asks_the_workers(self, company: Company) -> None:
        shown = json.loads((await run("wallet", "show", "anna", "--json")).stdout)
        payout = shown["payouts"][0]["payout_id"]
        result = await run("cancel", payout)
        assert result.exit_code == 0, result.output
        assert f"asked for: {payout} of anna, reserved" in result.stdout

    @pytest.mark.parametrize(
        ("payout", "code", "words"),
        [
            ("nonsense", 2, "is no payout id"),
            ("00d2c4aa-9e7f-5a3b-8c1d-0f9e8d7c6b5a", 1, "there is no payout"),
        ],
    )
    async def test_says_in_one_line_why_not(
        self, company: Company, payout: str, code: int, words: str
    ) -> None:
        result = await run("cancel", payout)
        assert (result.exit_code, result.stderr.count("\n")) == (code, 1)
        assert words in result.stderr
