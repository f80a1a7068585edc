"""The API called as its document allows, and as it does not: Schemathesis, with a key and without.

Bounded: so many calls an endpoint that all of it takes seconds.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import positive_data_acceptance
from schemathesis.generation import GenerationMode

from streams.api.document import document
from streams.api.routes import ROUTES
from tests.streams.api.harness import Shop, shop

CALLS_MAX = 10
"""Calls an endpoint, of each kind."""

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def served(own_broker: str, redis_url: str, client: redis.Redis, tmp_path: Path) -> Iterator[Shop]:
    """A company and API that run in another thread: Schemathesis calls and waits."""
    ready, done = threading.Event(), threading.Event()
    found: list[Shop] = []

    async def serve() -> None:
        async with shop(own_broker, redis_url, tmp_path, api_requests_per_second=100_000,
                        api_burst=100_000) as made:  # fmt: skip
            found.append(made)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(60)
    yield found[0]
    done.set()
    thread.join(60)


def _make_bookable(case: Any) -> None:
    """Let what the document allows be what the books allow as well."""
    case.path_parameters["seller_id"] = "anna"
    if "authorisation_id" in case.path_parameters:
        case.path_parameters["authorisation_id"] = "bought"
    if isinstance(case.body, dict) and "currency" in case.body:
        case.body["currency"] = "EUR"
        authorises = "authorisation_id" in case.body
        if "amount_minor" in case.body:
            # Never all that is available: the next call would find nothing.
            most = 5 if authorises or case.operation.path.endswith("/reinvestments") else 1
            case.body["amount_minor"] = min(case.body["amount_minor"] or most, most)
        if authorises:
            case.body["authorisation_id"] = "bought"


def check(served: Shop, operation: Any, mode: GenerationMode) -> set[int]:
    """Call an endpoint many times, and see that each answer is one that the document has."""
    statuses: set[int] = set()

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=CALLS_MAX,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    def call(case: Any) -> None:
        if mode is GenerationMode.POSITIVE:
            _make_bookable(case)
        # What is right by the document may be refused by the books: credit, a currency's code.
        response = case.call_and_validate(
            headers={"Authorization": f"Bearer {served.call.token}"},
            excluded_checks=[positive_data_acceptance],
        )
        assert response.status_code < 500
        statuses.add(response.status_code)

    call()
    return statuses


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_endpoint_keeps_its_contract(served: Shop, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_dict(json.loads(document()))
    schema.config.update(base_url=served.call.url)
    called = {one.name: check(served, schema[one.path][one.method], mode) for one in ROUTES}
    everything = set().union(*called.values())
    if mode is GenerationMode.POSITIVE:
        assert {200, 201, 202} <= everything, called
        assert all(201 in called[name] for name in ("authorise", "capture", "refund")), called
    else:
        assert {400, 401, 404, 422} <= everything, called
