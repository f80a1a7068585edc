"""`payouts campaign simulate --from-topic`: what the broker has, with what is no event among it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from confluent_kafka import Producer
from typer.testing import CliRunner

from streams.cli import app
from streams.topics import create_topics
from tests.streams.cli.test_campaign import CAMPAIGNS

NOW = datetime.now(UTC) - timedelta(days=2)


class Feed:
    """Messages into the inbound topics, each later than the one before."""

    def __init__(self, brokers: str) -> None:
        self._producer = Producer({"bootstrap.servers": brokers, "linger.ms": 0})
        self._count = 0

    def put(self, topic: str, value: bytes | None) -> None:
        """Bytes as they are."""
        self._count += 1
        at = int(NOW.timestamp() * 1000) + self._count
        self._producer.produce(topic, value, key=b"k", timestamp=at)

    def event(self, topic: str, type_: str, seller: str, **fields: Any) -> str:
        """A valid event; its id."""
        id_ = f"e{self._count}"
        event = {"id": id_, "type": type_, "version": 1, "occurred_at": NOW.isoformat(),
                 "seller_id": seller, **fields}  # fmt: skip
        self.put(topic, json.dumps(event).encode())
        return id_

    def sale(self, seller: str, amount: int) -> str:
        """A sale; its id."""
        name = f"s{self._count}"
        self.event("sales", "sale.completed", seller, sale_id=name, currency="EUR",
                   amount_minor=amount)  # fmt: skip
        return name

    def done(self) -> None:
        """All of them are there."""
        assert self._producer.flush(10) == 0


@pytest.fixture
def feed(own_broker: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Feed]:
    create_topics(own_broker, 2)
    monkeypatch.setenv("PAYOUTS_KAFKA_BROKERS", own_broker)
    yield Feed(own_broker)


def simulate(tmp_path: Path) -> Result:
    path = tmp_path / "campaigns.yaml"
    path.write_text(CAMPAIGNS)
    words = ["campaign", "simulate", str(path), "--from-topic", "--json"]
    return CliRunner().invoke(app, words)


def test_tries_them_on_what_the_topics_hold(feed: Feed, tmp_path: Path) -> None:
    returned = feed.sale("bob", 4_000)
    feed.sale("bob", 5_000)
    feed.sale("ann", 1_000)
    feed.event("sales", "sale.returned", "bob", sale_id=returned, currency="EUR",
               amount_minor=3_500)  # fmt: skip
    # Profiles count first, also where they came later; and a tombstone forgets nobody here.
    feed.event("sellers", "seller.updated", "ann", country="DE", tags=["new"])
    feed.event("sellers", "seller.updated", "bob", country="DE", tags=["new"], sponsor_id="ann")
    rubbish = (None, b"", b"\xff\x00", b"[]", b"null", b'{"type":"sale.completed"}', b"{" * 2_000)
    for topic in ("sellers", "sales", "commissions"):
        for value in rubbish:
            feed.put(topic, value)
    feed.event("commissions", "commission.earned", "nobody", commission_id="c", currency="EUR",
               amount_minor=5)  # fmt: skip
    feed.done()
    result = simulate(tmp_path)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["events"] == 7 + 3 * len(rubbish)
    assert sum(found["refused"].values()) == 3 * len(rubbish)
    assert found["without_profile"] == 1
    welcome = {
        row["seller_id"]: row["amount_minor"]
        for row in found["sellers"]
        if row["campaign"] == "welcome"
    }
    assert welcome == {"ann": 500, "bob": 0}


def test_says_what_cannot_be_read(
    own_broker: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PAYOUTS_KAFKA_BROKERS", own_broker)
    result = simulate(tmp_path)
    assert result.exit_code == 1
    assert "no topic sellers; run `payouts topics create`" in result.stderr
    assert "Traceback" not in result.output


def test_says_that_there_is_no_broker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("streams.wallets.evidence.SILENCE_MAX_S", 0.2)
    monkeypatch.setenv("PAYOUTS_KAFKA_BROKERS", "127.0.0.1:1")
    result = simulate(tmp_path)
    assert result.exit_code == 1
    assert "cannot read from the broker: " in result.stderr
    assert "Traceback" not in result.output
