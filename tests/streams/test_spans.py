"""Tracing: one sale's spans from Kafka to its provider, as a collector gets them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple

import pytest
import redis
from pydantic_core import to_json

from models.shards import SHARDS
from models.traces import HEADER, Place, trace_id_of
from rails.registry import open_rails
from rails.sandbox.server import Sandbox, serve
from streams.engine import Batch
from streams.engine.counters import EngineCounters
from streams.engine.stream import Inbox
from streams.settings import SettingsError, load_settings
from streams.tracing import UNTRACED, open_traces
from tests.streams.wallets.harness import SEAL_KEYS, Company, Shard

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

EMAIL = "annabella.geheimrat@planted.example"


class Told(NamedTuple):
    """A span as the collector was told of it."""

    name: str
    trace: str
    id: str
    parent: str
    links: list[str]
    attributes: dict[str, Any]


class Collector:
    """Takes OTLP over HTTP."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        bodies = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def spans(self) -> list[Told]:
        """All of them, by when they began."""
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )

        found = []
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    found += scope.spans
        found.sort(key=lambda span: span.start_time_unix_nano)
        return [
            Told(
                span.name,
                span.trace_id.hex(),
                span.span_id.hex(),
                span.parent_span_id.hex(),
                [link.trace_id.hex() for link in span.links],
                {a.key: a.value.string_value or a.value.int_value for a in span.attributes},
            )
            for span in found
        ]

    def close(self) -> None:
        """Take no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with await serve(settle_delay_ms=0) as served:
        yield served


class Anna:
    """A seller who is paid by the sandbox, in a company that traces every event."""

    def __init__(self, company: Company, collector: Collector, traces: Any) -> None:
        self.company = company
        self.collector = collector
        self._traces = traces

    async def rest(self) -> None:
        """Take everything that waits, and look after payouts once."""
        await self.company.work()
        self.company.clock.now_ms += 60_000
        await self.company.janitor.once()
        await self.company.work()

    async def told(self, event_id: str) -> list[Told]:
        """The spans of an event's trace, once all are sent."""
        await self._traces.close()
        trace = f"{trace_id_of(event_id):032x}"
        return [span for span in self.collector.spans() if span.trace == trace]


@pytest.fixture
async def anna(
    own_broker: str, redis_url: str, client: redis.Redis, sandbox: Sandbox, collector: Collector
) -> AsyncIterator[Anna]:
    traces = open_traces(load_settings(traces_ratio=1.0, traces_url=collector.url))
    rails = open_rails({"paypal": sandbox.rail_settings("paypal", timeout_s=0.5)})
    async with Company(own_broker, redis_url, rails=rails, traces=traces) as company:
        await company.wallets.heal(range(SHARDS))
        company.publish("sellers", company.seller("anna", receiver=EMAIL))
        await company.work()
        yield Anna(company, collector, traces)
    await traces.close()
    for rail in rails.values():
        await rail.close()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    connection = redis.Redis.from_url(redis_url)
    connection.flushall()
    yield connection
    connection.flushall()
    connection.close()


def send(company: Company, event: dict[str, Any], header: str | None) -> None:
    """Publish a sale as a producer that traces."""
    headers: Any = [] if header is None else [(HEADER, header.encode())]
    company._feed.produce("sales", to_json(event), event["seller_id"].encode(), headers=headers)
    assert company._feed.flush(10) == 0


async def test_one_sale_is_one_trace_from_its_producer_to_its_provider(
    anna: Anna, client: redis.Redis, sandbox: Sandbox
) -> None:
    sale = anna.company.sale("anna", 8_000, "s1")
    producer = Place(trace_id_of(sale["id"]), 0xABC, sampled=True)
    send(anna.company, sale, producer.text())
    await anna.rest()
    [payout] = Shard(client).payouts().values()
    assert payout["state"] == "settled"
    spans = await anna.told(sale["id"])
    names = {span.id: span.name for span in spans} | {f"{producer.span_id:016x}": "the producer"}
    paths = [(span.name, names.get(span.parent, "none")) for span in spans]
    assert paths[:8] == [
        ("process sales", "the producer"),
        ("decide", "process sales"),
        ("book", "process sales"),
        ("send ledger", "process sales"),
        ("process payouts.commands", "book"),
        ("book", "process payouts.commands"),
        ("submit paypal", "process payouts.commands"),
        ("POST", "submit paypal"),
    ]
    # PayPal wants a token first, and a request more; then its answer is booked.
    rest = [path for path in paths[8:] if path != ("POST", "submit paypal")]
    assert rest[0] == ("book", "process payouts.commands")
    # What the janitor asks later has no message, but the trace of the event all the same.
    assert ("enquire paypal", "none") in rest
    assert ("GET", "enquire paypal") in rest
    of = {span.name: span.attributes for span in spans}
    assert of["process sales"]["payouts.event.id"] == sale["id"]
    assert of["process sales"]["payouts.outcome"] == "booked"
    assert of["process sales"]["messaging.destination.name"] == "sales"
    assert of["submit paypal"]["payouts.payout.id"] == payout["payout_id"]
    assert of["POST"]["http.response.status_code"] in {200, 201}
    # The update tells where it comes from as well.
    update = next(m for m in anna.company.sent if m.topic == "payouts.updates")
    [(name, header)] = update.headers or ()
    assert name == HEADER
    told = Place.parse((header or b"").decode())
    assert told is not None
    assert names[f"{told.span_id:016x}"] == "book"
    # Nothing of hers is in what was sent, nor did the provider get a header.
    everything = b"".join(anna.collector.bodies)
    assert not [word for word in (b"anna", b"geheim", b"planted") if word in everything.lower()]


async def test_a_redelivered_sale_lands_in_the_same_trace(anna: Anna) -> None:
    sale = anna.company.sale("anna", 100, "s1")
    elsewhere = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    send(anna.company, sale, elsewhere)
    send(anna.company, sale, None)
    await anna.company.work()
    first, again = [one for one in await anna.told(sale["id"]) if one.name == "process sales"]
    assert (first.parent, again.parent) == ("", "")
    # A trace of somebody else's is linked, and does not become ours.
    assert (first.links, again.links) == ([elsewhere[3:35]], [])
    outcomes = (first.attributes["payouts.outcome"], again.attributes["payouts.outcome"])
    assert outcomes == ("booked", "repeat")


async def test_a_command_that_somebody_else_published_is_still_in_the_trace(anna: Anna) -> None:
    company = anna.company
    sale = company.sale("anna", 8_000, "s1")
    company.publish("sales", sale)
    waiting = company._waiting()
    inbox = Inbox("sales", EngineCounters())
    rest = await company.agents["sales"].handle(Batch("sales", waiting, [], inbox))
    await rest
    # The worker died, and what is left of its outbox comes without the header.
    [command] = [m for m in company._waiting() if m.topic == "payouts.commands"]
    alone = command._replace(headers=None)
    inbox = Inbox("payouts.commands", EngineCounters())
    await (await company.cashier.handle(Batch("payouts.commands", [alone], [], inbox)))
    spans = {one.name: one for one in await anna.told(sale["id"])}
    assert spans["process payouts.commands"].parent == ""
    assert spans["submit paypal"].parent == spans["process payouts.commands"].id


async def test_providers_get_the_header_only_where_they_may() -> None:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from rails.watching import watching
    from streams.spans import Traces

    payout = {
        **{"payout_id": "00ab", "cause": "ev-1", "seller_id": "anna"},
        **{"rail": "paypal", "attempt": 0},
    }
    for allowed in (False, True):
        exporter = InMemorySpanExporter()
        traces = Traces(SimpleSpanProcessor(exporter), ratio=1.0, to_rails=allowed)
        with traces.calling(payout, "paypal", "submit"):
            watch = watching.get()
            assert watch is not None
            with watch("POST", "https://api.example") as seen:
                seen.status = 500
        assert list(seen.headers) == ([HEADER] if allowed else [])
        assert watching.get() is None
        assert [span.name for span in exporter.get_finished_spans()] == ["POST", "submit paypal"]
        await traces.close()


def test_off_by_default_and_then_nothing_is_imported() -> None:
    assert open_traces(load_settings()) is UNTRACED
    code = (
        "import sys\n"
        "from streams.settings import load_settings\n"
        "from streams.worker import Worker\n"
        f"Worker(load_settings(seal_keys={SEAL_KEYS!r}))\n"
        # redis-py looks for OpenTelemetry's metrics by itself, wherever it is installed.
        "assert not {'streams.spans', 'opentelemetry.sdk.trace', 'opentelemetry.exporter'}"
        " & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_the_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    monkeypatch.delitem(sys.modules, "streams.spans", raising=False)
    with pytest.raises(SettingsError, match=r"TRACES_RATIO needs .*payout-streams\[traces]"):
        open_traces(load_settings(traces_ratio=0.5))
