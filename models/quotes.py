"""Quotes: how a conversion stands in the journal, and the rule that its entries are held against.

Pure. A quote reserves what is to be sold and is used once, at its rate, before its time is over;
else what it reserved comes back. Nothing else moves the accounts of conversions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from models.fx import Conversion, Rate

if TYPE_CHECKING:
    from models.ledger import Entry

QUOTE = "a quote is used once, at its rate"
"""The invariant that entries of conversions keep."""


class Quote(NamedTuple):
    """A conversion as an entry leaves it. Amounts in minor units; the rate is that of whole units.

    ``sold`` is of the source; ``bought``, ``markup`` and ``rounding`` are of the target.
    """

    id: str
    step: str
    """``quoted``, ``converted`` or ``expired``."""
    source: str
    target: str
    sold: int
    bought: int
    markup: int
    rounding: int
    rate: str
    numerator: int
    denominator: int
    markup_bp: int
    expires: int

    def follows(self, before: Quote | None) -> bool:
        """Whether it can have come of that: quoted once, then used or ended once."""
        if before is None:
            return self.step == "quoted"
        ended = before.step == "quoted" and self.step != "quoted"
        return ended and before._replace(step=self.step) == self

    def priced(self) -> bool:
        """Whether its amounts are what its rate leads to."""
        rate = Rate(self.rate, self.source, self.target, self.numerator, self.denominator, 0, 0)
        found = Conversion(self.sold, self.bought, self.markup, self.rounding)
        return rate.price(self.markup_bp).explains(found)

    def postings(self) -> dict[tuple[str, str], int]:
        """What its entry moves on the house's accounts of conversions and on ``quoted``."""
        if self.step != "converted":
            sign = 1 if self.step == "quoted" else -1
            return {("quoted", self.source): sign * self.sold}
        given = self.bought + self.markup + self.rounding
        return {
            ("quoted", self.source): -self.sold,
            ("/fx", self.source): self.sold,
            ("/fx", self.target): -given,
            ("/fx:markup", self.target): self.markup,
            ("/fx:rounding", self.target): self.rounding,
        }


@dataclass(slots=True)
class Conversions:
    """Every quote of the journal, entry by entry."""

    quotes: dict[tuple[str, str], Quote] = field(default_factory=dict)
    """Per seller and quote: how it stands."""
    given: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    """Per seller and currency: what she gave for others, net of what she got for others."""

    def apply(self, entry: Entry) -> Iterator[str]:
        """Follow an entry, and tell what of it no quote explains."""
        seller, quote = entry.seller, entry.quote
        moved: Counter[tuple[str, str]] = Counter()
        for account, currency, minor, _ in entry.postings:
            of_house = account == "/fx" or account.startswith("/fx:")
            if of_house:
                self.given[seller, currency] += minor
            if of_house or account.endswith("/quoted"):
                moved[account if of_house else "quoted", currency] += minor
        if quote is not None:
            before = self.quotes.get((seller, quote.id))
            self.quotes[seller, quote.id] = quote
            if not quote.follows(before):
                yield f"{quote.id} of {seller} went to {quote}"
            if not quote.priced():
                yield f"{quote.id} of {seller} is not what its rate gives"
            if quote.step == "converted" and entry.at_ms >= quote.expires:
                yield f"{quote.id} of {seller} was used when it had expired"
            moved.subtract(quote.postings())
        for (name, currency), minor in moved.items():
            if minor:
                yield f"{entry.id} moves {minor} {currency} more on {name}"
