"""Decisions: what becomes of the earnings of a sale, why, and the record of it.

What paying at once is expected to cost (probability of fraud times what is paid) is weighed
against what a review costs. Fail closed: without a score nothing above a small cap is paid at
once, and neither is a seller who is suspended or whose profile has not come. Each decision is
published on ``decisions`` with all it was made from, so that anyone can derive it again, bit for
bit: :func:`read_record`, :func:`decide_again`.
"""

from __future__ import annotations

import json
import math
from base64 import b64decode
from binascii import b2a_base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from struct import error as StructError
from typing import NamedTuple

from models.events import SaleCompleted
from models.features import FEATURES, Profile
from models.fraudrules import Facts, FraudRule
from models.money import BASIS_POINTS
from models.policy import FraudPolicy


class Tier(StrEnum):
    """What becomes of the earnings of a sale."""

    INSTANT = "instant"  # paid at once
    PARTIAL = "partial"  # a share is paid at once, the rest is held for review
    HOLD = "hold"  # booked, but held for review
    REJECT = "reject"  # nothing is earned


class Why(StrEnum):
    """The reasons of a decision that is not instant, as words for machines.

    A company's own rules are named behind ``rule``, what speaks for fraud behind ``score`` or
    ``cost``.
    """

    RULE = "rule"  # rules of the company fit; their own reasons follow
    SUSPENDED = "suspended"  # the seller is suspended
    PROFILE = "profile"  # the seller's profile has not come
    UNSCORED = "unscored"  # no score, and the amount is above the cap
    SCORE = "score"  # the score is at or above the threshold; what speaks for fraud follows
    COST = "cost"  # paying at once would cost more than a review; what speaks for fraud follows


class Standing(StrEnum):
    """What of a seller's profile a decision was made from."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    UNKNOWN = "unknown"  # it has not come


# What most decisions come to, at hand: a member of an enumeration takes a while to look up.
_ACTIVE, _INSTANT = Standing.ACTIVE, Tier.INSTANT


def standing_of(profile: Profile | None) -> Standing:
    """How a seller stands."""
    if profile is None:
        return Standing.UNKNOWN
    return Standing.SUSPENDED if profile.suspended else _ACTIVE


class Decision(NamedTuple):
    """A tier, the reasons for it (none for instant), and the score (None: there was none)."""

    tier: Tier
    reasons: tuple[str, ...]
    score: float | None
    cost: float | None = None
    """What paying all at once is expected to cost more than to wait, in minor units; None where no
    review cost is given, or no score."""
    share_bp: int = 0
    """Of a partial earning: the share that is paid at once, in basis points."""
    rules: tuple[str, ...] = ()
    """The company's rules that fit, by their reasons."""
    draw: float | None = None
    """What chance drew, from 0 to 1; None where nothing could be let through by chance."""
    explored: bool = False
    """Whether it is paid only to learn what becomes of such sales: it would have been held."""
    propensity: float = 1.0
    """How probable this outcome was, given all else: what a training weighs the sale by."""

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
        amount_minor: int,
        currency: str,
        standing: Standing,
        policy: str,
        sale_id: str,
        challenger: tuple[str, float] | None = None,
    ) -> str:
        """The message for ``decisions``: JSON.

        ``vector`` is kept as base64 of little-endian 64-bit floats, which is exact; ``model`` is
        the scorer's digest, null where there was no score; ``policy`` that of the fraud policy.
        ``amount_minor`` is what the sale earns, ``at_ms`` the event's time, ``sale_id`` how labels
        name the sale, ``challenger`` digest and score of a model that was asked too and decided
        nothing. Ids must be those of a decoded event: they need no escaping.
        """
        floats, score, cost = "null", self.score, self.cost
        if vector is not None:
            floats = f'"{b2a_base64(_pack_vector(*vector), newline=False).decode()}"'
        digest = "null" if model is None else f'"{model}"'
        rival = ""
        if challenger is not None:
            rival = f',"challenger":{{"model":"{challenger[0]}","score":{challenger[1]!r}}}'
        return (
            f'{{"version":1,"event_id":"{event_id}","seller_id":"{seller_id}",'
            f'"source":{{"topic":"{topic}","partition":{partition},"offset":{offset}}},'
            f'"at_ms":{at_ms},"amount_minor":{amount_minor},"currency":"{currency}",'
            f'"standing":"{standing.value}","tier":"{self.tier.value}",'
            f'"share_bp":{self.share_bp},"reasons":{_json_list(self.reasons)},'
            f'"rules":{_json_list(self.rules)},"score":{"null" if score is None else repr(score)},'
            f'"cost":{"null" if cost is None else repr(cost)},'
            f'"draw":{"null" if self.draw is None else repr(self.draw)},'
            f'"explored":{"true" if self.explored else "false"},'
            f'"propensity":{self.propensity!r},"policy":"{policy}","model":{digest},'
            f'"vector":{floats},"sale_id":"{sale_id}"{rival}}}'
        )


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
    amount_minor: int
    currency: str
    standing: Standing
    policy: str
    sale_id: str
    """The sale, as returns and labels name it."""
    challenger: tuple[str, float] | None = None


def read_record(value: bytes | str) -> Record:
    """The decision in a message of ``decisions``. Raises ValueError on anything else."""
    try:
        body = json.loads(value)
        source, vector, rival = body["source"], body["vector"], body.get("challenger")
        return Record(
            decision=Decision(
                Tier(body["tier"]),
                tuple(body["reasons"]),
                body["score"],
                body["cost"],
                body["share_bp"],
                tuple(body["rules"]),
                body["draw"],
                body["explored"],
                body["propensity"],
            ),
            event_id=body["event_id"],
            seller_id=body["seller_id"],
            topic=source["topic"],
            partition=source["partition"],
            offset=source["offset"],
            vector=None if vector is None else _VECTOR.unpack(b64decode(vector, validate=True)),
            model=body["model"],
            at_ms=body["at_ms"],
            challenger=None if rival is None else (rival["model"], rival["score"]),
            amount_minor=body["amount_minor"],
            currency=body["currency"],
            standing=Standing(body["standing"]),
            policy=body["policy"],
            sale_id=body["sale_id"],
        )
    except (ValueError, TypeError, KeyError, StructError) as error:
        raise ValueError(f"not a decision: {error!r}") from None


def draw_of(event_id: str, key: bytes) -> float:
    """What chance draws for an event, from 0 to 1: always the same with the same key."""
    drawn = blake2b(event_id.encode(), digest_size=8, key=key).digest()
    return int.from_bytes(drawn) / 2**64


def decide(
    score: float | None,
    amount_minor: int,
    currency: str,
    policy: FraudPolicy,
    *,
    profile: Profile | None,
    explain: Callable[[], Sequence[str]] | None = None,
    fits: Sequence[FraudRule] = (),
    draw: Callable[[], float] | None = None,
) -> Decision:
    """What becomes of earnings of ``amount_minor``.

    ``score`` is None when the scorer is down or its model unreadable: then what is above the
    policy's cap for the currency is held. ``explain`` gives what speaks for fraud in words; it is
    asked only when the score is the reason. ``fits``: the rules that fit. ``draw``: what chance
    draws; without it, nothing that would be held is let through.
    """
    standing = standing_of(profile)
    return _decide(score, amount_minor, currency, policy, standing, explain, fits, draw)


def decide_again(
    record: Record,
    score: float | None,
    policy: FraudPolicy,
    explain: Callable[[], Sequence[str]] | None,
) -> Decision:
    """What a record's facts lead to by a policy, with a score that was derived again.

    Raises ValueError when the policy has not the rules that the record names.
    """
    kept = record.decision
    known = {rule.reason: rule for rule in policy.rules}
    if missing := [reason for reason in kept.rules if reason not in known]:
        raise ValueError(f"the policy has no rule {missing[0]}")
    fits = [known[reason] for reason in kept.rules]
    drawn = kept.draw
    return _decide(
        score, record.amount_minor, record.currency, policy, record.standing, explain, fits,
        None if drawn is None else lambda: drawn,
    )  # fmt: skip


def _decide(  # noqa: PLR0917 - what a sale is decided from
    score: float | None,
    amount_minor: int,
    currency: str,
    policy: FraudPolicy,
    standing: Standing,
    explain: Callable[[], Sequence[str]] | None,
    fits: Sequence[FraudRule],
    draw: Callable[[], float] | None,
) -> Decision:
    if score is not None and not math.isfinite(score):
        score = None
    cost = _cost(score, amount_minor, currency, policy)
    if fits or standing is not _ACTIVE or score is None:
        settled = _settled(score, amount_minor, currency, policy, standing, fits, cost)
        if settled is not None:
            return settled
    if score is None:
        return Decision(_INSTANT, (), None)
    share_bp = _share(score, cost, currency, policy)
    if share_bp == BASIS_POINTS:
        return Decision(_INSTANT, (), score, cost)
    drawn, chance = None, 0.0
    explore = policy.explore
    if not share_bp and explore and draw and amount_minor <= explore.max.get(currency, 0):
        drawn, chance = draw(), explore.probability
        if drawn < chance:
            return Decision(
                Tier.INSTANT, (), score, cost, draw=drawn, explored=True, propensity=chance
            )
    hold_from, _, _, _ = policy.weighing
    why = Why.SCORE if score >= hold_from else Why.COST
    words = () if explain is None else tuple(explain())
    tier = Tier.PARTIAL if share_bp else Tier.HOLD
    reasons = (why.value, *words)
    return Decision(tier, reasons, score, cost, share_bp, draw=drawn, propensity=1.0 - chance)


def _settled(  # noqa: PLR0917 - what a sale is decided from
    score: float | None,
    amount_minor: int,
    currency: str,
    policy: FraudPolicy,
    standing: Standing,
    fits: Sequence[FraudRule],
    cost: float | None,
) -> Decision | None:
    """The decision that needs no look at the score; None if the score is to say."""
    reasons: list[str] = []
    named = tuple([rule.reason for rule in fits])
    if named:
        reasons += (Why.RULE.value, *named)
    if any(Tier(rule.tier) is Tier.REJECT for rule in fits):
        return Decision(Tier.REJECT, tuple(reasons), score, cost, rules=named)
    if standing is Standing.UNKNOWN:
        reasons.append(Why.PROFILE.value)
    elif standing is Standing.SUSPENDED:
        reasons.append(Why.SUSPENDED.value)
    elif score is None and amount_minor > policy.unscored_cap(currency):
        reasons.append(Why.UNSCORED.value)
    if not reasons:
        return None
    return Decision(Tier.HOLD, tuple(reasons), score, cost, rules=named)


def _cost(
    score: float | None, amount_minor: int, currency: str, policy: FraudPolicy
) -> float | None:
    """What paying at once is expected to lose, less what waiting would cost a genuine seller.

    Written so that no rounding lets it fall while the score or the amount rises.
    """
    _, wait_share, review_cost, _ = policy.weighing
    if score is None or currency not in review_cost:
        return None
    return amount_minor * (score - wait_share * (1.0 - score))


def _share(score: float, cost: float | None, currency: str, policy: FraudPolicy) -> int:
    """Which share may be paid at once, in basis points: what is expected to cost no more than a
    review does."""
    hold_from, _, review_cost, partial_min = policy.weighing
    if score >= hold_from:
        return 0
    if cost is None:
        return BASIS_POINTS
    review = review_cost[currency]
    if cost <= review:
        return BASIS_POINTS
    share_bp = min(int(BASIS_POINTS * review / cost), BASIS_POINTS - 1)
    return share_bp if share_bp >= partial_min else 0


_SELLER_1H = FEATURES.index("sales_1h")
_CARD_1H = FEATURES.index("card_1h")
_ACCOUNT_SELLERS = FEATURES.index("account_sellers")
_UPLINE_RETURNS = FEATURES.index("upline_returns")


def facts_of(event: SaleCompleted, row: Sequence[float], profile: Profile | None) -> Facts:
    """What the company's rules look at of a sale. ``row``: its vector."""
    changed = joined = None
    country = event.country
    if profile is not None:
        country = country or profile.country
        if profile.payout_changed_ms is not None:
            changed = event.occurred_ms - profile.payout_changed_ms
        if profile.joined_ms is not None:
            joined = event.occurred_ms - profile.joined_ms
    return Facts(
        event.seller_id,
        event.instrument_ref,
        event.device_ref,
        country,
        event.currency,
        event.amount_minor,
        math.expm1(row[_SELLER_1H]),
        math.expm1(row[_CARD_1H]) if event.instrument_ref is not None else 0.0,
        changed,
        joined,
        int(row[_ACCOUNT_SELLERS]),
        row[_UPLINE_RETURNS],
    )


_VECTOR = Struct(f"<{len(FEATURES)}d")
_pack_vector = _VECTOR.pack


@lru_cache(maxsize=4096)
def _json_list(words: tuple[str, ...]) -> str:
    return json.dumps(words)
