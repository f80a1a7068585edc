"""All chance of a simulated history: one seed, and what is drawn from it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice(random.Random):
    """A seeded source of chance with the questions that a simulation asks."""

    def chance(self, probability: float) -> bool:
        """Whether something of this probability happens."""
        return self.random() < probability

    def pause_s(self) -> float:
        """How long a step on a network takes, in seconds: mostly short, seldom very long."""
        draw = self.random()
        if draw < 0.6:
            return draw * 0.002
        if draw < 0.92:
            return (draw - 0.6) * 0.06
        if draw < 0.99:
            return (draw - 0.92) * 3.0
        return (draw - 0.99) * 200.0

    def one_of(self, weights: Sequence[tuple[T, float]]) -> T:
        """One of several things, by weight."""
        draw = self.random() * sum(weight for _, weight in weights)
        for thing, weight in weights:
            draw -= weight
            if draw < 0:
                return thing
        return weights[-1][0]
