"""How each kind of fault is done: a strike is a generator that yields how long to wait, in seconds.

It begins when the fault strikes and ends when all is repaired. What takes long and would hold up
the supervisor is done in a thread, see :func:`_meanwhile`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

from confluent_kafka import Consumer, KafkaException
from confluent_kafka.admin import AdminClient

from streams.demo.apache import ApacheKafka
from streams.faults.fleet import Post
from streams.faults.ground import Ground
from streams.faults.kinds import RAIL_FAULTS
from streams.faults.load import Load
from streams.faults.plan import Fault
from streams.faults.proxy import Proxy
from streams.faults.redispair import PairFailed, RedisPair
from streams.topics import TOPICS
from streams.wallets.journal import LEDGER

Strike = Iterator[float]

POLL_S = 0.05

CLOCK_JUMP_MS_MAX = 540_000
"""How far a clock jumps. Events dated more than ten minutes ahead are refused, and rightly so."""

DELAY_MS = (20, 400)
"""How late a delayed network is, in each direction."""

REPLICA_BEHIND_S = 1.0
"""Behind a cut link for at most so long; a primary that is behind longer would not be promoted."""

BEFALLEN = (2, 6)
"""How many payouts a fault of the rail befalls."""

BURST = (20, 300)
"""How many events a burst of repeats, or a stretch in another order, has."""

IN_SYNC_MAX_S = 120.0
"""How long a broker that is back may take until its replicas are level."""

OOM_BYTES = 1

AT_WORK_S = 6.0
"""After that a worker has started, joined its group, and has partitions."""


class Field:
    """What strikes reach: the ground and the load."""

    def __init__(self, ground: Ground, load: Load) -> None:
        self.ground = ground
        self.load = load
        self.pool = ThreadPoolExecutor(4, thread_name_prefix="strike")
        self.lost: dict[int, int] = {}
        """Fault number → how many booked entries Redis did not have any more."""

    def one(self, fault: Fault) -> Generator[float, None, Post]:
        """A worker that nothing ails, rather one that is at work; waits until there is one."""
        while not (running := self.ground.fleet.running()):
            yield POLL_S
        started_s = time.monotonic() - AT_WORK_S
        running = [post for post in running if post.since_s < started_s] or running
        return running[fault.pick(len(running))]


def worker_killed(field: Field, fault: Fault) -> Strike:
    """One worker."""
    post = yield from field.one(fault)
    field.ground.fleet.kill(post, fault.lasts_ms / 1000)
    yield fault.lasts_ms / 1000


def workers_killed(field: Field, fault: Fault) -> Strike:
    """All but one."""
    spared = yield from field.one(fault)
    for post in field.ground.fleet.running():
        if post is not spared:
            field.ground.fleet.kill(post, fault.lasts_ms / 1000)
    yield fault.lasts_ms / 1000


def worker_stopped(field: Field, fault: Fault) -> Strike:
    """One worker, in order; it is back when it has ended and been down for a while."""
    post = yield from field.one(fault)
    field.ground.fleet.stop(post, fault.lasts_ms / 1000)
    while post.stopped_at_s is not None:
        yield POLL_S


def worker_frozen(field: Field, fault: Fault) -> Strike:
    """One worker, for longer than its session lasts."""
    post = yield from field.one(fault)
    child = post.child
    field.ground.fleet.freeze(post)
    yield fault.lasts_ms / 1000
    if post.child is child:
        field.ground.fleet.thaw(post)


def rebalance_storm(field: Field, fault: Fault) -> Strike:
    """Members that are given partitions, take nothing from them, and leave."""
    settings = field.ground.settings

    def member(stays_s: float) -> None:
        consumer = Consumer(
            {
                **settings.kafka_client(),
                "group.id": settings.group,
                "session.timeout.ms": settings.session_timeout_ms,
                "heartbeat.interval.ms": 500,
                "partition.assignment.strategy": settings.assignment_strategy,
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        consumer.subscribe([topic.name for topic in TOPICS if topic.name in INBOUND])
        deadline = time.monotonic() + stays_s
        while time.monotonic() < deadline:
            consumer.consume(1, 0.1)
        consumer.close()

    stays_s = fault.lasts_ms / 3000
    members = []
    for _ in range(2 + fault.pick(2)):
        members.append(field.pool.submit(member, stays_s))
        yield stays_s / 2
    for one in members:
        while not one.done():
            yield POLL_S
        one.result()


INBOUND = frozenset(
    {
        *("sales", "commissions", "sellers", "redemptions", "rates", "fraud.labels"),
        *("payouts.commands", "rail.updates"),
    }
)
"""Topics that workers of all roles subscribe to."""


def clock_jump(field: Field, fault: Fault) -> Strike:
    """One worker's clock, there and back again."""
    post = field.ground.fleet.posts[fault.number % len(field.ground.fleet.posts)]
    post.clock.set(fault.between(-CLOCK_JUMP_MS_MAX, CLOCK_JUMP_MS_MAX))
    yield fault.lasts_ms / 1000
    post.clock.set(0)


def rail_clock_jump(field: Field, fault: Fault) -> Strike:
    """The rail's clock, by as much as its webhooks may be off; it does not come back."""
    field.ground.order(advance_ms=fault.between(100, RAIL_JUMP_MS_MAX))
    yield from ()


RAIL_JUMP_MS_MAX = 5_000


def redis_killed(field: Field, fault: Fault) -> Strike:
    """The primary, with its file."""
    pair = field.ground.pair
    before = pair.numbered()
    pair.primary.kill()
    yield fault.lasts_ms / 1000
    pair.primary.start()
    field.lost[fault.number] = max(0, before - pair.numbered())


def redis_flushed(field: Field, fault: Fault) -> Strike:
    """The primary, and so the replica."""
    field.lost[fault.number] = field.ground.pair.numbered()
    field.ground.pair.told("FLUSHALL")
    yield from ()


def redis_emptied(field: Field, fault: Fault) -> Strike:
    """The primary, on a new disk and without its functions."""
    pair = field.ground.pair
    field.lost[fault.number] = pair.numbered()
    pair.primary.kill()
    yield fault.lasts_ms / 1000
    pair.empty_primary()


def redis_primary_lost(field: Field, fault: Fault) -> Strike:
    """Behind a cut link the primary acknowledges what the replica never gets."""
    pair = field.ground.pair
    yield from _followed(pair)
    pair.link.cut()
    yield min(REPLICA_BEHIND_S, fault.lasts_ms / 1000)
    before = pair.numbered()
    pair.primary.kill()
    yield fault.lasts_ms / 4000
    field.lost[fault.number] = max(0, before - pair.numbered(replica=True))
    field.ground.led_by_replica()
    yield fault.lasts_ms / 1000
    pair.rejoin()
    yield from _followed(pair)


def _followed(pair: RedisPair) -> Strike:
    """Wait for the replica; a large Redis takes its time. Raises PairFailed."""
    deadline = time.monotonic() + IN_SYNC_MAX_S
    while not pair.follows():
        if time.monotonic() > deadline:
            raise PairFailed(f"the replica does not follow after {IN_SYNC_MAX_S:.0f} s")
        yield POLL_S


def redis_frozen(field: Field, fault: Fault) -> Strike:
    """The primary."""
    primary = field.ground.pair.primary
    primary.pause()
    yield fault.lasts_ms / 1000
    primary.resume()


def redis_full(field: Field, fault: Fault) -> Strike:
    """The primary: OOM for every write."""
    pair = field.ground.pair
    pair.told("CONFIG", "SET", "maxmemory", OOM_BYTES)
    yield fault.lasts_ms / 1000
    pair.told("CONFIG", "SET", "maxmemory", 0)


def redis_demoted(field: Field, fault: Fault) -> Strike:
    """The primary: READONLY for every write, as after a promotion of somebody else."""
    pair = field.ground.pair
    pair.told("REPLICAOF", "127.0.0.1", NOBODYS_PORT)
    yield fault.lasts_ms / 1000
    pair.told("REPLICAOF", "NO", "ONE")


NOBODYS_PORT = 1


def redis_alone(field: Field, fault: Fault) -> Strike:
    """The primary: NOREPLICAS for every write."""
    pair = field.ground.pair
    pair.told("CONFIG", "SET", "min-replicas-to-write", 5)
    yield fault.lasts_ms / 1000
    pair.told("CONFIG", "SET", "min-replicas-to-write", 0)


def _redis_network(act: Callable[[Proxy, Fault], None]) -> Callable[[Field, Fault], Strike]:
    """Of one worker, or of all."""

    def strike(field: Field, fault: Fault) -> Strike:
        posts = field.ground.fleet.posts
        number = fault.pick(2 * len(posts))
        struck = [posts[number].redis] if number < len(posts) else [post.redis for post in posts]
        for proxy in struck:
            act(proxy, fault)
        yield fault.lasts_ms / 1000
        for proxy in struck:
            proxy.mend()

    return strike


def _kafka_network(act: Callable[[Proxy, Fault], None]) -> Callable[[Field, Fault], Strike]:
    """Of one broker, or of all."""

    def strike(field: Field, fault: Fault) -> Strike:
        proxies = field.ground.kafka_proxies
        number = fault.pick(2 * len(proxies))
        struck = [proxies[number]] if number < len(proxies) else proxies
        for proxy in struck:
            act(proxy, fault)
        yield fault.lasts_ms / 1000
        for proxy in struck:
            proxy.mend()

    return strike


def _cut(proxy: Proxy, _: Fault) -> None:
    proxy.cut()


def _stall(proxy: Proxy, _: Fault) -> None:
    proxy.stall()


def _delay(proxy: Proxy, fault: Fault) -> None:
    proxy.delay(fault.between(*DELAY_MS))


def broker_killed(field: Field, fault: Fault) -> Strike:
    """Any broker."""
    apache = _apache(field)
    yield from _broker_down(field, apache, fault, fault.pick(apache.brokers))


def leader_killed(field: Field, fault: Fault) -> Strike:
    """The broker that leads a partition of the ledger."""
    apache = _apache(field)
    partition = fault.pick(field.ground.settings.partitions)
    found = field.pool.submit(apache.leader, LEDGER, partition)
    while not found.done():
        yield POLL_S
    yield from _broker_down(field, apache, fault, found.result())


def broker_frozen(field: Field, fault: Fault) -> Strike:
    """Any broker."""
    apache = _apache(field)
    broker = fault.pick(apache.brokers)
    apache.pause(broker)
    yield fault.lasts_ms / 1000
    apache.resume(broker)
    yield from _meanwhile(field, lambda: _await_in_sync(apache))


def _broker_down(field: Field, apache: ApacheKafka, fault: Fault, broker: int) -> Strike:
    apache.kill(broker)
    yield fault.lasts_ms / 1000

    apache.launch(broker)

    def back() -> None:
        apache.start_broker(broker)
        _await_in_sync(apache)

    yield from _meanwhile(field, back)


def _await_in_sync(apache: ApacheKafka) -> None:
    """Wait until every replica is in sync, so that the next broker may be lost."""
    admin = AdminClient({"bootstrap.servers": apache.bootstrap, "log_level": 0})
    deadline = time.monotonic() + IN_SYNC_MAX_S
    while time.monotonic() < deadline:
        try:
            topics = admin.list_topics(timeout=2.0).topics.values()
        except KafkaException:
            continue
        if all(len(p.isrs) == len(p.replicas) for t in topics for p in t.partitions.values()):
            return
        time.sleep(POLL_S)


def _apache(field: Field) -> ApacheKafka:
    if field.ground.apache is None:
        raise RuntimeError("the fault needs Apache Kafka")
    return field.ground.apache


def _befall(behaviour: str) -> Callable[[Field, Fault], Strike]:
    def strike(field: Field, fault: Fault) -> Strike:
        field.ground.order(befall={behaviour: fault.between(*BEFALLEN)})
        yield from ()

    return strike


def producer_repeats(field: Field, fault: Fault) -> Strike:
    """Events that were sent before, once more."""
    field.load.repeat(fault.between(*BURST))
    yield from ()


def producer_reorders(field: Field, fault: Fault) -> Strike:
    """The events to come, shuffled."""
    field.load.reorder(fault.between(*BURST))
    yield from ()


def _meanwhile(field: Field, work: Callable[[], None]) -> Strike:
    """Wait for what is done in a thread."""
    done = field.pool.submit(work)
    while not done.done():
        yield POLL_S
    done.result()


STRIKES: Mapping[str, Callable[[Field, Fault], Strike]] = MappingProxyType(
    {
        "worker-killed": worker_killed,
        "workers-killed": workers_killed,
        "worker-stopped": worker_stopped,
        "worker-frozen": worker_frozen,
        "rebalance-storm": rebalance_storm,
        "clock-jump": clock_jump,
        "rail-clock-jump": rail_clock_jump,
        "redis-killed": redis_killed,
        "redis-flushed": redis_flushed,
        "redis-emptied": redis_emptied,
        "redis-primary-lost": redis_primary_lost,
        "redis-frozen": redis_frozen,
        "redis-full": redis_full,
        "redis-demoted": redis_demoted,
        "redis-alone": redis_alone,
        "redis-cut": _redis_network(_cut),
        "redis-stalled": _redis_network(_stall),
        "redis-delayed": _redis_network(_delay),
        "kafka-cut": _kafka_network(_cut),
        "kafka-stalled": _kafka_network(_stall),
        "kafka-delayed": _kafka_network(_delay),
        "broker-killed": broker_killed,
        "leader-killed": leader_killed,
        "broker-frozen": broker_frozen,
        "producer-repeats": producer_repeats,
        "producer-reorders": producer_reorders,
        **{name: _befall(behaviour) for name, behaviour, _ in RAIL_FAULTS},
    }
)
"""What is done, by kind."""
