"""Debt, through a real Redis: how it is worked off, written off, and how old it grows."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

from models.debts import by_age, day_of, read_owed
from models.ledger import DEBT, WRITE_OFF, Entry
from models.shards import SHARDS
from streams.cli import app
from streams.exposure import ExposureWatch
from streams.settings import DEFAULTS
from streams.wallets.rebuild import rebuild
from streams.wallets.verify import verify
from tests.streams.wallets.harness import (
    DAY_MS,
    NOW_MS,
    PAY,
    Company,
    Followed,
    Shard,
    campaign,
)
from tests.streams.wallets.test_rebuild import keys

WAITS: dict[str, Any] = {
    "waiting": True, "sale": "x", "origin": "anna", "level": 0, "held": False, "occurred_at": "x",
}  # fmt: skip


class Debtor(Followed):
    """Anna, who earns and owes."""

    def __init__(self, client: redis.Redis, share_bp: int = 10_000, **more: Any) -> None:
        super().__init__(client, **more)
        self.shard.debt_bp = share_bp

    def owe(self, amount: int) -> None:
        """Take so much back that it is not there."""
        take = self.shard.event("take", "sale.returned", currency="EUR", base=amount * 4,
                                amount=amount, occurred=NOW_MS, counts=[], rev=0)  # fmt: skip
        assert self.do(take) == "booked"

    def earn(self, amount: int, **fields: Any) -> None:
        assert self.do(self.shard.sale(amount, **fields)) == "booked"

    def write_off(self, amount: int, **fields: Any) -> str:
        return self.do(self.shard.event("write_off", "debt.written_off", currency="EUR",
                                        amount=amount, by="Eva Klein", reason="hardship",
                                        **fields))  # fmt: skip

    def figures(self) -> tuple[int, int, int]:
        """available, held, debt; in Redis the debt has the ages that the journal gives."""
        available, held, _, _, debt = self.shard.balances()
        today = day_of(self.shard.now_ms)
        stored: Any = self.shard.client.hget(self.shard.key("D"), "EUR:anna")
        owed = read_owed(stored.decode()) if stored else []
        assert sum(minor for _, minor in owed) == -debt
        assert by_age(owed, today) == by_age(self.fold.owed.get(("anna", "EUR"), ()), today)
        return available, held, debt


class TestShare:
    @pytest.mark.parametrize(
        ("share_bp", "earned", "after"),
        [
            (10_000, 600, (0, 0, -400)),
            (10_000, 1_600, (600, 0, 0)),
            (5_000, 600, (300, 0, -700)),
            (5_000, 601, (301, 0, -700)),
            (5_000, 1, (1, 0, -1_000)),
            (3_333, 999, (667, 0, -668)),
            (0, 600, (600, 0, -1_000)),
            (5_000, 3_000, (2_000, 0, 0)),
        ],
    )
    def test_of_an_earning_pays_debt_rounded_down(
        self, client: redis.Redis, share_bp: int, earned: int, after: tuple[int, ...]
    ) -> None:
        anna = Debtor(client, share_bp)
        anna.owe(1_000)
        anna.earn(earned)
        assert anna.figures() == after

    def test_a_held_earning_pays_its_share_too(self, client: redis.Redis) -> None:
        anna = Debtor(client, 2_500)
        anna.owe(1_000)
        anna.earn(400, tier="hold")
        assert anna.figures() == (0, 300, -900)

    @pytest.mark.parametrize(("share_bp", "after"), [(5_000, (500, 0, -500)), (10_000, (0, 0, 0))])
    def test_is_not_taken_again_when_the_profile_comes(
        self, client: redis.Redis, share_bp: int, after: tuple[int, ...]
    ) -> None:
        anna = Debtor(client, share_bp)
        anna.owe(1_000)
        anna.earn(1_000, **WAITS)
        anna.do(anna.shard.event("profile", "seller.updated", profile="{}", rev=0,
                                 release=[{"counts": []}]))  # fmt: skip
        assert anna.figures() == after

    def test_is_taken_of_what_waited_for_debt_that_arose_meanwhile(
        self, client: redis.Redis
    ) -> None:
        anna = Debtor(client, 5_000)
        anna.owe(100)
        anna.earn(1_000, **WAITS)
        assert anna.figures() == (0, 900, 0)
        anna.owe(2_000)
        anna.do(anna.shard.event("profile", "seller.updated", profile="{}", rev=0,
                                 release=[{"counts": []}]))  # fmt: skip
        assert anna.figures() == (500, 0, -1_600), "half of the earning in all"

    def test_of_what_waited_is_of_what_was_not_returned(self, client: redis.Redis) -> None:
        anna = Debtor(client, 5_000)
        sale = anna.shard.sale(1_000, **WAITS)
        anna.do(sale)
        anna.do(anna.shard.return_of(sale, 3_000))
        anna.owe(2_000)
        anna.do(anna.shard.event("profile", "seller.updated", profile="{}", rev=0,
                                 release=[{"counts": []}, {}]))  # fmt: skip
        assert anna.figures() == (125, 0, -1_875)

    def test_of_a_bonus_pays_debt(self, client: redis.Redis) -> None:
        steps = campaign(EUR=[(1, 4_000, 500, 0, 0, True)])
        anna = Debtor(client, 5_000, campaigns=[steps])
        anna.owe(10_000)
        anna.earn(1_000, counts=[[1, "p", 0]])
        assert anna.figures() == (750, 0, -9_250)

    def test_whole_is_what_comes_back_from_a_payout(self, client: redis.Redis) -> None:
        anna = Debtor(client, 5_000)
        anna.earn(1_000, pay={**PAY, "fixed": 0, "bp": 0})
        anna.owe(400)
        anna.do(anna.shard.transit(anna.shard.only_payout(), "submitted"))
        anna.do(anna.shard.transit(anna.shard.only_payout(), "failed"))
        assert anna.figures() == (600, 0, 0), "it would have been taken of it before"

    def test_the_journal_tells_of_it(self, client: redis.Redis) -> None:
        anna = Debtor(client, 5_000)
        anna.owe(1_000)
        anna.earn(600)
        assert anna.shard.entries[0]["worked"] == [[5_000, 600, 0, 600, 1_000, 300]]

    @pytest.mark.parametrize(
        "worked", [None, [[5_000, 600, 0, 600, 1_000, 301]], [[10_000, 600, 0, 600, 999, 600]]]
    )
    def test_another_share_than_the_entry_names_is_found(
        self, client: redis.Redis, worked: Any
    ) -> None:
        anna = Debtor(client, 5_000)
        anna.owe(1_000)
        assert anna.shard.one(anna.shard.sale(600)) == "booked"
        entry = json.loads(anna.shard.raw[0])
        if worked is None:
            del entry["worked"]
        else:
            entry["worked"] = worked
        anna.fold.apply(Entry.parse(json.dumps(entry).encode()))
        assert {each.invariant for each in anna.fold.violations} == {DEBT}


class TestWriteOff:
    def test_is_of_a_part_or_all_that_is_owed(self, client: redis.Redis) -> None:
        anna = Debtor(client)
        anna.owe(1_000)
        assert anna.write_off(300) == "booked"
        assert anna.figures() == (0, 0, -700)
        assert anna.write_off(700) == "booked"
        assert anna.figures() == (0, 0, 0)
        assert anna.fold.written_off["anna", "EUR"] == 1_000
        assert anna.fold.balances["/writeoff", "EUR"] == -1_000

    @pytest.mark.parametrize("owed", [0, 1_000])
    def test_of_more_than_is_owed_is_refused(self, client: redis.Redis, owed: int) -> None:
        anna = Debtor(client)
        if owed:
            anna.owe(owed)
        before = anna.shard.balances()
        assert anna.write_off(owed + 1) == "refused:write_off_exceeds_debt"
        assert anna.shard.balances() == before

    def test_counts_once(self, client: redis.Redis) -> None:
        anna = Debtor(client)
        anna.owe(1_000)
        assert anna.write_off(300, id="w1") == "booked"
        assert anna.write_off(300, id="w1") == "repeat"
        assert anna.write_off(400, id="w1", hash="f" * 16) == "refused:id_reused"
        assert anna.figures() == (0, 0, -700)

    def test_names_who_and_why_in_the_journal(self, client: redis.Redis) -> None:
        anna = Debtor(client)
        anna.owe(1_000)
        anna.write_off(300)
        assert anna.shard.entries[0]["written_off"] == ["Eva Klein", "hardship"]

    def test_by_nobody_is_found(self, client: redis.Redis) -> None:
        anna = Debtor(client)
        anna.owe(1_000)
        operation = anna.shard.event("write_off", "debt.written_off", currency="EUR", amount=10,
                                     by="Eva Klein", reason="hardship")  # fmt: skip
        assert anna.shard.one(operation) == "booked"
        entry = json.loads(anna.shard.raw[0])
        del entry["written_off"]
        anna.fold.apply(Entry.parse(json.dumps(entry).encode()))
        assert [each.invariant for each in anna.fold.violations] == [WRITE_OFF]


class TestAge:
    def test_the_longest_owed_is_paid_first(self, client: redis.Redis) -> None:
        anna = Debtor(client)
        for days in (0, 20, 31, 29, 40):
            anna.shard.now_ms += days * DAY_MS
            anna.owe(100)
        today = day_of(anna.shard.now_ms)

        def ages() -> list[int]:
            anna.figures()
            return list(by_age(anna.fold.owed["anna", "EUR"], today).values())

        assert ages() == [100, 100, 100, 200]
        anna.earn(150)
        assert ages() == [100, 100, 100, 50]
        anna.earn(75)
        assert ages() == [100, 100, 75, 0]
        anna.owe(5)
        assert ages() == [105, 100, 75, 0]
        anna.earn(280)
        assert anna.figures() == (0, 0, 0)
        assert not anna.shard.client.exists(anna.shard.key("D"))

    def test_a_debt_of_many_days_is_kept_in_few(self, client: redis.Redis) -> None:
        anna = Debtor(client)
        for _ in range(150):
            anna.shard.now_ms += DAY_MS
            anna.owe(1)
            anna.figures()
        stored: Any = anna.shard.client.hget(anna.shard.key("D"), "EUR:anna")
        assert len(stored.split(b"|")) <= 92

    @pytest.mark.parametrize(
        ("age", "name"),
        [(0, "0-30"), (30, "0-30"), (31, "31-60"), (60, "31-60"), (61, "61-90"), (90, "61-90"),
         (91, "90+"), (4_000, "90+")],
    )  # fmt: skip
    def test_has_its_bounds(self, age: int, name: str) -> None:
        ages = by_age([(20_000 - age, 7)], 20_000)
        assert {each for each, minor in ages.items() if minor} == {name}

    def test_a_clock_that_is_behind_adds_to_the_last_day(self, client: redis.Redis) -> None:
        anna = Debtor(client)
        anna.owe(10)
        anna.shard.now_ms -= DAY_MS
        anna.owe(10)
        anna.shard.now_ms += DAY_MS
        assert anna.figures() == (0, 0, -20)


@pytest.fixture
async def company(
    own_broker: str, redis_url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Company]:
    """Anna owes 10.00, half of what she earns pays it; Eve owes 5.00 for 40 days."""
    monkeypatch.setenv("PAYOUTS_KAFKA_BROKERS", own_broker)
    monkeypatch.setenv("PAYOUTS_REDIS_URL", redis_url)
    policy = (DEFAULTS / "policy.yaml").read_text().replace("{share: 100}", "{share: 50}")
    async with Company(own_broker, redis_url, policy=policy) as made:
        await made.wallets.heal(range(SHARDS))
        made.publish("sellers", made.seller("anna"), made.seller("eve"))
        await made.work()
        now_ms = made.clock.now_ms
        made.clock.now_ms -= 40 * DAY_MS
        made.publish("sales", made.return_of("eve", 2_000, None))
        await made.work()
        made.clock.now_ms = now_ms
        made.publish("sales", made.return_of("anna", 4_000, None))
        await made.work()
        yield made


async def run(*words: str) -> Any:
    return await asyncio.to_thread(CliRunner().invoke, app, list(words))


WRITE_OFF_WORDS = ("debt", "write-off", "anna", "EUR", "300", "--by", "Eva Klein")


class TestCompany:
    async def test_debt_is_worked_off_written_off_told_and_proven(
        self, company: Company, client: redis.Redis
    ) -> None:
        company.publish("sales", company.sale("anna", 1_600, "s1"))
        await company.work()
        sent = await run(*WRITE_OFF_WORDS, "--reason", "hardship", "--id", "w1")
        assert sent.exit_code == 0, sent.output
        assert "sent as w1: 3.00 EUR of anna" in sent.stdout
        await company.work()
        await run(*WRITE_OFF_WORDS, "--reason", "hardship", "--id", "w1")
        await company.work()

        told = await run("exposure", "--json")
        assert json.loads(told.stdout) == {
            "EUR": {
                "sellers": 2,
                "total_minor": 1_000,
                "by_age_days": {"0-30": 500, "31-60": 500, "61-90": 0, "90+": 0},
            }
        }
        [_, row] = (await run("exposure")).stdout.splitlines()
        assert row.split() == ["EUR", "2", "5.00", "5.00", "0.00", "0.00", "10.00"]
        history = await run("wallet", "history", "anna", "--json")
        words = [one["reason"] for one in json.loads(history.stdout)["movements"]]
        assert words[-1] == "Debt written off"
        watch = ExposureWatch(
            company.wallets, lambda: range(SHARDS), clock=company.clock, metrics=company.metrics
        )
        await watch.walk()
        lines = company.metrics.exposition().decode().splitlines()
        assert 'payouts_debt_minor_units{age="31-60",currency="EUR"} 500.0' in lines

        verdict = await asyncio.to_thread(verify, company.settings, whole=True)
        assert [check.detail for check in verdict.checks if not check.ok] == []
        before = keys(client)
        client.flushall()
        await asyncio.to_thread(rebuild, company.settings, from_empty=True)
        assert keys(client) == before

    async def test_a_write_off_of_too_much_is_not_sent(self, company: Company) -> None:
        words = ("debt", "write-off", "anna", "EUR", "1001", "--by", "Eva Klein", "--reason", "x")
        refused = await run(*words)
        assert refused.exit_code == 1
        assert "anna owes 10.00 EUR" in refused.stderr
        nameless = await run(*WRITE_OFF_WORDS[:-1], " ", "--reason", "x")
        assert nameless.exit_code == 2
        assert "by: " in nameless.stderr

    async def test_verify_finds_debt_of_another_age(
        self, company: Company, client: redis.Redis
    ) -> None:
        key, field = Shard(client, "eve").key("D"), "EUR:eve"
        stored: Any = client.hget(key, field)
        client.hset(key, field, stored.replace(b",500", b",499"))
        verdict = await asyncio.to_thread(verify, company.settings, whole=True)
        [broken] = [check for check in verdict.checks if not check.ok]
        assert broken.name == "debt is as old as the journal has it"
        assert "eve owes 500 EUR: 499 of 31-60 days in Redis, 500" in broken.detail
