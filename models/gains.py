"""Gains: what conversions brought the company, by pair, from the journal.

Pure. A conversion leaves the house with more of what was sold and less of what that was worth at
mid. One the other way round closes a part of that position; what it gives for that part, less what
the part cost on average, is realised. Both are in the pair's second currency. Markup and rounding
are what the house kept beside that, and no part of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from models.money import ratio
from models.quotes import Quote


@dataclass(slots=True)
class Position:
    """What the house has of a pair. Amounts in minor units.

    ``first`` is the currency that comes first by the alphabet. A position is long (``held_minor``
    above zero, paid for with ``cost_minor`` below zero) or short, the other way round.
    """

    first: str
    second: str
    held_minor: int = 0
    """Of the first currency."""
    cost_minor: int = 0
    """Of the second, for what is held."""
    realised_minor: int = 0
    """Of the second."""

    def take(self, quote: Quote) -> None:
        """Follow a conversion."""
        given = quote.bought + quote.markup + quote.rounding
        if quote.source == self.first:
            self._move(quote.sold, -given)
        else:
            self._move(-given, quote.sold)

    def _move(self, held: int, cost: int) -> None:
        if self.held_minor * held < 0:
            held, cost = self._close(held, cost)
        self.held_minor += held
        self.cost_minor += cost

    def _close(self, held: int, cost: int) -> tuple[int, int]:
        """Close what there is with a movement the other way; what of that is left."""
        closed = min(abs(held), abs(self.held_minor))
        # Of each side its share, so that what is left of both is just the rest.
        got = _share(cost, closed, abs(held))
        paid = _share(self.cost_minor, closed, abs(self.held_minor))
        self.realised_minor += got + paid
        self.held_minor += closed if held > 0 else -closed
        self.cost_minor -= paid
        return held + (-closed if held > 0 else closed), cost - got


@dataclass(slots=True)
class Gains:
    """What conversions come to."""

    positions: dict[tuple[str, str], Position] = field(default_factory=dict)
    """By pair, its currencies in the order of the alphabet."""
    made: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many conversions, by source and target."""
    sold: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By source and target, of the source."""
    bought: Counter[tuple[str, str]] = field(default_factory=Counter)
    """The same, of the target."""
    markup: Counter[str] = field(default_factory=Counter)
    """By currency."""
    rounding: Counter[str] = field(default_factory=Counter)
    """By currency."""

    def take(self, quote: Quote) -> None:
        """Follow a conversion that was made; they have to come in the order of time."""
        way = quote.source, quote.target
        first, second = sorted(way)
        self.positions.setdefault((first, second), Position(first, second)).take(quote)
        self.made[way] += 1
        self.sold[way] += quote.sold
        self.bought[way] += quote.bought
        self.markup[quote.target] += quote.markup
        self.rounding[quote.target] += quote.rounding

    def balances(self) -> Iterator[tuple[str, str, int]]:
        """What the house's accounts are at, if these are all conversions: account, currency."""
        for position in self.positions.values():
            yield "/fx", position.first, position.held_minor
            yield "/fx", position.second, position.cost_minor + position.realised_minor
        for account, minor in (("/fx:markup", self.markup), ("/fx:rounding", self.rounding)):
            for currency, each in minor.items():
                yield account, currency, each


def gains_of(quotes: Iterable[Quote]) -> Gains:
    """What conversions come to, in the order of time."""
    gains = Gains()
    for quote in quotes:
        gains.take(quote)
    return gains


def _share(minor: int, part: int, whole: int) -> int:
    """``part`` of ``whole`` of an amount of either sign, half to even."""
    found = ratio(abs(minor), part, whole)
    return found if minor >= 0 else -found
