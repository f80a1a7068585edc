"""Labels, through a real Redis: what is held is released or forfeited, once, by somebody."""

import asyncio
import json
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
import redis

from models.labelled import known, labelled
from models.ledger import Entry
from models.reviews import HELD, LABEL, Held
from models.shards import SHARDS, shard_of
from models.verdicts import subject, taught
from streams.wallets.rebuild import rebuild
from streams.wallets.verify import verify
from tests.streams.wallets.harness import (
    DAY_MS,
    NOW_MS,
    PAY,
    Company,
    Told,
    campaign,
    commission_id,
)
from tests.streams.wallets.test_rebuild import keys

UNTIL_MS = NOW_MS + 14 * DAY_MS
UP: Mapping[str, Any] = {
    "to": "ben", "commission": "c1", "sale": "a1", "origin": "anna", "level": 1, "amount": 100,
    "occurred_at": "2026-11-23T10:00:00+00:00",
}  # fmt: skip


class Reviewed(Told):
    """Anna, some of whose earnings are held."""

    def held(self, amount: int, **fields: Any) -> dict[str, Any]:
        """A sale that is held, and earns so much."""
        sale = self.shard.sale(amount, **{"rev": 1, "tier": "hold", **fields})
        assert self.do(sale) == "booked"
        return sale

    def label(self, sale: Mapping[str, Any], verdict: str, **fields: Any) -> str:
        release = {"release": {"counts": []}} if verdict == "cleared" else {}
        body = {"record": sale["record"], "verdict": verdict, "by": "Eva Klein", "rev": 1,
                "reason": "called her", "found": True, **release}  # fmt: skip
        return self.do(self.shard.event("label", "fraud.labelled", **body | fields))

    def returned(self, sale: Mapping[str, Any], amount: int) -> None:
        """A return that takes so much of what was earned."""
        assert self.do(self.shard.return_of(sale, amount * 4)) == "booked"

    def owe(self, amount: int) -> None:
        """A return without a receipt."""
        take = self.shard.event("take", "sale.returned", currency="EUR", base=amount, amount=amount,
                                occurred=NOW_MS, counts=[], rev=1)  # fmt: skip
        assert self.do(take) == "booked"

    def figures(self) -> tuple[int, int, int, int]:
        """available, held, pending, debt; nothing in the journal or the list contradicts them."""
        assert self.fold.violations == []
        available, held, in_flight, credit, debt = self.shard.balances()
        client, key = self.shard.client, self.shard.key
        listed: Any = client.zrange(key("H"), 0, -1)
        names = [member.decode().partition("/")[2] for member in listed]
        records = {name: json.loads(client.get(key(f"r:{name}"))) for name in names}  # type: ignore[arg-type]
        assert sum(record["held"] for record in records.values()) == held
        assert all(client.pexpiretime(key(f"r:{name}")) == -1 for name in names)
        assert {name: found.left for (_, name), found in self.fold.reviews.held.items()} == {
            name: record["held"] for name, record in records.items()
        }
        pending = self.fold.balances["anna/pending", "EUR"]
        of = ("anna", "EUR")
        has = available + held + pending + in_flight + debt + self.fold.paid_out[of]
        assert has + self.fold.reinvested[of] == self.fold.earned[of]
        assert credit == self.fold.reinvested[of]
        return available, held, pending, debt


@pytest.fixture
def anna(client: redis.Redis) -> Reviewed:
    return Reviewed(client)


class TestCleared:
    def test_releases_what_is_held_and_pays_it_out(self, anna: Reviewed) -> None:
        sale = anna.held(2_000)
        assert anna.figures() == (0, 2_000, 0, 0)
        release = {"counts": [], "pay": dict(PAY)}
        assert anna.label(sale, "cleared", release=release) == "booked"
        [entry] = anna.shard.entries
        assert entry["kind"] == "earning.cleared"
        assert entry["label"] == [sale["record"], "EUR", "cleared", "Eva Klein", "called her", 0, 0]
        assert anna.words[-1].startswith("Earnings released: their sale is genuine; payout of")
        assert anna.figures() == (0, 0, 0, 0)
        [payout] = anna.shard.payouts().values()
        assert payout["amount_minor"] + payout["fee_minor"] == 2_000

    def test_goes_on_as_an_earning_does(self, anna: Reviewed) -> None:
        sale = anna.held(1_000)
        anna.owe(300)
        release = {"counts": [], "schedule": [2_000, UNTIL_MS, "risk"], "reinvest": [50, 0, 0, 0]}
        anna.label(sale, "cleared", release=release)
        # Debt of 300, then a fifth of the whole earning is pending, half of the rest reinvested.
        assert anna.figures() == (250, 0, 200, 0)

    def test_every_part_is_reinvested_by_the_preference(self, anna: Reviewed) -> None:
        half = [50, 0, 0, 0]
        sale = anna.held(1_000, tier="partial", share=4_000, reinvest=half)
        release = {"counts": [], "schedule": [3_000, UNTIL_MS, "risk"], "reinvest": half}
        anna.label(sale, "cleared", release=release)
        assert anna.figures() == (200 + 150, 0, 300, 0)
        anna.shard.now_ms = UNTIL_MS
        timer = f"rel:anna/EUR/{sale['record']}"
        assert anna.do({
            "op": "release", "id": anna.shard.id(), "seller": "anna", "currency": "EUR", "rev": 1,
            "record": sale["record"], "timer": timer, "due": UNTIL_MS, "reinvest": half,
        }) == "booked"  # fmt: skip
        assert anna.figures() == (500, 0, 0, 0)
        assert anna.shard.balances()[3] == 500
        for left in (350, 100, 0):
            anna.returned(sale, 500 - left - (500 - anna.shard.balances()[3]))
            assert (anna.shard.balances()[3], anna.figures()[0]) == (left, 500)
        anna.returned(sale, 500)
        assert anna.shard.balances() == (0, 0, 0, 0, 0)

    def test_once(self, anna: Reviewed) -> None:
        sale = anna.held(1_000)
        anna.label(sale, "cleared")
        assert anna.label(sale, "cleared") == "booked"
        assert anna.shard.entries[0]["kind"] == "fraud.labelled"
        assert anna.figures() == (1_000, 0, 0, 0)

    def test_what_is_left_of_it(self, anna: Reviewed) -> None:
        sale = anna.held(1_000)
        anna.returned(sale, 400)
        anna.label(sale, "cleared")
        assert anna.figures() == (600, 0, 0, 0)
        anna.returned(sale, 600)
        assert anna.figures() == (0, 0, 0, 0)

    def test_gives_the_bonus_that_was_not_given_for_what_is_suspected(
        self, client: redis.Redis
    ) -> None:
        anna = Reviewed(client)
        anna.shard.campaigns = [campaign("rush", EUR=[(1, 4_000, 700, 0, 0, True)])]
        counts = [[1, "2026-11", 0]]
        sale = anna.held(1_000, counts=counts)
        assert anna.shard.balances()[0] == 0
        anna.label(sale, "cleared", release={"counts": counts})
        assert anna.shard.balances()[0] == 1_700
        assert anna.fold.violations == []


class TestFraud:
    @pytest.mark.parametrize("verdict", ["chargeback", "confirmed"])
    def test_forfeits_what_is_held(self, anna: Reviewed, verdict: str) -> None:
        sale = anna.held(1_000)
        assert anna.label(sale, verdict) == "booked"
        [entry] = anna.shard.entries
        assert entry["kind"] == "earning.forfeited"
        assert entry["label"][5:] == [1_000, 0]
        assert anna.words[-1].startswith("Earnings forfeited: ")
        assert anna.figures() == (0, 0, 0, 0)

    def test_and_what_is_pending(self, anna: Reviewed) -> None:
        sale = anna.shard.sale(1_000, rev=1, schedule=[3_000, UNTIL_MS, "risk"])
        anna.do(sale)
        anna.label(sale, "chargeback")
        assert anna.figures() == (700, 0, 0, 0)
        assert anna.shard.entries[0]["label"][5:] == [300, 700]
        assert not anna.shard.client.zcard(anna.shard.key("t"))

    def test_not_what_is_available_or_was_paid(self, anna: Reviewed) -> None:
        sale = anna.shard.sale(2_000, rev=1, pay=dict(PAY))
        anna.do(sale)
        anna.label(sale, "confirmed")
        [entry] = anna.shard.entries
        assert (entry["kind"], entry["label"][5:]) == ("fraud.labelled", [0, 2_000])
        assert anna.label(sale, "chargeback") == "booked"
        assert anna.shard.entries[0]["label"][5:] == [0, 0]

    def test_a_return_takes_the_rest_and_not_twice(self, anna: Reviewed) -> None:
        sale = anna.shard.sale(1_000, rev=1, schedule=[3_000, UNTIL_MS, "risk"])
        anna.do(sale)
        anna.label(sale, "chargeback")
        anna.returned(sale, 200)
        assert anna.figures() == (700, 0, 0, 0)
        anna.returned(sale, 500)
        assert anna.figures() == (300, 0, 0, 0)
        anna.returned(sale, 300)
        assert anna.figures() == (0, 0, 0, 0)

    def test_debt_that_it_paid_stays_paid_until_the_return(self, anna: Reviewed) -> None:
        anna.owe(400)
        sale = anna.held(1_000)
        anna.label(sale, "confirmed")
        assert anna.figures() == (0, 0, 0, 0)
        anna.returned(sale, 1_000)
        assert anna.figures() == (0, 0, 0, -400)

    def test_counts_in_no_campaign_any_more(self, client: redis.Redis) -> None:
        anna = Reviewed(client)
        anna.shard.campaigns = [campaign("rush", EUR=[(1, 4_000, 700, 0, 0)])]
        sale = anna.held(1_000, counts=[[1, "2026-11", 0]])
        assert anna.shard.balances()[3] == 700
        anna.label(sale, "confirmed")
        assert anna.shard.balances()[3] == 0
        anna.returned(sale, 1_000)
        assert anna.shard.balances() == (0, 0, 0, 0, 0)
        assert anna.fold.violations == []

    def test_is_final(self, anna: Reviewed) -> None:
        sale = anna.held(1_000)
        anna.label(sale, "confirmed")
        assert anna.label(sale, "cleared") == "booked"
        assert anna.shard.entries[0]["kind"] == "fraud.labelled"
        assert anna.figures() == (0, 0, 0, 0)

    def test_of_one_that_was_cleared_what_is_pending(self, anna: Reviewed) -> None:
        sale = anna.held(1_000)
        release = {"counts": [], "schedule": [3_000, UNTIL_MS, "risk"]}
        anna.label(sale, "cleared", release=release)
        anna.label(sale, "chargeback")
        assert anna.figures() == (700, 0, 0, 0)


class TestWhoAndWhat:
    @pytest.mark.parametrize("by", ["anna", "ben"])
    def test_nobody_who_earns_by_it_says_so(self, anna: Reviewed, by: str) -> None:
        sale = anna.held(1_000, up=dict(UP))
        assert anna.label(sale, "cleared", by=by) == "refused:not_independent"
        assert anna.figures() == (0, 1_000, 0, 0)

    def test_of_another_sellers_sale(self, anna: Reviewed) -> None:
        sale = anna.held(1_000)
        stranger = next(s for s in map(str, range(9_999)) if shard_of(s) == anna.shard.number)
        assert anna.label(sale, "cleared", seller=stranger, rev=0) == "refused:seller_mismatch"

    def test_decided_before_its_sale_came(self, anna: Reviewed) -> None:
        assert anna.label(anna.held(1_000), "cleared", found=False) == "retry"

    def test_up_the_tree(self, anna: Reviewed) -> None:
        sale = anna.held(1_000, up={**UP, "held": True})
        anna.label(sale, "cleared")
        [body] = [json.loads(v) for topic, v in anna.shard.messages if topic == "commissions"]
        assert (body["type"], body["commission_id"]) == ("commission.labelled", "c1")
        assert (body["verdict"], body["by"], body["reason"]) == (
            "cleared",
            "Eva Klein",
            "called her",
        )
        assert "held" not in body["source"]
        assert anna.shard.entries[0]["emits"] == [body["id"]]

    def test_who_said_so_below_does_not_decide_about_her_own(self, anna: Reviewed) -> None:
        sale = anna.shard.sale(1_000, rev=1, tier="hold")
        sale |= {"record": "c:c1", "kind": "commission.earned"}
        assert anna.do(sale) == "booked"
        assert anna.label(sale, "cleared", by="anna") == "refused:not_independent"
        assert anna.label(sale, "cleared") == "booked"
        assert anna.figures() == (1_000, 0, 0, 0)

    def test_the_same_verdict_again_goes_up_again(self, anna: Reviewed) -> None:
        sale = anna.held(1_000, up={**UP, "held": True})
        for _ in range(2):
            anna.label(sale, "cleared")
            assert "commissions" in {topic for topic, _ in anna.shard.messages}

    def test_ahead_of_its_sale_it_waits(self, anna: Reviewed) -> None:
        sale = anna.shard.sale(1_000, rev=1, tier="hold")
        more = {"found": False, "again": '{"again":1}', "raw": "{}",
                "headers": '{"reason":"label_without_sale"}', "topic": "fraud.labels"}  # fmt: skip
        assert anna.label(sale, "confirmed", **more) == "parked"
        sale["offset"] += 2
        assert anna.do(sale) == "booked"
        assert ("fraud.labels", b'{"again":1}') in anna.shard.messages
        assert anna.figures() == (0, 1_000, 0, 0)

    def test_and_becomes_a_dead_letter(self, anna: Reviewed) -> None:
        sale = {"record": "s:none"}
        more = {"found": False, "again": "{}", "raw": "{}", "headers": '{"reason":"x"}'}
        anna.label(sale, "confirmed", **more)
        [(timer, due)] = anna.shard.client.zrange(anna.shard.key("t"), 0, -1, withscores=True)  # type: ignore[misc]
        lapse = {"op": "lapse", "id": "l", "shard": anna.shard.number, "timer": timer.decode(),
                 "due": int(due)}  # fmt: skip
        assert anna.do(lapse) == "booked"
        assert "dead-letters" in {topic for topic, _ in anna.shard.messages}

    def test_it_teaches_when_it_says_other_than_before(self, anna: Reviewed) -> None:
        sale = anna.held(1_000)
        lessons = {"lessons": [["li:card", "{}"]], "topic": "fraud.labels"}
        told = []
        for verdict in ("cleared", "cleared", "chargeback", "confirmed"):
            anna.label(sale, verdict, **lessons)
            told.append([topic for topic, _ in anna.shard.messages if topic == "fraud.labels"])
        assert list(map(len, told)) == [1, 0, 1, 0]


class TestProfileMissing:
    WAITS: Mapping[str, Any] = {
        "waiting": True, "sale": "a1", "origin": "anna", "level": 0, "held": True,
        "occurred_at": "x", "rev": 0,
    }  # fmt: skip

    @pytest.fixture
    def anna(self, client: redis.Redis) -> Reviewed:
        anna = Reviewed(client)
        client.delete(anna.shard.key("p:anna"))
        return anna

    def come(self, anna: Reviewed) -> list[dict[str, Any]]:
        """Her profile; the entries of what waited."""
        up = {"release": [{"counts": [], "up": {**UP, "held": True}}]}
        profile = anna.shard.event("profile", "seller.updated", profile='{"status":"active"}',
                                   rev=0, **up)  # fmt: skip
        assert anna.do(profile) == "booked"
        return anna.shard.entries[1:]

    def test_genuine_is_released_when_it_comes(self, anna: Reviewed) -> None:
        sale = anna.held(1_000, **self.WAITS)
        label = anna.shard.event("label", "fraud.labelled", record=sale["record"], rev=0, by="Eva",
                                 verdict="cleared", reason="called her", found=True)  # fmt: skip
        assert anna.do(label) == "booked"
        assert anna.figures() == (0, 1_000, 0, 0)
        [entry] = self.come(anna)
        assert entry["kind"] == "earning.released"
        [body] = [json.loads(v) for topic, v in anna.shard.messages if topic == "commissions"]
        assert "held" not in body["source"]
        assert anna.figures() == (1_000, 0, 0, 0)

    def test_a_fraud_earns_nobody_anything(self, anna: Reviewed) -> None:
        sale = anna.held(1_000, **self.WAITS)
        anna.label(sale, "confirmed", rev=0)
        assert anna.figures() == (0, 0, 0, 0)
        self.come(anna)
        assert "commissions" not in {topic for topic, _ in anna.shard.messages}
        assert not anna.fold.waiting
        assert anna.figures() == (0, 0, 0, 0)

    def test_what_has_waited_in_vain_takes_effect(self, anna: Reviewed) -> None:
        sale = anna.held(1_000, **self.WAITS | {"tier": "instant"})
        lapse = {"op": "lapse", "id": "l", "shard": anna.shard.number, "timer": "wait:anna",
                 "due": anna.shard.now_ms + 30 * DAY_MS}  # fmt: skip
        assert anna.do(lapse) == "booked"
        anna.returned(sale, 250)
        assert anna.do(anna.shard.event("profile", "seller.updated", rev=0, release=[{}],
                                        profile='{"status":"active"}')) == "booked"  # fmt: skip
        anna.label(sale, "cleared", release={"counts": [], "up": dict(UP)})
        bodies = [json.loads(v) for topic, v in anna.shard.messages if topic == "commissions"]
        assert [body["type"] for body in bodies] == ["commission.earned", "commission.reversed"]
        assert bodies[1]["source"]["base_minor"] == 1_000
        assert anna.figures() == (750, 0, 0, 0)


Left = dict[str, tuple[dict[str, Any], int]]
"""Sales by the name of their record, and what of each has not come back."""


class TestSequences:
    def step(self, anna: Reviewed, dice: Random, left: Left) -> int:
        """Something that happens; what it takes of no sale."""
        kind = dice.choice(("sale", "held", "label", "label", "return", "release", "owe"))
        amount = dice.randint(0, 900)
        onward = {"reinvest": [dice.choice((0, 50, 100)), 0, 0, 0]} | dice.choice(
            ({}, {"schedule": [dice.choice((1, 3_000, 10_000)), UNTIL_MS, "risk"]})
        )
        if kind == "owe":
            anna.owe(amount)
            return amount
        if kind in {"sale", "held"}:
            tier = {"tier": "hold"} if kind == "held" else onward
            sale = anna.shard.sale(amount, rev=1, **tier)
            assert anna.do(sale) == "booked"
            left[sale["record"]] = (sale, amount * 4)
        elif left:
            name = dice.choice(list(left))
            sale, base = left[name]
            if kind == "label":
                verdict = dice.choice(("cleared", "cleared", "confirmed", "chargeback"))
                assert anna.label(sale, verdict, release={"counts": [], **onward}) == "booked"
            elif kind == "return" and base:
                back = dice.randint(1, base)
                assert anna.do(anna.shard.return_of(sale, back)) == "booked"
                left[name] = (sale, base - back)
            elif kind == "release":
                if dice.random() < 0.1:
                    anna.shard.now_ms = UNTIL_MS
                anna.do({
                    "op": "release", "id": anna.shard.id(), "seller": "anna", "rev": 1,
                    "currency": "EUR", "record": name, "timer": f"rel:anna/EUR/{name}",
                    "due": UNTIL_MS,
                })  # fmt: skip
        return 0

    @pytest.mark.parametrize("seed", range(30))
    def test_in_any_order_what_comes_back_is_what_was_earned(
        self, client: redis.Redis, seed: int
    ) -> None:
        anna, dice = Reviewed(client), Random(seed)
        anna.shard.debt_bp = dice.choice((10_000, 3_333))
        left: Left = {}
        owed = 0
        for _ in range(60):
            owed += self.step(anna, dice, left)
            anna.figures()
        for sale, base in left.values():
            if base:
                assert anna.do(anna.shard.return_of(sale, base)) == "booked"
        _, held, pending, _ = anna.figures()
        assert (held, pending, anna.fold.earned["anna", "EUR"]) == (0, 0, -owed)


class TestJournal:
    @pytest.mark.parametrize(
        ("changes", "rule"),
        [
            ({"held": ["s:x", "EUR", "released", 1_000, 0]}, HELD),
            ({"held": ["SALE", "EUR", "released", 900, 100]}, HELD),
            ({"held": None}, HELD),
            ({"label": None}, LABEL),
            ({"label": ["SALE", "EUR", "confirmed", "Eva", "x", 0, 0]}, LABEL),
            ({"label": ["SALE", "EUR", "cleared", "", "x", 0, 0]}, LABEL),
            ({"label": ["SALE", "EUR", "cleared", "anna", "x", 0, 0]}, LABEL),
            ({"label": ["SALE", "EUR", "cleared", "Eva", "x", 5, 0]}, LABEL),
        ],
    )
    def test_what_an_entry_may_not_say(
        self, anna: Reviewed, changes: dict[str, Any], rule: str
    ) -> None:
        sale = anna.held(1_000)
        body = {"record": sale["record"], "verdict": "cleared", "by": "Eva", "rev": 1,
                "reason": "x", "found": True, "release": {"counts": []}}  # fmt: skip
        assert anna.shard.one(anna.shard.event("label", "fraud.labelled", **body)) == "booked"
        raw = {**json.loads(anna.shard.raw[-1]), **changes}
        text = json.dumps({name: value for name, value in raw.items() if value is not None})
        anna.fold.apply(Entry.parse(text.replace("SALE", sale["record"]).encode()))
        assert {each.invariant for each in anna.fold.violations} == {rule}

    @pytest.mark.parametrize(("first", "kind"), [("cleared", "earning.cleared"),
                                                 ("confirmed", "earning.forfeited")])  # fmt: skip
    def test_no_label_moves_money_twice(self, anna: Reviewed, first: str, kind: str) -> None:
        sale = anna.held(1_000)
        anna.label(sale, first)
        again = {"v": 1, "shard": anna.shard.number, "seq": 9, "epoch": 0, "kind": kind, "id": "x",
                 "seller": "anna", "at": NOW_MS, "postings": [], "writes": [],
                 "label": [sale["record"], "EUR", first, "Eva", "x", 0, 0]}  # fmt: skip
        anna.fold.apply(Entry.parse(json.dumps(again).encode()))
        assert {each.invariant for each in anna.fold.violations} == {LABEL}


async def broken(company: Company) -> list[str]:
    verdict = await asyncio.to_thread(verify, company.settings, whole=True)
    return [check.name for check in verdict.checks if not check.ok]


def label(company: Company, seller: str, sale_id: str, verdict: str, **more: Any) -> dict[str, Any]:
    """A label as somebody sends it."""
    return company.event("fraud.labelled", seller, sale_id=sale_id, verdict=verdict,
                         **{"by": "Eva Klein", "reason": "called her"} | more)  # fmt: skip


async def test_from_the_label_to_verify_and_again_from_the_journal(
    own_broker: str, redis_url: str, client: redis.Redis
) -> None:
    async with Company(own_broker, redis_url) as company:
        await company.wallets.heal(range(SHARDS))
        # Labels that are ahead of everything: they wait for their sales.
        company.publish(
            "fraud.labels",
            label(company, "anna", "a1", "cleared"), label(company, "cleo", "c1", "confirmed"),
        )  # fmt: skip
        await company.work()
        company.publish(
            "sellers", company.seller("ben", receiver="ben@x.example"),
            company.seller("anna", receiver="anna@x.example", sponsor_id="ben"),
            company.seller("dora"),
        )  # fmt: skip
        await company.work()
        # Nothing can be scored, so these are above the cap, and held.
        tokens = {"instrument_ref": "card", "device_ref": "till"}
        company.publish(
            "sales",
            company.sale("anna", 20_000, "a1", **tokens),
            company.sale("anna", 40_000, "a2", **tokens),
            company.sale("anna", 60_000, "a3", **tokens),
            company.sale("cleo", 20_000, "c1"),
            company.sale("dora", 20_000, "d1", instrument_ref="card"),
        )
        await company.work()
        company.publish("fraud.labels", label(company, "anna", "a2", "chargeback", by="acquirer"))
        company.publish("fraud.labels", label(company, "dora", "d1", "confirmed", by="dora"))
        company.publish("fraud.labels", label(company, "dora", "d1", "chargeback"))
        await company.work()
        company.publish("fraud.labels", label(company, "dora", "none", "chargeback"))
        company.publish("sellers", company.seller("cleo"))
        await company.work()

        verdict = await asyncio.to_thread(verify, company.settings, whole=True)
        assert verdict.ok, [check for check in verdict.checks if not check.ok]
        reviews = verdict.fold.reviews
        above = commission_id("anna", "a3", 1)
        assert reviews.held == {
            ("anna", "s:a3"): Held("EUR", 15_000), ("ben", f"c:{above}"): Held("EUR", 3_000),
        }  # fmt: skip
        assert reviews.moved["forfeited", "EUR"] == 10_000 + 2_000 + 5_000 + 5_000
        # What was released was paid out, to her and above her.
        paid = {seller: minor for (seller, _), minor in verdict.fold.balances.items()
                if seller.endswith("/in_flight")}  # fmt: skip
        assert paid == {"anna/in_flight": 5_000, "ben/in_flight": 1_000}
        refused = 'payouts_dead_letters_total{reason="not_independent"} 1.0'
        assert refused in company.metrics.exposition().decode()

        # One card, told of by labels of two sellers; nothing of the third sale.
        at = company.clock.now_ms // 1000
        states = {
            key: client.get(f"{{s{shard_of(key)}}}:x:{key}") for key in ("li:card", "ld:till")
        }
        genuine = labelled(None, at, fraud=False)
        expected = labelled(labelled(genuine, at, fraud=True), at, fraud=True)
        assert known(states["li:card"].decode(), at) == known(expected, at)  # type: ignore[union-attr]
        # The chargeback's amount was high for the card: it says nothing of the till.
        assert known(states["ld:till"].decode(), at) == known(genuine, at)  # type: ignore[union-attr]

        before = keys(client)
        client.flushall()
        await asyncio.to_thread(rebuild, company.settings)
        assert keys(client) == before

        prefix = f"{{s{shard_of('anna')}}}:"
        stored: Any = client.get(f"{prefix}r:s:a3")
        client.set(f"{prefix}r:s:a3", stored.replace(b'"held":15000', b'"held":14999'))
        assert await broken(company) == [HELD]
        client.set(f"{prefix}r:s:a3", stored)
        for name in ("s:a1", "s:none"):
            client.zadd(f"{prefix}H", {f"anna/{name}": 1})
            assert await broken(company) == [HELD]
            client.zrem(f"{prefix}H", f"anna/{name}")
        client.zrem(f"{prefix}H", "anna/s:a3")
        assert await broken(company) == [HELD]


class TestSubject:
    @pytest.mark.parametrize(
        ("of", "fraud", "keys"),
        [
            (("c", "d", False), True, ["li:c", "ld:d"]),
            (("c", "d", True), True, ["li:c"]),
            (("c", "d", True), False, ["li:c", "ld:d"]),
            ((None, "d", True), True, ["ld:d"]),
            (("c", None, False), True, ["li:c"]),
        ],
    )
    def test_of_card_and_device(self, of: Any, fraud: bool, keys: list[str]) -> None:
        text = subject(of[0], of[1], high=of[2])
        assert text is not None
        assert list(taught(text, fraud=fraud)) == keys

    def test_of_neither(self) -> None:
        assert subject(None, None, high=True) is None
