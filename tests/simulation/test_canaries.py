"""Canaries: builds that are broken on purpose are caught, each by the promise that it breaks.

What the simulation cannot see it cannot promise. Each canary changes one thing, in the source of
the Redis functions (``canaries.yaml``) or in Python, and has to be caught within a bounded number
of seeds.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from models import rules
from models.payouts import FailureCategory, PayoutState
from models.rules import transition
from models.timeline import Timeline
from rails.gate import Gate
from rails.rail import Outcome, Rail, failed
from streams.agents.payouts import Cashier
from streams.desk import Desk
from streams.engine import Batch
from streams.wallets import healing
from streams.wallets.library import library
from streams.wallets.store import Redo, Store
from streams.wallets.verify import RULES
from streams.wallets.wallets import Wallets
from tests.simulation.world import REDONE, run

SEEDS_MAX = 120
"""Within how many histories a canary has to be caught."""


class Canary(NamedTuple):
    """A broken build: the rule that must see it, and what is replaced in the functions' source."""

    name: str
    rule: str
    edits: tuple[tuple[str, str], ...]
    seeds_max: int = SEEDS_MAX
    first: int = 0


SEQUENCE = "the journal has no gaps and ends where Redis does"
EVENTS = "every message has one effect or one dead letter"
BOOKS = "payouts agree with the rail's books"
UNDER_WAY = "no payout or purchase is left under way"

LUA = [
    Canary(
        each["name"],
        each["breaks"],
        tuple((edit["replace"], edit["by"]) for edit in each["edits"]),
        each.get("seeds", SEEDS_MAX),
        each.get("first", 0),
    )
    for each in yaml.safe_load(
        Path(__file__).with_name("canaries.yaml").read_text(encoding="utf-8")
    )
]


def broken(edits: Sequence[tuple[str, str]]) -> str:
    """The functions' source with something replaced; each text must be there."""
    source = library().source
    for before, after in edits:
        assert before in source, f"the canary is stale, there is no {before!r}"
        source = source.replace(before, after)
    return source


def caught(
    rule: str | tuple[str, ...],
    seeds_max: int = SEEDS_MAX,
    source: str | None = None,
    *,
    first: int = 0,
) -> int:
    """The first seed at which the rule is broken. Fails if there is none."""
    seen: set[str] = set()
    for seed in range(first, first + seeds_max):
        violations = run(seed, source=source).violations
        if any(text.startswith(rule) for text in violations):
            return seed
        seen |= {text.partition(": ")[0] for text in violations}
    raise AssertionError(f"not caught in {seeds_max} seeds; broken was {sorted(seen) or 'nothing'}")


@pytest.fixture(autouse=True, scope="module")
def _garbage_is_left() -> Iterator[None]:
    """To collect after each history takes longer than it, in a process as large as this."""
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    with warnings.catch_warnings():
        # As in run(): what a killed process had not begun yet is never awaited.
        warnings.simplefilter("ignore", RuntimeWarning)
        gc.collect()
    gc.enable()
    gc.unfreeze()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("canary", LUA, ids=[canary.name for canary in LUA])
def test_a_broken_function_is_caught(canary: Canary) -> None:
    caught(canary.rule, canary.seeds_max, broken(canary.edits), first=canary.first)


def test_every_rule_of_verify_has_a_canary() -> None:
    # An outbox that is not emptied keeps the world from coming to rest: that has one of its own.
    elsewhere = {"outboxes are empty or fresh"}
    rules_seen = {canary.rule for canary in LUA} | elsewhere
    assert {rule.name for rule in RULES} <= rules_seen


@pytest.mark.timeout(300)
class TestBrokenHost:
    """What is broken in Python."""

    def test_a_payout_without_an_answer_is_sent_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def asked(self: Cashier, gate: Gate, payout: Mapping[str, Any], _: Any) -> Outcome:
            return await gate.rail.submit(self._instruction(payout))

        monkeypatch.setattr(Cashier, "_asked", asked)
        caught(BOOKS)

    def test_a_payout_is_sent_without_the_mark(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def mark(self: Cashier, payouts: Sequence[Mapping[str, Any]]) -> list[bool]:
            marks = [
                transition("x", one["payout_id"], PayoutState.SUBMITTED, attempt=one["attempt"])
                for one in payouts
            ]
            await self._wallets.post(marks)
            return [True] * len(payouts)

        monkeypatch.setattr(Cashier, "_mark", mark)
        caught(BOOKS)

    def test_silence_is_taken_for_a_failure(self, monkeypatch: pytest.MonkeyPatch) -> None:
        submitted = Cashier._submitted

        async def impatient(self: Cashier, rail: Rail, payout: Mapping[str, Any]) -> Outcome:
            outcome = await submitted(self, rail, payout)
            silent = outcome.state is PayoutState.UNKNOWN
            return failed(FailureCategory.RETRYABLE, "timed_out") if silent else outcome

        monkeypatch.setattr(Cashier, "_submitted", impatient)
        caught(BOOKS, first=115)

    def test_an_offset_is_acknowledged_before_anything_is_published(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        finish = Desk._finish

        async def early(self: Desk, batch: Batch, *rest: Any) -> None:
            batch.ack()
            await finish(self, batch, *rest)

        monkeypatch.setattr(Desk, "_finish", early)
        caught(EVENTS)

    def test_nobody_asks_what_entries_are_worth(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def confirm(self: Wallets, asked: object, effects: Any) -> None:
            for safe in effects.safe.values():
                safe.set_result(None)

        monkeypatch.setattr(Wallets, "_confirm", confirm)
        caught(EVENTS, first=288)

    def test_void_entries_are_redone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Trusting(Timeline[Any]):
            def take(self, entry: Any, offset: int) -> Iterator[Any]:
                epoch = self.epoch if entry.seq else entry.epoch
                yield from super().take(entry._replace(epoch=epoch), offset)

        monkeypatch.setattr(healing, "Timeline", Trusting)
        # Seldom is anybody so late.
        caught((SEQUENCE, REDONE), first=40)

    def test_a_portion_claims_what_the_next_one_redoes(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        apply = Store.apply

        async def claim(self: Store, shard: int, entries: Sequence[bytes], redo: Redo) -> int:
            return await apply(self, shard, entries, redo._replace(journal=redo.journal + 2))

        monkeypatch.setattr(Store, "apply", claim)
        caught((SEQUENCE, EVENTS, REDONE))

    def test_the_dead_letter_of_what_was_refused_is_forgotten(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        finish = Desk._finish

        async def forget(self: Desk, batch: Batch, settled: Any, *rest: Any) -> None:
            kept = [one for one in settled if not one.outcome.startswith("refused:")]
            await finish(self, batch, kept, *rest)

        monkeypatch.setattr(Desk, "_finish", forget)
        caught(EVENTS)

    def test_reports_that_money_comes_back_are_believed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rules, "GIVES_BACK", frozenset())
        caught(BOOKS, first=670)

    def test_what_is_in_front_leaves_the_outbox_unpublished(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        began = Wallets.__init__

        async def nothing(_: object) -> Mapping[tuple[str, int], int]:
            return {}

        def begin(self: Wallets, *args: Any, ahead: object = None, **fields: Any) -> None:
            began(self, *args, ahead=None if ahead is None else nothing, **fields)

        monkeypatch.setattr(Wallets, "__init__", begin)
        caught(SEQUENCE, first=260)

    def test_nobody_asks_about_payouts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def enquire(self: Cashier, payouts: object) -> None:
            return None

        monkeypatch.setattr(Cashier, "enquire", enquire)
        caught("it comes to rest")
