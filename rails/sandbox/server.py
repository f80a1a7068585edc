"""The sandbox: one HTTP server in which every provider lives, with books of its own.

Beside the providers' paths: ``GET /sandbox/books`` (``?format=lines`` for one row a line),
``GET /sandbox/summary``, ``GET /sandbox/statement`` (``?rail=adyen``, by default PayPal's),
``POST /sandbox/control`` (``befall``, ``advance_ms``, ``funded``, ``revoke_tokens``).
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
from itertools import islice
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from aiohttp import web

from rails.registry import provider
from rails.sandbox.adyen import AdyenSandbox
from rails.sandbox.authority import Authority
from rails.sandbox.bank import BankSandbox
from rails.sandbox.befalls import Befalls
from rails.sandbox.behaviours import BEHAVIOURS
from rails.sandbox.books import ENTRIES_MAX, Books, SandboxClock
from rails.sandbox.circle import CircleSandbox
from rails.sandbox.hooks import LATE_MS, Hooks
from rails.sandbox.marqeta import MarqetaSandbox
from rails.sandbox.marqeta_push import MarqetaPushSandbox
from rails.sandbox.paypal import PayPalSandbox
from rails.sandbox.provider import Provider, Settings
from rails.sandbox.statement import written
from rails.sandbox.visa import VisaSandbox
from rails.settings import RailSettings

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 1024 * 1024
CONNECTIONS_MAX = 100_000
"""Connections that are remembered, to be counted."""

ROWS_A_CHUNK = 2_000
ADVANCE_MS_MAX = 400 * 86_400_000
NO_URLS: Mapping[str, str] = MappingProxyType({})
WISHES = ("befall", "advance_ms", "funded", "revoke_tokens")

PROVIDERS: Mapping[str, type[Provider]] = {
    one.rail: one
    for one in (
        AdyenSandbox,
        CircleSandbox,
        MarqetaSandbox,
        MarqetaPushSandbox,
        PayPalSandbox,
        VisaSandbox,
    )
}
"""The providers of the sandbox, by the name of their connector; a bank is beside them if it has a
directory."""


class Sandbox:
    """A running sandbox. Leave it as a context manager or by ``close``."""

    def __init__(
        self,
        runner: web.AppRunner,
        url: str,
        *,
        books: Books,
        clock: SandboxClock,
        providers: Mapping[str, Provider],
        tls_url: str = "",
    ) -> None:
        """Take the parts; ``serve`` makes them."""
        self._runner = runner
        self.url = url
        self.tls_url = tls_url
        self.books = books
        self.clock = clock
        self.providers = providers
        self._hooks = [one.hooks for one in providers.values() if one.hooks is not None]
        self._hooking = [asyncio.create_task(hooks.run()) for hooks in self._hooks]
        self.bank = providers.get(BankSandbox.rail)
        if isinstance(self.bank, BankSandbox):
            self._hooking.append(asyncio.create_task(self.bank.run()))

    async def close(self) -> None:
        """Stop serving; open requests are dropped."""
        for task in self._hooking:
            task.cancel()
        await asyncio.gather(*self._hooking, return_exceptions=True)
        for hooks in self._hooks:
            await hooks.close()
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

    def rail_settings(self, name: str = "paypal", **changes: object) -> RailSettings:
        """Settings of a provider's rail that talk to this sandbox."""
        return sandbox_rail_settings(self.url, name, **changes)


def sandbox_rail_settings(url: str, name: str = "paypal", **changes: object) -> RailSettings:
    """Settings of a provider's rail for a sandbox at an address, with the built-in credentials."""
    kind: type[RailSettings] = provider(name).settings
    return kind.model_validate({**PROVIDERS[name].rail_fields(url), **changes})


class Console:
    """The sandbox's own paths: books, summary, control."""

    def __init__(
        self,
        books: Books,
        clock: SandboxClock,
        befalls: Befalls,
        providers: Mapping[str, Provider],
    ) -> None:
        """Take what they show and turn."""
        self._books = books
        self._clock = clock
        self._befalls = befalls
        self._providers = tuple(providers.values())
        self._connections: set[object] = set()
        """Whence providers were called: address and port of each connection."""

    @web.middleware
    async def note_connection(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Remember the connection that a call to a provider comes on."""
        if len(self._connections) < CONNECTIONS_MAX and not request.path.startswith("/sandbox/"):
            self._connections.add(request.get_extra_info("peername"))
        return await handler(request)

    def routes(self) -> list[web.RouteDef]:
        """The paths."""
        return [
            web.get("/sandbox/books", self.books),
            web.get("/sandbox/summary", self.summary),
            web.get("/sandbox/statement", self.statement),
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
        requests: Counter[str] = Counter()
        for one in self._providers:
            requests.update(one.counts)
        hooks = [one.hooks for one in self._providers if one.hooks is not None]
        return web.json_response(
            {
                "payouts": payouts,
                "executions": executions,
                "paid_more_than_once": paid_twice,
                "statuses": dict(statuses),
                "paid_minor": dict(paid),
                "requests": dict(requests),
                "connections": len(self._connections),
                "befallen": self._befalls.happened(),
                "befalls_waiting": self._befalls.waiting(),
                "webhooks": {
                    "sent": sum(one.sent for one in hooks),
                    "dropped": sum(one.dropped for one in hooks),
                    "waiting": sum(one.waiting() for one in hooks),
                },
            }
        )

    async def statement(self, request: web.Request) -> web.StreamResponse:
        """What moved over a rail until now, as a CSV file for ``payouts reconcile``."""
        response = web.StreamResponse()
        response.content_type = "text/csv"
        await response.prepare(request)
        rail = request.query.get("rail", PayPalSandbox.rail)
        lines = written(self._books.movements(rail, self._clock.now_ms()))
        while chunk := "".join(islice(lines, ROWS_A_CHUNK)):
            await response.write(chunk.encode())
        await response.write_eof()
        return response

    async def control(self, request: web.Request) -> web.Response:
        """Order behaviours, set the clock ahead, take the sender's funds away, revoke tokens.

        All of a request or, with 400 and a line that says why, nothing of it.
        """
        try:
            wish = _wish(await request.read())
            order = self._befalls.checked(wish.get("befall", {}))
            if all(one.hooks is None for one in self._providers):
                _refuse_webhooks(order)
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        self._befalls.add(order)
        self._clock.ahead_ms += wish.get("advance_ms", 0)
        for one in self._providers:
            one.funded = wish.get("funded", one.funded)
            if wish.get("revoke_tokens"):
                one.revoke_tokens()
        return web.Response(status=204)

    async def health(self, _request: web.Request) -> web.Response:
        """Alive."""
        return web.Response(text="ok")


def _wish(data: bytes) -> dict[str, Any]:
    """What is asked of the sandbox, but for ``befall``, checked. Raises ValueError."""
    try:
        wish = json.loads(data)
    except (ValueError, RecursionError):
        wish = None
    if not isinstance(wish, dict):
        raise ValueError("not a JSON object")
    strange = sorted(set(wish) - set(WISHES))
    if strange:
        raise ValueError(f"unknown: {', '.join(strange)[:200]}; there are {', '.join(WISHES)}")
    advance_ms = wish.get("advance_ms", 0)
    if type(advance_ms) is not int or not 0 <= advance_ms <= ADVANCE_MS_MAX:
        raise ValueError(f"advance_ms is a whole number from 0 to {ADVANCE_MS_MAX}")
    for name in ("funded", "revoke_tokens"):
        if not isinstance(wish.get(name, False), bool):
            raise ValueError(f"{name} is true or false")
    return wish


def _refuse_webhooks(order: Mapping[str, int]) -> None:
    """Raise ValueError for behaviours of webhooks, where there are none that could behave so."""
    about = [name for name in order if BEHAVIOURS[name].notices is not None]
    if about:
        raise ValueError(f"without a webhook address there can be no {', '.join(about)}")


async def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    seed: int = 0,
    settle_delay_ms: int = 200,
    webhook_urls: Mapping[str, str] = NO_URLS,
    webhook_late_ms: int = LATE_MS,
    public_url: str | None = None,
    slow_ms: int = 300,
    hang_ms: int = 120_000,
    token_life_s: int = 32_400,
    fault_bp: Mapping[str, int] | None = None,
    entries_max: int = ENTRIES_MAX,
    bank_directory: Path | None = None,
    authority: Authority | None = None,
) -> Sandbox:
    """Start a sandbox; port 0 takes a free one. Serving goes on until it is closed.

    ``webhook_urls`` says where a provider's webhooks go, by its name; ``webhook_late_ms`` is how
    late those of ``webhook-late`` are.
    ``public_url`` is the address others reach it by, where that differs from host and port.
    ``bank_directory`` is where a bank's outbox and inbox are; without it there is no bank.
    ``fault_bp`` lets behaviours befall payouts at random, in basis points.
    ``authority``: serve on another free port too, with TLS, those who have a certificate that it
    has signed; the host is a numeric address then. Raises OSError when the port is taken or a
    directory cannot be made, ValueError for an unknown behaviour or provider.
    """
    clock = SandboxClock()
    books = Books(entries_max=entries_max)
    shared = Settings(seed, settle_delay_ms, slow_ms, hang_ms, fault_bp or {}, token_life_s)
    befalls = Befalls(seed)
    providers = {name: one(books, clock, befalls, shared) for name, one in PROVIDERS.items()}
    if bank_directory is not None:
        bank = BankSandbox(books, clock, befalls, shared, bank_directory, late_ms=webhook_late_ms)
        providers[bank.rail] = bank
    for name, url in webhook_urls.items():
        scribe = await asyncio.to_thread(_telling(providers, name).scribe)
        if scribe is None:
            raise ValueError(f"{name} sends no webhooks")
        providers[name].hooks = Hooks(url, scribe, clock, befalls=befalls, late_ms=webhook_late_ms)
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    for one in providers.values():
        app.add_routes(one.routes())
    console = Console(books, clock, befalls, providers)
    app.middlewares.append(console.note_connection)
    app.add_routes(console.routes())
    runner, bound_url = await _listen(app, host, port)
    tls_url = "" if authority is None else await _listen_for_clients(runner, host, authority)
    url = public_url.rstrip("/") if public_url else bound_url
    for one in providers.values():
        one.listening(url)
    return Sandbox(runner, url, books=books, clock=clock, providers=providers, tls_url=tls_url)


def _telling(providers: Mapping[str, Provider], name: str) -> Provider:
    """The provider whose webhooks are asked for. Raises ValueError."""
    if name not in providers:
        raise ValueError(f"no provider {name[:40]!r}; there are {', '.join(providers)}")
    return providers[name]


async def _listen_for_clients(runner: web.AppRunner, host: str, authority: Authority) -> str:
    """Listen with TLS for those who can prove themselves; the address."""
    context = await asyncio.to_thread(authority.server, host)
    await web.TCPSite(runner, host, 0, ssl_context=context).start()
    return f"https://{host}:{runner.addresses[-1][1]}"


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
    webhook_urls: Mapping[str, str] = NO_URLS,
    webhook_late_ms: int = LATE_MS,
    public_url: str | None = None,
    fault_bp: Mapping[str, int] | None = None,
    bank_directory: Path | None = None,
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
            webhook_urls=webhook_urls,
            webhook_late_ms=webhook_late_ms,
            public_url=public_url,
            fault_bp=fault_bp,
            bank_directory=bank_directory,
        ) as sandbox:
            log.info("sandbox at %s", sandbox.url)
            if on_ready is not None:
                on_ready(sandbox.url)
            await stop.wait()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())
