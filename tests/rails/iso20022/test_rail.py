"""The bank link keeps the contract, and what only files can do to it."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from models.payouts import FailureCategory, PayoutState
from tests.rails.contract import RailContract, World
from tests.rails.iso20022 import standard
from tests.rails.iso20022.link import CONFIG, IBAN, destination, directories, instruction, rail_at

F = FailureCategory
S = PayoutState


def messages(root: Path) -> list[bytes]:
    """What went to the bank and came in from it, kept or not read yet."""
    return [path.read_bytes() for path in sorted(root.rglob("*.xml"))]


class TestIso20022(RailContract):
    config = CONFIG

    @pytest.fixture(autouse=True)
    def what_the_bank_wrote_is_valid(self, tmp_path: Path) -> Iterator[None]:
        """Every message of each test, but those that are meant to be none."""
        yield
        for data in messages(tmp_path):
            if standard.name_of(data) not in {"", "admi.099.001.01"}:
                standard.check(data)

    async def test_the_bank_says_it_in_messages_of_each_kind(
        self, world: World, tmp_path: Path
    ) -> None:
        for behaviour, steps in (("plain", 1), ("returned", 2), ("refunded", 2)):
            instruction, _ = await world.submit(world.instruction(behaviour))
            for step in range(1, steps + 1):
                world.to_step(instruction, step)
                await world.rail.enquire(instruction)
        names = {standard.name_of(data) for data in messages(tmp_path)}
        assert names >= {"pacs.002.001.10", "pacs.004.001.09", "camt.054.001.08"}

    async def test_what_never_arrived_stays_unknown_and_is_not_sent_again(
        self, world: World
    ) -> None:
        instruction, outcome = await world.submit(world.instruction("timeout-before"))
        assert (outcome.state, outcome.reason) == (S.UNKNOWN, "no_status_report")
        for _ in range(2):
            assert (await world.rail.enquire(instruction)).state is S.UNKNOWN
        assert (await world.rail.submit(instruction)).state is S.UNKNOWN
        assert world.executions(instruction) == 0
        assert world.provider.counts["create"] == 1
        assert world.provider.counts["show"] == 2

    async def test_called_a_duplicate_of_itself_it_is_asked_for(self, world: World) -> None:
        instruction, outcome = await world.submit(world.instruction("duplicate"))
        assert outcome.state is S.UNKNOWN
        assert (await world.rail.enquire(instruction)).state is S.ACCEPTED
        world.to_step(instruction, 1)
        assert (await world.rail.enquire(instruction)).state is S.SETTLED
        assert world.executions(instruction) == 1

    async def test_told_twice_it_happened_once(self, world: World) -> None:
        for behaviour in ("webhook-twice", "webhook-burst", "webhook-reordered-return"):
            instruction, _ = await world.submit(world.instruction(behaviour))
            world.to_step(instruction, 1)
            state = (await world.rail.enquire(instruction)).state
            assert state is S.SETTLED, behaviour
        world.to_step(instruction, 2)
        assert (await world.rail.enquire(instruction)).state is S.RETURNED

    async def test_rejected_and_settled_is_neither(self, world: World) -> None:
        instruction, _ = await world.submit(world.instruction("webhook-contradictory"))
        world.to_step(instruction, 1)
        world.sandbox.clock.ahead_ms += 400
        outcome = await world.rail.enquire(instruction)
        assert (outcome.state, outcome.reason) == (S.UNKNOWN, "rejected_and_settled")

    async def test_what_was_settled_needs_no_second_word(self, world: World) -> None:
        """The bank is silent about a question: what it has said before still holds."""
        instruction, _ = await world.submit(world.instruction())
        world.to_step(instruction, 1)
        assert (await world.rail.enquire(instruction)).state is S.SETTLED
        for task in world.sandbox._hooking:
            task.cancel()
        assert (await world.rail.enquire(instruction)).state is S.SETTLED

    async def test_another_process_reads_what_this_one_was_told(self, world: World) -> None:
        instruction, _ = await world.submit(world.instruction())
        other = await CONFIG.open(world.sandbox)
        world.to_step(instruction, 1)
        outcomes = await asyncio.gather(
            *(rail.enquire(instruction) for rail in (world.rail, other) for _ in range(5))
        )
        assert {outcome.state for outcome in outcomes} == {S.SETTLED}
        lost = replace(instruction, provider_ref=None, first_submitted_ms=None)
        assert (await other.enquire(lost)).state is S.SETTLED

    async def test_asked_by_who_has_lost_the_archive_the_bank_knows(
        self, world: World, tmp_path: Path
    ) -> None:
        instruction, _ = await world.submit(world.instruction())
        (tmp_path / "archive").rename(tmp_path / "lost")
        world.to_step(instruction, 1)
        assert (await world.rail.enquire(instruction)).state is S.SETTLED

    async def test_soon_after_it_was_sent_nobody_is_asked(
        self, world: World, tmp_path: Path
    ) -> None:
        rail = rail_at(tmp_path, ask_after_ms=60_000)
        instruction, _ = await world.submit(world.instruction("timeout-after"))
        assert (await rail.enquire(instruction)).state is S.UNKNOWN
        assert world.provider.counts["show"] == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"kind": "card", "number": "4111111111111111", "expires": "03/2099", "holder": "A"}',
         "destination_not_iban"),
        (destination(iban="BR1800360305000010009795493C1"), "country_not_carried"),
        (json.dumps({"kind": "iban", "iban": IBAN, "holder": "Анна"}), "holder_not_writable"),
    ],
)  # fmt: skip
async def test_refused_here(tmp_path: Path, text: str, reason: str) -> None:
    for folder in directories(tmp_path)[:2]:
        folder.mkdir()
    outcome = await rail_at(tmp_path).submit(instruction(destination=text))
    assert (outcome.state, outcome.reason) == (S.FAILED, reason)
    assert not list((tmp_path / "outbox").iterdir())


async def test_without_an_outbox_nothing_was_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "inbox").mkdir()
    rail = rail_at(tmp_path)
    one = instruction()
    outcome = await rail.submit(one)
    assert (outcome.state, outcome.category) == (S.FAILED, F.RETRYABLE)
    assert outcome.reason == "outbox_not_writable"
    assert f"no outbox at {tmp_path / 'outbox'}" in caplog.text
    assert (await rail.enquire(one)).state is S.UNKNOWN


async def test_a_bank_that_reads_nothing_is_silence(tmp_path: Path) -> None:
    for folder in directories(tmp_path)[:2]:
        folder.mkdir()
    rail = rail_at(tmp_path, timeout_ms=50)
    one = instruction()
    assert (await rail.submit(one)).state is S.UNKNOWN
    assert (await rail.enquire(one)).state is S.UNKNOWN
