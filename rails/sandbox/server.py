"""The sandbox: one HTTP server in which every provider lives, with books of its own.

Beside the providers' paths: ``GET /sandbox/books`` (``?format=lines`` for one row a line),
``GET /sandbox/summary``, ``POST /sandbox/control`` (``advance_ms``, ``funded``, ``revoke_tokens``).
It is for tests, demos and fault runs, and has no authentication of its own: keep it off the net.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType

from aiohttp import web

from rails.sandbox.books import ENTRIES_MAX, Books, SandboxClock
from rails.sandbox.hooks import Hooks, Signer
from rails.sandbox.paypal import PAID, PayPalSandbox
from rails.settings import RailSettings

log = logging.getLogger(__name__)

CERT_PATH = "/v1/notifications/certs/"
CLIENT_ID = "sandbox-client"
SECRET = "sandbox-secret"  # noqa: S105 - guards nothing but the sandbox
WEBHOOK_ID = "WH-SANDBOX"
BODY_BYTES_MAX = 1024 * 1024
ROWS_A_CHUNK = 2_000
ADVANCE_MS_MAX = 400 * 86_400_000


class Sandbox:
    """A running sandbox. Leave it as a context manager or by ``close``."""

    def __init__(
        self,
        runner: web.AppRunner,
        url: str,
        *,
        books: Books,
        clock: SandboxClock,
        paypal: PayPalSandbox,
    ) -> None:
        """Take the parts; ``serve`` makes them."""
        self._runner = runner
        self.url = url
        self.books = books
        self.clock = clock
        self.paypal = paypal
        self.hooks = paypal.hooks
        self._hooking = asyncio.create_task(self.hooks.run()) if self.hooks else None

    async def close(self) -> None:
        """Stop serving; open requests are dropped."""
        if self._hooking is not None and self.hooks is not None:
            self._hooking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._hooking
            await self.hooks.close()
        await self._runner.cleanup()

    async def __aenter__(self) -> Sandbox:
        """The sandbox itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        await self.close()

    def rail_settings(self, **changes: object) -> RailSettings:
        """Settings of the PayPal rail that talk to this sandbox."""
        return sandbox_rail_settings(self.url, **changes)


def sandbox_rail_settings(url: str, **changes: object) -> RailSettings:
    """Settings of the PayPal rail for a sandbox at an address, with the built-in credentials."""
    fields: dict[str, object] = {
        "provider": "paypal",
        "base_url": url,
        "client_id": CLIENT_ID,
        "secret": SECRET,
        "webhook_id": WEBHOOK_ID,
        "webhook_cert_prefixes": (url + CERT_PATH,),
        "plain_http_allowed": True,
    }
    return RailSettings.model_validate({**fields, **changes})


class Console:
    """The sandbox's own paths: books, summary, control."""

    def __init__(self, books: Books, clock: SandboxClock, paypal: PayPalSandbox) -> None:
        """Take what they show and turn."""
        self._books = books
        self._clock = clock
        self._paypal = paypal

    def routes(self) -> list[web.RouteDef]:
        """The paths."""
        return [
            web.get("/sandbox/books", self.books),
            web.get("/sandbox/summary", self.summary),
            web.post("/sandbox/control", self.control),
            web.get("/healthz", self.health),
        ]

    async def books(self, request: web.Request) -> web.StreamResponse:
        """All rows, streamed, so that a large book needs no large buffer on either side."""
        lines = request.query.get("format") == "lines"
        response = web.StreamResponse()
        response.content_type = "application/x-ndjson" if lines else "application/json"
        await response.prepare(request)
        await response.write(b"" if lines else b'{"payouts":[\n')
        separator = "\n" if lines else ",\n"
        chunk: list[str] = []
        started = False
        for row in self._books.rows(self._clock.now_ms()):
            chunk.append(json.dumps(row, separators=(",", ":")))
            if len(chunk) >= ROWS_A_CHUNK:
                text = (separator if started else "") + separator.join(chunk)
                await response.write(text.encode())
                chunk, started = [], True
        if chunk:
            text = (separator if started else "") + separator.join(chunk)
            await response.write(text.encode())
        await response.write(b"\n" if lines else b"\n]}\n")
        await response.write_eof()
        return response

    async def summary(self, _request: web.Request) -> web.Response:
        """Counts and sums over the books."""
        statuses: Counter[str] = Counter()
        paid: Counter[str] = Counter()
        executions = paid_twice = payouts = 0
        for number, row in enumerate(self._books.rows(self._clock.now_ms()), 1):
            payouts = number
            statuses[str(row["status"])] += 1
            paid[str(row["currency"])] += int(str(row["paid_minor"]))
            executions += int(str(row["executions"]))
            paid_twice += int(str(row["paid_times"])) > 1
            if number % ROWS_A_CHUNK == 0:
                await asyncio.sleep(0)
        hooks = self._paypal.hooks
        return web.json_response(
            {
                "payouts": payouts,
                "executions": executions,
                "paid_more_than_once": paid_twice,
                "statuses": dict(statuses),
                "paid_minor": dict(paid),
                "requests": self._paypal.counts,
                "webhooks": {
                    "sent": hooks.sent if hooks else 0,
                    "dropped": hooks.dropped if hooks else 0,
                    "waiting": hooks.waiting() if hooks else 0,
                },
            }
        )

    async def control(self, request: web.Request) -> web.Response:
        """Set the clock ahead, take the sender's funds away, revoke tokens."""
        try:
            wish = await request.json()
        except ValueError:
            return web.Response(status=400)
        if not isinstance(wish, dict):
            return web.Response(status=400)
        advance_ms = wish.get("advance_ms", 0)
        if not isinstance(advance_ms, int) or not 0 <= advance_ms <= ADVANCE_MS_MAX:
            return web.Response(status=400)
        self._clock.ahead_ms += advance_ms
        self._paypal.funded = bool(wish.get("funded", self._paypal.funded))
        if wish.get("revoke_tokens"):
            self._paypal.revoke_tokens()
        return web.Response(status=204)

    async def health(self, _request: web.Request) -> web.Response:
        """Alive."""
        return web.Response(text="ok")


async def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    seed: int = 0,
    settle_delay_ms: int = 200,
    webhook_url: str | None = None,
    webhook_id: str = WEBHOOK_ID,
    public_url: str | None = None,
    client_id: str = CLIENT_ID,
    secret: str = SECRET,
    slow_ms: int = 300,
    hang_ms: int = 120_000,
    token_life_s: int = 32_400,
    fault_bp: Mapping[str, int] | None = None,
    entries_max: int = ENTRIES_MAX,
) -> Sandbox:
    """Start a sandbox; port 0 takes a free one. Serving goes on until it is closed.

    ``public_url`` is the address others reach it by, where that differs from host and port.
    ``fault_bp`` lets behaviours befall payouts at random, in basis points. Raises OSError when
    the port is taken, ValueError for an unknown behaviour.
    """
    clock = SandboxClock()
    books = Books(entries_max=entries_max, paid=PAID)
    paypal = PayPalSandbox(
        books,
        clock,
        seed=seed,
        settle_delay_ms=settle_delay_ms,
        slow_ms=slow_ms,
        hang_ms=hang_ms,
        token_life_s=token_life_s,
        client_id=client_id,
        secret=secret,
        fault_bp=fault_bp or {},
    )
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.add_routes(paypal.routes())
    app.add_routes(Console(books, clock, paypal).routes())
    if webhook_url:
        signer = await asyncio.to_thread(Signer)
        app.add_routes([web.get(CERT_PATH + signer.cert_name, _certificate(signer.pem()))])
        paypal.hooks = Hooks(webhook_url, webhook_id, signer, clock, paypal.resource)
    runner, bound_url = await _listen(app, host, port)
    url = public_url.rstrip("/") if public_url else bound_url
    if paypal.hooks is not None:
        paypal.hooks.name_certificate(url + CERT_PATH)
    return Sandbox(runner, url, books=books, clock=clock, paypal=paypal)


def _certificate(pem: bytes) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve_it(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=pem, content_type="application/x-pem-file")

    return serve_it


async def _listen(app: web.Application, host: str, port: int) -> tuple[web.AppRunner, str]:
    """The runner and its address. Raises OSError when the port is taken."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
    except OSError:
        await runner.cleanup()
        raise
    name = f"[{host}]" if ":" in host else host
    return runner, f"http://{name}:{runner.addresses[0][1]}"


def run_sandbox(
    host: str = "127.0.0.1",
    port: int = 8700,
    *,
    seed: int = 0,
    settle_delay_ms: int = 200,
    webhook_url: str | None = None,
    public_url: str | None = None,
    fault_bp: Mapping[str, int] | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM. ``on_ready`` is told the address once it listens."""

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C interrupts instead
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with await serve(
            host,
            port,
            seed=seed,
            settle_delay_ms=settle_delay_ms,
            webhook_url=webhook_url,
            public_url=public_url,
            fault_bp=fault_bp,
        ) as sandbox:
            log.info("sandbox at %s", sandbox.url)
            if on_ready is not None:
                on_ready(sandbox.url)
            await stop.wait()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())
