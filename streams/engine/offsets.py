"""Contiguous acknowledgement of one partition's messages. Pure: no clock, no broker.

Only what is finished from the front may be committed: a hole left by a batch that is still in
hand, or whose agent raised, holds back everything after it.
"""

from collections import deque


class Span:
    """Consecutive messages of one partition that were handed out together."""

    __slots__ = ("acked", "count", "next_offset", "partition")

    def __init__(self, partition: "PartitionOffsets", count: int, next_offset: int) -> None:
        self.partition = partition
        self.count = count
        self.next_offset = next_offset
        self.acked = False


class PartitionOffsets:
    """What of one partition is in hand, finished and committed, for one assignment of it.

    Every assignment of a partition makes a new object, so that an acknowledgement from before a
    release finds a closed one and changes nothing.
    """

    __slots__ = (
        "_spans",
        "closed",
        "committed",
        "finished",
        "in_hand",
        "partition",
        "read_offset",
        "topic",
    )

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        #: Next offset expected from the broker, None before the first message.
        self.read_offset: int | None = None
        #: Offset to commit: the one after the last contiguously finished message.
        self.finished: int | None = None
        #: What the broker is known to have stored.
        self.committed: int | None = None
        #: Messages handed out and not acknowledged.
        self.in_hand = 0
        self.closed = False
        self._spans: deque[Span] = deque()

    @property
    def key(self) -> tuple[str, int]:
        """(topic, partition)."""
        return (self.topic, self.partition)

    def hand_out(self, count: int, next_offset: int) -> Span:
        """Note that the next `count` messages, up to before `next_offset`, are in hand.

        Raises:
            ValueError: the span is empty or does not follow the one handed out before.
        """
        if count < 1:
            raise ValueError("a span holds at least one message")
        last = self._spans[-1].next_offset if self._spans else self.finished
        if last is not None and next_offset <= last:
            raise ValueError(f"span up to {next_offset} does not follow {last}")
        span = Span(self, count, next_offset)
        self._spans.append(span)
        self.in_hand += count
        return span

    def ack(self, span: Span) -> bool:
        """Note that a span is finished; False if it counted before or the partition is gone."""
        if self.closed or span.acked or span.partition is not self:
            return False
        span.acked = True
        self.in_hand -= span.count
        while self._spans and self._spans[0].acked:
            self.finished = self._spans.popleft().next_offset
        return True

    def to_commit(self) -> int | None:
        """The offset to commit now, None when the broker already has it.

        Always the current one: an older one is never sent again, whatever became of it.
        """
        if self.closed or self.finished is None or self.finished == self.committed:
            return None
        return self.finished

    def close(self) -> None:
        """Release the partition: acknowledgements that come later are ignored."""
        self.closed = True
        self.in_hand = 0
        self._spans.clear()
