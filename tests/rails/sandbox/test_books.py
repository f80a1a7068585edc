"""The sandbox's books tell executions and money apart."""

import pytest

from rails.sandbox.behaviours import CANCELLED, SETTLES, UNCLAIMED, UNCLAIMED_MS
from rails.sandbox.books import Books, BooksFull, Entry, Plan, SandboxClock

RETURNS: Plan = ((0, 0, "PENDING"), (1000, 0, "SUCCESS"), (2000, 5, "RETURNED"))


def _entry(attempt_id: str = "p-1", plan: Plan = SETTLES, **changes: object) -> Entry:
    fields: dict[str, object] = {
        "rail": "paypal",
        "reference": f"R-{attempt_id}",
        "attempt_id": attempt_id,
        "sender_item_id": attempt_id,
        "currency": "EUR",
        "amount_minor": 1050,
        "receiver": "anna@example.com",
        "plan": plan,
        "behaviour": "",
        "created_ms": 1_000,
        "delay_ms": 100,
    }
    return Entry(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("now_ms", "status"),
    [(0, "PENDING"), (1_099, "PENDING"), (1_100, "SUCCESS"), (1_205, "RETURNED")],
)
def test_status_follows_the_plan(now_ms: int, status: str) -> None:
    assert _entry(plan=RETURNS).status(now_ms) == status


def test_unclaimed_comes_back_after_thirty_days() -> None:
    entry = _entry(plan=UNCLAIMED)
    assert entry.status(1_100 + UNCLAIMED_MS - 1) == "UNCLAIMED"
    assert entry.status(1_100 + UNCLAIMED_MS) == "RETURNED"


def test_a_cancelled_one_stays_so() -> None:
    entry = _entry(plan=UNCLAIMED)
    entry.end(1_100, CANCELLED)
    assert entry.status(10**15) == "RETURNED"


def test_rows_count_executions_and_payments() -> None:
    books = Books()
    books.add(_entry("p-1"), guarded=True)
    books.add(_entry("p-1.1", RETURNS), guarded=True)
    books.add(_entry("p-2", ((0, 0, "FAILED"),)), guarded=True)
    rows = {row["payout_id"]: row for row in books.rows(1_100)}
    assert (rows["p-1"]["executions"], rows["p-1"]["paid_times"]) == (2, 2)
    assert rows["p-1"]["paid_minor"] == 2100
    assert (rows["p-2"]["executions"], rows["p-2"]["paid_times"]) == (1, 0)
    assert rows["p-2"]["paid_minor"] == 0
    # Money that came back was paid all the same, but stands paid no longer.
    later = {row["payout_id"]: row for row in books.rows(2_000)}
    assert (later["p-1"]["paid_times"], later["p-1"]["paid_minor"]) == (2, 1050)
    assert books.executions("p-1") == 2


def test_guarded_or_not() -> None:
    books = Books()
    entry = _entry()
    books.add(entry, guarded=False)
    assert books.by_attempt("p-1") is None
    assert books.by_reference("R-p-1") is entry
    assert books.by_reference("R-p-2") is None


def test_full_books_forget_nothing() -> None:
    books = Books(entries_max=2)
    books.add(_entry("p-1"), guarded=True)
    books.add(_entry("p-2"), guarded=True)
    with pytest.raises(BooksFull):
        books.add(_entry("p-3"), guarded=True)
    assert len(books) == 2
    assert books.by_attempt("p-1") is not None


def test_the_clock_goes_ahead() -> None:
    clock = SandboxClock()
    before = clock.now_ms()
    clock.ahead_ms = 86_400_000
    assert clock.now_ms() - before >= 86_400_000
