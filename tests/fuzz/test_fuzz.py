"""20,000 inputs through every reader and the whole line; and proof that the judge can see."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from models.events import TOPICS
from models.refusals import Reason
from streams.deadletters import dead_letter
from streams.desk import Desk
from streams.engine import Outgoing, RawMessage
from streams.wallets.journal import LEDGER
from streams.wallets.store import Store
from tests.fuzz.__main__ import main
from tests.fuzz.inputs import Inputs
from tests.fuzz.line import Line
from tests.fuzz.rounds import ROUND_INPUTS, Round, RoundFailed, run_round

SEEDS = (14, 15)

OF_REQUESTS = {
    Reason.PAYOUT_NOT_POSSIBLE,
    Reason.NOTHING_AVAILABLE,
    Reason.RAILS_CLOSED,
    Reason.DAY_LIMIT,
    Reason.AMOUNT_BELOW_MINIMUM,
}
"""Reasons that no event is refused for."""

SELDOM = {
    Reason.AMOUNT_NEGATIVE,
    Reason.AMOUNT_TOO_LARGE,
    Reason.BALANCE_TOO_LARGE,  # a balance beyond 2**53 takes thousands of the largest events
    Reason.AUTHORISATION_CLOSED,  # tests/streams/wallets/test_till.py has all of these
    Reason.AUTHORISATION_EXPIRED,
    Reason.AUTHORISATION_REUSED,
    Reason.CAPTURE_EXCEEDS_AUTHORISATION,
    Reason.DISCOUNT_REUSED,
    Reason.REFUND_EXCEEDS_CAPTURE,
    Reason.ID_REUSED,
    Reason.NOTICE_UNDELIVERED,  # of what goes out, not of what comes in
    Reason.PAST_RETENTION,
    Reason.PERCENT_OUT_OF_RANGE,  # tests/models/test_events.py has it
    Reason.RETURN_WITHOUT_SALE,  # only when time has passed
    Reason.LABEL_WITHOUT_SALE,
    Reason.SALE_REUSED,
    Reason.SELLER_MISMATCH,
    Reason.TOO_MANY_WAITING,
    Reason.PAYOUT_NOT_UNKNOWN,  # tests/streams/wallets/test_resolve.py has all of these
    Reason.PAYOUT_RESOLVED,
    Reason.AMOUNT_MISMATCH,
    Reason.REFERENCE_MISMATCH,
    Reason.ENQUIRY_DUE,
    Reason.ASKED_SINCE,
    Reason.CAUSE_VOID,  # tests/streams/wallets/test_causes.py has it
    Reason.LINES_CONFLICT,  # tests/models/test_events.py has it
    Reason.CONVERSION_TOO_SMALL,  # tests/streams/wallets/test_fx.py has all of these
    Reason.INSUFFICIENT_AVAILABLE,
    Reason.QUOTE_EXPIRED,
    Reason.QUOTE_REUSED,
    Reason.QUOTE_USED,
    Reason.RATE_EXPIRED,
    Reason.RATE_IMPLAUSIBLE,
    Reason.RATE_NOT_POSITIVE,
    Reason.RATE_UNKNOWN,
    *OF_REQUESTS,
}
"""Reasons that a round may do without."""

Break = Callable[[pytest.MonkeyPatch, redis.Redis], None]


def _round(seed: int, inputs: int) -> Round:
    return Round(seed, inputs, time.time_ns() // 1_000_000)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_input_is_an_effect_or_a_dead_letter(redis_url: str, seed: int) -> None:
    assert len(SEEDS) * ROUND_INPUTS >= 20_000
    counts = run_round(redis_url, _round(seed, ROUND_INPUTS))
    assert counts.total() >= ROUND_INPUTS
    words = {word for _, word in counts}
    assert {"effect", "repeat", "delivered again", "no news", "reported"} <= words
    refused = {Reason(word.removeprefix("refused: ")) for _, word in _of_topics(counts)}
    assert refused >= set(Reason) - SELDOM


def _of_topics(counts: Any) -> list[tuple[str, str]]:
    return [(t, word) for t, word in counts if t in TOPICS and word.startswith("refused")]


def test_a_seed_draws_the_same_inputs() -> None:
    def drawn() -> list[RawMessage]:
        inputs = Inputs(5, 1_795_500_000_000, timedelta(days=90), 2)
        return [message for _ in range(10) for message in inputs.batch({}, 500)]

    assert drawn() == drawn()


def _lose_letters(patch: pytest.MonkeyPatch, _: redis.Redis) -> None:
    decode = Desk._decode

    def losing(self: Desk, messages: Sequence[RawMessage]) -> Any:
        taken, letters = decode(self, messages)
        return taken, letters[:-1]

    patch.setattr(Desk, "_decode", losing)


def _double_letters(patch: pytest.MonkeyPatch, _: redis.Redis) -> None:
    decode = Desk._decode

    def doubling(self: Desk, messages: Sequence[RawMessage]) -> Any:
        taken, letters = decode(self, messages)
        return taken, letters + letters[:1]

    patch.setattr(Desk, "_decode", doubling)


def _changed_letter(message: RawMessage, *rest: Any) -> Outgoing:
    made = dead_letter(message, *rest)
    return made._replace(value=made.value and made.value + b" ")


def _change_letters(patch: pytest.MonkeyPatch, _: redis.Redis) -> None:
    patch.setattr("streams.desk.dead_letter", _changed_letter)


def _lose_events(patch: pytest.MonkeyPatch, _: redis.Redis) -> None:
    decode = Desk._decode

    def losing(self: Desk, messages: Sequence[RawMessage]) -> Any:
        taken, letters = decode(self, messages)
        return taken[1:], letters

    patch.setattr(Desk, "_decode", losing)


def _mistake_the_source(patch: pytest.MonkeyPatch, _: redis.Redis) -> None:
    sourced = Desk._sourced

    def mistaking(self: Desk, taken: Any, operation: Any) -> None:
        sourced(self, taken, operation)
        operation["offset"] += 1_000_000

    patch.setattr(Desk, "_sourced", mistaking)


def _forget_ids(patch: pytest.MonkeyPatch, client: redis.Redis) -> None:
    book = Store.book

    async def forgetting(self: Store, *rest: Any) -> Any:
        client.delete("none", *client.scan_iter("{*}:d:*", count=1_000))
        return await book(self, *rest)

    patch.setattr(Store, "book", forgetting)


def _lose_entries(patch: pytest.MonkeyPatch, _: redis.Redis) -> None:
    send = Line.send

    async def losing(self: Line, messages: Sequence[Outgoing]) -> Any:
        entries = [one for one in messages if one.topic == LEDGER]
        return await send(self, [one for one in messages if one not in entries[3:4]])

    patch.setattr(Line, "send", losing)


def _change_wallets(patch: pytest.MonkeyPatch, client: redis.Redis) -> None:
    book = Store.book

    async def changing(self: Store, *rest: Any) -> Any:
        booked = await book(self, *rest)
        # In a currency that nobody books in: the next entry would be seen to go on from it.
        for key in client.scan_iter("{*}:w:*"):
            client.hset(key, "XTS:credit", 1)
        return booked

    patch.setattr(Store, "book", changing)


@pytest.mark.parametrize(
    ("spoil", "seen"),
    [
        (_lose_letters, "is to be refused as"),
        (_double_letters, "dead letters of"),
        (_change_letters, "has other bytes"),
        (_lose_events, "left no trace"),
        (_mistake_the_source, "left no trace|which was settled"),
        (_forget_ids, "was booked twice"),
        (_lose_entries, "missing in the journal|left no trace"),
        (_change_wallets, "Redis"),
    ],
)
def test_the_judge_sees(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, spoil: Break, seen: str
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        spoil(monkeypatch, client)
        with pytest.raises(RoundFailed, match=seen):
            run_round(redis_url, _round(3, 3_000))
        client.flushall()


def test_a_failure_is_written_down_and_can_be_seen_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--inputs", "600", "--seed", "4", "--records", str(tmp_path)]
    assert main(arguments) == 0
    assert "0 rounds failed" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())

    with monkeypatch.context() as patch:
        patch.setattr("streams.desk.dead_letter", _changed_letter)
        assert main(arguments) == 1
        [record] = tmp_path.iterdir()
        assert main(["--replay", str(record), "--records", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert shown.err.count("line.Broken: ") == 2
    assert f"--replay {record}" in shown.err
    assert main(["--replay", str(record), "--records", str(tmp_path)]) == 0
