"""Requests that come over no topic: one effect and one answer each, whatever is lost between."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from models.ledger import Entry, Fold
from models.shards import shard_of
from tests.streams.wallets.harness import (
    NOW_MS,
    PAY,
    RETENTION_MS,
    Company,
    Shard,
    campaign,
    dump,
)

CREDIT = [campaign(EUR=[(1, 1_000, 500, 0, 0)])]
"""A sale of 10.00 grants 5.00."""


@pytest.fixture
def granted(client: redis.Redis) -> Shard:
    """A shard whose seller has 5.00 of credit and 10.00 available."""
    shard = Shard(client, campaigns=CREDIT)
    assert shard.one(shard.sale(1_000, counts=[[1, "life", 0]])) == "booked"
    return shard


def redeem(shard: Shard, amount: int, id_: str = "r1", hash_: str = "a" * 16) -> dict[str, Any]:
    """Credit is spent by request."""
    return {"op": "redeem", "id": id_, "kind": "credit.redeemed", "seller": shard.seller,
            "currency": "EUR", "amount": amount, "hash": hash_}  # fmt: skip


def payout(shard: Shard, pay: Any = PAY, id_: str = "p1", **fields: Any) -> dict[str, Any]:
    """A payout is asked for."""
    return {"op": "request", "id": id_, "kind": "payout.requested", "seller": shard.seller,
            "currency": "EUR", "rev": 0, "pay": pay, "hash": "b" * 16, **fields}  # fmt: skip


def answer(outcome: str) -> dict[str, Any]:
    """What a request that was booked is answered with."""
    word, _, text = outcome.partition(":")
    assert word == "booked"
    found: dict[str, Any] = json.loads(text)
    return found


class TestAnswer:
    def test_says_when_and_what_the_accounts_are_at(self, granted: Shard) -> None:
        assert answer(granted.one(redeem(granted, 400))) == {
            "at_ms": NOW_MS,
            "available": 1_000, "held": 0, "pending": 0, "in_flight": 0, "authorised": 0,
            "quoted": 0,
            "credit": 100, "debt": 0,
        }  # fmt: skip
        [entry] = granted.entries
        assert "source" not in entry
        assert (entry["hash"], entry["kind"]) == ("a" * 16, "credit.redeemed")

    def test_names_the_payout(self, granted: Shard) -> None:
        found = answer(granted.one(payout(granted)))
        assert found["payout"] == [granted.only_payout(), "reserved", "paypal", 981, 19]
        assert (found["available"], found["in_flight"]) == (0, 1_000)
        assert [topic for topic, _ in granted.messages] == ["ledger", "payouts.commands"]

    def test_a_payout_does_not_wait_for_its_window(self, granted: Shard) -> None:
        assert answer(granted.one(payout(granted, {**PAY, "window": 60_000})))["available"] == 0


class TestRepeat:
    def test_is_answered_alike_and_changes_nothing(self, granted: Shard) -> None:
        first = granted.one(redeem(granted, 400))
        granted.one(redeem(granted, 100, "r2"))
        before = granted.dump()
        assert granted.one(redeem(granted, 400)) == f"repeat:{first}"
        assert granted.dump() == before

    def test_in_the_same_call(self, granted: Shard) -> None:
        first, again = granted.book(redeem(granted, 400), redeem(granted, 400))
        assert again == f"repeat:{first}"
        assert granted.balances()[3] == 100

    def test_with_another_body_is_refused_and_forgets_nothing(self, granted: Shard) -> None:
        first = granted.one(redeem(granted, 400))
        before = granted.dump()
        assert granted.one(redeem(granted, 300, hash_="c" * 16)) == "refused:id_reused"
        assert granted.dump() == before
        assert granted.one(redeem(granted, 400)) == f"repeat:{first}"

    def test_of_a_refused_one_is_refused_also_when_it_could_be_booked_now(
        self, granted: Shard
    ) -> None:
        assert granted.one(redeem(granted, 600)) == "refused:insufficient_credit"
        [entry] = granted.entries
        assert (entry["kind"], entry["refused"]) == ("request.refused", "insufficient_credit")
        assert "hash" not in entry
        granted.campaigns = [campaign("d", EUR=[(1, 1_000, 500, 0, 0)])]
        granted.one(granted.sale(1_000, counts=[[1, "life", 0]]))
        assert granted.balances()[3] == 1_000
        assert granted.one(redeem(granted, 600)) == "repeat:refused:insufficient_credit"
        assert granted.one(redeem(granted, 600, "r2")).startswith("booked:")

    def test_is_known_as_long_as_ids_are_kept(self, granted: Shard) -> None:
        granted.one(redeem(granted, 400))
        assert granted.client.pexpiretime(granted.key("d:r1")) == NOW_MS + RETENTION_MS

    def test_waits_for_the_profile_it_is_decided_upon(self, granted: Shard) -> None:
        before = granted.dump()
        assert granted.one(payout(granted, rev=1)) == "retry"
        assert granted.dump() == before

    def test_an_event_under_the_id_of_a_request_is_refused(self, granted: Shard) -> None:
        granted.one(redeem(granted, 400))
        event = granted.event("redeem", "credit.redeemed", currency="EUR", amount=50, id="r1")
        assert granted.one(event) == "refused:id_reused"


class TestFold:
    def entry(self, seq: int, **fields: Any) -> Entry:
        """An entry of a request."""
        value = {"v": 1, "shard": 0, "seq": seq, "epoch": 0, "kind": "k", "id": "r1", "at": 1,
                 "seller": "anna", "postings": [], "writes": [], **fields}  # fmt: skip
        return Entry.parse(json.dumps(value).encode())

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ({"hash": "a" * 16}, {"hash": "a" * 16}),
            ({"refused": "x"}, {"hash": "a" * 16}),
            ({"hash": "a" * 16}, {"refused": "x"}),
            ({"refused": "x"}, {"refused": "x"}),
        ],
    )
    def test_a_request_has_one_effect(self, first: Any, second: Any) -> None:
        fold = Fold()
        fold.apply(self.entry(1, **first))
        assert not fold.violations
        fold.apply(self.entry(2, **second))
        assert [each.invariant for each in fold.violations] == ["every event has one effect"]


class TestRebuild:
    @pytest.fixture
    async def company(
        self, own_broker: str, redis_url: str, client: redis.Redis
    ) -> AsyncIterator[Company]:
        """A company whose seller has some credit."""
        async with Company(own_broker, redis_url) as made:
            yield made

    async def test_a_redis_that_lost_everything_still_knows_requests_and_answers(
        self, company: Company, client: redis.Redis
    ) -> None:
        company.publish("sellers", company.seller("anna"))
        company.publish("sales", company.sale("anna", 20_000, "s1"))
        await company.work()
        number = shard_of("anna")
        shard = Shard(client)
        spend, refused = redeem(shard, 400), redeem(shard, 10**9, "r2")
        first = await company.wallets.post([spend, refused])
        assert first[0].startswith("booked:")
        assert first[1] == "refused:insufficient_credit"
        before = dump(client, f"{{s{number}}}:d:*"), shard.balances()
        client.flushall()
        again = await company.wallets.post([spend, refused, {**spend, "hash": "f" * 16}])
        assert again == [*(f"repeat:{each}" for each in first), "refused:id_reused"]
        assert (dump(client, f"{{s{number}}}:d:*"), shard.balances()) == before
