"""Earnings that are held in part, rejected, or let through by chance, through a real Redis."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic_core import to_json
from typer.testing import CliRunner

from models.decisions import draw_of
from models.events import decode
from models.features import Profile, observe
from models.ledger import Entry, Fold
from models.policy import ExplorePolicy
from models.scorer import Scorer, digest_of
from models.shards import SHARDS
from models.suspects import EXPLORED, PARTIAL, REJECTED
from streams.cli import app
from streams.settings import DEFAULTS
from streams.wallets.rebuild import rebuild
from streams.wallets.verify import verify
from tests.streams.wallets.harness import DAY_MS, PAY, TERMS, Company, Followed, Shard, campaign
from tests.streams.wallets.test_rebuild import keys
from tests.streams.wallets.test_releases import UNTIL_MS, Releasing

UP = {"to": "ben", "commission": "c-1", "sale": "x", "origin": "anna", "level": 1, "amount": 50,
      "occurred_at": "2026-11-23T10:00:00+00:00"}  # fmt: skip


@pytest.fixture
def anna(client: redis.Redis) -> Releasing:
    return Releasing(client)


def partial(anna: Releasing, amount: int, share: int, **fields: Any) -> dict[str, Any]:
    return anna.shard.sale(amount, rev=1, tier="partial", share=share, **fields)


def record_of(shard: Shard, sale: dict[str, Any]) -> dict[str, Any]:
    return json.loads(shard.client.get(shard.key("r:" + sale["record"])))  # type: ignore[no-any-return,arg-type]


class TestPartial:
    @pytest.mark.parametrize(
        ("amount", "share", "available", "held"),
        [(1_000, 3_000, 300, 700), (1, 9_999, 0, 1), (999, 3_333, 332, 667), (0, 1, 0, 0)],
    )
    def test_the_rest_of_the_share_is_held(
        self, anna: Releasing, amount: int, share: int, available: int, held: int
    ) -> None:
        sale = partial(anna, amount, share)
        assert anna.do(sale) == "booked"
        assert anna.shard.balances()[:2] == (available, held)
        assert record_of(anna.shard, sale)["held"] == held
        [entry] = anna.shard.entries
        assert (entry["tier"], entry["partial"]) == ("partial", [share, amount, held])
        anna.figures()

    def test_the_share_is_paid(self, anna: Releasing) -> None:
        anna.do(partial(anna, 2_000, 5_000, pay=dict(PAY)))
        [payout] = anna.shard.payouts().values()
        assert payout["amount_minor"] + payout["fee_minor"] == 1_000
        assert anna.shard.balances()[:3] == (0, 1_000, 1_000)

    def test_debt_goes_first(self, anna: Releasing) -> None:
        anna.owe(400)
        anna.do(partial(anna, 1_000, 5_000))
        assert anna.shard.balances() == (300, 300, 0, 0, 0)
        anna.figures()

    def test_returns_take_what_is_held_first(self, anna: Releasing) -> None:
        sale = partial(anna, 1_000, 5_000, schedule=[2_000, UNTIL_MS, "return_window"])
        anna.do(sale)
        assert anna.figures() == (300, 200, 0, 0)
        anna.returned(sale, 400)
        assert anna.shard.balances()[:2] == (300, 100)
        anna.returned(sale, 200)
        assert anna.figures() == (300, 100, 0, 0)
        anna.returned(sale, 400)
        assert anna.figures() == (0, 0, 0, 0)

    @pytest.mark.parametrize(
        ("back", "available", "held"), [(400, 500, 100), (500, 500, 0), (600, 400, 0)]
    )
    def test_also_those_that_come_ahead(
        self, anna: Releasing, back: int, available: int, held: int
    ) -> None:
        sale = partial(anna, 1_000, 5_000)
        early = anna.shard.return_of(sale, back * 4)
        sale["offset"] = early["offset"] + 1
        assert anna.do(early) == "parked"
        assert anna.do(sale) == "booked"
        assert anna.shard.balances()[:2] == (available, held)
        anna.figures()

    @pytest.mark.parametrize(
        "changes",
        [
            {"partial": [3_000, 1_000, 699]},
            {"partial": [3_011, 1_000, 700]},
            {"partial": [3_000, 999, 700]},
            {"partial": None},
            {"tier": "hold"},
            {"postings": [["anna/available", "EUR", 301, 301], ["anna/held", "EUR", 699, 699],
                          ["/commissions", "EUR", -1_000, -1_000]]},
        ],
    )  # fmt: skip
    def test_another_share_is_found(self, anna: Releasing, changes: dict[str, Any]) -> None:
        assert anna.shard.one(partial(anna, 1_000, 3_000)) == "booked"
        raw = {**json.loads(anna.shard.raw[-1]), **changes}
        raw = {name: value for name, value in raw.items() if value is not None}
        anna.fold.apply(Entry.parse(json.dumps(raw).encode()))
        assert PARTIAL in {each.invariant for each in anna.fold.violations}


class TestRejected:
    def test_nothing_is_earned_and_a_return_finds_it(self, client: redis.Redis) -> None:
        followed = Followed(client, campaigns=[campaign(EUR=[(1, 100, 50, 0, 0)])])
        shard = followed.shard
        sale = shard.sale(0, tier="reject", base=4_000, decision="{}")
        assert followed.do(sale) == "booked"
        assert shard.entries[-1]["tier"] == "reject"
        assert followed.do(shard.return_of(sale, 1_000)) == "booked"
        assert followed.do(shard.return_of(sale, 3_001)) == "refused:return_exceeds_sale"
        assert followed.do(shard.return_of(sale, 3_000)) == "booked"
        assert shard.balances() == (0, 0, 0, 0, 0)
        assert [topic for topic, _ in shard.messages] == ["ledger"]
        assert followed.fold.suspects.rejected == 1

    def test_one_that_earns_is_found(self, anna: Releasing) -> None:
        anna.shard.one(anna.sale(1_000))
        raw = {**json.loads(anna.shard.raw[-1]), "tier": "reject"}
        anna.fold.apply(Entry.parse(json.dumps(raw).encode()))
        assert REJECTED in {each.invariant for each in anna.fold.violations}


class TestExplored:
    def explore(self, shard: Shard, amount: int, most: int = 1_000) -> dict[str, Any]:
        return shard.sale(
            amount, decision='{"explored":true}', up=dict(UP),
            explore={"most": most, "decision": '{"explored":false}'},
        )  # fmt: skip

    def outcome(self, followed: Followed, amount: int) -> tuple[str, str, bool]:
        """Tier, the published decision, and whether what goes up is held."""
        assert followed.do(self.explore(followed.shard, amount)) == "booked"
        messages = dict(followed.shard.messages)
        held = '"held":true' in messages["commissions"].decode()
        return followed.shard.entries[-1]["tier"], messages["decisions"].decode(), held

    def test_as_far_as_the_day_goes(self, client: redis.Redis) -> None:
        followed = Followed(client)
        through = ("instant", '{"explored":true}', False)
        assert self.outcome(followed, 600) == through
        assert self.outcome(followed, 401) == ("hold", '{"explored":false}', True)
        assert self.outcome(followed, 400) == through
        assert self.outcome(followed, 1) == ("hold", '{"explored":false}', True)
        assert followed.shard.balances()[:2] == (1_000, 402)
        followed.shard.now_ms += DAY_MS
        assert self.outcome(followed, 1_000) == through
        followed.shard.now_ms -= DAY_MS  # a clock that goes back opens no day again
        assert self.outcome(followed, 1)[0] == "hold"
        assert followed.fold.suspects.explored == 3

    def test_within_one_call_as_well(self, client: redis.Redis) -> None:
        shard = Shard(client)
        assert shard.book(self.explore(shard, 600), self.explore(shard, 600)) == ["booked"] * 2
        assert [entry["tier"] for entry in shard.entries] == ["instant", "hold"]

    @pytest.mark.parametrize(
        "changes",
        [
            {"explored": ["EUR", 0, 600, 601, 1_000]},
            {"explored": ["EUR", 10**6, 600, 600, 599]},
            {"tier": "hold"},
        ],
    )
    def test_more_than_the_most_is_found(
        self, client: redis.Redis, changes: dict[str, Any]
    ) -> None:
        shard, fold = Shard(client), Fold()
        shard.one(self.explore(shard, 600))
        raw = {**json.loads(shard.raw[-1]), **changes}
        fold.apply(Entry.parse(json.dumps(raw).encode()))
        assert EXPLORED in {each.invariant for each in fold.violations}

    def test_all_shards_together_keep_the_whole(self) -> None:
        policy = ExplorePolicy.model_validate(
            {"share": 1, "max": {"EUR": 100}, "day_max": {"EUR": 6_463}}
        )
        assert policy.shard_day_max("EUR") * SHARDS <= 6_463
        assert policy.shard_day_max("USD") == 0


POLICY = (
    TERMS
    + """instant: [instant, partial]
fraud:
  hold_score: 0.999
  unscored_cap: {EUR: 2000}
  review_cost: {EUR: 10}
  explore: {share: 50, max: {EUR: 1000000}, day_max: {EUR: 64000000}}
  rules:
    - {reason: stolen, tier: reject, cards: [tok-stolen]}
    - {reason: large, above: {EUR: 5000000}}
"""
)
KEY = b"drawn by this key"


def chosen(count: int, *, through: bool) -> list[str]:
    """Ids of events that chance would let through, or would not."""
    ids = (f"ev-x{i}" for i in range(10_000))
    return [one for one in ids if (draw_of(one, KEY) < 0.5) is through][:count]


def explain(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["fraud", "explain", *arguments])


async def test_from_the_sale_to_verify_to_the_explanation_and_again_from_the_journal(
    own_broker: str,
    redis_url: str,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    scorer = Scorer.load((DEFAULTS / "model.json").read_text())
    async with Company(
        own_broker, redis_url, policy=POLICY, scorer=scorer, explore_key=KEY.decode()
    ) as company:
        await company.wallets.heal(range(SHARDS))
        company.publish(
            "sellers", company.seller("ben"), company.seller("anna", sponsor_id="ben"),
            company.seller("cleo"), company.seller("dora"),
        )  # fmt: skip
        await company.work()
        [through], [held] = chosen(1, through=True), chosen(1, through=False)
        stolen = company.sale("anna", 4_000, "stolen", instrument_ref="tok-stolen")
        large = company.sale("anna", 5_000_001, "large")
        part = company.sale("anna", amount_at(company, scorer, 1.2), "part")
        amount = amount_at(company, scorer, 50)
        first = company.sale("cleo", amount, "through") | {"id": through}
        second = company.sale("dora", amount, "held") | {"id": held}
        company.publish("sales", part, first, second, stolen, large)
        company.publish("sales", company.return_of("anna", 4_000, "stolen"))
        await company.work()
        verdict = await asyncio.to_thread(verify, company.settings, whole=True)
        assert verdict.ok, [check for check in verdict.checks if not check.ok]
        tiers = verdict.fold.tiers
        assert tiers[stolen["id"]] == "reject"
        assert tiers[large["id"]] == "hold"
        assert tiers[part["id"]] == "partial"
        assert (tiers[through], tiers[held]) == ("instant", "hold")
        suspects = verdict.fold.suspects
        assert (suspects.partial, suspects.explored, suspects.rejected) == (1, 1, 1)
        scraped = company.metrics.exposition().decode()
        assert 'payouts_decisions_total{tier="reject"} 1.0' in scraped
        assert 'payouts_fraud_rules_total{rule="stolen"} 1.0' in scraped
        explored = amount // 4
        found = f'payouts_fraud_explored_minor_units_total{{currency="EUR"}} {explored}.0'
        assert found in scraped

        before = keys(client)
        client.flushall()
        await asyncio.to_thread(rebuild, company.settings)
        assert keys(client) == before

        # What two publish comes twice.
        await company.send([message for message in company.sent if message.topic == "decisions"])
        monkeypatch.setenv("PAYOUTS_KAFKA_BROKERS", own_broker)
        monkeypatch.setenv("PAYOUTS_POLICY", str(policy))
        for event in (stolen["id"], large["id"], part["id"], through, held):
            result = await asyncio.to_thread(explain, event, "--json")
            assert result.exit_code == 0, result.output
            told = json.loads(result.stdout)
            assert told["found"]["decisions"] == 1
            derived = told["derived"]
            assert derived["same"]
            assert derived["score"] == told["decision"]["score"]
            shares = [one["share"] for one in derived["shares"]]
            assert math.fsum((derived["intercept"], *shares)) == derived["logit"]
            assert 1 / (1 + math.exp(-derived["logit"])) == pytest.approx(derived["score"])
        assert told["found"]["looked_at"] == 10
        assert told["decision"]["propensity"] == 0.5
        await asyncio.to_thread(_is_told, held, policy, tmp_path)


def amount_at(company: Company, scorer: Scorer, reviews: float) -> int:
    """The amount of a first sale whose expected cost is so many reviews'."""
    for amount in range(400, 4_000_000, 2_000):
        sale = company.sale("anna", amount, "any")
        event = decode("sales", to_json(sale), now_ms=company.clock.now_ms, retention_ms=DAY_MS)
        row, _ = observe({}, event, Profile("DE"))
        assert row is not None
        if scorer.score([row])[0] * amount / 4 > reviews * 10:
            return amount
    raise AssertionError("no amount is suspected so much")


def _is_told(event: str, policy: Path, tmp_path: Path) -> None:
    """What people see of it, and one line for all that cannot be."""
    result = explain(event, "--seller", "dora")
    assert result.exit_code == 0, result.output
    assert "hold; decisions:" in result.stdout
    assert "share of the logit" in result.stdout
    other = tmp_path / "other.yaml"
    other.write_text(POLICY.replace("review_cost: {EUR: 10}", "review_cost: {EUR: 11}"))
    text = (DEFAULTS / "model.json").read_text()
    artefact = json.loads(text)
    artefact["intercept"] += 1e-12
    artefact["digest"] = digest_of(artefact)
    changed, damaged = tmp_path / "changed.json", tmp_path / "damaged.json"
    changed.write_text(json.dumps(artefact))
    damaged.write_text(text[:-5])
    for arguments, code, words in (
        (("ev-none",), 1, "no decision of ev-none in the 10 of all partitions that decisions"),
        (("ev-none", "--seller", "ben"), 1, "of the partition of ben"),
        ((event, "--policy", str(other)), 1, "name its file with --policy"),
        ((event, "--policy", str(tmp_path / "no.yaml")), 2, "cannot be read"),
        ((event, "--model", str(changed)), 1, "name its file with --model"),
        ((event, "--model", str(damaged)), 2, "not JSON"),
        ((event, "--model", str(tmp_path / "none.json")), 2, "cannot be read: No such file"),
    ):
        result = explain(*arguments)
        assert result.exit_code == code, (arguments, result.output)
        assert words in result.stderr
        assert result.stderr.count("\n") == 1
