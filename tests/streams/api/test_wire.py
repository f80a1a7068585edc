"""What comes over the wire that is no request: it is refused, and takes no more than it may."""

from __future__ import annotations

import asyncio
import re

import pytest

from streams.api.wire import HEAD_BYTES_MAX
from tests.streams.api.harness import Shop

HEAD = b"POST /v1/sellers/anna/redemptions HTTP/1.1\r\nHost: till\r\n"


async def sent(shop: Shop, start: bytes, more: bytes) -> tuple[int | None, int]:
    """Send a beginning that gets no end; the status, and how many bytes were taken before it.

    No status if the connection was reset while more was on its way.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", shop.api.port)
    answer = asyncio.create_task(reader.readline())
    writer.write(start)
    taken = len(start)
    try:
        while not answer.done() and taken < 100 * HEAD_BYTES_MAX:
            writer.write(more)
            taken += len(more)
            await writer.drain()
            await asyncio.sleep(0)
        return int((await asyncio.wait_for(answer, 10)).split(b" ")[1]), taken
    except ConnectionError:
        answer.cancel()
        return None, taken
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(
    ("start", "more"),
    [
        pytest.param(HEAD, b"X-Many: " + b"x" * 1_000 + b"\r\n", id="many headers"),
        pytest.param(HEAD + b"X-Long: ", b"x" * 1_000, id="a header without an end"),
        pytest.param(b"GET /", b"x" * 1_000, id="a path without an end"),
    ],
)
async def test_a_head_without_an_end_is_refused(open_shop: Shop, start: bytes, more: bytes) -> None:
    status, taken = await sent(open_shop, start, more)
    assert status in {400, None}
    # What is on its way when the connection ends lies in buffers of both sides.
    assert taken < 100 * HEAD_BYTES_MAX


async def test_trailers_without_an_end_are_refused(open_shop: Shop) -> None:
    start = HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
    status, taken = await sent(open_shop, start, b"X-Many: " + b"x" * 1_000 + b"\r\n")
    assert status in {400, 401, None}
    assert taken < 100 * HEAD_BYTES_MAX


async def test_what_is_no_http_is_refused(open_shop: Shop) -> None:
    status, _ = await sent(open_shop, b"\x16\x03\x01\x02\x00\x01\x00\x01", b"\x00" * 10)
    assert status in {400, None}


async def test_requests_on_one_connection_are_bounded_each(open_shop: Shop) -> None:
    """A till keeps its connection: what went before does not count."""
    reader, writer = await asyncio.open_connection("127.0.0.1", open_shop.api.port)
    for _ in range(5):
        padding = b"X-Pad: " + b"x" * (HEAD_BYTES_MAX // 2) + b"\r\n"
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: till\r\n" + padding + b"\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert b" 200 " in head.splitlines()[0]
        length = next(
            int(line.split(b":")[1])
            for line in head.splitlines()
            if line.lower().startswith(b"content-length")
        )
        await reader.readexactly(length)
    writer.close()


async def test_a_connection_outlives_a_pause_between_two_requests(open_shop: Shop) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", open_shop.api.port)
    try:
        # Servers close after 5 s if nobody says otherwise, and a proxy's next request is lost.
        for pause_s in (6, 0):
            writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: till\r\n\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            assert head.startswith(b"HTTP/1.1 200")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            assert length
            await reader.readexactly(int(length[1]))
            await asyncio.sleep(pause_s)
    finally:
        writer.close()
