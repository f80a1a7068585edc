"""Ways in which money was once lost, made or stuck: each must stay shut."""

import json
from typing import Any, ClassVar

import pytest
import redis

from models.ledger import Entry, Fold
from models.shards import shard_of
from tests.streams.wallets.harness import PAY, Shard, campaign


def in_the_shard_of(seller: str) -> str:
    """Another seller of the same shard."""
    return next(f"x{n}" for n in range(10_000) if shard_of(f"x{n}") == shard_of(seller))


@pytest.fixture
def paying(shard: Shard) -> Shard:
    """A shard with two payouts of 989 and 11 that are with the rail."""
    for _ in range(2):
        assert shard.book(shard.sale(1_000, pay=PAY)) == ["booked"]
        shard.now_ms += 1
    for payout in shard.payouts():
        assert shard.one(shard.transit(payout, "submitted")) == "booked"
    return shard


class TestAFailureHeardTwice:
    def test_gives_the_money_back_once(self, paying: Shard) -> None:
        first, _ = paying.payouts()
        assert paying.one(paying.transit(first, "failed", category="recipient")) == "booked"
        before = paying.balances()
        again = paying.transit(first, "failed", category="recipient", again=True)
        assert paying.one(again) == "ignored:failed"
        assert paying.balances() == before == (1_000, 0, 1_000, 0, 0)


class TestAnEnquiryThatBringsNothing:
    @pytest.mark.parametrize("state", ["accepted", "unclaimed"])
    def test_leaves_the_state_and_sets_the_next_enquiry(self, paying: Shard, state: str) -> None:
        first, _ = paying.payouts()
        paying.one(paying.transit(first, state))
        paying.now_ms += 100_000
        silent = paying.transit(first, "unknown", again=True, ask_ms=5_000)
        assert paying.one(silent) == "booked"
        assert paying.payouts()[first]["state"] == state
        due = paying.client.zscore(paying.key("e"), first)
        assert due == paying.now_ms + 5_000
        assert paying.balances() == (0, 0, 2_000, 0, 0)


class TestAReturnByAnotherSeller:
    def test_of_a_sale_that_is_there_is_refused(self, shard: Shard) -> None:
        sale = shard.sale(1_000, tier="hold")
        shard.one(sale)
        before = shard.balances()
        other = in_the_shard_of("anna")
        assert shard.one(shard.return_of(sale, 400, seller=other)) == "refused:seller_mismatch"
        assert shard.balances() == before
        assert shard.balances(seller=other) == (0, 0, 0, 0, 0)

    def test_ahead_of_the_sale_becomes_a_dead_letter(self, shard: Shard) -> None:
        sale = shard.sale(1_000)
        other = in_the_shard_of("anna")
        assert shard.one(shard.return_of(sale, 400, seller=other)) == "parked"
        sale["offset"] += 2
        assert shard.one(sale) == "booked"
        assert shard.balances() == (1_000, 0, 0, 0, 0)
        assert [topic for topic, _ in shard.messages] == ["ledger", "dead-letters"]
        headers = [m for m in shard.fields if m.startswith(b"dead-letters")]
        assert headers == [f'dead-letters\t{other}\t{{"reason":"seller_mismatch"}}'.encode()]


class TestReturnsAheadOfTheirSale:
    """What they take back up the tree must have the same ids whichever way the events came: after
    a loss of Redis they may come the other way, while the first way's messages are out."""

    UP: ClassVar[dict[str, Any]] = {
        "to": "root", "commission": "c1", "sale": "s", "origin": "anna", "level": 1,
        "amount": 50, "occurred_at": "2026-11-23T00:00:00+00:00",
    }  # fmt: skip

    def reversals(self, client: redis.Redis, *, late: bool) -> list[tuple[str, int]]:
        client.flushdb()
        shard = Shard(client)
        profile = shard.event("profile", "seller.updated", rev=0, profile="{}", release=[])
        if not late:
            assert shard.one(profile) == "booked"
        waits = {"waiting": True, "sale": "s", "origin": "anna", "level": 0, "held": False,
                 "occurred_at": "x"} if late else {"rev": 1, "up": self.UP}  # fmt: skip
        sale = shard.sale(1_000, **waits)
        returns = [shard.return_of(sale, base) for base in (300, 200)]
        sale["offset"] += 3
        assert shard.book(*returns, sale) == ["parked", "parked", "booked"]
        if late:
            release = [{"counts": [], "up": self.UP}]
            profile = {**profile, "release": release, "offset": sale["offset"] + 1}
            assert shard.one(profile) == "booked"
        told = [json.loads(value) for topic, value in shard.messages if topic == "commissions"]
        return sorted(
            (one["id"], one["source"]["base_minor"])
            for one in told
            if one["type"] == "commission.reversed"
        )

    def test_have_the_same_ids_with_the_profile_first_or_last(self, client: redis.Redis) -> None:
        first = self.reversals(client, late=False)
        assert [base for _, base in sorted(first, key=lambda one: one[1])] == [200, 300]
        assert self.reversals(client, late=True) == first


class TestADebtThatAroseMeanwhile:
    def test_is_paid_when_waiting_earnings_are_released(self, shard: Shard) -> None:
        waiting = shard.sale(
            1_000, waiting=True, sale="a", origin="anna", level=0, held=False, occurred_at="x"
        )
        shard.one(waiting)
        take = shard.event("take", "sale.returned", currency="EUR", base=4_000, amount=300,
                           occurred=shard.now_ms, counts=[], rev=0)  # fmt: skip
        shard.one(take)
        assert shard.balances() == (0, 1_000, 0, 0, -300)
        profile = shard.event("profile", "seller.updated", rev=0, profile='{"status":"active"}',
                              release=[{"counts": [], "pay": {**PAY, "max": 100_000}}])  # fmt: skip
        assert shard.one(profile) == "booked"
        assert shard.balances() == (0, 0, 700, 0, 0)


class TestALongOutbox:
    def test_is_trimmed_whatever_its_length(self, shard: Shard) -> None:
        for first in range(0, 9_000, 1_000):
            assert set(shard.book(*(shard.sale(1) for _ in range(1_000)))) == {"booked"}
            assert shard.client.xlen(shard.key("o")) == first + 1_000
        assert shard.confirm(*range(1, 9_001)) == "safe"
        assert shard.client.xlen(shard.key("o")) == 0


class TestAProfileThatMovesWithinACall:
    def test_is_seen_by_the_next_operation(self, shard: Shard) -> None:
        method = {"destination": PAY["destination"], "rails": ["paypal"]}
        profile = json.dumps({"status": "active", "methods": [method]})
        shard.one(shard.event("profile", "seller.updated", rev=0, profile=profile, release=[]))
        shard.one(shard.sale(1_000, pay=PAY, rev=1))
        payout = shard.only_payout()
        shard.one(shard.transit(payout, "submitted"))
        outcomes = shard.book(
            shard.sale(2_000, rev=1),
            shard.transit(payout, "failed", category="method"),
            shard.sale(3_000, pay=PAY, rev=1),
        )
        assert outcomes == ["booked", "booked", "retry"]
        assert len(shard.payouts()) == 1


class TestAPercentage:
    """What a percentage is of must not hang on when the seller's profile came."""

    CAMPAIGN = campaign(EUR=[(1, 12_000, 0, 1_000, 0)])

    def test_is_of_the_same_total_with_the_profile_first_or_last(self, client: redis.Redis) -> None:
        granted = []
        for late in (False, True):
            client.flushdb()
            shard = Shard(client, campaigns=[self.CAMPAIGN])
            profile = shard.event("profile", "seller.updated", rev=0, profile="{}", release=[])
            counts = [] if late else [[1, "p", 0]]
            waits = {"waiting": True, "sale": "a", "origin": "anna", "level": 0, "held": False,
                     "occurred_at": "x"} if late else {"rev": 1}  # fmt: skip
            if not late:
                shard.one(profile)
            big = shard.sale(3_250, counts=counts, **waits)
            small = shard.sale(1_250, counts=counts, **waits)
            assert shard.book(big, small, shard.return_of(big, 2_000)) == ["booked"] * 3
            if late:
                waiting: list[bytes] = client.lrange(shard.key("q:anna"), 0, -1)  # type: ignore[assignment]
                release = [{"counts": [[1, "p", 0]]} for _ in waiting]
                profile = {**profile, "release": release, "offset": profile["offset"] + 9}
                assert shard.one(profile) == "booked"
            granted.append(shard.balances()[3])
        assert granted == [1_300, 1_300]


class TestHouseAccounts:
    def test_have_equal_fields_when_rebuilt(self, paying: Shard) -> None:
        first, _ = paying.payouts()
        paying.one(paying.transit(first, "failed", category="recipient"))
        stored: dict[bytes, bytes] = paying.client.hgetall(paying.key("h"))  # type: ignore[assignment]
        assert stored == {b"commissions:EUR": b"-2000"}


class TestTheDigestOfGrants:
    """It must not hang on whether credit was spent before or after a return undid its grant."""

    CAMPAIGN = campaign(EUR=[(1, 4_000, 500, 0, 0)])

    def test_is_the_same_in_either_order(self, client: redis.Redis) -> None:
        digests, credit = set(), []
        for spent_first in (True, False):
            client.flushdb()
            shard, fold = Shard(client, campaigns=[self.CAMPAIGN]), Fold()
            sale, again = (shard.sale(1_000, counts=[[1, "p", 0]]) for _ in range(2))
            back = shard.return_of(sale, 4_000)
            spend = shard.event("redeem", "credit.redeemed", currency="EUR", amount=300)
            spend["topic"] = "redemptions"
            events = [sale, spend, back, again] if spent_first else [sale, back, again, spend]
            for number, event in enumerate(events):
                assert shard.one({**event, "offset": number}) == "booked"
                for raw in shard.raw:
                    fold.apply(Entry.parse(raw))
            digests.add(fold.earned_sha256())
            credit.append(shard.balances()[3])
        assert credit == [200, 200]
        assert len(digests) == 1
