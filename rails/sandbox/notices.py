"""What is said of a payout by webhook, and when: as a rule each step of its life, as it comes.

A behaviour may have a script of its own, in which words are lost, late, out of order or untrue.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from rails.sandbox.books import Entry, Plan

EVENTS: Mapping[str, str] = MappingProxyType(
    {
        "SUCCESS": "SUCCEEDED",
        "FAILED": "FAILED",
        "BLOCKED": "BLOCKED",
        "UNCLAIMED": "UNCLAIMED",
        "RETURNED": "RETURNED",
        "REFUNDED": "REFUNDED",
        "REVERSED": "REFUNDED",
        "ONHOLD": "HELD",
        "CANCELED": "CANCELED",
    }
)
"""The event of each status word; of any other the provider says nothing."""

BURST = 20
A_MOMENT_MS = 300
"""Between a lie and the truth: long enough for a host that would act upon the first."""


class Notice(NamedTuple):
    """One webhook: when it is due, as in a plan, and the status word that it claims.

    ``late``: by as much as the sandbox is told, on top. ``lost``: it is not sent. ``forged``: its
    signature is of other words. The script has a payout's notices in the order they are sent in.
    """

    thousandths: int
    extra_ms: int
    word: str
    late: bool = False
    lost: bool = False
    forged: bool = False


Script = tuple[Notice, ...]

CANCELLATION: Script = (Notice(0, 0, "CANCELED"),)

LOST: Script = (Notice(1000, 0, "SUCCESS", lost=True),)
LATE: Script = (Notice(1000, 0, "SUCCESS", late=True),)
TWICE: Script = (Notice(1000, 0, "SUCCESS"),) * 2
MANY_TIMES: Script = (Notice(1000, 0, "SUCCESS"),) * BURST
CLAIMED_BACKWARDS: Script = (
    Notice(2000, 0, "SUCCESS"),
    Notice(2000, A_MOMENT_MS, "UNCLAIMED"),
)
RETURNED_BACKWARDS: Script = (
    Notice(2000, 0, "RETURNED"),
    Notice(2000, A_MOMENT_MS, "SUCCESS"),
)
CONTRADICTED: Script = (
    Notice(1000, 0, "FAILED"),
    Notice(1000, A_MOMENT_MS, "SUCCESS"),
    Notice(1000, 2 * A_MOMENT_MS, "RETURNED"),
    Notice(1000, 3 * A_MOMENT_MS, "CANCELED"),
)
CONTRADICTED_EARLY: Script = (Notice(500, 0, "FAILED"), Notice(1000, 0, "SUCCESS"))
FORGED: Script = (
    Notice(500, 0, "FAILED", forged=True),
    Notice(1000, A_MOMENT_MS, "RETURNED", forged=True),
)
FORGED_PAID: Script = (
    Notice(500, 0, "SUCCESS", forged=True),
    Notice(1000, A_MOMENT_MS, "FAILED"),
)


@lru_cache(maxsize=256)
def told(plan: Plan) -> Script:
    """The truth, step by step."""
    return tuple(
        Notice(thousandths, extra_ms, word)
        for thousandths, extra_ms, word in plan
        if word in EVENTS
    )


def due_ms(entry: Entry, notice: Notice, late_ms: int) -> int:
    """When a notice is sent, in milliseconds since the epoch; ``late_ms``: what late means."""
    life_ms = entry.delay_ms * notice.thousandths // 1000
    return entry.created_ms + life_ms + notice.extra_ms + (late_ms if notice.late else 0)


def step_of(entry: Entry, notice: Notice) -> int | None:
    """The step of the entry's plan that a notice speaks of; None if it is a lie."""
    words = [word for _, _, word in entry.plan]
    if notice.forged or notice.word not in words:
        return None
    return words.index(notice.word)
