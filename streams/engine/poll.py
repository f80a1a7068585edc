"""The thread that owns the confluent Consumer; everything else reaches it through a queue.

Calling the Consumer from a second thread while it polls can freeze the whole process, so no
other module holds a reference to it.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams.engine.counters import EngineCounters
from streams.engine.lag import Behind, PartitionLag
from streams.engine.library_log import LibraryLog
from streams.engine.offsets import PartitionOffsets
from streams.engine.settings import EngineSettings
from streams.engine.stream import Chunk, Inbox, RawMessage

logger = logging.getLogger(__name__)

_IDLE_POLL_S = 0.1
# While something waits for a resume the thread must come round soon.
_PAUSED_POLL_S = 0.005
_CONSUME_MESSAGES = 2_000
_LAG_INTERVAL_S = 1.0
_COMPLAINT_INTERVAL_S = 10.0
_COMMITTED_TIMEOUT_S = 2.0
_REST_S = 0.001
_RESTS_A_POLL = 50
_PATIENCE_S = 1.0

# No retry mends these: the settings or the broker's rights are wrong.
_HOPELESS = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.FENCED_INSTANCE_ID,
        # Outside of the broker's group.min.session.timeout.ms and group.max.session.timeout.ms.
        KafkaError.INVALID_SESSION_TIMEOUT,
        KafkaError._AUTHENTICATION,
    }
)


class PollOwner(Protocol):
    """What the poll thread tells the event loop's side; every method may be called from it."""

    def receive(self, chunks: list[Chunk]) -> None:
        """Take messages over, in order."""

    def assigned(self, added: list[PartitionOffsets]) -> None:
        """Start healing partitions; they stay paused until `PollThread.heal_done`."""

    def release(self, gone: list[PartitionOffsets], *, lost: bool) -> None:
        """Block until these partitions' batches in hand are finished, within the drain bound."""

    def released(self, gone: list[PartitionOffsets]) -> None:
        """The partitions are committed: forget them."""

    def broken(self, reason: str) -> None:
        """The consumer cannot go on."""


class PollThread(threading.Thread):
    """Polls, hands over, pauses and resumes, commits, answers rebalances."""

    def __init__(
        self, settings: EngineSettings, owner: PollOwner, counters: EngineCounters
    ) -> None:
        super().__init__(name="kafka-poll", daemon=True)
        self._settings = settings
        self._owner = owner
        self._counters = counters
        self._commands: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._partitions: dict[tuple[str, int], PartitionOffsets] = {}
        self._lags: dict[tuple[str, int], PartitionLag] = {}
        self._inboxes: dict[str, Inbox] = {}
        self._healing: set[tuple[str, int]] = set()
        self._paused: set[str] = set()
        self._rests = 0
        self._held = False
        self._closing = False
        #: Between asking to join the group and being given partitions, if only none.
        self._joining = False
        self._leave_by: float | None = None
        self._commit_due = 0.0
        self._commit_open = False
        self._lag_due = 0.0
        self._complaint_due: dict[int, float] = {}
        #: time.monotonic() of the last round, for the watchdog.
        self.round_at = time.monotonic()
        config = settings.consumer()
        config["error_cb"] = self._on_error
        config["on_commit"] = self._on_commit
        config["logger"] = LibraryLog(logger)
        self._consumer = Consumer(config)

    # Called from any thread.

    def subscribe(self, inboxes: dict[str, Inbox]) -> None:
        """Join the group for these topics."""
        self._commands.put(lambda: self._subscribe(inboxes))

    def heal_done(self, healed: Iterable[PartitionOffsets]) -> None:
        """Deliver the messages of these partitions from now on."""
        partitions = list(healed)
        self._commands.put(lambda: self._end_healing(partitions))

    def hold(self) -> None:
        """Deliver nothing more and keep the membership alive, until `finish`."""
        self._commands.put(self._hold)

    def finish(self) -> None:
        """Commit what is finished, leave the group, end the thread."""
        self._commands.put(self._close)

    # All below runs in this thread.

    def run(self) -> None:
        try:
            while not self._closing:
                self._round()
            self._commit_now(list(self._partitions.values()))
        except Exception as error:
            logger.exception("the poll thread failed")
            self._owner.broken(f"the poll thread failed: {error!r}")
        finally:
            self._closing = True
            try:
                self._consumer.close()
            except Exception:
                logger.exception("closing the consumer failed")

    def _round(self) -> None:
        self.round_at = now = time.monotonic()
        self._obey()
        if self._leave_by is not None and (not self._joining or now >= self._leave_by):
            self._closing = True
            return
        full = self._regulate(now)
        if now >= self._commit_due:
            self._commit_due = now + self._settings.commit_interval_ms / 1000
            self._commit_soon()
        if now >= self._lag_due:
            self._lag_due = now + _LAG_INTERVAL_S
            self._measure_lag()
        if full:
            self._rest()
            return
        waiting = self._healing or self._paused or self._leave_by is not None
        self._take(_PAUSED_POLL_S if waiting else _IDLE_POLL_S, _CONSUME_MESSAGES)

    def _rest(self) -> None:
        # Callbacks are served by polling only, which costs a message now and then.
        time.sleep(_REST_S)
        self._rests += 1
        if self._rests % _RESTS_A_POLL == 0:
            self._take(0, 1)

    def _take(self, timeout_s: float, messages_max: int) -> None:
        first = self._consumer.poll(timeout_s)
        if first is None:
            return
        # consume(n, timeout) waits for n messages: only what is there already is taken.
        more = self._consumer.consume(messages_max - 1, 0) if messages_max > 1 else []
        chunks = self._chunks([first, *more])
        if chunks:
            self._owner.receive(chunks)

    def _obey(self) -> None:
        while True:
            try:
                command = self._commands.get_nowait()
            except Empty:
                return
            command()

    def _subscribe(self, inboxes: dict[str, Inbox]) -> None:
        self._inboxes = inboxes
        self._joining = True
        self._consumer.subscribe(
            sorted(inboxes),
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )

    def _close(self) -> None:
        # The embedded broker never again completes a join of a group that a member left in the
        # middle of one: first come in, then leave.
        self._leave_by = time.monotonic() + self._settings.drain_timeout_s

    # Messages

    def _chunks(self, messages: list[Message]) -> list[Chunk]:
        chunks: list[Chunk] = []
        run: list[RawMessage] = []
        topic: str | None = None
        number: int | None = None
        make: Callable[..., RawMessage] = RawMessage
        for message in messages:
            if message.error() is not None:
                self._on_message_error(message)
                continue
            if message.partition() != number or message.topic() != topic:
                topic, number = message.topic(), message.partition()
                run = self._run_of(str(topic), int(number or 0), chunks)
            run.append(
                make(
                    topic,
                    number,
                    message.offset(),
                    message.key(),
                    message.value(),
                    message.timestamp()[1],
                    message.headers(),
                )
            )
        return [chunk for chunk in chunks if self._admit(chunk)]

    def _run_of(self, topic: str, number: int, chunks: list[Chunk]) -> list[RawMessage]:
        run: list[RawMessage] = []
        partition = self._partitions.get((topic, number))
        if partition is not None:
            chunks.append((partition, run))
        return run

    def _admit(self, chunk: Chunk) -> bool:
        partition, run = chunk
        read = partition.read_offset
        if read is not None and run[0].offset < read:
            # A pause may race with what was fetched before it; an offset is handed out once.
            run[:] = [message for message in run if message.offset >= read]
            if not run:
                return False
        partition.read_offset = run[-1].offset + 1
        self._lags[partition.key].fetched(run[0].offset, run[0].timestamp_ms)
        self._inboxes[partition.topic].handed += len(run)
        return True

    def _on_message_error(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            # Of the group as a whole there is no topic.
            about = f"{message.topic()}[{message.partition()}]: " if message.topic() else ""
            self._on_error(error, about)

    def _on_error(self, error: KafkaError, about: str = "") -> None:
        code = error.code()
        now = time.monotonic()
        if now >= self._complaint_due.get(code, 0.0):
            self._complaint_due[code] = now + _COMPLAINT_INTERVAL_S
            logger.warning("broker: %s%s", about, error.str())
        if code in _HOPELESS or error.fatal():
            self._owner.broken(f"the broker refuses: {about}{error.str()}")

    # Pausing

    def _regulate(self, now: float) -> bool:
        """Pause and resume topics by what they hold; whether nothing should be consumed now.

        All topics share librdkafka's queue, so a full one is paused lest it stand in the way of
        the others. The last one is not: with no partition left to fetch, librdkafka sleeps up to
        a second before it notices a resume. It is just not consumed until there is room.
        """
        bound = self._settings.inbox_messages_max
        depths = {topic: self._inboxes[topic].depth for topic, _ in self._partitions}
        self._counters.inbox = depths
        for topic in [each for each in self._paused if depths.get(each, 0) <= bound // 2]:
            self._paused.discard(topic)
            self._resume(self._of_topic(topic))
        wait = [topic for topic in depths if topic not in self._paused]
        full = [topic for topic in wait if depths[topic] >= bound]
        if len(full) < len(wait):
            self._pause_topics(full)
            return False
        # An agent that finishes nothing may do so for long: then rebalances, which come through
        # the same queue, must not wait for it.
        stuck = now - self._counters.progress_at > _PATIENCE_S
        brimming = [topic for topic in full if stuck or depths[topic] >= bound + _CONSUME_MESSAGES]
        self._pause_topics(brimming)
        return len(brimming) < len(full)

    def _pause_topics(self, topics: list[str]) -> None:
        for topic in topics:
            self._paused.add(topic)
            self._counters.pauses += 1
            self._pause(self._of_topic(topic))

    def _of_topic(self, topic: str) -> list[tuple[str, int]]:
        return [key for key in self._partitions if key[0] == topic]

    def _pause(self, keys: Iterable[tuple[str, int]]) -> None:
        partitions = [TopicPartition(*key) for key in keys]
        if partitions:
            self._consumer.pause(partitions)

    def _resume(self, keys: Iterable[tuple[str, int]]) -> None:
        if self._held:
            return
        wanted = [key for key in keys if key not in self._healing and key[0] not in self._paused]
        if wanted:
            self._consumer.resume([TopicPartition(*key) for key in wanted])

    def _end_healing(self, partitions: list[PartitionOffsets]) -> None:
        # A partition may have left and come back while it was healed: then it is another object.
        keys = [
            partition.key
            for partition in partitions
            if self._partitions.get(partition.key) is partition
        ]
        self._find_committed(keys)
        self._healing.difference_update(keys)
        self._counters.healing = len(self._healing)
        self._resume(keys)

    def _find_committed(self, keys: list[tuple[str, int]]) -> None:
        # Only the lag rests on it, so a broker that does not answer is no reason to wait.
        try:
            stored = self._consumer.committed(
                [TopicPartition(*key) for key in keys], timeout=_COMMITTED_TIMEOUT_S
            )
        except KafkaException as error:
            logger.info("committed offsets unknown: %s", error.args[0].str())
            return
        for each in stored:
            if each.error is None and each.offset >= 0:
                self._partitions[each.topic, each.partition].committed = each.offset

    def _hold(self) -> None:
        self._held = True
        self._pause(self._partitions)

    # Rebalances, called by librdkafka within poll, consume and close

    def _on_assign(self, consumer: Consumer, added: list[TopicPartition]) -> None:
        logger.info("assigned %s", _named(added))
        self._joining = False
        if self._settings.assignment == "cooperative-sticky":
            consumer.incremental_assign(added)
        else:
            consumer.assign(added)
        # Nothing is delivered before the heal hook returned.
        if added:
            consumer.pause([TopicPartition(each.topic, each.partition) for each in added])
        fresh = [PartitionOffsets(each.topic, each.partition) for each in added]
        for partition in fresh:
            self._partitions[partition.key] = partition
            self._lags[partition.key] = PartitionLag()
            self._healing.add(partition.key)
        self._count_rebalance()
        self._owner.assigned(fresh)

    def _on_revoke(self, consumer: Consumer, gone: list[TopicPartition]) -> None:
        logger.info("revoked %s", _named(gone))
        self._joining = True
        partitions = self._known(gone)
        self._owner.release(partitions, lost=False)
        self._commit_now(partitions)
        self._let_go(consumer, gone, partitions)

    def _on_lost(self, consumer: Consumer, gone: list[TopicPartition]) -> None:
        # The group went on without this member: others own these partitions already, so there
        # is nothing to wait for and nothing that may be committed.
        logger.warning("lost %s", _named(gone))
        self._joining = True
        partitions = self._known(gone)
        self._owner.release(partitions, lost=True)
        self._let_go(consumer, gone, partitions)

    def _known(self, gone: list[TopicPartition]) -> list[PartitionOffsets]:
        keys = [(each.topic, each.partition) for each in gone]
        return [self._partitions[key] for key in keys if key in self._partitions]

    def _let_go(
        self, consumer: Consumer, gone: list[TopicPartition], partitions: list[PartitionOffsets]
    ) -> None:
        counters = self._counters
        for partition in partitions:
            self._partitions.pop(partition.key, None)
            self._lags.pop(partition.key, None)
            self._healing.discard(partition.key)
            for told in (counters.lag, counters.lag_s, counters.uncommitted_s):
                told.pop(partition.key, None)
        self._paused.intersection_update(topic for topic, _ in self._partitions)
        if self._settings.assignment == "cooperative-sticky":
            consumer.incremental_unassign(gone)
        else:
            consumer.unassign()
        self._count_rebalance()
        self._owner.released(partitions)

    def _count_rebalance(self) -> None:
        self._counters.rebalances += 1
        self._counters.assigned = frozenset(self._partitions)
        self._counters.healing = len(self._healing)

    # Commits

    def _commit_soon(self) -> None:
        # One at a time: the answer says what the broker has, and the next one sends what is
        # current then. While a rebalance is open they fail, and the next round sends again.
        if self._commit_open:
            return
        offsets = self._offsets(self._partitions.values())
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
            self._commit_open = True
        except KafkaException as error:
            self._note_commit_failure(error.args[0])

    def _on_commit(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        self._commit_open = False
        if error is not None and error.code() != KafkaError._NO_OFFSET:
            self._note_commit_failure(error)
            return
        self._note_committed(offsets)

    def _commit_now(self, partitions: Iterable[PartitionOffsets]) -> None:
        offsets = self._offsets(partitions)
        if not offsets:
            return
        try:
            stored = self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            self._note_commit_failure(error.args[0])
            return
        self._note_committed(stored or [])

    def _offsets(self, partitions: Iterable[PartitionOffsets]) -> list[TopicPartition]:
        due = [(partition, partition.to_commit()) for partition in partitions]
        return [
            TopicPartition(partition.topic, partition.partition, offset)
            for partition, offset in due
            if offset is not None
        ]

    def _note_committed(self, offsets: list[TopicPartition]) -> None:
        self._counters.commits += 1
        for each in offsets:
            partition = self._partitions.get((each.topic, each.partition))
            if each.error is not None:
                self._note_commit_failure(each.error)
            elif partition is not None:
                partition.committed = each.offset

    def _note_commit_failure(self, error: KafkaError) -> None:
        self._counters.commit_failures += 1
        logger.info("commit not taken, the next one will be: %s", error.str())

    # Lag

    def _measure_lag(self) -> None:
        behind: dict[tuple[str, int], Behind] = {}
        now_s = time.time()
        for key, partition in self._partitions.items():
            try:
                marks: Any = self._consumer.get_watermark_offsets(TopicPartition(*key), cached=True)
            except KafkaException:
                continue
            if marks is None or marks[1] < 0:
                continue
            finished, committed = partition.finished, partition.committed
            done = committed if finished is None else finished
            behind[key] = self._lags[key].measure(
                max(marks[0], 0) if done is None else done,
                marks[1],
                committed,
                finished=finished,
                now_s=now_s,
            )
        self._counters.lag = {key: each.messages for key, each in behind.items()}
        self._counters.lag_s = {key: each.seconds for key, each in behind.items()}
        self._counters.uncommitted_s = {key: each.uncommitted_s for key, each in behind.items()}


def _named(partitions: list[TopicPartition]) -> str:
    topics: dict[str, list[int]] = {}
    for each in partitions:
        topics.setdefault(each.topic, []).append(each.partition)
    return ", ".join(f"{topic}{sorted(numbers)}" for topic, numbers in sorted(topics.items())) or (
        "nothing"
    )
