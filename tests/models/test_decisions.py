"""Decisions: fail closed, and a record from which the score can be derived again, bit for bit."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.decisions import (
    Decision,
    Standing,
    Tier,
    Why,
    decide,
    decide_again,
    draw_of,
    read_record,
    standing_of,
)  # fmt: skip
from models.features import FEATURES, Profile
from models.fraudrules import FraudRule
from models.policy import FraudPolicy
from models.scorer import Scorer

SHIPPED = Path(__file__).parents[2] / "streams" / "defaults" / "model.json"
POLICY = FraudPolicy(hold_score=Decimal("0.35"), unscored_cap={"EUR": 2_000})
KNOWN = Profile(country="DE")


WEIGHED = FraudPolicy.model_validate({
    "hold_score": Decimal("0.9"), "unscored_cap": {"EUR": 2_000},
    "review_cost": {"EUR": 300}, "wait_cost": Decimal("0.5"), "partial_min": 25,
    "explore": {"share": 2, "max": {"EUR": 100_000}, "day_max": {"EUR": 6_400_000}},
    "rules": [
        {"reason": "stolen", "tier": "reject", "cards": ["c-1"]},
        {"reason": "large", "above": {"EUR": 500_000}},
    ],
})  # fmt: skip
STOLEN, LARGE = WEIGHED.rules


def record(
    decision: Decision,
    vector: Sequence[float] | None,
    model: str | None,
    *,
    amount: int = 1,
    standing: Standing = Standing.ACTIVE,
    policy: FraudPolicy = POLICY,
) -> str:
    return decision.record(
        event_id="e-1",
        seller_id="de-1",
        topic="sales",
        partition=3,
        offset=2**40,
        vector=vector,
        model=model,
        at_ms=1_790_000_000_000,
        amount_minor=amount,
        currency="EUR",
        standing=standing,
        policy=policy.digest,
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


def weighed(
    score: float | None,
    amount: int,
    *,
    fits: Sequence[FraudRule] = (),
    drawn: float | None = None,
    profile: Profile | None = KNOWN,
) -> Decision:
    draw = None if drawn is None else lambda: drawn
    return decide(score, amount, "EUR", WEIGHED, profile=profile, fits=fits, draw=draw)


class TestCost:
    @pytest.mark.parametrize(
        ("score", "amount", "tier", "share_bp"),
        [
            # Paying costs .1 x 3,000, less .5 % of what is genuine for the wait.
            (0.1, 3_000, Tier.INSTANT, 0),
            (0.1, 3_141, Tier.INSTANT, 0),
            (0.1, 3_142, Tier.PARTIAL, 9_997),
            (0.1, 12_565, Tier.PARTIAL, 2_500),
            (0.1, 12_566, Tier.HOLD, 0),
            (0.001, 10**9, Tier.INSTANT, 0),  # to wait would cost more
            (0.8999, 100, Tier.INSTANT, 0),
            (0.9, 100, Tier.HOLD, 0),  # whatever the amount
        ],
    )
    def test_the_share_whose_expected_cost_is_a_review(
        self, score: float, amount: int, tier: Tier, share_bp: int
    ) -> None:
        decision = weighed(score, amount)
        assert (decision.tier, decision.share_bp) == (tier, share_bp)
        assert decision.reasons == (
            () if tier is Tier.INSTANT else (Why.SCORE if score >= 0.9 else Why.COST,)
        )
        assert decision.cost == amount * (score - 0.005 * (1 - score))

    def test_in_another_currency_the_score_decides(self) -> None:
        assert decide(0.8999, 10**9, "JPY", WEIGHED, profile=KNOWN).tier is Tier.INSTANT
        assert decide(0.9, 1, "JPY", WEIGHED, profile=KNOWN).tier is Tier.HOLD

    @given(
        scores=st.tuples(st.floats(0, 1), st.floats(0, 1)),
        amounts=st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)),
        review=st.integers(1, 10**9),
        wait=st.integers(0, 10_000),
        least=st.integers(0, 10_000),
    )
    def test_a_higher_score_or_amount_is_never_paid_a_larger_share(
        self,
        scores: tuple[float, float],
        amounts: tuple[int, int],
        review: int,
        wait: int,
        least: int,
    ) -> None:
        policy = WEIGHED.model_copy(
            update={"review_cost": {"EUR": review}, "wait_cost": wait, "partial_min": least}
        )
        policy.__dict__.pop("weighing", None)
        score, more_score = sorted(scores)
        amount, more = sorted(amounts)

        def share(score: float, amount: int) -> int:
            decision = decide(score, amount, "EUR", policy, profile=KNOWN)
            assert (decision.tier is Tier.PARTIAL) == (0 < decision.share_bp < 10_000)
            return 10_000 if decision.tier is Tier.INSTANT else decision.share_bp

        assert share(score, amount) >= share(more_score, amount)
        assert share(score, amount) >= share(score, more)


class TestRules:
    @pytest.mark.parametrize("score", [None, 0.0, 1.0])
    @pytest.mark.parametrize("profile", [KNOWN, None, Profile(suspended=True)])
    def test_a_rejecting_rule_goes_before_all(
        self, score: float | None, profile: Profile | None
    ) -> None:
        decision = weighed(score, 1, fits=[STOLEN, LARGE], drawn=0.0, profile=profile)
        assert decision.tier is Tier.REJECT
        assert decision.reasons == (Why.RULE, "stolen", "large")
        assert decision.rules == ("stolen", "large")

    def test_a_holding_rule_is_never_let_through(self) -> None:
        decision = weighed(0.0, 1, fits=[LARGE], drawn=0.0)
        assert decision.tier is Tier.HOLD
        assert decision.reasons == (Why.RULE, "large")
        assert (decision.draw, decision.explored, decision.propensity) == (None, False, 1.0)

    def test_every_reason_is_told(self) -> None:
        assert weighed(None, 2_001, fits=[LARGE]).reasons == (Why.RULE, "large", Why.UNSCORED)
        assert weighed(0.5, 1, fits=[LARGE], profile=None).reasons == (
            Why.RULE, "large", Why.PROFILE,
        )  # fmt: skip


class TestChance:
    def test_lets_a_share_of_what_would_be_held_through(self) -> None:
        decision = weighed(0.95, 100_000, drawn=0.0199)
        assert (decision.tier, decision.reasons, decision.explored) == (Tier.INSTANT, (), True)
        assert (decision.draw, decision.propensity) == (0.0199, 0.02)
        held = weighed(0.95, 100_000, drawn=0.02)
        assert (held.tier, held.explored, held.draw) == (Tier.HOLD, False, 0.02)
        assert held.propensity == 0.98

    @pytest.mark.parametrize(
        ("score", "amount", "profile"),
        [
            (0.95, 100_001, KNOWN),  # above the amount
            (None, 100_000, KNOWN),
            (0.95, 1, None),
            (0.95, 1, Profile(suspended=True)),
            (0.1, 5_000, KNOWN),  # a part of it is paid anyway
        ],
    )
    def test_and_nothing_else(
        self, score: float | None, amount: int, profile: Profile | None
    ) -> None:
        decision = weighed(score, amount, drawn=0.0, profile=profile)
        assert decision.tier in {Tier.HOLD, Tier.PARTIAL}
        assert (decision.draw, decision.explored, decision.propensity) == (None, False, 1.0)

    def test_draws_the_same_for_the_same_event_and_key_only(self) -> None:
        key, other = b"k" * 16, b"l" * 16
        assert draw_of("e-1", key) == draw_of("e-1", key) != draw_of("e-1", other)
        drawn = [draw_of(f"e-{i}", key) for i in range(2_000)]
        assert all(0 <= each < 1 for each in drawn)
        assert 20 < sum(each < 0.02 for each in drawn) < 60


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
            assert read.policy == POLICY.digest
            assert read.model == scorer.digest
            assert read.vector is not None
            again = float(scorer.score([read.vector])[0])
            assert again == read.decision.score == score
            rederived = decide_again(read, again, POLICY, partial(scorer.reasons, read.vector))
            assert rederived == read.decision == decision

    @given(
        score=st.none() | st.floats(0, 1),
        amount=st.integers(0, 10**7),
        fits=st.sampled_from([(), (LARGE,), (STOLEN, LARGE)]),
        drawn=st.none() | st.floats(0, 0.999),
        profile=st.sampled_from([KNOWN, None, Profile(suspended=True)]),
    )
    def test_every_decision_is_derived_again(
        self,
        score: float | None,
        amount: int,
        fits: tuple[FraudRule, ...],
        drawn: float | None,
        profile: Profile | None,
    ) -> None:
        decision = weighed(score, amount, fits=fits, drawn=drawn, profile=profile)
        value = record(decision, None, None, amount=amount, standing=standing_of(profile))
        read = read_record(value)
        assert read.decision == decision
        assert decide_again(read, score, WEIGHED, None) == decision

    def test_another_policy_has_not_its_rules(self) -> None:
        read = read_record(record(weighed(0.1, 1, fits=[LARGE]), None, None))
        with pytest.raises(ValueError, match="no rule large"):
            decide_again(read, 0.1, POLICY, None)

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
            ('"tier":"instant"', '"tier":"perhaps"'),
            ('"vector":"', '"vector":"A'),
            ('"score"', '"scare"'),
            ("}", ""),
        ],
    )
    def test_a_damaged_record_is_refused(self, old: str, new: str) -> None:
        good = record(Decision(Tier.INSTANT, (), 0.5), [0.0] * len(FEATURES), "ab")
        read_record(good)
        with pytest.raises(ValueError, match="not a decision"):
            read_record(good.replace(old, new, 1))
