"""Export: what topics tell becomes a training set, once a sale, and nobody is named in it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.decisions import Decision, Standing, Tier
from models.features import FEATURES
from streams.fraud import export
from streams.fraud.dataset import WEIGHT_MAX, DatasetUnreadable, Label, read, sale_hash
from streams.fraud.export import exported
from tests.streams.fraud.harness import DAY_MS, examples, training_set

NOW_MS = 1_790_000_000_000
VECTOR = tuple(k / 7 for k in range(len(FEATURES)))


def decided(
    number: int = 1, tier: Tier = Tier.INSTANT, days_ago: float = 200, **more: Any
) -> bytes:
    fields: dict[str, Any] = {"vector": VECTOR, "model": "m", "sale_id": f"sale-{number}"}
    fields |= {"amount_minor": 500, "currency": "EUR", "standing": Standing.ACTIVE, "policy": "p"}
    score, explored = more.pop("score", 0.125), more.pop("explored", None)
    made = Decision(tier, (), score, explored=bool(explored), propensity=explored or 1.0)
    return made.record(
        event_id=f"ev-{number}", seller_id="anna", topic="sales", partition=0, offset=number,
        at_ms=NOW_MS - round(days_ago * DAY_MS), **fields | more,
    )  # fmt: skip


def lines(values: Iterable[bytes | None], known: export.Known | None = None, **more: Any) -> Any:
    terms = {"now_ms": NOW_MS, "label_delay_ms": 120 * DAY_MS} | more
    return list(exported(values, known or {}, **terms))


def test_a_label_is_what_was_said_or_what_silence_means() -> None:
    found = lines(
        [
            decided(1, days_ago=1),
            decided(2, days_ago=1),
            decided(3, days_ago=1),
            decided(4, days_ago=121),
            decided(5, Tier.HOLD, days_ago=121),
        ],
        {("anna", "sale-1"): Label.FRAUD, ("anna", "sale-2"): Label.GENUINE},
    )
    assert [one.label for one in found] == [
        Label.FRAUD, Label.GENUINE, Label.UNKNOWN, Label.GENUINE, Label.UNKNOWN
    ]  # fmt: skip
    assert {one.vector for one in found} == {VECTOR}


def test_a_sale_comes_once_and_of_the_time_asked_for() -> None:
    values = [decided(1, days_ago=9), decided(2, days_ago=5), decided(1, days_ago=9), decided(3)]
    window = {"since_ms": NOW_MS - 9 * DAY_MS, "until_ms": NOW_MS - 5 * DAY_MS}
    assert [one.event_id for one in lines(values, **window)] == ["ev-1"]


def test_what_teaches_nothing_is_counted() -> None:
    left_out: Counter[str] = Counter()
    unscored = decided(1, score=None, vector=None, model=None)
    other = json.loads(decided(2)) | {"vector": "AAAAAAAA8D8="}
    values = [unscored, json.dumps(other).encode(), b"{", None, decided(3)]
    assert [one.event_id for one in lines(values, left_out=left_out)] == ["ev-3"]
    assert left_out == {"without a score": 1, "unreadable or of other features": 3}


@pytest.mark.parametrize(
    ("value", "due"),
    [
        ({"verdict": "chargeback"}, Label.FRAUD),
        ({"verdict": "confirmed"}, Label.FRAUD),
        ({"verdict": "cleared"}, Label.GENUINE),
        ({"type": "fraud.taught"}, None),
        ({"verdict": None, "type": 7}, None),
    ],
)
def test_a_message_of_labels_is_read(value: dict[str, Any], due: Label | None) -> None:
    body = {"type": "fraud.labelled", "seller_id": "anna", "sale_id": "sale-1"} | value
    told = export._told(json.dumps(body).encode())
    assert told == (None if due is None else ("anna", "sale-1", due))
    assert export._told(b"[]") is export._told(None) is None


def test_the_file_names_nobody_and_is_read_back_exactly(tmp_path: Path) -> None:
    found = lines([decided(1), decided(2, challenger=("c", 0.1)), decided(3, days_ago=300)])
    file = training_set(tmp_path / "set", found)
    text = file.read_text()
    assert not [word for word in ("anna", "ev-1", "sale-1") if word in text]
    assert sale_hash("ev-1") in text
    data = read(file)
    assert (data.rows == np.array([VECTOR] * 3)).all()  # bit for bit
    assert data.at_ms[0] == NOW_MS - 300 * DAY_MS
    assert data.challengers.count(("c", 0.1)) == 1
    assert data.labels.tolist() == [0, 0, 0]


def test_one_that_was_let_through_as_a_sample_stands_for_many() -> None:
    found = lines([decided(1, explored=0.02), decided(2, explored=1e-9), decided(3)])
    assert [one.weight for one in found] == [50.0, WEIGHT_MAX, 1.0]


@pytest.mark.parametrize(
    ("line", "old", "new"),
    [
        (0, '"amount"', '"weather"'),
        (0, '"training_set": 1', '"training_set": 9'),
        (1, '"label":"', '"label":"very'),
        (1, '"weight":1.0', '"weight":0'),
        (1, '"weight":1.0', '"weight":NaN'),
        (1, '"vector":[', '"vector":[1,'),
        (1, '"vector":[', '"vector":[1e999,'),
        (1, '"score":', '"score":-'),
        (1, "{", ""),
    ],
)
def test_a_file_that_is_none_is_one_line(tmp_path: Path, line: int, old: str, new: str) -> None:
    file = training_set(tmp_path / "set", examples(3))
    parts = file.read_text().splitlines(keepends=True)
    assert old in parts[line]
    parts[line] = parts[line].replace(old, new, 1)
    file.write_text("".join(parts))
    with pytest.raises(DatasetUnreadable) as refused:
        read(file)
    assert "\n" not in str(refused.value)
    file.write_text(file.read_text()[:-1])
    with pytest.raises(DatasetUnreadable):
        read(file)


def test_an_empty_file_and_one_without_sales_are_refused(tmp_path: Path) -> None:
    for content in (b"", (training_set(tmp_path / "set", []).read_bytes())):
        (tmp_path / "other").write_bytes(content)
        with pytest.raises(DatasetUnreadable, match="no sales"):
            read(tmp_path / "other")
    with pytest.raises(DatasetUnreadable, match="No such file"):
        read(tmp_path / "none")
