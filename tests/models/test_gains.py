"""Gains: what is realised and what is open come to what the house's accounts are at."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from models.gains import Gains, Position, gains_of
from models.quotes import Quote


def made(source: str, target: str, sold: int, mid: int, markup: int = 0) -> Quote:
    """A conversion; ``mid``: what is sold is worth of the target."""
    figures = (sold, mid - markup, markup, 0)
    return Quote("q", "converted", source, target, *figures, "r", 1, 1, 0, 0)


def position(*quotes: Quote) -> Position:
    [found] = gains_of(quotes).positions.values()
    return found


def test_what_is_only_bought_is_open() -> None:
    found = position(made("EUR", "USD", 10_000, 10_842))
    assert (found.held_minor, found.cost_minor, found.realised_minor) == (10_000, -10_842, 0)


def test_selling_dearer_than_it_cost_is_a_gain() -> None:
    # 100 EUR for 108.42 USD; half of it for 60.00.
    found = position(made("EUR", "USD", 10_000, 10_842), made("USD", "EUR", 6_000, 5_000))
    assert (found.held_minor, found.cost_minor, found.realised_minor) == (5_000, -5_421, 579)


def test_selling_cheaper_than_it_cost_is_a_loss() -> None:
    found = position(made("EUR", "USD", 10_000, 10_842), made("USD", "EUR", 10_000, 10_000))
    assert (found.held_minor, found.cost_minor, found.realised_minor) == (0, 0, -842)


def test_the_cost_is_the_average() -> None:
    found = position(
        made("EUR", "USD", 10_000, 10_000),
        made("EUR", "USD", 10_000, 12_000),
        made("USD", "EUR", 12_000, 10_000),
    )
    assert (found.held_minor, found.cost_minor, found.realised_minor) == (10_000, -11_000, 1_000)


def test_a_short_position_is_closed_likewise() -> None:
    found = position(made("USD", "EUR", 10_842, 10_000), made("EUR", "USD", 10_000, 10_000))
    assert (found.held_minor, found.cost_minor, found.realised_minor) == (0, 0, 842)


def test_more_than_there_is_turns_the_position() -> None:
    found = position(made("EUR", "USD", 1_000, 1_000), made("USD", "EUR", 4_400, 4_000))
    assert (found.held_minor, found.cost_minor, found.realised_minor) == (-3_000, 3_300, 100)


def test_markup_is_no_part_of_the_gain() -> None:
    gains = gains_of([made("EUR", "USD", 10_000, 10_842, markup=108)])
    assert (gains.markup["USD"], gains.bought["EUR", "USD"]) == (108, 10_734)
    assert gains.positions["EUR", "USD"].realised_minor == 0


conversions = st.lists(
    st.builds(
        lambda way, sold, mid: made(*way, sold, mid),
        st.sampled_from([("EUR", "USD"), ("USD", "EUR"), ("EUR", "JPY"), ("JPY", "EUR")]),
        st.integers(1, 10**6),
        st.integers(1, 10**6),
    ),
    max_size=30,
)


@given(conversions)
def test_realised_and_open_come_to_the_accounts(quotes: list[Quote]) -> None:
    gains = Gains()
    accounts: Counter[tuple[str, str]] = Counter()
    for quote in quotes:
        gains.take(quote)
        for (account, currency), minor in quote.postings().items():
            if account.startswith("/"):
                accounts[account, currency] += minor
    found: Counter[tuple[str, str]] = Counter()
    for account, currency, minor in gains.balances():
        found[account, currency] += minor
    assert {k: v for k, v in found.items() if v} == {k: v for k, v in accounts.items() if v}
    for each in gains.positions.values():
        assert each.held_minor * each.cost_minor <= 0
        assert (each.held_minor == 0) <= (each.cost_minor == 0)
