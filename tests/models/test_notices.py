"""Notices: what goes in, and when the next try is."""

import json
from typing import Any

import pytest

from models.notices import (
    JITTER_PERCENT,
    RETRY_AFTER_MS_MAX,
    TRY_AFTER_MS,
    Unreadable,
    next_try_ms,
    notice_of,
)
from models.payouts import PayoutState

UPDATE: dict[str, Any] = {
    "v": 1, "type": "payout.updated", "id": "u1", "payout_id": "p1", "seller_id": "anna",
    "state": "settled", "rail": "paypal", "currency": "EUR", "amount_minor": 1, "fee_minor": 0,
    "attempt": 0,
    "at_ms": 1_795_600_000_005,
}  # fmt: skip


def of(**fields: Any) -> dict[str, Any]:
    return notice_of(json.dumps({**UPDATE, **fields}).encode()).event


@pytest.mark.parametrize("state", PayoutState)
def test_the_type_says_the_state(state: PayoutState) -> None:
    made = of(state=state)
    assert (made["type"], made["data"]["state"]) == (f"payout.{state}", state.value)


def test_why_a_payout_failed_is_told_where_it_is_known() -> None:
    made = of(state="failed", category="method", reason="RECEIVER_UNREGISTERED")
    assert made["data"]["category"] == "method"
    assert made["data"]["reason"] == "RECEIVER_UNREGISTERED"
    assert "category" not in of()["data"]


def test_time_is_rfc_3339_with_every_millisecond() -> None:
    assert of()["timestamp"] == "2026-11-25T09:46:40.005Z"
    assert of(at_ms=1_795_600_000_000)["timestamp"] == "2026-11-25T09:46:40.000Z"


@pytest.mark.parametrize(
    "fields", [{"state": "paid"}, {"amount_minor": 1.5}, {"type": "payout.command"}, {"v": 2}]
)
def test_what_the_contract_does_not_allow_is_no_notice(fields: dict[str, Any]) -> None:
    with pytest.raises(Unreadable) as refused:
        of(**fields)
    assert "anna" not in str(refused.value)


@pytest.mark.parametrize("tries", range(1, len(TRY_AFTER_MS)))
def test_each_wait_is_its_figure_and_a_tenth_about_it(tries: int) -> None:
    figure = TRY_AFTER_MS[tries]
    spread = figure * JITTER_PERCENT // 100
    assert next_try_ms(tries, 0.5) == figure
    assert next_try_ms(tries, 0.0) == figure - spread
    assert figure < (next_try_ms(tries, 0.999_999) or 0) <= figure + spread


def test_waits_grow_and_end() -> None:
    assert list(TRY_AFTER_MS) == sorted(TRY_AFTER_MS)
    assert next_try_ms(len(TRY_AFTER_MS), 0.5) is None
    assert next_try_ms(len(TRY_AFTER_MS), 0.5, asked_ms=1) is None


def test_what_the_endpoint_asks_for_counts_where_it_is_longer_and_has_a_bound() -> None:
    assert next_try_ms(1, 0.5, asked_ms=60_000) == 60_000
    assert next_try_ms(2, 0.5, asked_ms=60_000) == TRY_AFTER_MS[2]
    assert next_try_ms(1, 0.5, asked_ms=10 * RETRY_AFTER_MS_MAX) == RETRY_AFTER_MS_MAX
