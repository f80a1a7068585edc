"""Spans: the way of sampled events, by OpenTelemetry.

Messages come by the hundred, so that a batch has no span: each sampled event has its own, with the
batch's times. What is not sampled costs a digest of its id. Names and attributes follow the
semantic conventions of messaging, databases and HTTP; ours begin with ``payouts.``. None holds
personal data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import time_ns
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from models.traces import HEADER, Place, bound_of, is_sampled, trace_id_of
from rails.rail import Outcome
from rails.watching import Seen, watching
from streams.engine import Batch, RawMessage
from streams.logs import mask, seller_hash
from streams.tracing import NO_BATCH, Untraced, UntracedBatch

if TYPE_CHECKING:
    from streams.desk import Settled, Taken
    from streams.wallets.store import Operation, OutboxEntry

Attributes = Mapping[str, str | int]
NONE: Attributes = {}

CLOSE_S = 3.0
"""How long the last spans may hold up a stop."""

_ID = b'","id":"'
"""What stands before the event's id in the head of a journal entry."""
_HEAD_BYTES = 1_024


class _Ids(RandomIdGenerator):
    """Random span ids, and for the next trace the id that follows from its event."""

    trace_id = 0

    def generate_trace_id(self) -> int:
        """The id that was set."""
        return self.trace_id


class Traces(Untraced):
    """Records the way of sampled events. All of it is called on the event loop."""

    def __init__(
        self, processor: SpanProcessor, *, ratio: float, to_rails: bool = False, group: str = ""
    ) -> None:
        """``processor`` is handed the spans. ``ratio``: the share of events, 0 to 1.
        ``to_rails``: whether providers are sent the header. ``group``: of the consumer."""
        self._ids = _Ids()
        self._provider = TracerProvider(
            # What the environment says (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES) wins.
            resource=Resource.create({"service.name": "payout-streams"}).merge(
                OTELResourceDetector().detect()
            ),
            sampler=ALWAYS_ON,  # it is decided here, before anything is made
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("payout-streams")
        self._bound = bound_of(ratio)
        self._to_rails = to_rails
        self._group = group
        self.carried: dict[bytes, bytes] = {}
        """Headers by the id of what is booked now, until it is published."""
        self._payouts: dict[str, Span] = {}
        """Payouts whose command is being worked on."""

    # Spans

    def begin(
        self,
        name: str,
        parent: Span | Place | int,
        kind: SpanKind = SpanKind.INTERNAL,
        *,
        attributes: Attributes = NONE,
        links: Sequence[Link] = (),
        at_ns: int | None = None,
    ) -> Span:
        """A span below another, or the first of a trace."""
        context = Context()
        if isinstance(parent, int):
            self._ids.trace_id = parent
        elif isinstance(parent, Place):
            context = set_span_in_context(NonRecordingSpan(_context(parent)), context)
        else:
            context = set_span_in_context(parent, context)
        return self._tracer.start_span(
            name, context, kind, attributes=attributes, links=links, start_time=at_ns
        )

    def origin(
        self, event_id: str, message: RawMessage | None
    ) -> tuple[Place | int, list[Link]] | None:
        """What a span of an event begins under, and what else led to it; None if unsampled.

        A header of the event's own trace is its parent. Of another trace it is a link: a producer's
        sampling is not ours, and one of its traces may have sent any number of events.
        """
        trace_id = trace_id_of(event_id)
        told = _told(message)
        if told is not None and told.trace_id == trace_id:
            return (told, []) if told.sampled else None
        if not is_sampled(trace_id, self._bound):
            return None
        return trace_id, [] if told is None else [Link(_context(told))]

    def process(
        self, message: RawMessage, origin: tuple[Place | int, list[Link]], about: Attributes
    ) -> Span:
        """The span of a message that was taken."""
        parent, links = origin
        return self.begin(
            f"process {message.topic}",
            parent,
            SpanKind.CONSUMER,
            links=links,
            attributes={
                "messaging.system": "kafka",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": message.topic,
                "messaging.destination.partition.id": str(message.partition),
                "messaging.kafka.offset": message.offset,
                "messaging.consumer.group.name": self._group,
                **about,
            },
        )

    def book(
        self, parent: Span | Place | int, operation: Operation, about: Attributes = NONE
    ) -> Span:
        """The span of a booking; what is published because of it will name it."""
        span = self.begin(
            "book",
            parent,
            SpanKind.CLIENT,
            attributes={
                "db.system.name": "redis",
                "db.operation.name": "FCALL",
                "payouts.operation": operation["op"],
                **about,
            },
        )
        self.carried[operation["id"].encode()] = _header(span).encode()
        return span

    # Hooks

    def batch(self, batch: Batch, taken: Sequence[Taken]) -> UntracedBatch:
        """Begin the spans of the events that are sampled."""
        spans: dict[int, Span] = {}
        for one in taken:
            event, message = one.event, one.message
            # Of most events this is all that tracing costs.
            if not message.headers and not is_sampled(trace_id_of(event.id), self._bound):
                continue
            if (origin := self.origin(event.id, message)) is None:
                continue
            about: dict[str, str | int] = {
                "messaging.batch.message_count": len(batch),
                "payouts.event.id": mask(event.id),
                "payouts.event.type": event.type,
            }
            if seller_id := getattr(event, "seller_id", None):
                about["payouts.seller.hash"] = seller_hash(seller_id)
            spans[id(message)] = self.process(message, origin, about)
        return _TracedBatch(self, spans) if spans else NO_BATCH

    def stamped(self, entries: Sequence[OutboxEntry]) -> Sequence[OutboxEntry]:
        """Add the header to what follows from bookings that are traced."""
        if not self.carried:
            return entries
        return [self._stamp(entry) for entry in entries]

    def _stamp(self, entry: OutboxEntry) -> OutboxEntry:
        value = entry.messages[0].value or b""
        at = value.find(_ID, 0, _HEAD_BYTES) + len(_ID)
        header = self.carried.get(value[at : value.find(b'"', at)])
        if header is None:
            return entry
        messages = [
            message if message.headers else message._replace(headers=[(HEADER, header)])
            for message in entry.messages
        ]
        return entry._replace(messages=messages)

    @contextmanager
    def commands(self, taken: Sequence[tuple[RawMessage, Mapping[str, Any]]]) -> Iterator[None]:
        """A span a command, for as long as it is worked on."""
        spans: dict[str, Span] = {}
        for message, command in taken:
            cause = command.get("cause")
            if cause is None or (origin := self.origin(cause, message)) is None:
                continue
            spans[command["payout_id"]] = self.process(message, origin, _about(command))
        self._payouts |= spans
        try:
            yield
        finally:
            for payout_id, span in spans.items():
                span.end()
                if self._payouts.get(payout_id) is span:
                    del self._payouts[payout_id]

    def _parent(self, payout: Mapping[str, Any]) -> Span | Place | int | None:
        """What a step of a payout is told under: its command, or alone in its event's trace."""
        if (span := self._payouts.get(payout["payout_id"])) is not None:
            return span
        cause = payout.get("cause")
        origin = None if cause is None else self.origin(cause, None)
        return None if origin is None else origin[0]

    @contextmanager
    def posting(
        self, payouts: Sequence[Mapping[str, Any]], operations: Sequence[Operation]
    ) -> Iterator[list[str]]:
        """A span a step, until it counts for ever."""
        spans: list[tuple[int, Span]] = []
        for i, (payout, operation) in enumerate(zip(payouts, operations, strict=True)):
            if (parent := self._parent(payout)) is not None:
                state: str = operation.get("state") or operation["op"]
                spans.append(
                    (i, self.book(parent, operation, {"payouts.state": state, **_about(payout)}))
                )
        outcomes: list[str] = []
        try:
            yield outcomes
        finally:
            for i, span in spans:
                if outcomes:
                    span.set_attribute("payouts.outcome", outcomes[i])
                span.end()
                self.carried.pop(operations[i]["id"].encode(), None)

    @contextmanager
    def calling(self, payout: Mapping[str, Any], rail: str, call: str) -> Iterator[list[Outcome]]:
        """A span of the call, and one of each HTTP request in it."""
        answers: list[Outcome] = []
        if (parent := self._parent(payout)) is None:
            yield answers
            return
        span = self.begin(f"{call} {rail}", parent, attributes=_about(payout))

        @contextmanager
        def watch(method: str, address: str) -> Iterator[Seen]:
            with self._request(span, method, address) as seen:
                yield seen

        token = watching.set(watch)
        try:
            yield answers
        finally:
            watching.reset(token)
            for outcome in answers:
                span.set_attribute("payouts.state", outcome.state.value)
                if outcome.category is not None:
                    span.set_attribute("payouts.category", outcome.category.value)
                    span.set_status(Status(StatusCode.ERROR, outcome.category.value))
            span.end()

    @contextmanager
    def _request(self, parent: Span, method: str, address: str) -> Iterator[Seen]:
        parts = urlsplit(address)
        span = self.begin(
            method,
            parent,
            SpanKind.CLIENT,
            attributes={
                "http.request.method": method,
                "server.address": parts.hostname or "",
                "server.port": parts.port or (443 if parts.scheme == "https" else 80),
            },
        )
        seen = Seen({HEADER: _header(span)} if self._to_rails else {})
        try:
            yield seen
        except Exception as error:
            # Its class only: the message of some has the address in it.
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
        finally:
            if seen.status is not None:
                span.set_attribute("http.response.status_code", seen.status)
                if seen.status >= 400:
                    span.set_status(Status(StatusCode.ERROR, str(seen.status)))
            span.end()

    async def close(self) -> None:
        """Send off what is recorded, within :data:`CLOSE_S`."""
        closing = asyncio.get_running_loop().run_in_executor(None, self._provider.shutdown)
        await asyncio.wait([closing], timeout=CLOSE_S)


class _TracedBatch(UntracedBatch):
    """The sampled events of a batch: the span of each, by its message."""

    def __init__(self, traces: Traces, spans: Mapping[int, Span]) -> None:
        self._traces = traces
        self._spans = spans
        self._decided_from_ns = time_ns()
        self._booking: list[tuple[int, Span, Span]] = []
        self._publishing: list[Span] = []
        self._carried: list[bytes] = []

    def booking(self, pending: Sequence[Taken], operations: Sequence[Operation]) -> None:
        """Events are decided, and their bookings begin."""
        self._booking = []
        for i, (one, operation) in enumerate(zip(pending, operations, strict=True)):
            if (span := self._spans.get(id(one.message))) is None:
                continue
            self._traces.begin("decide", span, at_ns=self._decided_from_ns).end()
            self._booking.append((i, span, self._traces.book(span, operation)))
            self._carried.append(operation["id"].encode())

    def booked(self, outcomes: Sequence[str]) -> None:
        """Bookings end; of those that count, publishing begins."""
        self._decided_from_ns = time_ns()
        for i, span, book in self._booking:
            book.set_attribute("payouts.outcome", _word(outcomes[i]))
            book.end()
            if outcomes[i] != "retry":
                self._publishing.append(
                    self._traces.begin(
                        "send ledger",
                        span,
                        SpanKind.PRODUCER,
                        attributes={
                            "messaging.system": "kafka",
                            "messaging.operation.name": "send",
                            "messaging.operation.type": "send",
                            "messaging.destination.name": "ledger",
                        },
                    )
                )

    def published(self) -> None:
        """Publishing ends."""
        for span in self._publishing:
            span.end()
        for event_id in self._carried:
            self._traces.carried.pop(event_id, None)

    def done(self, settled: Iterable[Settled]) -> None:
        """The messages are done with."""
        for one in settled:
            if (span := self._spans.get(id(one.taken.message))) is None:
                continue
            word = _word(one.outcome)
            span.set_attribute("payouts.outcome", word)
            if word.startswith("refused"):
                span.set_status(Status(StatusCode.ERROR, word))
            span.end()


def exporting(url: str, *, ratio: float, to_rails: bool, group: str) -> Traces:
    """Traces that go to a collector by OTLP over HTTP; without ``url``, to where OTEL_* says."""
    endpoint = f"{url.rstrip('/')}/v1/traces" if url else None
    processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint))
    return Traces(processor, ratio=ratio, to_rails=to_rails, group=group)


def _context(place: Place) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if place.sampled else TraceFlags.DEFAULT)
    return SpanContext(place.trace_id, place.span_id, is_remote=True, trace_flags=flags)


def _header(span: Span) -> str:
    context = span.get_span_context()
    return Place(context.trace_id, context.span_id, sampled=True).text()


def _told(message: RawMessage | None) -> Place | None:
    """The span that a message's header names."""
    for name, value in (message.headers if message is not None else None) or ():
        if name.lower() == HEADER and value is not None:
            return Place.parse(value.decode("latin-1"))
    return None


def _about(payout: Mapping[str, Any]) -> Attributes:
    return {
        "payouts.payout.id": payout["payout_id"],
        "payouts.seller.hash": seller_hash(payout["seller_id"]),
        "payouts.rail": payout["rail"],
        "payouts.attempt": payout["attempt"],
    }


def _word(outcome: str) -> str:
    """An outcome without what it holds; a refusal with its code."""
    word, _, rest = outcome.partition(":")
    return f"refused:{rest}" if word == "refused" else word
