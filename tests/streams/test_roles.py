"""Roles: what a worker consumes, looks after, and which group it belongs to."""

import pytest

from streams.janitor import BOOKING_TIMERS, RAIL_TIMERS
from streams.settings import ROLES, SettingsError, load_settings
from streams.worker import OWN_TOPICS, ROLE_TOPICS


@pytest.mark.parametrize(
    ("roles", "group"),
    [
        ("book,pay,webhooks", "payouts"),
        ("webhooks, pay, book", "payouts"),
        ("book", "payouts-book"),
        ("webhooks,pay", "payouts-pay-webhooks"),
    ],
)
def test_workers_with_the_same_roles_share_a_group(
    monkeypatch: pytest.MonkeyPatch, roles: str, group: str
) -> None:
    monkeypatch.setenv("PAYOUTS_ROLES", roles)
    assert load_settings().group == group


@pytest.mark.parametrize("roles", ["bank", "book,bank", ","])
def test_a_role_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch, roles: str) -> None:
    monkeypatch.setenv("PAYOUTS_ROLES", roles)
    with pytest.raises(SettingsError, match="PAYOUTS_ROLES"):
        load_settings()


def test_every_topic_and_timer_belongs_to_one_role() -> None:
    topics = [topic for role in ROLES for topic in ROLE_TOPICS[role]]
    assert len(topics) == len(set(topics))
    assert {"sales", "payouts.commands"} == OWN_TOPICS
    assert not set(BOOKING_TIMERS) & set(RAIL_TIMERS)
