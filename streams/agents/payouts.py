"""Payouts: commands are handed to their rail, once, and what rails answer is booked.

First Redis marks the payout as submitted, and only one caller can: whoever finds it marked leaves
it to an enquiry. So a crash between mark and call, or a call without an answer, never sends twice.
A payout is marked when its rail's gate lets it through, not before: one that waits is reserved.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Coroutine, Iterable, Mapping, Sequence
from time import perf_counter
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import Field, TypeAdapter
from pydantic_core import from_json

from models.ids import derived, shard_of_payout
from models.payouts import FailureCategory, PayoutState, enquire_after_ms
from models.published import PayoutCancel, PayoutCommand
from models.rules import transition
from models.sellers import Seller, read_seller
from rails.destination import Seal, SealError
from rails.gate import Gate
from rails.rail import Capabilities, Instruction, Outcome, Rail, failed, unknown
from rails.routing import Next, Router
from streams.engine import Batch, RawMessage
from streams.logs import seller_hash
from streams.metrics import Call, Metrics
from streams.together import Together
from streams.tracing import UNTRACED, Untraced
from streams.wallets.store import Clock, Operation
from streams.wallets.wallets import Wallets

logger = logging.getLogger(__name__)

CALL_MARGIN_MS = 5_000
"""How long after a call must have ended the payout is asked about, if nothing was heard of it."""

START_MS_MAX = CALL_MARGIN_MS // 2
"""How long after its mark a call may begin: one that began later might still be under way, or not
even there, when the payout is asked about."""

PUT_BACK_MS_MIN, PUT_BACK_MS_MAX = 5_000, 600_000
"""When a payout whose rail is not used is looked at again: once it may be, within these bounds."""

RESERVED_AS = ("amount_minor", "currency", "rail", "destination", "attempt")
"""What a command must say as it was reserved."""

CANCEL = "payout.cancel"

T = TypeVar("T")

Payout = Mapping[str, Any]
"""A payout as Redis holds it, or the command for it."""


class Answer(NamedTuple):
    """What a rail answered about a payout. ``first``: to its submission."""

    payout: Payout
    outcome: Outcome
    first: bool


class Cashier:
    """Talks to the rails about payouts, and books what they answer."""

    def __init__(
        self,
        wallets: Wallets,
        gates: Mapping[str, Gate],
        router: Router,
        seal: Seal,
        metrics: Metrics,
        *,
        clock: Clock,
        call_ms_max: int,
        traces: Untraced = UNTRACED,
    ) -> None:
        """``call_ms_max``: how long a call to a rail takes at most, in milliseconds."""
        self._wallets = wallets
        self._clock = clock
        self._gates = gates
        self._router = router
        self._seal = seal
        self._metrics = metrics
        self._traces = traces
        self._ask_ms = call_ms_max + CALL_MARGIN_MS
        self._book = Together(self._book_all)

    async def handle(self, batch: Batch) -> Coroutine[Any, Any, None]:
        """One batch of ``payouts.commands``: all of it may be done beside the next."""
        return self._handle(batch)

    async def _handle(self, batch: Batch) -> None:
        taken = [(m, command) for m in batch.messages if (command := _command(m)) is not None]
        commands = [command for _, command in taken]
        with self._traces.commands(taken):
            await self.cancel([one["payout_id"] for one in commands if one["type"] == CANCEL])
            await self.submit([one for one in commands if one["type"] != CANCEL])
        batch.ack()

    async def cancel(self, payout_ids: Sequence[str]) -> None:
        """Stop payouts that can still be stopped; where a rail has one, the rail has to do it."""
        if not payout_ids:
            return
        stored = await self._wallets.payouts(payout_ids)
        async with asyncio.TaskGroup() as calls:
            for payout in stored.values():
                if payout is not None:
                    calls.create_task(self._cancel_one(payout))

    async def _cancel_one(self, payout: Payout) -> None:
        gate = self._gates.get(payout["rail"])
        if payout["state"] == PayoutState.RESERVED:
            await self._post([payout], [_cancelled(payout)])
        elif gate is not None and cancellable(payout["state"], gate.rail.capabilities):
            outcome = await self._asked(gate, payout, "cancel")
            await self._book(Answer(payout, outcome, first=False))
        else:
            logger.warning("%s: too late to cancel", payout["state"], extra=log_fields(payout))

    async def submit(self, payouts: Sequence[Payout]) -> None:
        """Hand payouts that are reserved to their rails; leave the others alone."""
        of_rail: dict[str, list[Payout]] = defaultdict(list)
        for payout in payouts:
            of_rail[payout["rail"]].append(payout)
        async with asyncio.TaskGroup() as rails:
            for rail, some in of_rail.items():
                rails.create_task(self._submit(rail, some))

    async def _submit(self, rail: str, payouts: Sequence[Payout]) -> None:
        """As many at a time as the rail's gate lets through."""
        gate = self._gates.get(rail)
        if gate is None:
            await self._put_off(payouts, None)
            return
        gate.line_up(_ids(payouts))
        try:
            await self._submit_in_turn(gate, deque(payouts))
        finally:
            gate.step_out(_ids(payouts))

    async def _submit_in_turn(self, gate: Gate, waiting: deque[Payout]) -> None:
        async with asyncio.TaskGroup() as calls:
            while waiting:
                places = await gate.enter(len(waiting))
                if places == 0:
                    await self._put_off(list(waiting), gate)
                    return
                some = [waiting.popleft() for _ in range(places)]
                gate.step_out(_ids(some))
                calls.create_task(self._submit_some(gate, some))

    async def _submit_some(self, gate: Gate, payouts: Sequence[Payout]) -> None:
        """Payouts that the gate let through: marked in one go, then each handed over.

        A process that was stopped or starved behind the mark hands over nothing: by then the rail
        may have been asked, and have said that there is no such payout.
        """
        marked_ms = self._clock()
        mine = await self._mark(payouts)
        in_time = self._clock() - marked_ms <= START_MS_MAX
        async with asyncio.TaskGroup() as calls:
            for payout, is_mine in zip(payouts, mine, strict=True):
                if is_mine and in_time:
                    calls.create_task(self._submit_one(gate, payout))
                else:
                    gate.leave(None)

    async def _mark(self, payouts: Sequence[Payout]) -> list[bool]:
        """Mark payouts as submitted; whether each was this caller's to mark."""
        marks = [
            {
                **_step(payout, "submit", PayoutState.RESERVED, PayoutState.SUBMITTED),
                "expect": {name: payout[name] for name in RESERVED_AS},
                "ask_ms": self._ask_ms,
            }
            for payout in payouts
        ]
        return [outcome == "booked" for outcome in await self._post(payouts, marks)]

    async def _post(self, payouts: Sequence[Payout], operations: Sequence[Operation]) -> list[str]:
        """Book a step of each payout, traced; the outcomes."""
        with self._traces.posting(payouts, operations) as outcomes:
            outcomes.extend(await self._wallets.post(operations))
        return outcomes

    async def _submit_one(self, gate: Gate, payout: Payout) -> None:
        outcome: Outcome | None = None
        try:
            outcome = await self._submitted(gate.rail, payout)
        finally:
            gate.leave(outcome)
        await self._book(Answer(payout, outcome, first=True))

    async def _submitted(self, rail: Rail, payout: Payout) -> Outcome:
        try:
            instruction = self._instruction(payout)
        except SealError:
            return failed(FailureCategory.METHOD, "destination_unreadable")
        return await self._timed(rail, "submit", payout, rail.submit(instruction))

    async def _timed(
        self, rail: Rail, call: Call, payout: Payout, calling: Awaitable[Outcome]
    ) -> Outcome:
        started = perf_counter()
        with self._traces.calling(payout, rail.name, call) as answers:
            outcome = await calling
            answers.append(outcome)
        word = outcome.category or outcome.state
        self._metrics.rail_call(rail.name, call, word, perf_counter() - started)
        return outcome

    async def _put_off(self, payouts: Sequence[Payout], gate: Gate | None) -> None:
        """Payouts whose rail is not used now, and that it has never seen: on another, or later."""
        sellers = await self._sellers(payouts)
        stored = await self._wallets.payouts(_ids(payouts))
        payouts = [payout for payout in stored.values() if payout is not None]
        operations = []
        for payout in payouts:
            seller = sellers.get(payout["seller_id"])
            other = self._router.elsewhere(seller, payout) if seller is not None else None
            operations.append(
                _put_back(payout, gate) if other is None else _rerouted(payout, other)
            )
        booked = await self._post(payouts, operations)
        if stuck := _not_rerouted(payouts, operations, booked):
            await self._post(stuck, [_put_back(payout, gate) for payout in stuck])

    async def enquire(self, payouts: Sequence[Payout]) -> None:
        """Ask the rails what became of payouts that may be there.

        A question may be a submission again, under the rail's guard. So a payout whose call has not
        been heard of is marked as unknown first: a refusal of that call that comes late proves
        nothing any more.
        """
        silent = [p for p in payouts if p["state"] == PayoutState.SUBMITTED]
        payouts = [p for p in payouts if p["state"] != PayoutState.SUBMITTED]
        payouts += await self._given_up(silent)
        async with asyncio.TaskGroup() as calls:
            for payout in payouts:
                calls.create_task(self._enquire_one(payout))

    async def _enquire_one(self, payout: Payout) -> None:
        gate = self._gates.get(payout["rail"])
        if gate is None:
            outcome = unknown("rail_not_configured", payout.get("provider_ref"))
        else:
            outcome = await self._asked(gate, payout, "enquire")
        await self._book(Answer(payout, outcome, first=False))

    async def _asked(
        self, gate: Gate, payout: Payout, call: Literal["enquire", "cancel"]
    ) -> Outcome:
        """What a rail says, once one of its places for enquiries is free."""
        try:
            instruction = self._instruction(payout)
        except SealError:
            return unknown("destination_unreadable", payout.get("provider_ref"))
        ask = gate.rail.cancel if call == "cancel" else gate.rail.enquire
        async with gate.enquiries:
            return await self._timed(gate.rail, call, payout, ask(instruction))

    async def _given_up(self, payouts: Sequence[Payout]) -> list[Payout]:
        """Submitted payouts, as unknown; without those that were heard of meanwhile."""
        if not payouts:
            return []
        marks = [
            _step(payout, "silent", PayoutState.SUBMITTED, PayoutState.UNKNOWN, "no_answer")
            for payout in payouts
        ]
        marked = await self._post(payouts, marks)
        return [
            {**payout, "state": PayoutState.UNKNOWN.value}
            for payout, outcome in zip(payouts, marked, strict=True)
            if outcome == "booked"
        ]

    def _instruction(self, payout: Payout) -> Instruction:
        """A payout as its rail sees it. Raises SealError."""
        return Instruction(
            payout_id=payout["payout_id"],
            amount_minor=payout["amount_minor"],
            currency=payout["currency"],
            destination=self._seal.open(payout["seller_id"], payout["destination"]),
            seller_ref=payout["seller_id"],
            provider_ref=payout.get("provider_ref"),
            first_submitted_ms=payout.get("submitted_ms"),
            attempt=payout["attempt"],
        )

    async def _book_all(self, answers: Sequence[Answer]) -> list[None]:
        """Book answers: a proven failure as the next attempt, where there is to be one."""
        nexts = await self._nexts([one for one in answers if one.outcome.category is not None])
        operations = [
            self._booking(one)
            if (after := nexts.get(one.payout["payout_id"])) is None
            else _rerouted(one.payout, after, one)
            for one in answers
        ]
        booked = await self._post([one.payout for one in answers], operations)
        self._count(answers, booked)
        if stuck := _not_rerouted(answers, operations, booked):
            bookings = [self._booking(one) for one in stuck]
            self._count(stuck, await self._post([one.payout for one in stuck], bookings))
        return [None] * len(answers)

    def _booking(self, answer: Answer) -> Operation:
        """What a rail answered; found by its reference, if the rail's reports name nothing else."""
        gate = self._gates.get(answer.payout["rail"])
        by_ref = gate is not None and gate.rail.capabilities.reports_by_ref_only
        return _booking(answer) | ({"by_ref": True} if by_ref else {})

    def _count(self, answers: Sequence[Answer], booked: Sequence[str]) -> None:
        for one, word in zip(answers, booked, strict=True):
            if word == "ignored:contradicted":
                self._metrics.contradicted(one.payout["rail"])
        self._metrics.payouts(
            Counter(
                (one.payout["rail"], one.outcome.state)
                for one, word in zip(answers, booked, strict=True)
                if word == "booked"
            )
        )

    async def _nexts(self, failures: Sequence[Answer]) -> dict[str, Next]:
        """The next attempts behind failures, by payout. What was tried is read where it stands."""
        if not failures:
            return {}
        sellers = await self._sellers([one.payout for one in failures])
        stored = await self._wallets.payouts([one.payout["payout_id"] for one in failures])
        found: dict[str, Next] = {}
        for one in failures:
            seller, payout = sellers.get(one.payout["seller_id"]), stored[one.payout["payout_id"]]
            category = one.outcome.category
            if seller is None or payout is None or category is None:
                continue
            after = self._router.next(seller, payout, category)
            if after is not None:
                found[one.payout["payout_id"]] = after
        return found

    async def _sellers(self, payouts: Sequence[Payout]) -> dict[str, Seller]:
        look = await self._wallets.look({payout["seller_id"] for payout in payouts})
        return {
            seller_id: read_seller(seller_id, stored)
            for seller_id, stored in look.profiles.items()
            if stored is not None
        }


_COMMANDS: TypeAdapter[PayoutCommand | PayoutCancel] = TypeAdapter(
    Annotated[PayoutCommand | PayoutCancel, Field(discriminator="type")]
)


def cancellable(state: str, capabilities: Capabilities) -> bool:
    """Whether a payout that a rail has may be cancelled there: one that waits to be claimed."""
    return state == PayoutState.UNCLAIMED and capabilities.can_cancel


def log_fields(payout: Payout) -> dict[str, Any]:
    """What a log may say of a payout."""
    return {
        "payout": payout["payout_id"],
        "event": payout.get("cause"),
        "seller": seller_hash(payout["seller_id"]),
        "rail": payout["rail"],
    }


def _step(
    payout: Payout, word: str, before: PayoutState, after: PayoutState, reason: str | None = None
) -> Operation:
    """The host's own step with a payout, from one state only. ``word`` names it in the ledger."""
    operation = transition(
        derived(f"{payout['payout_id']}/{word}/{payout['attempt']}"),
        payout["payout_id"],
        after,
        reason=reason,
        attempt=payout["attempt"],
    )
    return operation | {"only_from": before.value}


def _not_rerouted(
    items: Sequence[T], operations: Sequence[Operation], booked: Sequence[str]
) -> list[T]:
    """Of those that were to have a next attempt, the ones that have none after all."""
    return [
        item
        for item, operation, word in zip(items, operations, booked, strict=True)
        if operation["op"] == "reroute" and word != "booked"
    ]


def _cancelled(payout: Payout) -> Operation:
    """A payout ends before it was ever handed to its rail."""
    return _step(payout, "cancel", PayoutState.RESERVED, PayoutState.CANCELLED, "asked_for")


def _ids(payouts: Iterable[Payout]) -> list[str]:
    return [payout["payout_id"] for payout in payouts]


def _put_back(payout: Payout, gate: Gate | None) -> Operation:
    """A payout stays reserved, and is looked at again when its rail may be used."""
    why, wait_ms = "rail_not_configured", PUT_BACK_MS_MAX
    if gate is not None:
        why = gate.breaker.why_not() or "breaker_open"
        wait_ms = min(max(gate.breaker.wait_ms(), PUT_BACK_MS_MIN), PUT_BACK_MS_MAX)
    word = f"wait/{payout.get('asked', 0)}"
    stays = _step(payout, word, PayoutState.RESERVED, PayoutState.RESERVED, why)
    return {**stays, "again": True, "ask_ms": wait_ms}


def _booking(answer: Answer) -> Operation:
    payout, outcome, first = answer
    before = PayoutState(PayoutState.SUBMITTED if first else payout["state"])
    # A rail that is silent about a payout it has accepted leaves it where it was.
    silent = outcome.state is PayoutState.UNKNOWN and before is not PayoutState.SUBMITTED
    news = not silent and outcome.state is not before
    asked = 0 if news else int(payout.get("asked", 0)) + 1
    operation = transition(
        _answer_id(answer),
        payout["payout_id"],
        outcome.state,
        provider_ref=outcome.provider_ref,
        category=outcome.category,
        reason=outcome.reason,
        attempt=payout["attempt"],
    )
    if wait_ms := enquire_after_ms(before if silent else outcome.state, asked):
        operation["ask_ms"] = wait_ms
    # The same answer as before is booked as well: it sets the time of the next enquiry.
    operation["again"] = True
    operation["hints"] = payout.get("hints", 0)
    if first and outcome.state is PayoutState.FAILED:
        operation["only_from"] = PayoutState.SUBMITTED.value
    return operation


def _rerouted(payout: Payout, after: Next, answer: Answer | None = None) -> Operation:
    """A payout's next attempt; ``answer`` is what proves that the one before has not executed."""
    operation: Operation = {
        "op": "reroute",
        "id": derived(f"{payout['payout_id']}/reroute/{payout['attempt']}"),
        "shard": shard_of_payout(payout["payout_id"]),
        "payout": payout["payout_id"],
        "attempt": payout["attempt"],
        "rail": after.rail,
        "destination": after.destination,
        "why": after.why,
        "wait_ms": after.wait_ms,
    }
    if after.day_max_minor:
        operation["day_max"] = after.day_max_minor
    if answer is not None and answer.outcome.category is not None:
        operation["category"] = answer.outcome.category.value
        operation["reason"] = answer.outcome.reason
        if answer.first:
            operation["only_from"] = PayoutState.SUBMITTED.value
    return operation


def _answer_id(answer: Answer) -> str:
    payout, state = answer.payout, answer.outcome.state
    return derived(
        f"{payout['payout_id']}/{payout['attempt']}/{state}/{payout.get('changed_ms', 0)}"
    )


def _command(message: RawMessage) -> dict[str, Any] | None:
    """The command in a message. None if there is none: nothing is lost with it, because a payout
    that is reserved and not submitted is handed to its rail when its time to be asked comes."""
    try:
        command: dict[str, Any] = from_json(message.value or b"")
        _COMMANDS.validate_python(command)
        shard_of_payout(command["payout_id"])
    except ValueError as error:
        logger.warning("no command: %s", type(error).__name__, extra=message.place)
        return None
    return command
