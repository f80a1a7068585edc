"""Behaviours that wait for the submissions to come, and how many of them have really happened.

A fault run orders so many of each kind; they befall payouts in an order that the seed decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from random import Random

from rails.sandbox.behaviours import BEHAVIOURS

WAITING_MAX = 100_000


class BefallRefused(ValueError):
    """An order that cannot be taken; its text is one line for whoever gave it."""


class Befalls:
    """What is ordered, drawn and done, by the name of the behaviour."""

    def __init__(self, seed: int) -> None:
        """``seed`` decides the order in which kinds are mixed."""
        self._random = Random(seed)
        self._waiting: Counter[str] = Counter()
        self._happened: Counter[str] = Counter()

    def checked(self, order: object) -> dict[str, int]:
        """An order as it came in, as numbers by behaviour. Raises BefallRefused."""
        if not isinstance(order, dict):
            raise BefallRefused("befall is an object of behaviours and numbers")
        strange = sorted(set(order) - set(BEHAVIOURS))
        if strange:
            raise BefallRefused(f"befall names no behaviour: {', '.join(strange)[:200]}")
        for name, number in order.items():
            if type(number) is not int or number < 0:
                raise BefallRefused(f"befall {name} is a whole number from 0")
        if sum(order.values()) + self.waiting() > WAITING_MAX:
            raise BefallRefused(f"{WAITING_MAX} may wait to befall, {self.waiting()} do already")
        return order

    def add(self, order: Mapping[str, int]) -> None:
        """Let a checked order wait with what waits already."""
        self._waiting.update(order)

    def waiting(self) -> int:
        """How many have not befallen a payout yet."""
        return self._waiting.total()

    def draw(self, able: Callable[[str], bool] = lambda _: True) -> str:
        """The next behaviour of those that the payout's provider is able to; empty if none waits.

        The others wait for a payout of another provider.
        """
        names = [name for name in BEHAVIOURS if self._waiting[name] and able(name)]
        if not names:
            return ""
        # As if all that wait had been shuffled, without a list as long as that.
        shares = [self._waiting[name] for name in names]
        name = self._random.choices(names, shares)[0]
        self._waiting[name] -= 1
        return name

    def happen(self, name: str) -> None:
        """Count one that was not only drawn: the caller, or the receiver of webhooks, met it."""
        self._happened[name] += 1

    def happened(self) -> dict[str, int]:
        """How many have happened, by behaviour, in the order of the table."""
        return {name: self._happened[name] for name in BEHAVIOURS if self._happened[name]}
