"""Which schedule holds which share of an earning back, and until when."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from models.config import ConfigError, load
from models.debts import DAY_MS
from models.decisions import Tier
from models.events import CommissionEarned, SaleCompleted
from models.plan import CommissionPlan
from models.policy import PayoutPolicy
from models.rules import Rules
from models.schedules import Schedule, Sold, schedule_terms
from models.sellers import Seller
from streams.settings import DEFAULTS

AT = datetime(2026, 11, 23, 10, tzinfo=UTC)
AT_MS = round(AT.timestamp() * 1000)
POLICY = """
currencies:
  EUR: {min: 500, max: 500000}
fee_bearer: seller
rails: {}
fraud: {hold_score: 0.35}
release:
  - {reason: fitting_room, products: [shoes], share: 50, days: 30}
  - {tiers: [gold], share: 0, days: 1}
  - {reason: risk, score_min: 0.2, share: 100, days: 60}
  - {countries: [DE, AT], share: "12.5 %", days: 14}
"""


def of(**fields: Any) -> Schedule:
    return Schedule.model_validate({"share": 30, "days": 14, **fields})


@pytest.mark.parametrize(
    ("fields", "country", "tier", "sold", "fits"),
    [
        ({}, "DE", None, None, True),
        ({"countries": ["DE"]}, "DE", None, None, True),
        ({"countries": ["DE"]}, "AT", None, None, False),
        # Where it was sold counts, not where its seller lives.
        ({"countries": ["DE"]}, "DE", None, Sold(country="AT"), False),
        ({"countries": ["DE"]}, "AT", None, Sold(country="DE"), True),
        ({"tiers": ["new"]}, "DE", "new", None, True),
        ({"tiers": ["new"]}, "DE", "old", None, False),
        ({"tiers": ["new"]}, "DE", None, None, False),
        ({"products": ["a", "b"]}, "DE", None, Sold(groups=("c", "b")), True),
        ({"products": ["a"]}, "DE", None, Sold(groups=("c",)), False),
        ({"products": ["a"]}, "DE", None, None, False),
        ({"score_min": Decimal("0.2")}, "DE", None, Sold(score_bp=2_000), True),
        ({"score_min": Decimal("0.2")}, "DE", None, Sold(score_bp=1_999), False),
        # Without a score it may be anything; without a sale there is nothing to score.
        ({"score_min": Decimal("0.2")}, "DE", None, Sold(), True),
        ({"score_min": Decimal("0.2")}, "DE", None, None, False),
        ({"tiers": ["new"], "countries": ["DE"]}, "DE", "new", None, True),
        ({"tiers": ["new"], "countries": ["DE"]}, "AT", "new", None, False),
    ],
)
def test_it_fits_if_each_condition_does(
    fields: dict[str, Any], country: str, tier: str | None, sold: Sold | None, *, fits: bool
) -> None:
    assert of(**fields).fits(country, tier, sold) is fits


def test_the_first_that_fits_applies() -> None:
    schedules = (of(tiers=["gold"], share=0), of(share=10, days=3, reason="new"), of())

    def terms(tier: str) -> list[int | str] | None:
        return schedule_terms(schedules, country="DE", tier=tier, sold=None, occurred_ms=AT_MS)

    assert terms("silver") == [1_000, AT_MS + 3 * DAY_MS, "new"]
    assert terms("gold") is None
    assert schedule_terms((), country="DE", tier=None, sold=None, occurred_ms=AT_MS) is None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("share: 101, days: 1", "more than 100 percent"),
        ("share: 10, days: 0", "days"),
        ("share: 10, days: 366", "days"),
        ("share: 10", "days"),
        ("share: 10, days: 1, score_min: 2", "score_min"),
        ("share: 10, days: 1, countries: [Germany]", "countries"),
        ("share: 10, days: 1, reason: 'Some day'", "reason"),
        ("share: 10, days: 1, product: shoes", "product"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(line: str, told: str) -> None:
    policy = POLICY.replace("{tiers: [gold], share: 0, days: 1}", "{" + line + "}")
    with pytest.raises(ConfigError, match=told):
        load(policy, PayoutPolicy, "policy")


class TestRules:
    """What rules make of a sale, and of a commission above it."""

    @pytest.fixture
    def rules(self) -> Rules:
        from models.campaigns import Campaigns

        return Rules(
            load((DEFAULTS / "plan.yaml").read_text(), CommissionPlan, "plan"),
            load(POLICY, PayoutPolicy, "policy"),
            load("campaigns: []", Campaigns, "campaigns"),
            lambda _seller, _currency: None,
            retention_ms=90 * DAY_MS,
        )

    @staticmethod
    def seller(name: str = "anna", tier: str | None = None, country: str = "DE") -> Seller:
        from models.features import Profile

        return Seller(
            name, 1, country, "UTC", False, "ben", 0, (), Profile(country, None, None, False), tier
        )

    @staticmethod
    def sale(**fields: Any) -> SaleCompleted:
        body = {"id": "e", "sale_id": "s", "occurred_at": AT, "seller_id": "anna"}
        return SaleCompleted.model_validate(
            {**body, "currency": "EUR", "amount_minor": 10_000, **fields}
        )

    def test_a_sale_is_told_its_schedule(self, rules: Rules) -> None:
        shoes = {"lines": [{"line_id": "1", "amount_minor": 1, "group": "shoes"}]}

        def schedule(score: float | None, seller: Seller, **fields: Any) -> Any:
            operation = rules.sale(self.sale(**fields), seller, 2_500, Tier.INSTANT, score)
            return operation.get("schedule")

        anna = self.seller()
        assert schedule(0.1, anna, **shoes) == [5_000, AT_MS + 30 * DAY_MS, "fitting_room"]
        assert schedule(0.1, anna) == [1_250, AT_MS + 14 * DAY_MS, "return_window"]
        assert schedule(0.2, anna) == [10_000, AT_MS + 60 * DAY_MS, "risk"]
        assert schedule(None, anna) == [10_000, AT_MS + 60 * DAY_MS, "risk"]
        assert schedule(0.1, anna, country="FR") is None
        assert schedule(0.3, self.seller(tier="gold")) is None

    def test_nothing_of_what_is_held_for_review(self, rules: Rules) -> None:
        assert "schedule" not in rules.sale(self.sale(), self.seller(), 2_500, Tier.HOLD, 0.9)

    def test_a_commission_has_the_schedule_of_its_sale(self, rules: Rules) -> None:
        sale = self.sale(country="AT")
        up = rules.sale(sale, self.seller(country="FR"), 2_500, Tier.INSTANT, 0.01)["up"]
        assert up["sold"] == '{"country":"AT","score_bp":100}'
        source = {"sale_id": "s", "seller_id": "anna", "level": 1, "base_minor": 10_000}
        sold = Sold.model_validate_json(up["sold"])
        body = {"id": "c", "commission_id": "c", "occurred_at": AT, "seller_id": "ben"}
        event = CommissionEarned.model_validate(
            {**body, "currency": "EUR", "amount_minor": 500, "source": {**source, "sold": sold}}
        )
        operation = rules.commission(event, self.seller("ben", country="FR"), Tier.INSTANT)
        assert operation["schedule"] == [1_250, AT_MS + 14 * DAY_MS, "return_window"]

    def test_what_waits_for_its_profile_remembers_what_was_sold(self, rules: Rules) -> None:
        waits = rules.sale(self.sale(country="AT"), None, 2_500, Tier.INSTANT, 0.01)
        assert waits["sold"] == '{"country":"AT","score_bp":100}'
        assert "schedule" not in waits
