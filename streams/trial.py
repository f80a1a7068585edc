"""A trial of campaigns: what they would have granted for events of before, to whom, at what cost.

The same rules and the same Redis functions as live, on an embedded server of its own that is gone
when the trial ends. Nothing is published and nobody is paid. Every sale is taken to be paid at
once: what is held as a suspected fraud live delays a bonus, and no credit.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import redis
from confluent_kafka import KafkaException
from pydantic_core import from_json, to_json

from models.budgets import read_needs, topping_up
from models.campaigns import Campaigns
from models.decisions import Tier
from models.events import (
    CommissionEarned,
    CommissionReversed,
    SaleCompleted,
    SaleReturned,
    SellerUpdated,
    body_hash,
    decode,
)
from models.features import observe
from models.plan import CommissionPlan
from models.policy import PayoutPolicy
from models.refusals import Refused
from models.reinvestment import BONUS_LOT, campaign_of
from models.rules import Operation, Rules
from models.sellers import Seller, read_seller
from models.shards import shard_of
from streams.demo.embedded import EmbeddedRedis
from streams.settings import Settings
from streams.wallets.evidence import EvidenceMissing, Topics
from streams.wallets.library import library
from streams.wallets.server import meta_key

TOPICS = ("sellers", "sales", "commissions")
"""The topics whose events count in campaigns."""

KEPT_MS = 1_000 * 365 * 86_400_000
"""How long everything is kept: events of long ago may not be forgotten under the trial."""

ROUNDS_MAX = 10_000
"""How often the shards are given slices of a budget behind one event."""


class Granted(NamedTuple):
    """What one seller was granted by one campaign in one currency."""

    campaign: str
    seller_id: str
    currency: str
    kind: str
    """``credit``, ``bonus``, ``discount``; ``reinvest`` for a bonus on what was reinvested."""


class Unusable(ValueError):
    """A file of events has a line that is none."""


@dataclass(slots=True)
class Result:
    """What came of a trial. Amounts in minor units."""

    events: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Events that were refused, by reason."""
    unknown: int = 0
    """Sales and commissions of sellers without a profile: they count nowhere."""
    grants: Counter[Granted] = field(default_factory=Counter)
    """How many thresholds are granted at the end."""
    minor: Counter[Granted] = field(default_factory=Counter)
    """What the grants come to, net of what returns took back; of discounts, at the most."""
    unaffordable: Counter[Granted] = field(default_factory=Counter)
    """What thresholds are worth that found no budget."""

    def tell(self, credit: Mapping[str, Any]) -> None:
        """Take a message of ``spendback.credits``."""
        kind, _, what = credit["type"].partition(".")
        who = Granted(credit["campaign"], credit["seller_id"], credit["currency"], kind)
        minor = credit["amount_minor"]
        if what == "refused":
            self.unaffordable[who] += minor
            return
        sign = 1 if what == "granted" else -1
        self.grants[who] += sign
        self.minor[who] += sign * minor

    def tell_lots(self, entry: Mapping[str, Any]) -> None:
        """Take a journal entry: what campaigns gave on what was reinvested."""
        for lot, currency, before, after, minor in entry.get("lots", ()):
            campaign = campaign_of(lot)
            if campaign is None or (before != "granted" and after != "reversed"):
                continue
            who = Granted(campaign, entry["seller"], currency, "reinvest")
            self.grants[who] += before == "granted"
            self.minor[who] += minor if before == "granted" else -minor

    def json(self) -> dict[str, Any]:
        """For ``--json``: figures per campaign, and every seller's."""
        totals: dict[tuple[str, str, str], dict[str, int]] = defaultdict(Counter)
        for who in self.minor.keys() | self.unaffordable.keys():
            total = totals[who.campaign, who.currency, who.kind]
            total["sellers"] += self.grants[who] > 0
            total["grants"] += self.grants[who]
            total["cost_minor"] += self.minor[who]
            total["no_budget_minor"] += self.unaffordable[who]
        return {
            "events": self.events,
            "refused": dict(self.refused),
            "without_profile": self.unknown,
            "campaigns": [
                {"campaign": campaign, "currency": currency, "kind": kind, **figures}
                for (campaign, currency, kind), figures in sorted(totals.items())
            ],
            "sellers": [
                {
                    **who._asdict(),
                    "grants": self.grants[who],
                    "amount_minor": self.minor[who],
                    "no_budget_minor": self.unaffordable[who],
                }
                for who in sorted(self.minor.keys() | self.unaffordable.keys())
            ],
        }


def events_of_file(path: Path) -> Iterator[tuple[str, bytes]]:
    """Topic and body of each line of a file: one event as JSON, as in its topic.

    Raises OSError, and Unusable with the line's number.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                type_ = from_json(line)["type"]
                topic = _TOPIC_OF[type_.partition(".")[0]]
            except (ValueError, TypeError, KeyError, AttributeError):
                names = ", ".join(f"{name}.*" for name in _TOPIC_OF)
                raise Unusable(f"{path}:{number}: no event with a type {names}") from None
            yield topic, line.strip()


_TOPIC_OF = {"seller": "sellers", "sale": "sales", "commission": "commissions"}


def events_of_topics(settings: Settings) -> Iterator[tuple[str, bytes]]:
    """What the broker has: profiles first, then sales and commissions by the time they came.

    Raises :class:`streams.wallets.evidence.EvidenceMissing`, also where there is no broker.
    """
    try:
        yield from _profiles_first(Topics(settings.kafka_client()))
    except KafkaException as error:
        raise EvidenceMissing(f"cannot read from the broker: {error.args[0].str()}") from error


def _profiles_first(reader: Topics) -> Iterator[tuple[str, bytes]]:
    for topic in TOPICS[:1]:
        for message in reader.read(topic):
            yield topic, message.value() or b""
    rest = [
        (message.timestamp()[1], at, topic, message.value() or b"")
        for topic in TOPICS[1:]
        for at, message in enumerate(reader.read(topic))
    ]
    for _, _, topic, value in sorted(rest):
        yield topic, value


def try_campaigns(
    campaigns: Campaigns,
    plan: CommissionPlan,
    policy: PayoutPolicy,
    events: Iterable[tuple[str, bytes]],
) -> Result:
    """Go through events with campaigns. Raises EmbeddedUnavailable, and what ``events`` raises."""
    rules = Rules(plan, policy, campaigns, lambda *_: None, retention_ms=KEPT_MS)
    with EmbeddedRedis() as server:
        client = redis.Redis.from_url(server.url)
        try:
            client.function_load(library().source)
            trial = _Trial(client, rules)
            for topic, value in events:
                trial.take(topic, value)
            trial.close()
            return trial.result
        finally:
            client.close()


class _Trial:
    """Books events one by one, and what follows from each before the next."""

    def __init__(self, client: redis.Redis, rules: Rules) -> None:
        self._client = client
        self._rules = rules
        self._now_ms = time.time_ns() // 1_000_000
        self._at_ms = self._now_ms
        self._epochs: dict[int, int] = {}
        self._offset = -1
        self._states: dict[str, str | None] = {}
        self._follow: deque[bytes] = deque()
        self._budgets = [
            *((one.id, currency) for one in rules.campaigns for currency in one.budget),
            *((one.id, currency) for one in rules.boosts for currency in one.budget),
        ]
        self._terms = to_json(
            {
                "retention_ms": KEPT_MS,
                "wait_ms": KEPT_MS,
                "ask_ms": KEPT_MS,
                "campaigns": rules.context(),
            }
        )
        self.result = Result()

    def take(self, topic: str, value: bytes) -> None:
        """An event, then the commissions that it sends up the tree."""
        self.result.events += 1
        self._one(topic, value)
        while self._follow:
            self._one("commissions", self._follow.popleft())

    def close(self) -> None:
        """Count what waits in vain."""
        for shard in self._epochs:
            found: Any = self._client.hget(meta_key(shard), "waiting")
            self.result.unknown += int(found or 0)

    def _one(self, topic: str, value: bytes) -> None:
        try:
            event = decode(topic, value, now_ms=self._now_ms, retention_ms=KEPT_MS)
        except Refused as refused:
            self.result.refused[refused.reason.value] += 1
            return
        self._at_ms = event.occurred_ms
        shard = shard_of(event.seller_id)
        self._offset += 1
        operation = self._decide(event, shard)
        operation |= {
            "hash": body_hash(value),
            "topic": "trial",
            "partition": 0,
            "offset": self._offset,
        }
        if operation["op"] == "reverse":
            operation |= {"raw": value.decode(), "headers": "{}"}
        outcome = self._book(shard, operation)
        if outcome.startswith("refused:"):
            self.result.refused[outcome[8:]] += 1
        self._settle_budgets()

    def _decide(self, event: Any, shard: int) -> Operation:
        prefix = meta_key(shard)[:-1]
        seller = self._seller(prefix, event.seller_id)
        rules = self._rules
        if isinstance(event, SellerUpdated):
            if seller is not None and event.occurred_ms < seller.occurred_ms:
                return rules.outdated(event, seller)
            waiting: Any = self._client.lrange(f"{prefix}q:{event.seller_id}", 0, -1)
            return rules.profile(event, (), seller, waiting)
        suspended = seller is not None and seller.suspended
        tier = Tier.HOLD if suspended else Tier.INSTANT
        if isinstance(event, SaleCompleted):
            earned = rules.plan.retail(event.amount_minor, event.currency)
            return rules.sale(event, seller, earned, tier) | self._state(event)
        if isinstance(event, SaleReturned):
            return rules.sale_return(event, seller) | self._state(event)
        if isinstance(event, CommissionEarned):
            return rules.commission(event, seller, tier)
        if isinstance(event, CommissionReversed):
            return rules.reversal(event, seller)
        raise TypeError(f"{event.type} counts in no campaign")

    def _state(self, event: SaleCompleted | SaleReturned) -> dict[str, str]:
        """The seller's feature state, which says whether she has sold before."""
        key = "s:" + event.seller_id
        _, updates = observe({key: self._states.get(key)}, event, None)
        self._states[key] = updates[key]
        return {"state": updates[key]}

    def _seller(self, prefix: str, seller_id: str) -> Seller | None:
        stored: Any = self._client.get(f"{prefix}p:{seller_id}")
        return None if stored is None else read_seller(seller_id, stored)

    def _book(self, shard: int, operation: Mapping[str, Any]) -> str:
        """Book one operation; its outcome. What follows from it is remembered."""
        context = {"now": self._at_ms, "known": 0, "epoch": self._epoch(shard)}
        reply: Any = self._client.fcall(
            library().function("book"), 1, meta_key(shard),
            to_json(context), to_json([operation]), self._terms,
        )  # fmt: skip
        _, [outcome], entries, _ = reply
        for seq, fields in entries:
            for name, value in zip(fields[::2], fields[1::2], strict=True):
                topic = name.partition(b"\t")[0]
                if topic == b"spendback.credits":
                    self.result.tell(from_json(value))
                elif topic == b"ledger" and b'"' + BONUS_LOT.encode() in value:
                    self.result.tell_lots(from_json(value))
                elif topic == b"commissions":
                    self._follow.append(value)
            self._client.xdel(f"{meta_key(shard)[:-1]}o", f"{int(seq)}-0")
        text: str = outcome.decode()
        if text.startswith("error:"):
            raise RuntimeError(text)
        return text

    def _epoch(self, shard: int) -> int:
        """The shard's epoch; it is opened when it is first booked to."""
        if shard not in self._epochs:
            key, name = meta_key(shard), library().function
            self._client.fcall(name("suspend"), 1, key, "trial", "")
            self._client.fcall(name("open"), 1, key, "trial", "1", "0", "")
            self._epochs[shard] = 1
        return self._epochs[shard]

    def _settle_budgets(self) -> None:
        """What the janitor does: shards that lack a slice get one."""
        for campaign, currency in self._budgets:
            timer = f"bud:{campaign}:{currency}"
            for shard in list(self._epochs):
                prefix = meta_key(shard)[:-1]
                for _ in range(ROUNDS_MAX):
                    due: Any = self._client.zscore(f"{prefix}t", timer)
                    if due is None:
                        break
                    self._top_up(shard, timer, int(due))

    def _top_up(self, shard: int, timer: str, due: int) -> None:
        stored: Any = self._client.get(f"{meta_key(shard)[:-1]}b:{timer[4:]}")
        needs = read_needs(timer, stored or b"")
        steps = topping_up(shard, needs, self._rules.budget(needs.campaign, needs.currency))
        try:
            operations = next(steps)
            while True:
                operations = steps.send([self._book(each["shard"], each) for each in operations])
        except StopIteration as end:
            top_up: Operation | None = end.value
        if top_up is not None:
            self._book(shard, {**top_up, "timer": timer, "due": due})
