"""A payout that its rail never tells of is ended by a person, through a real Redis and broker."""

import json
from typing import Any

import pytest
import redis

from models.ledger import Entry, Fold
from models.movements import words_of
from models.payouts import PAID
from models.refusals import Reason
from models.resolutions import QUIET_MS, RESOLVED
from models.shards import shard_of
from tests.streams.wallets.harness import NOW_MS, PAY, Followed, dump

DAY_MS = 86_400_000
WORDS = {"by": "Eva Klein", "why": "PayPal, case 4711"}
PRINCIPAL, FEE = 981, 19

REFUSALS = {
    *(Reason.PAYOUT_NOT_UNKNOWN, Reason.PAYOUT_RESOLVED, Reason.ENQUIRY_DUE, Reason.ASKED_SINCE),
    *(Reason.AMOUNT_MISMATCH, Reason.REFERENCE_MISMATCH),
}
"""Those that nothing but this gives; TestRefused has them, and what it shares with others."""


class Silent(Followed):
    """Anna, and a payout of hers that the rail is silent about, asked about again in a day."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self.do(self.shard.sale(PRINCIPAL + FEE, pay=PAY))
        self.payout = self.shard.only_payout()
        self.goes("submitted")
        self.goes("unknown", ask_ms=DAY_MS)
        self.shard.now_ms += QUIET_MS

    def goes(self, state: str, **fields: Any) -> str:
        return self.do(self.shard.transit(self.payout, state, **fields))

    def resolve(self, state: str, **fields: Any) -> str:
        said = {"payout": self.payout, "attempt": 0, "state": state, "currency": "EUR",
                "amount": PRINCIPAL, "said": self.shard.now_ms, "quiet_ms": QUIET_MS,
                **WORDS}  # fmt: skip
        event = self.shard.event("resolve", "payout.resolved", **said | fields)
        return self.do({**event, "topic": "commissions"})

    @property
    def stored(self) -> dict[str, Any]:
        return self.shard.payouts()[self.payout]

    @property
    def asked_at(self) -> float | None:
        return self.shard.client.zscore(self.shard.key("e"), self.payout)  # type: ignore[return-value]

    def entry(self) -> Entry:
        return Entry.parse(self.shard.raw[0])


@pytest.fixture
def anna(client: redis.Redis) -> Silent:
    return Silent(client)


class TestResolved:
    @pytest.mark.parametrize(
        ("state", "balances", "words"),
        [
            ("settled", (0, 0, 0, 0, 0), "Payout of 9.81 EUR over paypal left"),
            ("failed", (1_000, 0, 0, 0, 0), "Payout of 9.81 EUR over paypal failed"),
            ("returned", (1_000, 0, 0, 0, 0), "Payout of 9.81 EUR over paypal came back"),
        ],
    )
    def test_moves_the_money_tells_and_is_asked_about_no_more(
        self, anna: Silent, state: str, balances: tuple[int, ...], words: str
    ) -> None:
        assert anna.resolve(state, reference="B-7") == "booked"
        assert anna.shard.balances() == balances
        entry = anna.entry()
        assert (entry.kind, entry.resolved) == (f"payout.{state}", (*WORDS.values(), "B-7"))
        assert words_of(entry).startswith(f"{words}; as the company was told by the provider")
        assert anna.fold.resolutions.resolved == {anna.payout: state}
        assert [topic for topic, _ in anna.shard.messages] == ["ledger", "payouts.updates"]
        told = json.loads(anna.shard.messages[1][1])
        assert (told["state"], told["reason"]) == (state, "resolved")
        assert anna.stored["resolved"] == {
            "state": state, **WORDS, "reference": "B-7", "at": anna.shard.now_ms,
        }  # fmt: skip
        assert anna.asked_at is None

    def test_as_not_paid_is_tried_nowhere_by_itself(self, anna: Silent) -> None:
        anna.resolve("failed")
        timers: Any = anna.shard.client.zrange(anna.shard.key("t"), 0, -1)
        assert timers == []
        assert list(anna.shard.payouts()) == [anna.payout]

    def test_as_not_paid_pays_debt_first(self, anna: Silent) -> None:
        take = anna.shard.event("take", "sale.returned", currency="EUR", base=1, amount=300,
                                occurred=NOW_MS, counts=[], rev=0)  # fmt: skip
        assert anna.do(take) == "booked"
        anna.resolve("failed")
        assert anna.shard.balances() == (700, 0, 0, 0, 0)

    def test_as_paid_keeps_the_reference_that_reports_and_enquiries_go_by(
        self, anna: Silent
    ) -> None:
        anna.resolve("settled", reference="B-7")
        assert anna.stored["provider_ref"] == "B-7"
        known: Any = anna.shard.client.get(anna.shard.key("i:paypal:B-7"))
        assert known.decode() == anna.payout

    def test_settles_a_hint_that_was_there(self, anna: Silent) -> None:
        hint = {"op": "ask", "id": "h", "shard": anna.shard.number, "payout": anna.payout}
        assert anna.do({**hint, "attempt": 0, "state": "failed"}) == "booked"
        anna.shard.now_ms += QUIET_MS
        assert anna.resolve("settled") == "booked"
        assert anna.asked_at is None

    @pytest.mark.parametrize("after_ms", [-DAY_MS, 0, QUIET_MS - 1])
    def test_leaves_a_hint_that_came_since_it_was_said(self, anna: Silent, after_ms: int) -> None:
        hint = {"op": "ask", "id": "h", "shard": anna.shard.number, "payout": anna.payout}
        assert anna.do({**hint, "attempt": 0, "state": "returned"}) == "booked"
        hinted_ms = anna.shard.now_ms
        anna.shard.now_ms += QUIET_MS
        assert anna.resolve("settled", said=hinted_ms + after_ms) == "booked"
        assert anna.asked_at == anna.shard.now_ms
        assert anna.goes("returned", again=True, hints=1) == "booked"
        assert anna.shard.balances() == (PRINCIPAL, 0, 0, 0, 0)
        assert anna.asked_at is None

    def test_twice_is_once(self, anna: Silent) -> None:
        assert anna.resolve("failed", id="r1") == "booked"
        before = anna.shard.balances()
        assert anna.resolve("failed", id="r1") == "repeat"
        assert anna.resolve("failed", id="r2") == "ignored:resolved"
        [entry] = anna.shard.entries
        assert (entry["kind"], entry["postings"]) == ("payout.resolved", [])
        assert "resolved" not in entry
        assert anna.shard.balances() == before

    def test_by_its_own_event_when_the_rail_has_the_money_back_later(self, anna: Silent) -> None:
        anna.resolve("settled")
        assert anna.goes("returned", again=True, hints=0) == "booked"
        assert anna.shard.balances() == (PRINCIPAL, 0, 0, 0, 0)
        assert anna.entry().resolved is None
        assert anna.resolve("settled") == "ignored:resolved"


class TestRefused:
    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"payout": f"{shard_of('anna'):02x}d2c4aa-0000"}, "unknown_payout"),
            ({"seller": "ben"}, "seller_mismatch"),
            ({"attempt": 1}, "payout_not_unknown"),
            ({"currency": "USD"}, "currency_mismatch"),
            ({"amount": PRINCIPAL + FEE}, "amount_mismatch"),
            ({"by": "anna"}, "not_independent"),
        ],
    )
    def test_is_what_is_not_said_of_this_payout(
        self, anna: Silent, fields: dict[str, Any], reason: str
    ) -> None:
        before = anna.stored
        assert anna.resolve("failed", **fields) == f"refused:{reason}"
        assert anna.stored == before
        assert anna.shard.balances() == (0, 0, 1_000, 0, 0)

    @pytest.mark.parametrize("state", ["accepted", "unclaimed", "settled", "failed"])
    def test_is_one_that_the_rail_has_told_of(self, anna: Silent, state: str) -> None:
        assert anna.goes(state) == "booked"
        assert anna.resolve("failed") == "refused:payout_not_unknown"

    @pytest.mark.parametrize(
        ("state", "fields"),
        [("settled", {}), ("failed", {"by": "Ben"}), ("failed", {"why": "other"}),
         ("failed", {"reference": "B-1"})],
    )  # fmt: skip
    def test_is_another_word_behind_the_first(
        self, anna: Silent, state: str, fields: dict[str, Any]
    ) -> None:
        anna.resolve("failed")
        assert anna.resolve(state, **fields) == "refused:payout_resolved"

    def test_is_another_reference_than_the_known_one(self, anna: Silent) -> None:
        anna.goes("unknown", provider_ref="B-1", again=True, ask_ms=DAY_MS)
        assert anna.resolve("settled", reference="B-2") == "refused:reference_mismatch"
        assert anna.resolve("settled", reference="B-1") == "booked"

    def test_is_the_reference_of_another_payout(self, anna: Silent) -> None:
        first = anna.payout
        anna.resolve("settled", reference="B-1")
        anna.do(anna.shard.sale(PRINCIPAL + FEE, pay=PAY))
        [anna.payout] = set(anna.shard.payouts()) - {first}
        anna.goes("submitted")
        anna.goes("unknown", ask_ms=DAY_MS)
        assert anna.resolve("settled", reference="B-1") == "refused:reference_mismatch"

    @pytest.mark.parametrize(
        ("ask_ms", "outcome"),
        [(0, "refused:enquiry_due"), (QUIET_MS - 1, "refused:enquiry_due"), (QUIET_MS, "booked")],
    )
    def test_is_not_paid_while_an_enquiry_may_be_under_way(
        self, anna: Silent, ask_ms: int, outcome: str
    ) -> None:
        anna.goes("unknown", again=True, ask_ms=DAY_MS)
        anna.shard.now_ms += DAY_MS - ask_ms
        assert anna.resolve("failed") == outcome

    @pytest.mark.parametrize(
        ("after_ms", "outcome"),
        [(-DAY_MS, "refused:asked_since"), (0, "refused:asked_since"),
         (QUIET_MS - 1, "refused:asked_since"), (QUIET_MS, "booked"),
         (DAY_MS, "booked")],
    )  # fmt: skip
    @pytest.mark.parametrize("state", ["failed", "returned"])
    def test_is_not_paid_when_the_rail_was_asked_since(
        self, anna: Silent, state: str, after_ms: int, outcome: str
    ) -> None:
        anna.goes("unknown", again=True, ask_ms=3 * DAY_MS)
        asked_ms = anna.shard.now_ms
        anna.shard.now_ms += DAY_MS // 2
        assert anna.resolve(state, said=asked_ms + after_ms) == outcome

    def test_is_not_what_a_clock_ahead_says_of_the_time_to_come(self, anna: Silent) -> None:
        anna.goes("unknown", again=True, ask_ms=DAY_MS)
        said = {"said": anna.shard.now_ms + DAY_MS}
        assert anna.resolve("failed", **said) == "refused:asked_since"

    def test_is_never_paid_for_an_enquiry(self, anna: Silent) -> None:
        anna.goes("unknown", again=True, ask_ms=DAY_MS)
        assert anna.resolve("settled") == "booked"
        assert anna.stored["state"] == "settled"

    def test_is_never_paid_for_one_that_is_due(self, anna: Silent) -> None:
        anna.shard.now_ms += 2 * DAY_MS
        assert anna.resolve("settled") == "booked"


class TestContradicted:
    """What the rail says later changes nothing that may not follow, and somebody is told."""

    @pytest.mark.parametrize("state", sorted(PAID))
    @pytest.mark.parametrize("fields", [{}, {"again": True, "hints": 0}])
    def test_when_what_was_not_paid_is(
        self, anna: Silent, state: str, fields: dict[str, Any]
    ) -> None:
        anna.resolve("failed")
        before = dump(anna.shard.client)
        assert anna.goes(state, **fields) == "ignored:contradicted"
        assert dump(anna.shard.client) == before

    @pytest.mark.parametrize("state", ["failed", "cancelled"])
    def test_when_what_was_paid_is_not(self, anna: Silent, state: str) -> None:
        anna.resolve("settled")
        assert anna.goes(state, again=True, hints=0) == "ignored:contradicted"
        assert anna.shard.balances() == (0, 0, 0, 0, 0)

    def test_not_when_the_rail_alone_told_of_it(self, anna: Silent) -> None:
        anna.goes("settled")
        assert anna.goes("failed", again=True, hints=0) == "ignored:settled"

    def test_not_when_it_says_the_same(self, anna: Silent) -> None:
        anna.resolve("failed")
        assert anna.goes("failed", category="recipient") == "ignored:failed"


class TestVerified:
    """Each journal is broken in one thing."""

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"resolved": ["", "x", ""]}, "is by nobody, because of x"),
            ({"resolved": ["Eva", "", ""]}, "is by Eva, because of nothing"),
            ({"resolved": ["anna", "x", ""]}, "is by anna, because of x"),
            ({"kind": "payout.updated"}, "as settled, and is payout.updated"),
            ({"payout": None}, "resolves no payout"),
            ({"resolved": None}, "to settled, and names nobody"),
            ({"postings": []}, "moves (0, 0) of"),
        ],
    )
    def test_what_is_said_is_said_by_somebody_and_moves_all_of_it(
        self, anna: Silent, changes: dict[str, Any], told: str
    ) -> None:
        anna.resolve("settled")
        [told_of] = self.violations(anna, {**anna.shard.entries[0], **changes})
        assert told in told_of

    def test_it_was_unknown_and_is_resolved_once(self, anna: Silent) -> None:
        anna.resolve("settled")
        entry = anna.shard.entries[0]
        assert "which is not unknown" in self.violations(anna, entry, first=False)[0]
        assert "again" in self.violations(anna, entry, entry)[0]

    def test_nothing_follows_that_may_not(self, anna: Silent) -> None:
        anna.resolve("failed")
        entry = anna.shard.entries[0]
        paid = {**entry, "payout": [anna.payout, "settled", "paypal", PRINCIPAL, FEE]}
        del paid["resolved"]
        assert "which was resolved as failed" in self.violations(anna, entry, paid)[0]

    def violations(self, anna: Silent, *entries: dict[str, Any], first: bool = True) -> list[str]:
        """What the rule says of entries behind one by which the payout is unknown, or is not."""
        fold = Fold()
        if first:
            fold.resolutions.unknown.add(anna.payout)
        for entry in entries:
            kept = {name: value for name, value in entry.items() if value is not None}
            fold.apply(Entry.parse(json.dumps(kept).encode()))
        return [each.detail for each in fold.violations if each.invariant == RESOLVED]
