"""Verify holds on a company that worked, and each rule fails when what it guards is broken."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from models.ids import derived
from models.ledger import DEBT, LINES, REINVESTED, SETTLED, WRITE_OFF
from models.releases import PENDING
from models.resolutions import RESOLVED
from models.reviews import LABEL
from models.shards import shard_of
from models.suspects import EXPLORED, PARTIAL, REJECTED
from rails.registry import open_rails
from rails.sandbox.server import Sandbox, serve
from streams.engine import Outgoing
from streams.settings import DEFAULTS
from streams.wallets import evidence
from streams.wallets import verify as rules
from streams.wallets.evidence import EvidenceMissing
from streams.wallets.verify import RULES, Verdict, verify
from tests.streams.wallets.harness import Company, commission_id, opened

SHARD = shard_of("anna")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is late on a broker that has nothing else to do."""
    monkeypatch.setattr(evidence, "QUIET_S", 0.05)
    monkeypatch.setattr(evidence, "LATE_MAX_S", 0.3)
    monkeypatch.setattr(rules, "EXAMPLES_MAX", 100)


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
    campaigns = (DEFAULTS / "campaigns.yaml").read_text() + BUDGETED
    async with Company(
        own_broker, redis_url, rails=rails, campaigns=campaigns, paypal_base_url=sandbox.url
    ) as made:
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


BUDGETED = """
  - id: capped
    metric: count
    period: lifetime
    budget: {EUR: 900}
    tiers:
      - reach: 2
        credit: {EUR: 500}
      - reach: 3
        credit: {EUR: 600}
"""


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
        "v": 1, "shard": shard, "seq": seq, "epoch": await opened(company.store, shard),
        "kind": "test", "id": f"test-{seq}",
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
        # test_reinvest.py has reinvested earnings, test_till.py purchases, test_fx.py quotes,
        # test_debt.py, test_takeback.py, test_lines.py, test_releases.py, test_labels.py,
        # test_resolve.py the rest.
        assert idle == [
            REINVESTED, LINES, SETTLED, "purchases are as the journal has them",
            "every authorisation ends", "quotes are used once, as the journal has them",
            "every quote ends", "discounts are as the journal has them", DEBT, WRITE_OFF,
            "debt is as old as the journal has it", PENDING, "every pending earning is released",
            LABEL, PARTIAL, EXPLORED, REJECTED, "outboxes are empty or fresh", RESOLVED,
        ]  # fmt: skip
        states = {state for state, *_ in verdict.fold.payouts.values()}
        assert states == {"settled"}
        # The second threshold found 400 of its 600.
        [used] = verdict.fold.budgets.used["capped", "EUR"].values()
        assert used == 500
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


MONEY = "wallets equal the journal"
EARNED = "what sellers have and were paid is what they earned"
SEQUENCE = "the journal has no gaps and ends where Redis does"
EFFECTS = "every message has one effect or one dead letter"
COMMISSIONS = "every commission sent up the tree was booked"
DECISIONS = "each sale's tier is its published decision"
COMMANDS = "every payout was reserved, commanded, and then handed over"
FOLLOW = "balances follow from the entries before them"
BOOKS = "payouts agree with the rail's books"

WALLET, HOUSE, LOTS, META = (f"{{s{SHARD}}}:{key}" for key in ("w:anna", "h", "l:anna", "m"))


class TestRedisThatDiffers:
    """Each is put right again, so that the next is the only thing that is wrong."""

    async def test_in_one_thing_breaks_the_rule_for_it(
        self, company: Company, client: redis.Redis
    ) -> None:
        client.hincrby(WALLET, "EUR:available", 1)
        found = await broken(company)
        assert set(found) == {MONEY, EARNED}
        assert "anna/available: Redis" in found[MONEY]
        client.hincrby(WALLET, "EUR:available", -1)

        client.hincrby(HOUSE, "commissions:EUR", 1)
        assert list(await broken(company)) == [MONEY]
        client.hincrby(HOUSE, "commissions:EUR", -1)

        client.hset(f"{{s{SHARD}}}:w:nobody", "EUR:held", 5)
        assert "nobody/held" in (await broken(company))[MONEY]
        client.delete(f"{{s{SHARD}}}:w:nobody")

        lots: dict[str, str] = client.hgetall(LOTS)  # type: ignore[assignment]
        client.hdel(LOTS, next(iter(lots)))
        assert list(await broken(company)) == [
            "lots sum to the credit", "lots are as the journal has them"
        ]  # fmt: skip
        client.hset(LOTS, mapping=lots)  # type: ignore[arg-type]

        payout = next(iter(client.scan_iter("*:y:*")))
        stored: bytes = client.get(payout)  # type: ignore[assignment]
        client.set(payout, json.dumps({**json.loads(stored), "state": "failed"}))
        assert list(await broken(company)) == ["payouts in Redis are as the journal has them"]
        client.set(payout, stored)

        client.hincrby(META, "seq", 1)
        assert f"shard {SHARD}: Redis is at" in (await broken(company))[SEQUENCE]
        client.hincrby(META, "seq", -2)
        assert "the journal has entry" in (await broken(company))[SEQUENCE]
        client.hincrby(META, "seq", 1)
        assert await broken(company) == {}

    async def test_a_payout_that_nobody_would_ask_about_is_found(
        self, company: Company, client: redis.Redis
    ) -> None:
        company.publish("sales", company.sale("anna", 8_000, "last"))
        await company.work()
        assert await broken(company, whole=False) == {}
        [payout] = client.zrange(f"{{s{SHARD}}}:e", 0, -1)  # type: ignore[misc]
        client.zrem(f"{{s{SHARD}}}:e", payout)
        [(rule, detail)] = (await broken(company, whole=False)).items()
        assert rule == "every payout under way is asked about"
        assert detail == f"{payout.decode()} is accepted, and there is no time to ask about it"


class TestAJournalThatIsWrong:
    async def test_breaks_the_rule_for_each_fault(
        self, company: Company, client: redis.Redis
    ) -> None:
        sale = booked_sale(company)
        place: dict[str, Any] = {"source": ["sales", 0, 10_000], "hash": sale["hash"]}
        old = company.clock() - 61_000
        await append(company, postings=[["/fees", "EUR", 7, 7], ["/sales", "EUR", -6, -6]])
        await append(company, postings=[["anna/debt", "EUR", 5, 5], ["/commissions", "EUR", -5, 0]])
        await append(company, postings=[["anna/held", "EUR", 5, 5], ["/writeoff", "EUR", -5, -5]])
        client.hincrby(WALLET, "EUR:held", 5)
        await append(company, id=sale["id"], **place)
        await append(company, kind="sale.completed", tier="hold", **place)
        await append(company, emits=[commission_id("anna", "lost", 1)])
        for lot in ("one", "two"):
            await append(company, credits=[["granted", lot, "c", "2026-11", "EUR", 1, 5]])
        await append(company, payout=[derived("uncommanded"), "reserved", "paypal", 5, 0])
        await append(company, budgets=[["c", "EUR", 5, 5, 3]])
        await append(company, payout=["nowhere", "submitted", "paypal", 5, 0])
        await append(company, resolved=["Eva Klein", "called", ""])
        await append(company, at=old)
        seq = int(client.hget(META, "seq"))  # type: ignore[arg-type]
        client.xadd(f"{{s{SHARD}}}:o", {"ledger\tanna": "{}"}, id=f"{seq}-0")
        client.hincrby(META, "seq", -1)
        await append(company, at=old, kind="another version")
        found = await broken(company)
        assert "all accounts together are at 1 EUR" in found["postings sum to zero"]
        assert "anna/debt EUR at 5" in found["no account is beyond zero"]
        assert "/commissions EUR is 0 by" in found[FOLLOW]
        assert "anna: has and was paid" in found[EARNED]
        assert "was booked twice" in found[EFFECTS]
        assert "resolves no payout" in found[RESOLVED]
        assert "the decision is not published" in found[DECISIONS]
        assert "was not booked" in found[COMMISSIONS] or "never sent" in found[COMMISSIONS]
        assert "tier 1 of anna" in found["a threshold's grant is active at most once"]
        assert "draws 5 EUR of c: 0 to 5 of 3" in found["no budget is overspent"]
        assert "was reserved and never commanded" in found[COMMANDS]
        assert "nowhere was handed to a rail" in found[COMMANDS]
        assert "1 entries, the first 6" in found["outboxes are empty or fresh"]
        assert "two versions" in found[SEQUENCE]

    async def test_a_gap(self, company: Company, client: redis.Redis) -> None:
        client.hincrby(META, "seq", 1)
        await append(company)
        assert "is missing" in (await broken(company))[SEQUENCE]

    async def test_a_commission_may_be_on_its_way_for_a_minute(self, company: Company) -> None:
        await append(company, emits=[commission_id("anna", "lost", 1)])
        assert await broken(company, whole=False) == {}
        await append(company, emits=["older"], at=company.clock() - 61_000)
        assert await broken(company, whole=False) == {COMMISSIONS: "older was never sent"}


class TestTopicsThatAreWrong:
    async def test_break_the_rule_for_each_fault(self, company: Company) -> None:
        company.publish("redemptions", b"{}")
        company._commit(company._waiting())
        topic, partition, offset = booked_sale(company)["source"]
        place = {"topic": topic, "partition": str(partition), "offset": str(offset)}
        headers = [(k, v.encode()) for k, v in {**place, "reason": "not_json"}.items()]
        await company.send([Outgoing("dead-letters", b"anna", b"{}", headers)])
        found = await broken(company, whole=False)
        assert "redemptions:" in found[EFFECTS]
        assert "was booked and refused (not_json)" in found[EFFECTS]
        assert len(found) == 1

    async def test_a_decision_that_is_not_the_booked_tier(self, company: Company) -> None:
        source: dict[str, Any] = {"source": ["sales", 0, 10_000], "hash": "0" * 16}
        await append(company, id="odd", kind="sale.completed", tier="hold", **source)
        odd = {"event_id": "odd", "tier": "instant"}
        await company.send([Outgoing("decisions", b"anna", json.dumps(odd).encode())])
        found = (await broken(company))[DECISIONS]
        assert found == "odd was booked as hold, the decision is instant"

    async def test_commands_that_were_not_reserved(self, company: Company) -> None:
        command = next(m.value or b"" for m in company.sent if m.topic == "payouts.commands")
        body = json.loads(command)
        # Left over from a booking that Redis lost: nothing was reserved, so nothing is paid.
        orphan = json.dumps({**body, "payout_id": "ff-invented"}).encode()
        await company.send([Outgoing("payouts.commands", b"anna", orphan)])
        assert await broken(company, whole=False) == {}
        postings = [["anna/available", "EUR", -5, 0], ["anna/in_flight", "EUR", 5, 5]]
        payout = [body["payout_id"] + "-2", "reserved", "paypal", 5, 0]
        await append(company, postings=postings, payout=payout, at=company.clock() - 61_000)
        other = json.dumps({**body, "payout_id": payout[0]}).encode()
        await company.send([Outgoing("payouts.commands", b"anna", other)])
        found = await broken(company, whole=False)
        assert "otherwise than reserved" in found[COMMANDS]


class TestARailThatDiffers:
    async def test_breaks_the_rule_for_it(self, company: Company, sandbox: Sandbox) -> None:
        books = sandbox.books._by_reference
        entry = next(iter(books.values()))
        books["again"] = entry
        assert f"{entry.payout_id} was paid 2 times" in (await broken(company))[BOOKS]
        del books["again"]

        own, entry.sender_item_id = entry.sender_item_id, "stranger"
        found = (await broken(company))[BOOKS]
        assert "stranger was paid at the rail, the ledger does not know it" in found
        assert "is settled, the rail does not know it" in found
        entry.sender_item_id = own

        entry.amount_minor += 1
        assert "EUR at the rail" in (await broken(company))[BOOKS]
        entry.amount_minor -= 1

        plan, entry.plan = entry.plan, ((0, 0, "FAILED"),)
        assert "the rail has not paid it" in (await broken(company))[BOOKS]
        entry.plan = plan
        assert await broken(company) == {}

        await sandbox.close()
        assert "cannot be read" in (await broken(company))[BOOKS]
