"""The three jobs of the benchmark do the same: same sales, same earnings."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.api import measure_bookings
from benchmarks.events import profiles_and_sales
from benchmarks.ground import new_seal_keys, seal_of
from benchmarks.measure import JOBS, measure


@pytest.mark.timeout(90)
def test_every_job_earns_the_sellers_the_same_and_pays_them() -> None:
    keys = new_seal_keys()
    profiles, sales = profiles_and_sales(7, 200, seal=seal_of(keys))
    with ThreadPoolExecutor(len(JOBS)) as pool:
        runs = list(
            pool.map(lambda job: measure(job, profiles, sales[:20], sales[20:], keys), JOBS)
        )
    assert [run.name for run in runs] == ["stock-faust", "bare-loop", "product"]
    assert len({run.earned_sha256 for run in runs}) == 1
    assert all(run.payout_commands > 100 for run in runs)
    assert all(run.worker_cpu_us_per_event > 0 for run in runs)


@pytest.mark.timeout(90)
def test_redemptions_are_answered_beside_sales() -> None:
    for asking in measure_bookings(7, new_seal_keys(), seconds=1):
        assert asking.requests > 50
        assert 0 < asking.calm_p50 <= asking.calm_p99
