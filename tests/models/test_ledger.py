"""Which entries count is said by the ledger alone, and the fold follows from them."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from models.ledger import Entry, Fold, Posting
from models.timeline import EARLY_MAX, Timeline


class Numbered(NamedTuple):
    seq: int
    epoch: int
    more: int = 0


def counted(*entries: tuple[int, ...]) -> list[tuple[int, int]]:
    """``(seq, epoch)`` of the entries that count, of ``(seq, epoch[, more])`` by offset from 0."""
    timeline: Timeline[Numbered] = Timeline()
    return [
        (each.seq, each.epoch)
        for offset, entry in enumerate(entries)
        for each in timeline.take(Numbered(*entry), offset)
    ]


MARK = 0


class TestTimeline:
    def test_entries_count_in_their_own_epoch(self) -> None:
        # The first marker stands at 0, so that its epoch is 1; the second at 3 opens 4.
        assert counted((MARK, 0), (1, 1), (2, 1), (MARK, 1), (3, 4)) == [(1, 1), (2, 1), (3, 4)]

    def test_what_comes_behind_the_end_of_its_epoch_is_void(self) -> None:
        assert counted((MARK, 0), (1, 1), (MARK, 1), (2, 1), (2, 3)) == [(1, 1), (2, 3)]

    def test_twice_counts_once_and_out_of_order_in_order(self) -> None:
        assert counted((MARK, 0), (2, 1), (2, 1), (1, 1), (1, 1), (3, 1)) == [
            (1, 1), (2, 1), (3, 1),
        ]  # fmt: skip

    def test_what_comes_early_and_is_not_joined_in_its_epoch_is_void(self) -> None:
        assert counted((MARK, 0), (2, 1), (MARK, 1), (1, 1), (1, 3), (2, 3)) == [(1, 3), (2, 3)]

    def test_a_marker_that_names_an_epoch_which_is_over_opens_nothing(self) -> None:
        assert counted((MARK, 0), (MARK, 0), (1, 1), (MARK, 0), (2, 1)) == [(1, 1), (2, 1)]

    def test_before_the_first_marker_nothing_counts_but_epoch_zero(self) -> None:
        assert counted((1, 5), (1, 0)) == [(1, 0)]

    def test_entries_of_one_event_count_when_the_last_is_there(self) -> None:
        assert counted((MARK, 0), (1, 1, 2), (2, 1, 1)) == []
        assert counted((MARK, 0), (3, 1), (1, 1, 2), (2, 1, 1), (4, 1)) == [
            (1, 1), (2, 1), (3, 1), (4, 1),
        ]  # fmt: skip

    def test_entries_of_one_event_are_void_together(self) -> None:
        assert counted(
            (MARK, 0), (1, 1), (2, 1, 1), (MARK, 1), (3, 1), (2, 4)
        ) == [(1, 1), (2, 4)]  # fmt: skip

    def test_the_rest_of_an_event_is_whole_by_itself(self) -> None:
        """Redis may be lost between two portions of a redo: what is left of it counts."""
        timeline: Timeline[Numbered] = Timeline(1, 2)
        rest = [Numbered(2, 1, 2), Numbered(3, 1, 1), Numbered(4, 1)]
        taken = [list(timeline.take(each, offset)) for offset, each in enumerate(rest)]
        assert taken == [[], [], rest[1:]]

    def test_names_the_number_that_is_missing(self) -> None:
        timeline: Timeline[Numbered] = Timeline()
        assert timeline.missing() is None
        for entry in (Numbered(1, 0, 2), Numbered(2, 0, 1)):
            assert not list(timeline.take(entry, 0))
        assert timeline.missing() == 3

    def test_a_ledger_that_was_cut_is_not_taken_for_one_that_is_late(self) -> None:
        timeline: Timeline[Numbered] = Timeline()
        with pytest.raises(ValueError, match="entry 1 is not in the journal"):
            for seq in range(2, EARLY_MAX + 3):
                list(timeline.take(Numbered(seq, 0), seq))


def entry(seq: int, *postings: tuple[str, int, int], **fields: Any) -> Entry:
    moves = tuple(Posting(account, "EUR", minor, after) for account, minor, after in postings)
    return Entry(3, seq, "test", f"e{seq}", "anna", 0, moves, **fields)


class TestFold:
    def test_adds_up_what_counts(self) -> None:
        fold = Fold()
        one = entry(1, ("/commissions", -5, -5), ("anna/available", 5, 5))
        two = entry(2, ("/commissions", -2, -7), ("anna/available", 2, 7))
        assert fold.add(two, 0) == []
        assert fold.add(one, 1) == [one, two]
        assert fold.add(one, 2) == []
        assert (fold.violations, fold.seqs) == ([], {3: 2})
        assert fold.balances["anna/available", "EUR"] == fold.earned["anna", "EUR"] == 7

    @pytest.mark.parametrize(
        ("postings", "invariant"),
        [
            ([("/fees", 5, 5), ("anna/held", -4, -4)], "postings sum to zero"),
            ([("/fees", 5, 5), ("anna/held", -5, -5)], "no account beyond zero"),
            ([("/fees", -5, -6), ("anna/held", 5, 5)], "balances follow from the entries before"),
            ([("/fees", -5, -5), ("anna/held", 5, 6)], "balances follow from the entries before"),
        ],
    )
    def test_names_the_invariant_that_is_broken(
        self, postings: list[tuple[str, int, int]], invariant: str
    ) -> None:
        fold = Fold()
        fold.add(entry(1, *postings), 0)
        assert invariant in {violation.invariant for violation in fold.violations}

    def test_knows_which_payouts_went_on_over_another_rail(self) -> None:
        lives = {
            "p1": [("reserved", "adyen"), ("submitted", "adyen"), ("reserved", "paypal")],
            "p2": [("reserved", "adyen"), ("reserved", "paypal")],  # it was never handed over
            "p3": [("reserved", "adyen"), ("accepted", "adyen"), ("reserved", "adyen")],
            "p4": [
                *(("reserved", "circle"), ("unknown", "circle")),
                *(("reserved", "adyen"), ("submitted", "adyen")),
                *(("reserved", "paypal"), ("settled", "paypal")),
            ],
        }
        fold, seq = Fold(), 0
        for payout, life in lives.items():
            for state, rail in life:
                seq += 1
                fold.add(entry(seq, payout=(payout, state, rail, 5, 0)), seq)
        assert fold.failed_over == {
            "p1": [("adyen", "paypal")],
            "p4": [("circle", "adyen"), ("adyen", "paypal")],
        }

    def test_a_refusal_is_no_effect(self) -> None:
        fold = Fold()
        fold.add(entry(1, source=("sales", 0, 1), refused="id_reused"), 0)
        fold.add(entry(2, source=("sales", 0, 2), hash="0" * 16), 1)
        assert (fold.booked, fold.refusals, fold.violations) == ({"e2"}, 1, [])
