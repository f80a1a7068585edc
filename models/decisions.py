"""Decisions: whether a seller is paid for a sale at once, why, and the record of it.

Fail closed: without a score nothing above a small cap is paid at once, and neither is a seller who
is suspended or whose profile has not come. Each decision is published on ``decisions`` with all it
was made from, so that anyone can derive it again, bit for bit: :func:`read_record`.
"""

from __future__ import annotations

import json
from base64 import b64decode
from binascii import b2a_base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from math import isfinite
from struct import Struct
from struct import error as StructError

from models.features import FEATURES, Profile
from models.policy import FraudPolicy


class Tier(StrEnum):
    """What becomes of the earnings of a sale."""

    INSTANT = "instant"  # paid at once
    HOLD = "hold"  # booked, but held for review


class Why(StrEnum):
    """The first reason of a decision that is not instant: a word for machines."""

    SUSPENDED = "suspended"  # the seller is suspended
    PROFILE = "profile"  # the seller's profile has not come
    UNSCORED = "unscored"  # no score, and the amount is above the cap
    SCORE = "score"  # the score is at or above the threshold; what speaks for fraud follows


@dataclass(frozen=True, slots=True)
class Decision:
    """A tier, the reasons for it (none for instant), and the score (None: there was none)."""

    tier: Tier
    reasons: tuple[str, ...]
    score: float | None

    def record(
        self,
        *,
        event_id: str,
        seller_id: str,
        topic: str,
        partition: int,
        offset: int,
        vector: Sequence[float] | None,
        model: str | None,
        at_ms: int,
        sale_id: str | None = None,
        challenger: tuple[str, float] | None = None,
    ) -> bytes:
        """The message for ``decisions``: JSON.

        ``vector`` is kept as base64 of little-endian 64-bit floats, which is exact; ``model`` is
        the scorer's digest; both are null where there was no score. ``at_ms`` is the event's time,
        ``sale_id`` how labels name the sale, ``challenger`` digest and score of a model that was
        asked too and decided nothing.
        Ids must be those of a decoded event: they need no escaping.
        """
        floats = "null"
        if vector is not None:
            floats = f'"{b2a_base64(_pack_vector(*vector), newline=False).decode()}"'
        score = "null" if self.score is None else repr(self.score)
        digest = "null" if model is None else f'"{model}"'
        sale = "" if sale_id is None else f'"sale_id":"{sale_id}",'
        rival = ""
        if challenger is not None:
            rival = f',"challenger":{{"model":"{challenger[0]}","score":{challenger[1]!r}}}'
        return (
            f'{{"version":1,"event_id":"{event_id}","seller_id":"{seller_id}",{sale}'
            f'"source":{{"topic":"{topic}","partition":{partition},"offset":{offset}}},'
            f'"at_ms":{at_ms},"tier":"{self.tier.value}","reasons":{_json_list(self.reasons)},'
            f'"score":{score},"model":{digest},"vector":{floats}{rival}}}'
        ).encode()


@dataclass(frozen=True, slots=True)
class Record:
    """A published decision, read back."""

    decision: Decision
    event_id: str
    seller_id: str
    topic: str
    partition: int
    offset: int
    vector: tuple[float, ...] | None
    model: str | None
    at_ms: int
    sale_id: str | None = None
    challenger: tuple[str, float] | None = None


def read_record(value: bytes) -> Record:
    """The decision in a message of ``decisions``. Raises ValueError on anything else."""
    try:
        body = json.loads(value)
        source, vector, rival = body["source"], body["vector"], body.get("challenger")
        return Record(
            decision=Decision(Tier(body["tier"]), tuple(body["reasons"]), body["score"]),
            event_id=body["event_id"],
            seller_id=body["seller_id"],
            topic=source["topic"],
            partition=source["partition"],
            offset=source["offset"],
            vector=None if vector is None else _VECTOR.unpack(b64decode(vector, validate=True)),
            model=body["model"],
            at_ms=body["at_ms"],
            sale_id=body.get("sale_id"),
            challenger=None if rival is None else (rival["model"], rival["score"]),
        )
    except (ValueError, TypeError, KeyError, StructError) as error:
        raise ValueError(f"not a decision: {error!r}") from None


def decide(
    score: float | None,
    amount_minor: int,
    currency: str,
    policy: FraudPolicy,
    *,
    profile: Profile | None,
    explain: Callable[[], Sequence[str]] | None = None,
) -> Decision:
    """What becomes of earnings of ``amount_minor``.

    ``score`` is None when the scorer is down or its model unreadable: then what is above the
    policy's cap for the currency is held. ``explain`` gives what
    speaks for fraud in words; it is asked only when the score is the reason.
    """
    if score is not None and not isfinite(score):
        score = None
    if profile is None:
        return Decision(Tier.HOLD, (Why.PROFILE.value,), score)
    if profile.suspended:
        return Decision(Tier.HOLD, (Why.SUSPENDED.value,), score)
    if score is None:
        if amount_minor > policy.unscored_cap(currency):
            return Decision(Tier.HOLD, (Why.UNSCORED.value,), None)
        return Decision(Tier.INSTANT, (), None)
    if score >= policy.hold_from:
        words = () if explain is None else tuple(explain())
        return Decision(Tier.HOLD, (Why.SCORE.value, *words), score)
    return Decision(Tier.INSTANT, (), score)


_VECTOR = Struct(f"<{len(FEATURES)}d")
_pack_vector = _VECTOR.pack


@lru_cache(maxsize=4096)
def _json_list(words: tuple[str, ...]) -> str:
    return json.dumps(words)
