"""Earnings that become credit, through a real Redis: by a standing preference, and once."""

import asyncio
import json
import random
from typing import Any

import pytest
import redis

from models import reinvestment, till
from models.ledger import REINVESTED, Entry, Fold
from models.policy import ReinvestPolicy, TillPolicy
from models.reinvestment import Standing
from models.shards import SHARDS
from streams.wallets.rebuild import rebuild
from streams.wallets.verify import verify
from tests.streams.wallets.harness import DAY_MS, NOW_MS, PAY, TERMS, Company, Shard, Told
from tests.streams.wallets.test_rebuild import keys

BONUS = ReinvestPolicy.model_validate({"bonus": 5, "bonus_days": 30})
NONE = ReinvestPolicy()


class Reinvesting(Told):
    """Anna, who reinvests, and a journal of it."""

    def sale(
        self, amount: int, percent: int, keep: int = 0, policy: ReinvestPolicy = NONE, **fields: Any
    ) -> dict[str, Any]:
        """A sale that earns an amount, four times that sold."""
        terms = reinvestment.standing_terms(Standing(percent, keep), policy)
        return self.shard.sale(amount, rev=1, reinvest=terms, **fields)

    def once(self, amount: int | None, policy: ReinvestPolicy = NONE) -> dict[str, Any]:
        operation = reinvestment.reinvest("", "anna", "EUR", amount, policy=policy)
        return {**self.shard.event(operation["op"], operation["kind"]), **operation,
                "id": self.shard.id()}  # fmt: skip

    def owe(self, amount: int) -> None:
        """A return without a receipt."""
        take = self.shard.event("take", "sale.returned", currency="EUR", base=amount, amount=amount,
                                occurred=NOW_MS, counts=[], rev=1)  # fmt: skip
        assert self.do(take) == "booked"

    def spend(self, amount: int) -> str:
        return self.do(self.shard.event("redeem", "credit.redeemed", currency="EUR", amount=amount))

    def lots(self) -> dict[str, tuple[int, int]]:
        """What is left of each lot, and when it expires."""
        stored: Any = self.shard.client.hgetall(self.shard.key("l:anna"))
        parts = {lot.decode(): text.decode().split(",") for lot, text in stored.items()}
        return {lot: (int(part[1]), int(part[3])) for lot, part in parts.items()}

    def figures(self) -> tuple[int, int, int]:
        """available, credit, debt; and nothing in the journal contradicts them."""
        assert self.fold.violations == []
        available, held, in_flight, credit, debt = self.shard.balances()
        of = ("anna", "EUR")
        has = available + held + in_flight + debt + self.fold.purchased[of]
        assert has + self.fold.reinvested[of] == self.fold.earned[of]
        return available, credit, debt


@pytest.fixture
def anna(client: redis.Redis) -> Reinvesting:
    return Reinvesting(client)


class TestStandingPreference:
    @pytest.mark.parametrize(
        ("amount", "percent", "keep", "after"),
        [
            (1_000, 20, 0, (800, 200, 0)),
            (1_000, 100, 0, (0, 1_000, 0)),
            (1_000, 100, 300, (300, 700, 0)),
            (1_000, 20, 900, (900, 100, 0)),
            (1_000, 50, 1_000, (1_000, 0, 0)),
            (1_000, 50, 10**12, (1_000, 0, 0)),
            # Odd units: half to even, and the rest is what is left.
            (1, 50, 0, (1, 0, 0)),
            (3, 50, 0, (1, 2, 0)),
            (7, 33, 0, (5, 2, 0)),
            (0, 50, 0, (0, 0, 0)),
            (10**12, 99, 0, (10**10, 99 * 10**10, 0)),
        ],
    )
    def test_its_share_becomes_credit_in_the_same_entry(
        self, anna: Reinvesting, amount: int, percent: int, keep: int, after: tuple[int, ...]
    ) -> None:
        assert anna.do(anna.sale(amount, percent, keep)) == "booked"
        assert len(anna.shard.entries) == 1
        assert anna.figures() == after
        credit = after[1]
        moved = [["reinvested.EUR", "EUR", "reinvested", "left", credit]]
        assert anna.shard.entries[0].get("lots") == (moved if credit else None)
        assert anna.lots() == ({"reinvested.EUR": (credit, 0)} if credit else {})

    def test_the_rest_goes_on_to_payout(self, anna: Reinvesting) -> None:
        anna.do(anna.sale(2_000, 50, policy=BONUS, pay=dict(PAY)))
        [payout] = anna.shard.payouts().values()
        assert payout["amount_minor"] + payout["fee_minor"] == 1_000
        assert anna.figures() == (0, 1_050, 0)
        assert anna.words[-1] == (
            "Share of a sale of 80.00 EUR; payout of 9.81 EUR over paypal reserved; 10.00 EUR "
            "reinvested; bonus of 0.50 EUR on it"
        )

    def test_only_of_what_debt_leaves(self, anna: Reinvesting) -> None:
        anna.owe(600)
        anna.do(anna.sale(1_000, 50))
        assert anna.figures() == (200, 200, 0)

    def test_nothing_of_what_is_held(self, anna: Reinvesting) -> None:
        anna.do(anna.sale(1_000, 50, tier="hold"))
        assert anna.shard.balances() == (0, 1_000, 0, 0, 0)

    def test_and_not_of_what_came_back_ahead_of_it(self, anna: Reinvesting) -> None:
        sale = anna.sale(1_000, 50)
        anna.do(anna.sale(700, 0))
        assert anna.do(anna.shard.return_of(sale, 3_000)) == "parked"
        anna.do({**sale, **{k: anna.shard.event("", "")[k] for k in ("offset",)}})
        assert anna.figures() == (700 + 250 - 125, 125, 0)

    def test_of_what_waited_for_the_profile_when_it_comes(self, client: redis.Redis) -> None:
        ben = Shard(client, "ben")
        waits = {"waiting": True, "sale": "x", "origin": "ben", "level": 0, "held": False,
                 "occurred_at": "x"}  # fmt: skip
        ben.one(ben.sale(1_000, **waits))
        terms = reinvestment.standing_terms(Standing(40, 0), BONUS)
        release = [{"counts": [], "reinvest": terms}]
        assert ben.one(ben.event("profile", "seller.updated", rev=0, profile="{}",
                                 release=release)) == "booked"  # fmt: skip
        assert ben.balances() == (600, 0, 0, 420, 0)
        assert [note[2:] for note in ben.entries[1]["lots"]] == [
            ["reinvested", "left", 400], ["granted", "left", 20]
        ]  # fmt: skip

    def test_by_the_profile_of_the_moment(self, anna: Reinvesting) -> None:
        assert anna.do({**anna.sale(1_000, 50), "rev": 2}) == "retry"
        assert anna.figures() == (0, 0, 0)

    def test_many_earnings_are_one_lot(self, anna: Reinvesting) -> None:
        for _ in range(120):
            anna.do(anna.sale(100, 50, policy=BONUS))
        assert anna.figures() == (6_000, 6_240, 0)
        days = (NOW_MS // DAY_MS + 31) * DAY_MS
        assert anna.lots() == {
            "reinvested.EUR": (6_000, 0), f"reinvest-bonus.EUR.{days // DAY_MS}": (240, days)
        }  # fmt: skip
        buy = till.authorise("", "anna", "p", "EUR", 6_240, policy=TillPolicy(from_available=False))
        assert anna.do({**anna.shard.event("", ""), **buy, "id": anna.shard.id()}) == "booked"


class TestBonus:
    def test_expires_and_what_was_reinvested_does_not(self, anna: Reinvesting) -> None:
        anna.do(anna.sale(1_000, 100, policy=BONUS))
        [timer] = anna.shard.client.zrange(anna.shard.key("t"), 0, -1, withscores=True)
        name, due = timer[0].decode(), int(timer[1])  # type: ignore[index]
        assert name.startswith("lot:anna:reinvest-bonus.EUR.")
        anna.shard.now_ms = due
        expire = {"op": "expire", "id": "x", "seller": "anna", "lot": name.split(":")[2]}
        assert anna.do({**expire, "timer": name, "due": due}) == "booked"
        assert anna.figures() == (0, 1_000, 0)

    def test_for_ever_where_the_policy_has_no_days(self, anna: Reinvesting) -> None:
        policy = ReinvestPolicy.model_validate({"bonus": "2.5 %"})
        anna.do(anna.sale(999, 100, policy=policy))
        assert anna.lots() == {"reinvested.EUR": (999, 0), "reinvest-bonus.EUR": (24, 0)}


class TestOnce:
    def test_a_part_or_all(self, anna: Reinvesting) -> None:
        anna.do(anna.sale(1_000, 0))
        assert anna.do(anna.once(300, BONUS)) == "booked"
        assert anna.figures() == (700, 315, 0)
        assert anna.do(anna.once(None)) == "booked"
        assert anna.figures() == (0, 1_015, 0)
        assert anna.words[-1] == "Earnings turned into store credit; 7.00 EUR reinvested"

    @pytest.mark.parametrize(
        ("amount", "reason"), [(1_001, "insufficient_funds"), (10**12, "insufficient_funds")]
    )
    def test_no_more_than_there_is(self, anna: Reinvesting, amount: int, reason: str) -> None:
        anna.do(anna.sale(1_000, 0))
        before = anna.shard.balances()
        assert anna.do(anna.once(amount)) == f"refused:{reason}"
        assert anna.shard.balances() == before

    def test_nothing_of_nothing(self, anna: Reinvesting) -> None:
        assert anna.do(anna.once(None)) == "refused:nothing_available"
        anna.owe(5)
        assert anna.do(anna.once(1)) == "refused:insufficient_funds"

    def test_not_by_a_stranger_nor_while_suspended(self, anna: Reinvesting) -> None:
        stop = {"profile": '{"status":"suspended"}', "release": [], "rev": 1}
        anna.do(anna.sale(1_000, 0))
        anna.do(anna.shard.event("profile", "seller.updated", **stop))
        assert anna.do(anna.once(1)) == "refused:seller_suspended"
        anna.shard.client.delete(anna.shard.key("p:anna"))
        assert anna.do(anna.once(1)) == "refused:unknown_seller"

    def test_a_request_is_told_what_it_made(self, anna: Reinvesting) -> None:
        anna.do(anna.sale(1_000, 0))
        asked = reinvestment.reinvest("r1", "anna", "EUR", 400, policy=BONUS) | {"hash": "0" * 16}
        outcome = anna.shard.one(asked)
        assert json.loads(outcome.removeprefix("booked:"))["reinvested"] == [400, 20]
        assert anna.shard.one(asked) == "repeat:" + outcome


class TestReturns:
    @pytest.mark.parametrize(
        ("spent", "returned", "after"),
        [
            # Of 1,000 with 400 reinvested and 20 of bonus: credit first, then available.
            (0, 400, (600, 315, 0)),
            (0, 1_600, (600, 0, 0)),
            (0, 2_000, (500, 0, 0)),
            (0, 4_000, (0, 0, 0)),
            # The bonus expires, so it is spent first; what is spent stays so.
            (20, 4_000, (0, 0, 0)),
            (320, 4_000, (0, 0, -300)),
            (420, 4_000, (0, 0, -400)),
            (320, 400, (600, 0, 0)),
        ],
    )
    def test_held_then_credit_then_available_then_debt(
        self, anna: Reinvesting, spent: int, returned: int, after: tuple[int, ...]
    ) -> None:
        sale = anna.sale(1_000, 40, policy=BONUS)
        anna.do(sale)
        if spent:
            assert anna.spend(spent) == "booked"
        assert anna.do(anna.shard.return_of(sale, returned)) == "booked"
        assert anna.figures() == after

    def test_parts_take_what_the_whole_would(self, anna: Reinvesting) -> None:
        dice = random.Random(5)
        for _ in range(20):
            sale = anna.sale(777, 37, policy=BONUS)
            anna.do(sale)
            left = sale["base"]
            while left:
                part = min(left, dice.randrange(1, 900))
                assert anna.do(anna.shard.return_of(sale, part)) == "booked"
                left -= part
            assert anna.figures() == (0, 0, 0)
            assert anna.lots() == {}

    def test_never_more_credit_than_the_sale_gave(self, anna: Reinvesting) -> None:
        other, sale = anna.sale(1_000, 100), anna.sale(1_000, 10)
        anna.do(other)
        anna.do(sale)
        anna.do(anna.shard.return_of(sale, 4_000))
        assert anna.figures() == (0, 1_000, 0)

    def test_credit_at_the_till_is_not_there_and_comes_back(self, anna: Reinvesting) -> None:
        sale, policy = anna.sale(1_000, 40), TillPolicy(from_available=False)
        anna.do(sale)
        buy = till.authorise("", "anna", "p", "EUR", 300, policy=policy)
        anna.do({**anna.shard.event("", ""), **buy, "id": anna.shard.id()})
        anna.do(anna.shard.return_of(sale, 4_000))
        assert anna.figures() == (0, 0, 0 - 300)
        void = till.void("", "anna", "p", policy=policy, occurred_ms=NOW_MS)
        anna.do({**anna.shard.event("", ""), **void, "id": anna.shard.id()})
        assert anna.figures() == (0, 300, -300)
        assert anna.lots() == {"reinvested.EUR": (300, 0)}


class TestRule:
    """Each breaks what is reinvested in one way."""

    @pytest.mark.parametrize(
        ("account", "place", "amount"),
        [
            # The bonus out of another account, and own money that is said to be the house's.
            ("/sales", "reinvested", 20),
            ("/spendback", "granted", 20),
            # More bonus in the lot than the house paid.
            ("/spendback", "reinvested", 21),
        ],
    )
    def test_the_house_pays_the_bonus_and_no_more(
        self, anna: Reinvesting, account: str, place: str, amount: int
    ) -> None:
        anna.do(anna.sale(1_000, 40, policy=BONUS))
        raw = json.loads(anna.shard.raw[0])
        for posting in raw["postings"]:
            posting[0] = account if posting[0] == "/spendback" else posting[0]
        raw["lots"][0][2], raw["lots"][1][4] = place, amount
        fold = Fold()
        fold.apply(Entry.parse(json.dumps(raw).encode()))
        assert {each.invariant for each in fold.violations} & {REINVESTED, "lots add up"}

    def test_own_money_never_expires(self, anna: Reinvesting) -> None:
        anna.do(anna.sale(1_000, 40))
        key = ("anna", "EUR", "reinvested.EUR")
        raw = json.loads(anna.shard.raw[0])
        raw["lots"] = [["reinvested.EUR", "EUR", "left", "expired", 400]]
        raw["postings"] = [["anna/credit", "EUR", -400, 0], ["/spendback", "EUR", 400, 400]]
        anna.fold.apply(Entry.parse(json.dumps(raw).encode()))
        assert key in anna.fold.own_lots
        assert REINVESTED in {each.invariant for each in anna.fold.violations}


POLICY = (
    TERMS
    + """fraud: {hold_score: 0.35, unscored_cap: {EUR: 100000}}
reinvest: {bonus: 5, bonus_days: 90}
"""
)


async def test_from_the_profile_to_verify_and_again_from_the_journal(
    own_broker: str, redis_url: str, client: redis.Redis
) -> None:
    async with Company(own_broker, redis_url, policy=POLICY) as company:
        await company.wallets.heal(range(SHARDS))
        wants = {"reinvest": {"EUR": {"percent": 20, "keep_minor": 100}}}
        company.publish("sellers", company.seller("anna", **wants), company.seller("ben"))
        await company.work()
        company.publish(
            "sales",
            *(company.sale(seller, 4_000, f"{seller}-1") for seller in ("anna", "ben")),
            company.sale("cleo", 4_000, "cleo-1"),
            company.return_of("anna", 1_000, "anna-1"),
            key="",
        )
        await company.work()
        company.publish("sellers", company.seller("cleo", **wants))
        once = {"currency": "EUR", "amount_minor": 300}
        company.publish("redemptions", company.event("earnings.reinvested", "ben", **once))
        too_much = company.event("earnings.reinvested", "ben", **{**once, "amount_minor": 10**6})
        company.publish("redemptions", too_much)
        await company.work()
        verdict = await asyncio.to_thread(verify, company.settings, whole=True)
        assert verdict.ok, [check for check in verdict.checks if not check.ok]
        assert dict(verdict.fold.reinvested) == {
            ("anna", "EUR"): 0, ("ben", "EUR"): 300, ("cleo", "EUR"): 200
        }  # fmt: skip
        [rule] = [check for check in verdict.checks if check.name == REINVESTED]
        assert rule.detail == "3 lots"
        before = keys(client)
        client.flushall()
        await asyncio.to_thread(rebuild, company.settings)
        assert keys(client) == before

        # A lot that the wallets lost, or that has more in it than was reinvested.
        number = Shard(client, "ben").number
        client.hset(f"{{s{number}}}:l:ben", "reinvested.EUR", "EUR,301,300,0,@reinvested,,,")
        verdict = await asyncio.to_thread(verify, company.settings, whole=True)
        assert [check.name for check in verdict.checks if not check.ok] == [
            "lots sum to the credit", "lots are as the journal has them", REINVESTED
        ]  # fmt: skip
