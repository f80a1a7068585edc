"""Dead letters keep the original bytes and say where they came from; replay sends them back."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from models.refusals import Reason
from streams import deadletters
from streams.deadletters import (
    DETAIL_CHARS_MAX,
    TOPIC,
    DeadLetter,
    Filter,
    Place,
    PlaceInvalid,
    dead_letter,
)
from streams.demo.embedded import EmbeddedBroker
from streams.demo.process import free_port
from streams.engine import Outgoing, RawMessage
from streams.reading import TopicUnreadable
from streams.topics import create_topics

NOW_MS = 1_764_000_000_123
BROKEN = b'{"id": \xff not json'


def raw(offset: int = 7, value: bytes | None = BROKEN, topic: str = "sales") -> RawMessage:
    return RawMessage(topic, 3, offset, b"seller-1", value, NOW_MS)


def send(bootstrap: str, messages: Sequence[Outgoing]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
    for message in messages:
        headers: list[tuple[str, str | bytes | None]] = list(message.headers or [])
        producer.produce(message.topic, message.value, message.key, headers=headers)
    assert producer.flush(20) == 0


@pytest.fixture(scope="module")
def own_broker() -> object:
    """A broker with our topics only, as the names of the topics are fixed."""
    with EmbeddedBroker() as server:
        create_topics(server.bootstrap, 2)
        yield {"bootstrap.servers": server.bootstrap}


def test_the_original_bytes_and_key_are_kept() -> None:
    sent = dead_letter(raw(), Reason.NOT_UTF8, "the message is not UTF-8", NOW_MS)
    assert (sent.topic, sent.key, sent.value) == (TOPIC, b"seller-1", BROKEN)
    assert dict(sent.headers or ()) == {
        "reason": b"not_utf8",
        "detail": b"the message is not UTF-8",
        "topic": b"sales",
        "partition": b"3",
        "offset": b"7",
        "at": b"2025-11-24T16:00:00.123Z",
    }


def test_the_detail_is_masked_and_bounded() -> None:
    sent = dead_letter(raw(), Reason.WRONG_TYPE, "mail a@b.ch " + "x" * 2_000, NOW_MS)
    detail = dict(sent.headers or ())["detail"] or b""
    assert b"a@b.ch" not in detail
    assert len(detail) == DETAIL_CHARS_MAX


@pytest.mark.parametrize("text", ["", "sales", "sales:1", "sales:x:1", "sales:1:-1", "a b:1:1"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(PlaceInvalid, match="topic:partition:offset"):
        Place.parse(text)


def letter(offset: int, at: str = "2026-01-01T00:00:00Z", reason: str = "not_json") -> DeadLetter:
    place, source = Place(TOPIC, 0, offset), Place("sales", 1, offset + 100)
    return DeadLetter(place, source, reason, "", at, b"k", b"v")


def test_a_filter_takes_what_is_meant() -> None:
    one = letter(5, "2026-02-01T00:00:00Z")
    assert Filter().takes(one)
    assert Filter(reason="not_json", topic="sales").takes(one)
    assert not Filter(reason="empty").takes(one)
    assert not Filter(topic="commissions").takes(one)
    assert Filter(since=datetime(2026, 2, 1, tzinfo=UTC)).takes(one)
    assert not Filter(since=datetime(2026, 2, 2, tzinfo=UTC)).takes(one)
    assert Filter(places=frozenset({Place(TOPIC, 0, 5)})).takes(one)
    assert Filter(places=frozenset({Place("sales", 1, 105)})).takes(one)
    assert not Filter(places=frozenset({Place("sales", 1, 5)})).takes(one)


def test_the_newest_are_kept_in_order() -> None:
    letters = [letter(n, f"2026-01-{10 + n:02}T00:00:00Z") for n in range(9)]
    kept = deadletters.newest(iter(letters), Filter(), 3)
    assert [each.place.offset for each in kept] == [6, 7, 8]


def test_contents_are_in_no_repr() -> None:
    assert "b'v'" not in repr(letter(1))


def test_they_are_read_whole_and_sent_back_unchanged(own_broker: dict[str, str]) -> None:
    letters = [
        dead_letter(raw(7), Reason.NOT_UTF8, "not UTF-8", NOW_MS),
        dead_letter(raw(8, None), Reason.EMPTY, "no body", NOW_MS + 1),
        dead_letter(raw(9, b"{}", "commissions"), Reason.MISSING_FIELD, "id", NOW_MS + 2),
        dead_letter(raw(1, b"{}", "decisions"), Reason.NOT_JSON, "not ours", NOW_MS + 3),
    ]
    send(own_broker["bootstrap.servers"], letters)

    found = deadletters.newest(deadletters.read(own_broker), Filter(), 10)

    assert [each.reason for each in found] == ["not_utf8", "empty", "missing_field", "not_json"]
    assert [each.value for each in found] == [BROKEN, None, b"{}", b"{}"]
    assert found[0].source == Place("sales", 3, 7)

    done: list[DeadLetter] = []
    topics = frozenset({"sales", "commissions"})
    assert deadletters.replay(own_broker, found, topics, done.append) == 3
    assert len(done) == 3
    replayed = everything(own_broker, "sales")
    assert sorted(replayed, key=str) == [(b"seller-1", None), (b"seller-1", BROKEN)]


def everything(client: dict[str, str], topic: str) -> list[tuple[bytes | None, bytes | None]]:
    consumer = Consumer({**client, "group.id": "t", "enable.partition.eof": True})
    partitions = set(consumer.list_topics(topic, timeout=5).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    found = []
    while partitions:
        message = consumer.poll(10)
        assert message is not None
        if message.error():
            partitions.discard(message.partition())
        else:
            found.append((message.key(), message.value()))
    consumer.close()
    return found


def test_no_broker_is_one_line() -> None:
    client = {"bootstrap.servers": f"127.0.0.1:{free_port()}"}
    with pytest.raises(TopicUnreadable, match=r"^cannot read dead-letters: "):
        list(deadletters.read(client, 0.5))


def test_a_missing_topic_says_what_to_do() -> None:
    with (
        EmbeddedBroker() as server,
        pytest.raises(TopicUnreadable, match="payouts topics create"),
    ):
        list(deadletters.read({"bootstrap.servers": server.bootstrap}))
