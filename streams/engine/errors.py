"""What the engine refuses and how it ends.

EngineError
├── EngineRefusal      a Faust feature that would lose money here
├── EngineNotRunning   used before start or after stop
├── PayloadTooLarge    one message above `message_bytes_max`; nothing of its batch was sent
├── DeliveryFailed     the broker did not acknowledge every message of a batch
└── EngineFailed       the engine ended the work of this process
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a worker process ended, for its supervisor and its log."""

    OK = 0
    START_FAILED = 1
    AGENT_RAISED = 70
    HEAL_FAILED = 71
    STOP_TIMED_OUT = 72
    CONSUMER_FAILED = 74
    STALLED = 75


class EngineError(Exception):
    """The engine cannot do what it was asked."""


class EngineRefusal(EngineError):
    """A Faust feature this engine does not offer, with what to use in its place."""

    def __init__(self, feature: str, instead: str) -> None:
        super().__init__(f"{feature} is not offered by this engine: {instead}")
        self.feature = feature
        self.instead = instead


class EngineNotRunning(EngineError):
    """The consumer or producer was used before its start or after its stop."""


class PayloadTooLarge(EngineError):
    """A message is larger than the broker is allowed to be given; nothing was sent."""

    def __init__(self, topic: str, size_bytes: int, bytes_max: int) -> None:
        super().__init__(
            f"a message of {size_bytes} bytes for {topic} is above the bound of {bytes_max} bytes"
        )
        self.topic = topic
        self.size_bytes = size_bytes
        self.bytes_max = bytes_max


class DeliveryFailed(EngineError):
    """Not every message of a batch was acknowledged: those missing may or may not be stored."""

    def __init__(self, failed: int, total: int, reason: str) -> None:
        super().__init__(f"{failed} of {total} messages were not acknowledged: {reason}")
        self.failed = failed
        self.total = total
        self.reason = reason


class EngineFailed(EngineError):
    """Why the engine ended the work of this process, with the exit code."""

    def __init__(self, code: ExitCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
