"""Roles: what a worker consumes, looks after, and which group it belongs to."""

import pytest

from streams.settings import ROLES, SettingsError, load_settings
from streams.wallets.store import Timers
from streams.worker import NOTICE_TOPICS, OWN_TOPICS, ROLE_TOPICS, Worker
from tests.streams.notices.harness import SECRET
from tests.streams.wallets.harness import SEAL_KEYS


@pytest.mark.parametrize(
    ("roles", "group"),
    [
        ("book,pay,webhooks", "payouts"),
        ("webhooks, pay, book", "payouts"),
        ("book", "payouts-book"),
        ("webhooks,pay", "payouts-pay-webhooks"),
        ("book,pay,webhooks,notices", "payouts"),
        ("notices,book", "payouts-book-notices"),
        ("notices", "payouts-notices"),
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
    assert {"sales", "payouts.commands", "payouts.updates"} == OWN_TOPICS
    rounds = Worker(load_settings(seal_keys=SEAL_KEYS))._rounds()
    assert sorted(one.which for one in rounds) == sorted(Timers)


async def test_a_worker_has_the_share_of_a_pace_that_it_has_of_the_commands() -> None:
    worker = Worker(load_settings(seal_keys=SEAL_KEYS, partitions=16))
    gate = worker._gates["paypal"]

    async def hand_over(partitions: int) -> int:
        """How many payouts are handed over at once with so many partitions: of 20 in all."""
        worker._partitions = {("sales", 0), ("payouts.commands", 99)}
        worker._partitions |= {("payouts.commands", number) for number in range(partitions)}
        await worker._revoked({("payouts.commands", 99)})
        entered = await gate.enter(99)
        for _ in range(entered):
            gate.leave(None)
        return entered

    assert await hand_over(16) == 20
    assert await hand_over(4) == 5
    # What is left to do when all partitions are gone still gets done.
    assert await hand_over(0) == 1


def test_a_worker_that_only_notifies_needs_to_know_whom() -> None:
    with pytest.raises(SettingsError, match="PAYOUTS_ROLES=notices needs PAYOUTS_NOTICES_URL"):
        Worker(load_settings(roles="notices", seal_keys=SEAL_KEYS))


def test_nobody_is_told_anything_where_there_is_no_address() -> None:
    worker = Worker(load_settings(seal_keys=SEAL_KEYS))
    assert not set(NOTICE_TOPICS) & set(worker._topics())
    told = {"notices_url": "https://company.example/hook", "notices_secret": SECRET}
    assert set(NOTICE_TOPICS) <= set(Worker(load_settings(seal_keys=SEAL_KEYS, **told))._topics())
