"""What sellers do with their wallets: valid, within what they have, and the same for a seed."""

import json
import time
from collections import Counter
from typing import Any

import pytest

from models.config import load
from models.events import SellerUpdated, decode
from models.policy import PayoutPolicy
from streams.demo.company import Company, day_window
from streams.demo.messages import Kind, Message
from streams.demo.sellers import MARKETS
from streams.demo.spending import UNCARRIED
from streams.demo.stack import POLICY
from streams.demo.treasury import RATES, roughly

EVENTS = 3_000
END = frozenset({"purchase.captured", "purchase.voided"})
NOW_MS = time.time_ns() // 1_000_000
RETENTION_MS = 90 * 86_400_000


def stream(company: Company, n: int = EVENTS) -> list[Message]:
    start_ms, rate = day_window(NOW_MS, n)
    return [*company.profiles(start_ms), *company.events(n, start_ms=start_ms, rate=rate)]


def body(message: Message) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(message.value)
    return loaded


@pytest.fixture(scope="module")
def company() -> Company:
    return Company(11, sellers=150, spends=True)


@pytest.fixture(scope="module")
def messages(company: Company) -> list[Message]:
    return stream(company)


@pytest.fixture(scope="module")
def events(messages: list[Message]) -> list[dict[str, Any]]:
    spent = (m for m in messages if m.topic == "redemptions" and m.kind is Kind.EVENT)
    return [body(message) for message in spent]


def test_only_a_company_that_spends_does(messages: list[Message]) -> None:
    plain = stream(Company(11, sellers=150))
    assert {message.topic for message in plain} == {"sellers", "sales", "commissions"}
    assert not any(b'"reinvest"' in message.value for message in plain)
    # Nobody is another: only what is done differs.
    assert {m.key for m in plain if m.topic == "sellers"} == {
        m.key for m in messages if m.topic == "sellers"
    }


def test_a_seed_makes_the_same(messages: list[Message]) -> None:
    assert stream(Company(11, sellers=150, spends=True)) == messages


def test_everything_occurs_and_is_little(events: list[dict[str, Any]]) -> None:
    kinds = Counter(event["type"] for event in events)
    assert set(kinds) == {
        "purchase.authorised", "purchase.captured", "purchase.voided", "purchase.refunded",
        "earnings.reinvested", "conversion.quoted", "conversion.made",
    }  # fmt: skip
    assert 0.01 < len(events) / EVENTS < 0.06
    # What is never said of some: their time will be over.
    told = {e["authorisation_id"] for e in events if e["type"] in END}
    assert {e["authorisation_id"] for e in events if e["type"] == "purchase.authorised"} - told


@pytest.mark.parametrize("n", [600, 1_000])
def test_a_short_stream_has_purchases_too(n: int) -> None:
    made = stream(Company(1, sellers=60, spends=True), n)
    assert sum(message.kind is not Kind.PROFILE for message in made) == n
    kinds = Counter(body(m)["type"] for m in made if m.topic == "redemptions")
    assert min(kinds["purchase.authorised"], kinds["purchase.captured"]) >= 3


def test_messages_decode(messages: list[Message]) -> None:
    for message in messages:
        if message.topic in {"redemptions", "rates", "sellers"}:
            event = decode(
                message.topic, message.value, now_ms=NOW_MS, retention_ms=90 * 86_400_000
            )
            assert (event.id, event.seller_id.encode()) == (message.id, message.key)


def test_tills_repeat_themselves(messages: list[Message]) -> None:
    first = {m.id: m.value for m in messages if m.kind is Kind.EVENT}
    again = [m for m in messages if m.kind is Kind.REPEAT and m.topic == "redemptions"]
    assert again
    assert all(first[message.id] == message.value for message in again)


def test_no_till_tells_more_than_it_asked_for(events: list[dict[str, Any]]) -> None:
    asked: dict[str, dict[str, Any]] = {}
    captured, refunded = Counter[str](), Counter[str]()
    for event in events:
        name = event.get("authorisation_id", "")
        if event["type"] == "purchase.authorised":
            assert name not in asked
            asked[name] = event
        elif name:
            assert event["seller_id"] == asked[name]["seller_id"]
            told = {"purchase.captured": captured, "purchase.refunded": refunded}
            if event["type"] in told:
                told[event["type"]][name] += event["amount_minor"]
    for name, event in asked.items():
        assert event["amount_minor"] >= captured[name] >= refunded[name]


def test_nobody_without_a_profile_or_suspended_buys(
    company: Company, events: list[dict[str, Any]]
) -> None:
    people = {seller.id: seller for seller in company.sellers}
    for event in events:
        seller = people[event["seller_id"]]
        assert not seller.suspended
        assert seller.withheld_until is None
        for named in ("currency", "source_currency"):
            assert event.get(named, seller.market.currency) == seller.market.currency


def test_profiles_say_what_is_reinvested_also_when_they_change(company: Company) -> None:
    found = {}
    for message in company.profiles(0):
        event = SellerUpdated.model_validate_json(message.value)
        if event.reinvest:
            found[event.seller_id] = event.reinvest
    assert 8 < len(found) < 40
    people = {seller.id: seller for seller in company.sellers}
    seller = people[next(iter(found))]
    way = next(way for one in company.sellers for way in one.ways)
    moved = SellerUpdated.model_validate_json(company.profile(seller, 0, 0, moved=way).value)
    assert moved.reinvest == found[seller.id]


def test_rates_are_told_before_they_are_needed(messages: list[Message]) -> None:
    told: set[tuple[str, str]] = set()
    quotes: set[str] = set()
    for event in map(body, (m for m in messages if m.kind is Kind.EVENT)):
        if event["type"] == "rate.quoted":
            told.add((event["source_currency"], event["target_currency"]))
        elif event["type"] == "conversion.quoted":
            assert (event["source_currency"], event["target_currency"]) in told
            quotes.add(event["quote_id"])
        elif event["type"] == "conversion.made":
            quotes.remove(event["quote_id"])
    assert told == set(RATES)
    assert quotes  # some are never used


def test_what_is_bought_is_worth_about_what_is_sold() -> None:
    assert roughly(100_00, ("BRL", "USD"), 100) == 17_65
    assert roughly(10_000, ("BHD", "USD"), 90) == 23_87
    assert roughly(1, ("BRL", "USD"), 90) == 1


def test_what_no_rail_carries_is_known() -> None:
    policy = load(POLICY.read_text("utf-8"), PayoutPolicy, "policy.yaml")
    carried = {currency for rail in policy.rails.values() for currency in rail.currencies}
    assert {market.currency for market in MARKETS} - carried == UNCARRIED
