"""Verify holds on a company that worked, and each rule fails when what it guards is broken."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from models.ids import derived
from models.shards import shard_of
from rails.registry import open_rails
from rails.sandbox.server import Sandbox, serve
from streams.engine import Outgoing
from streams.wallets import evidence
from streams.wallets.evidence import EvidenceMissing
from streams.wallets.verify import RULES, Verdict, verify
from tests.streams.wallets.harness import Company, commission_id

SHARD = shard_of("anna")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is late on a broker that has nothing else to do."""
    monkeypatch.setattr(evidence, "QUIET_S", 0.05)
    monkeypatch.setattr(evidence, "LATE_MAX_S", 0.3)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with await serve(settle_delay_ms=0) as server:
        yield server


@pytest.fixture
async def company(
    own_broker: str, redis_url: str, client: redis.Redis, sandbox: Sandbox
) -> AsyncIterator[Company]:
    """A company whose day is done: sales, an upline, returns, payouts that settled, credit."""
    rails = open_rails({"paypal": sandbox.rail_settings()})
    async with Company(own_broker, redis_url, rails=rails, paypal_base_url=sandbox.url) as made:
        made.publish(
            "sellers",
            made.seller("root"),
            made.seller("anna", receiver="anna@example.com", sponsor_id="root"),
        )
        await made.work()
        twice = made.sale("anna", 8_000, "twice")
        made.publish(
            "sales",
            *(made.sale("anna", 10_000, f"s{i}") for i in range(8)),
            made.sale("early-bird", 5_000, "b1"),
            made.return_of("anna", 2_500, "s3"),
            made.return_of("anna", 99_999, "s3"),
            twice,
            twice,
            {**twice, "amount_minor": 7},
            b"\xff not json",
        )
        await made.work()
        await settle(made)
        yield made
        await rails["paypal"].close()


async def settle(company: Company) -> None:
    """Let the rail tell how the payouts went."""
    company.clock.now_ms += 10 * 60_000
    await company.janitor.once()
    await company.work()
    company.clock.now_ms -= 10 * 60_000


async def judged(company: Company, *, whole: bool = True) -> Verdict:
    return await asyncio.to_thread(verify, company.settings, whole=whole)


async def broken(company: Company, *, whole: bool = True) -> dict[str, str]:
    """The names and details of the rules that do not hold."""
    verdict = await judged(company, whole=whole)
    assert verdict.ok == all(check.ok for check in verdict.checks)
    return {check.name: check.detail for check in verdict.checks if not check.ok}


async def append(company: Company, shard: int = SHARD, **changes: Any) -> None:
    """Publish one more journal entry, and let Redis's seq follow."""
    client = redis.Redis.from_url(company.settings.redis_url)
    seq = int(client.hincrby(f"{{s{shard}}}:m", "seq", 1))  # type: ignore[arg-type]
    client.close()
    entry = {
        "v": 1, "shard": shard, "seq": seq, "kind": "test", "id": f"test-{seq}",
        "seller": "anna", "at": company.clock(), "postings": [], "writes": [],
    }  # fmt: skip
    value = json.dumps({**entry, **changes}, separators=(",", ":")).encode()
    await company.send([Outgoing("ledger", b"anna", value)])


def booked_sale(company: Company) -> dict[str, Any]:
    """The first sale's journal entry."""
    entries = [json.loads(m.value or b"") for m in company.sent if m.topic == "ledger"]
    return next(entry for entry in entries if entry["kind"] == "sale.completed")


class TestACompanyThatWorked:
    async def test_every_rule_holds_and_looked_at_something(self, company: Company) -> None:
        verdict = await judged(company)
        assert verdict.ok, [check for check in verdict.checks if not check.ok]
        assert [check.name for check in verdict.checks] == [rule.name for rule in RULES]
        idle = [check.name for check in verdict.checks if check.detail.startswith(("0 ", "not"))]
        assert idle == ["outboxes are empty or fresh"]
        states = {state for state, *_ in verdict.fold.payouts.values()}
        assert states == {"settled"}
        assert verdict.fold.earned["anna", "EUR"] == 8 * 2_500 - 625 + 2_000

    async def test_while_it_works_what_is_on_its_way_is_left_out(self, company: Company) -> None:
        company.publish("sales", company.sale("anna", 1_000, "later"))
        assert await broken(company, whole=False) == {}
        assert list(await broken(company)) == ["every message has one effect or one dead letter"]

    async def test_without_a_topic_there_is_no_verdict(
        self, own_broker: str, redis_url: str, client: redis.Redis, company: Company
    ) -> None:
        other = company.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
        with pytest.raises(EvidenceMissing, match="cannot read from Redis"):
            await asyncio.to_thread(verify, other)


class TestWhatBreaksARule:
    async def test_wallets(self, company: Company, client: redis.Redis) -> None:
        client.hincrby(f"{{s{SHARD}}}:w:anna", "EUR:available", 1)
        found = await broken(company)
        assert "anna/available: Redis" in found["wallets equal the journal"]
        assert "anna" in found["what sellers have and were paid is what they earned"]
        assert len(found) == 2

    async def test_house_accounts(self, company: Company, client: redis.Redis) -> None:
        client.hincrby(f"{{s{SHARD}}}:h", "commissions:EUR", 1)
        assert list(await broken(company)) == ["wallets equal the journal"]

    async def test_a_seller_that_only_redis_knows(
        self, company: Company, client: redis.Redis
    ) -> None:
        client.hset(f"{{s{SHARD}}}:w:nobody", "EUR:held", 5)
        assert "nobody/held" in (await broken(company))["wallets equal the journal"]

    async def test_lots(self, company: Company, client: redis.Redis) -> None:
        lots: dict[bytes, bytes] = client.hgetall(f"{{s{SHARD}}}:l:anna")  # type: ignore[assignment]
        lot = next(iter(lots))
        client.hdel(f"{{s{SHARD}}}:l:anna", lot.decode())
        assert list(await broken(company)) == ["lots sum to the credit"]

    async def test_postings_that_do_not_sum_to_zero(self, company: Company) -> None:
        await append(company, postings=[["/fees", "EUR", 7], ["/sales", "EUR", -6]])
        assert (
            "all accounts together are at 1 EUR"
            in ((await broken(company))["postings sum to zero"])
        )

    async def test_money_from_a_house_account_that_earns_nobody(
        self, company: Company, client: redis.Redis
    ) -> None:
        await append(company, postings=[["anna/held", "EUR", 5], ["/writeoff", "EUR", -5]])
        client.hincrby(f"{{s{SHARD}}}:w:anna", "EUR:held", 5)
        client.hincrby(f"{{s{SHARD}}}:h", "writeoff:EUR", -5)
        found = await broken(company)
        assert "what sellers have and were paid is what they earned" in found
        assert len(found) == 1

    async def test_an_account_beyond_zero(self, company: Company) -> None:
        await append(company, postings=[["anna/debt", "EUR", 5], ["/commissions", "EUR", -5]])
        assert "anna/debt" in (await broken(company))["no account is beyond zero"]

    async def test_a_gap(self, company: Company, client: redis.Redis) -> None:
        client.hincrby(f"{{s{SHARD}}}:m", "seq", 1)
        await append(company)
        found = await broken(company)
        assert "is missing" in found["the journal has no gaps and ends where Redis does"]

    async def test_redis_ahead_of_the_journal(self, company: Company, client: redis.Redis) -> None:
        client.hincrby(f"{{s{SHARD}}}:m", "seq", 1)
        assert (
            f"shard {SHARD}: Redis is at"
            in ((await broken(company))["the journal has no gaps and ends where Redis does"])
        )

    async def test_the_journal_ahead_of_redis(self, company: Company, client: redis.Redis) -> None:
        await append(company)
        client.hincrby(f"{{s{SHARD}}}:m", "seq", -1)
        assert (
            "the journal has entry"
            in ((await broken(company))["the journal has no gaps and ends where Redis does"])
        )

    async def test_an_entry_in_two_versions(self, company: Company, client: redis.Redis) -> None:
        client.hincrby(f"{{s{SHARD}}}:m", "seq", -1)
        await append(company)
        assert (
            "two versions"
            in ((await broken(company))["the journal has no gaps and ends where Redis does"])
        )

    async def test_an_event_booked_twice(self, company: Company) -> None:
        sale = booked_sale(company)
        await append(company, id=sale["id"], source=["sales", 0, 10_000], hash=sale["hash"])
        assert (
            "was booked twice"
            in ((await broken(company))["every message has one effect or one dead letter"])
        )

    async def test_a_message_without_an_effect(self, company: Company) -> None:
        company.publish("redemptions", b"{}")
        company._commit(company._waiting())
        assert (
            "redemptions:"
            in (
                (await broken(company, whole=False))[
                    "every message has one effect or one dead letter"
                ]
            )
        )

    async def test_a_message_booked_and_refused(self, company: Company) -> None:
        topic, partition, offset = booked_sale(company)["source"]
        place = {"topic": topic, "partition": str(partition), "offset": str(offset)}
        headers = [(k, v.encode()) for k, v in {**place, "reason": "not_json"}.items()]
        await company.send([Outgoing("dead-letters", b"anna", b"{}", headers)])
        assert (
            "was booked and refused"
            in ((await broken(company))["every message has one effect or one dead letter"])
        )

    async def test_a_commission_that_never_arrived(self, company: Company) -> None:
        await append(company, emits=[commission_id("anna", "lost", 1)])
        assert (
            "never sent"
            in ((await broken(company))["every commission sent up the tree was booked"])
        )
        # It may be on its way in a system that runs, for a minute.
        assert "every commission sent up the tree was booked" not in (
            await broken(company, whole=False)
        )
        await append(company, emits=["older"], at=company.clock() - 61_000)
        assert (
            "older was never sent"
            in (
                (await broken(company, whole=False))["every commission sent up the tree was booked"]
            )
        )

    async def test_a_decision_that_is_not_the_booked_tier(self, company: Company) -> None:
        sale = next(m for m in company.sent if m.topic == "decisions")
        changed = (sale.value or b"").replace(b'"instant"', b'"hold"').replace(
            b'"version":1', b'"version":1,"again":1')  # fmt: skip
        await company.send([Outgoing("decisions", b"anna", changed)])
        assert (
            "2 different decisions"
            in ((await broken(company))["each sale's tier is its published decision"])
        )

    async def test_a_sale_without_a_decision(self, company: Company) -> None:
        await append(
            company, kind="sale.completed", tier="hold", source=["sales", 0, 10_000], hash="0" * 16
        )
        assert (
            "0 different decisions"
            in ((await broken(company))["each sale's tier is its published decision"])
        )

    async def test_a_threshold_that_fired_twice(self, company: Company) -> None:
        for lot in ("one", "two"):
            await append(company, credits=[["granted", lot, "c", "2026-11", "EUR", 1, 5]])
        assert (
            "tier 1 of anna"
            in ((await broken(company))["a threshold's grant is active at most once"])
        )

    async def test_an_outbox_that_nobody_empties(
        self, company: Company, client: redis.Redis
    ) -> None:
        await append(company, at=company.clock() - 61_000)
        seq = int(client.hget(f"{{s{SHARD}}}:m", "seq"))  # type: ignore[arg-type]
        client.xadd(f"{{s{SHARD}}}:o", {"ledger\tanna": "{}"}, id=f"{seq}-0")
        assert "1 entries" in (await broken(company))["outboxes are empty or fresh"]

    async def test_a_payout_that_redis_has_otherwise(
        self, company: Company, client: redis.Redis
    ) -> None:
        key = next(iter(client.scan_iter("*:y:*")))
        stored = json.loads(client.get(key))  # type: ignore[arg-type]
        client.set(key, json.dumps({**stored, "state": "failed"}))
        assert list(await broken(company)) == ["payouts in Redis are as the journal has them"]


class TestWhatBreaksPayouts:
    RULE = "every payout command has its reservation"
    BOOKS = "payouts agree with the rail's books"

    async def test_a_command_without_a_reservation(self, company: Company) -> None:
        command = next(m for m in company.sent if m.topic == "payouts.commands")
        body = {**json.loads(command.value or b""), "payout_id": "ff-invented"}
        await company.send([Outgoing("payouts.commands", b"anna", json.dumps(body).encode())])
        assert "never reserved" in (await broken(company))[self.RULE]

    async def test_a_command_for_more_than_was_reserved(self, company: Company) -> None:
        command = next(m for m in company.sent if m.topic == "payouts.commands")
        body = json.loads(command.value or b"")
        body["amount_minor"] += 1
        await company.send([Outgoing("payouts.commands", b"anna", json.dumps(body).encode())])
        assert "otherwise than reserved" in (await broken(company))[self.RULE]

    async def test_a_reservation_without_a_command(self, company: Company) -> None:
        payout = derived("no command")
        await append(company, payout=[payout, "reserved", "paypal", 5, 0])
        assert f"{payout} was reserved and never commanded" in (await broken(company))[self.RULE]

    async def test_a_payout_from_nowhere(self, company: Company) -> None:
        await append(company, payout=["nowhere", "submitted", "paypal", 5, 0])
        assert "nowhere was handed to a rail" in (await broken(company))[self.RULE]

    async def test_paid_twice(self, company: Company, sandbox: Sandbox) -> None:
        entry = next(iter(sandbox.books._by_reference.values()))
        sandbox.books._by_reference["again"] = entry
        found = (await broken(company))[self.BOOKS]
        assert f"{entry.payout_id} was paid 2 times" in found

    async def test_paid_and_unknown_here(self, company: Company, sandbox: Sandbox) -> None:
        entry = next(iter(sandbox.books._by_reference.values()))
        entry.sender_item_id = "stranger"
        found = (await broken(company))[self.BOOKS]
        assert "stranger was paid at the rail, the ledger does not know it" in found
        assert "is settled, the rail does not know it" in found

    async def test_another_amount(self, company: Company, sandbox: Sandbox) -> None:
        next(iter(sandbox.books._by_reference.values())).amount_minor += 1
        assert "EUR at the rail" in (await broken(company))[self.BOOKS]

    async def test_settled_here_and_not_there(self, company: Company, sandbox: Sandbox) -> None:
        next(iter(sandbox.books._by_reference.values())).plan = ((0, 0, "FAILED"),)
        assert "the rail has not paid it" in (await broken(company))[self.BOOKS]

    async def test_a_rail_that_does_not_answer(self, company: Company, sandbox: Sandbox) -> None:
        await sandbox.close()
        assert "cannot be read" in (await broken(company))[self.BOOKS]
