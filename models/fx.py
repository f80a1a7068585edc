"""Foreign exchange: what a conversion takes and gives, and the operations that book one.

Pure, and exact: a rate is a ratio of integers, and no amount is ever anything but an integer of
minor units. The seller's rate is the mid rate less the markup. What is to be sold is fixed, or what
is to be bought:

* sold fixed: she gets what the rate comes to, rounded down;
* bought fixed: she pays the least that buys it, so rounded up.

Both are in the house's favour, by less than one minor unit of the currency that is rounded. What
she sells is worth, at mid and rounded down, what she gets, the markup (rounded down) and a residue
that is no one's: it is posted to an account of its own.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from models.money import BASIS_POINTS, MINOR_MAX, exponent
from models.policy import FxPolicy
from models.refusals import Reason, Refused

Operation = dict[str, Any]

RATE_DIGITS = 12
"""Digits of a rate that is told as a decimal."""


class Conversion(NamedTuple):
    """What a conversion moves: of the source what is sold, of the target all the rest."""

    sold_minor: int
    bought_minor: int
    markup_minor: int
    rounding_minor: int

    @property
    def mid_minor(self) -> int:
        """What the house gives of the target: what is sold, at mid, rounded down."""
        return self.bought_minor + self.markup_minor + self.rounding_minor


class Price(NamedTuple):
    """Minor units of the target for one of the source: at mid, and at the seller's rate."""

    mid_numerator: int
    mid_denominator: int
    markup_bp: int

    @classmethod
    def of(cls, numerator: int, denominator: int, places: tuple[int, int], markup_bp: int) -> Price:
        """From a mid rate of whole units, and how many decimals source and target have.

        Raises ValueError for a rate that is not above zero, or a markup that leaves nothing.
        """
        if numerator <= 0 or denominator <= 0 or not 0 <= markup_bp < BASIS_POINTS:
            raise ValueError("a rate is above zero, and a markup takes less than all of it")
        return cls(numerator * 10 ** places[1], denominator * 10 ** places[0], markup_bp)

    def at_mid(self, sold_minor: int) -> int:
        """What is sold is worth at mid, rounded down."""
        return sold_minor * self.mid_numerator // self.mid_denominator

    def at_rate(self, sold_minor: int) -> int:
        """What is sold is worth at the seller's rate, rounded down."""
        kept = BASIS_POINTS - self.markup_bp
        return sold_minor * self.mid_numerator * kept // (self.mid_denominator * BASIS_POINTS)

    def sell(self, sold_minor: int) -> Conversion:
        """Sell just so much. Raises Refused if that buys nothing, or more than can be booked."""
        return self._bounded(sold_minor, self.at_rate(sold_minor))

    def buy(self, bought_minor: int) -> Conversion:
        """Buy just so much, for the least that it takes. Raises Refused."""
        # -(-a // b) rounds up.
        cost = bought_minor * self.mid_denominator * BASIS_POINTS
        kept = BASIS_POINTS - self.markup_bp
        return self._bounded(-(-cost // (self.mid_numerator * kept)), bought_minor)

    def _bounded(self, sold_minor: int, bought_minor: int) -> Conversion:
        if sold_minor < 1 or bought_minor < 1:
            raise Refused(Reason.CONVERSION_TOO_SMALL, "it comes to less than one minor unit")
        if max(sold_minor, self.at_mid(sold_minor)) > MINOR_MAX:
            raise Refused(Reason.AMOUNT_TOO_LARGE, f"it comes to more than {MINOR_MAX} minor units")
        return self._with_the_rest(sold_minor, bought_minor)

    def _with_the_rest(self, sold_minor: int, bought_minor: int) -> Conversion:
        marked = sold_minor * self.mid_numerator * self.markup_bp
        markup = marked // (self.mid_denominator * BASIS_POINTS)
        rest = self.at_mid(sold_minor) - bought_minor - markup
        return Conversion(sold_minor, bought_minor, markup, rest)

    def explains(self, conversion: Conversion) -> bool:
        """Whether a conversion is one that this price leads to, whichever side was fixed."""
        sold, bought, *_ = conversion
        if sold < 1 or bought < 1 or conversion != self._with_the_rest(sold, bought):
            return False
        return bought == self.at_rate(sold) or self.at_rate(sold - 1) < bought < self.at_rate(sold)


class Rate(NamedTuple):
    """A mid rate: one whole unit of the source is ``numerator / denominator`` of the target."""

    id: str
    source: str
    target: str
    numerator: int
    denominator: int
    observed_ms: int
    expires_ms: int

    @classmethod
    def parse(cls, stored: bytes) -> Rate:
        """From what the wallets keep."""
        return cls(**from_json(stored))

    def stored(self) -> str:
        """As the wallets keep it."""
        return to_json(self._asdict()).decode()

    def inverse(self) -> Rate:
        """The same the other way round."""
        return self._replace(
            source=self.target,
            target=self.source,
            numerator=self.denominator,
            denominator=self.numerator,
        )

    def good_until_ms(self, policy: FxPolicy) -> int:
        """When it is stale: when its treasury says so, and at last by the company's own policy."""
        return min(self.expires_ms, self.observed_ms + policy.rate_age_ms)

    def price(self, markup_bp: int) -> Price:
        """What a minor unit costs."""
        places = exponent(self.source), exponent(self.target)
        return Price.of(self.numerator, self.denominator, places, markup_bp)


class Wanted(NamedTuple):
    """What a seller asks a quote for: either ``sold_minor`` is fixed or ``bought_minor``."""

    source: str
    target: str
    sold_minor: int | None
    bought_minor: int | None

    def at(self, price: Price) -> Conversion:
        """What it takes and gives. Raises Refused."""
        if self.bought_minor is not None:
            return price.buy(self.bought_minor)
        if self.sold_minor is None:
            raise ValueError("neither side is fixed")
        return price.sell(self.sold_minor)


def pair(source: str, target: str) -> str:
    """A pair's name. Its rate is kept in the shard that this name leads to."""
    return f"{source}-{target}"


def decimal_rate(numerator: int, denominator: int, markup_bp: int = 0) -> str:
    """A rate of whole units as a decimal of at most ``RATE_DIGITS`` digits, for people."""
    with localcontext(prec=RATE_DIGITS):
        kept = Decimal(numerator) * (BASIS_POINTS - markup_bp)
        found = kept / (Decimal(denominator) * BASIS_POINTS)
    return format(found.normalize(), "f")


def keep_rate(operation_id: str, rate: Rate, policy: FxPolicy) -> Operation:
    """A rate takes the place of the one before.

    Refused as ``rate_implausible`` if it is ``jump_factor`` times that, or more, either way.
    """
    return {
        "op": "rate",
        "kind": "rate.quoted",
        "id": operation_id,
        "seller": pair(rate.source, rate.target),
        "stored": rate.stored(),
        "numerator": rate.numerator,
        "denominator": rate.denominator,
        "observed": rate.observed_ms,
        "factor": policy.jump_factor,
    }


def quote(
    operation_id: str,
    seller_id: str,
    quote_id: str,
    wanted: Wanted,
    rate: Rate | None,
    *,
    policy: FxPolicy,
) -> Operation:
    """Promise a rate for a while, and reserve what it is for.

    ``rate``: the latest that is known of the pair. Whether it is stale, and whether the money is
    there, is decided where the money is.
    """
    operation: Operation = {
        "op": "quote",
        "kind": "conversion.quoted",
        "id": operation_id,
        "seller": seller_id,
        "quote": quote_id,
        "source": wanted.source,
        "target": wanted.target,
    }
    if rate is None:
        return operation | {"refuse": Reason.RATE_UNKNOWN.value}
    try:
        found = wanted.at(rate.price(policy.markup))
    except Refused as refused:
        return operation | {"refuse": refused.reason.value}
    return operation | {
        "sold": found.sold_minor,
        "bought": found.bought_minor,
        "markup": found.markup_minor,
        "rounding": found.rounding_minor,
        "rate": rate.id,
        "numerator": rate.numerator,
        "denominator": rate.denominator,
        "markup_bp": policy.markup,
        "good_until": rate.good_until_ms(policy),
        "good_ms": policy.quote_ms,
    }


def convert(operation_id: str, seller_id: str, quote_id: str) -> Operation:
    """Exchange what a quote is for, at its rate."""
    return {
        "op": "convert",
        "kind": "conversion.made",
        "id": operation_id,
        "seller": seller_id,
        "quote": quote_id,
    }
