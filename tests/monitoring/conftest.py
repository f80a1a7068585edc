"""Prometheus for the tests: without it they are skipped, but fail in CI."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.monitoring.tools import GOING_WITHOUT, missing, tool


def _need(name: str) -> Path:
    reason = missing()
    if reason is not None:
        # In CI a skip would hide every test, unless its log says that it goes without.
        said = os.environ.get("PROMETHEUS") == GOING_WITHOUT
        pytest.fail(reason) if os.environ.get("CI") and not said else pytest.skip(reason)
    found = tool(name)
    assert found is not None
    return found


@pytest.fixture(scope="session")
def promtool() -> Path:
    """Where promtool is."""
    return _need("promtool")


@pytest.fixture(scope="session")
def prometheus() -> Path:
    """Where Prometheus is."""
    return _need("prometheus")
