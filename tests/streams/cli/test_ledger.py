"""`payouts verify`, `rebuild` and `wallet show`, on a real broker and Redis."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis
from click.testing import Result
from typer.testing import CliRunner

from models.shards import shard_of
from streams.cli import app
from streams.demo.embedded import EmbeddedBroker
from streams.wallets.library import library
from tests.streams.wallets.harness import Company


@pytest.fixture
async def company(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Company]:
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    client.function_load(library().source, replace=True)
    broker = EmbeddedBroker().start()
    monkeypatch.setenv("PAYOUTS_KAFKA_BROKERS", broker.bootstrap)
    monkeypatch.setenv("PAYOUTS_REDIS_URL", redis_url)
    monkeypatch.setenv("PAYOUTS_PARTITIONS", "2")
    async with Company(broker.bootstrap, redis_url) as made:
        made.publish("sellers", made.seller("anna", receiver="anna@example.com"))
        await made.work()
        made.publish("sales", made.sale("anna", 4_000, "a"), made.sale("eve", 4_000, "b"))
        await made.work()
        yield made
    client.flushall()
    client.close()
    broker.kill()
    broker.stop()


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
        assert "entries redone in 2 shards" in done.stdout
        assert (await run("verify", "--whole")).exit_code == 0

    async def test_redis_ahead_of_the_journal_is_refused(
        self, company: Company, redis_url: str
    ) -> None:
        client = redis.Redis.from_url(redis_url)
        client.hincrby(f"{{s{shard_of('anna')}}}:m", "seq", 1)
        client.close()
        result = await run("rebuild")
        assert result.exit_code == 1
        assert "ahead of the journal" in result.stderr


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
        assert statement["profile"]["destination"] == "on file"
        assert "v1." not in json.dumps(statement)

    async def test_a_seller_whose_profile_has_not_come(self, company: Company) -> None:
        result = await run("wallet", "show", "eve")
        assert "no profile yet" in result.stdout
        assert "1 earnings and returns wait" in result.stdout

    async def test_a_seller_that_nobody_knows(self, company: Company) -> None:
        result = await run("wallet", "show", "nobody")
        assert result.exit_code == 1
        assert "nothing is known of a seller 'nobody'" in result.stderr
