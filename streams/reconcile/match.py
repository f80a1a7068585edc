"""Matching: pure and deterministic, whatever the order of lines, payouts and commands.

A line belongs to the payout whose id it shows, or whose reference of the provider it shares: with
another line of the statement, or with a report that the provider sent. A line that bundles payouts
counts for them only if their amounts sum to its own; no amounts are tried out. What moved is
compared movement by movement: out once, and back at most once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from models import money
from models.payouts import GIVES_BACK, IN_FLIGHT, PAID, PayoutState
from rails.statement import Line, LineKind, Part
from streams.reconcile.breaks import Break, BreakKind, Clearing, Result

GRACE_MS = 60_000
"""How long a command may be on its way to its topic."""

NEVER_MS = 2**62


@dataclass(slots=True)
class Booked:
    """A payout as the ledger has it: the last state, and when its principal went through the
    rail's clearing account and came back, with the amounts that were posted there."""

    payout_id: str
    rail: str
    currency: str
    amount_minor: int
    state: PayoutState
    reserved_ms: int
    out_ms: int | None = None
    out_minor: int = 0
    back_ms: int | None = None
    back_minor: int = 0


class Commanded(NamedTuple):
    """A payout as its command has it."""

    rail: str
    currency: str
    amount_minor: int
    reserved_ms: int


class Window(NamedTuple):
    """The period that is reconciled; ``until_ms`` is the first moment behind it. What moved within
    ``margin_ms`` of an end may stand on the neighbouring statement instead."""

    since_ms: int = 0
    until_ms: int = NEVER_MS
    margin_ms: int = 0

    def covers(self, at_ms: int) -> bool:
        """Whether a time is in the period."""
        return self.since_ms <= at_ms < self.until_ms

    def expects(self, at_ms: int | None) -> bool:
        """Whether the statement has to show what moved then."""
        if at_ms is None or not self.covers(at_ms):
            return False
        # An open end has no neighbour.
        begins = self.since_ms + self.margin_ms if self.since_ms else 0
        ends = self.until_ms - self.margin_ms if self.until_ms != NEVER_MS else NEVER_MS
        return begins <= at_ms < ends


@dataclass(slots=True)
class Sides:
    """The ledger's and the commands' side. ``references``: the payouts that a reference of the
    provider stands for, as it reported them. ``commands_since_ms``: commands of payouts reserved
    before are kept no more."""

    booked: Mapping[str, Booked]
    commanded: Mapping[str, Commanded]
    references: Mapping[str, frozenset[str]] = field(default_factory=dict)
    commands_since_ms: int = 0


class _Move(NamedTuple):
    """What a line, or a part of one, says of one payout."""

    line: Line
    amount_minor: int


def reconcile(
    lines: Sequence[Line],
    sides: Sides,
    *,
    rail: str,
    window: Window,
    now_ms: int,
    outside: Sequence[Line] = (),
) -> Result:
    """Hold the lines of a rail's statement against ledger and commands.

    ``window`` is when the ledger's movements have to be on the statement; all lines are compared.
    ``outside``: lines that are not, of which only their references are learnt.
    """
    matching = _Matching(sides, rail, window, now_ms)
    matching.learn((*lines, *outside))
    for line in sorted(lines, key=_order):
        matching.place(line)
    matching.judge_moves()
    matching.judge_ledger()
    matching.judge_commands()
    return matching.result(len(lines))


def _order(line: Line) -> tuple[int, str, str, int]:
    return (line.at_ms, line.place, line.kind, line.amount_minor)


def _break_order(found: Break) -> tuple[int, int, str, str, str]:
    kinds = list(BreakKind)
    return (
        kinds.index(found.kind), found.at_ms, found.payout_id or "", found.place or "", found.detail
    )  # fmt: skip


def _left(booked: Booked) -> bool:
    """Whether the ledger knows that the money left, and may not have come back on this statement.

    A payout that waits at the provider for its recipient has left the account, and stays in flight.
    """
    if booked.state is PayoutState.RETURNED:
        return booked.out_ms is not None
    return booked.state in PAID or booked.state is PayoutState.UNCLAIMED


class _Matching:
    """One run: the moves of each payout, then what is wrong with them."""

    def __init__(self, sides: Sides, rail: str, window: Window, now_ms: int) -> None:
        self._sides = sides
        self._rail = rail
        self._window = window
        self._now_ms = now_ms
        self._known: dict[str, set[str]] = defaultdict(set)
        for reference, payouts in sides.references.items():
            self._known[reference] |= payouts
        self._moves: dict[str, list[_Move]] = defaultdict(list)
        self._in_doubt: set[str] = set()
        self._breaks: list[Break] = []
        self._fees: Counter[str] = Counter()
        self._ledger: Counter[str] = Counter()
        self._statement: Counter[str] = Counter()
        self._matched = self._edge = self._unclaimed = 0

    def learn(self, lines: Iterable[Line]) -> None:
        """Which payouts the references stand for."""
        for line in lines:
            named: list[Line | Part] = [line, *line.parts]
            for each in named:
                if each.payout_id is not None:
                    for reference in each.references:
                        self._known[reference].add(each.payout_id)

    def place(self, line: Line) -> None:
        """Give a line to its payout or payouts, or report it."""
        if line.kind is LineKind.FEE:
            self._fees[line.currency] += line.amount_minor
            return
        self._statement[line.currency] -= line.amount_minor
        if line.parts:
            self._place_parts(line)
            return
        payouts = self._payouts_of(line)
        if not payouts:
            self._break(BreakKind.NOT_IN_LEDGER, line, None, "names no payout of ours")
        elif len(payouts) == 1:
            self._moves[min(payouts)].append(_Move(line, line.amount_minor))
        else:
            self._place_batch(line, sorted(payouts))

    def _payouts_of(self, each: Line | Part) -> frozenset[str]:
        if each.payout_id is not None:
            return frozenset({each.payout_id})
        for reference in each.references:
            if payouts := self._known.get(reference):
                return frozenset(payouts)
        return frozenset()

    def _place_parts(self, line: Line) -> None:
        owners = [self._payouts_of(part) for part in line.parts]
        amounts = [
            self._amount_of(line, part, payouts)
            for part, payouts in zip(line.parts, owners, strict=True)
        ]
        total_minor = sum(amounts)
        if total_minor != line.amount_minor:
            self._in_doubt.update(*owners)
            parts = money.text(total_minor, line.currency)
            detail = f"its {len(line.parts)} payments sum to {parts}"
            self._break(BreakKind.BUNDLE_DIFFERS, line, None, detail)
            return
        for payouts, amount_minor in zip(owners, amounts, strict=True):
            if len(payouts) == 1:
                self._moves[min(payouts)].append(_Move(line, amount_minor))
            else:
                detail = "a payment of a bundle that names no payout of ours"
                self._break(BreakKind.NOT_IN_LEDGER, line, None, detail, amount_minor)

    def _amount_of(self, line: Line, part: Part, payouts: frozenset[str]) -> int:
        """What a part of a line moved; where the statement does not say it, by the ledger."""
        if part.amount_minor is not None:
            return part.amount_minor
        booked = (self._sides.booked.get(each) for each in payouts)
        sum_minor = sum(
            each.amount_minor for each in booked if each and each.currency == line.currency
        )
        return -sum_minor if line.amount_minor < 0 else sum_minor

    def _place_batch(self, line: Line, payouts: Sequence[str]) -> None:
        """A line without details whose reference stands for several payouts."""
        booked = [self._sides.booked[each] for each in payouts if each in self._sides.booked]
        total_minor = sum(each.amount_minor for each in booked)
        sign = -1 if line.amount_minor < 0 else 1
        if (
            len(booked) != len(payouts)
            or (line.count is not None and line.count != len(payouts))
            or any(each.currency != line.currency for each in booked)
            or sign * total_minor != line.amount_minor
        ):
            self._in_doubt.update(payouts)
            counted = "" if line.count is None else f", it says {line.count}"
            detail = f"its reference stands for {len(payouts)} payouts{counted}; they do not sum up"
            self._break(BreakKind.BUNDLE_DIFFERS, line, None, detail)
            return
        for each in booked:
            self._moves[each.payout_id].append(_Move(line, sign * each.amount_minor))

    def judge_moves(self) -> None:
        """Each payout that the statement shows."""
        for payout_id, moves in self._moves.items():
            booked = self._sides.booked.get(payout_id)
            if booked is None or booked.rail != self._rail:
                if booked is not None:
                    detail = f"the ledger has it on the rail {booked.rail}"
                elif payout_id in self._sides.commanded:
                    detail = "commanded, and not in the ledger"
                else:
                    detail = "neither in the ledger nor commanded"
                for move in moves:
                    self._break(BreakKind.NOT_IN_LEDGER, move.line, payout_id, detail)
            elif self._judge(booked, moves):
                self._matched += 1

    def _judge(self, booked: Booked, moves: Sequence[_Move]) -> bool:
        """Report what is wrong with a payout's moves; whether nothing is."""
        out = [move for move in moves if move.amount_minor < 0]
        back = [move for move in moves if move.amount_minor > 0]
        self._count(booked, out, back)
        before = len(self._breaks)
        foreign = [move for move in moves if move.line.currency != booked.currency]
        if foreign:
            detail = f"the ledger has {money.text(booked.amount_minor, booked.currency)}"
            self._break(BreakKind.AMOUNT_DIFFERS, foreign[0].line, booked.payout_id, detail)
        elif not self._judge_out(booked, out):
            self._judge_back(booked, back)
            self._judge_state(booked, out, back)
        self._missing(booked, bool(out), bool(back))
        return len(self._breaks) == before

    def _judge_out(self, booked: Booked, out: Sequence[_Move]) -> bool:
        """Compare what left; whether it left twice, after which no state is right."""
        total_minor = -sum(move.amount_minor for move in out)
        whole = sum(-move.amount_minor == booked.amount_minor for move in out)
        if whole > 1:
            detail = f"left {whole} times"
            self._break(BreakKind.PAID_TWICE, out[-1].line, booked.payout_id, detail)
            return True
        due_minor = booked.out_minor or booked.amount_minor
        if out and total_minor != due_minor:
            left = money.text(total_minor, booked.currency)
            detail = f"{left} left, the ledger has {money.text(due_minor, booked.currency)}"
            self._break(BreakKind.AMOUNT_DIFFERS, out[-1].line, booked.payout_id, detail)
        return False

    def _judge_back(self, booked: Booked, back: Sequence[_Move]) -> None:
        total_minor = sum(move.amount_minor for move in back)
        due_minor = booked.back_minor or booked.amount_minor
        if back and total_minor != due_minor:
            came = money.text(total_minor, booked.currency)
            detail = f"{came} came back of {money.text(due_minor, booked.currency)}"
            self._break(BreakKind.AMOUNT_DIFFERS, back[-1].line, booked.payout_id, detail)

    def _judge_state(self, booked: Booked, out: Sequence[_Move], back: Sequence[_Move]) -> None:
        state = booked.state
        if back:
            if state not in GIVES_BACK:
                detail = f"came back, the ledger has it {state}"
                self._break(BreakKind.STATE_DIFFERS, back[-1].line, booked.payout_id, detail)
        elif out and not _left(booked):
            detail = f"left, the ledger has it {state}"
            self._break(BreakKind.STATE_DIFFERS, out[-1].line, booked.payout_id, detail)

    def judge_ledger(self) -> None:
        """Payouts of the rail that the statement does not show, and those without a command."""
        for payout_id, booked in self._sides.booked.items():
            if booked.rail != self._rail:
                continue
            if payout_id not in self._moves and payout_id not in self._in_doubt:
                self._missing(booked, False, False)
                self._count(booked, (), ())
            command = self._sides.commanded.get(payout_id)
            if command is not None:
                self._judge_command(booked, command)

    def _missing(self, booked: Booked, out: bool, back: bool) -> None:
        """Report movements in the ledger that the statement should show and does not."""
        movements = (
            (out, booked.out_ms, booked.out_minor, "settled"),
            (back, booked.back_ms, -booked.back_minor, "returned"),
        )
        for shown, at_ms, amount_minor, word in movements:
            if shown or at_ms is None or not self._window.covers(at_ms):
                continue
            if not self._window.expects(at_ms):
                self._edge += 1
                continue
            detail = f"{word} in the ledger"
            self._lack(BreakKind.NOT_ON_STATEMENT, booked, at_ms, -amount_minor, detail)

    def _count(self, booked: Booked, out: Sequence[_Move], back: Sequence[_Move]) -> None:
        """Add to the ledger's side of the control total what both sides have to show."""
        if out and booked.state is PayoutState.UNCLAIMED:
            self._unclaimed += 1
            self._ledger[booked.currency] += booked.amount_minor
        if out or self._window.expects(booked.out_ms):
            self._ledger[booked.currency] += booked.out_minor
        if back or self._window.expects(booked.back_ms):
            self._ledger[booked.currency] -= booked.back_minor

    def _judge_command(self, booked: Booked, command: Commanded) -> None:
        same = (command.rail, command.currency, command.amount_minor) == (
            booked.rail,
            booked.currency,
            booked.amount_minor,
        )
        if not same and self._window.covers(booked.reserved_ms):
            detail = (
                f"reserved, and commanded as {money.text(command.amount_minor, command.currency)} "
                f"over {command.rail}"
            )
            self._lack(
                BreakKind.AMOUNT_DIFFERS, booked, booked.reserved_ms, -booked.amount_minor, detail
            )

    def judge_commands(self) -> None:
        """Commands without an entry, and entries without a command."""
        for payout_id, command in self._sides.commanded.items():
            at_ms = command.reserved_ms
            known = payout_id in self._sides.booked
            # One that the statement shows is reported there.
            if command.rail != self._rail or known or payout_id in self._moves:
                continue
            if self._due(at_ms):
                kind, detail = BreakKind.COMMAND_WITHOUT_ENTRY, "commanded, and not in the ledger"
                currency, minor = command.currency, -command.amount_minor
                self._breaks.append(Break(kind, at_ms, payout_id, None, currency, minor, detail))
        for payout_id, booked in self._sides.booked.items():
            at_ms = booked.reserved_ms
            if booked.rail != self._rail or payout_id in self._sides.commanded:
                continue
            if at_ms >= self._sides.commands_since_ms and self._due(at_ms):
                detail = "reserved, and never commanded"
                self._lack(BreakKind.NOT_COMMANDED, booked, at_ms, -booked.amount_minor, detail)

    def _due(self, at_ms: int) -> bool:
        """Whether a command of then has to be in its topic, and in the ledger."""
        return self._window.covers(at_ms) and self._now_ms - at_ms >= GRACE_MS

    def _break(
        self,
        kind: BreakKind,
        line: Line,
        payout_id: str | None,
        detail: str,
        amount_minor: int | None = None,
    ) -> None:
        """Report a line; of a part of it ``amount_minor``."""
        minor = line.amount_minor if amount_minor is None else amount_minor
        self._breaks.append(
            Break(kind, line.at_ms, payout_id, line.place, line.currency, minor, detail)
        )

    def _lack(
        self, kind: BreakKind, booked: Booked, at_ms: int, amount_minor: int, detail: str
    ) -> None:
        """Report what the ledger has and another side does not."""
        self._breaks.append(
            Break(kind, at_ms, booked.payout_id, None, booked.currency, amount_minor, detail)
        )

    def result(self, lines: int) -> Result:
        """What was found, with the control totals."""
        clearing = tuple(
            Clearing(currency, self._ledger[currency], self._statement[currency])
            for currency in sorted(self._ledger.keys() | self._statement.keys())
        )
        if not self._breaks:
            self._breaks = [
                Break(
                    BreakKind.CLEARING_DIFFERS,
                    self._now_ms,
                    None,
                    None,
                    total.currency,
                    total.difference_minor,
                    "ledger less statement",
                )
                for total in clearing
                if total.difference_minor
            ]
        return Result(
            tuple(sorted(self._breaks, key=_break_order)),
            clearing,
            lines,
            self._matched,
            sum(
                each.rail == self._rail and each.state in IN_FLIGHT
                for each in self._sides.booked.values()
            ),
            self._edge,
            self._unclaimed,
            dict(sorted(self._fees.items())),
        )
