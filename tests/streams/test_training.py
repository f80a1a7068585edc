"""Training: deterministic, tested on other seeds, and on the very vectors that serving computes."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from models.events import SaleCompleted
from models.features import FEATURES, Profile, observe
from models.scorer import Scorer
from streams.demo.messages import Label
from streams.fraud.replay import Labelled
from streams.settings import DEFAULTS
from streams.training import _HARD, Vectors, company_history, sparing, train, vectors

START_MS = 1_790_000_000_000


def tiny_history(seed: int, events: int) -> Iterator[Labelled]:
    """Twenty sellers; one sale in ten is a large one right after a changed destination."""
    rng = random.Random(seed)
    for k in range(events):
        at_ms = START_MS + k * 60_000
        fraud = rng.random() < 0.1
        event = SaleCompleted(
            id=f"e{k}",
            occurred_at=datetime.fromtimestamp(at_ms / 1000, UTC),
            seller_id=f"s{rng.randrange(20)}",
            sale_id=f"x{k}",
            currency="EUR",
            amount_minor=rng.randrange(20_000, 90_000) if fraud else rng.randrange(1_000, 9_000),
        )
        changed_ms = at_ms - 60_000 if fraud else None
        yield Labelled(event, Profile(payout_changed_ms=changed_ms), "takeover" if fraud else None)


def test_the_same_arguments_give_the_same_file(tmp_path: Path) -> None:
    one, two, other = (tmp_path / name for name in ("one", "two", "other"))
    first = train(seed=7, events=300, out=one, history=tiny_history)
    assert train(seed=7, events=300, out=two, history=tiny_history) == first
    assert one.read_bytes() == two.read_bytes()
    assert train(seed=8, events=300, out=other, history=tiny_history).digest != first.digest


def test_learns_the_pattern_and_says_how_well(tmp_path: Path) -> None:
    report = train(seed=7, events=300, out=tmp_path / "m", history=tiny_history)
    assert report.average_precision > 0.95
    assert report.recall_by_pattern["takeover"] > 0.9
    scorer = Scorer.load((tmp_path / "m").read_text())
    assert scorer.digest == report.digest
    assert scorer.metrics["average_precision"] == report.average_precision


def test_hard_patterns_count_for_more_and_frauds_for_as_many_as_they_are() -> None:
    found = Vectors(np.zeros((4, 1)), [None, "refund_after_payout", "stolen_card", "stolen_card"])
    genuine, hard, *others = found.weights.tolist()
    assert genuine == 1
    assert hard == pytest.approx(3 * others[0])
    assert hard + sum(others) == pytest.approx(3)


def test_some_tills_leave_out_whom_and_what_a_sale_names() -> None:
    named = ("customer_ref", "instrument_ref", "device_ref")
    sales = [
        SaleCompleted(
            id=f"e{k}",
            occurred_at=datetime.fromtimestamp(START_MS / 1000, UTC),
            seller_id=f"s{k % 200}",
            sale_id=f"x{k}",
            currency="EUR",
            amount_minor=1_000,
            **dict.fromkeys(named, "r"),
        )
        for k in range(400)
    ]
    found = [item.event for item in sparing(Labelled(sale, None, None) for sale in sales)]
    assert found[:200] == [one.model_copy(update={"id": f"e{k}", "sale_id": f"x{k}"})
                           for k, one in enumerate(found[200:])]  # fmt: skip
    kinds = Counter(tuple(name for name in named if getattr(one, name) is None) for one in found)
    assert set(kinds) == {(), *((name,) for name in named), named}
    assert 240 < kinds[()] < 360
    assert [one.amount_minor for one in found] == [sale.amount_minor for sale in sales]


@pytest.mark.parametrize("names", [{}, {"instrument_ref": "c", "customer_ref": "k"}])
def test_the_shipped_model_is_not_calmed_by_what_it_never_saw(names: dict[str, str]) -> None:
    scorer = Scorer.load((DEFAULTS / "model.json").read_text())

    def score(amount_minor: int) -> float:
        event = SaleCompleted(
            id="e",
            occurred_at=datetime.fromtimestamp(START_MS / 1000, UTC),
            seller_id="s",
            sale_id="x",
            currency="EUR",
            amount_minor=amount_minor,
            **names,
        )
        row, _ = observe({}, event, Profile("DE"))
        assert row is not None
        return float(scorer.score([row])[0])

    usual, large = score(5_000), score(100_000)
    assert large > usual
    assert all(score(amount) > 0.5 * large for amount in (300_000, 1_000_000, 40_000_000))


def test_every_pattern_that_counts_for_more_exists() -> None:
    assert set(_HARD) <= {label.value for label in Label}


def test_is_tested_on_seeds_it_was_not_trained_on(tmp_path: Path) -> None:
    asked: list[int] = []

    def history(seed: int, events: int) -> Iterator[Labelled]:
        asked.append(seed)
        return tiny_history(seed, events)

    train(seed=7, events=200, out=tmp_path / "m", history=history)
    assert len(set(asked)) == len(asked)
    provenance = json.loads((tmp_path / "m").read_text())["provenance"]
    assert set(provenance["train_seeds"]).isdisjoint(provenance["test_seeds"])
    assert sorted(asked) == sorted(provenance["train_seeds"] + provenance["test_seeds"])


def test_a_history_without_fraud_is_refused(tmp_path: Path) -> None:
    def honest(seed: int, events: int) -> Iterator[Labelled]:
        return (Labelled(i.event, i.profile, None) for i in tiny_history(seed, events))

    with pytest.raises(ValueError, match="genuine and fraudulent"):
        train(seed=7, events=100, out=tmp_path / "m", history=honest)
    assert not (tmp_path / "m").exists()


def test_the_shipped_model_catches_frauds_of_a_company_it_has_not_seen() -> None:
    scorer = Scorer.load((DEFAULTS / "model.json").read_text(encoding="ascii"))
    seed = 424_242
    assert seed not in scorer.provenance["train_seeds"]
    data = vectors(company_history(seed, 6_000))
    assert data.rows.shape[1] == len(FEATURES)
    held = scorer.score(data.rows) > scorer.metrics["threshold"]
    assert held[data.frauds].mean() > 0.7
    assert held[~data.frauds].mean() < 0.04
