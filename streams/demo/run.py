"""A run: a stack, a stream of messages through it, and the proof of what came of it."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.config import load
from models.ledger import Fold
from models.plan import CommissionPlan
from streams.demo.asked import conversions_apart, purchases_apart, reinvestments_apart
from streams.demo.messages import Message
from streams.demo.oracle import expected
from streams.demo.publish import Publisher
from streams.demo.stack import Stack
from streams.demo.tally import Tally, by_currency
from streams.demo.watch import Watch
from streams.wallets.verify import Check, verify

SETTLE_MAX_S = 180.0
"""How long a run waits for the last effect after the last event was sent."""

DOWN_S = 0.5
"""How long a killed worker stays down."""

POLL_INTERVAL_S = 0.1

LATER_MS = 8 * 86_400_000
"""How far a demo puts the clocks ahead once all is booked: everything of its policy that has a time
is over by then."""

QUIET_S = 2.0
"""How long nothing may be booked then, so that nothing is due any more: some rounds of timers."""


class RunFailed(RuntimeError):
    """The pipeline did not come to rest in time; one line that says what was open."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, for people."""

    phase: str
    sent: int
    total: int
    booked: int
    entries: int
    paid: int
    dead_letters: int
    crashes: int


@dataclass(slots=True)
class Outcome:
    """What came of a run."""

    seed: int
    events_in: int
    decisions: dict[str, int]
    payouts: dict[str, int]
    by_rail: dict[str, dict[str, int]]
    """Payouts by the rail they are at, and state."""
    failed_over: dict[str, int]
    """How often a payout went on over another rail after a proven failure, as ``from to``."""
    granted: int
    unfired: int
    dead_letters: dict[str, int]
    seconds: float
    latency_ms: dict[str, float]
    crashes: int
    earned_sha256: str
    checks: tuple[Check, ...]
    sellers: int
    fold: Fold = field(repr=False)
    tally: Tally = field(repr=False)
    later: bool = False
    """Whether time was let pass at the end."""

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(check.ok for check in self.checks)

    def json(self) -> dict[str, Any]:
        """The report as the command line writes it."""
        return {
            "seed": self.seed,
            "events_in": self.events_in,
            "decisions": self.decisions,
            "payouts": self.payouts,
            "payouts_by_rail": self.by_rail,
            "failed_over": self.failed_over,
            "credits": {"granted": self.granted, "unfired": self.unfired},
            "wallets": self.tally.json(),
            "releases": {
                "held_back": self.fold.releases.held_back,
                "moved_minor": by_currency(self.fold.releases.moved),
            },
            "dead_letters": sum(self.dead_letters.values()),
            "dead_letters_by_reason": self.dead_letters,
            "events_per_s": round(self.events_in / self.seconds, 1),
            "latency_ms": self.latency_ms,
            "crashes": self.crashes,
            "earned_sha256": self.earned_sha256,
            "verify": {
                "ok": self.ok,
                "checks": [
                    {"name": check.name, "ok": check.ok, "detail": check.detail}
                    for check in self.checks
                ],
            },
        }


class Run:
    """Sends messages through a stack and waits until every one has had its effect."""

    def __init__(
        self, stack: Stack, *, seed: int, on_progress: Callable[[Progress], None] | None = None
    ) -> None:
        self.stack = stack
        self.seed = seed
        self.watch = Watch(stack.settings.kafka_client(), stack.settings.partitions)
        self.publisher = Publisher(stack.settings.kafka_client())
        self.crashes = 0
        self._on_progress = on_progress
        self._total = 0
        self._crash_at: list[int] = []
        self._start_again_at: float | None = None
        self._phase = "sending"

    def go(
        self,
        first: Iterable[Message],
        events: Iterable[Message],
        *,
        total: int,
        rate: float | None,
        crashes: int = 0,
        ahead_ms: int = 0,
    ) -> Outcome:
        """Send ``first`` (profiles) at once and ``events`` at a rate; crash the worker in between.

        At the end the clocks are put ``ahead_ms`` ahead, if at all, and what is due then is waited
        for. Raises RunFailed, StackFailed, PublishFailed.
        """
        self._total = total
        rng = random.Random(self.seed)
        share = total / (crashes + 1) if crashes else 0
        self._crash_at = [int(share * (k + rng.uniform(0.6, 1.2))) for k in range(crashes)]
        kept: list[Message] = []
        self.publisher.send(_kept(first, kept), rate=None)
        self._await_first()
        started = time.monotonic()
        self.publisher.send(
            _kept(events, kept), rate=rate, intended=self.watch.intended, on_tick=self._tick
        )
        self._phase = "settling"
        while self._crash_at or self._start_again_at is not None:
            self._tick()
            time.sleep(POLL_INTERVAL_S)
        self._rest()
        seconds = time.monotonic() - started
        if ahead_ms:
            self._phase = "letting time pass"
            self.stack.put_ahead(ahead_ms)
            self._rest(later=True)
        self._phase = "verifying"
        self._report()
        self.watch.stop()
        plan = self.stack.settings.plan
        fold = self.watch.fold
        own = (earnings_check(kept, plan, fold), spending_check(kept, plan, fold))
        checks = (*verify(self.stack.settings, whole=True).checks, *own)
        return self._outcome(seconds, checks, later=ahead_ms > 0)

    def _await_first(self) -> None:
        """Wait until the worker knows the sellers, as one that has run for a while does: what it
        has no profile of it holds, and a till is refused."""
        deadline = time.monotonic() + SETTLE_MAX_S
        while missing := self.watch.missing(self.publisher.expected):
            self.stack.check()
            if time.monotonic() > deadline:
                raise RunFailed(f"{missing} profiles not booked after {SETTLE_MAX_S:.0f} s")
            time.sleep(POLL_INTERVAL_S)

    def _tick(self) -> None:
        """Crash and revive the worker as planned, and report."""
        now = time.monotonic()
        if self._start_again_at is not None:
            if now >= self._start_again_at:
                self.stack.start_worker()
                self._start_again_at = None
        elif self._crash_at and (
            self.publisher.events >= self._crash_at[0] or self._phase == "settling"
        ):
            # Not before the one before is at work again, or it would be killed at its start.
            if self.crashes == 0 or self._working():
                self._crash_at.pop(0)
                self.stack.kill_worker()
                self.crashes += 1
                self._booked_at_crash = self.watch.fold.entries
                self._start_again_at = now + DOWN_S
        else:
            self.stack.check()
        self._report()

    def _working(self) -> bool:
        return self.watch.fold.entries > self._booked_at_crash

    def _rest(self, *, later: bool = False) -> None:
        """Wait until nothing is owed any more; ``later``, nor due."""
        deadline = time.monotonic() + SETTLE_MAX_S
        quiet_since, entries = time.monotonic(), -1
        while time.monotonic() - quiet_since < (QUIET_S if later else 3 * POLL_INTERVAL_S):
            self.stack.check()
            self._report()
            owed = self._owed(later=later)
            if owed or (later and self.watch.fold.entries != entries):
                quiet_since, entries = time.monotonic(), self.watch.fold.entries
            if time.monotonic() > deadline:
                raise RunFailed(f"not at rest after {SETTLE_MAX_S:.0f} s: {owed}")
            time.sleep(POLL_INTERVAL_S)

    def _owed(self, *, later: bool) -> str:
        """What the pipeline still has to do, in words; nothing when it is at rest."""
        watch, publisher = self.watch, self.publisher
        open_ = {
            "events without effect": watch.missing(publisher.expected),
            "commissions on their way": len(watch.fold.pending),
            "payouts without an answer": watch.unfinished(),
            "refusals missing": refusals_missing(watch, publisher),
            "promises that should be over": watch.promised() if later else 0,
        }
        if not any(open_.values()):
            # A payout that settled may still be returned: the rail says so by a webhook of its own.
            open_["webhooks on their way"] = self.stack.webhooks_waiting()
        return ", ".join(f"{count} {what}" for what, count in open_.items() if count)

    def _report(self) -> None:
        if self._on_progress is None:
            return
        watch = self.watch
        payouts = watch.payouts()
        self._on_progress(
            Progress(
                self._phase,
                self.publisher.events,
                self._total,
                watch.booked(),
                watch.fold.entries,
                payouts.get("settled", 0),
                len(watch.dead_letters),
                self.crashes,
            )
        )

    def _outcome(self, seconds: float, checks: tuple[Check, ...], *, later: bool) -> Outcome:
        watch = self.watch
        fold = watch.fold
        return Outcome(
            seed=self.seed,
            events_in=self.publisher.events,
            decisions=_counted(watch.tiers.values()),
            payouts=watch.payouts(),
            by_rail=by_rail(fold),
            failed_over=failed_over(fold),
            granted=fold.credits["granted"],
            unfired=fold.credits["unfired"],
            dead_letters=_counted(watch.dead_letters.values()),
            seconds=seconds,
            latency_ms=percentiles(watch.latencies_ms),
            crashes=self.crashes,
            earned_sha256=fold.earned_sha256(),
            checks=checks,
            sellers=len({seller for seller, _ in fold.earned}),
            fold=fold,
            tally=watch.tally,
            later=later,
        )


def earnings_check(messages: Iterable[Message], plan: Path, fold: Fold) -> Check:
    """What a plain reading of the rules gives each seller, against the ledger."""
    rules = load(plan.read_text(encoding="utf-8"), CommissionPlan, "plan.yaml")
    wanted = {
        (seller, currency): minor
        for seller, wallet in expected(messages, rules).items()
        for currency, minor in wallet.items()
    }
    found = {key: minor for key, minor in fold.earned.items() if minor}
    apart = sorted(key for key in wanted.keys() | found.keys()
                   if wanted.get(key, 0) != found.get(key, 0))  # fmt: skip
    detail = f"{len(wanted)} wallets as an independent reading of the plan has them"
    if apart:
        seller, currency = apart[0]
        detail = (
            f"{len(apart)} wallets differ, first {seller} {currency}: "
            f"{found.get(apart[0], 0)} booked, {wanted.get(apart[0], 0)} expected"
        )
    return Check("earnings equal the plan's", not apart, detail)


def spending_check(messages: Sequence[Message], plan: Path, fold: Fold) -> Check:
    """What tills and sellers asked for, against the ledger."""
    rules = load(plan.read_text(encoding="utf-8"), CommissionPlan, "plan.yaml")
    apart = [
        *purchases_apart(messages, fold),
        *reinvestments_apart(messages, rules, fold),
        *conversions_apart(messages, fold),
    ]
    detail = (
        f"{len(fold.purchases):,} purchases, {len(fold.reinvested):,} wallets that reinvest, "
        f"{len(fold.conversions.quotes):,} quotes"
    )
    if apart:
        detail = f"{len(apart)} differ, first {apart[0]}"
    return Check("wallets are used as was asked for", not apart, detail)


def refusals_missing(watch: Watch, publisher: Publisher) -> int:
    """How many bad messages are not refused yet. A good one may be refused as well, for lack of
    money."""
    bad = len(watch.dead_letters) - watch.refused(publisher.expected)
    return max(0, publisher.bad - bad)


def by_rail(fold: Fold) -> dict[str, dict[str, int]]:
    """Payouts by the rail that they went over in the end, and by state."""
    rails: dict[str, Counter[str]] = defaultdict(Counter)
    for state, rail, *_ in fold.payouts.values():
        rails[rail][state] += 1
    return {rail: dict(sorted(states.items())) for rail, states in sorted(rails.items())}


def failed_over(fold: Fold) -> dict[str, int]:
    """How often payouts went from one rail to another after a proven failure, as ``from to``."""
    return _counted(f"{one} {other}" for moves in fold.failed_over.values() for one, other in moves)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99, p99.9 and the largest, in the values' unit; nothing of nothing."""
    if not values:
        return {}
    ordered = sorted(values)
    last = len(ordered) - 1
    points = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p999": 0.999, "max": 1.0}
    return {name: round(ordered[round(last * point)], 2) for name, point in points.items()}


def _counted(words: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return dict(sorted(counts.items()))


def _kept(messages: Iterable[Message], into: list[Message]) -> Iterable[Message]:
    for message in messages:
        into.append(message)
        yield message
