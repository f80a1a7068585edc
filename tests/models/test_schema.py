"""The public contract: documents are current, events fit them, the page for senders is true."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from models import events, published
from models.decisions import Decision, Standing, Tier
from models.features import FEATURES
from models.money import MINOR_MAX
from models.refusals import Reason, Refused
from models.schema import ASYNCAPI, SUMMARIES, documents
from models.shards import partition_of
from streams.topics import TOPICS, Topic, create_topics
from tests.conftest import Names
from tests.models.test_events import EVENTS, NOW_MS, REFUSED, RETENTION_MS, message

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "events.md").read_text(encoding="utf-8")
MADE = documents()


def schema(topic: str) -> Draft202012Validator:
    found = json.loads(MADE[f"{topic}.json"])
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found, format_checker=FormatChecker())


def mistakes(topic: str, value: Any) -> list[str]:
    return [error.message for error in schema(topic).iter_errors(value)]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


class TestFiles:
    def test_the_checked_in_files_are_current(self) -> None:
        folder = DOCS / "schemas"
        assert {path.name for path in folder.iterdir()} == set(MADE)
        for name, text in MADE.items():
            current = (folder / name).read_text(encoding="utf-8") == text
            assert current, f"docs/schemas/{name} is old; run `payouts schema --write docs/schemas`"

    def test_every_topic_has_its_schema_and_summary(self) -> None:
        topics = {topic.name for topic in TOPICS}
        assert topics == set(SUMMARIES)
        assert topics == {*events.TOPICS, *published.TOPICS, "dead-letters"}

    @pytest.mark.parametrize("name", sorted(set(MADE) - {ASYNCAPI}))
    def test_each_is_a_schema(self, name: str) -> None:
        Draft202012Validator.check_schema(json.loads(MADE[name]))


class TestInbound:
    @pytest.mark.parametrize("kind", EVENTS)
    def test_what_is_taken_fits(self, kind: str) -> None:
        topic = EVENTS[kind][0]
        assert mistakes(topic, json.loads(message(kind))) == []
        assert mistakes(topic, json.loads(message(kind, more={"x": [1]}))) == []

    @pytest.mark.parametrize(
        "value",
        [
            pytest.param(value, id=f"{reason.value}-{name}")
            for reason, name, value in REFUSED
            if reason
            in {
                Reason.MISSING_FIELD,
                Reason.WRONG_TYPE,
                Reason.UNKNOWN_TYPE,
                Reason.UNKNOWN_VERSION,
                Reason.AMOUNT_NEGATIVE,
                Reason.AMOUNT_TOO_LARGE,
            }
        ],
    )
    def test_what_is_refused_for_its_form_does_not_fit(self, value: bytes) -> None:
        assert mistakes("sales", json.loads(value))

    @pytest.mark.parametrize("kind", EVENTS)
    @pytest.mark.parametrize("field", ["id", "type", "version", "occurred_at", "seller_id"])
    def test_senders_are_asked_for_the_common_fields(self, kind: str, field: str) -> None:
        value = json.loads(message(kind, **{field: ...}))
        assert mistakes(EVENTS[kind][0], value)


OUTBOUND: list[tuple[str, dict[str, Any]]] = [
    (
        "ledger",
        {
            "v": 1,
            "shard": 17,
            "seq": 1,
            "epoch": 4712,
            "kind": "sale.completed",
            "id": "e-1",
            "seller": "S-1",
            "at": NOW_MS,
            "hash": "0123456789abcdef",
            "source": ["sales", 1, 0],
            "postings": [["/commissions", "EUR", -250, -900], ["S-1/available", "EUR", 250, 250]],
            "writes": [["SET", "r:s:sale-1", "{}", "PXAT", "1"]],
            "emits": ["c-1"],
            "tier": "instant",
            "payout": ["11aa", "reserved", "paypal", 240, 10],
            "credits": [["granted", "l-1", "power-day", "2026-11-23", "EUR", 1, 1500]],
        },
    ),
    (
        "payouts.commands",
        {
            "v": 1,
            "type": "payout.command",
            "payout_id": "11aa",
            "seller_id": "S-1",
            "rail": "paypal",
            "currency": "EUR",
            "amount_minor": 240,
            "fee_minor": 10,
            "destination": "v1.c2VhbGVk",
            "attempt": 0,
            "route": ["card:breaker_open", "paypal:method_1"],
            "cause": "e-1",
            "caused_ms": NOW_MS,
            "reserved_ms": NOW_MS,
        },
    ),
    (
        "payouts.updates",
        {
            "v": 1,
            "type": "payout.updated",
            "id": "u-1",
            "payout_id": "11aa",
            "seller_id": "S-1",
            "state": "failed",
            "rail": "paypal",
            "currency": "EUR",
            "amount_minor": 240,
            "fee_minor": 10,
            "attempt": 1,
            "at_ms": NOW_MS,
            "category": "method",
            "reason": "RECEIVER_UNREGISTERED",
        },
    ),
    (
        "spendback.credits",
        {
            "v": 1,
            "type": "credit.unfired",
            "id": "u-1",
            "seller_id": "S-1",
            "lot": "l-1",
            "campaign": "power-day",
            "period": "2026-11-23",
            "tier": 1,
            "currency": "EUR",
            "amount_minor": 1000,
            "at_ms": NOW_MS,
            "spent_minor": 500,
        },
    ),
]


class TestOutbound:
    @pytest.mark.parametrize(("topic", "value"), OUTBOUND, ids=[topic for topic, _ in OUTBOUND])
    def test_example_fits_and_every_field_counts(self, topic: str, value: dict[str, Any]) -> None:
        assert mistakes(topic, value) == []
        assert mistakes(topic, {**value, "more": 1}) == []
        for field in value:
            assert mistakes(topic, {**value, field: {"of": "another type"}}), field

    @pytest.mark.parametrize("score", [None, 0.25])
    def test_a_decision_as_it_is_published(self, score: float | None) -> None:
        record = Decision(Tier.HOLD, ("score", "large amount"), score).record(
            event_id="e-1",
            seller_id="S-1",
            topic="sales",
            partition=0,
            offset=7,
            vector=None if score is None else [0.5] * len(FEATURES),
            model=None if score is None else "abc",
            at_ms=NOW_MS,
            amount_minor=100,
            currency="EUR",
            standing=Standing.ACTIVE,
            policy="ab" * 32,
            sale_id="INV-1",
        )
        assert mistakes("decisions", json.loads(record)) == []

    def test_headers_of_a_dead_letter(self) -> None:
        headers = {
            "reason": "not_json",
            "detail": "cut",
            "topic": "sales",
            "partition": "3",
            "offset": "12",
            "at": "2026-11-23T12:00:00.000Z",
        }
        assert mistakes("dead-letters.headers", headers) == []
        assert mistakes("dead-letters.headers", {**headers, "reason": "dislike"})


class TestAsyncApi:
    document: dict[str, Any] = json.loads(MADE[ASYNCAPI])

    def test_every_reference_leads_somewhere(self) -> None:
        found = re.findall(r'"\$ref": "([^"]+)"', MADE[ASYNCAPI])
        assert found
        for reference in set(found):
            node = self.document
            assert reference.startswith("#/")
            for part in reference[2:].split("/"):
                node = node[part]

    def test_every_topic_is_a_channel_with_an_operation(self) -> None:
        assert self.document["asyncapi"] == "3.0.0"
        assert set(self.document["channels"]) == {topic.name for topic in TOPICS}
        operations = self.document["operations"].values()
        served = {one["channel"]["$ref"].removeprefix("#/channels/"): one for one in operations}
        assert set(served) == set(self.document["channels"])
        for topic, one in served.items():
            assert one["action"] == ("receive" if topic in events.TOPICS else "send")

    def test_messages_are_those_of_the_models(self) -> None:
        sales = self.document["channels"]["sales"]["messages"]
        assert set(sales) == {"sale.completed", "sale.returned"}
        credits = self.document["channels"]["spendback.credits"]["messages"]
        kinds, ends = ("credit", "bonus", "discount"), ("granted", "unfired", "refused")
        assert set(credits) == {f"{kind}.{end}" for kind in kinds for end in ends}
        for one in self.document["components"]["messages"].values():
            assert one["summary"]
            assert "murmur2" in one["bindings"]["kafka"]["key"]["description"]

    def test_its_schemas_are_of_its_default_dialect(self) -> None:
        assert "prefixItems" not in MADE[ASYNCAPI]
        assert "$defs" not in MADE[ASYNCAPI]


class TestPage:
    def test_every_event_has_an_example_that_is_taken(self) -> None:
        kinds = {
            model.model_fields["type"].default: topic
            for topic, models in events.TOPICS.items()
            for model in models
        }
        shown = [json.loads(block) for block in blocks("json")]
        assert [one["type"] for one in shown] == list(kinds)
        for one in shown:
            topic = kinds[one["type"]]
            assert mistakes(topic, one) == []
            now_ms = NOW_MS + 5 * 86_400_000
            text = json.dumps(one).encode()
            assert events.decode(topic, text, now_ms=now_ms, retention_ms=RETENTION_MS)

    def test_every_reason_has_its_row(self) -> None:
        rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", PAGE, re.MULTILINE)
        assert rows == [reason.value for reason in Reason]

    def test_figures_are_those_of_the_code(self) -> None:
        assert events.EVENT_BYTES_MAX == 64 * 1024
        assert f"{MINOR_MAX:,}" in PAGE
        assert events.CLOCK_AHEAD_MAX.total_seconds() == 600

    def test_the_python_example_sends_to_the_sellers_partition(
        self, broker: str, names: Names, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from confluent_kafka import Consumer, TopicPartition

        topic = names.topic("sales")
        create_topics(broker, 8, topics=[Topic(topic, 3_600_000)])
        monkeypatch.setenv("KAFKA_BROKERS", broker)
        (example,) = blocks("python")
        exec(compile(example.replace('"sales"', f'"{topic}"'), "docs/events.md", "exec"), {})

        partition = partition_of("S-1042", 8)
        consumer = Consumer({"bootstrap.servers": broker, "group.id": names.group()})
        try:
            consumer.assign([TopicPartition(topic, partition, 0)])
            (found,) = consumer.consume(1, 20)
        finally:
            consumer.close()
        assert found.error() is None
        assert found.key() == b"S-1042"
        event = json.loads(found.value() or b"")
        try:
            now_ms = round(datetime.fromisoformat(event["occurred_at"]).timestamp() * 1000)
            events.decode("sales", found.value(), now_ms=now_ms, retention_ms=RETENTION_MS)
        except Refused as refused:
            pytest.fail(str(refused))
