"""What happens on the wire, and what is known of a request when something goes wrong there."""

import asyncio
import gzip
import inspect
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import aiohttp.client_exceptions
import pytest
from aiohttp import web

from rails.http import ANSWER_BYTES_MAX, FATES, CallFailed, Fate, fate_of
from rails.paypal import client as client_module
from rails.paypal.client import PayPalClient
from rails.sandbox.server import Sandbox, sandbox_rail_settings, serve

BOMB = gzip.compress(b" " * 5_000_000)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """A provider that answers as a test says."""

    def __init__(self) -> None:
        self.url = ""
        self.tokens = 0
        self.life_s: object = 3600
        self.token_status = 200
        self.token_value: object = "token"
        self.calls: list[web.Request] = []
        self.peers: set[object] = set()
        self.handler: Handler = self._fine
        self.busy = self.busiest = 0

    async def _fine(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response({"fine": True})

    async def token(self, _request: web.Request) -> web.StreamResponse:
        self.tokens += 1
        await asyncio.sleep(0.02)
        body = {"access_token": self.token_value, "expires_in": self.life_s}
        return web.json_response(body, status=self.token_status)

    async def call(self, request: web.Request) -> web.StreamResponse:
        self.calls.append(request)
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername"))
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            return await self.handler(request)
        finally:
            self.busy -= 1


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    scripted = Server()
    app = web.Application()
    app.router.add_post("/v1/oauth2/token", scripted.token)
    app.router.add_route("*", "/{path:.*}", scripted.call)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    scripted.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield scripted
    await runner.cleanup()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[PayPalClient]:
    settings = sandbox_rail_settings(server.url, timeout_s=0.6, concurrency=8)
    opened = PayPalClient(settings)
    yield opened
    await opened.close()


async def _fate(client: PayPalClient) -> tuple[Fate, str]:
    with pytest.raises(CallFailed) as caught:
        await client.create_batch(b"{}")
    return caught.value.fate, caught.value.reason


class TestFates:
    def test_every_error_class_of_aiohttps_client_has_a_row(self) -> None:
        public = {**vars(aiohttp), **vars(aiohttp.client_exceptions)}
        errors = {
            found
            for found in public.values()
            if inspect.isclass(found) and issubclass(found, aiohttp.ClientError)
        }
        assert len(errors) > 20
        # One that came with a later version of aiohttp may be decided by its base.
        new = {aiohttp.ClientError, getattr(aiohttp, "UploadAbortedError", aiohttp.ClientError)}
        assert errors - {*FATES} - new == set()

    def test_not_sent_only_before_the_request(self) -> None:
        not_sent = {error for error, fate in FATES.items() if fate is Fate.NOT_SENT}
        before = (
            aiohttp.ClientConnectorError,
            aiohttp.ClientHttpProxyError,
            aiohttp.ServerFingerprintMismatch,
            aiohttp.ConnectionTimeoutError,
            aiohttp.InvalidURL,
            aiohttp.NonHttpUrlClientError,
        )
        assert all(issubclass(error, before) for error in not_sent)

    @pytest.mark.parametrize("kind", [RuntimeError, ValueError, KeyError, ConnectionResetError])
    def test_what_nobody_thought_of_is_unknown(self, kind: type[Exception]) -> None:
        assert fate_of(kind()) is Fate.UNKNOWN

    def test_a_redirect_error_is_not_taken_for_its_other_base(self) -> None:
        error = aiohttp.InvalidUrlRedirectClientError("http://x", "y")
        assert fate_of(error) is Fate.SENT


class TestTrouble:
    async def test_nobody_listens(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            client = PayPalClient(sandbox_rail_settings(url))
            assert await _fate(client) == (Fate.NOT_SENT, "token_ClientConnectorError")
            await client.close()

    async def test_no_such_host(self) -> None:
        client = PayPalClient(sandbox_rail_settings("http://nosuch.invalid", timeout_s=3))
        assert (await _fate(client))[0] is Fate.NOT_SENT
        await client.close()

    async def test_no_tls_where_it_should_be(self, server: Server) -> None:
        url = server.url.replace("http", "https")
        client = PayPalClient(sandbox_rail_settings(url))
        assert (await _fate(client))[0] is Fate.NOT_SENT
        await client.close()
        assert server.tokens == 0

    async def test_silence(self, server: Server, client: PayPalClient) -> None:
        async def silent(_request: web.Request) -> web.StreamResponse:
            await asyncio.sleep(5)
            return web.Response()

        server.handler = silent
        assert (await _fate(client))[0] is Fate.UNKNOWN
        assert len(server.calls) == 1

    async def test_a_reset(self, server: Server, client: PayPalClient) -> None:
        async def reset(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        server.handler = reset
        assert (await _fate(client))[0] is Fate.UNKNOWN
        # A POST is never sent again by itself.
        assert len(server.calls) == 1

    async def test_a_reset_within_the_answer(self, server: Server, client: PayPalClient) -> None:
        async def half(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Length": "100"})
            await response.prepare(request)
            await response.write(b'{"half": ')
            assert request.transport is not None
            request.transport.abort()
            return response

        server.handler = half
        assert (await _fate(client))[0] in {Fate.SENT, Fate.UNKNOWN}

    @pytest.mark.parametrize("size", [ANSWER_BYTES_MAX, ANSWER_BYTES_MAX + 1])
    async def test_the_size_of_an_answer(
        self, server: Server, client: PayPalClient, size: int
    ) -> None:
        async def large(_request: web.Request) -> web.StreamResponse:
            return web.Response(body=b'"' + b"x" * (size - 2) + b'"')

        server.handler = large
        if size <= ANSWER_BYTES_MAX:
            assert (await client.create_batch(b"{}")).body == "x" * (size - 2)
        else:
            assert await _fate(client) == (Fate.SENT, "answer_too_large")

    async def test_a_compressed_answer_is_not_unpacked(
        self, server: Server, client: PayPalClient
    ) -> None:
        async def bomb(_request: web.Request) -> web.StreamResponse:
            return web.Response(body=BOMB, headers={"Content-Encoding": "gzip"})

        server.handler = bomb
        assert (await client.create_batch(b"{}")).body is None

    @pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe", b"[" * 100_000, b'{"a":1'])
    async def test_what_is_not_json_is_an_answer_without_a_body(
        self, server: Server, client: PayPalClient, body: bytes
    ) -> None:
        async def odd(_request: web.Request) -> web.StreamResponse:
            return web.Response(status=502, body=body)

        server.handler = odd
        answer = await client.create_batch(b"{}")
        assert (answer.status, answer.body) == (502, None)

    async def test_a_redirect_is_not_followed(self, server: Server, client: PayPalClient) -> None:
        async def elsewhere(_request: web.Request) -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": "/v1/elsewhere"})

        server.handler = elsewhere
        assert (await client.create_batch(b"{}")).status == 307
        assert len(server.calls) == 1

    async def test_no_float_comes_out_of_an_answer(
        self, server: Server, client: PayPalClient
    ) -> None:
        async def floats(_request: web.Request) -> web.StreamResponse:
            return web.Response(body=b'{"value": 10.10}')

        server.handler = floats
        assert (await client.create_batch(b"{}")).body == {"value": "10.10"}


class TestToken:
    async def test_many_callers_fetch_it_once(self, server: Server, client: PayPalClient) -> None:
        await asyncio.gather(*(client.show_batch("X") for _ in range(50)))
        assert server.tokens == 1
        assert len(server.calls) == 50

    async def test_a_caller_who_gives_up_does_not_take_it_along(
        self, server: Server, client: PayPalClient
    ) -> None:
        first = asyncio.create_task(client.show_batch("X"))
        await asyncio.sleep(0.005)
        second = asyncio.create_task(client.show_batch("X"))
        await asyncio.sleep(0.005)
        first.cancel()
        assert (await second).status == 200
        assert server.tokens == 1

    async def test_one_failure_answers_all_who_wait(
        self, server: Server, client: PayPalClient
    ) -> None:
        server.token_status = 503
        waiting = [asyncio.create_task(_fate(client)) for _ in range(8)]
        fates = await asyncio.gather(*waiting)
        assert set(fates) == {(Fate.NOT_SENT, "token_http_503")}
        assert server.tokens == 1
        assert server.calls == []

    @pytest.mark.parametrize("value", [None, "", 5, "x" * 10_000, "é"])
    async def test_an_unreadable_one_is_no_token(
        self, server: Server, client: PayPalClient, value: object
    ) -> None:
        server.token_value = value
        assert (await _fate(client))[0] is Fate.NOT_SENT
        assert server.calls == []

    @pytest.mark.parametrize("life_s", [None, "3600", 1.5])
    async def test_its_life_must_be_readable(
        self, server: Server, client: PayPalClient, life_s: object
    ) -> None:
        server.life_s = life_s
        assert (await _fate(client))[1] == "token_unreadable"

    async def test_it_is_renewed_when_it_ends(self, server: Server, client: PayPalClient) -> None:
        server.life_s = 0
        for _ in range(3):
            await client.show_batch("X")
        assert server.tokens == 3

    async def test_it_is_renewed_once_when_it_is_revoked(
        self, server: Server, client: PayPalClient
    ) -> None:
        async def refuse_first(_request: web.Request) -> web.StreamResponse:
            return web.json_response({}, status=401 if len(server.calls) == 1 else 200)

        server.handler = refuse_first
        assert (await client.create_batch(b"{}")).status == 200
        assert (server.tokens, len(server.calls)) == (2, 2)

    async def test_a_second_401_is_the_answer(self, server: Server, client: PayPalClient) -> None:
        async def refuse(_request: web.Request) -> web.StreamResponse:
            return web.json_response({}, status=401)

        server.handler = refuse
        assert (await client.create_batch(b"{}")).status == 401
        assert (server.tokens, len(server.calls)) == (2, 2)


class TestConnections:
    async def test_they_are_reused_and_bounded(self, server: Server, client: PayPalClient) -> None:
        async def short(_request: web.Request) -> web.StreamResponse:
            await asyncio.sleep(0.005)
            return web.json_response({})

        server.handler = short
        await asyncio.gather(*(client.show_batch("X") for _ in range(100)))
        assert server.busiest == 8
        assert len(server.peers) <= 9

    async def test_closed_means_not_sent(self, server: Server, client: PayPalClient) -> None:
        await client.show_batch("X")
        await client.close()
        assert await _fate(client) == (Fate.NOT_SENT, "closed")

    async def test_what_is_sent(self, server: Server, client: PayPalClient) -> None:
        await client.create_batch({"note": "é"})
        (request,) = server.calls
        assert request.headers["Authorization"] == "Bearer token"
        assert request.headers["Content-Type"] == "application/json"
        # PayPal keeps answers under this header, errors too: a repeat must not get an old one.
        assert "PayPal-Request-Id" not in request.headers


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with await serve() as served:
        yield served


async def test_against_the_sandbox_a_revoked_token_is_no_trouble(sandbox: Sandbox) -> None:
    client = PayPalClient(sandbox.rail_settings())
    assert (await client.show_batch("X")).status == 404
    sandbox.providers["paypal"].revoke_tokens()
    assert (await client.show_batch("X")).status == 404
    assert sandbox.providers["paypal"].counts["token"] == 2
    await client.close()


def test_the_module_names_its_bounds() -> None:
    assert client_module.TOKEN_EARLY_S > 0
    assert client_module.TOKEN_LIFE_S_MAX >= 9 * 3600
