"""Matching: a true statement has no breaks, whatever its form; each fault has its break."""

from __future__ import annotations

import random
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.payouts import IN_FLIGHT, PayoutState
from rails.circle.mapping import payout_key
from rails.statement import Line, LineKind, Part
from streams.reconcile.breaks import DAY_MS, BreakKind, Clearing, Result, bucket
from streams.reconcile.evidence import keys_shown
from streams.reconcile.match import Booked, Commanded, Sides, Window, reconcile

NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000
S = PayoutState


def payout_id(number: int) -> str:
    return str(UUID(int=number << 80 | 0x5000_8000_0000_0000_0000, version=None))


def booked(number: int, state: PayoutState = S.SETTLED, minor: int = 1_000, **fields) -> Booked:
    """A payout of some days ago, posted as its state says."""
    at_ms = NOW_MS - 3 * DAY_MS
    found = Booked(payout_id(number), "paypal", "EUR", minor, state, at_ms)
    if state in {S.SETTLED, S.DELIVERED, S.RETURNED}:
        found.out_ms, found.out_minor = at_ms + 1_000, minor
    if state is S.RETURNED:
        found.back_ms, found.back_minor = at_ms + HOUR_MS, minor
    return replace(found, **fields)


def out(payout: Booked, number: int = 1, **fields) -> Line:
    line = Line(
        f"line {number}", LineKind.PAYOUT, payout.reserved_ms + 2_000, payout.currency,
        -payout.amount_minor, payout.payout_id, (f"T{number}",),
    )  # fmt: skip
    return replace(line, **fields)


def back(payout: Booked, number: int = 2, **fields) -> Line:
    return out(
        payout, number, kind=LineKind.RETURN, amount_minor=payout.amount_minor,
        at_ms=payout.reserved_ms + HOUR_MS, **fields,
    )  # fmt: skip


def sides(*payouts: Booked, references: dict[str, frozenset[str]] | None = None) -> Sides:
    """A ledger in which everything was commanded."""
    return Sides(
        {each.payout_id: each for each in payouts},
        {
            each.payout_id: Commanded(each.rail, each.currency, each.amount_minor, each.reserved_ms)
            for each in payouts
        },
        references or {},
    )


def run(lines: list[Line], ledger: Sides, window: Window = Window()) -> Result:  # noqa: B008
    return reconcile(lines, ledger, rail="paypal", window=window, now_ms=NOW_MS)


def kinds(result: Result) -> list[BreakKind]:
    return [each.kind for each in result.breaks]


class TestWithoutBreaks:
    def test_one_payout_is_one_line(self) -> None:
        payout = booked(1)
        result = run([out(payout)], sides(payout))
        assert not result.breaks
        assert (result.matched, result.lines) == (1, 1)
        assert result.clearing == (Clearing("EUR", 1_000, 1_000),)

    def test_a_return_pairs_with_its_payout(self) -> None:
        payout = booked(1, S.RETURNED)
        result = run([out(payout), back(payout)], sides(payout))
        assert not result.breaks
        assert result.clearing == (Clearing("EUR", 0, 0),)

    def test_a_return_that_shows_only_the_reference_of_its_payout(self) -> None:
        payout = booked(1, S.RETURNED)
        line = back(payout, payout_id=None, references=("T2", "T1"))
        assert not run([line, out(payout)], sides(payout)).breaks

    def test_a_reference_that_the_provider_reported(self) -> None:
        payout = booked(1)
        line = out(payout, payout_id=None, references=("T9", "BATCH"))
        ledger = sides(payout, references={"BATCH": frozenset({payout.payout_id})})
        assert not run([line], ledger).breaks

    @pytest.mark.parametrize("attempt", ["", ".1", ".7"])
    def test_a_provider_that_shows_a_key_of_ours_instead_of_the_payout(self, attempt: str) -> None:
        payout = booked(1, rail="circle")
        ledger = sides(payout)
        ledger.references = keys_shown(ledger.booked)
        line = out(
            payout, payout_id=None, references=("T1", payout_key(payout.payout_id + attempt))
        )
        result = reconcile([line], ledger, rail="circle", window=Window(), now_ms=NOW_MS)
        assert (result.breaks, result.matched) == ((), 1)
        assert not keys_shown(sides(booked(1)).booked)

    def test_a_fee_beside_the_amount(self) -> None:
        payout = booked(1)
        fee = out(payout, 2, kind=LineKind.FEE, amount_minor=-25)
        result = run([out(payout), fee], sides(payout))
        assert not result.breaks
        assert result.fees_minor == {"EUR": -25}

    def test_a_payout_in_two_lines(self) -> None:
        payout = booked(1)
        lines = [out(payout, 1, amount_minor=-400), out(payout, 2, amount_minor=-600)]
        assert not run(lines, sides(payout)).breaks

    def test_a_bundle_with_details(self) -> None:
        payouts = [booked(1, minor=300), booked(2, minor=700)]
        line = out(
            payouts[0], payout_id=None, amount_minor=-1_000, references=("B1",),
            parts=tuple(Part(each.payout_id, -each.amount_minor) for each in payouts),
        )  # fmt: skip
        result = run([line], sides(*payouts))
        assert (result.breaks, result.matched) == ((), 2)

    def test_a_bundle_whose_details_have_no_amounts(self) -> None:
        payouts = [booked(1, minor=300), booked(2, minor=700)]
        parts = tuple(Part(each.payout_id, None) for each in payouts)
        line = out(payouts[0], payout_id=None, amount_minor=-1_000, parts=parts)
        assert not run([line], sides(*payouts)).breaks

    def test_a_bundle_without_details_of_a_known_batch(self) -> None:
        payouts = [booked(1, minor=300), booked(2, minor=700)]
        line = out(payouts[0], payout_id=None, amount_minor=-1_000, references=("B1",), count=2)
        ledger = sides(*payouts, references={"B1": frozenset(each.payout_id for each in payouts)})
        result = run([line], ledger)
        assert (result.breaks, result.matched) == ((), 2)

    def test_a_failed_payout_whose_money_left_and_came_back(self) -> None:
        payout = booked(1, S.FAILED)
        assert not run([out(payout), back(payout)], sides(payout)).breaks

    def test_an_unclaimed_one_has_left_the_account(self) -> None:
        payout = booked(1, S.UNCLAIMED)
        result = run([out(payout)], sides(payout))
        assert (result.breaks, result.unclaimed) == ((), 1)
        assert result.clearing == (Clearing("EUR", 1_000, 1_000),)

    @pytest.mark.parametrize("state", [S.FAILED, S.CANCELLED, *sorted(IN_FLIGHT)], ids=str)
    def test_what_never_left_is_on_no_statement(self, state: PayoutState) -> None:
        assert not run([], sides(booked(1, state))).breaks

    def test_other_rails_are_none_of_its_business(self) -> None:
        assert not run([], sides(booked(1, rail="adyen"))).breaks

    def test_a_return_of_a_payout_of_an_earlier_statement(self) -> None:
        payout = booked(1, S.RETURNED)
        window = Window(payout.reserved_ms + 30 * 60_000, NOW_MS)
        result = run([back(payout)], sides(payout), window)
        assert not result.breaks
        assert result.clearing == (Clearing("EUR", -1_000, -1_000),)

    def test_a_return_that_the_next_statement_will_have(self) -> None:
        payout = booked(1, S.RETURNED)
        window = Window(0, payout.reserved_ms + 30 * 60_000)
        assert not run([out(payout)], sides(payout), window).breaks

    @pytest.mark.parametrize("begins", [True, False])
    def test_what_moved_outside_the_period_is_on_another_statement(self, begins: bool) -> None:
        payout = booked(1)
        at_ms = payout.out_ms or 0
        window = Window(at_ms + 1, NOW_MS) if begins else Window(0, at_ms)
        result = run([], sides(payout), window)
        assert (result.breaks, result.at_the_edge) == ((), 0)

    @pytest.mark.parametrize("window", [Window(0, NOW_MS, DAY_MS), Window(1, margin_ms=DAY_MS)])
    def test_an_open_end_has_no_neighbour(self, window: Window) -> None:
        # Nothing is before the first moment, and nothing after the last.
        payout = booked(1)
        assert kinds(run([], sides(payout), window)) == [BreakKind.NOT_ON_STATEMENT]

    @pytest.mark.parametrize("hours_ahead", [-1, 1])
    def test_each_end_has_its_margin(self, hours_ahead: int) -> None:
        payout = booked(1)
        at_ms = (payout.out_ms or 0) + hours_ahead * HOUR_MS
        ends = (at_ms, NOW_MS) if hours_ahead < 0 else (1, at_ms)
        for margin_ms, edge in ((HOUR_MS + 1, 1), (HOUR_MS - 1, 0)):
            result = run([], sides(payout), Window(*ends, margin_ms))
            assert (result.at_the_edge, len(result.breaks)) == (edge, 1 - edge)

    def test_a_reference_that_only_a_line_outside_explains(self) -> None:
        payout = booked(1, S.RETURNED)
        line = back(payout, payout_id=None, references=("T2", "T1"))
        window = Window(payout.reserved_ms + 30 * 60_000, NOW_MS)
        ledger = sides(payout)
        assert kinds(run([line], ledger, window))[0] is BreakKind.NOT_IN_LEDGER
        result = reconcile(
            [line], ledger, rail="paypal", window=window, now_ms=NOW_MS, outside=[out(payout)]
        )
        assert not result.breaks

    def test_a_return_that_shares_the_reference_of_a_part(self) -> None:
        payouts = [booked(1, S.RETURNED, 300), booked(2, minor=700)]
        line = out(
            payouts[0], payout_id=None, amount_minor=-1_000,
            parts=tuple(
                Part(each.payout_id, -each.amount_minor, (f"P{each.amount_minor}",))
                for each in payouts
            ),
        )  # fmt: skip
        returned = back(payouts[0], payout_id=None, references=("R1", "P300"))
        assert not run([line, returned], sides(*payouts)).breaks

    def test_commands_of_other_times_and_rails(self) -> None:
        payout = booked(1, S.SUBMITTED)
        commands = sides(payout).commanded
        window = Window(payout.reserved_ms + 1, NOW_MS)
        assert not run([], Sides({}, commands), window).breaks
        other = {payout.payout_id: commands[payout.payout_id]._replace(rail="adyen")}
        assert not run([], Sides({}, other)).breaks
        assert not run([], Sides({payout.payout_id: payout}, {}), window).breaks
        changed = {payout.payout_id: commands[payout.payout_id]._replace(amount_minor=9)}
        assert not run([], Sides({payout.payout_id: payout}, changed), window).breaks
        assert not run([], Sides({payout.payout_id: replace(payout, rail="adyen")}, {})).breaks

    def test_near_an_end_of_the_period_the_neighbour_may_have_it(self) -> None:
        payout = booked(1)
        window = Window(payout.reserved_ms - DAY_MS, payout.reserved_ms + HOUR_MS, 2 * HOUR_MS)
        result = run([], sides(payout), window)
        assert (result.breaks, result.at_the_edge) == ((), 1)


class TestBreaks:
    def one(
        self,
        lines: list[Line],
        ledger: Sides,
        window: Window = Window(),  # noqa: B008
    ) -> tuple[BreakKind, str | None, int]:
        [found] = run(lines, ledger, window).breaks
        return found.kind, found.payout_id, found.amount_minor

    def test_on_the_statement_and_not_in_the_ledger(self) -> None:
        payout = booked(1)
        found = self.one([out(payout)], sides())
        assert found == (BreakKind.NOT_IN_LEDGER, payout.payout_id, -1_000)

    def test_a_debit_that_names_nothing(self) -> None:
        found = self.one([out(booked(1), payout_id=None, references=("X",))], sides())
        assert found == (BreakKind.NOT_IN_LEDGER, None, -1_000)

    def test_a_payout_of_another_rail(self) -> None:
        payout = booked(1, rail="adyen")
        assert self.one([out(payout)], sides(payout))[0] is BreakKind.NOT_IN_LEDGER

    def test_settled_and_not_on_the_statement(self) -> None:
        payout = booked(1)
        found = self.one([], sides(payout))
        assert found == (BreakKind.NOT_ON_STATEMENT, payout.payout_id, -1_000)
        assert run([], sides(payout)).clearing == (Clearing("EUR", 1_000, 0),)

    def test_returned_and_only_the_debit_on_the_statement(self) -> None:
        payout = booked(1, S.RETURNED)
        found = self.one([out(payout)], sides(payout))
        assert found == (BreakKind.NOT_ON_STATEMENT, payout.payout_id, 1_000)
        assert run([out(payout)], sides(payout)).clearing == (Clearing("EUR", 0, 1_000),)

    @pytest.mark.parametrize("minor", [-999, -1_001, -2_001])
    def test_another_amount(self, minor: int) -> None:
        payout = booked(1)
        found = self.one([out(payout, amount_minor=minor)], sides(payout))
        assert found == (BreakKind.AMOUNT_DIFFERS, payout.payout_id, minor)

    def test_another_currency(self) -> None:
        payout = booked(1)
        result = run([out(payout, currency="USD")], sides(payout))
        assert kinds(result) == [BreakKind.AMOUNT_DIFFERS]
        assert "10.00 EUR" in result.breaks[0].detail
        assert result.clearing == (Clearing("EUR", 1_000, 0), Clearing("USD", 0, 1_000))

    def test_a_part_of_it_came_back(self) -> None:
        payout = booked(1, S.RETURNED)
        lines = [out(payout), back(payout, 2)]
        lines[1] = replace(lines[1], amount_minor=990)
        assert self.one(lines, sides(payout))[0] is BreakKind.AMOUNT_DIFFERS

    def test_paid_twice(self) -> None:
        payout = booked(1)
        found = self.one([out(payout), out(payout, 2)], sides(payout))
        assert found == (BreakKind.PAID_TWICE, payout.payout_id, -1_000)

    def test_paid_twice_also_if_one_came_back(self) -> None:
        payout = booked(1)
        lines = [out(payout), out(payout, 2), back(payout, 3)]
        assert self.one(lines, sides(payout))[0] is BreakKind.PAID_TWICE

    @pytest.mark.parametrize(
        "state", [S.FAILED, S.CANCELLED, S.HELD, *sorted(IN_FLIGHT - {S.UNCLAIMED})], ids=str
    )
    def test_it_left_and_the_ledger_says_otherwise(self, state: PayoutState) -> None:
        payout = booked(1, state)
        result = run([out(payout)], sides(payout))
        assert kinds(result) == [BreakKind.STATE_DIFFERS]
        assert str(state) in result.breaks[0].detail

    def test_it_left_and_the_ledger_gave_it_back_before_it_settled(self) -> None:
        payout = booked(1, S.RETURNED, out_ms=None, out_minor=0, back_ms=None, back_minor=0)
        assert self.one([out(payout)], sides(payout))[0] is BreakKind.STATE_DIFFERS

    @pytest.mark.parametrize("state", [S.SETTLED, S.DELIVERED, S.ACCEPTED, S.UNKNOWN], ids=str)
    def test_it_came_back_and_the_ledger_does_not_know(self, state: PayoutState) -> None:
        payout = booked(1, state)
        result = run([out(payout), back(payout)], sides(payout))
        assert kinds(result) == [BreakKind.STATE_DIFFERS]

    def test_a_bundle_that_is_not_the_sum_of_its_details(self) -> None:
        payouts = [booked(1, minor=300), booked(2, minor=700)]
        parts = tuple(Part(each.payout_id, -each.amount_minor) for each in payouts)
        line = out(payouts[0], payout_id=None, amount_minor=-1_001, parts=parts)
        assert self.one([line], sides(*payouts)) == (BreakKind.BUNDLE_DIFFERS, None, -1_001)

    @pytest.mark.parametrize(("minor", "count"), [(-1_001, 2), (-1_000, 3)])
    def test_a_batch_that_is_not_the_sum_of_its_payouts(self, minor: int, count: int) -> None:
        payouts = [booked(1, minor=300), booked(2, minor=700)]
        known = {"B1": frozenset(each.payout_id for each in payouts)}
        line = out(payouts[0], payout_id=None, amount_minor=minor, references=("B1",), count=count)
        found = self.one([line], sides(*payouts, references=known))
        assert found == (BreakKind.BUNDLE_DIFFERS, None, minor)

    @pytest.mark.parametrize("fault", ["unknown", "currency"])
    def test_a_batch_with_a_payout_that_does_not_fit(self, fault: str) -> None:
        payouts = [booked(1, minor=300), booked(2, minor=700)]
        known = {"B1": frozenset(each.payout_id for each in payouts)}
        if fault == "currency":
            payouts[1].currency = "USD"
        kept = payouts if fault == "currency" else payouts[:1]
        total = -sum(each.amount_minor for each in kept)
        line = out(payouts[0], payout_id=None, amount_minor=total, references=("B1",))
        found = run([line], sides(*kept, references=known)).breaks
        assert [each.kind for each in found] == [BreakKind.BUNDLE_DIFFERS]

    def test_no_subset_is_tried_out(self) -> None:
        payouts = [booked(1, minor=300), booked(2, minor=700)]
        line = out(payouts[0], payout_id=None, amount_minor=-1_000, references=("B1",))
        found = kinds(run([line], sides(*payouts)))
        assert found == [BreakKind.NOT_IN_LEDGER, *[BreakKind.NOT_ON_STATEMENT] * 2]

    def test_commanded_and_not_in_the_ledger(self) -> None:
        ledger = sides(booked(1, S.SUBMITTED))
        found = self.one([], Sides({}, ledger.commanded))
        assert found == (BreakKind.COMMAND_WITHOUT_ENTRY, payout_id(1), -1_000)

    def test_commanded_paid_and_not_in_the_ledger_is_one_break(self) -> None:
        payout = booked(1)
        result = run([out(payout)], Sides({}, sides(payout).commanded))
        assert kinds(result) == [BreakKind.NOT_IN_LEDGER]
        assert "commanded" in result.breaks[0].detail

    def test_commanded_otherwise_than_reserved(self) -> None:
        payout = booked(1)
        ledger = sides(payout)
        commanded = {payout.payout_id: ledger.commanded[payout.payout_id]._replace(amount_minor=9)}
        found = self.one([out(payout)], Sides(ledger.booked, commanded))
        assert found[0] is BreakKind.AMOUNT_DIFFERS

    def test_reserved_and_never_commanded(self) -> None:
        payout = booked(1, S.RESERVED)
        ledger = Sides({payout.payout_id: payout}, {})
        assert self.one([], ledger)[0] is BreakKind.NOT_COMMANDED
        # Not of payouts whose commands are kept no more, nor of one whose command is on its way.
        assert not run([], replace(ledger, commands_since_ms=payout.reserved_ms + 1)).breaks
        young = replace(payout, reserved_ms=NOW_MS - 1_000)
        assert not run([], Sides({young.payout_id: young}, {})).breaks

    def test_the_control_total_alone(self) -> None:
        # A credit of a payout that failed before anything left: each rule alone lets it pass.
        payout = booked(1, S.FAILED)
        result = run([back(payout)], sides(payout))
        assert kinds(result) == [BreakKind.CLEARING_DIFFERS]


class TestAge:
    @pytest.mark.parametrize(
        ("days", "name"),
        [(0, "up to 1 day"), (1, "up to 1 day"), (2, "2 to 7 days"), (7, "2 to 7 days"),
         (8, "8 to 30 days"), (30, "8 to 30 days"), (31, "over 30 days"), (900, "over 30 days")],
    )  # fmt: skip
    def test_each_day_has_its_bucket(self, days: int, name: str) -> None:
        assert bucket(days) == name

    def test_a_break_is_as_old_as_what_it_is_about(self) -> None:
        result = run([], sides(booked(1)))
        assert result.breaks[0].age_days(NOW_MS) == 2
        assert result.aged(NOW_MS) == {(BreakKind.NOT_ON_STATEMENT, "2 to 7 days"): 1}

    def test_what_lies_ahead_of_the_clock_is_new(self) -> None:
        assert run([], sides(booked(1))).breaks[0].age_days(0) == 0


STATES = [S.SETTLED, S.DELIVERED, S.RETURNED, S.FAILED, S.CANCELLED, S.ACCEPTED, S.UNKNOWN]
PAYOUTS = st.lists(
    st.tuples(st.sampled_from(STATES), st.integers(2, 10**9), st.sampled_from(["EUR", "JPY"])),
    min_size=1,
    max_size=8,
).map(
    lambda found: [
        booked(number, state, minor, currency=currency)
        for number, (state, minor, currency) in enumerate(found, 1)
    ]
)


def true_statement(payouts: list[Booked], seed: int) -> list[Line]:
    """What a provider would say of a ledger, in one of the forms that it may take."""
    draw = random.Random(seed)
    lines: list[Line] = []
    bundled: dict[str, list[Booked]] = {"EUR": [], "JPY": []}
    for number, payout in enumerate(each for each in payouts if each.out_ms is not None):
        form = draw.choice(["whole", "split", "bundled", "with a fee"])
        if form == "bundled":
            bundled[payout.currency].append(payout)
        elif form == "split":
            first = draw.randint(1, payout.amount_minor - 1)
            lines.append(out(payout, 10 * number, amount_minor=-first))
            rest = first - payout.amount_minor
            # Two halves would be two executions of half the amount each; the whole is not.
            lines.append(out(payout, 10 * number + 1, amount_minor=rest))
        else:
            lines.append(out(payout, 10 * number))
        if form == "with a fee":
            lines.append(out(payout, 10 * number + 2, kind=LineKind.FEE, amount_minor=-7))
        if payout.back_ms is not None:
            hidden = form != "bundled" and draw.random() < 0.5
            references = (f"R{number}", f"T{10 * number}")
            line = back(payout, 10 * number + 3)
            lines.append(
                replace(line, payout_id=None if hidden else line.payout_id, references=references)
            )
    for currency, inside in bundled.items():
        if inside:
            total = -sum(each.amount_minor for each in inside)
            parts = tuple(
                Part(each.payout_id, -each.amount_minor, (f"P{each.payout_id}",)) for each in inside
            )
            line = out(inside[0], 900, payout_id=None, amount_minor=total, references=("B",))
            lines.append(replace(line, currency=currency, parts=parts, place=currency))
    draw.shuffle(lines)
    return lines


class TestProperties:
    @given(PAYOUTS, st.integers(0, 2**32))
    def test_a_true_statement_has_no_breaks(self, payouts: list[Booked], seed: int) -> None:
        result = run(true_statement(payouts, seed), sides(*payouts))
        assert result.breaks == ()
        assert all(total.difference_minor == 0 for total in result.clearing)
        assert result.matched == sum(each.out_ms is not None for each in payouts)

    @given(PAYOUTS, st.integers(0, 2**32), st.integers(0, 2**32))
    def test_order_changes_nothing(self, payouts: list[Booked], seed: int, other: int) -> None:
        lines = true_statement(payouts, seed)
        # Something is wrong with it, so that there are breaks to compare.
        lines = [*lines[1:], out(booked(99), 99)]
        draw = random.Random(other)
        shuffled = draw.sample(lines, len(lines))
        turned = draw.sample(payouts, len(payouts))
        assert run(lines, sides(*payouts)) == run(shuffled, sides(*turned))

    def test_of_two_executions_the_later_is_the_one_too_many(self) -> None:
        payout = booked(1)
        first, second = out(payout), out(payout, 2, at_ms=payout.reserved_ms + DAY_MS)
        for lines in ([first, second], [second, first]):
            [found] = run(lines, sides(payout)).breaks
            assert (found.place, found.at_ms) == ("line 2", second.at_ms)

    @given(PAYOUTS, st.integers(0, 2**32), st.data())
    def test_no_fault_passes(self, payouts: list[Booked], seed: int, data: st.DataObject) -> None:
        lines = [line for line in true_statement(payouts, seed) if line.kind is not LineKind.FEE]
        fault = data.draw(st.sampled_from(["missing", "amount", "currency", "twice", "strange"]))
        if not lines or fault == "strange":
            lines.append(out(booked(99), 99))
        else:
            at = data.draw(st.integers(0, len(lines) - 1))
            line = lines[at]
            match fault:
                case "missing":
                    del lines[at]
                case "amount":
                    minor = line.amount_minor + data.draw(st.sampled_from([-1, 1]))
                    lines[at] = replace(line, amount_minor=minor)
                case "currency":
                    other = "JPY" if line.currency == "EUR" else "EUR"
                    lines[at] = replace(line, currency=other)
                case _:
                    lines.append(replace(line, place="again", references=("again",)))
        assert run(lines, sides(*payouts)).breaks
