"""`payouts campaign`: contradictions with file and line, and a trial before it goes live."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from streams.cli import app

runner = CliRunner()

NOW = datetime.now(UTC) - timedelta(days=2)

CAMPAIGNS = """\
campaigns:
  - id: welcome
    metric: first_sale
    period: lifetime
    audience: {countries: [DE], tags: [new]}
    tiers:
      - reach: {EUR: 1000}
        credit: {EUR: 500}
  - id: team
    metric: team_volume
    levels: 1
    period: month
    budget: {EUR: 700}
    tiers:
      - reach: {EUR: 5000}
        bonus: {EUR: 400}
"""


REWARDS = """\
campaigns:
  - id: "off"
    metric: volume
    period: lifetime
    budget: {EUR: 500}
    tiers:
      - reach: {EUR: 1000}
        discount: {percent: 15, cap: {EUR: 300}}
reinvest:
  - {id: up, bonus: 5, budget: {EUR: 70}}
"""


class Events:
    """Writes a file of events."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, type_: str, seller: str, **fields: Any) -> None:
        at = (NOW + timedelta(seconds=len(self.lines))).isoformat()
        event = {"id": f"e{len(self.lines)}", "type": type_, "version": 1, "occurred_at": at,
                 "seller_id": seller, **fields}  # fmt: skip
        self.lines.append(json.dumps(event))

    def sale(self, seller: str, amount: int) -> str:
        name = f"s{len(self.lines)}"
        self.add("sale.completed", seller, sale_id=name, currency="EUR", amount_minor=amount)
        return name

    def write(self, path: Path) -> Path:
        path.write_text("\n".join([*self.lines, ""]))
        return path


@pytest.fixture
def campaigns(tmp_path: Path) -> Path:
    path = tmp_path / "campaigns.yaml"
    path.write_text(CAMPAIGNS)
    return path


def simulate(campaigns: Path, events: Path) -> dict[str, Any]:
    result = runner.invoke(
        app, ["campaign", "simulate", str(campaigns), "--events", str(events), "--json"]
    )
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


class TestSimulate:
    def test_says_what_to_whom_at_what_cost(self, campaigns: Path, tmp_path: Path) -> None:
        events = Events()
        events.add("seller.updated", "ann", country="DE", tags=["new"])
        events.add("seller.updated", "bob", country="DE", tags=["new"], sponsor_id="ann")
        events.add("seller.updated", "cy", country="FR", tags=["new"])
        returned = events.sale("bob", 4_000)
        events.sale("bob", 5_000)  # Bob's 9,000 are Ann's team's as well: 700 pay one of them
        events.sale("ann", 1_000)
        events.sale("cy", 6_000)
        events.sale("nobody", 9_000)
        events.add("sale.returned", "bob", sale_id=returned, currency="EUR", amount_minor=3_500)
        found = simulate(campaigns, events.write(tmp_path / "events.ndjson"))
        assert found["without_profile"] == 1
        assert found["refused"] == {}
        welcome = {
            row["seller_id"]: row["amount_minor"]
            for row in found["sellers"]
            if row["campaign"] == "welcome"
        }
        # Bob's first sale was taken back below what it has to reach; Cy is not in the audience.
        assert welcome == {"ann": 500, "bob": 0}
        totals = {row["campaign"]: row for row in found["campaigns"]}
        assert totals["welcome"]["cost_minor"] == 500
        assert (totals["team"]["cost_minor"], totals["team"]["grants"]) == (400, 1)
        assert totals["team"]["no_budget_minor"] == 800

    def test_shows_it_as_a_table(self, campaigns: Path, tmp_path: Path) -> None:
        events = Events()
        events.add("seller.updated", "ann", country="DE", tags=["new"])
        events.sale("ann", 1_000)
        path = events.write(tmp_path / "events.ndjson")
        result = runner.invoke(app, ["campaign", "simulate", str(campaigns), "--events", str(path)])
        assert result.exit_code == 0, result.output
        assert "welcome" in result.stdout
        assert "ann" in result.stdout
        assert "5.00 EUR" in result.stdout

    def test_tells_of_discounts_and_of_bonuses_on_what_is_reinvested(self, tmp_path: Path) -> None:
        path = tmp_path / "campaigns.yaml"
        path.write_text(REWARDS)
        checked = runner.invoke(app, ["campaign", "check", str(path)])
        assert "2 campaigns" in checked.stdout
        events = Events()
        for seller in ("ann", "bob"):
            events.add("seller.updated", seller, country="DE", reinvest={"EUR": {"percent": 100}})
            events.sale(seller, 4_000)
        found = simulate(path, events.write(tmp_path / "events.ndjson"))
        rows = {row["campaign"]: row for row in found["campaigns"]}
        off, up = rows["off"], rows["up"]
        assert (off["kind"], off["cost_minor"], off["no_budget_minor"]) == ("discount", 300, 300)
        assert (up["kind"], up["sellers"], up["cost_minor"]) == ("reinvest", 1, 50)

    def test_a_line_that_is_no_event_is_named(self, campaigns: Path, tmp_path: Path) -> None:
        path = tmp_path / "events.ndjson"
        path.write_text('\n{"type": "rate.quoted"}\n')
        result = runner.invoke(app, ["campaign", "simulate", str(campaigns), "--events", str(path)])
        assert result.exit_code == 1
        assert f"{path}:2: no event" in result.stderr

    def test_events_come_from_one_place(self, campaigns: Path) -> None:
        result = runner.invoke(app, ["campaign", "simulate", str(campaigns)])
        assert result.exit_code == 2
        assert "--events FILE or --from-topic" in result.stderr


class TestCheck:
    def test_what_is_right(self, campaigns: Path) -> None:
        result = runner.invoke(app, ["campaign", "check", str(campaigns)])
        assert result.exit_code == 0, result.output
        assert "2 campaigns" in result.stdout

    @pytest.mark.parametrize(
        ("old", "new", "line", "message"),
        [
            ("period: lifetime", "period: month", 4, "a first sale happens once"),
            ("levels: 1\n", "levels: 9\n", 1, "team counts 9 levels down, plan"),
            ("    levels: 1\n", "", 10, "metric team_volume needs levels"),
            ("budget: {EUR: 700}", "budget: {EUR: 300}", 16, "more than the whole budget of 300"),
            ("budget: {EUR: 700}", "budget: {USD: 700}", 13, "different currencies: EUR, USD"),
            ("{countries: [DE], tags: [new]}", "{}", 5, "names nobody"),
            ("countries: [DE]", "countries: [de]", 5, "should match pattern"),
            ("countries: [DE]", "countries: []", 5, "at least 1 item"),
            ("        bonus: {EUR: 400}\n", "", 15, "one of them is missing"),
            (
                "credit: {EUR: 500}", "credit: {EUR: 5}\n        bonus: {EUR: 5}",
                7, "not credit and bonus",
            ),
            ("budget:", "expires_days: 5\n    budget:", 13, "does not expire"),
            ("bonus: {EUR: 400}", "discount: {percent: 15}", 16, "a budget needs a cap"),
            ("bonus: {EUR: 400}", "discount: {}", 16, "grants nothing"),
            ("bonus: {EUR: 400}", "discount: {percent: 5, cap: {EUR: 701}}", 16, "than the whole"),
            ("bonus: {EUR: 400}", "discount: {percent: 5, amounts: {EUR: 1}}", 16, "either"),
            ("bonus: {EUR: 400}", "discount: {percent: 101}", 16, "percent"),
            (
                "bonus: {EUR: 400}", "discount: {amounts: {EUR: 1}, basket_min: {USD: 1}}",
                16, "names other currencies: USD",
            ),
            (
                "bonus: {EUR: 400}", "discount: {amounts: {EUR: 1}, products: [a, a]}",
                16, "stands here twice",
            ),
            (
                "bonus: {EUR: 400}", 'discount: {amounts: {EUR: 1}, products: ["a|b"]}',
                16, "should match pattern",
            ),
            ("id: team", "id: welcome", 9, "another campaign has the id welcome"),
            (
                "period: lifetime", "period: lifetime\n    effective: 2026-01-01T00:00:00Z",
                5, "a lifetime never begins anew",
            ),
        ],
    )  # fmt: skip
    def test_a_contradiction_is_one_line(
        self, campaigns: Path, old: str, new: str, line: int, message: str
    ) -> None:
        assert old in CAMPAIGNS
        campaigns.write_text(CAMPAIGNS.replace(old, new, 1))
        result = runner.invoke(app, ["campaign", "check", str(campaigns)])
        assert result.exit_code == 1, result.output
        first = result.stderr.splitlines()[0]
        assert first.startswith(f"{campaigns}:{line}: "), first
        assert message in first
