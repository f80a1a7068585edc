"""A rail that is only there: what it can carry is asked, and never a payout handed to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from rails.rail import Capabilities, Instruction


def capabilities(*currencies: str, **more: object) -> Capabilities:
    """Of currencies; whatever else is given."""
    return Capabilities(
        kind="idle",
        currencies=frozenset(currencies or {"EUR"}),
        destinations=frozenset({"email"}),
        **more,  # type: ignore[arg-type]
    )


@dataclass(frozen=True, slots=True)
class IdleRail:
    """A rail by name."""

    name: str
    capabilities: Capabilities

    async def submit(self, instruction: Instruction) -> NoReturn:
        """Nothing is to come here."""
        raise AssertionError(instruction)

    enquire = cancel = submit

    async def close(self) -> None:
        """Nothing is open."""
