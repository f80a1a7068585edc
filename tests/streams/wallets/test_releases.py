"""Earnings that are not the seller's yet, through a real Redis: held back, taken back, released."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

from models import reinvestment
from models.ledger import Entry, Fold
from models.policy import ReinvestPolicy
from models.reinvestment import Standing
from models.releases import PENDING, Pending
from models.shards import SHARDS, shard_of
from streams.api.endpoints import Wallet
from streams.cli import app
from streams.statements.ledger import Ledger
from streams.statements.past import read_past
from streams.wallets.rebuild import rebuild
from streams.wallets.statement import read_statement
from streams.wallets.verify import verify
from tests.streams.wallets.harness import (
    DAY_MS,
    NOW_MS,
    PAY,
    TERMS,
    Company,
    Shard,
    Told,
    commission_id,
)
from tests.streams.wallets.test_rebuild import keys

UNTIL_MS = NOW_MS + 14 * DAY_MS
RELEASED = "every pending earning is released"


class Releasing(Told):
    """Anna, of whose earnings a share is released later, and a journal of it."""

    def sale(self, amount: int, share_bp: int = 3_000, **fields: Any) -> dict[str, Any]:
        """A sale that earns an amount, four times that sold."""
        terms = [share_bp, UNTIL_MS, "return_window"]
        return self.shard.sale(amount, rev=1, schedule=terms, **fields)

    def returned(self, sale: Mapping[str, Any], amount: int) -> None:
        """A return that takes so much of what was earned."""
        assert self.do(self.shard.return_of(sale, amount * 4)) == "booked"

    def owe(self, amount: int) -> None:
        """A return without a receipt."""
        take = self.shard.event("take", "sale.returned", currency="EUR", base=amount, amount=amount,
                                occurred=NOW_MS, counts=[], rev=1)  # fmt: skip
        assert self.do(take) == "booked"

    def release(self, sale: Mapping[str, Any], **fields: Any) -> str:
        """The timer of what is pending of a sale."""
        timer = f"rel:anna/EUR/{sale['record']}"
        self.shard.now_ms = max(self.shard.now_ms, UNTIL_MS)
        return self.do({
            "op": "release", "id": self.shard.id(), "seller": "anna", "currency": "EUR", "rev": 1,
            "record": sale["record"], "timer": timer, "due": UNTIL_MS, **fields,
        })  # fmt: skip

    def timers(self) -> list[tuple[str, int]]:
        found: Any = self.shard.client.zrange(self.shard.key("t"), 0, -1, withscores=True)
        return [(timer.decode(), int(due)) for timer, due in found]

    def figures(self) -> tuple[int, int, int, int]:
        """available, pending, credit, debt; nothing in the journal or the lots contradicts them."""
        assert self.fold.violations == []
        available, held, in_flight, credit, debt = self.shard.balances()
        pending = self.fold.balances["anna/pending", "EUR"]
        client, key = self.shard.client, self.shard.key
        assert int(client.hget(key("w:anna"), "EUR:pending") or 0) == pending  # type: ignore[arg-type]
        assert int(client.hget(key("L"), "EUR") or 0) == pending  # type: ignore[arg-type]
        stored: Any = client.hvals(key("L:anna"))
        lots = [int(text.decode().split(",")[1]) for text in stored]
        assert sum(lots) == pending
        assert all(lots)
        assert len(lots) == len([name for name, _ in self.timers() if name.startswith("rel:")])
        of = ("anna", "EUR")
        has = available + held + pending + in_flight + debt + self.fold.paid_out[of]
        assert has + self.fold.reinvested[of] + self.fold.purchased[of] == self.fold.earned[of]
        return available, pending, credit, debt


@pytest.fixture
def anna(client: redis.Redis) -> Releasing:
    return Releasing(client)


def wants(percent: int) -> list[int]:
    return reinvestment.standing_terms(Standing(percent, 0), ReinvestPolicy())


class TestHeldBack:
    @pytest.mark.parametrize(
        ("amount", "share_bp", "after"),
        [
            (1_000, 3_000, (700, 300, 0, 0)),
            (1_000, 10_000, (0, 1_000, 0, 0)),
            # Half to even; the rest is what is left.
            (1, 5_000, (1, 0, 0, 0)),
            (3, 5_000, (1, 2, 0, 0)),
            (999, 3_333, (666, 333, 0, 0)),
            (0, 3_000, (0, 0, 0, 0)),
            (10**12, 1, (10**12 - 10**8, 10**8, 0, 0)),
        ],
    )
    def test_a_share_is_pending_by_the_same_entry(
        self, anna: Releasing, amount: int, share_bp: int, after: tuple[int, ...]
    ) -> None:
        assert anna.do(anna.sale(amount, share_bp)) == "booked"
        assert len(anna.shard.entries) == 1
        assert anna.figures() == after

    def test_with_one_timer_and_told(self, anna: Releasing) -> None:
        sale = anna.sale(1_000)
        anna.do(sale)
        assert anna.timers() == [(f"rel:anna/EUR/{sale['record']}", UNTIL_MS)]
        assert anna.words[-1].startswith("Share of a sale of 40.00 EUR; 3.00 EUR released from 20")
        assert anna.words[-1].endswith(" on (return window)")

    def test_nothing_when_the_time_is_over(self, anna: Releasing) -> None:
        anna.shard.now_ms = UNTIL_MS
        anna.do(anna.sale(1_000))
        assert anna.figures() == (1_000, 0, 0, 0)

    def test_the_rest_goes_on(self, anna: Releasing) -> None:
        anna.do(anna.sale(2_000, reinvest=wants(50), pay=dict(PAY)))
        [payout] = anna.shard.payouts().values()
        assert payout["amount_minor"] + payout["fee_minor"] == 700
        assert anna.figures() == (0, 600, 700, 0)

    def test_debt_goes_first(self, anna: Releasing) -> None:
        anna.owe(800)
        anna.do(anna.sale(1_000))
        assert anna.figures() == (0, 200, 0, 0)

    def test_of_what_waited_for_the_profile_when_it_comes(self, client: redis.Redis) -> None:
        anna = Releasing.__new__(Releasing)
        anna.shard, anna.fold, anna.words = Shard(client), Fold(), []
        waits = {"waiting": True, "sale": "x", "origin": "anna", "level": 0, "held": False,
                 "occurred_at": "x", "sold": '{"country":"DE"}'}  # fmt: skip
        sale = anna.shard.sale(1_000, **waits)
        anna.do(sale)
        [item] = client.lrange(anna.shard.key("q:anna"), 0, -1)  # type: ignore[misc]
        assert json.loads(item)["sold"] == '{"country":"DE"}'
        assert anna.do(anna.shard.return_of(sale, 400)) == "booked"
        terms = [3_000, UNTIL_MS, "return_window"]
        release = [{"counts": [], "schedule": terms}, {}]
        profile = {"rev": 0, "profile": "{}", "release": release}
        assert anna.do(anna.shard.event("profile", "seller.updated", **profile)) == "booked"
        assert anna.figures() == (700, 200, 0, 0)


class TestReturns:
    @pytest.mark.parametrize(
        ("returned", "after"),
        [
            # Of 1,000: 300 pending, 280 reinvested, 420 available.
            (100, (420, 200, 280, 0)),
            (300, (420, 0, 280, 0)),
            (400, (420, 0, 180, 0)),
            (580, (420, 0, 0, 0)),
            (600, (400, 0, 0, 0)),
            (1_000, (0, 0, 0, 0)),
        ],
    )
    def test_pending_then_credit_then_available(
        self, anna: Releasing, returned: int, after: tuple[int, ...]
    ) -> None:
        sale = anna.sale(1_000, reinvest=wants(40))
        anna.do(sale)
        anna.returned(sale, returned)
        assert anna.figures() == after

    def test_only_what_is_pending_of_that_sale(self, anna: Releasing) -> None:
        other, sale = anna.sale(1_000), anna.sale(1_000, 0)
        anna.do(other)
        anna.do(sale)
        anna.returned(sale, 1_000)
        anna.owe(800)
        assert anna.figures() == (0, 300, 0, -100)

    def test_ahead_of_the_sale_as_behind_it(self, anna: Releasing) -> None:
        sale = anna.sale(1_000)
        assert anna.do(anna.shard.return_of(sale, 400)) == "parked"
        anna.do({**sale, "offset": anna.shard.event("", "")["offset"]})
        assert anna.figures() == (700, 200, 0, 0)

    def test_a_whole_one_leaves_no_timer(self, anna: Releasing) -> None:
        sale = anna.sale(1_000)
        anna.do(sale)
        for _ in range(10):
            anna.returned(sale, 100)
        assert anna.figures() == (0, 0, 0, 0)
        assert anna.timers() == []
        assert anna.release(sale) == "ignored:gone"


class TestRelease:
    def test_all_that_is_left_once(self, anna: Releasing) -> None:
        sale = anna.sale(1_000)
        anna.do(sale)
        anna.returned(sale, 100)
        assert anna.release(sale) == "booked"
        assert anna.figures() == (900, 0, 0, 0)
        assert anna.words[-1] == "Earnings released: their time came"
        assert anna.release(sale) == "ignored:gone"
        assert anna.figures() == (900, 0, 0, 0)

    def test_not_before_its_time(self, anna: Releasing) -> None:
        sale = anna.sale(1_000)
        anna.do(sale)
        anna.shard.now_ms = UNTIL_MS - 1
        timer = {"timer": f"rel:anna/EUR/{sale['record']}", "due": UNTIL_MS}
        early = {"op": "release", "id": "x", "seller": "anna", "record": sale["record"], **timer}
        assert anna.do(early) == "ignored:early"
        assert anna.do({**early, "due": UNTIL_MS - 1}) == "ignored:gone"
        assert anna.figures() == (700, 300, 0, 0)

    def test_goes_on_to_payout_with_what_is_there(self, anna: Releasing) -> None:
        sale = anna.sale(1_000)
        anna.do(sale)
        assert anna.release(sale, pay=dict(PAY)) == "booked"
        [payout] = anna.shard.payouts().values()
        assert payout["amount_minor"] + payout["fee_minor"] == 1_000
        assert payout["caused_ms"] == UNTIL_MS

    @pytest.mark.parametrize(
        ("debt_bp", "before", "meanwhile", "after"),
        [
            (10_000, 0, 900, (100, 0, 0, 0)),
            (10_000, 0, 1_100, (0, 0, 0, -100)),
            # Half of the earning pays debt: 500. Of that was paid before 0, 300, 500.
            (5_000, 0, 1_200, (0, 0, 0, -200)),
            (5_000, 300, 1_200, (100, 0, 0, -600)),
            (5_000, 900, 0, (500, 0, 0, -400)),
        ],
    )
    def test_debt_of_meanwhile_is_worked_off_by_the_share_of_the_earning(
        self, anna: Releasing, debt_bp: int, before: int, meanwhile: int, after: tuple[int, ...]
    ) -> None:
        anna.shard.debt_bp = debt_bp
        anna.owe(before)
        sale = anna.sale(1_000)
        anna.do(sale)
        anna.owe(meanwhile)
        assert anna.release(sale) == "booked"
        assert anna.figures() == after

    def test_a_return_behind_it_finds_both_parts_that_were_reinvested(
        self, anna: Releasing
    ) -> None:
        sale = anna.sale(1_000, reinvest=wants(50))
        anna.do(sale)
        assert anna.figures() == (350, 300, 350, 0)
        assert anna.release(sale, reinvest=wants(100)) == "booked"
        assert anna.figures() == (350, 0, 650, 0)
        anna.returned(sale, 600)
        assert anna.figures() == (350, 0, 50, 0)
        anna.returned(sale, 400)
        assert anna.figures() == (0, 0, 0, 0)

    def test_outlives_the_record_of_its_sale(self, anna: Releasing) -> None:
        sale = anna.sale(1_000)
        anna.do(sale)
        anna.shard.client.delete(anna.shard.key(f"r:{sale['record']}"))
        assert anna.release(sale, reinvest=wants(50)) == "booked"
        assert anna.figures() == (850, 0, 150, 0)

    def test_not_by_a_profile_that_is_over(self, anna: Releasing) -> None:
        sale = anna.sale(1_000)
        anna.do(sale)
        assert anna.release(sale, rev=2) == "retry"
        assert anna.figures() == (700, 300, 0, 0)

    def test_an_earning_without_a_schedule_asks_redis_for_nothing_more(
        self, anna: Releasing
    ) -> None:
        anna.do(anna.shard.sale(1_000, rev=1))
        anna.shard.client.config_resetstat()
        assert anna.shard.one(anna.shard.sale(1_000, rev=1)) == "booked"
        stats: Any = anna.shard.client.info("commandstats")
        calls = {name.removeprefix("cmdstat_"): of["calls"] for name, of in stats.items()}
        wanted = {"get": 3, "hget": 2, "hmget": 4, "hset": 3, "set": 2, "xadd": 1}
        assert {name: calls.get(name, 0) for name in wanted} == wanted
        assert not calls.keys() & {"zadd", "hdel", "hgetall"}


class TestRule:
    """Each breaks the journal of what is pending in one way."""

    def told(self, anna: Releasing, **changes: Any) -> set[str]:
        """What is wrong when the last entry says otherwise."""
        raw = json.loads(anna.shard.raw[-1])
        for name, change in changes.items():
            raw[name] = change(raw[name]) if callable(change) else change
        fold = anna.fold
        fold.violations.clear()
        fold.apply(Entry.parse(json.dumps({**raw, "seq": raw["seq"] + 1}).encode()))
        return {each.invariant for each in fold.violations}

    @pytest.mark.parametrize(
        "changes",
        [
            {"schedule": None},
            {"schedule": [3_010, 1_000, 0, 1_000]},
            {"schedule": [3_000, 999, 0, 1_000]},
            {"schedule": [3_000, 1_000, 0, 900]},
            {"pending": None},
            {"pending": ["s:x", "EUR", "held", 299, 299, UNTIL_MS, "x"]},
            {"pending": ["s:x", "EUR", "held", 300, 299, UNTIL_MS, "x"]},
            {"pending": ["s:x", "EUR", "held", 300, 300, NOW_MS, "x"]},
            {"pending": ["s:x", "USD", "held", 300, 300, UNTIL_MS, "x"]},
            {"pending": ["s:x", "EUR", "taken", 300, 0, UNTIL_MS, "x"]},
            {"kind": "credit.redeemed"},
        ],
    )
    def test_of_what_is_held_back(self, client: redis.Redis, changes: dict[str, Any]) -> None:
        anna = Releasing(client)
        anna.shard.one(anna.sale(1_000))
        if None in changes.values():
            raw = json.loads(anna.shard.raw[-1])
            del raw[next(iter(changes))]
            anna.fold.apply(Entry.parse(json.dumps(raw).encode()))
            assert PENDING in {each.invariant for each in anna.fold.violations}
        else:
            raw = json.loads(anna.shard.raw[-1])
            anna.fold.apply(Entry.parse(json.dumps({**raw, **changes}).encode()))
            assert PENDING in {each.invariant for each in anna.fold.violations}

    def test_a_sale_holds_back_once(self, anna: Releasing) -> None:
        sale = anna.sale(1_000)
        anna.do(sale)
        assert PENDING in self.told(anna)

    @pytest.mark.parametrize(
        ("index", "value"),
        [(3, 101), (4, 199), (5, UNTIL_MS + 1), (6, "other"), (2, "released")],
        ids=["amount", "left", "until", "why", "step"],  # processes of the tests differ in the time
    )
    def test_of_what_is_taken(self, anna: Releasing, index: int, value: Any) -> None:
        sale = anna.sale(1_000)
        anna.do(sale)
        assert anna.shard.one(anna.shard.return_of(sale, 400)) == "booked"
        raw = json.loads(anna.shard.raw[-1])
        raw["pending"][index] = value
        anna.fold.apply(Entry.parse(json.dumps(raw).encode()))
        assert PENDING in {each.invariant for each in anna.fold.violations}

    def test_a_return_takes_what_is_pending_first(self, anna: Releasing) -> None:
        sale = anna.sale(1_000)
        anna.do(sale)
        assert anna.shard.one(anna.shard.return_of(sale, 400)) == "booked"
        raw = json.loads(anna.shard.raw[-1])
        raw["pending"][3:5] = [60, 240]
        raw["postings"] = [["anna/available", "EUR", -40, 660], ["anna/pending", "EUR", -60, 240],
                           ["/commissions", "EUR", 100, -900]]  # fmt: skip
        anna.fold.apply(Entry.parse(json.dumps(raw).encode()))
        assert {each.invariant for each in anna.fold.violations} == {PENDING}

    @pytest.mark.parametrize("changes", [{"at": UNTIL_MS - 1}, {"pending": None}])
    def test_of_what_is_released(self, anna: Releasing, changes: dict[str, Any]) -> None:
        sale = anna.sale(1_000)
        anna.do(sale)
        anna.shard.now_ms = UNTIL_MS
        release = {"op": "release", "id": "x", "seller": "anna", "record": sale["record"],
                   "timer": f"rel:anna/EUR/{sale['record']}", "due": UNTIL_MS}  # fmt: skip
        assert anna.shard.one(release) == "booked"
        raw = {**json.loads(anna.shard.raw[-1]), **changes}
        raw = {name: value for name, value in raw.items() if value is not None}
        anna.fold.apply(Entry.parse(json.dumps(raw).encode()))
        assert PENDING in {each.invariant for each in anna.fold.violations}


POLICY = (
    TERMS
    + """fraud: {hold_score: 0.35, unscored_cap: {EUR: 100000}}
release:
  - {reason: fitting_room, products: [shoes], share: 50, days: 30}
  - {tiers: [gold], share: 0, days: 1}
  - {countries: [DE], share: 20, days: 14}
"""
)


async def broken(company: Company) -> list[str]:
    verdict = await asyncio.to_thread(verify, company.settings, whole=True)
    return [check.name for check in verdict.checks if not check.ok]


async def test_from_the_sale_to_verify_and_again_from_the_journal(
    own_broker: str, redis_url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Company(own_broker, redis_url, policy=POLICY) as company:
        await company.wallets.heal(range(SHARDS))
        company.publish(
            "sellers", company.seller("ben"),
            company.seller("anna", sponsor_id="ben"), company.seller("gilda", tier="gold"),
        )  # fmt: skip
        await company.work()
        shoes = {"lines": [{"line_id": "1", "amount_minor": 4_000, "group": "shoes"}]}
        company.publish(
            "sales",
            company.sale("anna", 4_000, "a1", **shoes),
            company.sale("anna", 4_000, "a2"),
            company.sale("anna", 4_000, "a3", country="FR"),
            company.sale("gilda", 4_000, "g1"),
            company.sale("cleo", 4_000, "c1"),
            company.return_of("anna", 2_000, "a2"),
        )
        await company.work()
        company.publish("sellers", company.seller("cleo"))
        await company.work()
        lots = (await company.wallets.holdings("anna")).pending
        assert sorted(text.decode().split(",")[:3] for text in lots.values()) == [
            ["EUR", "500", "500"]
        ]
        verdict = await asyncio.to_thread(verify, company.settings, whole=True)
        assert verdict.ok, [check for check in verdict.checks if not check.ok]
        until_ms = company.clock.now_ms + 30 * DAY_MS
        commission = commission_id("anna", "a1", 1)
        found = verdict.fold.releases.lots
        assert {key: lot.reason for key, lot in found.items()} == {
            ("anna", "s:a1"): "fitting_room", ("cleo", "s:c1"): "return_window",
            ("ben", f"c:{commission}"): "fitting_room",
        }  # fmt: skip
        shown = read_statement(client, "anna")
        assert shown is not None
        assert shown["pending"] == [{
            "earning": "sale", "id": "a1", "currency": "EUR", "left_minor": 500, "held_minor": 500,
            "until_ms": found["anna", "s:a1"].until_ms, "reason": "fitting_room",
        }]  # fmt: skip
        assert Wallet.model_validate(shown).model_dump()["pending"] == shown["pending"]
        monkeypatch.setenv("PAYOUTS_REDIS_URL", redis_url)
        support = await asyncio.to_thread(CliRunner().invoke, app, ["wallet", "show", "anna"])
        assert "5.00 EUR  sale a1" in support.stdout
        assert "fitting_room" in support.stdout
        assert abs(shown["pending"][0]["until_ms"] - until_ms) < 60_000
        past = await asyncio.to_thread(
            read_past, Ledger(company.settings), "anna", company.clock.now_ms + 60_000
        )
        assert past is not None
        assert past["pending"] == shown["pending"]
        assert past["accounts"] == shown["accounts"]
        await company.janitor.once()
        scraped = company.metrics.exposition().decode()
        pending = sum(lot.left for lot in found.values())
        assert f'payouts_pending_minor_units{{currency="EUR"}} {pending}.0' in scraped

        before = keys(client)
        client.flushall()
        await asyncio.to_thread(rebuild, company.settings)
        assert keys(client) == before

        # A lot that has less in it, one that nobody releases, and a sum that is none.
        prefix = f"{{s{shard_of('anna')}}}:"
        [text] = client.hvals(f"{prefix}L:anna")  # type: ignore[misc]
        client.hset(f"{prefix}L:anna", "s:a1", text.replace(b"EUR,500,", b"EUR,499,"))
        assert await broken(company) == [PENDING]
        client.hset(f"{prefix}L:anna", "s:a1", text)
        timer = "rel:anna/EUR/s:a1"
        due = client.zscore(f"{prefix}t", timer)
        client.zadd(f"{prefix}t", {timer: 1})
        assert await broken(company) == [RELEASED]
        client.zrem(f"{prefix}t", timer)
        assert await broken(company) == [RELEASED]
        client.zadd(f"{prefix}t", {timer: due, "rel:anna/EUR/s:none": 2**50})  # type: ignore[dict-item]
        assert await broken(company) == [RELEASED]
        client.zrem(f"{prefix}t", "rel:anna/EUR/s:none")
        client.hincrby(f"{prefix}L", "EUR", 1)
        assert await broken(company) == [PENDING]
        client.hincrby(f"{prefix}L", "EUR", -1)

        company.clock.now_ms += 31 * DAY_MS
        assert await company.janitor.once() == len(found)
        await company.work()
        verdict = await asyncio.to_thread(verify, company.settings, whole=True)
        assert verdict.ok, [check for check in verdict.checks if not check.ok]
        assert verdict.fold.releases.lots == {}
        assert verdict.fold.balances["anna/pending", "EUR"] == 0
        [rule] = [check for check in verdict.checks if check.name == PENDING]
        assert rule.detail == "5 earnings"
        before = keys(client)
        client.flushall()
        await asyncio.to_thread(rebuild, company.settings)
        assert keys(client) == before


def test_late_ones_are_told(client: redis.Redis) -> None:
    from types import SimpleNamespace

    from streams.wallets.aside import LATE_MAX_MS, pending_forgotten
    from streams.wallets.shardstate import ShardState

    state = ShardState(
        pending={("anna", "s:1"): Pending("EUR", 5, 1_000, "x")},
        releasing={("anna", "EUR", "s:1"): 1_000},
    )
    at: Any = SimpleNamespace(steady=lambda: [(0, state)], now_ms=1_000 + LATE_MAX_MS)
    assert list(pending_forgotten(at)) == []
    at.now_ms += 1
    assert list(pending_forgotten(at)) == ["s:1 of anna was to be released 600 s ago"]
