"""A release of Faust that changes what the engine replaces must not pass unread."""

import pytest
from faust.app.base import App

from streams.engine import upstream


def test_everything_the_engine_replaces_is_as_it_was_written_against() -> None:
    assert upstream.changed() == []


def test_a_changed_method_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def _stop_consumer(self: App) -> None:
        return None

    monkeypatch.setattr(App, "_stop_consumer", _stop_consumer)
    (complaint,) = upstream.changed()
    assert complaint.startswith("faust.app.base:App._stop_consumer has changed")


def test_a_method_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(App, "_update_assignment")
    (complaint,) = upstream.changed()
    assert "faust.app.base:App._update_assignment has changed: missing" in complaint
