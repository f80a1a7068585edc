"""Explaining: a decision found in its topic, and derived again from what it was made from.

The score is derived by the model that the decision names, the tier by the policy that it names:
both must come out as they stand there, bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum
from typing import Any, NamedTuple

from models.decisions import Decision, Record, decide_again, read_record
from models.features import FEATURES
from models.policy import FraudPolicy
from models.scorer import WORDS, RowRefused, Scorer
from streams.reading import read_topic

TOPIC = "decisions"

DIGEST_SHOWN = 12
"""Characters of a digest that a line for people shows."""


class Unexplained(Exception):
    """A decision that is not there, or cannot be derived again; one line."""


class Found(NamedTuple):
    """The last decision of an event, and how far was looked for it."""

    record: Record
    partition: int
    offset: int
    decisions: int
    """How many different ones the event has: two if its booking was lost and made again."""
    looked_at: int
    """Decisions that were read."""


class Share(NamedTuple):
    """What a feature adds to the logit of the probability of fraud."""

    feature: str
    value: float
    share: float
    words: str


@dataclass(frozen=True, slots=True)
class Derived:
    """What was derived again. ``logit``: the intercept and all shares."""

    score: float | None
    intercept: float | None
    logit: float | None
    shares: tuple[Share, ...]
    """The strongest first, whichever way they speak."""
    decision: Decision | None = None
    """None if the policy at hand is not the one that decided."""


def find(client: Mapping[str, Any], event_id: str, seller_id: str | None) -> Found:
    """The last decision of an event. With a seller only her partition is read.

    Raises Unexplained, and what reading a topic raises.
    """
    wanted = f'"event_id":{json.dumps(event_id)}'.encode()
    looked_at, found = 0, []
    for message in read_topic(client, TOPIC, key=seller_id):
        looked_at += 1
        value = message.value() or b""
        if wanted in value:
            found.append((message.timestamp()[1], message.partition(), message.offset(), value))
    if not found:
        where = f"of the partition of {seller_id}" if seller_id else "of all partitions"
        raise Unexplained(
            f"no decision of {event_id} in the {looked_at:,} {where} that {TOPIC} still holds"
        )
    _, partition, offset, value = max(found)
    try:
        record = read_record(value)
    except ValueError as error:
        raise Unexplained(f"{TOPIC}:{partition}:{offset}: {error}") from None
    different = {value for *_, value in found}
    return Found(record, partition or 0, offset or 0, len(different), looked_at)


def derive(record: Record, scorer: Scorer | None, policy: FraudPolicy) -> Derived:
    """What a record's facts lead to. Raises Unexplained when it cannot be derived."""
    derived = Derived(None, None, None, ())
    if record.model is not None:
        derived = _scored(record, scorer)
    if record.policy != policy.digest:
        return derived
    vector = record.vector
    explain = None if scorer is None or vector is None else (lambda: scorer.reasons(vector))
    try:
        decision = decide_again(record, derived.score, policy, explain)
    except ValueError as error:
        raise Unexplained(f"{record.event_id}: {error}") from None
    return Derived(derived.score, derived.intercept, derived.logit, derived.shares, decision)


def _scored(record: Record, scorer: Scorer | None) -> Derived:
    model = record.model or ""
    if scorer is None or scorer.digest != model:
        other = "cannot be read" if scorer is None else f"is {scorer.digest[:DIGEST_SHOWN]}"
        raise Unexplained(
            f"{record.event_id} was scored by model {model[:DIGEST_SHOWN]}, the one at hand"
            f" {other}; name its file with --model"
        )
    if record.vector is None:
        raise Unexplained(f"{record.event_id} names a model and has no vector")
    try:
        score = float(scorer.score([record.vector])[0])
        shares = scorer.shares(record.vector)
    except RowRefused as error:
        raise Unexplained(f"{record.event_id} cannot be scored again: {error}") from None
    told = [
        Share(name, value, share, WORDS[name][0 if scorer.is_above(i, value) else 1])
        for i, (name, value, share) in enumerate(zip(FEATURES, record.vector, shares, strict=True))
    ]
    told.sort(key=lambda one: -abs(one.share))
    logit = fsum((scorer.intercept, *shares))
    return Derived(score, scorer.intercept, logit, tuple(told))


def differences(record: Record, derived: Derived) -> list[str]:
    """What came out otherwise than it stands in the record; nothing if all is the same."""
    kept, again = record.decision, derived.decision
    found = []
    if record.model is not None and derived.score != kept.score:
        found.append(f"score {kept.score!r}, derived {derived.score!r}")
    if again is not None:
        for name, value in kept._asdict().items():
            other = getattr(again, name)
            if name != "score" and other != value:
                found.append(f"{name} {value!r}, derived {other!r}")
    return found
