"""Decisions: fail closed, and a record from which the score can be derived again, bit for bit."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.decisions import Decision, Tier, Why, decide, read_record
from models.features import FEATURES, Profile
from models.policy import FraudPolicy
from models.scorer import Scorer

SHIPPED = Path(__file__).parents[2] / "streams" / "defaults" / "model.json"
POLICY = FraudPolicy(hold_score=Decimal("0.35"), unscored_cap={"EUR": 2_000})
KNOWN = Profile(country="DE")


def record(decision: Decision, vector: list[float] | None, model: str | None) -> bytes:
    return decision.record(
        event_id="e-1",
        seller_id="de-1",
        topic="sales",
        partition=3,
        offset=2**40,
        vector=vector,
        model=model,
        at_ms=1_790_000_000_000,
        sale_id="INV-1",
    )


class TestDecide:
    def test_below_the_threshold_is_paid_at_once(self) -> None:
        assert decide(0.3499, 10**9, "EUR", POLICY, profile=KNOWN) == Decision(
            Tier.INSTANT, (), 0.3499
        )

    @pytest.mark.parametrize("score", [0.36, 1.0])
    def test_from_the_threshold_on_is_held_with_reasons(self, score: float) -> None:
        decision = decide(score, 1, "EUR", POLICY, profile=KNOWN, explain=lambda: ["large amount"])
        assert decision == Decision(Tier.HOLD, (Why.SCORE, "large amount"), score)

    def test_the_threshold_itself_is_held(self) -> None:
        policy = FraudPolicy(hold_score=Decimal("0.5"))
        assert decide(0.5, 1, "EUR", policy, profile=KNOWN).tier is Tier.HOLD

    def test_what_is_paid_is_not_explained(self) -> None:
        def explain() -> list[str]:
            raise AssertionError("asked for nothing")

        decide(0.1, 1, "EUR", POLICY, profile=KNOWN, explain=explain)

    @pytest.mark.parametrize("score", [None, math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize(
        ("amount_minor", "currency", "tier"),
        [
            (2_000, "EUR", Tier.INSTANT),
            (2_001, "EUR", Tier.HOLD),
            (0, "USD", Tier.INSTANT),
            (1, "USD", Tier.HOLD),
        ],
    )
    def test_without_a_score_the_cap_holds(
        self, score: float | None, amount_minor: int, currency: str, tier: Tier
    ) -> None:
        decision = decide(score, amount_minor, currency, POLICY, profile=KNOWN)
        assert decision.tier is tier
        assert decision.score is None
        assert decision.reasons == ((Why.UNSCORED,) if tier is Tier.HOLD else ())

    @pytest.mark.parametrize("score", [None, 0.0, 1.0])
    def test_a_suspended_seller_is_held(self, score: float | None) -> None:
        decision = decide(score, 1, "EUR", POLICY, profile=Profile(suspended=True))
        assert decision == Decision(Tier.HOLD, (Why.SUSPENDED,), score)

    @pytest.mark.parametrize("score", [None, 0.0, 1.0])
    def test_without_a_profile_is_held(self, score: float | None) -> None:
        decision = decide(score, 1, "EUR", POLICY, profile=None)
        assert decision == Decision(Tier.HOLD, (Why.PROFILE,), score)


class TestRecord:
    def test_the_score_is_derived_again_bit_for_bit(self) -> None:
        text = SHIPPED.read_text(encoding="ascii")
        scorer = Scorer.load(text)
        rows = json.loads(text)["probes"]["rows"] * 20
        for row, score in zip(rows, scorer.score(rows).tolist(), strict=True):
            decision = decide(
                score, 1, "EUR", POLICY, profile=KNOWN, explain=partial(scorer.reasons, row)
            )
            read = read_record(record(decision, row, scorer.digest))
            assert read.model == scorer.digest
            assert read.vector is not None
            again = float(scorer.score([read.vector])[0])
            assert again == read.decision.score == score
            rederived = decide(
                again,
                1,
                "EUR",
                POLICY,
                profile=KNOWN,
                explain=partial(scorer.reasons, read.vector),
            )
            assert rederived == read.decision == decision

    @given(
        vector=st.lists(
            st.floats(allow_nan=False, allow_infinity=False),
            min_size=len(FEATURES),
            max_size=len(FEATURES),
        ),
        score=st.floats(0, 1),
        words=st.lists(st.text(max_size=20), max_size=3),
    )
    def test_round_trips(self, vector: list[float], score: float, words: list[str]) -> None:
        decision = Decision(Tier.HOLD, (Why.SCORE.value, *words), score)
        read = read_record(record(decision, vector, "ab" * 32))
        assert read.decision == decision
        assert read.vector == tuple(vector)
        assert (read.event_id, read.seller_id, read.topic) == ("e-1", "de-1", "sales")
        assert (read.partition, read.offset, read.at_ms) == (3, 2**40, 1_790_000_000_000)

    def test_an_unscored_decision_has_nulls(self) -> None:
        value = record(Decision(Tier.HOLD, (Why.UNSCORED.value,), None), None, None)
        body = json.loads(value)
        assert (body["score"], body["vector"], body["model"]) == (None, None, None)
        assert read_record(value).decision.score is None

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b'"tier":"instant"', b'"tier":"perhaps"'),
            (b'"vector":"', b'"vector":"A'),
            (b'"score"', b'"scare"'),
            (b"}", b""),
        ],
    )
    def test_a_damaged_record_is_refused(self, old: bytes, new: bytes) -> None:
        good = record(Decision(Tier.INSTANT, (), 0.5), [0.0] * len(FEATURES), "ab")
        read_record(good)
        with pytest.raises(ValueError, match="not a decision"):
            read_record(good.replace(old, new, 1))
