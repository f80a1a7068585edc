"""Rails in memory with books of their own: it delays, refuses, falls silent, and tells things late.

Lies are bounded by what a host can be expected to survive: a report never claims that money left
which did not. It may be lost, doubled, late, out of order, or deny what was said before: claim a
failure, or that money came back. An enquiry tells the truth or fails. That money came back after it
had left is reported in the end: nobody asks about a payout that is settled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from models.payouts import PAID, FailureCategory, PayoutState
from rails.rail import Capabilities, Instruction, Outcome, failed, unknown
from streams.wallets.railbooks import Execution, joined

if TYPE_CHECKING:
    from tests.simulation.world import World

S = PayoutState
F = FailureCategory

NAMES = ("paypal", "bank")

CAPABILITIES = Capabilities(
    kind="simulated",
    currencies=frozenset({"EUR", "GIP"}),
    destinations=frozenset({"email"}),
    can_report_by_webhook=True,
)

ON_ITS_WAY_S_MAX = 8.0
"""How long a submission is on its way at most; of a process that is killed, some arrive later."""

Step = tuple[PayoutState, FailureCategory | None]

_LIVES: tuple[tuple[tuple[Step, ...], float], ...] = (
    (((S.ACCEPTED, None), (S.SETTLED, None)), 40),
    (((S.SETTLED, None),), 10),
    (((S.ACCEPTED, None), (S.SETTLED, None), (S.DELIVERED, None)), 6),
    (((S.ACCEPTED, None), (S.FAILED, F.METHOD)), 5),
    (((S.ACCEPTED, None), (S.FAILED, F.RECIPIENT)), 5),
    (((S.ACCEPTED, None), (S.FAILED, F.RETRYABLE)), 10),
    (((S.ACCEPTED, None), (S.UNCLAIMED, None), (S.SETTLED, None)), 4),
    (((S.ACCEPTED, None), (S.UNCLAIMED, None), (S.RETURNED, None)), 5),
    (((S.ACCEPTED, None), (S.SETTLED, None), (S.RETURNED, None)), 8),
    (((S.ACCEPTED, None), (S.CANCELLED, None)), 2),
)
_CALM: tuple[tuple[tuple[Step, ...], float], ...] = _LIVES[:1]

_DENIALS = (S.ACCEPTED, S.UNKNOWN, S.UNCLAIMED, S.FAILED, S.RETURNED, S.CANCELLED)
"""What a report may claim though it is not so."""


@dataclass(slots=True)
class _Execution:
    """What the bank did under an attempt's id."""

    rail: str
    instruction: Instruction
    reference: str
    steps: tuple[Step, ...]
    at: int = 0
    calls: set[int] = field(default_factory=set)
    """Submissions that came, by number: each further one executed again."""
    paid: bool = False
    """Whether the money ever left."""

    @property
    def state(self) -> PayoutState:
        """Where the payout stands."""
        return self.steps[self.at][0]

    def outcome(self) -> Outcome:
        """What an honest answer says."""
        state, category = self.steps[self.at]
        reason = "declined" if category else None
        return Outcome(state, self.reference, category, reason)

    def execution(self) -> Execution:
        """This attempt in the books."""
        made = self.instruction
        paid_minor = made.amount_minor if self.state in PAID else 0
        times = len(self.calls or (0,)) if self.paid else 0
        return Execution(self.rail, made.currency, made.amount_minor, paid_minor, times)


class Bank:
    """The providers' side: executions by attempt, and the reports about them."""

    def __init__(self, world: World) -> None:
        self.executions: dict[str, _Execution] = {}
        self.calm = False
        """Whether everything goes well from here on."""
        self.down_until_s = 0.0
        self.reporting = 0
        """Reports on their way."""
        self._world = world
        self._submissions = 0
        self._reports = 0
        self._may_come_s: dict[str, float] = {}

    def number(self) -> int:
        """A number for a submission."""
        self._submissions += 1
        return self._submissions

    def execute(self, rail: str, instruction: Instruction, call: int | None) -> _Execution:
        """Carry an attempt out. ``call``: the submission it came by, None under the guard.

        The guard refuses a second execution of a repeat; another submission is carried out again.
        """
        world, dice = self._world, self._world.dice
        attempt_id = instruction.attempt_id
        found = self.executions.get(attempt_id)
        if found is None:
            steps = dice.one_of(_CALM if self.calm else _LIVES)
            found = _Execution(rail, instruction, f"ref-{len(self.executions) + 1}", steps)
            self.executions[attempt_id] = found
            world.note("%s executes %s: %s", rail, attempt_id, steps[-1][0].value)
            self._entered(found)
        if call is not None and call not in found.calls:
            found.calls.add(call)
            if len(found.calls) > 1:
                world.note("%s executes %s AGAIN", rail, attempt_id)
        return found

    def expects(self, instruction: Instruction, within_s: float) -> None:
        """A submission comes within so many seconds, if it ever does."""
        self._may_come_s[instruction.attempt_id] = self._world.loop.time() + within_s

    def told(self, attempt_id: str) -> PayoutState | None:
        """What the bank's people say of an attempt; None if they cannot say it yet."""
        one = self.executions.get(attempt_id)
        if one is None:
            late = self._world.loop.time() <= self._may_come_s.get(attempt_id, 0.0)
            return None if late else S.FAILED
        if one.state in PAID:
            return S.SETTLED
        if one.state is S.RETURNED:
            return S.RETURNED
        return S.FAILED if one.state in {S.FAILED, S.CANCELLED} else None

    def books(self) -> dict[str, Execution]:
        """The books, as the host's verification reads them: all attempts of a payout together."""
        return joined(
            (one.instruction.payout_id, one.execution()) for one in self.executions.values()
        )

    def hurry(self) -> None:
        """Bring every payout to its end now."""
        for one in list(self.executions.values()):
            while one.at + 1 < len(one.steps):
                one.at += 1
                self._entered(one, go_on=False)

    def _entered(self, one: _Execution, *, go_on: bool = True) -> None:
        """A payout is in another state: it may be reported, and will not stay there."""
        one.paid = one.paid or one.state in PAID
        returned = one.state is S.RETURNED and S.SETTLED in {state for state, _ in one.steps}
        self._report(one, one.outcome(), must_come=returned)
        if go_on and one.at + 1 < len(one.steps):
            dice = self._world.dice
            self._world.loop.call_later(
                dice.choice((0.01, 0.3, 3.0)) * dice.random(), self._next, one, one.at
            )

    def _next(self, one: _Execution, at: int) -> None:
        if one.at == at:
            one.at += 1
            self._entered(one)

    def _report(self, one: _Execution, outcome: Outcome, *, must_come: bool) -> None:
        """Send a report: perhaps not, perhaps twice, perhaps late, perhaps denied afterwards."""
        dice = self._world.dice
        if not must_come and self._world.person.is_mute(one.instruction.attempt_id):
            return
        copies = 1 if self.calm else dice.one_of(((0, 20.0), (1, 65.0), (2, 15.0)))
        for _ in range(max(copies, 1) if must_come else copies):
            self._send(one, outcome)
        if not self.calm and dice.chance(0.1):
            state = dice.choice(_DENIALS)
            category = F.RETRYABLE if state is S.FAILED else None
            self._send(one, Outcome(state, one.reference, category, "a lie"))

    def _send(self, one: _Execution, outcome: Outcome) -> None:
        dice = self._world.dice
        self._reports += 1
        report = {
            "id": f"report-{self._reports}", "type": "payout.reported", "version": 1,
            "occurred_at": self._world.text(self._world.now_ms()),
            "payout_id": one.instruction.payout_id, "attempt": one.instruction.attempt,
            "rail": one.rail, "state": outcome.state.value, "provider_ref": outcome.provider_ref,
        }  # fmt: skip
        if outcome.category is not None:
            report |= {"category": outcome.category.value, "reason": outcome.reason}
        self.reporting += 1
        delay_s = dice.pause_s() if self.calm else dice.choice((0.005, 0.2, 4.0)) * dice.random()
        self._world.loop.call_later(delay_s, self._world.report, report)


class SimulatedRail:
    """The host's side: a :class:`rails.rail.Rail` of one process."""

    capabilities = CAPABILITIES

    def __init__(
        self, name: str, world: World, launch: Callable[[Callable[[], object]], Callable[[], None]]
    ):
        """``launch`` is told what is on its way, and gives back what says that it has arrived."""
        self.name = name
        self._world = world
        self._launch = launch

    async def submit(self, instruction: Instruction) -> Outcome:
        """Hand a payout to the bank."""
        world, bank = self._world, self._world.bank
        call = bank.number()
        fate = "fine" if bank.calm else world.dice.one_of(_SUBMISSIONS)
        fate = world.person.fate(fate)
        world.note("submit %s to %s: %s", instruction.attempt_id, self.name, fate)
        if fate == "not sent":
            await world.pause()
            return failed(F.RETRYABLE, "connection_refused")
        arrive = lambda: bank.execute(self.name, instruction, call)  # noqa: E731
        landed = self._launch(arrive)
        bank.expects(instruction, ON_ITS_WAY_S_MAX)
        try:
            await world.pause()
        finally:
            landed()
        late_s = world.dice.random() * 9 if fate == "late" else 0.0
        bank.expects(instruction, late_s)
        if fate == "refused":
            return failed(world.dice.choice(tuple(F)), "refused")
        if fate == "late":
            world.loop.call_later(late_s, arrive)
        elif fate != "lost":
            execution = arrive()
        await world.pause()
        if fate != "fine":
            return unknown("timed_out")
        return execution.outcome()

    async def enquire(self, instruction: Instruction) -> Outcome:
        """Ask, by a repeat under the guard where there is no reference."""
        world, bank = self._world, self._world.bank
        silent = not bank.calm and (
            world.dice.chance(0.15) or world.loop.time() < bank.down_until_s
        )
        hushed = world.person.hushes(instruction.attempt_id)
        silent = silent or (hushed and world.person.is_lost())
        world.note("enquire %s%s", instruction.attempt_id, ": silence" if silent or hushed else "")
        if hushed:
            await asyncio.sleep(world.person.slow_s())
        await world.pause()
        if silent:
            return unknown("timed_out", instruction.provider_ref)
        if instruction.provider_ref is None and instruction.first_submitted_ms is None:
            return unknown("no_submission_time")
        execution = bank.execute(self.name, instruction, None)
        await world.pause()
        if hushed:
            return unknown("timed_out", instruction.provider_ref)
        return execution.outcome()

    async def cancel(self, instruction: Instruction) -> Outcome:
        """It cannot."""
        return await self.enquire(instruction)

    async def close(self) -> None:
        """Nothing to close."""


_SUBMISSIONS = (
    ("fine", 70.0),
    ("not sent", 4.0),
    ("refused", 4.0),
    ("lost", 7.0),
    ("late", 4.0),
    ("silent", 11.0),
)
"""What becomes of a submission: ``lost`` before the bank, ``silent`` behind it."""
