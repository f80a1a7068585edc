"""One try: what is sent, how it is signed, and what every kind of answer means."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from pydantic import SecretStr

from models.notices import Notice, notice_of
from streams.demo.process import free_port
from streams.notices.courier import ANSWER_BYTES_MAX, Answer, Courier, Result, retry_after_ms
from streams.notices.endpoint import Endpoint, EndpointInvalid, check_url, key_of
from tests.streams.notices.harness import NEXT_SECRET, SECRET, Company, update

NOTICE: Notice = notice_of(update())


def now_ms() -> int:
    return int(time.time() * 1000)


def courier_to(url: str, *secrets: str, timeout_s: int = 1) -> Courier:
    return Courier(Endpoint(url, [SecretStr(s) for s in secrets or (SECRET,)], timeout_s, 4))


@pytest.fixture
async def courier(company: Company) -> AsyncIterator[Courier]:
    made = courier_to(company.url)
    yield made
    await made.close()


async def test_a_company_verifies_it_with_the_package_of_the_specification(
    company: Company, courier: Courier
) -> None:
    assert await courier.carry(NOTICE, now_ms()) == Answer(Result.DELIVERED, "http_204")
    assert company.forged == 0
    [event] = company.events
    assert event == {
        "type": "payout.settled",
        "id": NOTICE.id,
        "timestamp": "2026-11-25T09:46:40.123Z",
        "data": {
            "payout_id": NOTICE.data["payout_id"], "seller_id": "anna", "state": "settled",
            "rail": "paypal", "currency": "EUR", "amount_minor": 3_206, "fee_minor": 42,
            "attempt": 0,
        },
    }  # fmt: skip


def test_the_signature_is_the_hmac_that_the_specification_says() -> None:
    body = b'{"a":"\xc3\xa9"}'
    made = courier_to("https://company.example").headers("id-1", body, 1_795_600_000_999)
    assert made["webhook-timestamp"] == "1795600000"
    signed = b"id-1.1795600000." + body
    expected = hmac.new(b64decode(SECRET[6:]), signed, hashlib.sha256).digest()
    assert made["webhook-signature"] == "v1," + b64encode(expected).decode()


@pytest.mark.parametrize("known", [SECRET, NEXT_SECRET])
async def test_while_a_secret_is_replaced_either_verifies(known: str) -> None:
    async with Company(known) as company:
        courier = courier_to(company.url, SECRET, NEXT_SECRET)
        assert (await courier.carry(NOTICE, now_ms())).result is Result.DELIVERED
        await courier.close()
    assert company.forged == 0
    assert len(company.headers[0]["webhook-signature"].split(" ")) == 2


async def test_a_secret_of_somebody_else_does_not_verify(company: Company) -> None:
    courier = courier_to(company.url, NEXT_SECRET)
    answer = await courier.carry(NOTICE, now_ms())
    await courier.close()
    assert (answer.result, company.forged, company.events) == (Result.REFUSED, 1, [])


async def test_an_old_timestamp_is_refused_so_each_try_has_its_own(
    company: Company, courier: Courier
) -> None:
    assert (await courier.carry(NOTICE, now_ms() - 600_000)).result is Result.REFUSED
    assert company.forged == 1


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, Result.DELIVERED),
        (202, Result.DELIVERED),
        (301, Result.REFUSED),
        (400, Result.REFUSED),
        (404, Result.REFUSED),
        (410, Result.GONE),
        (429, Result.REFUSED),
        (500, Result.REFUSED),
        (503, Result.REFUSED),
    ],
)
async def test_what_a_status_means(
    company: Company, courier: Courier, status: int, result: Result
) -> None:
    company.behave = lambda number, request: web.Response(status=status, text="body")
    assert await courier.carry(NOTICE, now_ms()) == Answer(result, f"http_{status}")


async def test_a_redirect_is_not_followed(company: Company, courier: Courier) -> None:
    company.behave = lambda number, request: web.Response(
        status=307, headers={"Location": company.url}
    )
    assert (await courier.carry(NOTICE, now_ms())).word == "http_307"
    assert company.tries == 1


async def test_an_endpoint_that_does_not_answer_in_time(company: Company) -> None:
    async def late(number: int, request: web.Request) -> web.Response:
        await asyncio.sleep(3)
        return web.Response()

    company.behave = late
    courier = courier_to(company.url)
    started = time.monotonic()
    assert await courier.carry(NOTICE, now_ms()) == Answer(Result.SILENT, "timeout")
    assert time.monotonic() - started < 2
    await courier.close()


async def test_an_endpoint_that_is_not_there() -> None:
    courier = courier_to(f"http://127.0.0.1:{free_port()}/token-in-the-path")
    answer = await courier.carry(NOTICE, now_ms())
    await courier.close()
    assert answer.result is Result.SILENT
    assert "token" not in answer.word
    assert "token" not in repr(courier.endpoint)
    assert SECRET not in repr(courier.endpoint)


async def test_a_huge_answer_is_not_read(company: Company, courier: Courier) -> None:
    written = 0

    async def huge(number: int, request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for _ in range(4_000):
                await response.write(b"x" * 65_536)
                written += 65_536
        except (ConnectionError, OSError):
            pass
        return response

    company.behave = huge
    assert (await courier.carry(NOTICE, now_ms())).result is Result.DELIVERED
    await asyncio.sleep(0.2)
    # What the sockets' buffers hold was written; 250 MB were not.
    assert written < 400 * ANSWER_BYTES_MAX * 4


async def test_an_answer_whose_body_never_ends_is_still_an_answer(company: Company) -> None:
    async def drip(number: int, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=200)
        await response.prepare(request)
        await response.write(b"x")
        await asyncio.sleep(3)
        return response

    company.behave = drip
    courier = courier_to(company.url)
    assert (await courier.carry(NOTICE, now_ms())).result is Result.DELIVERED
    await courier.close()


@pytest.mark.parametrize(
    ("header", "ms"),
    [
        ("120", 120_000),
        (" 5 ", 5_000),
        ("9" * 400, 999_999_999_000),
        ("Wed, 25 Nov 2026 09:46:50 GMT", 10_000),
        ("Wed, 25 Nov 2020 09:46:50 GMT", 0),
        ("soon", 0),
        ("-1", 0),
        ("", 0),
        (None, 0),
    ],
)
def test_what_retry_after_asks_for(header: str | None, ms: int) -> None:
    assert retry_after_ms(header, 1_795_600_000_000) == ms


@pytest.mark.parametrize(
    ("url", "plain", "taken"),
    [
        ("https://company.example/hooks?key=1", False, True),
        ("http://localhost:8080/x", False, True),
        ("http://127.0.0.1/x", False, True),
        ("http://company.example/x", False, False),
        ("http://company.example/x", True, True),
        ("ftp://company.example/x", True, False),
        ("https://user:pw@company.example/x", False, False),
        ("https://company.example:99999/x", False, False),
        ("company.example", False, False),
        ("https:///x", False, False),
    ],
)
def test_where_notices_may_go(url: str, plain: bool, taken: bool) -> None:
    if taken:
        assert check_url(url, plain_http_allowed=plain) == url
    else:
        with pytest.raises(EndpointInvalid) as refused:
            check_url(url, plain_http_allowed=plain)
        assert "pw" not in str(refused.value)


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", SECRET[6:], "whsec_" + b64encode(bytes(23)).decode(), "whsec_" + "é" * 40,
     "whsec_" + b64encode(bytes(65)).decode(), "whsec_not base64 at all, but long enough"],
)  # fmt: skip
def test_a_secret_that_cannot_sign_is_refused(secret: str) -> None:
    with pytest.raises(EndpointInvalid, match="base64 of 24 to 64"):
        key_of(SecretStr(secret))
