"""Campaigns where the money is: budgets that hold, bonuses, first sales, through a real Redis."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pytest
import redis

from models.budgets import Steps, home_of, read_needs, slice_of_budget, topping_up
from models.features import observe
from models.ledger import Entry, Fold
from models.shards import shard_of
from tests.models.test_features import returned, sale
from tests.streams.wallets.harness import PAY, Shard, campaign, dump

LIFE = [[1, "life", 0]]

SPENT_MS = 300_000
"""How long a shard takes a budget for spent."""


def bonus(id_: str = "c", *steps: Sequence[int], **more: Any) -> dict[str, Any]:
    """A campaign whose tiers pay money."""
    found = campaign(id_, EUR=[(*step, 0, 0) for step in steps])
    found["steps"]["EUR"] = [[*step, True] for step in found["steps"]["EUR"]]
    return {**found, **more}


@cache
def sellers_in(shard: int, count: int) -> list[str]:
    """Sellers who live in a shard."""
    return [name for name in (f"b{n}" for n in range(20_000)) if shard_of(name) == shard][:count]


class Company:
    """Several shards of one Redis, with the janitor's part of budgets, and the fold of it all."""

    def __init__(
        self, client: redis.Redis, campaigns: Sequence[Any], *, shards: int = 4, budget: int
    ) -> None:
        self.client = client
        self.campaigns = list(campaigns)
        self.budget = budget
        self.fold = Fold()
        self.offset = 0
        self.events: list[dict[str, Any]] = []
        names = [f"b{n}" for n in range(20 * shards)]
        homes = sorted({shard_of(name) for name in names})[:shards]
        self.shards = {shard: self._open(sellers_in(shard, 1)[0]) for shard in homes}
        home = home_of(self.campaigns[0]["id"])
        if home not in self.shards:
            self.shards[home] = self._open(sellers_in(home, 1)[0])

    def _open(self, seller: str) -> Shard:
        shard = Shard(self.client, seller, self.campaigns)
        shard._ids = 1_000 * shard.number  # ids are the company's, not the shard's
        return shard

    def book(self, number: int, *operations: Mapping[str, Any]) -> list[str]:
        """Book, and let the fold see what the journal gets."""
        shard = self.shards[number]
        outcomes = shard.book(*operations)
        for raw in shard.raw:
            self.fold.apply(Entry.parse(raw))
        self.events += [
            json.loads(value) for topic, value in shard.messages if topic == "spendback.credits"
        ]
        return outcomes

    def needs(self, number: int) -> Any:
        """How a shard stands with the budget."""
        name = f"{self.campaigns[0]['id']}:EUR"
        stored: Any = self.client.get(self.shards[number].key(f"b:{name}"))
        return read_needs(f"bud:{name}", stored or b"")

    def steps(self, number: int) -> Steps:
        """What the janitor goes through for a shard."""
        return topping_up(number, self.needs(number), self.budget)

    def go(self, steps: Steps, outcomes: list[str] | None) -> list[Any] | dict[str, Any] | None:
        """A step: what is to be booked next, or by which operation the shard hears."""
        try:
            return next(steps) if outcomes is None else steps.send(outcomes)
        except StopIteration as end:
            answer: dict[str, Any] | None = end.value
            return answer

    def book_all(self, operations: Sequence[Mapping[str, Any]]) -> list[str]:
        """Book to whichever shards they are for."""
        return [self.book(each["shard"], each)[0] for each in operations]

    def ask(self, number: int) -> dict[str, Any]:
        """All steps but the last: what the shard is to hear."""
        steps = self.steps(number)
        asked = self.go(steps, None)
        while isinstance(asked, list):
            asked = self.go(steps, self.book_all(asked))
        assert asked is not None
        return asked

    def top_up(self, number: int, answer: Mapping[str, Any]) -> str:
        """A shard hears an answer."""
        timer = f"bud:{answer['campaign']}:EUR"
        due: Any = self.client.zscore(self.shards[number].key("t"), timer)
        [outcome] = self.book(number, {**answer, "timer": timer, "due": int(due or 0)})
        return outcome

    def short(self) -> list[int]:
        """The shards that wait for a slice."""
        keys = {number: shard.key("t") for number, shard in self.shards.items()}
        return [n for n, key in keys.items() if self.client.zscore(key, "bud:c:EUR") is not None]

    def settle(self) -> None:
        """Every shard's timer, until none is left."""
        for _ in range(20):
            if not (due := self.short()):
                return
            for number in due:
                self.top_up(number, self.ask(number))
        raise AssertionError("budgets do not come to rest")

    def check(self) -> None:
        """Nothing is wrong with the journal, and no budget is overspent."""
        assert self.fold.violations == []
        assert list(self.fold.budgets.overspent(at_rest=True)) == []

    def spent(self) -> int:
        """What the grants cost, by the sellers' credit."""
        return sum(
            minor for (account, _), minor in self.fold.balances.items() if account == "/spendback"
        )


def budgeted(budget: int, *steps: Sequence[int]) -> dict[str, Any]:
    """A campaign of credit with a budget."""
    return {**campaign("c", EUR=[(*step, 0, 0) for step in steps]), "budget": {"EUR": budget}}


class TestBudget:
    def test_is_never_overspent_by_all_shards_at_once(self, client: redis.Redis) -> None:
        company = Company(client, [budgeted(1_000, (1, 100, 70))], shards=8, budget=1_000)
        for number, shard in company.shards.items():
            for seller in sellers_in(number, 5):
                company.book(number, shard.sale(100, seller=seller, counts=LIFE))
        company.settle()
        company.check()
        # 14 of 70 fit into 1,000, and no shard sits on more than would pay another.
        assert company.spent() == -14 * 70
        kinds = [event["type"] for event in company.events]
        assert kinds.count("credit.granted") == 14
        assert kinds.count("credit.refused") == len(company.shards) * 5 - 14
        refused = next(event for event in company.events if event["type"] == "credit.refused")
        assert (refused["reason"], refused["amount_minor"]) == ("budget_spent", 70)

    def test_what_lies_idle_in_other_shards_is_called_in(self, client: redis.Redis) -> None:
        company = Company(client, [budgeted(200, (1, 400, 70))], shards=3, budget=200)
        one, two, *_ = company.shards
        sales = [company.shards[one].sale(100, seller=s, counts=LIFE) for s in sellers_in(one, 2)]
        company.book(one, *sales)
        company.settle()
        # One of two is undone: what it cost lies idle in a shard where nobody sells any more.
        company.book(one, company.shards[one].return_of(sales[0], 1, seller=sellers_in(one, 1)[0]))
        assert company.needs(one).got - company.needs(one).used == 70
        buyers = sellers_in(two, 3)
        company.book(two, *[company.shards[two].sale(100, seller=s, counts=LIFE) for s in buyers])
        company.settle()
        company.check()
        granted = [s for s in buyers if company.fold.balances[f"{s}/credit", "EUR"] == 70]
        assert granted == buyers[:1]
        assert (company.needs(one).got, company.needs(two).used) == (70, 70)

    @pytest.mark.parametrize("stop", range(4))
    def test_who_dies_while_it_is_called_in_loses_nothing(
        self, client: redis.Redis, stop: int
    ) -> None:
        company = Company(client, [budgeted(70, (1, 400, 70))], shards=3, budget=70)
        one, two = [number for number in company.shards if number != home_of("c")][:2]
        sale = company.shards[one].sale(100, counts=LIFE)
        company.book(one, sale)
        company.settle()
        company.book(one, company.shards[one].return_of(sale, 400))
        company.book(two, company.shards[two].sale(100, counts=LIFE))
        steps = company.steps(two)
        outcomes = None
        words = []
        for _ in range(stop + 1):
            asked = company.go(steps, outcomes)
            assert isinstance(asked, list)
            words.append(asked[0]["op"])
            outcomes = company.book_all(asked)
        assert words == ["slice", "give_back", "reclaim", "slice"][: stop + 1]
        company.check()
        company.settle()
        company.check()
        assert company.spent() == -70
        assert company.needs(two).used == 70

    def test_a_budget_that_was_taken_for_spent_is_asked_for_again(
        self, client: redis.Redis
    ) -> None:
        company = Company(client, [budgeted(70, (1, 400, 70))], shards=3, budget=70)
        one, two, *_ = company.shards
        sale = company.shards[one].sale(100, counts=LIFE)
        company.book(one, sale)
        company.settle()
        company.book(two, company.shards[two].sale(100, counts=LIFE))
        company.settle()
        company.book(one, company.shards[one].return_of(sale, 400))
        for later, granted in ((0, 0), (SPENT_MS, 70)):
            company.shards[two].now_ms += later
            company.book(two, company.shards[two].sale(1, counts=LIFE))
            assert bool(company.short()) == bool(granted)
            company.settle()
            assert company.fold.balances[f"{company.shards[two].seller}/credit", "EUR"] == granted
        company.check()
        assert [e["type"] for e in company.events].count("credit.refused") == 1

    def test_who_is_refused_again_is_told_once(self, client: redis.Redis) -> None:
        company = Company(client, [budgeted(50, (1, 400, 70))], shards=1, budget=50)
        [number, *_] = company.shards
        for _ in range(3):
            company.book(number, company.shards[number].sale(100, counts=LIFE))
            company.settle()
            company.shards[number].now_ms += SPENT_MS
        assert [event["type"] for event in company.events] == ["credit.refused"]

    @pytest.mark.parametrize("seed", range(12))
    def test_holds_whatever_order_and_whoever_dies(self, client: redis.Redis, seed: int) -> None:
        company = Company(client, [budgeted(1_000, (1, 400, 70))], shards=5, budget=1_000)
        dice, numbers = random.Random(seed), list(company.shards)
        running: list[tuple[int, Steps, list[str] | None]] = []
        answers: list[tuple[int, dict[str, Any]]] = []
        sold: list[tuple[int, dict[str, Any]]] = []
        for _ in range(260):
            what = dice.random()
            if what < 0.25:
                number = dice.choice(numbers)
                seller = dice.choice(sellers_in(number, 6))
                sold.append((number, company.shards[number].sale(100, seller=seller, counts=LIFE)))
                company.book(*sold[-1])
            elif what < 0.35 and sold:
                number, sale = sold.pop(dice.randrange(len(sold)))
                returned = company.shards[number].return_of(sale, 400, seller=sale["seller"])
                company.book(number, returned)
            elif what < 0.55 and (short := company.short()):
                number = dice.choice(short)
                running.append((number, company.steps(number), None))
            elif what < 0.9 and running:
                number, steps, outcomes = running.pop(dice.randrange(len(running)))
                asked = company.go(steps, outcomes)
                if isinstance(asked, list):
                    running.append((number, steps, company.book_all(asked)))
                elif asked is not None:
                    answers.append((number, asked))
            elif running and dice.random() < 0.3:
                running.pop(dice.randrange(len(running)))  # a worker dies between two steps
            elif answers:
                # Answers come late, in any order, and some of them twice.
                company.top_up(*dice.choice(answers))
            company.check()
        company.settle()
        company.check()
        for number, shard in company.shards.items():
            shard.now_ms += SPENT_MS
            sales = [shard.sale(1, seller=s, counts=LIFE) for s in sellers_in(number, 6)]
            company.book(number, *sales)
        company.settle()
        company.check()
        # Nothing is left that would have paid for somebody.
        refused = sum(b"!" in (client.get(key) or b"") for key in client.scan_iter("{*}:n:*"))  # type: ignore[operator]
        assert refused == 0 or 1_000 + company.spent() < 70

    def test_what_a_refused_seller_sells_later_is_refused_quietly(
        self, client: redis.Redis
    ) -> None:
        company = Company(client, [budgeted(100, (1, 100, 70))], shards=1, budget=100)
        [number, *_] = company.shards
        shard = company.shards[number]
        for seller in sellers_in(number, 2):
            company.book(number, shard.sale(100, seller=seller, counts=LIFE))
            company.settle()
        told = len(company.events)
        company.book(number, shard.sale(100, seller=sellers_in(number, 2)[1], counts=LIFE))
        company.settle()
        company.check()
        assert len(company.events) == told == 2

    def test_what_a_return_takes_back_can_be_granted_to_others(self, client: redis.Redis) -> None:
        company = Company(client, [budgeted(100, (1, 400, 70))], shards=1, budget=100)
        [number, *_] = company.shards
        shard = company.shards[number]
        first, second = sellers_in(number, 2)
        sale = shard.sale(100, seller=first, counts=LIFE)
        company.book(number, sale)
        company.settle()
        company.book(number, shard.return_of(sale, 400, seller=first))
        company.book(number, shard.sale(100, seller=second, counts=LIFE))
        company.settle()
        company.check()
        assert company.fold.balances[f"{second}/credit", "EUR"] == 70
        assert company.fold.balances[f"{first}/credit", "EUR"] == 0

    def test_a_threshold_that_is_lost_while_it_waits_costs_nothing(
        self, client: redis.Redis
    ) -> None:
        company = Company(client, [budgeted(100, (1, 400, 70))], shards=1, budget=100)
        [number, *_] = company.shards
        shard = company.shards[number]
        sale = shard.sale(100, counts=LIFE)
        company.book(number, sale)
        company.book(number, shard.return_of(sale, 400))
        company.settle()
        company.check()
        assert company.spent() == 0
        assert company.events == []

    def test_what_was_spent_before_it_was_undone_is_not_drawn_again(
        self, client: redis.Redis
    ) -> None:
        company = Company(client, [budgeted(100, (1, 400, 70))], shards=1, budget=100)
        [number, *_] = company.shards
        shard = company.shards[number]
        sale = shard.sale(100, counts=LIFE)
        company.book(number, sale)
        company.settle()
        redemption = shard.event("redeem", "credit.redeemed", currency="EUR", amount=30)
        company.book(number, redemption, shard.return_of(sale, 400))
        assert company.needs(number).used == 30
        company.book(number, shard.sale(100, counts=LIFE))
        company.settle()
        company.check()
        assert company.needs(number).used == 70
        assert company.fold.balances[f"{shard.seller}/credit", "EUR"] == 40

    @pytest.mark.parametrize("others", [0, 100])
    @pytest.mark.parametrize("settled", ["before", "behind", "never"])
    def test_what_a_till_gives_back_of_an_undone_grant_is_free_again(
        self, client: redis.Redis, settled: str, others: int
    ) -> None:
        company = Company(
            client, [budgeted(70 + others, (1, 400, 70))], shards=1, budget=70 + others
        )
        [number, *_] = company.shards
        shard = company.shards[number]
        profile = {"profile": '{"status":"active"}', "release": [], "rev": 0}
        company.book(number, shard.event("profile", "seller.updated", **profile))
        sale = shard.sale(100, counts=LIFE, rev=1)
        company.book(number, sale)
        company.settle()
        terms = {"currency": "EUR", "authorisation": "p", "grace_ms": 0}
        authorise = shard.event(
            "authorise", "purchase.authorised", amount=60, good_ms=1_000, **terms
        )
        capture = shard.event("capture", "purchase.captured", amount=20, **terms)
        assert company.book(number, authorise, capture) == ["booked", "booked"]
        company.book(number, shard.return_of(sale, 400))
        assert company.needs(number).used == 60
        if others:
            # What is free goes to somebody else, so that she has to wait for another slice.
            company.book(number, shard.sale(100, seller=sellers_in(number, 2)[1], counts=LIFE))
            company.settle()
        if settled != "never":
            company.book(number, shard.sale(100, counts=LIFE, rev=1))
        if settled == "before":
            company.settle()
        company.book(number, shard.event("void", "purchase.voided", **terms))
        company.settle()
        company.check()
        mine = 0 if settled == "never" else 50
        assert company.fold.balances[f"{shard.seller}/credit", "EUR"] == mine
        assert company.needs(number).used == 20 + mine + (70 if others else 0)
        [lots] = [
            each for each in company.fold.grants.items() if each[0][0] == shard.seller
        ]  # the journal says what the threshold is worth, whatever was spent
        assert list(lots[1].values()) == ([70] if mine else [])

    def test_answers_that_come_twice_or_late_change_nothing(self, client: redis.Redis) -> None:
        company = Company(client, [budgeted(1_000, (1, 100, 70))], shards=2, budget=1_000)
        number = next(n for n in company.shards if n != home_of("c"))
        shard = company.shards[number]
        one, two = sellers_in(number, 2)
        company.book(number, shard.sale(100, seller=one, counts=LIFE))
        first = company.ask(number)
        assert company.ask(number) == first  # asked again, the same slice
        assert company.top_up(number, first) == "booked"
        company.book(number, shard.sale(100, seller=two, counts=LIFE))
        assert company.top_up(number, first) == "booked"
        assert company.needs(number).needed == 70  # nothing came of it
        late = slice_of_budget(number, company.needs(number)._replace(turn=0), 1_000)
        second = company.ask(number)
        assert company.book(home_of("c"), late) == ["ignored:turn"]
        assert company.top_up(number, second) == "booked"
        assert company.top_up(number, second) == "ignored:gone"
        company.check()
        assert company.fold.balances[f"{two}/credit", "EUR"] == 70

    def test_a_raised_budget_grants_to_whom_it_was_refused_with_her_next_sale(
        self, client: redis.Redis
    ) -> None:
        company = Company(client, [budgeted(50, (1, 100, 70))], shards=1, budget=50)
        [number, *_] = company.shards
        shard = company.shards[number]
        company.book(number, shard.sale(100, counts=LIFE))
        company.settle()
        assert [event["type"] for event in company.events] == ["credit.refused"]
        company.budget = 500
        company.campaigns[0]["budget"]["EUR"] = shard.campaigns[0]["budget"]["EUR"] = 500
        company.book(number, shard.sale(100, counts=LIFE))
        company.settle()
        company.check()
        assert company.fold.balances[f"{shard.seller}/credit", "EUR"] == 70

    def test_more_wait_than_are_settled_in_a_call(self, client: redis.Redis) -> None:
        company = Company(client, [budgeted(10_000, (1, 100, 7))], shards=1, budget=10_000)
        [number, *_] = company.shards
        shard = company.shards[number]
        for seller in sellers_in(number, 130):
            company.book(number, shard.sale(100, seller=seller, counts=LIFE))
        company.settle()
        company.check()
        assert company.spent() == -130 * 7
        assert company.needs(number).needed == 0
        assert not client.exists(shard.key("bw:c:EUR"))

    def test_without_one_nothing_is_kept_of_it(self, client: redis.Redis) -> None:
        shard = Shard(client, campaigns=[campaign("c", EUR=[(1, 100, 70, 0, 0)])])
        shard.one(shard.sale(100, counts=LIFE))
        assert not [key for key in dump(client) if b"}:b" in key or b"}:B" in key]
        assert "budgets" not in shard.entries[0]


class TestBonus:
    @pytest.fixture
    def paying(self, client: redis.Redis) -> Shard:
        return Shard(client, campaigns=[bonus("c", (1, 400, 70), (2, 4_000, 300))])

    def test_is_money_that_is_paid_out_with_the_sale(self, paying: Shard) -> None:
        paying.one(paying.sale(1_000, counts=LIFE, pay=PAY))
        assert paying.balances() == (0, 0, 1_370, 0, 0)
        [payout] = paying.payouts().values()
        assert payout["amount_minor"] + payout["fee_minor"] == 1_370
        assert ["/bonuses", "EUR", -370, -370] in paying.entries[0]["postings"]
        types = [json.loads(v)["type"] for t, v in paying.messages if t == "spendback.credits"]
        assert types == ["bonus.granted", "bonus.granted"]

    def test_pays_debt_first(self, paying: Shard) -> None:
        paying.one(paying.event("take", "sale.returned", currency="EUR", base=400, amount=130,
                                occurred=paying.now_ms, counts=[], rev=0))  # fmt: skip
        paying.one(paying.sale(100, counts=LIFE))
        assert paying.balances() == (40, 0, 0, 0, 0)

    def test_a_return_takes_all_of_it_back_and_a_later_sale_grants_it_again(
        self, paying: Shard
    ) -> None:
        sale = paying.sale(100, counts=LIFE)
        paying.book(sale, paying.return_of(sale, 100))
        assert paying.balances() == (75, 0, 0, 0, 0)
        paying.one(paying.sale(100, counts=LIFE))
        assert paying.balances() == (245, 0, 0, 0, 0)

    def test_what_is_not_there_any_more_becomes_debt(self, paying: Shard) -> None:
        sale = paying.sale(1_000, counts=LIFE, pay=PAY)
        paying.book(sale, paying.return_of(sale, 4_000))
        assert paying.balances() == (0, 0, 1_370, 0, -1_370)

    def test_waits_for_an_earning_that_is_not_held(self, paying: Shard) -> None:
        paying.one(paying.sale(100, counts=LIFE, tier="hold"))
        assert paying.balances() == (0, 100, 0, 0, 0)
        paying.one(paying.sale(100, counts=LIFE))
        assert paying.balances() == (170, 100, 0, 0, 0)

    def test_what_waited_for_a_slice_is_swept(self, client: redis.Redis) -> None:
        company = Company(
            client, [bonus("c", (1, 400, 70), budget={"EUR": 500})], shards=1, budget=500
        )
        [number, *_] = company.shards
        shard = company.shards[number]
        company.book(number, shard.sale(100, counts=LIFE))
        company.settle()
        company.check()
        assert shard.balances() == (170, 0, 0, 0, 0)
        assert company.fold.bonuses[shard.seller, "EUR"] == 70
        assert client.zscore(shard.key("t"), f"pay:{shard.seller}:EUR") == shard.now_ms


class TestFirstSale:
    @pytest.fixture
    def welcoming(self, client: redis.Redis) -> Shard:
        return Shard(client, campaigns=[campaign("c", "first_sale", EUR=[(1, 200, 70, 0, 0)])])

    def sold(self, shard: Shard, amount: int, **fields: Any) -> dict[str, Any]:
        return shard.sale(amount, counts=LIFE, first=True, state=state(1), **fields)

    def test_only_the_first_counts(self, welcoming: Shard) -> None:
        welcoming.book(self.sold(welcoming, 10), self.sold(welcoming, 100))
        assert welcoming.balances()[3] == 0  # her first did not reach it, the second is none

    def test_is_granted_for_the_first_and_taken_back_with_it(self, welcoming: Shard) -> None:
        sale = self.sold(welcoming, 100)
        welcoming.book(sale, self.sold(welcoming, 100))
        assert welcoming.balances()[3] == 70
        welcoming.one(welcoming.return_of(sale, 300))
        assert welcoming.balances()[3] == 0

    def test_who_sold_before_any_campaign_asked_is_not_new(self, welcoming: Shard) -> None:
        welcoming.one(welcoming.sale(10, state=state(1)))
        welcoming.one(self.sold(welcoming, 100))
        assert welcoming.balances()[3] == 0

    def test_a_return_ahead_of_it_does_not_make_it_the_second(self, welcoming: Shard) -> None:
        sale = self.sold(welcoming, 100)
        welcoming.book(welcoming.return_of(sale, 10, state=state(0)))
        sale["offset"] = welcoming.event("x", "x")["offset"]
        assert welcoming.one(sale) == "booked"
        assert welcoming.balances()[3] == 70


def state(sales: int) -> str:
    """A seller's feature state as a real sale or return leaves it."""
    _, updates = observe({}, sale() if sales else returned(), None)
    return updates["s:" + sale().seller_id]


class TestStreak:
    """Three periods in a row; `week(n)` is how an event of the n-th counts."""

    @pytest.fixture
    def steady(self, client: redis.Redis) -> Shard:
        return Shard(client, campaigns=[campaign("c", EUR=[(1, 400, 70, 0, 0)])])

    @staticmethod
    def week(n: int) -> list[Any]:
        near = [[f"w{n + i}", 0] for i in range(-2, 3)]
        return [[1, f"w{n}", 0, near]]

    def sold(self, shard: Shard, week: int, amount: int = 100) -> dict[str, Any]:
        return shard.sale(amount, counts=self.week(week))

    def test_is_granted_with_the_third_in_a_row_and_each_that_follows(self, steady: Shard) -> None:
        credit = []
        for week in (1, 2, 3, 4, 6, 7, 8):
            steady.one(self.sold(steady, week))
            credit.append(steady.balances()[3])
        assert credit == [0, 0, 70, 140, 140, 140, 210]

    def test_does_not_hang_on_the_order_of_events(self, steady: Shard) -> None:
        for week in (3, 1, 5, 4):
            steady.one(self.sold(steady, week))
        assert steady.balances()[3] == 70
        steady.one(self.sold(steady, 2))  # 1 to 5 are full: the third, fourth and fifth
        assert steady.balances()[3] == 210

    def test_a_return_breaks_every_row_that_its_period_is_in(self, steady: Shard) -> None:
        sales = {week: self.sold(steady, week) for week in range(1, 7)}
        steady.book(*sales.values())
        assert steady.balances()[3] == 4 * 70
        steady.one(steady.return_of(sales[3], 1))
        assert steady.balances()[3] == 70  # of 4, 5 and 6 only
        steady.one(self.sold(steady, 3, 1))
        assert steady.balances()[3] == 4 * 70

    def test_a_return_without_a_receipt_breaks_it_as_well(self, steady: Shard) -> None:
        steady.book(*[self.sold(steady, week) for week in (1, 2, 3)])
        steady.one(steady.event("take", "sale.returned", currency="EUR", base=4, amount=1,
                                occurred=steady.now_ms, counts=self.week(2), rev=0))  # fmt: skip
        assert steady.balances()[3] == 0
