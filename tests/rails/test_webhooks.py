"""The receiver: what it publishes, and what it answers to whom."""

import json
import logging
from collections.abc import AsyncIterator, Mapping

import aiohttp
import pytest
from aiohttp import web

from rails.webhooks import (
    BODY_BYTES_MAX,
    SEEN_MAX,
    TOPIC,
    WebhookCall,
    WebhookRefused,
    webhook_app,
)

REPORT: dict[str, object] = {"id": "WH-1", "payout_id": "p-1", "rail": "x", "state": "settled"}


class Verifier:
    """Believes whoever says "honest"."""

    def __init__(self) -> None:
        self.reports = [REPORT]
        self.refusal = WebhookRefused("signature_refused")

    async def verify(self, headers: Mapping[str, str], body: bytes) -> WebhookCall:
        if headers.get("X-Say") != "honest":
            raise self.refusal
        return WebhookCall(headers.get("X-Id", "t-1"), self.reports)


class Receiver:
    """The application on a real socket, with what it published and counted."""

    def __init__(self) -> None:
        self.verifier = Verifier()
        self.published: list[tuple[str, bytes, bytes]] = []
        self.counted: list[tuple[str, str]] = []
        self.broken = False
        self.full = False
        self.kept: list[tuple[str, str, bytes]] = []
        self.url = ""

    async def publish(self, *, topic: str, key: bytes, value: bytes) -> None:
        if self.broken:
            raise ConnectionError("broker gone, anna@example.com")
        self.published.append((topic, key, value))

    async def keep(self, rail: str, headers: Mapping[str, str], body: bytes) -> None:
        if self.full:
            raise ConnectionError("no room")
        self.kept.append((rail, headers["X-Say"], body))

    async def seller_of(self, payout_id: str) -> str | None:
        return {"p-1": "seller-1"}.get(payout_id)

    async def call(self, **headers: str) -> tuple[int, str]:
        sent = {"X-Say": "honest", **{f"X-{k}": v for k, v in headers.items()}}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/webhooks/one", data=b"{}", headers=sent) as response,
        ):
            return response.status, await response.text()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = webhook_app(
        {"one": made.verifier},
        made.publish,
        made.seller_of,
        keep=made.keep,
        count=lambda rail, result: made.counted.append((rail, result)),
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.mark.parametrize(("rail", "status"), [("one", 200), ("two", 404)])
async def test_who_only_looks_whether_we_are_there_is_told(
    receiver: Receiver, rail: str, status: int
) -> None:
    url = f"{receiver.url}/webhooks/{rail}"
    async with aiohttp.ClientSession() as session, session.head(url) as response:
        assert response.status == status
    assert receiver.counted == []


async def test_a_proven_report_is_published_under_its_seller(receiver: Receiver) -> None:
    assert await receiver.call() == (200, "")
    ((topic, key, value),) = receiver.published
    assert (topic, key) == (TOPIC, b"seller-1")
    # The rail is the receiver's name for it: one provider may be several rails.
    assert json.loads(value) == {**REPORT, "rail": "one", "seller_id": "seller-1"}
    assert receiver.counted == [("one", "published")]


async def test_a_proven_call_is_kept_as_it_came_and_an_unproven_one_is_not(
    receiver: Receiver,
) -> None:
    await receiver.call()
    await receiver.call(Say="anna@example.com")
    assert receiver.kept == [("one", "honest", b"{}")]


async def test_a_call_that_cannot_be_kept_has_to_come_again(receiver: Receiver) -> None:
    receiver.full = True
    assert await receiver.call() == (503, "")
    receiver.full = False
    assert await receiver.call() == (200, "")
    assert receiver.counted[-1] == ("one", "published")


async def test_an_unproven_call_is_refused_and_not_echoed(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert await receiver.call(Say="anna@example.com") == (401, "")
    assert receiver.published == []
    assert receiver.counted == [("one", "signature_refused")]
    assert "anna" not in caplog.text


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (WebhookRefused("signature_refused"), 401),
        (WebhookRefused("unreadable"), 400),
        (WebhookRefused("certificate_unreachable", retry=True), 503),
    ],
)
async def test_refusals_have_their_status(
    receiver: Receiver, refusal: WebhookRefused, status: int
) -> None:
    receiver.verifier.refusal = refusal
    assert await receiver.call(Say="?") == (status, "")


async def test_a_transmission_is_published_once(receiver: Receiver) -> None:
    for _ in range(3):
        assert (await receiver.call(Id="t-1"))[0] == 200
    assert (await receiver.call(Id="t-2"))[0] == 200
    assert len(receiver.published) == 2
    assert [result for _, result in receiver.counted] == [
        "published",
        "repeated",
        "repeated",
        "published",
    ]


async def test_what_could_not_be_published_may_come_again(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.broken = True
    assert (await receiver.call(Id="t-1"))[0] == 503
    assert "anna" not in caplog.text
    receiver.broken = False
    assert (await receiver.call(Id="t-1"))[0] == 200
    assert len(receiver.published) == 1


async def test_a_payout_nobody_knows_is_acknowledged_and_dropped(receiver: Receiver) -> None:
    receiver.verifier.reports = [{**REPORT, "payout_id": "p-2"}]
    assert (await receiver.call())[0] == 200
    assert receiver.published == []
    assert receiver.counted == [("one", "no_payout")]


async def test_an_event_about_no_payout_is_acknowledged(receiver: Receiver) -> None:
    receiver.verifier.reports = []
    assert (await receiver.call())[0] == 200
    assert receiver.counted == [("one", "ignored")]


async def test_a_rail_that_is_not_there(receiver: Receiver) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{receiver.url}/webhooks/two") as response:
            assert response.status == 404
        async with session.get(f"{receiver.url}/webhooks/one") as response:
            assert response.status == 405
        async with session.get(f"{receiver.url}/healthz") as response:
            assert response.status == 200
    assert receiver.counted == []


async def test_a_body_too_large_is_not_read(receiver: Receiver) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{receiver.url}/webhooks/one", data=b"x" * (BODY_BYTES_MAX + 1)) as response,
    ):
        assert response.status == 413
    assert receiver.counted == [("one", "too_large")]


def test_memory_of_transmissions_is_bounded() -> None:
    assert 1_000 <= SEEN_MAX <= 100_000
