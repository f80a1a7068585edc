"""Accounts: how many others are paid to one, and what is kept of that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.accounts import paid_to
from models.packing import SELLERS_MAX


def play(*sellers: str, text: str | None = None) -> tuple[list[int], str]:
    """Sales of sellers who all name one account: the others at each, and the state behind them."""
    found = []
    for seller in sellers:
        others, text = paid_to(text, seller)
        found.append(others)
    return found, str(text)


def test_a_seller_alone_has_nobody_beside_her_however_often_she_sells() -> None:
    assert play("anna", "anna", "anna")[0] == [0, 0, 0]


def test_each_other_seller_counts_once_and_for_everybody() -> None:
    assert play("anna", "ben", "anna", "cleo", "ben", "anna")[0] == [0, 1, 1, 2, 2, 2]


def test_the_oldest_is_forgotten() -> None:
    sellers = [f"s-{i}" for i in range(SELLERS_MAX + 1)]
    found, text = play(*sellers)
    assert found == list(range(SELLERS_MAX + 1))
    # The first one is not among the eight that are kept, so all of those are others to her.
    assert play(sellers[0], text=text)[0] == [SELLERS_MAX]
    assert play(sellers[1], text=text)[0] == [SELLERS_MAX - 1]


@given(st.lists(st.sampled_from([f"s-{i}" for i in range(20)]), min_size=1, max_size=60))
def test_a_state_has_its_length_whatever_the_history(sellers: list[str]) -> None:
    found, text = play(*sellers)
    assert len(text) == 44
    latest: list[str] = []
    for seller, others in zip(sellers, found, strict=True):
        beside = [each for each in latest if each != seller]
        assert others == len(beside)
        latest = [seller, *beside][:SELLERS_MAX]


@pytest.mark.parametrize("text", ["", "rubbish", "AAAA", "\xff" * 44, "//" * 22])
def test_a_state_that_cannot_be_read_counts_as_absent(text: str) -> None:
    assert play("anna", text=text)[0] == [0]
