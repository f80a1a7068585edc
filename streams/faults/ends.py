"""How workers may end by themselves: with a code of the engine's, for a reason that a fault gives.

Anything else is a violation: a broken invariant, a start that failed, a signal nobody sent.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Collection

from streams.engine.errors import ExitCode
from streams.faults.fleet import Ended
from streams.faults.kinds import Part

BROKEN = re.compile(
    r"BookingFailed|ShardMismatch|\bGAP\b|Traceback \(most recent call last\).*"
    r"(?:AssertionError|KeyError|TypeError|AttributeError|IndexError|UnboundLocalError)"
)
"""What no fault from outside may lead to."""

IMPATIENT = re.compile(r"RedisGone\(['\"](?!Redis was away)")
"""A worker bears an outage for a while; one that ended at the first refusal has not."""

_OUTAGES = frozenset(
    {Part.REDIS, Part.REDIS_NETWORK, Part.KAFKA, Part.KAFKA_NETWORK, Part.WORKER, Part.GROUP}
)

_ALLOWED = {
    ExitCode.AGENT_RAISED: _OUTAGES,
    ExitCode.HEAL_FAILED: _OUTAGES,
    ExitCode.STOP_TIMED_OUT: _OUTAGES,
    ExitCode.CONSUMER_FAILED: frozenset({Part.KAFKA, Part.KAFKA_NETWORK, Part.WORKER}),
    ExitCode.STALLED: _OUTAGES,
}
"""Exit code → the parts of which a fault explains it."""


def unexplained(ended: Ended, struck: Collection[Part]) -> str:
    """Why an end is a violation, in a line; empty if a fault explains it.

    ``struck``: the parts that faults have touched lately.
    """
    if ended.asked and ended.code == -signal.SIGTERM:
        return ""  # it was asked before it had got as far as listening for signals
    told = f"worker {ended.post} ended with {ended.code} after {ended.lived_s:.0f} s"
    if BROKEN.search(ended.log):
        return f"{told}, and something is broken: {ended.log}"
    if IMPATIENT.search(ended.log):
        return f"{told}, at once when Redis was gone: {ended.log}"
    if ended.code in set(ExitCode) and _ALLOWED.get(ExitCode(ended.code), frozenset()) & set(
        struck
    ):
        return ""
    return f"{told}, which no fault explains: {ended.log}"
