"""The simulated company: the same for a seed, valid where it should be, bad where it says so."""

import json
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from models.config import load
from models.events import SellerUpdated, decode
from models.money import exponent
from models.policy import PayoutPolicy
from models.refusals import Reason, Refused
from rails.registry import provider
from streams.demo.company import Company, Kind, Label, Message, day_window
from streams.demo.messages import Clock
from streams.demo.sellers import BEHAVIOURS, FRESH_DAYS_MAX, MARKETS
from streams.demo.spoiled import WAYS
from streams.demo.stack import POLICY
from streams.demo.ways import FAILING, NOT_AT, RAILS, Way

NOW_MS = 1_795_000_000_000
RETENTION_MS = 90 * 86_400_000
EVENTS = 6_000


def sealed(seller_id: str, plaintext: str) -> str:
    return f"v1.k.{seller_id}.{plaintext.encode().hex()}"


def stream(company: Company, n: int = EVENTS, now_ms: int = NOW_MS) -> list[Message]:
    start_ms, rate = day_window(now_ms, n)
    return [*company.profiles(start_ms), *company.events(n, start_ms=start_ms, rate=rate)]


def body(message: Message) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(message.value)
    return loaded


@pytest.fixture(scope="module")
def company() -> Company:
    return Company(11, sellers=150, fraud_rate_bp=400, seal=sealed)


@pytest.fixture(scope="module")
def messages(company: Company) -> list[Message]:
    return stream(company)


@pytest.fixture(scope="module")
def events(messages: list[Message]) -> list[dict[str, Any]]:
    return [body(message) for message in messages if message.kind is Kind.EVENT]


def asked_for(way: Way) -> str:
    """What a destination asks the rail sandbox for: its beginning, or its holder's."""
    name = json.loads(way.destination)["holder"] if way.destination[0] == "{" else way.destination
    return str(name.partition("+")[0] + "+") if "+" in name else ""


def policy() -> PayoutPolicy:
    return load(POLICY.read_text("utf-8"), PayoutPolicy, "policy.yaml")


def of(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] == kind]


class TestSameSeed:
    def test_a_second_company_says_the_same_bytes(self, messages: list[Message]) -> None:
        assert stream(Company(11, sellers=150, fraud_rate_bp=400, seal=sealed)) == messages

    def test_only_times_follow_the_start(self, messages: list[Message]) -> None:
        company = Company(11, sellers=150, fraud_rate_bp=400, seal=sealed)
        later = stream(company, now_ms=NOW_MS + 40 * 86_400_000)
        times = ("occurred_at", "joined_at", "changed_at")

        def content(message: Message) -> object:
            if message.kind is Kind.BAD:
                return (message.id, message.key, message.reason, message.label)
            event = body(message)
            event.get("payout", {}).pop("changed_at", None)
            kept = {name: value for name, value in event.items() if name not in times}
            return (message.id, message.key, message.label, json.dumps(kept))

        assert [content(m) for m in later] == [content(m) for m in messages]
        assert later != messages

    def test_another_seed_has_other_ids_and_amounts(self, messages: list[Message]) -> None:
        other = {message.id for message in stream(Company(12, sellers=150), n=500)}
        assert other.isdisjoint(message.id for message in messages)


class TestMix:
    def test_profiles_are_not_counted(self, messages: list[Message]) -> None:
        assert sum(message.kind is not Kind.PROFILE for message in messages) == EVENTS

    def test_shares(self, messages: list[Message], events: list[dict[str, Any]]) -> None:
        kinds = Counter(event["type"] for event in events)
        assert 0.85 < kinds["sale.completed"] / EVENTS < 0.91
        assert 0.045 < kinds["sale.returned"] / EVENTS < 0.08
        assert 0.03 < kinds["commission.earned"] / EVENTS < 0.05
        assert 0.005 < kinds["commission.reversed"] / EVENTS < 0.015
        oddities = Counter(message.kind for message in messages)
        assert 0.002 < oddities[Kind.REPEAT] / EVENTS < 0.009
        assert 0.002 < oddities[Kind.BAD] / EVENTS < 0.009

    def test_good_messages_decode(self, messages: list[Message]) -> None:
        for message in messages:
            if message.kind is not Kind.BAD:
                event = decode(
                    message.topic, message.value, now_ms=NOW_MS, retention_ms=RETENTION_MS
                )
                assert (event.id, event.seller_id.encode()) == (message.id, message.key)

    def test_ids_are_unique(self, messages: list[Message]) -> None:
        ids = [m.id for m in messages if m.kind in (Kind.EVENT, Kind.PROFILE)]
        assert len(set(ids)) == len(ids)

    def test_repeats_are_the_bytes_of_an_earlier_message(self, messages: list[Message]) -> None:
        seen: dict[str, bytes] = {}
        repeats = 0
        for message in messages:
            if message.kind is Kind.REPEAT:
                assert seen[message.id] == message.value
                repeats += 1
            elif message.kind is Kind.EVENT:
                seen[message.id] = message.value
        assert repeats

    def test_bad_messages_are_refused_for_their_reason(self, messages: list[Message]) -> None:
        seen: dict[str, Message] = {}
        reasons = set()
        for message in messages:
            if message.kind is not Kind.BAD:
                seen[message.id] = message
                continue
            reasons.add(message.reason)
            if message.reason is Reason.ID_REUSED:
                first = seen[message.id]
                assert (first.topic, first.key) == (message.topic, message.key)
                assert first.value != message.value
                continue
            with pytest.raises(Refused) as refused:
                decode(message.topic, message.value, now_ms=NOW_MS, retention_ms=RETENTION_MS)
            assert refused.value.reason is message.reason
        assert reasons == {reason for reason, _ in WAYS} | {Reason.ID_REUSED}


class TestReturns:
    def test_never_exceed_their_sale(self, events: list[dict[str, Any]]) -> None:
        sales = {event["sale_id"]: event for event in of(events, "sale.completed")}
        back: Counter[str] = Counter()
        for event in of(events, "sale.returned"):
            sale = sales[event["sale_id"]]
            assert (event["seller_id"], event["currency"]) == (sale["seller_id"], sale["currency"])
            back[event["sale_id"]] += event["amount_minor"]
        assert all(minor <= sales[sale_id]["amount_minor"] for sale_id, minor in back.items())
        full = [s for s, minor in back.items() if minor == sales[s]["amount_minor"]]
        assert 0 < len(full) < len(back)

    def test_some_come_several_to_a_sale(self, events: list[dict[str, Any]]) -> None:
        counts = Counter(event["sale_id"] for event in of(events, "sale.returned"))
        assert counts.most_common(1)[0][1] > 1

    def test_a_few_come_ahead_of_their_sale(self, events: list[dict[str, Any]]) -> None:
        places = {e["sale_id"]: i for i, e in enumerate(events) if e["type"] == "sale.completed"}
        early = [
            places[event["sale_id"]] - i
            for i, event in enumerate(events)
            if event["type"] == "sale.returned" and places[event["sale_id"]] > i
        ]
        assert 3 < len(early) < 60
        assert max(early) <= 80

    @pytest.mark.parametrize("n", [1, 30, 80, 200, 400])
    def test_every_early_return_finds_its_sale_before_the_end(self, n: int) -> None:
        for seed in range(12):
            company = Company(seed, sellers=40, fraud_rate_bp=2_000)
            made = list(company.events(n, start_ms=0, rate=1.0))
            found = [body(message) for message in made if message.kind is Kind.EVENT]
            sales = {event["sale_id"] for event in of(found, "sale.completed")}
            assert {event["sale_id"] for event in of(found, "sale.returned")} <= sales

    def test_reversals_never_exceed_their_commission(self, events: list[dict[str, Any]]) -> None:
        earned = {e["commission_id"]: e["amount_minor"] for e in of(events, "commission.earned")}
        back: Counter[str] = Counter()
        for event in of(events, "commission.reversed"):
            back[event["commission_id"]] += event["amount_minor"]
        assert back
        assert all(minor <= earned[found] for found, minor in back.items())


class TestSellers:
    def test_every_market_zone_and_currency_is_known(self) -> None:
        assert {exponent(market.currency) for market in MARKETS} == {0, 2, 3}
        assert {"DE", "FR", "GB", "US", "JP", "CA", "BR", "BH"} <= {m.country for m in MARKETS}
        for market in MARKETS:
            for zone in market.zones:
                assert ZoneInfo(zone)

    def test_the_tree_has_levels_and_no_cycle(self, company: Company) -> None:
        sponsors = {seller.id: seller.sponsor_id for seller in company.sellers}
        depths = []
        for sponsor_id in sponsors.values():
            depth, above = 0, sponsor_id
            while above is not None:
                depth, above = depth + 1, sponsors[above]
                assert depth < len(sponsors)
            depths.append(depth)
        assert max(depths) >= 5
        recruits = Counter(sponsor for sponsor in sponsors.values() if sponsor)
        assert recruits.most_common(1)[0][1] >= 4

    def test_a_sponsor_joined_no_later_than_her_recruit(self, company: Company) -> None:
        joined = {seller.id: seller.joined_days for seller in company.sellers}
        for seller in company.sellers:
            assert seller.sponsor_id is None or joined[seller.sponsor_id] >= seller.joined_days

    def test_few_sellers_sell_most(self, events: list[dict[str, Any]]) -> None:
        counts = Counter(event["seller_id"] for event in of(events, "sale.completed"))
        top = sum(count for _, count in counts.most_common(15))
        assert 0.25 < top / sum(counts.values()) < 0.75

    def test_every_behaviour_of_the_rail_is_asked_for(self, company: Company) -> None:
        paid = [seller for seller in company.sellers if seller.ways]
        asked = Counter(asked_for(way) for seller in paid for way in seller.ways)
        assert set(asked) == {"", *BEHAVIOURS, *FAILING}
        assert len(paid) < len(company.sellers)
        assert asked.total() - asked[""] < len(paid) / 8
        for seller in paid:
            for at, way in enumerate(seller.ways):
                assert at == 0 or not asked_for(way)
                assert way.rail not in NOT_AT.get(asked_for(way), ())

    @pytest.mark.parametrize("seed", [1, 7, 11])
    def test_what_fails_at_once_can_go_on_over_another_rail(self, seed: int) -> None:
        sellers = [s for s in Company(seed, 400).sellers if s.ways]
        failing = [s for s in sellers if asked_for(s.ways[0]) == "trouble+"]
        assert failing
        for seller in failing:
            # In whatever currency: or it would be tried again for minutes, and the run with it.
            first, *others = seller.ways
            carried = {way.rail: policy().rails[way.rail].currencies for way in seller.ways}
            on = set().union(*(carried[way.rail] for way in others if way.rail != first.rail))
            assert set(carried[first.rail]) <= on
        on = {s.ways[0].rail for s in sellers if len(s.ways) > 1 and asked_for(s.ways[0])}
        assert on >= {"adyen", "marqeta", "circle"}

    def test_every_destination_can_be_paid_by_its_rail(self) -> None:
        ways = [way for seed in range(5) for s in Company(seed, 400).sellers for way in s.ways]
        for way in ways:
            assert provider(way.rail).destination_refusal(way.destination) is None
        assert {way.rail for way in ways} == set(RAILS)
        assert len({way.destination for way in ways if "+" not in way.destination}) > 2_000

    def test_a_company_pays_over_its_rails_only(self, company: Company) -> None:
        some = Company(11, sellers=150, fraud_rate_bp=400, seal=sealed, rails=("adyen", "paypal"))
        whole = {m.key: body(m).get("payout") for m in company.profiles(0)}
        named = Counter[str]()
        for message in some.profiles(0):
            payout = body(message).get("payout")
            if payout is not None:
                ways = [payout, *payout.get("others", ())]
                named.update(way["rail"] for way in ways)
                every = whole[message.key]
                rest = [way["destination"] for way in (every, *every.get("others", ()))]
                assert [w["destination"] for w in ways] == [
                    d for d in rest if d in {w["destination"] for w in ways}
                ]
        assert set(named) == {"adyen", "paypal"}

    def test_destinations_are_sealed_for_their_seller(self, messages: list[Message]) -> None:
        for message in messages:
            if message.kind is Kind.PROFILE:
                profile = SellerUpdated.model_validate_json(message.value)
                assert b"@" not in message.value
                if profile.payout is not None:
                    assert profile.payout.destination.startswith(f"v1.k.{profile.seller_id}.")

    def test_without_a_seal_there_is_no_destination(self) -> None:
        assert all(b"payout" not in message.value for message in Company(1).profiles(0))

    def test_late_profiles_come_after_a_sale_and_all_come(
        self, company: Company, messages: list[Message]
    ) -> None:
        published = {m.key for m in company.profiles(0)}
        late = [seller for seller in company.sellers if seller.key not in published]
        assert late
        first_sale: dict[bytes, int] = {}
        profile: dict[bytes, int] = {}
        for i, message in enumerate(messages):
            if message.kind is Kind.PROFILE:
                profile.setdefault(message.key, i)
            elif message.kind is Kind.EVENT and message.topic == "sales":
                first_sale.setdefault(message.key, i)
        assert set(profile) == {seller.key for seller in company.sellers}
        assert any(first_sale.get(seller.key, 10**9) < profile[seller.key] for seller in late)


class TestFraud:
    def test_the_rate_is_kept_and_every_pattern_occurs(self, messages: list[Message]) -> None:
        labels = Counter(m.label for m in messages if m.label and m.kind is Kind.EVENT)
        assert set(labels) == set(Label)
        assert 0.03 < sum(labels.values()) / EVENTS < 0.045

    def test_no_fraud_at_rate_zero(self) -> None:
        honest = stream(Company(11, sellers=150, fraud_rate_bp=0), n=2_000)
        assert all(message.label is None for message in honest)

    def test_traces(self, company: Company, messages: list[Message]) -> None:
        sales: dict[Label, list[dict[str, Any]]] = defaultdict(list)
        for message in messages:
            if message.label and message.kind is Kind.EVENT and b"completed" in message.value:
                sales[message.label].append(body(message))
        people = {seller.id: seller for seller in company.sellers}

        for sale in sales[Label.SELF_PURCHASE]:
            assert sale["instrument_ref"] == people[sale["seller_id"]].instrument
        for sale in sales[Label.STOLEN_CARD]:
            seller = people[sale["seller_id"]]
            assert seller.joined_days <= FRESH_DAYS_MAX
            assert sale["amount_minor"] > 3.9 * seller.market.typical_minor
        foreign = [
            s["country"] != people[s["seller_id"]].market.country for s in sales[Label.STOLEN_CARD]
        ]
        assert 0.4 < sum(foreign) / len(foreign) < 1
        per_device = Counter(sale["device_ref"] for sale in sales[Label.CARD_TESTING])
        assert per_device.most_common(1)[0][1] >= 12
        cards = [sale["instrument_ref"] for sale in sales[Label.CARD_TESTING]]
        assert len(set(cards)) == len(cards)
        ring = defaultdict(set)
        for sale in sales[Label.RING]:
            ring[sale["instrument_ref"]].add(sale["seller_id"])
        assert max(map(len, ring.values())) >= 3
        ghosts = {sale["instrument_ref"] for sale in sales[Label.GHOST_SELLERS]}
        assert len(ghosts) == 1
        for sale in sales[Label.STACKING]:
            position = people[sale["seller_id"]]
            assert position.stacked
            assert position.sponsor_id is not None
            assert sale["device_ref"] == position.device
        owners = [p for p in company.sellers if p.device == position.device and not p.stacked]
        assert owners  # somebody sells there in her own name
        assert {sale["customer_ref"] for sale in sales[Label.RANK_BUYING]} & set(people)
        returned = Counter(
            m.label for m in messages if m.kind is Kind.EVENT and b"sale.returned" in m.value
        )
        assert returned[Label.REFUND_AFTER_PAYOUT]

    def test_ranks_are_bought_at_the_end(self, messages: list[Message]) -> None:
        places = [i for i, m in enumerate(messages) if m.label is Label.RANK_BUYING]
        assert min(places) > 0.8 * len(messages)

    def test_no_pattern_is_told_by_one_trait_alone(self, messages: list[Message]) -> None:
        """Honest sellers buy themselves, sell abroad, move, share tills and cards at times."""
        honest = [m for m in messages if m.label is None and m.kind is Kind.EVENT]
        sold = [body(m) for m in honest if b"sale.completed" in m.value]
        assert any(sale["customer_ref"] == sale["seller_id"] for sale in sold)
        moved = [m for m in messages if m.label is None and b"changed_at" in m.value]
        assert moved
        for what in ("device_ref", "instrument_ref"):
            users = defaultdict(set)
            for sale in sold:
                users[sale[what]].add(sale["seller_id"])
            assert sum(len(each) > 1 for each in users.values()) > 3, what

    def test_a_taken_over_account_changes_its_destination_first(
        self, messages: list[Message]
    ) -> None:
        taken = [m for m in messages if m.label is Label.ACCOUNT_TAKEOVER]
        assert taken[0].kind is Kind.PROFILE
        assert "changed_at" in body(taken[0])["payout"]
        assert taken[1].key == taken[0].key


class TestTime:
    def test_derives_from_start_and_rate(self) -> None:
        made = list(Company(3).events(1_000, start_ms=5_000, rate=250.0))
        counted = [message for message in made if message.kind is not Kind.PROFILE]
        assert [m.at_ms for m in counted] == [5_000 + 4 * i for i in range(1_000)]

    @pytest.mark.parametrize("days", range(0, 366, 5))
    def test_nobodys_date_changes_within_a_window(self, days: int) -> None:
        now_ms = NOW_MS + days * 86_400_000
        start_ms, rate = day_window(now_ms, 1_000)
        end_ms = start_ms + int(1_000 * 1000 / rate)
        assert now_ms - 86_400_000 < end_ms <= now_ms
        for market in MARKETS:
            for zone in market.zones:
                first, last = (
                    datetime.fromtimestamp(ms / 1000, ZoneInfo(zone)).date()
                    for ms in (start_ms, end_ms)
                )
                assert first == last

    def test_is_written_as_rfc_3339(self) -> None:
        at = datetime(2028, 2, 29, 23, 59, 59, 7_000, tzinfo=UTC)
        clock = Clock()
        for later in (timedelta(0), timedelta(milliseconds=993), timedelta(days=-400)):
            text = clock.text(round((at + later).timestamp() * 1000))
            assert datetime.fromisoformat(text) == at + later


class TestBounds:
    @pytest.mark.parametrize(
        ("seed", "sellers", "fraud_rate_bp", "named"),
        [(-1, 40, 0, "a seed"), (1, 39, 0, "40 sellers"), (1, 40, 5_001, "a fraud rate")],
    )
    def test_out_of_bounds_is_refused(
        self, seed: int, sellers: int, fraud_rate_bp: int, named: str
    ) -> None:
        with pytest.raises(ValueError, match=named):
            Company(seed, sellers, fraud_rate_bp)

    def test_a_rate_must_be_positive(self) -> None:
        with pytest.raises(ValueError, match="positive"):
            Company(1).events(1, start_ms=0, rate=0)

    def test_generating_is_never_the_bottleneck(self) -> None:
        company = Company(5)
        started = time.process_time()
        for _ in company.events(20_000, start_ms=0, rate=500.0):
            pass
        # 8 µs on two shared cores; the bound leaves room for a slow machine.
        assert (time.process_time() - started) / 20_000 < 40e-6
