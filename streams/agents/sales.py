"""Sales: score each, credit its seller, pay at once what qualifies; returns take back."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Coroutine, Sequence
from time import perf_counter
from typing import Any

from models.decisions import Decision, Tier, decide, draw_of, facts_of, standing_of
from models.events import SaleCompleted
from models.features import Profile, entities, observe, subject_of
from models.fraudrules import FraudRule, fired
from models.lineage import sold_of
from models.rules import Rules
from models.scorer import RowRefused, Scorer
from models.sellers import Seller, read_seller
from models.shards import shard_of
from streams.desk import Desk, Settled, Taken, earned
from streams.engine import Batch
from streams.fraud.drift import DriftWindow
from streams.wallets.store import Look, Operation, RedisGone

logger = logging.getLogger(__name__)

SHARED_STATE_TTL_MS = 90 * 86_400_000
"""How long what is known of a card or device is kept after its last sale, in milliseconds."""

_KNOWN = Profile()
"""Stands for a profile that is on its way: nothing in it speaks against the seller."""


class Sales:
    """Decides about batches of ``sales``.

    ``explore_key``: by which chance draws sales to let through; without it none are.
    """

    def __init__(
        self, desk: Desk, rules: Rules, scorer: Scorer | None, explore_key: bytes = b""
    ) -> None:
        self._desk = desk
        self._rules = rules
        self._scorer: Scorer | None = None
        self._challenger: Scorer | None = None
        self._drift: DriftWindow | None = None
        self._explore_key = explore_key
        self._shared: dict[int, dict[str, str]] = {}
        self._tiers: Counter[str] = Counter()
        self._fired: Counter[str] = Counter()
        self._explored: Counter[str] = Counter()
        policy = rules.policy.fraud
        if policy.explore is not None and not explore_key:
            logger.warning("nothing is let through by chance: PAYOUTS_EXPLORE_KEY is not set")
        desk.metrics.begin_fraud(
            (rule.reason for rule in policy.rules), policy.explore.max if policy.explore else ()
        )
        self.use(scorer)

    def use(self, scorer: Scorer | None, challenger: Scorer | None = None) -> None:
        """Score by these models from now on; call it on the event loop.

        A batch in hand is scored and decided without a pause in between, so one model makes all of
        a decision. The challenger's scores are published beside it, and decide nothing.
        """
        if self._drift is None or scorer is not self._scorer:
            self._drift = DriftWindow(scorer.reference) if scorer else None
        self._scorer = scorer
        self._challenger = challenger
        self._desk.metrics.scorer(up=scorer is not None)

    async def handle(self, batch: Batch) -> Coroutine[Any, Any, None]:
        """One batch, as far as Redis; what is left to do."""
        settled, rest = await self._desk.handle(batch, self.decide)
        # Before the next batch looks: it may name the same cards, devices and customers.
        shared, self._shared = self._shared, {}
        if shared:
            await self._observe(shared)
        self._desk.metrics.booked(earned(settled, "earned"))
        return self._finish(settled, rest)

    async def _observe(self, shared: dict[int, dict[str, str]]) -> None:
        """Write down what cards, devices and customers are known for; advice, so asked once."""
        try:
            await self._desk.wallets.store.observe(shared, SHARED_STATE_TTL_MS)
        except RedisGone as error:
            logger.warning("news of cards, devices and customers are lost: %s", error)

    async def _finish(self, settled: Sequence[Settled], rest: Coroutine[Any, Any, None]) -> None:
        await rest
        now_ms = self._desk.clock()
        self._desk.metrics.sale_to_command(
            [
                max(0, now_ms - one.taken.message.timestamp_ms) / 1000
                for one in settled
                if one.outcome == "booked" and "pay" in one.operation
            ]
        )

    async def decide(self, taken: Sequence[Taken]) -> list[Operation]:
        """An operation for each event, in order."""
        started = perf_counter()
        look = await self._look(taken)
        sellers = [seller_of(look, t.event.seller_id) for t in taken]
        states: dict[str, str | None] = {**look.states, **await self._look_around(sellers)}
        looked = perf_counter()
        rows: list[list[float] | None] = []
        changed: list[dict[str, str]] = []
        for t, seller in zip(taken, sellers, strict=True):
            row, updates = observe(states, t.event, seller.profile if seller else None)
            states.update(updates)
            rows.append(row)
            changed.append(updates)
        self._shared = _shared(changed)
        scores = self._scores(rows, self._scorer)
        if self._scorer is not None:
            _tell_unscored(taken, rows, scores)
        self._desk.metrics.scored(scores)
        rivals = self._scores(rows, self._challenger)
        if self._drift is not None and (psi := self._drift.take(rows, scores)) is not None:
            self._desk.metrics.drift(psi)
        operations = [
            self._operation(t, seller, row, score, rival, updates)
            for t, seller, row, score, rival, updates in zip(
                taken, sellers, rows, scores, rivals, changed, strict=True
            )
        ]
        self._desk.metrics.decided(self._tiers, self._fired, self._explored)
        self._tiers, self._fired, self._explored = Counter(), Counter(), Counter()
        self._desk.metrics.stage_took("look", looked - started)
        self._desk.metrics.stage_took("score", perf_counter() - looked)
        return operations

    async def _look(self, taken: Sequence[Taken]) -> Look:
        """Profiles and feature states of everyone and everything the batch names."""
        sellers = {t.event.seller_id for t in taken}
        wanted = {("s:" + seller): shard_of(seller) for seller in sellers}
        for t in taken:
            for entity in entities(t.event)[1:]:
                if entity not in wanted:
                    wanted[entity] = shard_of(entity)
        return await self._desk.wallets.look(sellers, wanted.items())

    async def _look_around(self, sellers: Sequence[Seller | None]) -> dict[str, str]:
        """What is known of those around these sellers: a second read, since profiles name them."""
        known = {seller.seller_id: seller.profile for seller in sellers if seller}
        wanted = {key: shard_of(key) for one in known.values() for key in one.around}
        if not wanted:
            return {}
        return (await self._desk.wallets.look((), wanted.items())).states

    def _scores(
        self, rows: Sequence[list[float] | None], scorer: Scorer | None
    ) -> list[float | None]:
        """The probability of fraud of each row; None where there is no row or no scorer."""
        if scorer is None:
            return [None] * len(rows)
        real = [row for row in rows if row is not None]
        scores = iter(_scored(scorer, real) if real else ())
        return [None if row is None else next(scores) for row in rows]

    def _operation(  # noqa: PLR0917 - what one event is decided from
        self,
        taken: Taken,
        seller: Seller | None,
        row: list[float] | None,
        score: float | None,
        rival: float | None,
        updates: dict[str, str],
    ) -> Operation:
        event = taken.event
        state = updates["s:" + event.seller_id]
        if not isinstance(event, SaleCompleted) or row is None:
            operation = self._rules.sale_return(event, seller)
            operation["state"] = state
            return operation
        amount = self._rules.plan.retail(event.amount_minor, event.currency)
        profile = seller.profile if seller else None
        decision, fits = self._decision(event, score, amount, profile, row)
        booked = decision
        if seller is None:
            booked, _ = self._decision(event, score, amount, _KNOWN, row, explores=False)
        operation = self._rules.sale(
            event, seller, amount, booked.tier, decision.score, booked.share_bp
        )
        operation["state"] = state
        if (subject := subject_of(event, row)) is not None:
            operation["subject"] = subject
        operation["decision"] = self._record(
            taken, operation, decision, amount, profile, row, rival
        )
        if decision.explored:
            held, _ = self._decision(event, score, amount, profile, row, explores=False)
            self._explore(taken, operation, held, amount, profile, row, rival)
        self._tiers[decision.tier.value] += 1
        for rule in fits:
            self._fired[rule.reason] += 1
        return operation

    def _decision(
        self,
        event: SaleCompleted,
        score: float | None,
        amount: int,
        profile: Profile | None,
        row: list[float],
        *,
        explores: bool = True,
    ) -> tuple[Decision, Sequence[FraudRule]]:
        """The decision, and the rules that fit."""
        scorer, key, policy = self._scorer, self._explore_key, self._rules.policy.fraud
        fits = fired(policy.rules, facts_of(event, row, profile)) if policy.rules else ()
        decision = decide(
            score,
            amount,
            event.currency,
            policy,
            profile=profile,
            explain=(lambda: scorer.reasons(row)) if scorer else None,
            fits=fits,
            draw=(lambda: draw_of(event.id, key)) if key and explores else None,
        )
        return decision, fits

    def _explore(  # noqa: PLR0917 - what one sale is decided from
        self,
        taken: Taken,
        operation: Operation,
        held: Decision,
        amount: int,
        profile: Profile | None,
        row: list[float],
        rival: float | None,
    ) -> None:
        """Let it through as far as its shard's part of the day goes; what is done beyond that."""
        chance, currency = self._rules.policy.fraud.explore, operation["currency"]
        if chance is None or held.tier is not Tier.HOLD:
            raise RuntimeError(f"{operation['id']} was let through although it is {held.tier}")
        operation["explore"] = {
            "most": chance.shard_day_max(currency),
            "decision": self._record(taken, operation, held, amount, profile, row, rival),
        }
        if self._rules.policy.release:
            operation["explore"]["sold"] = sold_of(taken.event, held.score).text()
        self._explored[currency] += amount

    def _record(  # noqa: PLR0917 - what one sale is decided from
        self,
        taken: Taken,
        operation: Operation,
        decision: Decision,
        amount: int,
        profile: Profile | None,
        row: list[float],
        rival: float | None,
    ) -> str:
        message = taken.message
        scored = decision.score is not None
        challenger = self._challenger
        return decision.record(
            event_id=operation["id"],
            seller_id=operation["seller"],
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            vector=row if scored else None,
            model=self._scorer.digest if self._scorer and scored else None,
            at_ms=operation["occurred"],
            amount_minor=amount,
            currency=operation["currency"],
            standing=standing_of(profile),
            policy=self._rules.policy.fraud.digest,
            sale_id=taken.event.sale_id,
            challenger=(challenger.digest, rival) if challenger and rival is not None else None,
        )


def _scored(scorer: Scorer, rows: Sequence[Sequence[float]]) -> list[float | None]:
    """The probability of fraud of each row; None of a row that cannot be scored."""
    try:
        scores: list[float | None] = scorer.score(rows).tolist()
    except RowRefused:
        # One by one, so that only what is wrong goes without a score.
        scores = []
        for row in rows:
            try:
                scores.append(float(scorer.score([row])[0]))
            except RowRefused:
                scores.append(None)
    return scores


def _tell_unscored(
    taken: Sequence[Taken], rows: Sequence[object], scores: Sequence[float | None]
) -> None:
    if scores.count(None) == rows.count(None):
        return
    for t, row, score in zip(taken, rows, scores, strict=True):
        if row is not None and score is None:
            logger.error("a sale's vector cannot be scored", extra=t.message.place)


def seller_of(look: Look, seller_id: str) -> Seller | None:
    """The seller's profile as it was read; None if it has not come."""
    stored = look.profiles.get(seller_id)
    return None if stored is None else read_seller(seller_id, stored)


def _shared(changed: Sequence[dict[str, str]]) -> dict[int, dict[str, str]]:
    """The last state of each card, device and customer, by the shard that keeps it."""
    shared: dict[int, dict[str, str]] = defaultdict(dict)
    for updates in changed:
        for entity, state in updates.items():
            if not entity.startswith("s:"):
                shared[shard_of(entity)][entity] = state
    return dict(shared)
