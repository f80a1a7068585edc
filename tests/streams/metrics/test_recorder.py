"""Metrics: verbs count what they say, names follow the rules."""

import re

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from models.compiled import form
from models.payouts import PayoutState
from models.refusals import Reason
from streams.engine import EngineCounters
from streams.metrics import Metrics, age_word
from streams.metrics.definitions import NOTICE_RESULTS, SCORE_BINS
from streams.metrics.kinds import Gauges, Histograms


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_batch_counts_its_events_by_outcome(metrics: Metrics) -> None:
    metrics.batch("sales", {"booked": 3, "duplicate": 1})
    metrics.batch("sales", {"booked": 2})
    assert sample(metrics, "payouts_events_total", topic="sales", outcome="booked") == 5
    assert sample(metrics, "payouts_events_total", topic="sales", outcome="duplicate") == 1
    assert sample(metrics, "payouts_batch_events_count", topic="sales") == 2
    assert sample(metrics, "payouts_batch_events_sum", topic="sales") == 6


def test_stages_are_timed_also_when_they_fail(metrics: Metrics) -> None:
    with pytest.raises(ValueError, match="x"), metrics.stage("book"):
        raise ValueError("x")
    metrics.stage_took("book", 0.25)
    assert sample(metrics, "payouts_stage_seconds_count", stage="book") == 2
    assert (sample(metrics, "payouts_stage_seconds_sum", stage="book") or 0) >= 0.25


def test_decisions_money_payouts_and_credits(metrics: Metrics) -> None:
    metrics.begin_fraud(["stolen", "large"], ["USD"])
    assert sample(metrics, "payouts_fraud_explored_minor_units_total", currency="USD") == 0
    metrics.decided({"instant": 7, "hold": 2}, {"large": 1}, {"EUR": 700})
    assert sample(metrics, "payouts_fraud_rules_total", rule="stolen") == 0
    assert sample(metrics, "payouts_fraud_rules_total", rule="large") == 1
    assert sample(metrics, "payouts_fraud_explored_minor_units_total", currency="EUR") == 700
    metrics.booked({("EUR", "earned"): 1_234, ("JPY", "paid"): 5})
    metrics.payouts({("paypal", PayoutState.SETTLED): 4})
    metrics.spendback(granted=2, unfired=1)
    metrics.conversions({"quoted": 3, "converted": 2})
    metrics.rate_observed("EUR", "USD", 1_500)
    assert sample(metrics, "payouts_decisions_total", tier="hold") == 2
    booked = "payouts_booked_minor_units_total"
    assert sample(metrics, booked, currency="EUR", direction="earned") == 1_234
    transitions = "payouts_payout_transitions_total"
    assert sample(metrics, transitions, rail="paypal", state="settled") == 4
    assert sample(metrics, "payouts_spendback_credits_total", outcome="unfired") == 1
    assert sample(metrics, "payouts_conversions_total", step="converted") == 2
    observed = "payouts_rate_observed_timestamp_seconds"
    assert sample(metrics, observed, source="EUR", target="USD") == 1.5


def test_every_reason_is_there_from_the_start(metrics: Metrics) -> None:
    for reason in Reason:
        assert sample(metrics, "payouts_dead_letters_total", reason=reason.value) == 0
    metrics.dead_lettered({Reason.NOT_JSON: 2})
    assert sample(metrics, "payouts_dead_letters_total", reason="not_json") == 2


def test_gauges(metrics: Metrics) -> None:
    metrics.waiting("returns", 3)
    metrics.outbox(3, 1.5)
    metrics.scorer(up=True)
    metrics.scorer(up=False)
    assert sample(metrics, "payouts_waiting_events", kind="returns") == 3
    assert sample(metrics, "payouts_outbox_age_seconds") == 1.5
    assert sample(metrics, "payouts_outbox_entries") == 3
    assert sample(metrics, "payouts_scorer_up") == 0
    metrics.rail_queue("paypal", 12, 3.5)
    assert sample(metrics, "payouts_rail_queue_payouts", rail="paypal") == 12
    assert sample(metrics, "payouts_rail_queue_oldest_seconds", rail="paypal") == 3.5


def test_a_gauge_says_nothing_before_it_is_set(metrics: Metrics) -> None:
    # The executor has no scorer; it must not look like a worker whose scorer is down.
    assert sample(metrics, "payouts_scorer_up") is None
    assert sample(metrics, "payouts_outbox_age_seconds") is None
    assert b"# TYPE payouts_scorer_up gauge" in metrics.exposition()


def test_what_is_another_workers_now_is_no_longer_told(metrics: Metrics) -> None:
    metrics.exposure({("EUR", "0-30"): 5, ("USD", "90+"): 6})
    metrics.exposure({("EUR", "0-30"): 4})
    assert sample(metrics, "payouts_debt_minor_units", currency="EUR", age="0-30") == 4
    assert sample(metrics, "payouts_debt_minor_units", currency="USD", age="90+") is None


def test_a_gauge_refuses_labels_that_it_has_not() -> None:
    gauge = Gauges("x", "y", ("rail",), CollectorRegistry())
    with pytest.raises(ValueError, match="rail"):
        gauge.set(1)


def test_scores_fall_into_their_bins(metrics: Metrics) -> None:
    metrics.scored([0.0, 0.001, 0.02, 0.95, 1.0, None])
    bins = {each: sample(metrics, "payouts_fraud_scores_total", bin=each) for each in SCORE_BINS}
    assert {name: count for name, count in bins.items() if count} == {
        "0.001": 2,
        "0.03": 1,
        "1.0": 2,
    }


def test_rails_read_zero_before_their_first_failure(metrics: Metrics) -> None:
    metrics.begin_rails(["paypal"])
    name = "payouts_rail_outcomes_total"
    assert sample(metrics, name, rail="paypal", call="submit", outcome="treasury") == 0
    transitions = "payouts_payout_transitions_total"
    assert sample(metrics, transitions, rail="paypal", state="returned") == 0
    metrics.rail_call("paypal", "submit", "treasury", 0.2)
    metrics.rail_success({"paypal": 9_900})
    metrics.gates({"paypal": True})
    metrics.rail_money({("paypal", "EUR", "paid"): 1_234})
    assert sample(metrics, name, rail="paypal", call="submit", outcome="treasury") == 1
    seconds = "payouts_rail_call_seconds_sum"
    assert sample(metrics, seconds, rail="paypal", call="submit") == 0.2
    assert sample(metrics, "payouts_rail_success_ratio", rail="paypal") == 0.99
    assert sample(metrics, "payouts_rail_closed", rail="paypal") == 1
    money = "payouts_rail_minor_units_total"
    assert sample(metrics, money, rail="paypal", currency="EUR", direction="paid") == 1_234


def test_an_imbalance_stays(metrics: Metrics) -> None:
    name = "payouts_ledger_imbalance_minor_units"
    assert sample(metrics, name, currency="") == 0
    metrics.checked(3, {"EUR": 2})
    metrics.checked(3, {})
    assert sample(metrics, name, currency="EUR") == 2
    assert sample(metrics, "payouts_ledger_checked_entries_total") == 6


def test_payouts_under_way_by_age(metrics: Metrics) -> None:
    metrics.in_flight({("paypal", "unknown", age_word(61)): 2})
    labels = {"rail": "paypal", "state": "unknown", "age": "1m-10m"}
    assert sample(metrics, "payouts_in_flight", **labels) == 2
    assert [age_word(s) for s in (0, 60, 599, 600, 86_399, 86_400)] == [
        "0-1m", "1m-10m", "1m-10m", "10m-1h", "1h-1d", "1d+",
    ]  # fmt: skip


def test_what_the_engine_counts_is_told_as_it_stands() -> None:
    metrics, counters = Metrics(), EngineCounters()
    assert sample(metrics, "payouts_commits_total", result="ok") is None
    metrics.watch(counters)
    counters.lag = {("sales", 3): 7}
    counters.lag_s = {("sales", 3): 1.5}
    counters.uncommitted_s = {("sales", 3): 0.5}
    counters.commits, counters.commit_failures = 5, 1
    counters.messages["sales"] = 9
    at = {"topic": "sales", "partition": "3"}
    assert sample(metrics, "payouts_consumer_lag_messages", **at) == 7
    assert sample(metrics, "payouts_consumer_lag_seconds", **at) == 1.5
    assert sample(metrics, "payouts_uncommitted_seconds", **at) == 0.5
    assert sample(metrics, "payouts_commits_total", result="ok") == 5
    assert sample(metrics, "payouts_commits_total", result="failed") == 1
    assert sample(metrics, "payouts_consumed_messages_total", topic="sales") == 9
    counters.lag = {}
    assert sample(metrics, "payouts_consumer_lag_messages", **at) is None


def test_a_rebalance_counts_once_each_way(metrics: Metrics) -> None:
    metrics.rebalanced(assigned=8)
    metrics.rebalanced(assigned=1, revoked=4)
    assert sample(metrics, "payouts_rebalances_total", change="assigned") == 2
    assert sample(metrics, "payouts_rebalances_total", change="revoked") == 1


def test_retries_and_healing(metrics: Metrics) -> None:
    metrics.retried("redis")
    metrics.healed(0.2, 3, 1)
    metrics.redis_memory({"h:1": (7, 10)})
    metrics.house({("clearing:paypal", "EUR"): 12})
    assert sample(metrics, "payouts_retries_total", server="redis") == 1
    assert sample(metrics, "payouts_heal_seconds_count") == 1
    assert sample(metrics, "payouts_heal_entries_total", work="redone") == 3
    assert sample(metrics, "payouts_heal_entries_total", work="republished") == 1
    assert sample(metrics, "payouts_redis_memory_bytes", node="h:1") == 7
    assert sample(metrics, "payouts_redis_memory_max_bytes", node="h:1") == 10
    house = "payouts_house_balance_minor_units"
    assert sample(metrics, house, account="clearing:paypal", currency="EUR") == 12


def test_latencies_fall_into_their_buckets(metrics: Metrics) -> None:
    metrics.sale_to_command([0.001, 0.004, 0.004, 1_000.0])
    name = "payouts_sale_to_command_seconds"
    assert sample(metrics, f"{name}_bucket", le="0.001") == 1
    assert sample(metrics, f"{name}_bucket", le="0.005") == 3
    assert sample(metrics, f"{name}_bucket", le="300.0") == 3
    assert sample(metrics, f"{name}_bucket", le="+Inf") == 4
    assert sample(metrics, f"{name}_count") == 4
    assert sample(metrics, f"{name}_sum") == pytest.approx(1_000.009)


def test_a_histogram_refuses_buckets_that_do_not_rise_and_other_labels() -> None:
    with pytest.raises(ValueError, match="rise"):
        Histograms("x", "y", (1.0, 1.0), (), CollectorRegistry())
    with pytest.raises(ValueError, match="rail"):
        Histograms("x", "y", (1.0, 2.0), ("rail",), CollectorRegistry()).observe(1.0)


def test_names_follow_the_rules(metrics: Metrics) -> None:
    metrics.batch("sales", {"booked": 1})
    families = list(text_string_to_metric_families(metrics.exposition().decode()))
    assert len(families) > 15
    for family in families:
        # prometheus-client adds the time a series was made; it is not ours to name.
        if family.name.endswith("_created"):
            continue
        # Nor is what prometheus-client says of the process.
        if family.name.startswith("process_"):
            continue
        assert family.name.startswith("payouts_"), family.name
        assert not re.search(r"_(ms|millis|kb|mb|minutes|hours)(_|$)", family.name), family.name
        assert family.documentation.endswith("."), family.name
        for each in family.samples:
            if family.type == "counter":
                assert each.name.endswith(("_total", "_created")), each.name
            assert not {"seller", "seller_id", "payout_id", "event_id"} & set(each.labels)


def test_build_information(metrics: Metrics) -> None:
    text = metrics.exposition().decode()
    assert re.search(r'^payouts_build_info\{.*version="\d+\.\d+.*"\} 1\.0$', text, re.MULTILINE)
    assert re.search(rf'^payouts_build_info\{{.*features="{form()}"', text, re.MULTILINE)


def test_what_became_of_notices_is_there_from_the_start(metrics: Metrics) -> None:
    for result in NOTICE_RESULTS:
        assert sample(metrics, "payouts_notices_total", result=result) == 0
    metrics.notices({"delivered": 2, "retried": 1})
    metrics.notices_pending(3, 4.5)
    assert sample(metrics, "payouts_notices_total", result="delivered") == 2
    assert sample(metrics, "payouts_notices_pending") == 3
    assert sample(metrics, "payouts_notices_oldest_seconds") == 4.5
    # A worker that notifies nobody must not look like one whose endpoint is gone.
    assert sample(metrics, "payouts_notices_endpoint_gone") == 0
    metrics.notices_gone()
    assert sample(metrics, "payouts_notices_endpoint_gone") == 1
