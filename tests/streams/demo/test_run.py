"""The whole product, end to end: nothing lost, nothing twice."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from models.config import load
from models.policy import PayoutPolicy
from models.refusals import Reason
from rails.registry import provider
from streams.demo.company import Company, day_window
from streams.demo.embedded import EmbeddedUnavailable
from streams.demo.messages import Kind, Message
from streams.demo.run import LATER_MS, Outcome, Run, percentiles
from streams.demo.stack import POLICY, GivenKafka, Stack
from streams.demo.ways import RAILS
from streams.settings import DEFAULTS

EVENTS = 600


@pytest.fixture
def stack(own_broker: str) -> Iterator[Stack]:
    try:
        with Stack(kafka=GivenKafka(own_broker)) as stack:
            yield stack
    except EmbeddedUnavailable as error:
        pytest.skip(str(error))


def go(
    stack: Stack, *, seed: int, crashes: int = 0, rate: float = 200.0, ahead_ms: int = LATER_MS
) -> Outcome:
    company = Company(seed, 60, seal=stack.seal.seal, spends=True)
    start_ms, density = day_window(time.time_ns() // 1_000_000, EVENTS)
    return Run(stack, seed=seed).go(
        company.profiles(start_ms),
        company.events(EVENTS, start_ms=start_ms, rate=density),
        total=EVENTS,
        rate=rate,
        crashes=crashes,
        ahead_ms=ahead_ms,
    )


def broken(outcome: Outcome) -> list[str]:
    return [f"{check.name}: {check.detail}" for check in outcome.checks if not check.ok]


def wallets_are_used(outcome: Outcome) -> None:
    """Sellers bought, reinvested, went into debt and came out, and what has a time is over."""
    counts, credit, debt = outcome.tally.counts, outcome.tally.credit, outcome.tally.debt
    assert min(counts[f"purchase.{verb}"] for verb in ("authorised", "captured", "expired")) > 0
    assert min(counts["reinvested.standing"], sum(credit.values())) > 0
    assert counts["quote.converted"] + counts["quote.expired"] == counts["quote.quoted"] > 0
    assert outcome.fold.kinds["pending.released"] > 0
    assert not outcome.fold.releases.lots
    assert all(purchase.open == 0 for purchase in outcome.fold.purchases.values())
    for currency in {currency for _, currency in credit}:
        given = credit["granted", currency] + credit["reinvested", currency]
        places = ("spent", "expired", "undone", "left")
        assert given == sum(credit[place, currency] for place in places)
    assert sum(minor for (word, _), minor in credit.items() if word == "expired") > 0
    assert sum(minor for (word, _), minor in debt.items() if word == "worked") > 0
    assert outcome.tally.owing() < len(outcome.tally.debtors)


@pytest.mark.timeout(240)
def test_a_killed_worker_changes_nothing_that_was_earned(stack: Stack) -> None:
    disturbed = go(stack, seed=11, crashes=2)
    assert broken(disturbed) == []
    assert disturbed.crashes == 2
    assert disturbed.events_in == EVENTS
    assert disturbed.payouts.get("settled", 0) > 50
    assert {"paypal", "adyen", "marqeta"} <= set(disturbed.by_rail)
    assert sum(disturbed.failed_over.values()) > 0
    paid = sum(sum(states.values()) for states in disturbed.by_rail.values())
    assert paid == sum(disturbed.payouts.values())
    stack.stop()

    with Stack() as calm:
        undisturbed = go(calm, seed=11)
    assert broken(undisturbed) == []
    assert undisturbed.crashes == 0
    wallets_are_used(undisturbed)
    assert undisturbed.earned_sha256 == disturbed.earned_sha256


def sale(number: int, **changes: object) -> bytes:
    from pydantic_core import to_json

    body: dict[str, object] = {
        "id": f"e{number}",
        "type": "sale.completed",
        "version": 1,
        "occurred_at": "2999-01-01T00:00:00Z",
        "seller_id": "s1",
        "sale_id": f"sale{number}",
        "currency": "EUR",
        "amount_minor": 1_000,
    }
    return to_json({**body, **changes})


def bad_messages(today: str) -> list[tuple[Reason, bytes]]:
    good = {"occurred_at": today}
    return [
        (Reason.NOT_JSON, b"{"),
        (Reason.NOT_UTF8, b'{"id": "\xff"}'),
        (Reason.EMPTY, b""),
        (Reason.TOO_LARGE, sale(1, **good, note="x" * 2_000_000)),
        (Reason.MISSING_FIELD, b'{"type": "sale.completed"}'),
        (Reason.WRONG_TYPE, sale(2, **good, seller_id=5)),
        (Reason.INVALID_FIELD, sale(3, **good, sale_id="not an id")),
        (Reason.UNKNOWN_TYPE, sale(4, **good, type="sale.invented")),
        (Reason.UNKNOWN_VERSION, sale(5, **good, version=2)),
        (Reason.UNKNOWN_CURRENCY, sale(6, **good, currency="EUX")),
        (Reason.AMOUNT_NOT_INTEGER, sale(7, **good, amount_minor="10.00")),
        (Reason.AMOUNT_NEGATIVE, sale(8, **good, amount_minor=-1)),
        (Reason.AMOUNT_TOO_LARGE, sale(9, **good, amount_minor=10**15)),
        (Reason.DATE_OUT_OF_RANGE, sale(10)),
        (Reason.PAST_RETENTION, sale(11, occurred_at="2005-01-01T00:00:00Z")),
        (Reason.ID_REUSED, sale(100, **good, amount_minor=2_000)),
        (Reason.SALE_REUSED, sale(12, **good, sale_id="sale100")),
        (
            Reason.RETURN_EXCEEDS_SALE,
            sale(13, **good, type="sale.returned", sale_id="sale100", amount_minor=1_001),
        ),
        (
            Reason.CURRENCY_MISMATCH,
            sale(14, **good, type="sale.returned", sale_id="sale100", currency="USD"),
        ),
    ]


def dead_letters(stack: Stack, count: int) -> dict[bytes, dict[str, bytes]]:
    """The headers of the dead letters by their bytes, once there are ``count``."""
    consumer = Consumer(
        {**stack.settings.kafka_client(), "group.id": "t", "enable.auto.commit": False}
    )
    consumer.assign(
        [TopicPartition("dead-letters", p, 0) for p in range(stack.settings.partitions)]
    )
    found: dict[bytes, dict[str, bytes]] = {}
    deadline = time.monotonic() + 40
    while len(found) < count and time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            headers = {str(k): bytes(v) for k, v in message.headers() or []}  # type: ignore[arg-type,misc]
            found[message.value() or b""] = headers
    consumer.close()
    return found


@pytest.mark.timeout(120)
def test_each_bad_message_is_a_dead_letter_with_its_reason_and_the_worker_goes_on(
    stack: Stack,
) -> None:
    today = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    bad = bad_messages(today)
    producer = Producer(
        {
            **stack.settings.kafka_client(),
            "partitioner": "murmur2_random",
            "message.max.bytes": 4_000_000,
        }
    )
    producer.produce("sales", sale(100, occurred_at=today), b"s1")
    for _, value in bad:
        producer.produce("sales", value, b"s1")
    producer.produce("sales", sale(101, occurred_at=today), b"s1")
    assert producer.flush(20) == 0

    found = dead_letters(stack, len(bad))

    assert {value: Reason(headers["reason"].decode()) for value, headers in found.items()} == {
        value: reason for reason, value in bad
    }
    assert {headers["topic"] for headers in found.values()} == {b"sales"}
    assert len({headers["offset"] for headers in found.values()}) == len(bad)
    stack.check()
    run = Run(stack, seed=0)
    try:
        deadline = time.monotonic() + 20
        while run.watch.booked() < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert run.watch.fold.booked == {"e100", "e101"}
    finally:
        run.watch.stop()


def test_the_company_s_policy_is_the_packaged_one_with_more_rails() -> None:
    company, packaged = (
        load(path.read_text("utf-8"), PayoutPolicy, "policy.yaml").model_dump()
        for path in (POLICY, DEFAULTS / "policy.yaml")
    )
    own, theirs = company.pop("rails"), packaged.pop("rails")
    assert company.pop("fx")["rate_age_seconds_max"] > packaged.pop("fx")["rate_age_seconds_max"]
    assert len(company.pop("release")) > len(packaged.pop("release"))
    assert company.pop("reinvest")["bonus"] > packaged.pop("reinvest")["bonus"]
    assert len(company["fraud"].pop("rules")) > len(packaged["fraud"].pop("rules"))
    assert company["fraud"].pop("explore")
    assert packaged["fraud"].pop("explore") is None
    assert company == packaged
    assert theirs.items() <= own.items()
    assert set(own) == set(RAILS)
    for rail in RAILS:
        assert set(own[rail]["currencies"]) <= provider(rail).capabilities.currencies


def test_percentiles_are_values_that_occurred() -> None:
    assert percentiles([]) == {}
    assert percentiles([3.0, 1.0, 2.0]) == {
        "p50": 2.0, "p95": 3.0, "p99": 3.0, "p999": 3.0, "max": 3.0,
    }  # fmt: skip


def test_every_bad_message_of_the_simulator_names_its_reason() -> None:
    company = Company(3, 60)
    start_ms, density = day_window(time.time_ns() // 1_000_000, 5_000)
    messages: list[Message] = list(company.events(5_000, start_ms=start_ms, rate=density))
    assert all(m.reason is not None for m in messages if m.kind is Kind.BAD)
