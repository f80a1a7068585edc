"""Purchases at the till, through a real Redis: what each takes, and where it goes back."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
import redis

from models import till
from models.ledger import Entry, Fold
from models.policy import TillPolicy
from models.refusals import Reason
from models.shards import SHARDS
from models.till import BasketLine, Discount
from streams.wallets.rebuild import rebuild
from streams.wallets.verify import verify
from tests.streams.wallets.harness import DAY_MS, NOW_MS, Company, Shard, campaign
from tests.streams.wallets.test_rebuild import keys

LIFE = 10 * DAY_MS
HOUR_MS = 3_600_000


class Till:
    """Anna, with 900 of credit and 1,000 available, and a till that she buys at."""

    def __init__(self, client: redis.Redis, **policy: Any) -> None:
        steps = campaign(expires_ms=LIFE, EUR=[(1, 4_000, 900, 0, 0)])
        self.shard = Shard(client, campaigns=[steps])
        self.policy = TillPolicy(**policy)
        self.fold = Fold()
        profile = {"profile": '{"status":"active"}', "release": [], "rev": 0}
        assert self.do(self.shard.event("profile", "seller.updated", **profile)) == "booked"
        self.sale = self.shard.sale(1_000, counts=[[1, "p", 0]], rev=1)
        assert self.do(self.sale) == "booked"

    def do(self, operation: dict[str, Any]) -> str:
        """Book, and follow the journal."""
        outcome = self.shard.one(operation)
        for raw in self.shard.raw:
            self.fold.apply(Entry.parse(raw))
        return outcome

    def event(self, operation: dict[str, Any]) -> dict[str, Any]:
        """An operation as an event led to it."""
        sourced = self.shard.event(operation["op"], operation["kind"])
        return {**sourced, **operation, "id": sourced["id"]}

    def authorise(self, amount: int, name: str = "p", **fields: Any) -> dict[str, Any]:
        return self.event(
            till.authorise("", "anna", name, "EUR", amount, policy=self.policy, **fields)
        )

    def capture(self, amount: int, name: str = "p", **fields: Any) -> dict[str, Any]:
        at = {"occurred_ms": self.shard.now_ms, **fields}
        return self.event(till.capture("", "anna", name, "EUR", amount, policy=self.policy, **at))

    def void(self, name: str = "p") -> dict[str, Any]:
        at = self.shard.now_ms
        return self.event(till.void("", "anna", name, policy=self.policy, occurred_ms=at))

    def refund(self, amount: int, name: str = "p") -> dict[str, Any]:
        return self.event(till.refund("", "anna", name, "EUR", amount, policy=self.policy))

    def give(self, id_: str = "d", **fields: Any) -> str:
        discount = Discount(id_, "EUR", "c", **fields)
        return self.do(self.event(till.give_discount("", "anna", discount)))

    def lot(self, id_: str, left: int, expires: int = 0, only: str = "") -> None:
        """A lot of its own beside the grant's, as another campaign might make it."""
        client, key = self.shard.client, self.shard.key
        client.hset(key("l:anna"), id_, f"EUR,{left},{left},{expires},other,,,{only}")
        client.hincrby(key("w:anna"), "EUR:credit", left)
        self.fold.balances["anna/credit", "EUR"] += left
        self.fold.lots["anna", "EUR", id_]["left"] = left

    def end(self, name: str = "p", grace_ms: int = 0) -> str:
        """The authorisation's time is over."""
        timer = f"auth:anna/{name}"
        due = int(self.shard.client.zscore(self.shard.key("t"), timer))  # type: ignore[arg-type]
        self.shard.now_ms = max(self.shard.now_ms, due)
        return self.do({"op": "unauthorise", "id": f"{timer}:{due}", "seller": "anna", "due": due,
                        "authorisation": name, "timer": timer, "grace_ms": grace_ms})  # fmt: skip

    def stored(self, name: str = "p") -> till.Authorised:
        stored: Any = self.shard.client.get(self.shard.key(f"a:anna/{name}"))
        return till.Authorised.parse(stored)

    def figures(self) -> tuple[int, int, int]:
        """available, credit, authorised; and nothing in the journal contradicts them."""
        assert self.fold.violations == []
        field: Any = self.shard.client.hget(self.shard.key("w:anna"), "EUR:authorised")
        available, _, _, credit, _ = self.shard.balances()
        return available, credit, int(field or 0)


@pytest.fixture
def anna(client: redis.Redis) -> Till:
    return Till(client)


class TestAuthorise:
    @pytest.mark.parametrize(
        ("amount", "fields", "after"),
        [
            (500, {}, (1_000, 400, 500)),
            (900, {}, (1_000, 0, 900)),
            (1_500, {}, (400, 0, 1_500)),
            (1_900, {}, (0, 0, 1_900)),
            (5_000, {"partial": True}, (0, 0, 1_900)),
        ],
    )
    def test_credit_goes_first(
        self, anna: Till, amount: int, fields: Any, after: tuple[int, ...]
    ) -> None:
        assert anna.do(anna.authorise(amount, **fields)) == "booked"
        assert anna.figures() == after
        assert anna.stored().partial == (amount == 5_000)

    def test_earnings_only_where_the_policy_allows_it(self, client: redis.Redis) -> None:
        anna = Till(client, from_available=False)
        assert anna.do(anna.authorise(901)) == "refused:insufficient_funds"
        assert anna.do(anna.authorise(900)) == "booked"

    def test_restricted_lots_before_free_ones_and_on_their_products_only(self, anna: Till) -> None:
        anna.lot("care", 300, expires=NOW_MS + 50 * DAY_MS, only="skin|hair")
        anna.lot("soon", 100, expires=NOW_MS + DAY_MS)
        lines = [BasketLine("skin", 200), BasketLine("tea", 500)]
        assert anna.do(anna.authorise(700, lines=lines)) == "booked"
        parts = [(part.id, part.amount_minor) for part in anna.stored().parts]
        assert parts[:2] == [("care", 200), ("soon", 100)]
        assert [minor for _, minor in parts[2:]] == [400]
        assert anna.do(anna.authorise(50, "q", lines=[BasketLine("tea", 50)])) == "booked"
        assert "care" not in [part.id for part in anna.stored("q").parts]

    def test_a_restricted_lot_is_not_redeemed_without_a_basket(self, anna: Till) -> None:
        anna.lot("care", 300, only="skin")
        spend = anna.shard.event("redeem", "credit.redeemed", currency="EUR", amount=901)
        assert anna.do(spend) == "refused:insufficient_credit"


class TestCaptureAndRelease:
    def test_parts_are_captured_in_order_and_the_rest_released(self, anna: Till) -> None:
        anna.do(anna.authorise(1_500))
        assert anna.do(anna.capture(1_000)) == "booked"
        assert anna.figures() == (400, 0, 500)
        assert anna.do(anna.capture(100, final=True)) == "booked"
        assert anna.figures() == (800, 0, 0)
        assert anna.stored().ended == "captured"
        # Released earnings are looked at for a payout.
        assert anna.shard.client.zscore(anna.shard.key("t"), "pay:anna:EUR") == NOW_MS

    def test_void_gives_everything_back(self, anna: Till) -> None:
        lots = anna.shard.client.hgetall(anna.shard.key("l:anna"))
        anna.do(anna.authorise(1_900))
        assert anna.do(anna.void()) == "booked"
        assert anna.figures() == (1_000, 900, 0)
        assert anna.shard.client.hgetall(anna.shard.key("l:anna")) == lots

    def test_it_ends_by_its_timer_once(self, anna: Till) -> None:
        anna.do(anna.authorise(500))
        assert anna.end() == "booked"
        assert anna.figures() == (1_000, 900, 0)
        assert anna.stored().ended == "expired"
        again = {"op": "unauthorise", "id": "x", "seller": "anna", "authorisation": "p",
                 "timer": "auth:anna/p", "due": anna.shard.now_ms, "grace_ms": 0}  # fmt: skip
        assert anna.do(again) == "ignored:gone"

    def test_a_capture_in_time_that_comes_late_is_good_while_the_hold_stands(
        self, anna: Till
    ) -> None:
        anna.do(anna.authorise(500))
        anna.shard.now_ms += 168 * HOUR_MS + 5
        late = anna.shard.now_ms - 10
        assert anna.do(anna.capture(100)) == "refused:authorisation_expired"
        assert anna.do(anna.capture(100, occurred_ms=late)) == "booked"

    def test_debt_is_paid_first_by_what_is_released(self, anna: Till) -> None:
        anna.do(anna.authorise(1_900))
        take = anna.shard.event("take", "sale.returned", currency="EUR", base=600, amount=600,
                                occurred=NOW_MS, counts=[], rev=1)  # fmt: skip
        assert anna.do(take) == "booked"
        anna.do(anna.void())
        assert anna.shard.balances() == (400, 0, 0, 900, 0)


class TestExpiryAndUnfiring:
    def test_what_is_authorised_of_an_expired_lot_stays_good(self, anna: Till) -> None:
        anna.policy = TillPolicy(authorisation_hours=720)
        anna.do(anna.authorise(500))
        anna.shard.now_ms += LIFE + 1
        assert anna.do(anna.capture(200)) == "booked"
        assert anna.do(anna.void()) == "booked"
        # 400 that nobody wanted still wait for their own timer.
        assert anna.figures() == (1_000, 400, 0)
        [places] = anna.fold.lots.values()
        assert places == {"left": 400, "authorised": 0, "spent": 200, "expired": 300}

    def test_or_has_the_grace_that_the_policy_gives(self, anna: Till) -> None:
        anna.policy = TillPolicy(refund_grace_days=2)
        anna.do(anna.authorise(500))
        anna.do(anna.capture(500))
        anna.shard.now_ms += LIFE + 1
        assert anna.do(anna.refund(300)) == "booked"
        # What was left of the lot has no part in it.
        assert anna.figures() == (1_000, 300, 0)
        [lot] = anna.shard.client.hgetall(anna.shard.key("l:anna")).values()  # type: ignore[union-attr]
        assert lot.split(b",")[3] == str(anna.shard.now_ms + 2 * DAY_MS).encode()

    @pytest.mark.parametrize("again", [False, True])
    def test_a_grant_undone_meanwhile_is_undone_exactly(self, anna: Till, again: bool) -> None:
        anna.do(anna.authorise(700))
        anna.do(anna.capture(100))
        anna.do(anna.shard.return_of(anna.sale, 4_000))
        assert anna.figures()[1:] == (0, 600)
        if again:
            anna.do(anna.shard.sale(1_000, counts=[[1, "p", 0]], rev=1))
            assert anna.figures()[1:] == (200, 600)
        anna.do(anna.void())
        # Undone, all of it is taken back; granted again, all but what was spent is there.
        assert anna.figures()[1:] == (800 if again else 0, 0)
        if not again:
            anna.do(anna.shard.sale(1_000, counts=[[1, "p", 0]], rev=1))
            assert anna.figures()[1:] == (800, 0)


class TestRefund:
    def test_goes_back_the_way_it_came(self, anna: Till) -> None:
        anna.do(anna.authorise(1_500))
        anna.do(anna.capture(1_500))
        assert anna.do(anna.refund(700)) == "booked"
        assert anna.figures() == (1_000, 100, 0)
        assert anna.do(anna.refund(800)) == "booked"
        assert anna.figures() == (1_000, 900, 0)


class TestDiscounts:
    def test_takes_its_share_of_each_part(self, anna: Till) -> None:
        anna.give(percent_bp=1_500)
        anna.do(anna.authorise(1_000))
        assert [part.amount_minor for part in anna.stored().parts] == [150, 850]
        assert not anna.shard.client.exists(anna.shard.key("g:anna"))
        anna.do(anna.capture(500))
        assert [part.captured_minor for part in anna.stored().parts] == [75, 425]
        anna.do(anna.refund(100))
        assert [part.refunded_minor for part in anna.stored().parts] == [15, 85]
        anna.do(anna.capture(500))
        anna.do(anna.refund(900))
        assert anna.figures() == (1_000, 900, 0)
        assert not anna.shard.client.exists(anna.shard.key("g:anna")), "it was used"

    def test_comes_back_if_nothing_was_captured(self, anna: Till) -> None:
        anna.give(amount_minor=200)
        anna.do(anna.authorise(1_000))
        anna.do(anna.void())
        assert anna.fold.discounts == {("anna", "d"): "returned"}
        anna.do(anna.authorise(150, "q"))
        assert [part.account for part in anna.stored("q").parts] == ["discount"]
        assert anna.figures() == (1_000, 900, 150)

    @pytest.mark.parametrize(
        ("discounts", "used"),
        [
            ([{"amount_minor": 100, "basket_min_minor": 1_001}], []),
            ([{"percent_bp": 5_000, "cap_minor": 70}], [70]),
            ([{"percent_bp": 5_000, "only": ("tea",)}], [200]),
            ([{"percent_bp": 5_000, "only": ("tea",), "basket_min_minor": 401}], []),
            # The best: one alone, or all that stack.
            ([{"amount_minor": 90}, {"amount_minor": 50, "stacks": True}], [90]),
            ([{"amount_minor": 90}, {"amount_minor": 50, "stacks": True},
              {"amount_minor": 60, "stacks": True}], [60, 50]),
            ([{"amount_minor": 5, "expires_ms": NOW_MS}], []),
            ([{"percent_bp": 10_000}], [1_000]),
        ],
    )  # fmt: skip
    def test_used_where_they_fit(self, anna: Till, discounts: list[Any], used: list[int]) -> None:
        for number, fields in enumerate(discounts):
            assert anna.give(f"d{number}", **fields) == "booked"
        anna.do(anna.authorise(1_000, lines=[BasketLine("tea", 400)]))
        parts = [part for part in anna.stored().parts if part.account == "discount"]
        assert [part.amount_minor for part in parts] == used
        anna.figures()

    def test_expires(self, anna: Till) -> None:
        anna.give(amount_minor=5, expires_ms=NOW_MS + 9)
        timer = {"id": "x", "seller": "anna", "timer": "discount:anna/d", "due": NOW_MS + 9}
        assert anna.do({**timer, "op": "expire_discount", "discount": "d"}) == "booked"
        assert anna.fold.discounts == {("anna", "d"): "expired"}


def _authorised(anna: Till) -> Till:
    assert anna.do(anna.authorise(500)) == "booked"
    return anna


def _suspended(anna: Till) -> dict[str, Any]:
    stop = {"profile": '{"status":"suspended"}', "release": [], "rev": 1}
    anna.do(anna.shard.event("profile", "seller.updated", **stop))
    return anna.authorise(1)


def _late(anna: Till) -> Till:
    _authorised(anna).shard.now_ms += 168 * HOUR_MS
    return anna


def _voided(anna: Till) -> Till:
    assert anna.do(_authorised(anna).void()) == "booked"
    return anna


def _given(anna: Till) -> dict[str, Any]:
    anna.give(amount_minor=5)
    return anna.event(till.give_discount("", "anna", Discount("d", "EUR", "c", amount_minor=6)))


R = Reason
REFUSALS: list[tuple[Reason, Callable[[Till], dict[str, Any]]]] = [
    (R.UNKNOWN_SELLER, lambda anna: {**anna.authorise(1), "seller": "nobody"}),
    (R.SELLER_SUSPENDED, _suspended),
    (R.AUTHORISATION_REUSED, lambda anna: _authorised(anna).authorise(1)),
    (R.INSUFFICIENT_FUNDS, lambda anna: anna.authorise(1_901)),
    (R.UNKNOWN_AUTHORISATION, lambda anna: anna.capture(1)),
    (R.UNKNOWN_AUTHORISATION, lambda anna: anna.void()),
    (R.UNKNOWN_AUTHORISATION, lambda anna: anna.refund(1)),
    (R.CURRENCY_MISMATCH, lambda anna: {**_authorised(anna).capture(1), "currency": "USD"}),
    (R.AUTHORISATION_EXPIRED, lambda anna: _late(anna).capture(1)),
    (R.AUTHORISATION_EXPIRED, lambda anna: _late(anna).void()),
    (R.AUTHORISATION_CLOSED, lambda anna: _voided(anna).capture(1)),
    (R.AUTHORISATION_CLOSED, lambda anna: _voided(anna).void()),
    (R.CAPTURE_EXCEEDS_AUTHORISATION, lambda anna: _authorised(anna).capture(501)),
    (R.REFUND_EXCEEDS_CAPTURE, lambda anna: _authorised(anna).refund(1)),
    (R.DISCOUNT_REUSED, _given),
]


class TestRefusals:
    @pytest.mark.parametrize(("reason", "given"), REFUSALS)
    def test_changes_no_money(
        self, anna: Till, reason: Reason, given: Callable[[Till], dict[str, Any]]
    ) -> None:
        operation = given(anna)
        before = anna.shard.dump()
        assert anna.do(operation) == f"refused:{reason}"
        after = anna.shard.dump()
        differ = {k for k in before.keys() | after.keys() if before.get(k) != after.get(k)}
        names = {key.decode().partition(":")[2].partition(":")[0] for key in differ}
        assert names == {"m", "o", "u"}

    def test_a_repeat_changes_nothing_and_another_body_is_refused(self, anna: Till) -> None:
        steps: list[Callable[[], dict[str, Any]]] = [
            *(lambda: anna.authorise(500), lambda: anna.capture(200)),
            *(lambda: anna.refund(50), anna.void),
        ]
        for step in steps:
            made = step()
            assert anna.do(made) == "booked"
            before = anna.figures()
            again = {**made, "offset": made["offset"] + 1_000}
            anna.shard._offset += 1_001
            assert anna.do(again) == "repeat"
            other = {**again, "offset": again["offset"] + 1, "hash": "f" * 16}
            assert anna.do(other) == "refused:id_reused"
            anna.shard._offset += 2
            assert anna.figures() == before


@pytest.fixture
async def company(own_broker: str, redis_url: str, client: redis.Redis) -> Any:
    async with Company(own_broker, redis_url) as made:
        await made.wallets.heal(range(SHARDS))
        yield made


async def bought(company: Company) -> None:
    """Purchases in every state, from credit, earnings and discounts."""
    company.publish("sellers", company.seller("anna"))
    await company.work()
    company.publish("sales", *(company.sale("anna", 7_900, f"s{n}") for n in range(3)))
    await company.work()
    discounts = [
        till.give_discount(f"g{n}", "anna", Discount(f"d{n}", "EUR", "c", amount_minor=77))
        for n in range(3)
    ]
    await company.wallets.post(discounts)

    def event(kind: str, name: str, **fields: Any) -> dict[str, Any]:
        money = {} if kind == "voided" else {"currency": "EUR"}
        return company.event(
            f"purchase.{kind}", "anna", authorisation_id=name, **{**money, **fields}
        )

    for name in ("left", "captured", "voided", "refunded"):
        made = event("authorised", name, amount_minor=900, order_ref="o", lines=[])
        company.publish("redemptions", made, made)
    company.publish(
        "redemptions",
        event("captured", "captured", amount_minor=900),
        event("captured", "refunded", amount_minor=500, final=True),
        event("refunded", "refunded", amount_minor=300),
        event("voided", "voided"),
        event("captured", "captured", amount_minor=1),
        event("authorised", "dear", amount_minor=10**9),
    )
    await company.work()


class TestACompany:
    async def test_verify_and_rebuild_hold(self, company: Company, client: redis.Redis) -> None:
        await bought(company)
        verdict = await asyncio.to_thread(verify, company.settings, whole=True)
        assert verdict.ok, [check for check in verdict.checks if not check.ok]
        purchases = verdict.fold.purchases
        assert purchases["anna", "refunded"][1:] == (900, 500, 300, 400)
        assert purchases["anna", "left"].open == 900
        before = keys(client)
        assert {"a", "g"} <= {key.split(":")[1] for key in before}
        client.flushall()
        await asyncio.to_thread(rebuild, company.settings)
        assert keys(client) == before

    async def test_what_differs_is_found(self, company: Company, client: redis.Redis) -> None:
        await bought(company)

        async def broken() -> set[str]:
            verdict = await asyncio.to_thread(verify, company.settings, whole=True)
            return {check.name for check in verdict.checks if not check.ok}

        [prefix] = {key.decode().partition(":")[0] for key in client.scan_iter("*:a:anna/left")}
        name = f"{prefix}:a:anna/left"
        stored: Any = client.get(name)
        client.set(name, json.dumps({**json.loads(stored), "captured": 1}))
        assert await broken() == {"purchases are as the journal has them"}
        client.set(name, stored)
        client.zrem(f"{prefix}:t", "auth:anna/left")
        assert await broken() == {"every authorisation ends"}
        due = json.loads(stored)["expires"]
        client.zadd(f"{prefix}:t", {"auth:anna/left": due})
        client.hset(f"{prefix}:g:anna", "d9", "{}")
        assert await broken() == {"discounts are as the journal has them"}
        client.hdel(f"{prefix}:g:anna", "d9")
        assert await broken() == set()

    async def test_the_janitor_ends_what_nobody_captured(self, company: Company) -> None:
        await bought(company)
        company.clock.now_ms += 169 * HOUR_MS
        await company.janitor.once()
        left = await company.wallets.authorised("anna", "left")
        assert left is not None
        assert (left.ended, left.left_minor) == ("expired", 0)
