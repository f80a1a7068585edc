"""Discounts that campaigns grant: given, used, taken back and paid for from budgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import redis

from models.campaigns import Campaigns
from models.config import load
from models.rules import Rules
from tests.streams.wallets.harness import NOW_MS, Followed
from tests.streams.wallets.test_campaigns import LIFE, Company, sellers_in

ID = "discount.c.life.1.EUR"

FILE = """\
campaigns:
  - id: c
    metric: {metric}
    period: lifetime
    {more}
    tiers:
      - reach: {reach}
        discount: {discount}
"""


def told(
    discount: str, *, metric: str = "volume", reach: str = "{EUR: 400}", more: str = ""
) -> dict[str, Any]:
    """A campaign of a file, as the booking function is told of it."""
    text = FILE.format(discount=discount, metric=metric, reach=reach, more=more)
    rules = Rules(None, None, load(text, Campaigns, "c"), lambda *_: None, retention_ms=0)  # type: ignore[arg-type]
    [campaign] = rules.context()
    return campaign


class Buyer:
    """Anna, who sells and buys."""

    def __init__(self, client: redis.Redis, campaign: Mapping[str, Any]) -> None:
        self.followed = Followed(client, campaigns=[campaign])
        self.shard = self.followed.shard
        self.do = self.followed.do
        profile = {"profile": '{"status":"active"}', "release": [], "rev": 0}
        self.do(self.shard.event("profile", "seller.updated", **profile))
        self.events: list[dict[str, Any]] = []

    def sell(self, amount: int = 100, **more: Any) -> dict[str, Any]:
        """A sale of four times the amount."""
        sale = self.shard.sale(amount, counts=LIFE, rev=1, **more)
        assert self.do(sale) == "booked"
        return sale

    def bring_back(self, sale: Mapping[str, Any], base: int = 400) -> None:
        """A return."""
        assert self.do(self.shard.return_of(sale, base)) == "booked"

    def authorise(self, name: str, amount: int, *lines: tuple[str, int]) -> int:
        """A purchase; what discounts take off."""
        authorise = self.shard.event(
            "authorise", "purchase.authorised", authorisation=name, currency="EUR",
            amount=amount, lines=[list(line) for line in lines], good_ms=10_000,
            from_available=True, partial=True, discounts=True,
        )  # fmt: skip
        before = self.off()
        self.do(authorise)
        return self.off() - before

    def off(self) -> int:
        """What discounts take off in all."""
        return -self.followed.fold.balances["/discounts", "EUR"]

    def void(self, name: str) -> str:
        """A purchase is called off."""
        return self.do(
            self.shard.event("void", "purchase.voided", authorisation=name, currency="EUR",
                             grace_ms=0)
        )  # fmt: skip

    @property
    def step(self) -> str | None:
        """What became of the discount last."""
        return self.followed.fold.discounts.get((self.shard.seller, ID))

    @property
    def usable(self) -> bool:
        """Whether it can be used."""
        return bool(self.shard.client.hexists(self.shard.key(f"g:{self.shard.seller}"), ID))


@pytest.fixture
def anna(client: redis.Redis) -> Buyer:
    return Buyer(client, told("{percent: 15}"))


class TestGrant:
    def test_a_threshold_takes_a_share_off_the_next_purchase_and_of_none_behind_it(
        self, anna: Buyer
    ) -> None:
        anna.sell()
        assert (anna.step, anna.usable) == ("granted", True)
        assert anna.authorise("p", 200) == 30
        assert anna.authorise("q", 200) == 0
        anna.sell()
        assert (anna.step, anna.usable) == ("used", False)

    @pytest.mark.parametrize(
        ("discount", "off"),
        [
            ("{EUR: 50}", 50),
            ("{percent: 15, cap: {EUR: 20}}", 20),
            ("{amounts: {EUR: 50}, products: [tea, cake]}", 40),
            ("{percent: 50, products: [tea]}", 20),
            ("{percent: 50, basket_min: {EUR: 201}}", 0),
            ("{percent: 50, basket_min: {EUR: 200}}", 100),
        ],
    )
    def test_on_the_terms_of_the_file(self, client: redis.Redis, discount: str, off: int) -> None:
        buyer = Buyer(client, told(discount))
        buyer.sell()
        assert buyer.authorise("p", 200, ("tea", 40)) == off

    def test_it_expires(self, client: redis.Redis) -> None:
        buyer = Buyer(client, told("{percent: 15}", more="expires_days: 1"))
        buyer.sell()
        timer = f"discount:{buyer.shard.seller}/{ID}"
        assert client.zscore(buyer.shard.key("t"), timer) == NOW_MS + 86_400_000
        buyer.shard.now_ms += 86_400_000
        assert buyer.authorise("p", 200) == 0

    def test_a_count_needs_a_cap_for_its_currency(self, client: redis.Redis) -> None:
        more = {"metric": "count", "reach": "2"}
        buyer = Buyer(client, told("{percent: 15, cap: {EUR: 1000}}", **more))
        buyer.sell(1)
        assert buyer.step is None
        buyer.sell(1)
        assert buyer.step == "granted"

    def test_the_company_is_told_on_which_terms(self, client: redis.Redis) -> None:
        company = Company(client, [told("{amounts: {EUR: 5}, products: [tea]}")], budget=0)
        [number, *_] = company.shards
        company.book(number, company.shards[number].sale(100, counts=LIFE))
        [event] = company.events
        assert (event["type"], event["lot"], event["off_minor"]) == ("discount.granted", ID, 5)
        assert (event["products"], event["stacks"], event["gone"]) == (["tea"], False, False)


class TestUndone:
    def test_a_return_takes_it_back_and_a_later_sale_gives_it_again(self, anna: Buyer) -> None:
        anna.bring_back(anna.sell())
        assert (anna.step, anna.usable) == ("withdrawn", False)
        assert anna.authorise("p", 200) == 0
        anna.sell()
        assert (anna.step, anna.usable) == ("granted", True)

    def test_one_that_was_used_stays_used_and_is_not_given_again(self, anna: Buyer) -> None:
        sale = anna.sell()
        anna.authorise("p", 20)
        anna.bring_back(sale)
        again = anna.sell()
        assert (anna.step, anna.usable) == ("used", False)
        anna.bring_back(again)
        assert (anna.step, anna.usable) == ("used", False)

    def test_a_purchase_that_is_called_off_gives_it_to_nobody_once_it_is_undone(
        self, anna: Buyer
    ) -> None:
        sale = anna.sell()
        anna.authorise("p", 20)
        anna.bring_back(sale)
        assert anna.void("p") == "booked"
        assert not anna.usable
        anna.sell()  # now it is as if it had not been used
        assert (anna.step, anna.usable) == ("granted", True)

    def test_a_purchase_that_is_called_off_gives_it_back_if_it_is_granted_again(
        self, anna: Buyer
    ) -> None:
        sale = anna.sell()
        anna.authorise("p", 20)
        anna.bring_back(sale)
        again = anna.sell()
        assert anna.void("p") == "booked"
        assert (anna.step, anna.usable) == ("returned", True)
        anna.bring_back(again)
        assert (anna.step, anna.usable) == ("withdrawn", False)

    def test_one_that_expired_is_not_given_again(self, client: redis.Redis) -> None:
        buyer = Buyer(client, told("{percent: 15}", more="expires_days: 1"))
        sale = buyer.sell()
        buyer.shard.now_ms += 86_400_000
        timer = f"discount:{buyer.shard.seller}/{ID}"
        buyer.do({
            "op": "expire_discount", "id": "x", "seller": buyer.shard.seller, "discount": ID,
            "timer": timer, "due": buyer.shard.now_ms,
        })  # fmt: skip
        assert buyer.step == "expired"
        buyer.bring_back(sale)
        buyer.sell()
        assert (buyer.step, buyer.usable) == ("expired", False)


class TestBudget:
    @pytest.fixture
    def company(self, client: redis.Redis) -> Company:
        campaign = told("{percent: 15, cap: {EUR: 70}}", more="budget: {EUR: 150}")
        return Company(client, [campaign], shards=2, budget=150)

    def test_a_discount_costs_the_most_that_it_takes_off(self, company: Company) -> None:
        number = next(iter(company.shards))
        shard = company.shards[number]
        sales = [shard.sale(100, seller=s, counts=LIFE) for s in sellers_in(number, 3)]
        company.book(number, *sales)
        assert not company.fold.discounts
        company.settle()
        company.check()
        assert list(company.fold.discounts.values()) == ["granted", "granted"]
        kinds = [event["type"] for event in company.events]
        assert kinds == ["discount.granted", "discount.granted", "discount.refused"]
        assert company.needs(number).used == 140
        assert not list(company.client.scan_iter("{*}:gw:*"))

    def test_what_is_taken_back_is_free_for_others(self, company: Company) -> None:
        number = next(iter(company.shards))
        shard = company.shards[number]
        sellers = sellers_in(number, 3)
        sales = [shard.sale(100, seller=s, counts=LIFE) for s in sellers[:2]]
        company.book(number, *sales)
        company.settle()
        company.book(
            number,
            shard.return_of(sales[0], 400, seller=sellers[0]),
            shard.sale(100, seller=sellers[2], counts=LIFE),
        )
        company.settle()
        company.check()
        assert company.fold.discounts[sellers[2], ID] == "granted"
        assert company.needs(number).used == 140

    def test_one_that_is_lost_while_it_waits_leaves_nothing(self, company: Company) -> None:
        number = next(iter(company.shards))
        shard = company.shards[number]
        sale = shard.sale(100, counts=LIFE)
        company.book(number, sale, shard.return_of(sale, 400))
        company.settle()
        company.check()
        assert (company.fold.discounts, company.needs(number).used) == ({}, 0)
        assert not list(company.client.scan_iter("{*}:gw:*"))

    def test_what_a_till_gives_back_of_an_undone_one_is_free(self, company: Company) -> None:
        number = next(iter(company.shards))
        shard = company.shards[number]
        profile = {"profile": '{"status":"active"}', "release": [], "rev": 0}
        company.book(number, shard.event("profile", "seller.updated", **profile))
        sale = shard.sale(100, counts=LIFE, rev=1)
        company.book(number, sale)
        company.settle()
        terms = {"currency": "EUR", "authorisation": "p", "grace_ms": 0}
        company.book(
            number,
            shard.event("authorise", "purchase.authorised", amount=60, good_ms=1_000,
                        discounts=True, from_available=True, **terms),
            shard.return_of(sale, 400),
        )  # fmt: skip
        assert company.needs(number).used == 70
        company.book(number, shard.event("void", "purchase.voided", **terms))
        company.check()
        assert company.needs(number).used == 0
