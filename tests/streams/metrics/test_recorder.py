"""Metrics: verbs count what they say, names follow the rules."""

import re

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from models.payouts import PayoutState
from models.refusals import Reason
from streams.metrics import Metrics
from streams.metrics.definitions import NOTICE_RESULTS, ManyHistogram


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
    metrics.decided({"instant": 7, "hold": 2})
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
    metrics.outbox_age(1.5)
    metrics.scorer(up=True)
    metrics.scorer(up=False)
    assert sample(metrics, "payouts_waiting_events", kind="returns") == 3
    assert sample(metrics, "payouts_outbox_age_seconds") == 1.5
    assert sample(metrics, "payouts_scorer_up") == 0
    metrics.rail_queue("paypal", 12, 3.5)
    assert sample(metrics, "payouts_rail_queue_payouts", rail="paypal") == 12
    assert sample(metrics, "payouts_rail_queue_oldest_seconds", rail="paypal") == 3.5


def test_lag_of_a_revoked_partition_is_no_longer_reported(metrics: Metrics) -> None:
    metrics.lag({("sales", 0): 5, ("sales", 1): 6})
    metrics.lag({("sales", 1): 4})
    name = "payouts_consumer_lag_messages"
    assert sample(metrics, name, topic="sales", partition="0") is None
    assert sample(metrics, name, topic="sales", partition="1") == 4


def test_a_rebalance_counts_once_each_way(metrics: Metrics) -> None:
    metrics.rebalanced(assigned=8)
    metrics.rebalanced(assigned=1, revoked=4)
    assert sample(metrics, "payouts_rebalances_total", change="assigned") == 2
    assert sample(metrics, "payouts_rebalances_total", change="revoked") == 1


def test_retries_and_healing(metrics: Metrics) -> None:
    metrics.retried("redis")
    metrics.healed(0.2, 3, 0)
    assert sample(metrics, "payouts_retries_total", server="redis") == 1
    assert sample(metrics, "payouts_heal_seconds_count") == 1


def test_latencies_fall_into_their_buckets(metrics: Metrics) -> None:
    metrics.sale_to_command([0.001, 0.004, 0.004, 1_000.0])
    name = "payouts_sale_to_command_seconds"
    assert sample(metrics, f"{name}_bucket", le="0.001") == 1
    assert sample(metrics, f"{name}_bucket", le="0.005") == 3
    assert sample(metrics, f"{name}_bucket", le="300.0") == 3
    assert sample(metrics, f"{name}_bucket", le="+Inf") == 4
    assert sample(metrics, f"{name}_count") == 4
    assert sample(metrics, f"{name}_sum") == pytest.approx(1_000.009)


def test_a_batch_histogram_refuses_buckets_that_do_not_rise() -> None:
    with pytest.raises(ValueError, match="rise"):
        ManyHistogram("x", "y", (1.0, 1.0), CollectorRegistry())


def test_names_follow_the_rules(metrics: Metrics) -> None:
    metrics.batch("sales", {"booked": 1})
    families = list(text_string_to_metric_families(metrics.exposition().decode()))
    assert len(families) > 15
    for family in families:
        # prometheus-client adds the time a series was made; it is not ours to name.
        if family.name.endswith("_created"):
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
