"""A labelled history: the stream's own vectors, and no label before its time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from models.events import SaleCompleted
from models.features import FEATURES, entities, learn, observe
from streams.fraud.replay import Labelled, replayed

START_S = 1_790_000_000
HOUR_S = 3_600
WEEK_MS = 7 * 86_400_000


def sold(number: int, hour: int, *, fraud: bool = False, paid: int = 2_000) -> Labelled:
    event = SaleCompleted(
        id=f"e{number}",
        occurred_at=datetime.fromtimestamp(START_S + hour * HOUR_S, UTC),
        seller_id=f"s{number % 3}",
        sale_id=f"e{number}",
        currency="EUR",
        amount_minor=paid,
        instrument_ref=f"c{number % 5}",
        device_ref=f"d{number % 2}",
    )
    return Labelled(event, None, "fraud" if fraud else None)


def history() -> list[Labelled]:
    return [
        sold(number, hour, fraud=number % 7 == 0, paid=9_000 if number % 4 else 500)
        for number, hour in enumerate(range(0, 1_200, 3))
    ]


def test_a_label_is_known_after_its_delay_and_not_before() -> None:
    items = [sold(0, 0, fraud=True), sold(2, 167), sold(4, 168)]
    rows = [row for _, row in replayed(items, label_delay_ms=WEEK_MS)]
    runs = [row[FEATURES.index("device_fraud_run")] for row in rows]
    assert runs[0] == runs[1] == 0
    assert runs[2] > 0
    assert [row[FEATURES.index("device_fraud_run")] for _, row in replayed(items)] == [0, 0, 0]


def test_vectors_do_not_hang_on_labels_that_are_still_to_come() -> None:
    honest = [Labelled(item.event, None, None) for item in history()]
    week = 56  # sales
    with_frauds = [row for _, row in replayed(history(), label_delay_ms=WEEK_MS)]
    without = [row for _, row in replayed(honest, label_delay_ms=WEEK_MS)]
    assert with_frauds[:week] == without[:week]
    assert with_frauds != without


def test_the_stream_comes_to_the_same_vectors_batch_by_batch() -> None:
    """States read once a batch and written back behind it; labels written between batches."""
    due = [row for _, row in replayed(history(), label_delay_ms=WEEK_MS)]
    for size in (1, 7, 50):
        assert list(_in_batches(history(), size)) == due


def _in_batches(items: list[Labelled], size: int) -> Iterator[list[float]]:
    store: dict[str, str] = {}
    told = 0
    rows: list[list[float]] = []
    for begin in range(0, len(items), size):
        batch = items[begin : begin + size]
        states: dict[str, str | None] = {}
        for item in batch:
            event = item.event
            assert isinstance(event, SaleCompleted)
            while items[told].event.occurred_ms <= event.occurred_ms - WEEK_MS:
                sale = items[told].event
                assert isinstance(sale, SaleCompleted)
                changed = learn(store, sale, rows[told], fraud=items[told].pattern is not None)
                store.update(changed)
                states.update({key: text for key, text in changed.items() if key in states})
                told += 1
            states.update({key: store.get(key) for key in entities(event) if key not in states})
            row, updates = observe(states, event, None)
            assert row is not None
            states.update(updates)
            rows.append(row)
            yield row
        store.update({key: text for key, text in states.items() if text and key[0] != "l"})
