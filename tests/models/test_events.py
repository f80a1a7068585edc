"""Decoding: an event or a refusal with its reason, whatever the bytes."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.events import (
    DATE_MIN,
    EVENT_BYTES_MAX,
    TOPICS,
    Event,
    PayoutReported,
    SaleCompleted,
    SaleReturned,
    SellerStatus,
    SellerUpdated,
    body_hash,
    decode,
)
from models.money import MINOR_MAX
from models.payouts import PayoutState
from models.refusals import Reason, Refused

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp()) * 1000
DAY_MS = 86_400_000
RETENTION_MS = 90 * DAY_MS

COMMON = {"id": "e-1", "version": 1, "occurred_at": "2026-11-23T09:00:00Z", "seller_id": "S-1"}
SOURCE = {"sale_id": "sale-1", "seller_id": "S-2", "level": 1, "base_minor": 10_000}
EVENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "sale.completed": (
        "sales",
        {
            "sale_id": "sale-1",
            "currency": "EUR",
            "amount_minor": 10_000,
            "customer_ref": "c1",
            "instrument_ref": "tok_9",
            "device_ref": "till-4",
            "country": "DE",
            "lines": 3,
        },
    ),
    "sale.returned": (
        "sales",
        {"sale_id": "sale-1", "currency": "EUR", "amount_minor": 500, "reason": "too small"},
    ),
    "commission.earned": (
        "commissions",
        {"commission_id": "c-1", "currency": "JPY", "amount_minor": 500, "source": SOURCE},
    ),
    "commission.reversed": (
        "commissions",
        {"commission_id": "c-1", "currency": "JPY", "amount_minor": 0, "source": SOURCE},
    ),
    "commission.labelled": (
        "commissions",
        {
            "commission_id": "c-1",
            "verdict": "cleared",
            "by": "Eva",
            "reason": "x",
            "source": SOURCE,
        },
    ),
    "fraud.labelled": (
        "fraud.labels",
        {"sale_id": "sale-1", "verdict": "chargeback", "by": "acquirer", "reason": "code 10.4"},
    ),
    "fraud.taught": (
        "fraud.labels",
        {"entity": "li:tok_9", "sold_at_ms": 1_795_500_000_000, "fraud": True},
    ),
    "debt.written_off": (
        "commissions",
        {"currency": "EUR", "amount_minor": 900, "by": "Eva Klein", "reason": "hardship"},
    ),
    "payout.resolved": (
        "commissions",
        {
            "payout_id": "00d2c4aa-9e7f-5a3b-8c1d-0f9e8d7c6b5a",
            "attempt": 0,
            "outcome": "failed",
            "currency": "EUR",
            "amount_minor": 3206,
            "by": "Eva Klein",
            "reason": "PayPal, case 4711",
            "reference": "5UXD2E8A7EBQJ",
        },
    ),
    "seller.updated": (
        "sellers",
        {
            "country": "BR",
            "zone": "America/Sao_Paulo",
            "status": "suspended",
            "sponsor_id": "S-2",
            "joined_at": "2024-02-29T00:00:00-03:00",
            "payout": {"rail": "paypal", "destination": "v1.c2VhbGVk"},
            "reinvest": {"BRL": {"percent": 20, "keep_minor": 1_000}},
        },
    ),
    "credit.redeemed": (
        "redemptions",
        {"currency": "BHD", "amount_minor": 1, "order_ref": "o-1"},
    ),
    "purchase.authorised": (
        "redemptions",
        {
            "authorisation_id": "a-1",
            "currency": "EUR",
            "amount_minor": 500,
            "order_ref": "o-1",
            "lines": [{"group": "tea", "amount_minor": 500}],
            "partial": True,
            "discounts": False,
        },
    ),
    "purchase.captured": (
        "redemptions",
        {"authorisation_id": "a-1", "currency": "EUR", "amount_minor": 1, "final": True},
    ),
    "purchase.voided": ("redemptions", {"authorisation_id": "a-1"}),
    "purchase.refunded": (
        "redemptions",
        {"authorisation_id": "a-1", "currency": "EUR", "amount_minor": 1},
    ),
    "earnings.reinvested": ("redemptions", {"currency": "EUR", "amount_minor": 1}),
    "conversion.quoted": (
        "redemptions",
        {
            "quote_id": "q-1",
            "source_currency": "EUR",
            "target_currency": "USD",
            "source_minor": 500,
        },
    ),
    "conversion.made": ("redemptions", {"quote_id": "q-1"}),
    "rate.quoted": (
        "rates",
        {
            "seller_id": "EUR-USD",
            "source_currency": "EUR",
            "target_currency": "USD",
            "numerator": 11,
            "denominator": 10,
            "expires_at": "2026-11-23T10:00:00Z",
        },
    ),
    "payout.reported": (
        "rail.updates",
        {
            "payout_id": "00-1",
            "rail": "paypal",
            "state": "failed",
            "category": "method",
            "reason": "RECEIVER_UNREGISTERED",
        },
    ),
}


def _share(percent: Any, keep_minor: Any = 0) -> dict[str, Any]:
    """A preference to reinvest."""
    return {"EUR": {"percent": percent, "keep_minor": keep_minor}}


def message(kind: str, **changed: Any) -> bytes:
    """A valid event's bytes, fields replaced; ``...`` leaves one out."""
    body = {**COMMON, "type": kind, **EVENTS[kind][1], **changed}
    return json.dumps({k: v for k, v in body.items() if v is not ...}).encode()


def taken(kind: str, **changed: Any) -> Any:
    topic = EVENTS[kind][0]
    return decode(topic, message(kind, **changed), now_ms=NOW_MS, retention_ms=RETENTION_MS)


def refusal(topic: str, value: bytes | None) -> Refused:
    with pytest.raises(Refused) as caught:
        decode(topic, value, now_ms=NOW_MS, retention_ms=RETENTION_MS)
    return caught.value


def at(moment: datetime) -> str:
    return moment.isoformat()


class TestTaken:
    def test_every_type_of_every_topic_has_an_example_here(self) -> None:
        kinds = {m.model_fields["type"].default: t for t, ms in TOPICS.items() for m in ms}
        assert kinds == {kind: topic for kind, (topic, _) in EVENTS.items()}

    @pytest.mark.parametrize("kind", EVENTS)
    def test_every_field_arrives(self, kind: str) -> None:
        event = taken(kind)
        dumped = event.model_dump(mode="json", exclude_unset=True)
        assert dumped.keys() == {*COMMON, "type", *EVENTS[kind][1]}
        for name, value in EVENTS[kind][1].items():
            if not name.endswith("_at"):
                assert dumped[name] == value

    @pytest.mark.parametrize("kind", EVENTS)
    def test_unknown_extra_fields_are_tolerated(self, kind: str) -> None:
        event = taken(kind, loyalty={"deep": [1, {"x": None}]}, amount=12.5)
        assert event == taken(kind)

    def test_defaults_of_a_short_profile(self) -> None:
        event = taken("seller.updated", zone=..., status=..., sponsor_id=..., payout=...)
        assert isinstance(event, SellerUpdated)
        assert (event.zone, event.status, event.payout) == ("UTC", SellerStatus.ACTIVE, None)

    def test_the_type_picks_the_model(self) -> None:
        assert isinstance(taken("sale.completed"), SaleCompleted)
        assert isinstance(taken("sale.returned"), SaleReturned)
        report = taken("payout.reported")
        assert isinstance(report, PayoutReported)
        assert report.state is PayoutState.FAILED

    def test_occurred_ms_is_of_the_instant_not_the_wall(self) -> None:
        assert taken("sale.completed", occurred_at="2026-11-23T09:00:00.123+09:00").occurred_ms == (
            taken("sale.completed", occurred_at="2026-11-23T00:00:00.123Z").occurred_ms
        )
        assert (
            taken("sale.completed", occurred_at="2026-11-23T09:00:00.123Z").occurred_ms % 1000
            == 123
        )

    def test_an_event_cannot_be_changed(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            taken("sale.completed").amount_minor = 1

    @pytest.mark.parametrize("amount", [0, 1, MINOR_MAX])
    def test_amounts_up_to_the_bound(self, amount: int) -> None:
        assert taken("sale.completed", amount_minor=amount).amount_minor == amount

    @pytest.mark.parametrize("moment", [NOW + timedelta(minutes=10), NOW - timedelta(days=90)])
    def test_times_up_to_the_bounds(self, moment: datetime) -> None:
        assert taken("sale.completed", occurred_at=at(moment)).occurred_at == moment

    def test_an_event_as_large_as_may_be(self) -> None:
        room = EVENT_BYTES_MAX - len(message("sale.completed", note=""))
        assert taken("sale.completed", note="x" * room).sale_id == "sale-1"
        refused = refusal("sales", message("sale.completed", note="x" * (room + 1)))
        assert refused.reason == Reason.TOO_LARGE


REFUSED: list[tuple[Reason, str, bytes | None]] = [
    (Reason.EMPTY, "no body", b""),
    (Reason.EMPTY, "tombstone", None),
    (Reason.NOT_JSON, "cut", message("sale.completed")[:-1]),
    (Reason.NOT_JSON, "text", b"sale"),
    (Reason.NOT_JSON, "byte order mark", b"\xef\xbb\xbf" + message("sale.completed")),
    (Reason.NOT_JSON, "nested", b"[" * 60_000),
    (Reason.NOT_JSON, "two", message("sale.completed") * 2),
    (Reason.NOT_UTF8, "latin 1", message("sale.completed").replace(b"till", b"t\xefll")),
    (Reason.NOT_UTF8, "utf 16", message("sale.completed").decode().encode("utf-16")),
    (Reason.TOO_LARGE, "2 MB", b" " * 2_000_000),
    (Reason.MISSING_FIELD, "no type", message("sale.completed", type=...)),
    (Reason.MISSING_FIELD, "no id", message("sale.completed", id=...)),
    (Reason.MISSING_FIELD, "no amount", message("sale.completed", amount_minor=...)),
    (Reason.MISSING_FIELD, "no time", message("sale.completed", occurred_at=...)),
    (Reason.MISSING_FIELD, "empty object", b"{}"),
    (Reason.WRONG_TYPE, "array", b"[]"),
    (Reason.WRONG_TYPE, "null", b"null"),
    (Reason.WRONG_TYPE, "number for text", message("sale.completed", sale_id=7)),
    (Reason.WRONG_TYPE, "text for a count", message("sale.completed", lines="3")),
    (Reason.WRONG_TYPE, "number for a time", message("sale.completed", occurred_at=1795500000)),
    (Reason.INVALID_FIELD, "blank in id", message("sale.completed", id="a b")),
    (Reason.INVALID_FIELD, "long id", message("sale.completed", id="x" * 65)),
    (Reason.INVALID_FIELD, "line end", message("sale.completed", seller_id="S-1\n")),
    (Reason.INVALID_FIELD, "country", message("sale.completed", country="Germany")),
    (Reason.INVALID_FIELD, "lines", message("sale.completed", lines=-1)),
    (
        Reason.LINES_CONFLICT,
        "a line twice",
        message("sale.completed", lines=[{"line_id": "a", "amount_minor": 1}] * 2),
    ),
    (
        Reason.LINES_CONFLICT,
        "lines above the sale",
        message("sale.completed", lines=[{"line_id": "a", "amount_minor": 10_001}]),
    ),
    (Reason.UNKNOWN_LINE, "a line of no sale", message("sale.returned", sale_id=None, line_id="a")),
    (Reason.UNKNOWN_TYPE, "type", message("sale.completed", type="sale.imagined")),
    (Reason.UNKNOWN_TYPE, "other topic", message("sale.completed", type="seller.updated")),
    (Reason.UNKNOWN_VERSION, "version", message("sale.completed", version=2)),
    (Reason.UNKNOWN_CURRENCY, "code", message("sale.completed", currency="ZZZ")),
    (Reason.UNKNOWN_CURRENCY, "lower case", message("sale.completed", currency="eur")),
    (Reason.UNKNOWN_CURRENCY, "no money", message("sale.completed", currency="XAU")),
    (Reason.UNKNOWN_CURRENCY, "braces", message("sale.completed", currency="{}}")),
    (Reason.AMOUNT_NOT_INTEGER, "fraction", message("sale.completed", amount_minor=12.5)),
    (Reason.AMOUNT_NOT_INTEGER, "whole float", message("sale.completed", amount_minor=12.0)),
    (Reason.AMOUNT_NOT_INTEGER, "text", message("sale.completed", amount_minor="12")),
    (Reason.AMOUNT_NOT_INTEGER, "bool", message("sale.completed", amount_minor=True)),
    (Reason.AMOUNT_NOT_INTEGER, "null", message("sale.completed", amount_minor=None)),
    (Reason.AMOUNT_NEGATIVE, "minus", message("sale.completed", amount_minor=-1)),
    (Reason.AMOUNT_NEGATIVE, "far minus", message("sale.completed", amount_minor=-(10**40))),
    (Reason.AMOUNT_NEGATIVE, "nothing", message("sale.returned", amount_minor=0)),
    (Reason.AMOUNT_TOO_LARGE, "bound", message("sale.completed", amount_minor=MINOR_MAX + 1)),
    (Reason.AMOUNT_TOO_LARGE, "huge", message("sale.completed", amount_minor=10**40)),
    (
        Reason.DATE_OUT_OF_RANGE,
        "1999",
        message("sale.completed", occurred_at="1999-12-31T23:59:59Z"),
    ),
    (
        Reason.DATE_OUT_OF_RANGE,
        "soon",
        message("sale.completed", occurred_at=at(NOW + timedelta(minutes=10, seconds=1))),
    ),
    (
        Reason.DATE_OUT_OF_RANGE,
        "end of time",
        message("sale.completed", occurred_at="9999-12-31T23:59:59-12:00"),
    ),
    (
        Reason.DATE_OUT_OF_RANGE,
        "no offset",
        message("sale.completed", occurred_at="2026-11-23T09:00:00"),
    ),
    (
        Reason.PAST_RETENTION,
        "old",
        message("sale.completed", occurred_at=at(NOW - timedelta(days=90, seconds=1))),
    ),
]

BOOKING = {
    Reason.ID_REUSED,
    Reason.NOTICE_UNDELIVERED,
    Reason.SALE_REUSED,
    Reason.CURRENCY_MISMATCH,
    Reason.SELLER_MISMATCH,
    Reason.RETURN_EXCEEDS_SALE,
    Reason.RETURN_WITHOUT_SALE,
    Reason.LABEL_WITHOUT_SALE,
    Reason.NOT_INDEPENDENT,
    Reason.TOO_MANY_WAITING,
    Reason.BALANCE_TOO_LARGE,
    Reason.INSUFFICIENT_CREDIT,
    Reason.WRITE_OFF_EXCEEDS_DEBT,
    Reason.RETURN_EXCEEDS_LINE,
    Reason.UNKNOWN_PAYOUT,
    Reason.PAYOUT_NOT_UNKNOWN,
    Reason.PAYOUT_RESOLVED,
    Reason.AMOUNT_MISMATCH,
    Reason.REFERENCE_MISMATCH,
    Reason.ENQUIRY_DUE,
    Reason.ASKED_SINCE,
    Reason.CAUSE_VOID,
    Reason.UNKNOWN_SELLER,
    Reason.SELLER_SUSPENDED,
    Reason.AUTHORISATION_REUSED,
    Reason.INSUFFICIENT_FUNDS,
    Reason.UNKNOWN_AUTHORISATION,
    Reason.AUTHORISATION_EXPIRED,
    Reason.AUTHORISATION_CLOSED,
    Reason.CAPTURE_EXCEEDS_AUTHORISATION,
    Reason.REFUND_EXCEEDS_CAPTURE,
    Reason.DISCOUNT_REUSED,
    Reason.RATE_IMPLAUSIBLE,
    Reason.RATE_UNKNOWN,
    Reason.RATE_EXPIRED,
    Reason.CONVERSION_TOO_SMALL,
    Reason.INSUFFICIENT_AVAILABLE,
    Reason.QUOTE_REUSED,
    Reason.QUOTE_UNKNOWN,
    Reason.QUOTE_EXPIRED,
    Reason.QUOTE_USED,
    Reason.PAYOUT_NOT_POSSIBLE,
    Reason.NOTHING_AVAILABLE,
    Reason.RAILS_CLOSED,
    Reason.DAY_LIMIT,
    Reason.AMOUNT_BELOW_MINIMUM,
}
"""Reasons that booking gives; of a report, decoding may find the payout unknown too."""


class TestRefused:
    @pytest.mark.parametrize(
        ("reason", "value"),
        [pytest.param(r, v, id=f"{r.value}-{name}") for r, name, v in REFUSED],
    )
    def test_reason(self, reason: Reason, value: bytes | None) -> None:
        refused = refusal("sales", value)
        assert refused.reason is reason, refused
        assert refused.detail and "\n" not in refused.detail

    def test_every_reason_of_decoding_is_in_the_table(self) -> None:
        # Only a profile has percentages, only a rate what this is about; test_wrong_field has them.
        others = {Reason.PERCENT_OUT_OF_RANGE, Reason.RATE_NOT_POSITIVE}
        assert {reason for reason, _, _ in REFUSED} == set(Reason) - BOOKING - others

    @pytest.mark.parametrize(
        ("kind", "field", "value", "reason"),
        [
            ("sale.returned", "amount_minor", -1, Reason.AMOUNT_NEGATIVE),
            ("commission.earned", "commission_id", ..., Reason.MISSING_FIELD),
            ("commission.earned", "source", {**SOURCE, "level": 0}, Reason.INVALID_FIELD),
            ("commission.earned", "source", {**SOURCE, "base_minor": -1}, Reason.AMOUNT_NEGATIVE),
            (
                "commission.reversed",
                "source",
                {**SOURCE, "base_minor": 1.5},
                Reason.AMOUNT_NOT_INTEGER,
            ),
            ("seller.updated", "zone", "Mars/Olympus", Reason.INVALID_FIELD),
            ("seller.updated", "status", "retired", Reason.INVALID_FIELD),
            ("seller.updated", "payout", {"rail": "paypal"}, Reason.MISSING_FIELD),
            (
                "seller.updated",
                "payout",
                {"rail": "paypal", "destination": "ann@example.com"},
                Reason.INVALID_FIELD,
            ),
            ("seller.updated", "reinvest", _share(101), Reason.PERCENT_OUT_OF_RANGE),
            ("seller.updated", "reinvest", _share(-(10**40)), Reason.PERCENT_OUT_OF_RANGE),
            ("seller.updated", "reinvest", _share(12.5), Reason.WRONG_TYPE),
            ("seller.updated", "reinvest", _share("20"), Reason.WRONG_TYPE),
            ("seller.updated", "reinvest", _share(20, -1), Reason.AMOUNT_NEGATIVE),
            ("seller.updated", "reinvest", _share(20, 1.5), Reason.AMOUNT_NOT_INTEGER),
            ("seller.updated", "reinvest", {"EUR": {}}, Reason.MISSING_FIELD),
            ("seller.updated", "reinvest", [], Reason.WRONG_TYPE),
            ("earnings.reinvested", "amount_minor", 0, Reason.AMOUNT_NEGATIVE),
            ("earnings.reinvested", "currency", "ABC", Reason.UNKNOWN_CURRENCY),
            ("credit.redeemed", "amount_minor", 0, Reason.AMOUNT_NEGATIVE),
            ("credit.redeemed", "order_ref", ..., Reason.MISSING_FIELD),
            ("purchase.authorised", "partial", 1, Reason.WRONG_TYPE),
            ("purchase.captured", "authorisation_id", ..., Reason.MISSING_FIELD),
            ("rate.quoted", "denominator", 0, Reason.RATE_NOT_POSITIVE),
            ("rate.quoted", "seller_id", "USD-EUR", Reason.INVALID_FIELD),
            ("fraud.labelled", "verdict", "guilty", Reason.INVALID_FIELD),
            ("fraud.labelled", "by", "", Reason.INVALID_FIELD),
            ("fraud.labelled", "reason", "two\nlines", Reason.INVALID_FIELD),
            ("payout.resolved", "by", " ", Reason.INVALID_FIELD),
            ("payout.resolved", "reason", ..., Reason.MISSING_FIELD),
            ("payout.resolved", "outcome", "accepted", Reason.INVALID_FIELD),
            ("payout.resolved", "payout_id", "ff-1", Reason.UNKNOWN_PAYOUT),
            ("fraud.taught", "entity", "s:anna", Reason.INVALID_FIELD),
            ("fraud.taught", "sold_at_ms", 2**32 * 1000, Reason.INVALID_FIELD),
            ("rate.quoted", "numerator", -1, Reason.RATE_NOT_POSITIVE),
            ("rate.quoted", "numerator", 10**16, Reason.INVALID_FIELD),
            ("rate.quoted", "numerator", 1.0842, Reason.WRONG_TYPE),
            ("rate.quoted", "target_currency", "EUR", Reason.INVALID_FIELD),
            ("conversion.quoted", "target_currency", "EUR", Reason.INVALID_FIELD),
            ("conversion.quoted", "target_minor", 1, Reason.INVALID_FIELD),
            ("conversion.quoted", "source_minor", ..., Reason.INVALID_FIELD),
            ("conversion.quoted", "source_minor", 0, Reason.AMOUNT_NEGATIVE),
            ("conversion.made", "quote_id", ..., Reason.MISSING_FIELD),
            ("rate.quoted", "target_currency", "ABC", Reason.UNKNOWN_CURRENCY),
            ("payout.reported", "payout_id", "p-1", Reason.UNKNOWN_PAYOUT),
            ("payout.reported", "payout_id", "p 1", Reason.INVALID_FIELD),
            ("payout.reported", "state", "paid", Reason.INVALID_FIELD),
            ("payout.reported", "reason", "Ann Miller, Bonn", Reason.INVALID_FIELD),
            ("payout.reported", "type", "payout.command", Reason.UNKNOWN_TYPE),
        ],
    )
    def test_wrong_field(self, kind: str, field: str, value: Any, reason: Reason) -> None:
        refused = refusal(EVENTS[kind][0], message(kind, **{field: value}))
        assert refused.reason is reason, refused
        assert field in refused.detail

    def test_a_sealed_destination_is_not_repeated_in_the_detail(self) -> None:
        payout = {"rail": "paypal", "destination": "ann.miller@example.com"}
        assert "miller" not in str(refusal("sellers", message("seller.updated", payout=payout)))

    def test_a_wrong_key_is_not_repeated_in_the_detail(self) -> None:
        wanted = {"ANN": {"percent": 20}}
        refused = refusal("sellers", message("seller.updated", reinvest=wanted))
        assert refused.reason is Reason.UNKNOWN_CURRENCY
        assert refused.detail == "reinvest: not an ISO 4217 currency"
        long = {"ann.miller@example.com": {"percent": 20}}
        assert "miller" not in str(refusal("sellers", message("seller.updated", reinvest=long)))

    def test_the_first_date_is_taken(self) -> None:
        first = message("sale.completed", occurred_at=DATE_MIN.isoformat())
        age_ms = NOW_MS - int(DATE_MIN.timestamp()) * 1000
        event = decode("sales", first, now_ms=NOW_MS, retention_ms=age_ms)
        assert event.occurred_at == DATE_MIN


def test_body_hash_tells_bodies_apart() -> None:
    assert body_hash(b"a") == body_hash(b"a") != body_hash(b"b")
    assert len(body_hash(message("sale.completed"))) == 16


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=80)
    | st.sampled_from(["EUR", "1", "2026-11-23T09:00:00Z", "sale.completed", "9" * 400, "{}", "%s"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
kinds = st.sampled_from(sorted(EVENTS))
FIELDS = sorted({*COMMON, "type", *(field for _, body in EVENTS.values() for field in body)})
many = settings(max_examples=1300, deadline=None, suppress_health_check=list(HealthCheck))


def decided(topic: str, value: bytes) -> None:
    """Decode; anything but an event or a refusal fails the test."""
    try:
        event = decode(topic, value, now_ms=NOW_MS, retention_ms=RETENTION_MS)
    except Refused as refused:
        assert refused.reason in set(Reason) - BOOKING | {Reason.UNKNOWN_PAYOUT}
        str(refused).encode()
    else:
        assert isinstance(event, Event)
        assert isinstance(event, TOPICS[topic])
        assert isinstance(event.occurred_ms, int)
        if isinstance(event, SaleCompleted):
            assert type(event.amount_minor) is int
            assert 0 <= event.amount_minor <= MINOR_MAX


class TestFuzz:
    """5,200 inputs in four kinds; never anything but an event or a refusal."""

    @many
    @given(st.sampled_from(sorted(TOPICS)), st.binary(max_size=300))
    def test_bytes(self, topic: str, value: bytes) -> None:
        decided(topic, value)

    @many
    @given(st.sampled_from(sorted(TOPICS)), values)
    def test_json(self, topic: str, value: Any) -> None:
        decided(topic, json.dumps(value).encode("utf-8", "surrogatepass"))

    @many
    @given(kinds, st.dictionaries(st.sampled_from(FIELDS), values, min_size=1, max_size=3))
    def test_changed_fields(self, kind: str, changed: dict[str, Any]) -> None:
        decided(EVENTS[kind][0], message(kind, **changed))

    @many
    @given(kinds, st.data())
    def test_changed_bytes(self, kind: str, data: st.DataObject) -> None:
        value = bytearray(message(kind))
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(value) - 1))
            if data.draw(st.booleans()):
                value[place] = data.draw(st.integers(0, 255))
            else:
                del value[place]
        decided(EVENTS[kind][0], bytes(value))
