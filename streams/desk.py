"""The desk: what every agent of inbound events does with a batch.

Decode, decide, book, dead-letter what was refused, acknowledge. An agent brings only the decision.
Nothing here raises for a bad event: poison goes to ``dead-letters``, awaited, before the batch is
acknowledged. What does raise (Redis or Kafka gone for too long, an invariant broken) ends the
process.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any, NamedTuple, Protocol

from pydantic_core import to_json

from models.causes import CAUSE, Cause, read_cause
from models.events import body_hash, decode
from models.refusals import Reason, Refused
from streams.deadletters import dead_letter
from streams.engine import Batch, Outgoing, RawMessage
from streams.logs import seller_hash
from streams.metrics import Metrics
from streams.tracing import UNTRACED, Untraced, UntracedBatch
from streams.wallets.causes import void
from streams.wallets.store import Clock, Operation
from streams.wallets.wallets import Wallets

logger = logging.getLogger(__name__)

DECISIONS_MAX = 1_000
"""How often a batch is decided again because profiles moved under it."""


class Taken(NamedTuple):
    """A message and the event it holds."""

    message: RawMessage
    event: Any


class Settled(NamedTuple):
    """An event, the operation that was decided for it, and its outcome."""

    taken: Taken
    operation: Operation
    outcome: str


class Letter(NamedTuple):
    """A refused event's dead letter, and what a log may say of it."""

    reason: Reason
    message: Outgoing
    fields: Mapping[str, Any]


class Handled(NamedTuple):
    """A batch that is booked."""

    settled: list[Settled]
    rest: Coroutine[Any, Any, None]
    """Publishing and acknowledging, to be awaited beside the next batch."""


def earned(settled: Iterable[Settled], direction: str) -> Counter[tuple[str, str]]:
    """What sellers earned by what was booked, for the metrics: by currency and ``direction``."""
    amounts: Counter[tuple[str, str]] = Counter()
    for one in settled:
        if one.outcome == "booked" and one.operation["op"] == "earn":
            amounts[one.operation["currency"], direction] += one.operation["amount"]
    return amounts


class Decide(Protocol):
    """An agent's decision: one operation for each event, in order."""

    def __call__(self, taken: Sequence[Taken]) -> Awaitable[Sequence[Operation]]:
        """Decide."""
        ...


Send = Callable[[Sequence[Outgoing]], Awaitable[Any]]


class Desk:
    """Takes batches of inbound events through to their effects."""

    def __init__(
        self,
        wallets: Wallets,
        send: Send,
        metrics: Metrics,
        *,
        clock: Clock,
        retention_ms: int,
        traces: Untraced = UNTRACED,
    ) -> None:
        self.wallets = wallets
        self.metrics = metrics
        self.clock = clock
        self._send = send
        self._retention_ms = retention_ms
        self._traces = traces

    async def handle(self, batch: Batch, decide: Decide) -> Handled:
        """Take a batch as far as Redis; what became of each event, and what is left to do.

        Nothing is lost if the rest is not done: Redis remembers what is to be published, and the
        batch comes again.
        """
        started = perf_counter()
        taken, letters = self._decode(batch.messages)
        self.metrics.stage_took("decode", perf_counter() - started)
        taken = await self._caused(taken, letters)
        traced = self._traces.batch(batch, taken)
        settled, published = await self._book(taken, decide, traced)
        return Handled(settled, self._finish(batch, settled, letters, published, traced))

    async def _finish(
        self,
        batch: Batch,
        settled: Sequence[Settled],
        letters: list[Letter],
        published: Sequence[Awaitable[object]],
        traced: UntracedBatch,
    ) -> None:
        """See that everything is published, dead letters too, and acknowledge the batch."""
        for under_way in published:
            await under_way
        traced.published()
        refused = [one for one in settled if one.outcome.startswith("refused:")]
        letters += [
            self._letter(
                one.taken.message,
                Reason(one.outcome[8:]),
                "refused when it was booked",
                one.operation,
            )
            for one in refused
        ]
        if letters:
            await self._send([letter.message for letter in letters])
            self.metrics.dead_lettered(_told(letters))
        batch.ack()
        traced.done(settled)
        words: Counter[str] = Counter()
        for outcome, count in Counter([one.outcome for one in settled]).items():
            words[_word(outcome)] += count
        words["refused"] += len(letters) - len(refused)
        self.metrics.batch(batch.topic, words)

    def _decode(self, messages: Sequence[RawMessage]) -> tuple[list[Taken], list[Letter]]:
        now_ms, retention_ms = self.clock(), self._retention_ms
        taken: list[Taken] = []
        letters: list[Letter] = []
        for message in messages:
            try:
                event = decode(
                    message.topic, message.value, now_ms=now_ms, retention_ms=retention_ms
                )
            except Refused as refused:
                letters.append(self._letter(message, refused.reason, refused.detail))
            else:
                taken.append(Taken(message, event))
        return taken, letters

    async def _caused(self, taken: list[Taken], letters: list[Letter]) -> list[Taken]:
        """Those whose cause counts, or that have none; of the others there are letters more."""
        causes = [_cause(t.message) for t in taken]
        named = {cause for cause in causes if cause is not None}
        never = await void(self.wallets, named) if named else named
        if not never:
            return taken
        kept = []
        for t, cause in zip(taken, causes, strict=True):
            if cause is None or cause not in never:
                kept.append(t)
                continue
            detail = f"entry {cause.seq} of shard {cause.shard} never came into the ledger"
            letters.append(self._letter(t.message, Reason.CAUSE_VOID, detail))
        return kept

    def _letter(
        self, message: RawMessage, reason: Reason, detail: str, operation: Operation | None = None
    ) -> Letter:
        fields: dict[str, Any] = {**message.place, "reason": reason.value}
        if operation is not None:
            fields["event"] = operation["id"]
            if seller_id := operation.get("seller"):
                fields["seller"] = seller_hash(seller_id)
        return Letter(reason, dead_letter(message, reason, detail, self.clock()), fields)

    async def _book(
        self, taken: list[Taken], decide: Decide, traced: UntracedBatch
    ) -> tuple[list[Settled], list[Awaitable[object]]]:
        settled: list[Settled] = []
        published: list[Awaitable[object]] = []
        pending = taken
        for _ in range(DECISIONS_MAX):
            if not pending:
                return settled, published
            operations = await decide(pending)
            for t, operation in zip(pending, operations, strict=True):
                self._sourced(t, operation)
            traced.booking(pending, operations)
            started = perf_counter()
            booking = await self.wallets.book(operations)
            outcomes = booking.outcomes
            published.append(booking.published)
            self.metrics.stage_took("book", perf_counter() - started)
            traced.booked(outcomes)
            decided = list(map(Settled, pending, operations, outcomes))
            if "retry" not in outcomes:
                return (settled + decided if settled else decided), published
            settled += [one for one in decided if one.outcome != "retry"]
            pending = [one.taken for one in decided if one.outcome == "retry"]
        raise RuntimeError(f"{len(pending)} events were decided {DECISIONS_MAX} times in vain")

    def _sourced(self, taken: Taken, operation: Operation) -> None:
        """Say where the operation's event comes from, for fence, dedupe and dead letter."""
        message = taken.message
        value = message.value or b""
        operation["hash"] = body_hash(value)
        operation["topic"], operation["partition"], operation["offset"] = message[:3]
        if (reason := _WITHOUT_SALE.get(operation["op"])) is not None:
            letter = dead_letter(message, reason, "its sale never came", self.clock())
            operation["raw"] = value.decode()
            operation["headers"] = to_json(_texts(letter.headers)).decode()


def _told(letters: Sequence[Letter]) -> Counter[str]:
    """How many there are of each reason; the log has the first of each, so that a flood of bad
    events is none of lines."""
    counts: Counter[str] = Counter(letter.reason for letter in letters)
    firsts = {letter.reason: letter for letter in reversed(letters)}
    for reason, letter in firsts.items():
        logger.warning("%d dead letters, %s", counts[reason], reason.value, extra=letter.fields)
    return counts


def _cause(message: RawMessage) -> Cause | None:
    """The entry that a message follows from, if it names one."""
    for name, value in message.headers or ():
        if name == CAUSE:
            return read_cause(value)
    return None


def _texts(headers: Sequence[tuple[str, bytes | None]] | None) -> Mapping[str, str]:
    return {name: (value or b"").decode() for name, value in headers or ()}


_WITHOUT_SALE = {"reverse": Reason.RETURN_WITHOUT_SALE, "label": Reason.LABEL_WITHOUT_SALE}
"""Operations that wait for a sale, and what they are refused as if it never comes."""

_WORDS = {"booked": "booked", "parked": "waiting", "repeat": "duplicate", "stale": "stale"}


def _word(outcome: str) -> str:
    """The metric's word for an outcome."""
    return _WORDS.get(outcome) or ("refused" if outcome.startswith("refused") else "ignored")
