"""The product hears of what came in, also days later, and of each thing until it has heard."""

import json
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from models.events import PayoutReported, decode
from models.payouts import PayoutState
from rails.iso20022.exchange import Exchange
from rails.iso20022.feed import ReportFeed
from rails.iso20022.mapping import Payment, payment_id
from rails.sandbox.server import serve
from tests.rails.contract import World
from tests.rails.iso20022.link import CONFIG, directories, rail_at
from tests.rails.iso20022.test_reports import pacs002, pacs004, transaction

S = PayoutState
PAYOUT = f"2a{str(uuid.uuid4())[2:]}"
PAYMENT = Payment(payment_id(PAYOUT), PAYOUT, 1050, "EUR")


@dataclass
class Broker:
    """Where reports go; it may be down."""

    events: list[dict[str, Any]] = field(default_factory=list)
    down: bool = False
    seller: str | None = "seller-1"

    async def publish(self, *, topic: str, key: bytes, value: bytes) -> None:
        if self.down:
            raise ConnectionError
        now_ms = time.time_ns() // 1_000_000
        event = decode(topic, value, now_ms=now_ms, retention_ms=60_000)
        assert isinstance(event, PayoutReported)
        assert key == b"seller-1"
        self.events.append(json.loads(value))

    async def seller_of(self, _payout_id: str) -> str | None:
        return self.seller

    def states(self) -> list[str]:
        return [event["state"] for event in self.events]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in directories(tmp_path)[:2]:
        folder.mkdir()
    return tmp_path


class Line:
    """A feed and what the bank puts into its inbox."""

    def __init__(self, root: Path) -> None:
        self.inbox = directories(root)[1]
        self.exchange = Exchange(*directories(root))
        self.exchange.order(PAYMENT, b"<one/>")
        self.feed = ReportFeed(self.exchange, "bank_1")
        self.broker = Broker()

    def says(self, data: bytes) -> None:
        own = data.replace(("2a" + "0" * 30).encode(), PAYMENT.id.encode())
        (self.inbox / f"{uuid.uuid4().hex}.xml").write_bytes(own)

    async def round(self) -> int:
        return await self.feed.round(self.broker.publish, self.broker.seller_of)


@pytest.fixture
def line(root: Path) -> Line:
    return Line(root)


async def test_what_comes_is_told_as_what_it_all_comes_to(line: Line) -> None:
    line.says(pacs002(transaction("ACSC")))
    assert await line.round() == 1
    line.says(pacs002(transaction("ACSP")))
    assert await line.round() == 1
    line.says(pacs004())
    assert await line.round() == 1
    assert await line.round() == 0
    # The late ACSP is told as what the payment is by then.
    assert line.broker.states() == ["settled", "settled", "returned"]
    event = line.broker.events[-1]
    assert (event["payout_id"], event["rail"]) == (PAYOUT, "bank_1")
    assert (event["provider_ref"], event["reason"]) == (PAYMENT.id, "ac04")
    assert len({event["id"] for event in line.broker.events}) == 3


async def test_a_rejection_has_its_category(line: Line) -> None:
    line.says(pacs002(transaction("RJCT", "AC04")))
    await line.round()
    assert [(one["state"], one["category"]) for one in line.broker.events] == [("failed", "method")]


async def test_what_is_unclear_is_not_told(line: Line) -> None:
    line.says(pacs002(transaction("QUAR")))
    line.says(pacs004("10.49"))
    assert await line.round() == 0
    assert line.broker.events == []
    assert list(line.exchange.unpublished()) == []


async def test_what_could_not_be_published_is_owed(line: Line) -> None:
    line.says(pacs002(transaction("ACSC")))
    line.broker.down = True
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await line.round()
    line.broker.down = False
    assert await line.round() == 1
    assert line.broker.states() == ["settled"]


async def test_a_payout_nobody_knows_is_not_told_for_ever(line: Line) -> None:
    line.says(pacs002(transaction("ACSC")))
    line.broker.seller = None
    assert await line.round() == 0
    assert list(line.exchange.unpublished()) == []


async def test_a_mark_whose_report_is_being_filed_waits(line: Line, root: Path) -> None:
    line.says(pacs002(transaction("ACSC")))
    line.exchange.take()
    ((_, name),) = line.exchange.unpublished()
    (report,) = (root / "archive").rglob(f"reports/{name}")
    report.rename(root / "aside")
    assert await line.round() == 0
    (root / "aside").rename(report)
    assert await line.round() == 1


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with await serve(settle_delay_ms=60, slow_ms=10, bank_directory=tmp_path) as sandbox:
        yield World(CONFIG, sandbox, rail_at(tmp_path))


@pytest.mark.parametrize("behaviour", ["returned", "webhook-reordered-return", "webhook-twice"])
async def test_a_return_reaches_the_product_unasked(
    world: World, tmp_path: Path, behaviour: str
) -> None:
    instruction, _ = await world.submit(world.instruction(behaviour))
    feed, broker = ReportFeed(Exchange(*directories(tmp_path)), "bank_1"), Broker()
    deadline = time.monotonic() + 5
    last = "settled" if behaviour == "webhook-twice" else "returned"
    while broker.states()[-1:] != [last] and time.monotonic() < deadline:
        await feed.round(broker.publish, broker.seller_of)
    assert broker.states()[-1] == last
    assert {event["payout_id"] for event in broker.events} == {instruction.payout_id}
    assert world.executions(instruction) == 1
