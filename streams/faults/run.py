"""A fault run: a load, a plan of faults that strike while it is sent, and the proof at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from confluent_kafka import KafkaException
from redis.exceptions import RedisError

from streams.demo.apache import ApacheUnavailable
from streams.demo.company import Company, day_window
from streams.demo.embedded import EmbeddedUnavailable
from streams.demo.messages import Message
from streams.demo.publish import Publisher, PublishFailed
from streams.demo.run import (
    by_rail,
    earnings_check,
    failed_over,
    refusals_missing,
    spending_check,
)
from streams.demo.stack import StackFailed
from streams.demo.watch import Watch
from streams.faults.ends import unexplained
from streams.faults.ground import RETRY_TIMEOUT_S, Ground
from streams.faults.kinds import KINDS, SHARED, Part
from streams.faults.load import Load
from streams.faults.plan import Fault
from streams.faults.recovery import Recovery
from streams.faults.redispair import PairFailed
from streams.faults.report import Round, StruckFault, Violation
from streams.faults.strikes import STRIKES, Field, Strike
from streams.wallets.verify import Check, EvidenceMissing, verify

TICK_S = 0.02

BACKLOG_MAX = 2_000
"""Events without effect at most: the load waits for the workers."""

STUCK_MAX_S = 150.0
"""So long without any progress, and the run is given up."""

UNGROUPED_MAX_S = 90.0
"""After so long without a booking and without anyone who is given partitions, the embedded broker
is stuck: a join that is cut off it may never finish. Every session has lapsed by then."""

UNGROUPED = "the embedded broker's group forms"

REST_MAX_S = 180.0
"""How long the last effect may take after the last event was sent."""

AFTERMATH_S = RETRY_TIMEOUT_S + 70.0
"""How long after a fault a worker may still end because of it: a retry's patience, a stall's, and
the time to stop."""

AHEAD_MS = (900_000, 4_200_000, 90_000_000)
"""Steps by which all clocks are put ahead at the end, so that enquiries that were put off for an
hour or a day come at once."""

QUIET_S = 3.0
"""So long nothing may be owed or happen before a run is at rest: a janitor's round and some."""

AHEAD_AFTER_S = 6.0
"""Between two steps."""

SELLERS = 400

HARMLESS = frozenset({Part.RAIL, Part.PRODUCER})
"""Parts whose faults interrupt nothing."""

SETTLED_S = 5.0
"""How long before a fault another one must have ended to have no part in its recovery."""


_GROUND_ERRORS = (
    *(ApacheUnavailable, EmbeddedUnavailable, PairFailed, StackFailed),
    *(PublishFailed, RedisError, KafkaException),
)
"""What makes a run end early: a part could not be put back, or sending failed."""


class Progress(NamedTuple):
    """How far a run is, for people."""

    phase: str
    sent: int
    events: int
    struck: int
    faults: int
    booked: int
    restarts: int


@dataclass(slots=True)
class Struck:
    """A fault that strikes, or has."""

    fault: Fault
    at_s: float
    strike: Strike
    next_s: float
    ended_s: float | None = None


class FaultRun:
    """One run on a ground that is started."""

    def __init__(
        self,
        ground: Ground,
        *,
        seed: int,
        events: int,
        rate: float,
        sellers: int = SELLERS,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self.ground = ground
        self.seed = seed
        self._events = events
        self._sellers = sellers
        self._on_progress = on_progress
        client, partitions = ground.settings.kafka_client(), ground.settings.partitions
        self.recovery = Recovery(partitions)
        self.publisher = Publisher(client)
        self.load = Load(
            self.publisher, self.recovery, seed=seed, rate=rate, backlog_max=BACKLOG_MAX
        )
        self.watch = Watch(client, partitions, on_settled=self.load.settled)
        self._field = Field(ground, self.load)
        self._struck: list[Struck] = []
        self._violations: list[Violation] = []
        self._ends: list[str] = []
        self._phase = "striking"
        self._began = time.monotonic()
        self._ahead_ms = 0
        self._moved = (0, time.monotonic())
        self._asked_s = 0.0

    def go(self, plan: Sequence[Fault]) -> Round:
        """Send, strike, come to rest, prove. Raises nothing that a fault may lead to."""
        company = Company(self.seed, self._sellers, seal=self.ground.seal.seal, spends=True)
        start_ms, density = day_window(time.time_ns() // 1_000_000, self._events)
        self._began = time.monotonic()

        def stream() -> Iterator[Message]:
            return company.events(self._events, start_ms=start_ms, rate=density)

        self.load.start(company.profiles(start_ms), stream())
        checks: list[Check] = []
        try:
            self._send(list(plan), len(plan))
            self._phase = "settling"
            self.recovery.finish()
            self._rest()
            self._phase = "verifying"
            self._tell(len(plan))
            checks = self._prove([*company.profiles(start_ms), *stream()])
        except _Ungrouped as stuck:
            self._violate(UNGROUPED, str(stuck))
        except _GivenUp as given_up:
            self._violate("the run comes to rest", str(given_up))
        except _GROUND_ERRORS as error:
            self._violate("the ground holds", f"{type(error).__name__}: {error}")
        finally:
            self.load.stop()
            self.watch.stop()
        report = self._report(checks)
        self.ground.kept = bool(report.violations)
        return report

    def _send(self, waiting: list[Fault], planned: int) -> None:
        """Until all is sent and every fault of the plan has struck and is repaired."""
        while not (self.load.done() and not waiting and not self._open()):
            self._tick(waiting)
            self._tell(planned)
            time.sleep(TICK_S)

    def _tick(self, waiting: list[Fault]) -> None:
        """Strike what is due, go on with what is open, start workers again."""
        now = time.monotonic()
        for one in self._open():
            if now >= one.next_s:
                self._go_on(one)
        for fault in [fault for fault in waiting if fault.at <= self.load.at]:
            if self._free(KINDS[fault.kind].part):
                waiting.remove(fault)
                self._strike(fault)
        lately = {
            KINDS[one.fault.kind].part
            for one in self._struck
            if one.ended_s is None or now - one.ended_s < AFTERMATH_S
        }
        for ended in self.ground.fleet.look():
            self._ends.append(f"worker {ended.post}: {ended.code}, {ended.log[-400:]}")
            if problem := unexplained(ended, lately):
                self._violate("workers end for a reason", problem)
        self._check_progress(now)

    def _free(self, part: Part) -> bool:
        return part in SHARED or all(KINDS[one.fault.kind].part is not part for one in self._open())

    def _strike(self, fault: Fault) -> None:
        now = time.monotonic()
        one = Struck(fault, now - self._began, STRIKES[fault.kind](self._field, fault), now)
        self._struck.append(one)
        if not KINDS[fault.kind].befalls:
            self.recovery.struck(fault.number)
        self._go_on(one)

    def _go_on(self, one: Struck) -> None:
        try:
            one.next_s = time.monotonic() + next(one.strike)
        except StopIteration:
            one.ended_s = time.monotonic()

    def _open(self) -> list[Struck]:
        return [one for one in self._struck if one.ended_s is None]

    def _check_progress(self, now: float) -> None:
        """Raise when nothing moves any more."""
        entries, since = self._moved
        if self.watch.fold.entries != entries or self.load.done():
            self._moved = (self.watch.fold.entries, now)
        elif now - since > UNGROUPED_MAX_S and self.ground.embedded and self._ungrouped():
            raise _Ungrouped("no worker was given a partition any more")
        elif now - since > STUCK_MAX_S:
            raise _GivenUp(f"nothing booked for {STUCK_MAX_S:.0f} s: {self._owed()}")

    def _ungrouped(self) -> bool:
        """Whether the broker's group gives nobody anything; asked now and then."""
        now = time.monotonic()
        if now - self._asked_s < 5:
            return False
        self._asked_s = now
        return self.ground.fleet.ungrouped()

    def _rest(self) -> None:
        """Wait until nothing is owed and nothing moves any more.

        Once all events have had their effect, clocks are put ahead: for payouts that wait for
        more to come and for money that is tried again later, and further while a payout's next
        enquiry is an hour or a day away.
        """
        for post in self.ground.fleet.posts:
            post.clock.set(0)
        deadline = time.monotonic() + REST_MAX_S
        steps = list(AHEAD_MS)
        ahead_at = quiet_since = time.monotonic()
        entries = 0
        while steps == list(AHEAD_MS) or time.monotonic() - quiet_since < QUIET_S:
            self._tick([])
            self._tell(len(self._struck))
            owed = self._owed()
            now = time.monotonic()
            if now > deadline:
                raise _GivenUp(f"not at rest after {REST_MAX_S:.0f} s: {owed or 'it goes on'}")
            if owed or self.watch.fold.entries != entries:
                quiet_since, entries = now, self.watch.fold.entries
            first = len(steps) == len(AHEAD_MS)
            effected = not (self.load.owed or self.watch.fold.pending)
            if steps and effected and (first or owed) and now > ahead_at:
                self._put_ahead(steps.pop(0))
                quiet_since = time.monotonic()
                ahead_at = quiet_since + AHEAD_AFTER_S
            time.sleep(0.2)

    def _put_ahead(self, ahead_ms: int) -> None:
        """All clocks, the rail's too, so far from where they would be."""
        self.ground.order(advance_ms=ahead_ms - self._ahead_ms)
        self._ahead_ms = ahead_ms
        for post in self.ground.fleet.posts:
            post.clock.set(ahead_ms)

    def _owed(self) -> str:
        """What is still to be done, in words; nothing when all is at rest."""
        watch, publisher = self.watch, self.publisher
        open_ = {
            "events without effect": len(self.load.owed),
            "commissions on their way": len(watch.fold.pending),
            "payouts without an answer": watch.unfinished(),
            "refusals missing": refusals_missing(watch, publisher),
        }
        if not any(open_.values()):
            open_["webhooks on their way"] = self.ground.webhooks_waiting()
        return ", ".join(f"{count} {what}" for what, count in open_.items() if count)

    def _prove(self, messages: Sequence[Message]) -> list[Check]:
        settings = self.ground.settings
        try:
            checks = [*verify(settings, whole=True).checks]
        except EvidenceMissing as error:
            self._violate("verify", str(error))
            return []
        plan, fold = settings.plan, self.watch.fold
        checks += (earnings_check(messages, plan, fold), spending_check(messages, plan, fold))
        for check in checks:
            if not check.ok:
                self._violate(check.name, check.detail)
        return checks

    def _violate(self, check: str, detail: str) -> None:
        self._violations.append(Violation(self.seed, check, detail))

    def _tell(self, planned: int) -> None:
        self._on_progress(
            Progress(
                self._phase,
                self.publisher.events,
                self._events,
                len(self._struck),
                planned,
                self.watch.fold.entries,
                self.ground.fleet.restarts,
            )
        )

    def _report(self, checks: Sequence[Check]) -> Round:
        try:
            befallen = self.ground.befallen()
        except StackFailed as error:
            self._violate("the ground holds", str(error))
            befallen = {}
        apache = self.ground.apache
        return Round(
            seed=self.seed,
            kafka=f"apache, {apache.brokers} brokers" if apache else "embedded",
            events=self.publisher.events,
            seconds=time.monotonic() - self._began,
            violations=self._violations,
            checks=checks,
            payouts=self.watch.payouts(),
            by_rail=by_rail(self.watch.fold),
            failed_over=failed_over(self.watch.fold),
            befallen=befallen,
            restarts=self.ground.fleet.restarts,
            ends=self._ends,
            struck=[self._told(one) for one in self._struck],
        )

    def _told(self, one: Struck) -> StruckFault:
        recovered_s = self.recovery.seconds.get(one.fault.number)
        ended_s = one.ended_s
        return StruckFault(
            one.fault.number,
            one.fault.kind,
            one.fault.at,
            round(one.at_s, 2),
            None if ended_s is None else round(ended_s - self._began - one.at_s, 2),
            None if recovered_s is None else round(recovered_s, 2),
            recovered_s is not None and self._alone(one, recovered_s),
            self._field.lost.get(one.fault.number, 0),
        )

    def _alone(self, one: Struck, seconds: float) -> bool:
        """Whether no other part was struck between a fault and the recovery from it."""
        ends_s = one.at_s + seconds
        return not any(
            other is not one
            and KINDS[other.fault.kind].part not in HARMLESS
            and other.at_s < ends_s
            and (other.ended_s is None or other.ended_s - self._began > one.at_s - SETTLED_S)
            for other in self._struck
        )


class _GivenUp(Exception):
    """The run cannot come to an end; why, in a line."""


class _Ungrouped(Exception):
    """The embedded broker never finished a join; the run says nothing of the product."""
