"""The contract every rail keeps, written once. A rail's tests inherit it with a few lines.

All goes over real sockets to the sandbox; the sandbox's books say what was really executed.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from models.payouts import FailureCategory, PayoutState, may_follow
from rails.rail import Capabilities, Instruction, Outcome, Rail, payout_of
from rails.sandbox.server import Sandbox, serve
from tests.rails.exchanges import Exchange, keep_exchanges, undocumented

DELAY_MS = 20_000
"""Far longer than a test takes: only the clock that is set ahead settles a payout."""

TIMEOUT_S = 1.2
"""Of a call: short, as some are never answered, and enough for twenty at once on a busy machine."""


F = FailureCategory

FAILURES: dict[str, FailureCategory] = {
    "closed": F.METHOD,
    "denied": F.METHOD,
    "self": F.METHOD,
    "risk": F.RECIPIENT,
    "blocked": F.RECIPIENT,
    "mystery": F.RECIPIENT,
    "currency": F.TREASURY,
    "trouble": F.RETRYABLE,
}
"""The sandbox's behaviours by what most rails make of them once they have accepted."""

REFUSALS: dict[str, FailureCategory] = {
    "nofunds": F.TREASURY,
    "restricted": F.TREASURY,
    "invalid": F.RECIPIENT,
    "limited": F.RETRYABLE,
}
"""Those that refuse a submission at once, by the same."""


@dataclass(frozen=True)
class ContractConfig:
    """What is particular to a rail: how to open it and how its sandbox is asked for trouble."""

    open: Callable[[Sandbox], Awaitable[Rail]]
    destination: Callable[[str], str]
    """A destination for which the sandbox behaves in the named way; "" for the normal way."""
    invalid_destination: str
    failures: dict[str, FailureCategory]
    """Behaviours that end in FAILED after acceptance."""
    refusals: dict[str, FailureCategory]
    """Behaviours whose submission is refused at once."""
    returns: tuple[str, ...]
    currency: str = "EUR"
    provider: str = "paypal"
    claims: bool = True
    """Whether a recipient has to claim what was sent, and the sender can take it back before."""
    duplicates: bool = True
    """Whether a repeat is called a duplicate, rather than answered as the first was."""
    found_by_id: bool = False
    """Whether a payout is found by our own id alone, whenever it was submitted."""
    shows_reference: bool = True
    """Whether what the provider shows of a payout tells it from another of the same amount."""
    booked_as: Callable[[str], str] = str
    """What the provider is told of an attempt's id, and so what the books call it."""
    unique: Callable[[], str] = lambda: uuid.uuid4().hex
    """What makes a payout's id one of its own, in a form that the sandbox can read back."""
    repeats: bool = True
    """Whether an enquiry sends a payout again under its guard, where nothing is known of it."""
    connections: bool = True
    """Whether there is a connection, by which it is seen at once that nobody is there."""
    guarded: bool = True
    """Whether the same attempt, submitted again, is not executed again."""
    keeps_reference: bool = True
    """Whether a payout has the same reference while it is pending as when it is settled."""
    document: str = ""
    """The provider's OpenAPI document, which every exchange has to fit."""
    documented: Callable[[Exchange], bool] = lambda _exchange: True
    """Whether the document has an answer like the one there was: the sandbox gives others too."""
    beside: str = ""
    """How paths begin that the document is not about."""


def plain_instruction(
    config: ContractConfig, behaviour: str = "", **changes: object
) -> Instruction:
    """An instruction of a new payout, to whom the sandbox behaves in the named way."""
    plain = Instruction(
        payout_id=f"2a{config.unique()}",
        amount_minor=1050,
        currency=config.currency,
        destination=config.destination(behaviour),
        seller_ref="seller-1",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


class World:
    """A rail, its sandbox, and a clock that can be set ahead."""

    def __init__(
        self,
        config: ContractConfig,
        sandbox: Sandbox,
        rail: Rail,
        exchanges: list[Exchange] | None = None,
    ) -> None:
        self.config = config
        self.sandbox = sandbox
        self.rail = rail
        self.exchanges = [] if exchanges is None else exchanges
        self.provider = sandbox.providers[config.provider]

    @property
    def lost(self) -> PayoutState:
        """What an enquiry without a reference tells of what was accepted and must not be sent
        again."""
        by_ref_only = self.rail.capabilities.enquires_by_ref_only
        return PayoutState.UNKNOWN if by_ref_only else PayoutState.ACCEPTED

    def instruction(self, behaviour: str = "", **changes: object) -> Instruction:
        return plain_instruction(self.config, behaviour, **changes)

    async def submit(self, instruction: Instruction) -> tuple[Instruction, Outcome]:
        """Submit, and the instruction as the host would keep it afterwards."""
        now_ms = time.time_ns() // 1_000_000
        outcome = await self.rail.submit(instruction)
        kept = replace(instruction, provider_ref=outcome.provider_ref, first_submitted_ms=now_ms)
        return kept, outcome

    def to_step(self, instruction: Instruction, step: int) -> None:
        """Set the sandbox's clock to where the payout has just reached a step of its life."""
        entry = self.sandbox.books.by_attempt(self.config.booked_as(instruction.attempt_id))
        assert entry is not None
        now_ms = self.sandbox.clock.now_ms()
        self.sandbox.clock.ahead_ms += max(0, entry.due_ms(step) - now_ms)

    def executions(self, instruction: Instruction) -> int:
        attempts = (replace(instruction, attempt=number).attempt_id for number in range(3))
        ids = {payout_of(self.config.booked_as(attempt_id)) for attempt_id in attempts}
        return sum(self.sandbox.books.executions(one) for one in ids)


class RailContract:
    """Inherit, set ``config``; every rule below then runs against the rail."""

    config: ClassVar[ContractConfig]

    @pytest.fixture
    async def world(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
        exchanges = keep_exchanges(monkeypatch)
        async with await serve(
            settle_delay_ms=DELAY_MS, slow_ms=100, bank_directory=tmp_path
        ) as sandbox:
            rail = await self.config.open(sandbox)
            yield World(self.config, sandbox, rail, exchanges)
            await rail.close()
        if self.config.document:
            beside = self.config.beside
            about = [one for one in exchanges if not beside or not one.path.startswith(beside)]
            if found := undocumented(self.config.document, about, self.config.documented):
                pytest.fail("\n".join(found))

    def needs(self, what: str) -> None:
        """Skip a rule about what the provider has not."""
        if not getattr(self.config, what):
            pytest.skip(f"{self.config.provider} has no {what}")

    def test_is_a_rail(self, world: World) -> None:
        assert isinstance(world.rail, Rail)
        assert isinstance(world.rail.capabilities, Capabilities)
        assert self.config.currency in world.rail.capabilities.currencies

    async def test_accepted_proves_nothing_then_settles(self, world: World) -> None:
        instruction, outcome = await world.submit(world.instruction())
        assert outcome.state is PayoutState.ACCEPTED
        assert outcome.provider_ref
        assert (await world.rail.enquire(instruction)).state is PayoutState.ACCEPTED
        world.to_step(instruction, 1)
        settled = await world.rail.enquire(instruction)
        assert settled.state is PayoutState.SETTLED
        assert settled.provider_ref
        if self.config.keeps_reference:
            assert settled.provider_ref == outcome.provider_ref
        assert world.executions(instruction) == 1

    async def test_each_failure_has_its_category(self, world: World) -> None:
        for behaviour, category in self.config.failures.items():
            instruction, outcome = await world.submit(world.instruction(behaviour))
            assert outcome.state is PayoutState.ACCEPTED, behaviour
            world.to_step(instruction, 1)
            ended = await world.rail.enquire(instruction)
            assert (ended.state, ended.category) == (PayoutState.FAILED, category), behaviour
            assert ended.reason, behaviour

    async def test_a_refused_submission_executes_nothing(self, world: World) -> None:
        for behaviour, category in self.config.refusals.items():
            instruction, outcome = await world.submit(world.instruction(behaviour))
            assert (outcome.state, outcome.category) == (PayoutState.FAILED, category), behaviour
            assert world.executions(instruction) == 0, behaviour

    async def test_all_categories_are_covered(self) -> None:
        covered = {*self.config.failures.values(), *self.config.refusals.values()}
        assert covered == set(FailureCategory)

    @pytest.mark.parametrize(
        "behaviour", ["timeout-after", "reset-after", "error500-after", "garbage", "huge"]
    )
    async def test_silence_after_acceptance_is_unknown_then_found(
        self, world: World, behaviour: str
    ) -> None:
        instruction, outcome = await world.submit(world.instruction(behaviour))
        assert outcome.state is PayoutState.UNKNOWN
        assert world.executions(instruction) == 1
        world.to_step(instruction, 1)
        found = await world.rail.enquire(replace(instruction, provider_ref=outcome.provider_ref))
        assert found.state is PayoutState.SETTLED
        assert world.executions(instruction) == 1

    @pytest.mark.parametrize(
        "behaviour", ["timeout-before", "reset-before", "error500", "error503"]
    )
    async def test_silence_before_acceptance_is_unknown_then_executes_once(
        self, world: World, behaviour: str
    ) -> None:
        self.needs("repeats")
        instruction, outcome = await world.submit(world.instruction(behaviour))
        assert outcome.state is PayoutState.UNKNOWN
        assert world.executions(instruction) == 0
        found = await world.rail.enquire(instruction)
        assert found.state is PayoutState.ACCEPTED
        assert (await world.rail.enquire(instruction)).provider_ref == found.provider_ref
        assert world.executions(instruction) == 1

    async def test_a_repeated_submission_executes_once(self, world: World) -> None:
        self.needs("guarded")
        instruction = world.instruction()
        outcomes = [await world.rail.submit(instruction) for _ in range(3)]
        assert {outcome.state for outcome in outcomes} == {PayoutState.ACCEPTED}
        assert len({outcome.provider_ref for outcome in outcomes}) == 1
        assert world.executions(instruction) == 1

    async def test_submissions_at_the_same_time_execute_once(self, world: World) -> None:
        self.needs("guarded")
        instruction = world.instruction()
        outcomes = await asyncio.gather(*(world.rail.submit(instruction) for _ in range(20)))
        assert len({outcome.provider_ref for outcome in outcomes}) == 1
        assert world.executions(instruction) == 1

    async def test_a_refused_repeat_says_nothing_of_the_first(self, world: World) -> None:
        instruction, outcome = await world.submit(world.instruction("timeout-after"))
        assert outcome.state is PayoutState.UNKNOWN
        world.provider.funded = False
        assert (await world.rail.enquire(instruction)).state is world.lost
        world.provider.funded = True
        assert (await world.rail.enquire(instruction)).state is PayoutState.ACCEPTED
        assert world.executions(instruction) == 1

    async def test_a_slow_answer_is_waited_for(self, world: World) -> None:
        _, outcome = await world.submit(world.instruction("slow"))
        assert outcome.state is PayoutState.ACCEPTED

    async def test_a_rail_that_is_not_there_executed_nothing(self, world: World) -> None:
        self.needs("connections")
        instruction = world.instruction()
        await world.sandbox.close()
        outcome = await world.rail.submit(instruction)
        assert (outcome.state, outcome.category) == (
            PayoutState.FAILED,
            FailureCategory.RETRYABLE,
        )
        # But an enquiry that cannot reach anybody learns nothing.
        kept = replace(instruction, first_submitted_ms=time.time_ns() // 1_000_000)
        assert (await world.rail.enquire(kept)).state is PayoutState.UNKNOWN
        assert (await world.rail.enquire(replace(kept, provider_ref="X1"))).state is (
            PayoutState.UNKNOWN
        )

    async def test_unclaimed_waits_and_comes_back(self, world: World) -> None:
        self.needs("claims")
        instruction, _ = await world.submit(world.instruction("unclaimed"))
        world.to_step(instruction, 1)
        assert (await world.rail.enquire(instruction)).state is PayoutState.UNCLAIMED
        world.to_step(instruction, 2)
        assert (await world.rail.enquire(instruction)).state is PayoutState.RETURNED

    async def test_cancel_stops_the_unclaimed(self, world: World) -> None:
        self.needs("claims")
        instruction, _ = await world.submit(world.instruction("unclaimed"))
        world.to_step(instruction, 1)
        assert (await world.rail.cancel(instruction)).state is PayoutState.CANCELLED
        again = await world.rail.cancel(instruction)
        assert again.state in {PayoutState.CANCELLED, PayoutState.RETURNED}

    async def test_cancel_reports_what_it_cannot_stop(self, world: World) -> None:
        instruction, _ = await world.submit(world.instruction())
        assert (await world.rail.cancel(instruction)).state is PayoutState.ACCEPTED
        world.to_step(instruction, 1)
        assert (await world.rail.cancel(instruction)).state is PayoutState.SETTLED
        without = replace(instruction, provider_ref=None)
        known = PayoutState.SETTLED if self.config.found_by_id else PayoutState.UNKNOWN
        assert (await world.rail.cancel(without)).state is known

    async def test_returned_after_settled(self, world: World) -> None:
        for behaviour in self.config.returns:
            instruction, _ = await world.submit(world.instruction(behaviour))
            world.to_step(instruction, 1)
            settled = (await world.rail.enquire(instruction)).state
            assert settled is PayoutState.SETTLED, behaviour
            world.to_step(instruction, 2)
            returned = (await world.rail.enquire(instruction)).state
            assert returned is PayoutState.RETURNED, behaviour
            assert may_follow(settled, returned)

    async def test_asked_again_it_is_what_it_is_now(self, world: World) -> None:
        """A host asks again about what it has as settled, whenever a report says otherwise."""
        for behaviour in self.config.returns:
            instruction, _ = await world.submit(world.instruction(behaviour))
            lost = replace(instruction, provider_ref=None)
            for step, state in ((1, PayoutState.SETTLED), (2, PayoutState.RETURNED)):
                world.to_step(instruction, step)
                for asked in (instruction, instruction, lost):
                    outcome = await world.rail.enquire(asked)
                    assert (outcome.state, outcome.category) == (state, None), behaviour
                    if self.config.keeps_reference:
                        assert outcome.provider_ref == instruction.provider_ref
            assert world.executions(instruction) == 1

    async def test_what_was_settled_stays_so_when_asked_again(self, world: World) -> None:
        instruction, _ = await world.submit(world.instruction())
        for ahead_ms in (0, 86_400_000, 20 * 86_400_000):
            world.to_step(instruction, 1)
            world.sandbox.clock.ahead_ms += ahead_ms
            assert (await world.rail.enquire(instruction)).state is PayoutState.SETTLED

    async def test_what_was_cancelled_has_come_back(self, world: World) -> None:
        self.needs("claims")
        instruction, _ = await world.submit(world.instruction("unclaimed"))
        world.to_step(instruction, 1)
        await world.rail.cancel(instruction)
        assert (await world.rail.enquire(instruction)).state in {
            PayoutState.CANCELLED,
            PayoutState.RETURNED,
        }

    async def test_claimed_after_a_while(self, world: World) -> None:
        self.needs("claims")
        instruction, _ = await world.submit(world.instruction("claimed"))
        for step, state in ((1, PayoutState.UNCLAIMED), (2, PayoutState.SETTLED)):
            world.to_step(instruction, step)
            assert (await world.rail.enquire(instruction)).state is state

    async def test_called_a_duplicate_of_itself_it_is_adopted(self, world: World) -> None:
        self.needs("duplicates")
        instruction, outcome = await world.submit(world.instruction("duplicate"))
        assert (outcome.state, outcome.reason) == (PayoutState.ACCEPTED, "adopted")
        world.to_step(instruction, 1)
        assert (await world.rail.enquire(instruction)).state is PayoutState.SETTLED
        assert world.executions(instruction) == 1

    @pytest.mark.parametrize("behaviour", ["enquiry-500", "enquiry-slow"])
    @pytest.mark.parametrize("referenced", [True, False])
    async def test_an_enquiry_that_fails_says_nothing(
        self, world: World, behaviour: str, referenced: bool
    ) -> None:
        instruction, outcome = await world.submit(world.instruction(behaviour))
        world.to_step(instruction, 1)
        asked = instruction if referenced else replace(instruction, provider_ref=None)
        found = [await world.rail.enquire(asked) for _ in range(3)]
        states = [one.state for one in found]
        assert states == [PayoutState.UNKNOWN, PayoutState.UNKNOWN, PayoutState.SETTLED]
        # The reference is not lost with the answer, unless it was the answer that had it.
        known = {one.provider_ref for one in found}
        if not referenced and not world.rail.capabilities.enquires_by_ref_only:
            known.discard(None)
        if self.config.keeps_reference:
            assert known == {outcome.provider_ref}
        assert world.executions(instruction) == 1

    async def test_a_status_word_nobody_knows_is_unknown(self, world: World) -> None:
        instruction, _ = await world.submit(world.instruction("novelty"))
        world.to_step(instruction, 1)
        assert (await world.rail.enquire(instruction)).state is PayoutState.UNKNOWN

    async def test_an_error_nobody_knows_is_unknown(self, world: World) -> None:
        _, outcome = await world.submit(world.instruction("newerror"))
        assert outcome.state is PayoutState.UNKNOWN

    async def test_past_the_guard_nothing_is_repeated(self, world: World) -> None:
        instruction, _ = await world.submit(world.instruction("timeout-after"))
        guard_ms = world.rail.capabilities.guard_days * 86_400_000
        old_ms = time.time_ns() // 1_000_000 - guard_ms
        for first_ms in (old_ms, None, time.time_ns() // 1_000_000 + 600_000):
            lost = replace(instruction, provider_ref=None, first_submitted_ms=first_ms)
            before = world.provider.counts["create"]
            known = first_ms is not None or self.config.found_by_id
            expected = world.lost if known else PayoutState.UNKNOWN
            assert (await world.rail.enquire(lost)).state is expected
            assert world.provider.counts["create"] == before

    async def test_a_reference_of_another_payout_is_not_believed(self, world: World) -> None:
        one, outcome = await world.submit(world.instruction())
        other, _ = await world.submit(world.instruction())
        world.to_step(one, 1)
        mixed = replace(other, provider_ref=outcome.provider_ref)
        if self.config.shows_reference:
            assert (await world.rail.enquire(mixed)).reason == "reference_mismatch"
        changed = replace(one, amount_minor=one.amount_minor + 1)
        assert (await world.rail.enquire(changed)).reason == "reference_mismatch"
        assert (await world.rail.enquire(replace(one, provider_ref="NOSUCH"))).state is (
            PayoutState.UNKNOWN
        )

    async def test_a_later_attempt_is_another_execution_of_the_same_payout(
        self, world: World
    ) -> None:
        behaviour = next(iter(self.config.failures))
        first, _ = await world.submit(world.instruction(behaviour))
        world.to_step(first, 1)
        assert (await world.rail.enquire(first)).state is PayoutState.FAILED
        second, outcome = await world.submit(
            replace(first, attempt=1, provider_ref=None, destination=self.config.destination(""))
        )
        assert outcome.provider_ref != first.provider_ref
        world.to_step(second, 1)
        assert (await world.rail.enquire(second)).state is PayoutState.SETTLED
        assert world.executions(first) == 2

    async def test_refused_on_our_side_before_any_request(self, world: World) -> None:
        refused = {
            "destination_invalid": world.instruction(destination=self.config.invalid_destination),
            "currency_not_carried": world.instruction(currency="XXX"),
            "amount_below_minimum": world.instruction(amount_minor=0),
            "amount_above_maximum": world.instruction(amount_minor=10**12),
        }
        for reason, instruction in refused.items():
            outcome = await world.rail.submit(instruction)
            assert (outcome.state, outcome.reason) == (PayoutState.FAILED, reason)
        assert world.provider.counts["create"] == 0

    async def test_a_repeat_that_cannot_be_made_says_nothing_of_the_first(
        self, world: World
    ) -> None:
        now_ms = time.time_ns() // 1_000_000
        for changes in ({"destination": self.config.invalid_destination}, {"amount_minor": 0}):
            instruction = world.instruction(first_submitted_ms=now_ms, **changes)
            assert (await world.rail.enquire(instruction)).state is PayoutState.UNKNOWN
        assert world.provider.counts["create"] == 0

    async def test_secrets_stay_out_of_reprs_logs_and_outcomes(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        shown = []
        for behaviour in ("", "timeout-after", "garbage", "denied", "invalid"):
            instruction, outcome = await world.submit(world.instruction(behaviour))
            shown += [repr(instruction), repr(outcome), repr(await world.rail.enquire(instruction))]
        text = "\n".join([*shown, repr(world.rail), caplog.text])
        assert self.config.destination("").rpartition("+")[2] not in text
        assert "sandbox-secret" not in text
        assert "Bearer" not in text
