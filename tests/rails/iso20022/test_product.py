"""The whole product over a bank link: a file goes out, and a return comes back unasked."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer

from rails.sandbox.bank import link_fields
from rails.sandbox.server import serve
from streams.demo.stack import Stack
from tests.rails.iso20022.link import destination

POLICY = """
currencies:
  EUR: {min: 500, max: 500000}
window_seconds: 0
fee_bearer: company
rails:
  iso20022:
    currencies: [EUR]
    fee:
      EUR: {fixed: 10}
instant: [instant]
fraud:
  hold_score: 0.35
  unscored_cap: {EUR: 2000}
"""


class LinkedStack(Stack):
    """The stack, with a bank in a directory beside the rail that is always there."""

    def __init__(self, bank: Path) -> None:
        super().__init__()
        self.bank = bank
        self.policy = bank / "policy.yaml"
        self.policy.write_text(POLICY)

    def _overrides(self, kafka_brokers: str) -> dict[str, object]:
        link = {f"iso20022_{field}": value for field, value in link_fields(self.bank).items()}
        return {
            **super()._overrides(kafka_brokers),
            **link,
            "iso20022_timeout_s": 2,
            "policy": self.policy,
        }


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[LinkedStack]:
    with LinkedStack(tmp_path) as stack:
        yield stack


def earn(stack: LinkedStack, seller: str, behaviour: str) -> None:
    """A seller, paid over the link, earns 12.34 EUR."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    event = {"version": 1, "occurred_at": now, "seller_id": seller}
    profile = {
        **event,
        "type": "seller.updated",
        "id": f"profile-{seller}",
        "country": "DE",
        "joined_at": "2024-01-01T00:00:00Z",
        "payout": {
            "rail": "iso20022",
            "destination": stack.seal.seal(seller, destination(behaviour)),
        },
    }
    commission = {
        **event,
        "type": "commission.earned",
        "id": f"bonus-{seller}",
        "commission_id": f"bonus-{seller}",
        "currency": "EUR",
        "amount_minor": 1234,
    }
    producer = Producer({"bootstrap.servers": stack.settings.kafka_brokers, "log_level": 0})
    for topic, value in (("sellers", profile), ("commissions", commission)):
        producer.produce(topic, json.dumps(value).encode(), seller.encode())
        producer.flush(10)
        time.sleep(0.5)  # a profile that comes late would be waited for


def heard(consumer: Consumer, last: str, within_s: float = 30) -> list[str]:
    """What is said of the one payout, up to a state."""
    states: list[str] = []
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and states[-1:] != [last]:
        message = consumer.poll(0.2)
        if message is not None and not message.error():
            states.append(json.loads(message.value())["state"])
    return states


@pytest.fixture
def updates(stack: LinkedStack) -> Iterator[Consumer]:
    consumer = Consumer(
        {
            "bootstrap.servers": stack.settings.kafka_brokers,
            "group.id": "reader",
            "auto.offset.reset": "earliest",
            "log_level": 0,
        }
    )
    consumer.subscribe(["payouts.updates"])
    yield consumer
    consumer.close()


@pytest.mark.timeout(120)
async def test_paid_by_a_file_and_returned_unasked(
    stack: LinkedStack, updates: Consumer, tmp_path: Path
) -> None:
    async with await serve(settle_delay_ms=600_000, bank_directory=tmp_path) as bank:
        await asyncio.to_thread(earn, stack, "seller-1", "returned")
        # The bank's clock stands still between the steps of the payment's life.
        for step, last in enumerate(("accepted", "settled", "returned")):
            for row in bank.books.rows(bank.clock.now_ms()):
                entry = bank.books.by_reference(str(row["reference"]))
                assert entry is not None
                bank.clock.ahead_ms += max(0, entry.due_ms(step) - bank.clock.now_ms())
            states = await asyncio.to_thread(heard, updates, last)
            stack.check()
            assert states[-1:] == [last], (states, stack.worker_log.read_text())
        (row,) = bank.books.rows(bank.clock.now_ms())
        assert (row["rail"], row["executions"], row["paid_minor"]) == ("iso20022", 1, 0)
        assert bank.providers["iso20022"].counts["create"] == 1
    assert "Secret" not in stack.worker_log.read_text()
