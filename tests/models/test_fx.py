"""Foreign exchange: nothing appears or vanishes, whatever the rate and the exponents."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models.fx import Conversion, Price, Rate, Wanted, decimal_rate, pair, quote
from models.money import MINOR_MAX
from models.policy import MARKUP_BP_MAX, FxPolicy
from models.refusals import Reason, Refused

PLACES = (0, 2, 3, 4, 6)
"""Of JPY, EUR, BHD, CLF and USDC."""

prices = st.builds(
    Price.of,
    st.integers(1, 10**9),
    st.integers(1, 10**9),
    st.tuples(st.sampled_from(PLACES), st.sampled_from(PLACES)),
    st.integers(0, MARKUP_BP_MAX),
)
amounts = st.integers(1, 10**9)


def sold(price: Price, minor: int) -> Conversion:
    """A sale, of those that are possible."""
    try:
        return price.sell(minor)
    except Refused:
        assume(False)
        raise


def bought(price: Price, minor: int) -> Conversion:
    try:
        return price.buy(minor)
    except Refused:
        assume(False)
        raise


def mid(price: Price) -> Fraction:
    return Fraction(price.mid_numerator, price.mid_denominator)


class TestSell:
    @given(prices, amounts)
    def test_she_gets_the_rate_rounded_down(self, price: Price, minor: int) -> None:
        found = sold(price, minor)
        exact = minor * mid(price) * (10_000 - price.markup_bp) / 10_000
        assert found.sold_minor == minor
        assert 0 <= exact - found.bought_minor < 1

    @given(prices, amounts)
    def test_the_residue_is_at_most_one_minor_unit(self, price: Price, minor: int) -> None:
        assert 0 <= sold(price, minor).rounding_minor <= 1

    @given(prices, amounts)
    def test_what_is_sold_is_worth_its_parts(self, price: Price, minor: int) -> None:
        found = sold(price, minor)
        assert 0 <= minor * mid(price) - found.mid_minor < 1
        assert found.markup_minor >= 0

    @given(prices, amounts)
    def test_back_again_at_the_same_mid_wins_nothing(self, price: Price, minor: int) -> None:
        back = Price(price.mid_denominator, price.mid_numerator, price.markup_bp)
        assert sold(back, sold(price, minor).bought_minor).bought_minor <= minor


class TestBuy:
    @given(prices, amounts)
    def test_she_pays_the_least_that_buys_it(self, price: Price, minor: int) -> None:
        found = bought(price, minor)
        assert found.bought_minor == minor
        assert price.at_rate(found.sold_minor) >= minor > price.at_rate(found.sold_minor - 1)
        assert found.markup_minor >= 0
        assert found.rounding_minor >= 0

    @given(prices, amounts)
    def test_target_to_source_to_target_is_the_same(self, price: Price, minor: int) -> None:
        there = sold(price, minor)
        again = bought(price, there.bought_minor)
        assert again.sold_minor <= minor
        assert sold(price, again.sold_minor).bought_minor == there.bought_minor

    @given(prices, amounts)
    def test_selling_what_it_takes_buys_no_less(self, price: Price, minor: int) -> None:
        assert sold(price, bought(price, minor).sold_minor).bought_minor >= minor


@given(prices, amounts, st.booleans(), st.integers(0, 3), st.sampled_from([-1, 1]))
def test_a_conversion_is_explained_by_its_price_and_no_other(
    price: Price, minor: int, fixed_target: bool, which: int, by: int
) -> None:
    found = bought(price, minor) if fixed_target else sold(price, minor)
    assert price.explains(found)
    changed = list(found)
    changed[which] += by
    other = Conversion(*changed)
    # One unit more or less of the source may buy the same; then its parts are other ones.
    assert not price.explains(other) or which == 0


@pytest.mark.parametrize(
    ("places", "rate", "minor", "expected"),
    [
        ((2, 2), (10_842, 10_000), 10_000, Conversion(10_000, 10_733, 108, 1)),
        ((2, 0), (16_213, 100), 1_000, Conversion(1_000, 1_605, 16, 0)),
        ((0, 2), (100, 16_213), 1_000, Conversion(1_000, 610, 6, 0)),
        ((2, 3), (4_089, 10_000), 10_000, Conversion(10_000, 40_481, 408, 1)),
        ((3, 4), (666, 10_000), 1_000, Conversion(1_000, 659, 6, 1)),
        ((0, 6), (100, 15_000), 1, Conversion(1, 6_600, 66, 0)),
        ((6, 0), (15_000, 100), 1_000_000, Conversion(1_000_000, 148, 1, 1)),
    ],
)
def test_exponents_of_every_size(
    places: tuple[int, int], rate: tuple[int, int], minor: int, expected: Conversion
) -> None:
    assert Price.of(*rate, places, 100).sell(minor) == expected


@given(
    st.permutations(PLACES),
    st.lists(st.integers(1, 50), min_size=len(PLACES), max_size=len(PLACES)),
    st.integers(0, MARKUP_BP_MAX),
    st.integers(10_000, 20_000),
)
def test_around_the_world_through_exponents_of_every_size(
    places: list[int], worths: list[int], markup_bp: int, whole: int
) -> None:
    """Whole units of each currency are worth so many of something: no way there and back gains,
    and what is missing at the end is just what each house has kept and what rounding cost."""
    journey = [*zip(places, worths, strict=True), (places[0], worths[0])]

    def worth(minor: int, at: tuple[int, int]) -> Fraction:
        return Fraction(minor * at[1], 10 ** at[0])

    minor = begun = whole * 10 ** places[0]
    lost = Fraction(0)
    for source, target in pairwise(journey):
        price = Price.of(source[1], target[1], (source[0], target[0]), markup_bp)
        found = price.sell(minor)
        kept = worth(found.markup_minor + found.rounding_minor, target)
        below = worth(minor, source) - worth(found.mid_minor, target)
        assert 0 <= below < worth(1, target)
        lost += kept + below
        minor = found.bought_minor
    assert minor <= begun
    assert worth(begun, journey[0]) - worth(minor, journey[0]) == lost


class TestRefusals:
    def test_conversion_too_small(self) -> None:
        price = Price.of(1, 150, (0, 2), 0)  # a yen is two thirds of a cent
        with pytest.raises(Refused) as refused:
            price.sell(1)
        assert refused.value.reason is Reason.CONVERSION_TOO_SMALL
        assert price.sell(2).bought_minor == 1

    def test_amount_too_large(self) -> None:
        price = Price.of(150, 1, (2, 6), 0)
        for call, minor in ((price.sell, MINOR_MAX), (price.buy, MINOR_MAX + 1)):
            with pytest.raises(Refused) as refused:
                call(minor)
            assert refused.value.reason is Reason.AMOUNT_TOO_LARGE

    @pytest.mark.parametrize(("n", "d", "bp"), [(0, 1, 0), (1, 0, 0), (-1, 1, 0), (1, 1, 10_000)])
    def test_no_price_of_nothing(self, n: int, d: int, bp: int) -> None:
        with pytest.raises(ValueError, match="above zero"):
            Price.of(n, d, (2, 2), bp)


class TestRate:
    RATE = Rate("r", "EUR", "USD", 10_842, 10_000, 1_000, 9_000)

    def test_is_kept_as_it_is(self) -> None:
        big = self.RATE._replace(numerator=10**15, denominator=10**15 - 1)
        assert Rate.parse(big.stored().encode()) == big

    def test_the_inverse_of_the_inverse_is_the_rate(self) -> None:
        inverse = self.RATE.inverse()
        assert (pair(inverse.source, inverse.target), inverse.numerator) == ("USD-EUR", 10_000)
        assert inverse.inverse() == self.RATE

    @pytest.mark.parametrize(("age_s", "expected"), [(7, 8_000), (8, 9_000), (9, 9_000)])
    def test_is_good_until_its_treasury_or_the_policy_ends_it(
        self, age_s: int, expected: int
    ) -> None:
        assert self.RATE.good_until_ms(FxPolicy(rate_age_seconds_max=age_s)) == expected

    @pytest.mark.parametrize(
        ("rate", "text"),
        [((10_842, 10_000, 0), "1.0842"), ((10_842, 10_000, 100), "1.073358"),
         ((1, 3, 0), "0.333333333333"), ((26_000, 1, 0), "26000")],
    )  # fmt: skip
    def test_is_told_as_a_decimal(self, rate: tuple[int, int, int], text: str) -> None:
        assert decimal_rate(*rate) == text


class TestQuote:
    def test_without_a_rate_there_is_nothing_to_quote(self) -> None:
        wanted = Wanted("EUR", "USD", 1_000, None)
        found = quote("e", "anna", "q", wanted, None, policy=FxPolicy())
        assert found["refuse"] == "rate_unknown"

    def test_what_is_too_small_is_refused_where_it_is_booked(self) -> None:
        wanted = Wanted("JPY", "USD", 1, None)
        rate = Rate("r", "JPY", "USD", 1, 150, 0, 9)
        assert quote("e", "anna", "q", wanted, rate, policy=FxPolicy())["refuse"] == (
            "conversion_too_small"
        )

    def test_one_side_has_to_be_fixed(self) -> None:
        with pytest.raises(ValueError, match="neither"):
            Wanted("EUR", "USD", None, None).at(Price.of(1, 1, (2, 2), 0))
