"""What the wallets' tests share: a shard to book to, and a company around real servers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import redis
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from pydantic_core import to_json

from models.campaigns import Campaigns
from models.config import load
from models.ids import derived
from models.ledger import Entry, Fold
from models.movements import words_of
from models.plan import CommissionPlan
from models.policy import PayoutPolicy
from models.rules import Rules
from models.scorer import Scorer
from models.shards import SHARDS, shard_of
from rails.destination import Seal
from rails.gate import open_gates
from rails.inspection import Inspector
from rails.paypal.capabilities import PAYPAL
from rails.rail import Instruction, Outcome, Rail, unknown
from rails.registry import provider
from rails.routing import Router
from streams.agents.commissions import Commissions
from streams.agents.labels import Labels
from streams.agents.payouts import Cashier
from streams.agents.rail_updates import RailUpdates
from streams.agents.rates import Rates
from streams.agents.redemptions import Redemptions
from streams.agents.sales import Sales
from streams.agents.sellers import Sellers
from streams.desk import Desk
from streams.engine import Batch, Outgoing, RawMessage
from streams.engine.counters import EngineCounters
from streams.engine.stream import Inbox
from streams.janitor import Janitor, Round
from streams.metrics import Metrics
from streams.settings import DEFAULTS, Settings, load_settings
from streams.topics import create_topics
from streams.tracing import UNTRACED, Untraced
from streams.wallets.journal import LEDGER, Journal
from streams.wallets.library import library
from streams.wallets.server import RedisServer, meta_key
from streams.wallets.store import Store, Timers
from streams.wallets.terms import Terms, forget_ms
from streams.wallets.wallets import Wallets

NOW_MS = time.time_ns() // 1_000_000
"""The present: Redis forgets by its own clock what was to be kept until a time in the past."""
DAY_MS = 86_400_000
RETENTION_MS = forget_ms(90 * DAY_MS)
WAIT_MS = 30 * DAY_MS
ASK_MS = 60_000
PARTITIONS = 2
NOT_YET = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
}
"""Errors of a partition that was just made."""

SEAL_KEYS = "test:" + "A" * 43 + "="

ACCOUNTS = ("available", "held", "in_flight", "credit", "debt")

PAY: Mapping[str, Any] = {
    "rail": "paypal", "destination": "v1.test.sealed", "min": 500, "max": 500_000, "fixed": 10,
    "bp": 100, "cap": 100, "seller_pays": True, "window": 0, "step": 1, "why": "method_1",
}  # fmt: skip
"""Terms of a payout: 10 and 1 %, at most 100."""


TERMS = """
currencies:
  EUR: {min: 500, max: 500000}
fee_bearer: seller
rails:
  paypal:
    currencies: [EUR]
"""
"""What a payout policy has to say, for tests that add what they are about."""


class Shard:
    """One shard in a real Redis, booked to by the library's own function."""

    def __init__(
        self, client: redis.Redis, seller: str = "anna", campaigns: Sequence[Any] = ()
    ) -> None:
        self.client = client
        self.seller = seller
        self.number = shard_of(seller)
        self.now_ms = NOW_MS
        self.campaigns = list(campaigns)
        self.debt_bp = 10_000
        self.spent_is_debt = False
        self._ids = 0
        self._offset = -1

    def id(self) -> str:
        """An id that was not there before."""
        self._ids += 1
        return f"e{self._ids}"

    def event(self, op: str, kind: str, **fields: Any) -> dict[str, Any]:
        """An operation that an event on partition 0 of `sales` led to."""
        self._offset += 1
        base = {
            "op": op, "kind": kind, "id": self.id(), "seller": self.seller, "hash": "0" * 16,
            "topic": "sales", "partition": 0, "offset": self._offset,
        }  # fmt: skip
        return {**base, **fields}

    def sale(self, amount: int, /, **fields: Any) -> dict[str, Any]:
        """A sale that earns an amount, at once and unpaid unless said otherwise."""
        operation = self.event(
            "earn", "sale.completed", currency="EUR", base=amount * 4, amount=amount,
            tier="instant", occurred=self.now_ms, counts=[], rev=0,
        )  # fmt: skip
        operation["record"] = "s:" + operation["id"]
        return {**operation, **fields}

    def return_of(self, sale: Mapping[str, Any], base: int, /, **fields: Any) -> dict[str, Any]:
        """A return of a part of a sale."""
        return self.event(
            "reverse", "sale.returned", currency=sale["currency"], base=base,
            record=sale["record"], raw="{}", headers='{"reason":"return_without_sale"}',
        ) | fields  # fmt: skip

    def transit(self, payout: str, state: str, **fields: Any) -> dict[str, Any]:
        """A payout goes to a state."""
        return {"op": "transit", "id": self.id(), "shard": self.number, "payout": payout,
                "state": state, **fields}  # fmt: skip

    def book(self, *operations: Mapping[str, Any], known: int = 0) -> list[str]:
        """Book, and keep what the outbox got; the outcomes."""
        context = {
            "now": self.now_ms, "known": known, "epoch": self.epoch(), "retention_ms": RETENTION_MS,
            "wait_ms": WAIT_MS, "ask_ms": ASK_MS, "campaigns": self.campaigns,
            "debt_bp": self.debt_bp, "spent_is_debt": self.spent_is_debt,
        }  # fmt: skip
        reply: Any = self.client.fcall(
            library().function("book"), 1, meta_key(self.number),
            to_json(context), to_json(operations),
        )  # fmt: skip
        self.entries = [json.loads(fields[1]) for _, fields in reply[2]]
        self.messages = [
            (fields[i].split(b"\t")[0].decode(), fields[i + 1])
            for _, fields in reply[2]
            for i in range(0, len(fields), 2)
        ]
        self.raw = [fields[1] for _, fields in reply[2]]
        self.fields = [name for _, fields in reply[2] for name in fields[::2]]
        return [outcome.decode() for outcome in reply[1]]

    def epoch(self) -> int:
        """The epoch that the shard is in; opened here if nobody has."""
        key, name = meta_key(self.number), library().function
        sound, seq, epoch, *_ = self.client.fcall_ro(name("stand"), 1, key, "0", "0")  # type: ignore[misc]
        if not sound:
            self.client.fcall(name("suspend"), 1, key, "test", "")
            epoch = self.client.time()[0]  # type: ignore[index]
            self.client.fcall(name("open"), 1, key, "test", str(epoch), str(seq), "")
        return int(epoch)

    def confirm(self, *seqs: int, upto: int | None = None, offset: int = 0) -> str:
        """Entries are in the ledger; what they are worth."""
        last = max(seqs) if upto is None else upto
        reply = self.client.fcall(
            library().function("confirm"), 1, meta_key(self.number),
            str(self.epoch()), str(last), str(offset), *map(str, seqs),
        )  # fmt: skip
        return bytes(reply).decode()  # type: ignore[arg-type]

    def one(self, operation: Mapping[str, Any]) -> str:
        """Book one operation; its outcome."""
        return self.book(operation)[0]

    def key(self, rest: str) -> str:
        """A key of the shard."""
        return f"{{s{self.number}}}:{rest}"

    def balances(self, currency: str = "EUR", seller: str | None = None) -> tuple[int, ...]:
        """available, held, in_flight, credit, debt."""
        stored: dict[bytes, bytes] = self.client.hgetall(self.key(f"w:{seller or self.seller}"))  # type: ignore[assignment]
        return tuple(int(stored.get(f"{currency}:{a}".encode(), 0)) for a in ACCOUNTS)

    def dump(self) -> dict[bytes, Any]:
        """Every key with its serialised value and when it expires."""
        return dump(self.client, f"{{s{self.number}}}:*")

    def payouts(self) -> dict[str, dict[str, Any]]:
        """All payouts as stored, oldest first."""
        keys = list(self.client.scan_iter(match=self.key("y:*")))
        found = [json.loads(self.client.get(key)) for key in keys]  # type: ignore[arg-type]
        found.sort(key=lambda payout: payout["reserved_ms"])
        return {payout["payout_id"]: payout for payout in found}

    def only_payout(self) -> str:
        """The id of the one payout there is."""
        [payout] = self.payouts()
        return payout


async def opened(store: Store, shard: int) -> int:
    """The epoch that a shard is in; opened here if nobody has."""
    at = (await store.stand({shard: (0, 0)}))[shard]
    if at.sound:
        return at.epoch
    await store.suspend([shard], "test", {})
    await store.open({shard: (at.epoch + 1, at.seq)}, {shard: ()}, "test")
    return at.epoch + 1


class Followed:
    """A shard whose journal is followed, and never contradicts."""

    def __init__(self, client: Any, **more: Any) -> None:
        self.shard = Shard(client, **more)
        self.fold = Fold()

    def do(self, operation: dict[str, Any]) -> str:
        """Book an operation; its outcome."""
        outcome = self.shard.one(operation)
        for raw in self.shard.raw:
            self.fold.apply(Entry.parse(raw))
        assert self.fold.violations == []
        return outcome


class Told:
    """Anna, who is known, and her journal in words. What contradicts it is kept, not raised."""

    def __init__(self, client: Any) -> None:
        self.shard = Shard(client)
        self.fold = Fold()
        self.words: list[str] = []
        profile = {"profile": '{"status":"active"}', "release": [], "rev": 0}
        assert self.do(self.shard.event("profile", "seller.updated", **profile)) == "booked"

    def do(self, operation: Mapping[str, Any]) -> str:
        """Book, and follow the journal."""
        outcome = self.shard.one(operation)
        for raw in self.shard.raw:
            entry = Entry.parse(raw)
            self.fold.apply(entry)
            self.words.append(words_of(entry))
        return outcome


def dump(client: Any, pattern: str = "*") -> dict[bytes, Any]:
    """Every key with its serialised value and when it expires (ms since the epoch, or -1)."""
    return {key: (client.dump(key), client.pexpiretime(key)) for key in client.scan_iter(pattern)}


def campaign(
    id_: str = "c", metric: str = "volume", *, expires_ms: int = 0, **steps: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """A campaign as the booking function is told: ``EUR=[(tier, threshold, credit, bp, cap)]``."""
    return {
        "id": id_,
        "metric": metric,
        "expires_ms": expires_ms,
        "steps": {currency: [list(step) for step in found] for currency, found in steps.items()},
    }


class SilentRail:
    """Carries what PayPal does, and never says a word: for tests that end at the command."""

    name = "paypal"
    capabilities = PAYPAL

    async def submit(self, instruction: Instruction) -> Outcome:
        """Nothing is heard."""
        return unknown("silence", instruction.provider_ref)

    enquire = cancel = submit

    async def close(self) -> None:
        """Nothing is open."""


class Clock:
    """A clock that tests set ahead; begins at the present, so that nothing expires under them."""

    def __init__(self) -> None:
        self.now_ms = int(datetime.now(UTC).timestamp() * 1000)

    def __call__(self) -> int:
        return self.now_ms


class Company:
    """Everything a worker puts together, without the worker: real broker, Redis and producer.

    ``work`` takes what waits in the inbound topics, agent by agent, and commits the offsets.
    """

    def __init__(
        self,
        brokers: str,
        redis_url: str,
        *,
        rails: Mapping[str, Rail] | None = None,
        campaigns: str | None = None,
        policy: str | None = None,
        traces: Untraced = UNTRACED,
        scorer: Scorer | None = None,
        **settings: Any,
    ) -> None:
        self.settings: Settings = load_settings(
            kafka_brokers=brokers, redis_url=redis_url, partitions=PARTITIONS,
            seal_keys=SEAL_KEYS, **settings,
        )  # fmt: skip
        create_topics(brokers, PARTITIONS)
        self.seal = Seal.parse(SEAL_KEYS)
        self.clock = Clock()
        self.metrics = Metrics()
        rail_settings = self.settings.rails()
        gates = open_gates(
            rails or {"paypal": SilentRail()}, rail_settings, lambda: self.clock() / 1000
        )
        company_policy = load(
            policy or (DEFAULTS / "policy.yaml").read_text(), PayoutPolicy, "policy"
        )
        self.gates = gates
        router = Router(company_policy, gates, self.clock)
        self.rules = Rules(
            load((DEFAULTS / "plan.yaml").read_text(), CommissionPlan, "plan"),
            company_policy,
            load(campaigns or (DEFAULTS / "campaigns.yaml").read_text(), Campaigns, "campaigns"),
            router.pay,
            retention_ms=self.settings.event_retention_ms,
        )
        self.store = Store(RedisServer(redis_url, cluster=self.settings.redis_cluster))
        self.sent: list[Outgoing] = []
        self.wallets = Wallets(
            self.store,
            Journal(self.settings.kafka_client()),
            self.send,
            self.terms(),
            partitions=PARTITIONS,
            clock=self.clock,
            metrics=self,
            traces=traces,
        )
        desk = Desk(
            self.wallets, self.send, self.metrics,
            clock=self.clock, retention_ms=self.settings.event_retention_ms,
            traces=traces,
        )  # fmt: skip
        self.cashier = Cashier(
            self.wallets, gates, router, self.seal, self.metrics,
            clock=self.clock, call_ms_max=10_000, traces=traces,
        )  # fmt: skip
        self.janitor = Janitor(
            self.wallets, self.cashier, self.rules,
            [Round(which, lambda: range(SHARDS)) for which in Timers],
            clock=self.clock, metrics=self.metrics,
        )  # fmt: skip
        inspector = Inspector(
            self.seal,
            {name: provider(name).destination_refusal for name in gates},
            account_key=self.settings.accounts_by,
        )
        self.agents = {
            "sellers": Sellers(desk, self.rules, inspector),
            "sales": Sales(desk, self.rules, scorer, self.settings.draws_by),
            "commissions": Commissions(desk, self.rules),
            "redemptions": Redemptions(desk, self.rules),
            "rates": Rates(desk, self.rules),
            "fraud.labels": Labels(desk, self.rules),
            "rail.updates": RailUpdates(desk, self.rules),
        }
        if rails is not None:
            self.agents["payouts.commands"] = self.cashier  # type: ignore[assignment]
        self.healed_entries = 0
        self.republished = 0
        self._consumer = Consumer(
            {
                "bootstrap.servers": brokers,
                "group.id": self.settings.group_id,
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 5,
                "log_level": 0,
            }
        )
        self._consumer.assign(
            [TopicPartition(t, p, 0) for t in self.agents for p in range(PARTITIONS)]
        )
        self._admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
        self._taken: dict[tuple[str, int], int] = {}
        # Not the engine's: it is idempotent, and asking a broker for that takes a second.
        self._feed = Producer(
            {
                "max.in.flight": 1,
                "bootstrap.servers": brokers,
                "partitioner": "murmur2_random",
                "linger.ms": 0,
                "log_level": 0,
            }
        )
        self._ids = 0

    def terms(self) -> Terms:
        """What every booking is told."""
        return Terms(
            self.settings.event_retention_ms, self.settings.waiting_ms, ASK_MS,
            self.rules.context(), debt_bp=self.rules.policy.debt.share,
            spent_is_debt=self.rules.policy.spendback.unfired_spent == "debt",
        )  # fmt: skip

    async def __aenter__(self) -> Company:
        await self.store.load()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.store.close()
        self._consumer.close()
        del self._feed

    async def send(self, messages: Sequence[Outgoing]) -> Mapping[tuple[str, int], int]:
        """Publish, as the worker does; the last offset in each partition of the ledger."""
        self.sent.extend(messages)
        return await asyncio.to_thread(self._send, messages)

    def _send(self, messages: Sequence[Outgoing]) -> Mapping[tuple[str, int], int]:
        offsets: dict[tuple[str, int], int] = {}

        def delivered(error: object, message: Any) -> None:
            assert error is None
            if message.topic() == LEDGER:
                offsets[LEDGER, message.partition()] = message.offset()

        for topic, key, value, headers in messages:
            listed: Any = list(headers or ())
            self._feed.produce(topic, value, key, headers=listed, on_delivery=delivered)
        assert self._feed.flush(10) == 0
        return offsets

    def event(self, type_: str, seller: str, **fields: Any) -> dict[str, Any]:
        """An event that happens now."""
        self._ids += 1
        at = datetime.fromtimestamp(self.clock.now_ms / 1000, UTC).isoformat()
        return {
            "id": f"ev-{self._ids}", "type": type_, "version": 1, "occurred_at": at,
            "seller_id": seller, **fields,
        }  # fmt: skip

    def seller(
        self, seller: str, *, receiver: str | None = None, rail: str = "paypal", **fields: Any
    ) -> dict[str, Any]:
        """A profile, payable if a receiver is given."""
        if receiver is not None:
            destination = self.seal.seal(seller, receiver)
            fields["payout"] = {"rail": rail, "destination": destination}
        return self.event("seller.updated", seller, country="DE", zone="Europe/Berlin", **fields)

    def sale(self, seller: str, amount: int, sale_id: str, **fields: Any) -> dict[str, Any]:
        """A sale in EUR."""
        return self.event(
            "sale.completed", seller, sale_id=sale_id, amount_minor=amount,
            **{"currency": "EUR", **fields},
        )  # fmt: skip

    def return_of(self, seller: str, amount: int, sale_id: str | None) -> dict[str, Any]:
        """A return in EUR."""
        return self.event(
            "sale.returned", seller, sale_id=sale_id, currency="EUR", amount_minor=amount
        )

    def publish(self, topic: str, *events: Mapping[str, Any] | bytes, key: str = "anna") -> None:
        """Put events on a topic; bytes under the given key."""
        for event in events:
            if isinstance(event, bytes):
                self._feed.produce(topic, event, key.encode())
            else:
                self._feed.produce(topic, to_json(event), event["seller_id"].encode())
        assert self._feed.flush(10) == 0

    async def work(self) -> int:
        """Take everything that waits, and what follows from it; how many messages."""
        count = 0
        while messages := self._waiting():
            count += len(messages)
            for topic, agent in self.agents.items():
                mine = [m for m in messages if m.topic == topic]
                if mine:
                    inbox = Inbox(topic, EngineCounters())
                    await (await agent.handle(Batch(topic, mine, [], inbox)))
            self._commit(messages)
        return count

    def _waiting(self) -> list[RawMessage]:
        """Everything up to the topics' ends: a silence might only be a broker that is slow."""
        found: list[RawMessage] = []
        ends = self._ends()
        deadline = time.monotonic() + 20
        while any(end > self._taken.get(place, 0) for place, end in ends.items()):
            assert time.monotonic() < deadline, (ends, self._taken)
            for message in self._consumer.consume(1000, 0.04):
                if message.error() is None:
                    found.append(
                        RawMessage(
                            str(message.topic()),
                            int(message.partition() or 0),
                            int(message.offset() or 0),
                            message.key(),
                            message.value(),
                            message.timestamp()[1],
                            message.headers(),  # type: ignore[arg-type]
                        )
                    )
                    self._taken[found[-1].topic, found[-1].partition] = found[-1].offset + 1
        return found

    def _ends(self) -> dict[tuple[str, int], int]:
        places = [TopicPartition(t, p) for t in self.agents for p in range(PARTITIONS)]
        deadline = time.monotonic() + 20
        while True:
            asked = self._admin.list_offsets(dict.fromkeys(places, OffsetSpec.latest()))
            try:
                return {
                    (place.topic, place.partition): answer.result(timeout=10).offset
                    for place, answer in asked.items()
                }
            except KafkaException as error:
                # A broker may not know yet that it leads a new partition, or since when.
                if error.args[0].code() not in NOT_YET or time.monotonic() > deadline:
                    raise

    def _commit(self, messages: Iterable[RawMessage]) -> None:
        ends = {(m.topic, m.partition): m.offset + 1 for m in messages}
        self._consumer.commit(
            offsets=[TopicPartition(t, p, offset) for (t, p), offset in ends.items()],
            asynchronous=False,
        )

    # What the wallets report.

    def redis_retry(self) -> None:
        """A call to Redis is tried again."""

    def healed(self, seconds: float, entries: int, republished: int) -> None:
        """Shards were repaired."""
        self.healed_entries += entries
        self.republished += republished


def commission_id(origin: str, sale_id: str, level: int) -> str:
    """The id of an upline commission."""
    return derived(f"{origin}/{sale_id}/{level}")
