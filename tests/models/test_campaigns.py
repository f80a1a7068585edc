"""Campaigns: steps, the seller's calendar, and the campaigns that are refused."""

import timeit
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.campaigns import (
    TIERS_MAX,
    Campaign,
    Campaigns,
    Period,
    Step,
    period_of,
    running,
    steps,
)
from models.config import ConfigError, load

HEAD = """\
campaigns:
  - id: one
    metric: volume
    period: day
    tiers:
      - reach: {EUR: 1000, JPY: 900}
        credit: {EUR: 50, JPY: 40}
      - reach: {EUR: 2000, JPY: 1800}
        credit: {percent: 2.5, cap: {EUR: 100, JPY: 90}}
"""


def campaigns(old: str = "", new: str = "") -> Campaigns:
    assert old in HEAD
    return load(HEAD.replace(old, new, 1) if old else HEAD, Campaigns, "campaigns.yaml")


def campaign(old: str = "", new: str = "") -> Campaign:
    return campaigns(old, new).campaigns[0]


def of_period(period: str) -> Campaign:
    return campaign("period: day", f"period: {period}")


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


class TestSteps:
    def test_each_currency_has_its_own(self) -> None:
        assert steps(campaign(), "EUR") == (Step(1, 1000, 50, 0, 0), Step(2, 2000, 0, 250, 100))
        assert steps(campaign(), "JPY") == (Step(1, 900, 40, 0, 0), Step(2, 1800, 0, 250, 90))
        assert steps(campaign(), "USD") == ()

    def test_a_count_is_the_same_in_every_currency(self) -> None:
        found = load(
            "campaigns: [{id: c, metric: count, period: lifetime, "
            "tiers: [{reach: 1, credit: {EUR: 5}}, {reach: 10, credit: {EUR: 7}}]}]",
            Campaigns,
            "c.yaml",
        ).campaigns[0]
        assert steps(found, "EUR") == (Step(1, 1, 5, 0, 0), Step(2, 10, 7, 0, 0))
        assert steps(found, "USD") == ()

    def test_a_percent_may_go_without_a_cap(self) -> None:
        found = campaign(", cap: {EUR: 100, JPY: 90}", "")
        assert steps(found, "EUR")[1] == Step(2, 2000, 0, 250, 0)

    def test_expiry_is_for_ever_unless_given(self) -> None:
        assert campaign().expires_ms == 0
        assert campaign("period: day", "period: day\n    expires_days: 2").expires_ms == 172_800_000


class TestRunning:
    def test_from_the_start_up_to_the_end(self) -> None:
        found = campaign(
            "period: day",
            "period: day\n    start: 2026-11-23T00:00:00+01:00\n    end: 2026-11-24T00:00:00Z",
        )
        start, end = ms("2026-11-22T23:00:00+00:00"), ms("2026-11-24T00:00:00+00:00")
        moments = (start - 1, start, end - 1, end)
        assert [running(found, moment) for moment in moments] == [False, True, True, False]

    def test_always_without_a_start_and_an_end(self) -> None:
        assert running(campaign(), 0)
        assert running(campaign(), ms("9999-12-31T00:00:00+00:00"))


class TestPeriods:
    @pytest.mark.parametrize(
        ("period", "at", "zone", "expected", "start", "end"),
        [
            (
                "day", "2026-11-23T23:30:00+00:00", "UTC",
                "2026-11-23", "11-23T00:00Z", "11-24T00:00Z",
            ),
            (
                "day", "2026-11-23T23:30:00+00:00", "Europe/Berlin",
                "2026-11-24", "11-23T23:00Z", "11-24T23:00Z",
            ),
            (
                "day", "2026-11-23T20:00:00+00:00", "Asia/Tokyo",
                "2026-11-24", "11-23T15:00Z", "11-24T15:00Z",
            ),
            (
                "week", "2026-11-22T23:30:00+00:00", "Europe/Berlin",
                "2026-W48", "11-22T23:00Z", "11-29T23:00Z",
            ),
            (
                "month", "2026-11-01T02:00:00+00:00", "America/Sao_Paulo",
                "2026-10", "10-01T03:00Z", "11-01T03:00Z",
            ),
            # A day of 25 hours, one of 23, and a month with both its ends in other offsets.
            (
                "day", "2026-10-25T12:00:00+00:00", "Europe/Paris",
                "2026-10-25", "10-24T22:00Z", "10-25T23:00Z",
            ),
            (
                "day", "2026-03-29T12:00:00+00:00", "Europe/London",
                "2026-03-29", "03-29T00:00Z", "03-29T23:00Z",
            ),
            (
                "month", "2026-03-15T12:00:00+00:00", "America/Toronto",
                "2026-03", "03-01T05:00Z", "04-01T04:00Z",
            ),
            # Midnight does not exist: clocks go from 00:00 to 01:00.
            (
                "day", "2026-03-29T12:00:00+00:00", "Asia/Beirut",
                "2026-03-29", "03-28T22:00Z", "03-29T21:00Z",
            ),
            # Midnight comes twice: clocks go from 01:00 to 00:00.
            (
                "day", "2026-11-01T12:00:00+00:00", "America/Havana",
                "2026-11-01", "11-01T04:00Z", "11-02T05:00Z",
            ),
        ],
    )  # fmt: skip
    def test_of_the_sellers_calendar(  # noqa: PLR0917
        self, period: str, at: str, zone: str, expected: str, start: str, end: str
    ) -> None:
        def moment(short: str) -> int:
            return ms(f"2026-{short[:-1]}:00+00:00")

        found = period_of(of_period(period), ms(at), zone)
        assert found == Period(expected, moment(end), moment(start))

    @pytest.mark.parametrize(
        ("at", "expected"),
        [
            ("2024-12-29", "2024-W52"),
            ("2024-12-30", "2025-W01"),  # weeks are of the year their Thursday is in
            ("2027-01-03", "2026-W53"),
            ("2027-01-04", "2027-W01"),
        ],
    )
    def test_iso_weeks_at_the_turn_of_the_year(self, at: str, expected: str) -> None:
        assert period_of(of_period("week"), ms(f"{at}T12:00:00+00:00"), "UTC").id == expected

    def test_a_lifetime_has_no_end(self) -> None:
        found = of_period("lifetime")
        assert period_of(found, 0, "UTC") == period_of(found, 2**50, "Asia/Tokyo")
        assert period_of(found, 0, "UTC") == Period("life", None, None)

    def test_a_day_that_a_country_left_out(self) -> None:
        # Samoa went from 29 to 31 December 2011.
        day = of_period("day")
        change = ms("2011-12-30T10:00:00+00:00")
        assert period_of(day, change - 1, "Pacific/Apia").id == "2011-12-29"
        assert period_of(day, change, "Pacific/Apia").id == "2011-12-31"
        assert period_of(day, change - 1, "Pacific/Apia").end_ms == change

    def test_a_day_once_begun_does_not_end_when_clocks_go_back(self) -> None:
        # In 2010 St John's went from 00:01 back to 23:01 of the day before.
        day = of_period("day")
        midnight = ms("2010-11-07T00:00:00-02:30")
        for minutes, expected in ((-1, "2010-11-06"), (0, "2010-11-07"), (30, "2010-11-07")):
            at = midnight + minutes * 60_000
            assert period_of(day, at, "America/St_Johns").id == expected
        assert period_of(day, midnight - 1, "America/St_Johns").end_ms == midnight

    def test_an_unknown_zone_is_refused(self) -> None:
        with pytest.raises(ZoneInfoNotFoundError):
            period_of(of_period("day"), 0, "Mars/Olympus")

    @settings(max_examples=600, deadline=None)
    @given(
        st.sampled_from(sorted(available_timezones())),
        st.sampled_from(["day", "week", "month"]),
        st.integers(ms("2012-01-01T00:00:00+00:00"), ms("2037-01-01T00:00:00+00:00")),
    )
    def test_agrees_with_the_clock_on_the_wall(self, zone: str, kind: str, at: int) -> None:
        found = period_of(of_period(kind), at, zone)
        there = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)).astimezone(
            ZoneInfo(zone)
        )
        names = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}
        assert found.id == there.strftime(names[kind])
        assert found.start_ms is not None
        assert found.end_ms is not None
        assert found.start_ms <= at < found.end_ms
        # Periods meet: the last millisecond is in, the next one begins the next period.
        last = period_of(of_period(kind), found.end_ms - 1, zone)
        following = period_of(of_period(kind), found.end_ms, zone)
        assert last == found
        assert following.id > found.id
        assert following.start_ms == found.end_ms

    def test_asking_again_is_quick(self) -> None:
        day, at = of_period("day"), ms("2026-11-23T12:00:00+00:00")
        period_of(day, at, "Europe/Berlin")
        best = min(
            timeit.repeat(lambda: period_of(day, at, "Europe/Berlin"), number=2000, repeat=9)
        )
        assert best / 2000 < 5e-6, "the goal is 1 µs; five leave room for a busy machine"


MORE = "  - {id: one, metric: count, period: day, tiers: [{reach: 1, credit: {EUR: 1}}]}\n"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("id: one", "id: 'a:b'", "2: campaigns[0].id: "),
        ("id: one", "id: 5", "2: campaigns[0].id: "),
        ("metric: volume", "metric: sales", "3: campaigns[0].metric: "),
        ("metric: volume", "metric: count", "6: campaigns[0].tiers[0].reach: metric count needs a"),
        (
            "metric: volume",
            "metric: earnings",
            "9: campaigns[0].tiers[1].credit.percent: a percent",
        ),
        ("period: day", "period: year", "4: campaigns[0].period: "),
        (
            "period: day",
            "period: day\n    start: 2026-11-23",
            "5: campaigns[0].start: write a time",
        ),
        (
            "period: day",
            "period: day\n    start: 1795500000",
            "5: campaigns[0].start: write a time",
        ),
        (
            "period: day",
            "period: day\n    start: 2026-11-23T00:00:00",
            "5: campaigns[0].start: write a time",
        ),
        (
            "period: day",
            "period: day\n    start: 2026-13-23T00:00:00Z",
            "5: campaigns[0].start: ",
        ),
        (
            "period: day",
            "period: day\n    end: 2026-11-23T00:00:00Z\n    start: 2026-11-23T01:00:00+01:00",
            "5: campaigns[0].end: the end is not after the start",
        ),
        ("period: day", "period: day\n    expires_days: 0", "5: campaigns[0].expires_days: "),
        ("period: day", "period: day\n    expires_days: 2.5", "5: campaigns[0].expires_days: "),
        ("period: day", "period: day\n    expire: 2", "5: campaigns[0].expire: is not known here"),
        (
            "{EUR: 1000, JPY: 900}",
            "10",
            "6: campaigns[0].tiers[0].reach: metric volume needs an am",
        ),
        ("{EUR: 1000, JPY: 900}", "{}", "6: campaigns[0].tiers[0].reach: names no currency"),
        ("{EUR: 1000, JPY: 900}", "10.5", "6: campaigns[0].tiers[0].reach"),
        ("EUR: 1000", "EUR: 10.00", "6: campaigns[0].tiers[0].reach.EUR: write an integer"),
        ("EUR: 1000", "EUX: 1000", "6: campaigns[0].tiers[0].reach.EUX: 'EUX' is not an ISO"),
        ("EUR: 1000", "GBP: 1000", "7: campaigns[0].tiers[0].credit: reach and credit name differ"),
        ("EUR: 50", "EUR: 0", "7: campaigns[0].tiers[0].credit.EUR: must be more than 0"),
        ("{EUR: 50, JPY: 40}", "{}", "7: campaigns[0].tiers[0].credit: grants nothing"),
        (
            "{EUR: 50, JPY: 40}",
            "{cap: {EUR: 1}}",
            "7: campaigns[0].tiers[0].credit: grants nothing",
        ),
        (
            "EUR: 2000",
            "EUR: 1000",
            "8: campaigns[0].tiers[1].reach.EUR: the thresholds of the tier",
        ),
        ("JPY: 1800", "JPY: 899", "8: campaigns[0].tiers[1].reach.JPY: the thresholds of the tier"),
        ("percent: 2.5", "percent: 0", "9: campaigns[0].tiers[1].credit.percent: grants nothing"),
        ("percent: 2.5", "percent: 2.555", "9: campaigns[0].tiers[1].credit.percent: 2.555 is not"),
        ("percent: 2.5", "percent: 2, EUR: 5", "9: campaigns[0].tiers[1].credit.EUR: is not known"),
        (", JPY: 90}}", "}}", "9: campaigns[0].tiers[1].credit: reach and credit name different"),
        (
            "JPY: 1800}\n        credit: {percent: 2.5, cap: {EUR: 100, JPY: 90}}",
            "USD: 1}\n        credit: {EUR: 1, USD: 1}",
            "8: campaigns[0].tiers[1]: the tiers name different currencies: JPY, USD",
        ),
        (
            "campaigns:\n",
            "campaigns:\n" + MORE,
            "3: campaigns[1].id: another campaign has the id one",
        ),
    ],
)
def test_refused_with_the_line(old: str, new: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        campaigns(old, new)
    (problem,) = caught.value.problems
    assert str(problem).startswith("campaigns.yaml:" + expected), problem


@pytest.mark.parametrize("count", [0, TIERS_MAX + 1])
def test_tiers_are_bounded(count: int) -> None:
    tiers = ", ".join(f"{{reach: {n + 1}, credit: {{EUR: 1}}}}" for n in range(count))
    text = f"campaigns: [{{id: c, metric: count, period: day, tiers: [{tiers}]}}]"
    with pytest.raises(ConfigError, match="tiers"):
        load(text, Campaigns, "c.yaml")


def test_no_campaigns_at_all() -> None:
    assert load("campaigns: []", Campaigns, "c.yaml").campaigns == ()


def test_the_shipped_campaigns() -> None:
    path = Path(__file__).parents[2] / "streams" / "defaults" / "campaigns.yaml"
    shipped = load(path.read_text(), Campaigns, path.name).campaigns
    assert {one.metric for one in shipped} == {"volume", "earnings", "count"}
    assert {one.period for one in shipped} == {"day", "week", "month", "lifetime"}
    for one in shipped:
        for currency in ("EUR", "GBP", "USD", "JPY", "CAD", "BRL", "BHD"):
            assert steps(one, currency), f"{one.id} grants nothing in {currency}"
