"""Spent credit whose grant a return undoes, in a real Redis: recovered or forgiven, and counted."""

import json

import pytest
import redis

from models.ledger import SETTLED, Entry
from streams.engine import Outgoing
from streams.wallets.journal import settled
from tests.streams.wallets.test_till import Till


class Anna(Till):
    """Has spent 300 of a grant of 900, 200 more are authorised; 1,000 available were taken out."""

    def __init__(self, client: redis.Redis, policy: str) -> None:
        super().__init__(client)
        self.shard.spent_is_debt = policy == "debt"
        self.lot_id = next(iter(self.fold.lots))[2]
        assert self.do(self.authorise(500)) == "booked"
        assert self.do(self.capture(300)) == "booked"

    def give_back(self) -> str:
        """A quarter of the sale comes back, and undoes the grant."""
        return self.do(self.shard.return_of(self.sale, 1_000))

    def cross_again(self) -> str:
        return self.do(self.shard.sale(250, counts=[[1, "p", 0]], rev=1))

    def places(self) -> dict[str, int]:
        """Where the first grant's credit is; all of it is somewhere."""
        assert self.fold.violations == []
        places = self.fold.lots["anna", "EUR", self.lot_id]
        assert sum(places.values()) == 900
        stored = self.shard.client.hget(self.shard.key("k:anna"), self.lot_id)
        kept = f"{places['recovered']},{places['forgiven']}"
        assert (stored or b"0,0").decode() == kept  # type: ignore[union-attr]
        return {name: minor for name, minor in places.items() if minor}

    def debt(self) -> int:
        return self.shard.balances()[4]


@pytest.fixture(params=["forgive", "debt"])
def policy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def anna(client: redis.Redis, policy: str) -> Anna:
    return Anna(client, policy)


HOW = {"forgive": "forgiven", "debt": "recovered"}


class TestUndone:
    def test_unspent_is_taken_back_spent_is_settled_authorised_waits(
        self, anna: Anna, policy: str
    ) -> None:
        assert anna.give_back() == "booked"
        assert anna.places() == {HOW[policy]: 300, "reversed": 400, "authorised": 200}
        assert anna.figures() == (750 - 300 * (policy == "debt"), 0, 200)
        assert anna.fold.settled[HOW[policy], "EUR"] == 300
        [event] = [json.loads(v) for t, v in anna.shard.messages if t == "spendback.credits"]
        assert (event["spent_minor"], event[f"{HOW[policy]}_minor"]) == (500, 300)

    def test_is_counted(self, anna: Anna, policy: str) -> None:
        anna.give_back()
        sent = [Outgoing(topic, b"anna", value) for topic, value in anna.shard.messages]
        assert settled(sent) == {("EUR", HOW[policy]): 300}

    def test_what_is_not_available_is_owed(self, client: redis.Redis) -> None:
        anna = Anna(client, "debt")
        assert anna.do(anna.authorise(1_400, "all")) == "booked"
        assert anna.do(anna.capture(1_400, "all")) == "booked"
        assert anna.give_back() == "booked"
        assert anna.places() == {"recovered": 700, "authorised": 200}
        assert anna.debt() == -250 - 700

    def test_what_is_captured_later_is_settled_then(self, anna: Anna, policy: str) -> None:
        anna.give_back()
        assert anna.do(anna.capture(150)) == "booked"
        assert anna.places() == {HOW[policy]: 450, "reversed": 400, "authorised": 50}
        assert anna.do(anna.void()) == "booked"
        assert anna.places() == {HOW[policy]: 450, "reversed": 450}

    def test_redeemed_credit_counts_as_spent(self, anna: Anna, policy: str) -> None:
        redeem = anna.shard.event("redeem", "credit.redeemed", currency="EUR", amount=100)
        assert anna.do(redeem) == "booked"
        anna.give_back()
        assert anna.places() == {HOW[policy]: 400, "reversed": 300, "authorised": 200}

    def test_granted_again_is_what_was_not_used(self, anna: Anna, policy: str) -> None:
        anna.give_back()
        assert anna.cross_again() == "booked"
        # What is owed for she has again; what was forgiven, or is authorised, she has had.
        assert anna.figures()[1] == {"forgive": 400, "debt": 700}[policy]
        assert anna.do(anna.capture(200)) == "booked"
        assert anna.places() == {HOW[policy]: 300, "spent": 200, "reversed": 400}
        assert anna.do(anna.shard.return_of(anna.sale, 1_000)) == "booked"
        assert anna.places() == {HOW[policy]: 500, "reversed": 400}
        assert anna.figures()[1] == 0


class TestRefund:
    def test_of_spent_credit_is_no_longer_spent(self, anna: Anna, policy: str) -> None:
        assert anna.do(anna.refund(100)) == "booked"
        anna.give_back()
        assert anna.places() == {HOW[policy]: 200, "reversed": 500, "authorised": 200}

    def test_of_what_is_owed_pays_the_debt_of_what_was_forgiven_nothing(
        self, anna: Anna, policy: str
    ) -> None:
        anna.give_back()
        before = anna.figures()
        assert anna.do(anna.refund(300)) == "booked"
        assert anna.places() == {"reversed": 700, "authorised": 200}
        gained = 300 if policy == "debt" else 0
        assert anna.figures() == (before[0] + gained, 0, 200)
        assert anna.cross_again() == "booked"
        assert anna.figures()[1] == 700, "all but what is authorised"

    def test_behind_a_grant_made_again(self, anna: Anna, policy: str) -> None:
        anna.give_back()
        anna.cross_again()
        before = anna.figures()
        assert anna.do(anna.refund(300)) == "booked"
        assert anna.places() == {"reversed": 700, "authorised": 200}
        available, credit, _ = anna.figures()
        gained = (300, 0) if policy == "debt" else (0, 300)
        assert (available - before[0], credit - before[1]) == gained


class TestJournal:
    def test_tells_what_was_settled_and_a_lie_is_found(self, client: redis.Redis) -> None:
        anna = Anna(client, "debt")
        assert anna.shard.one(anna.shard.return_of(anna.sale, 1_000)) == "booked"
        entry = json.loads(anna.shard.raw[0])
        entry["lots"] = [lot for lot in entry["lots"] if lot[3] != "recovered"]
        anna.fold.apply(Entry.parse(json.dumps(entry).encode()))
        assert {each.invariant for each in anna.fold.violations} >= {SETTLED, "lots add up"}
