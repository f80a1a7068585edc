"""Traces: the id of an event's trace, and the W3C header that names a place in one.

The id follows from the event's id. So a redelivered event, a payout that is due weeks later and a
command that another process publishes land in the same trace, and nothing has to be carried for it:
neither Redis nor the journal knows of traces.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import NamedTuple, Self

HEADER = "traceparent"
"""The header, in Kafka and in HTTP (W3C Trace Context, level 1)."""

_FORM = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})"
)
_SAMPLED = 1
_LOW = (1 << 64) - 1


class Place(NamedTuple):
    """A span in a trace, as a header names it."""

    trace_id: int
    span_id: int
    sampled: bool
    """Whether the span is recorded."""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read the header; None if it is none, which is no error (so the standard has it)."""
        # A later version may say more behind what this one knows.
        found = _FORM.match(text)
        rest = text[found.end() :] if found else ""
        if not found or (rest and (text[:2] == "00" or not rest.startswith("-"))):
            return None
        return cls(int(found[1], 16), int(found[2], 16), bool(int(found[3], 16) & _SAMPLED))

    def text(self) -> str:
        """The header."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.sampled):02x}"


def trace_id_of(event_id: str) -> int:
    """The trace of an event: BLAKE2b of its id, 16 bytes, personalised ``payouts-trace``."""
    # Zero is no trace id; nobody has seen a digest of it.
    return int.from_bytes(
        blake2b(event_id.encode(), digest_size=16, person=b"payouts-trace").digest()
    )


def bound_of(ratio: float) -> int:
    """What :func:`is_sampled` is asked with, for a share of 0 to 1 of all traces."""
    return round(ratio * (_LOW + 1))


def is_sampled(trace_id: int, bound: int) -> bool:
    """Whether a trace is recorded: by the rule of OpenTelemetry's ``TraceIdRatioBased``, so that
    all processes choose the same ones."""
    return (trace_id & _LOW) < bound
