"""Campaigns' bonuses on what is reinvested: on top, for some, for a time, within a budget."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from models import reinvestment
from models.campaigns import Campaigns
from models.config import load
from models.ledger import Entry, Fold
from models.policy import ReinvestPolicy
from models.reinvestment import Boost, Standing, campaign_of
from models.rules import Rules
from models.sellers import read_seller
from tests.streams.wallets.harness import DAY_MS, NOW_MS, Company, campaign
from tests.streams.wallets.test_campaigns import Company as Shards
from tests.streams.wallets.test_campaigns import sellers_in

POLICY = ReinvestPolicy.model_validate({"bonus": 2})
DAY = NOW_MS // DAY_MS + 31
LOT = f"reinvest-bonus.c.EUR.{DAY}"


def boost(budget: int = 0) -> Boost:
    return ("c", 500, 30, budget)


class Reinvested:
    """A shard whose sellers reinvest, with the janitor's part of budgets."""

    def __init__(self, client: redis.Redis, budget: int) -> None:
        self.company = Shards(client, [campaign("c")], shards=2, budget=budget)
        self.number = next(iter(self.company.shards))
        self.shard = self.company.shards[self.number]
        self.budget = budget
        self.sellers = sellers_in(self.number, 4)
        for seller in self.sellers:
            self.do("profile", "seller.updated", seller, profile='{"status":"active"}', release=[],
                    rev=0)  # fmt: skip

    def do(self, op: str, kind: str, seller: str, **fields: Any) -> str:
        return self.book(self.shard.event(op, kind, seller=seller, **fields))

    def book(self, operation: dict[str, Any]) -> str:
        [outcome] = self.company.book(self.number, operation)
        self.company.check()
        return outcome

    @property
    def terms(self) -> list[Any]:
        """All is reinvested."""
        return reinvestment.standing_terms(Standing(100, 0), POLICY, [boost(self.budget)])

    def sell(self, amount: int, seller: str | None = None, **fields: Any) -> dict[str, Any]:
        """A sale, of which all is reinvested that is available."""
        sale = self.shard.sale(
            amount, rev=1, reinvest=self.terms, seller=seller or self.sellers[0], **fields
        )
        assert self.book(sale) == "booked"
        return sale

    def sell_half_later(self, amount: int) -> dict[str, Any]:
        """A sale of whose earning half is pending for a day."""
        return self.sell(amount, schedule=[5_000, NOW_MS + DAY_MS, "return_window"])

    def sell_in_three(self, amount: int, *, before: bool) -> dict[str, Any]:
        """A sale of whose earning 40 % is available at once, 30 % a day later, and the rest after
        another day: it was paid in part, cleared, and is under a schedule. ``before``: a version
        that knew two parts took it as far as it could."""
        sale = self.sell(amount, tier="partial", share=4_000)
        self.shard.now_ms = NOW_MS + DAY_MS
        schedule = [3_000, NOW_MS + 2 * DAY_MS, "return_window"]
        release = {"counts": [], "reinvest": self.terms, "schedule": schedule}
        cleared = self.do(
            "label", "fraud.labelled", sale["seller"], record=sale["record"], verdict="cleared",
            by="Eva Klein", reason="called her", rev=1, found=True, release=release,
        )  # fmt: skip
        assert cleared == "booked"
        if before:
            self.write_as_before(sale)
        self.release({**sale, "schedule": schedule})
        return sale

    def write_as_before(self, sale: dict[str, Any]) -> None:
        """Write the record of two parts, and what waits, as a version that knew two wrote them."""
        client, key = self.company.client, self.shard.key(f"r:{sale['record']}")
        record = json.loads(client.get(key))  # type: ignore[arg-type]
        words, boosted = record["reinvested"], record.pop("boosted", [])
        record["reinvested"], record["again"] = words[:5], words[5:]
        record["boosted"] = [each[:5] for each in boosted if len(each) == 5]
        record["boosted_again"] = [each[:5] for each in boosted if len(each) == 6]
        client.set(key, json.dumps(record), keepttl=True)
        waiting, name = self.shard.key("bw:c:EUR"), sale["record"].encode()
        for member, at in client.zrange(waiting, 0, -1, withscores=True):  # type: ignore[union-attr]
            if member.endswith(name + b"/2"):
                client.zrem(waiting, member)
                client.zadd(waiting, {member[:-1] + b"again": at})

    def release(self, sale: dict[str, Any]) -> None:
        """What is pending of a sale is released, and reinvested as well."""
        self.shard.now_ms = due = sale["schedule"][1]
        seller, record = sale["seller"], sale["record"]
        timer = f"rel:{seller}/EUR/{record}"
        released = self.book({
            "op": "release", "id": self.shard.id(), "seller": seller, "currency": "EUR", "rev": 1,
            "record": record, "timer": timer, "due": due, "reinvest": self.terms,
        })  # fmt: skip
        assert released == "booked"

    def bring_back(self, sale: dict[str, Any], amount: int) -> None:
        returned = self.shard.return_of(sale, amount * 4, seller=sale["seller"])
        assert self.book(returned) == "booked"

    def once(self, amount: int) -> dict[str, Any]:
        operation = reinvestment.reinvest(
            "", self.sellers[0], "EUR", amount, policy=POLICY, boosts=[boost(self.budget)]
        )
        operation.pop("id")
        assert self.book({**self.shard.event("reinvest", "x"), **operation}) == "booked"
        entry: dict[str, Any] = self.shard.entries[0]
        return entry

    def left(self, lot: str = LOT, seller: str | None = None) -> int:
        """What is left of a lot, in Redis as in the journal."""
        seller = seller or self.sellers[0]
        text: Any = self.company.client.hget(self.shard.key(f"l:{seller}"), lot)
        left = int(text.split(b",")[1]) if text else 0
        assert self.company.fold.lots[seller, "EUR", lot]["left"] == left
        return left

    @property
    def used(self) -> int:
        return int(self.company.needs(self.number).used)


@pytest.fixture
def free(client: redis.Redis) -> Reinvested:
    return Reinvested(client, 0)


@pytest.fixture
def capped(client: redis.Redis) -> Reinvested:
    return Reinvested(client, 70)


class TestWithoutBudget:
    def test_it_comes_on_top_of_the_policys_in_a_lot_of_its_own(self, free: Reinvested) -> None:
        free.sell(1_019)
        assert free.left() == 50  # 5 % of 1,019, rounded down
        assert free.left("reinvest-bonus.EUR") == 20
        assert free.shard.balances(seller=free.sellers[0])[3] == 1_019 + 50 + 20
        text = free.company.client.hget(free.shard.key(f"l:{free.sellers[0]}"), LOT)
        assert text == f"EUR,50,50,{DAY * DAY_MS},c,,,".encode()
        timer = f"lot:{free.sellers[0]}:{LOT}"
        assert free.company.client.zscore(free.shard.key("t"), timer) == DAY * DAY_MS

    def test_also_when_she_asks_for_it_once(self, free: Reinvested) -> None:
        free.book(free.shard.sale(1_000, rev=1, seller=free.sellers[0]))
        free.once(400)
        assert (free.left(), free.left("reinvest-bonus.EUR")) == (20, 8)

    def test_a_return_takes_it_back_in_proportion(self, free: Reinvested) -> None:
        sale = free.sell(1_000)
        left = []
        for part in (333, 333, 334):
            free.bring_back(sale, part)
            left.append(free.left())
        assert left == [33, 17, 0]

    def test_what_of_it_is_spent_stays_so(self, free: Reinvested) -> None:
        sale = free.sell(1_000)
        free.do("redeem", "credit.redeemed", free.sellers[0], currency="EUR", amount=30)
        free.bring_back(sale, 1_000)
        assert free.left() == 0
        assert free.company.fold.lots[free.sellers[0], "EUR", LOT]["spent"] == 30


class TestBudget:
    def test_it_waits_for_a_slice_and_then_is_there(self, capped: Reinvested) -> None:
        capped.sell(1_000)
        assert (capped.left(), capped.left("reinvest-bonus.EUR")) == (0, 20)
        capped.company.settle()
        assert (capped.left(), capped.used) == (50, 50)
        kinds = [entry["kind"] for entry in capped.shard.entries]
        assert kinds == ["budget.topped_up", "reinvestment.rewarded"]
        capped.company.check()

    def test_what_a_return_undoes_while_it_waits_is_not_given(self, capped: Reinvested) -> None:
        sale = capped.sell(1_000)
        capped.bring_back(sale, 400)
        capped.company.settle()
        assert (capped.left(), capped.used) == (30, 30)
        capped.bring_back(sale, 600)
        assert (capped.left(), capped.used) == (0, 0)

    def test_what_asks_once_waits_as_well(self, capped: Reinvested) -> None:
        capped.book(capped.shard.sale(1_000, rev=1, seller=capped.sellers[0]))
        capped.once(400)
        capped.company.settle()
        assert (capped.left(), capped.used) == (20, 20)

    def test_none_when_it_is_spent_and_the_policys_all_the_same(self, capped: Reinvested) -> None:
        for seller in capped.sellers[:3]:
            capped.sell(1_000, seller)
            capped.company.settle()
        assert [capped.left(LOT, seller) for seller in capped.sellers[:3]] == [50, 0, 0]
        assert capped.left("reinvest-bonus.EUR", capped.sellers[2]) == 20
        capped.company.check()

    def test_what_is_taken_back_unspent_is_free_and_what_is_spent_is_not(
        self, capped: Reinvested
    ) -> None:
        sale = capped.sell(1_000)
        capped.company.settle()
        capped.do("redeem", "credit.redeemed", capped.sellers[0], currency="EUR", amount=10)
        capped.bring_back(sale, 1_000)
        assert capped.used == 10
        capped.sell(1_000, capped.sellers[1])
        capped.company.settle()
        assert (capped.left(LOT, capped.sellers[1]), capped.used) == (50, 60)


class TestReleasedLater:
    """Each of an earning's parts has its bonus, and a return finds all of them."""

    LATER = f"reinvest-bonus.c.EUR.{DAY + 1}"
    LAST = f"reinvest-bonus.c.EUR.{DAY + 2}"
    POLICYS = "reinvest-bonus.EUR"

    @pytest.mark.parametrize("before", [False, True])
    def test_both_parts_have_theirs_and_lose_them(self, free: Reinvested, *, before: bool) -> None:
        sale = free.sell_half_later(1_000)
        assert free.left() == 25
        free.release(sale)
        if before:
            free.write_as_before(sale)
        assert (free.left(), free.left(self.LATER)) == (25, 25)
        left = []
        for part in (250, 250, 300, 200):
            free.bring_back(sale, part)
            left.append((free.left(self.LATER), free.left()))
        assert left == [(13, 25), (0, 25), (0, 10), (0, 0)]

    @pytest.mark.parametrize("before", [False, True])
    def test_both_may_wait_for_a_slice(self, capped: Reinvested, *, before: bool) -> None:
        sale = capped.sell_half_later(1_000)
        capped.release(sale)
        if before:
            capped.write_as_before(sale)
        assert (capped.left(), capped.left(self.LATER)) == (0, 0)
        capped.bring_back(sale, 200)
        capped.company.settle()
        assert (capped.left(), capped.left(self.LATER), capped.used) == (25, 15, 40)
        capped.bring_back(sale, 800)
        assert (capped.left(), capped.left(self.LATER), capped.used) == (0, 0, 0)

    def test_two_that_wait_for_the_same_are_two(self, capped: Reinvested) -> None:
        """What waits is told apart by its part, not only by what it is worth and until when."""
        sale = capped.sell(1_000, schedule=[5_000, NOW_MS + 1, "return_window"])
        capped.release(sale)
        capped.company.settle()
        assert (capped.left(), capped.used) == (50, 50)
        capped.bring_back(sale, 1_000)
        assert (capped.left(), capped.used) == (0, 0)

    @pytest.mark.parametrize("before", [False, True])
    def test_a_third_part_is_reinvested_as_well(self, free: Reinvested, *, before: bool) -> None:
        sale = free.sell_in_three(1_000, before=before)
        assert free.shard.balances(seller=free.sellers[0])[0] == 0
        assert (free.left("reinvested.EUR"), free.left(self.POLICYS)) == (1_000, 20)
        assert (free.left(), free.left(self.LATER), free.left(self.LAST)) == (20, 15, 15)
        left = []
        for part in (300, 200, 100, 200, 200):
            free.bring_back(sale, part)
            left.append((free.left(self.LAST), free.left(self.LATER), free.left()))
            assert free.left(self.POLICYS) == free.left("reinvested.EUR") * 2 // 100
        assert left == [(0, 15, 20), (0, 5, 20), (0, 0, 20), (0, 0, 10), (0, 0, 0)]
        assert free.left("reinvested.EUR") == 0

    @pytest.mark.parametrize("before", [False, True])
    def test_all_three_may_wait_for_a_slice(self, capped: Reinvested, *, before: bool) -> None:
        sale = capped.sell_in_three(1_000, before=before)
        capped.bring_back(sale, 400)
        capped.company.settle()
        assert (capped.left(), capped.left(self.LATER), capped.left(self.LAST)) == (20, 10, 0)
        assert capped.used == 30
        capped.bring_back(sale, 600)
        assert (capped.left(), capped.left(self.LATER), capped.used) == (0, 0, 0)


def test_a_bonus_that_is_not_drawn_from_its_budget_is_seen() -> None:
    lots = (("reinvest-bonus.c.EUR", "EUR", "granted", "left", 50),)
    entry = Entry(1, 1, "reinvestment.rewarded", "x", "anna", 0, (), lots=lots,
                  budgets=(("c", "EUR", 40, 40, 70),))  # fmt: skip
    fold = Fold()
    fold.apply(entry)
    told = [violation.detail for violation in fold.violations]
    assert "x draws 40 EUR of c for bonuses of 50" in told


FILE = """\
campaigns: []
reinvest:
  - {id: all, bonus: 1}
  - {id: pilots, bonus: 2.5, bonus_days: 7, audience: {tags: [pilot]}, budget: {EUR: 900}}
  - {id: past, bonus: 3, end: 2020-01-01T00:00:00Z}
  - {id: later, bonus: 4, start: 2999-01-01T00:00:00Z}
"""


@pytest.mark.parametrize(
    ("currency", "tags", "expected"),
    [
        ("EUR", '["pilot"]', [("all", 100, 0, 0), ("pilots", 250, 7, 900)]),
        ("EUR", "[]", [("all", 100, 0, 0)]),
        ("USD", '["pilot"]', [("all", 100, 0, 0)]),
    ],
)
def test_who_gets_which(currency: str, tags: str, expected: list[Boost]) -> None:
    rules = Rules(None, None, load(FILE, Campaigns, "c"), lambda *_: None, retention_ms=0)  # type: ignore[arg-type]
    stored = '1|{"country":"DE","zone":"UTC","status":"active","occurred":1,"tags":' + tags + "}"
    seller = read_seller("anna", stored.encode())
    assert rules._boosts(currency, NOW_MS, seller) == expected
    assert (rules.budget("pilots", "EUR"), rules.budget("all", "EUR")) == (900, 0)


@pytest.mark.parametrize(
    ("lot", "campaign"),
    [
        ("reinvest-bonus.EUR.20000", None),
        ("reinvest-bonus.EUR", None),
        ("reinvest-bonus.c-1.EUR", "c-1"),
        ("reinvested.EUR", None),
        ("discount.c.life.1.EUR", None),
    ],
)
def test_a_lots_name_says_whose_bonus_it_is(lot: str, campaign: str | None) -> None:
    assert campaign_of(lot) == campaign


async def test_from_event_to_credit(broker: str, redis_url: str) -> None:
    """A preference, and asking once, through the agents."""
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    async with Company(broker, redis_url, campaigns=FILE) as company:
        await company.wallets.heal(range(64))
        profile = company.seller("anna", tags=["pilot"], reinvest={"EUR": {"percent": 50}})
        company.publish("sellers", profile)
        await company.work()
        company.publish("sales", company.sale("anna", 4_000, "s"))
        await company.work()
        await company.janitor.once()
        asked = company.event("earnings.reinvested", "anna", currency="EUR", amount_minor=100)
        company.publish("redemptions", asked)
        await company.work()
        await company.janitor.once()
        holdings = await company.wallets.holdings("anna")
        lots = {lot.decode(): int(text.split(b",")[1]) for lot, text in holdings.lots.items()}
        own = lots["reinvested.EUR"]
        assert lots["reinvest-bonus.all.EUR"] == own // 100
        [pilots] = [minor for lot, minor in lots.items() if ".pilots." in lot]
        assert (own, pilots) == (600, 500 * 25 // 1_000 + 100 * 25 // 1_000)
    client.flushall()
    client.close()
