"""Terms: what every booking is told, whatever it books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic_core import to_json

from models.events import CLOCK_AHEAD_MAX
from models.money import BASIS_POINTS


def forget_ms(retention_ms: int) -> int:
    """How long ids are kept, in milliseconds: longer than events are taken.

    An event may be dated ahead, so that its repeat is taken for so much longer.
    """
    return retention_ms + CLOCK_AHEAD_MAX // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Terms:
    """What every booking is told: times in milliseconds, and the campaigns."""

    retention_ms: int
    wait_ms: int
    ask_ms: int
    campaigns: Sequence[Mapping[str, Any]]
    debt_bp: int = BASIS_POINTS
    """The share of an earning that pays debt, in basis points."""
    spent_is_debt: bool = False
    """Whether credit that was spent, and whose grant is undone, is taken back otherwise."""

    def json(self) -> bytes:
        """The part of a call's context that never changes."""
        return to_json(
            {
                "retention_ms": forget_ms(self.retention_ms),
                "wait_ms": self.wait_ms,
                "ask_ms": self.ask_ms,
                "campaigns": self.campaigns,
                "debt_bp": self.debt_bp,
                "spent_is_debt": self.spent_is_debt,
            }
        )
