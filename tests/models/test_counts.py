"""In which campaigns an event counts: by audience, level, and the version that its period has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from models.campaigns import Campaigns
from models.config import ConfigError, load
from models.features import Profile
from models.plan import CommissionPlan
from models.policy import PayoutPolicy
from models.rules import Rules
from models.sellers import Seller
from streams.settings import DEFAULTS

TIERS = "tiers: [{reach: {EUR: 100}, credit: {EUR: 5}}]"
DAY_MS = 86_400_000


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def rules(*campaigns: str) -> Rules:
    text = "campaigns:\n" + "".join(f"  - {{{each}, {TIERS}}}\n" for each in campaigns)
    return Rules(
        load((DEFAULTS / "plan.yaml").read_text(), CommissionPlan, "plan"),
        load((DEFAULTS / "policy.yaml").read_text(), PayoutPolicy, "policy"),
        load(text, Campaigns, "campaigns.yaml"),
        lambda *_: None,
        retention_ms=DAY_MS,
    )


def seller(country: str = "DE", tier: str | None = None, *tags: str, zone: str = "UTC") -> Seller:
    profile = Profile(country)
    return Seller("anna", 1, country, zone, False, None, 0, (), profile, tier, frozenset(tags))


def counted(
    given: Rules, who: Seller, at: str = "2026-11-18T12:00:00", level: int = 0
) -> list[Any]:
    """Index and period of each campaign that an event counts in."""
    return [each[:2] for each in given._counts("EUR", ms(at), who, level)]


@pytest.mark.parametrize(
    ("audience", "who", "included"),
    [
        ("countries: [DE, AT]", seller("AT"), True),
        ("countries: [DE, AT]", seller("FR"), False),
        ("tiers: [gold]", seller("DE", "gold"), True),
        ("tiers: [gold]", seller("DE"), False),
        ("tags: [pilot, press]", seller("DE", None, "press", "other"), True),
        ("tags: [pilot, press]", seller("DE", None, "other"), False),
        ("countries: [DE], tags: [press]", seller("DE", None, "press"), True),
        ("countries: [DE], tags: [press]", seller("FR", None, "press"), False),
    ],
)
def test_an_audience_has_who_fits_each_of_its_lists(
    audience: str, who: Seller, included: bool
) -> None:
    given = rules(f"id: c, metric: volume, period: day, audience: {{{audience}}}")
    assert bool(counted(given, who)) == included
    # Sellers alike but for what the audience looks at are not taken for one another.
    assert bool(counted(given, seller("XX"))) is False


@pytest.mark.parametrize(
    ("metric", "levels"),
    [
        ("metric: volume", [0]),
        ("metric: team_volume, levels: 2", [0, 1, 2]),
        ("metric: earnings", [-1, 0, 1, 2, 3]),
    ],
)
def test_levels(metric: str, levels: list[int]) -> None:
    given = rules(f"id: c, {metric}, period: day")
    found = [level for level in range(-1, 4) if counted(given, seller(), level=level)]
    assert found == levels


class TestVersions:
    OLD = "id: c, metric: volume, period: week"
    NEW = "id: c, metric: volume, period: week, effective: 2026-11-18T00:00:00Z"

    def test_a_period_that_began_before_keeps_the_old_one(self) -> None:
        given = rules(self.OLD, self.NEW)
        assert counted(given, seller(), "2026-11-17T12:00:00") == [[1, "2026-W47"]]
        assert counted(given, seller(), "2026-11-22T23:59:59") == [[1, "2026-W47"]]
        assert counted(given, seller(), "2026-11-23T00:00:00") == [[2, "2026-W48"]]

    def test_by_the_sellers_own_calendar(self) -> None:
        given = rules(self.OLD, self.NEW.replace("18T00", "23T00"))
        tokyo = seller(zone="Asia/Tokyo")  # her week 48 begins at 15:00 UTC the day before
        assert counted(given, tokyo, "2026-11-24T00:00:00") == [[1, "2026-W48"]]
        assert counted(given, seller(), "2026-11-24T00:00:00") == [[2, "2026-W48"]]

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ("id: c, metric: count, period: week, effective: 2026-11-18T00:00:00Z", "keeps the"),
            ("id: c, metric: volume, period: day, effective: 2026-11-18T00:00:00Z", "keeps the"),
            ("id: c, metric: volume, period: week", "says from when on"),
        ],
    )
    def test_what_a_version_may_not_change(self, changed: str, message: str) -> None:
        tiers = "tiers: [{reach: 1, credit: {EUR: 5}}]" if "count" in changed else TIERS
        text = f"campaigns:\n  - {{{self.OLD}, {TIERS}}}\n  - {{{changed}, {tiers}}}\n"
        with pytest.raises(ConfigError, match=message):
            load(text, Campaigns, "campaigns.yaml")


def test_a_streak_names_the_periods_before_and_behind() -> None:
    given = rules("id: c, metric: volume, period: month, streak: 3")
    [[_, period, forget, near]] = given._counts("EUR", ms("2026-11-18T12:00:00"), seller(), 0)
    assert period == "2026-11"
    assert [each[0] for each in near] == ["2026-09", "2026-10", "2026-11", "2026-12", "2027-01"]
    # A total is kept for as long as the last period that it is in a row with.
    assert forget == near[2][1] == ms("2027-02-01T00:00:00") + DAY_MS
