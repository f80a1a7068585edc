"""The people of the simulated company: markets, sellers, and who recruited whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from models.money import exponent
from streams.demo.ways import Person, Way, drawn

Seal = Callable[[str, str], str]
"""Seals a destination: takes the seller's id and the plaintext, returns ``v1.…``."""

BEHAVIOURS = (
    "unclaimed+",
    "closed+",
    "slow+",
    "denied+",
    "reset-after+",
    "error500+",
    "returned+",
    "webhook-lost+",
    "webhook-twice+",
)
"""What a destination begins with for which the rail sandbox misbehaves."""

FRESH_DAYS_MAX = 4
"""A seller who joined at most so many days ago is new: stolen cards come with such accounts."""


@dataclass(frozen=True, slots=True)
class Market:
    """A country the company sells in.

    ``typical_minor`` is the median sale; ``step_minor`` what amounts are a multiple of (prices in
    yen end in 0, fils in 5); ``weight`` the share of sellers.
    """

    country: str
    zones: tuple[str, ...]
    currency: str
    typical_minor: int
    step_minor: int
    weight: int


_US_ZONES = ("America/New_York", "America/Chicago", "America/Los_Angeles")

MARKETS = (
    Market("DE", ("Europe/Berlin",), "EUR", 5_500, 1, 20),
    Market("FR", ("Europe/Paris",), "EUR", 4_800, 1, 14),
    Market("ES", ("Europe/Madrid",), "EUR", 4_200, 1, 6),
    Market("GB", ("Europe/London",), "GBP", 4_500, 1, 14),
    Market("US", _US_ZONES, "USD", 7_000, 1, 20),
    Market("JP", ("Asia/Tokyo",), "JPY", 8_000, 10, 9),
    Market("CA", ("America/Toronto", "America/Vancouver"), "CAD", 8_500, 1, 7),
    Market("BR", ("America/Sao_Paulo",), "BRL", 26_000, 1, 7),
    Market("BH", ("Asia/Bahrain",), "BHD", 24_000, 5, 3),
)
"""Where the company sells: currencies with no, two and three decimals."""

for _market in MARKETS:
    exponent(_market.currency)


@dataclass(frozen=True, slots=True)
class Seller:
    """One seller. ``ways``: how she is paid, in her order; none if she is not.

    ``withheld_until`` is after how many of her sales her profile comes, if late.
    """

    id: str
    key: bytes
    market: Market
    zone: str
    sponsor_id: str | None
    joined_days: int
    suspended: bool
    ways: tuple[Way, ...]
    device: str
    instrument: str
    withheld_until: int | None
    ghost: bool


@dataclass(frozen=True, slots=True)
class Roster:
    """All sellers, and the groups that fraud patterns pick from."""

    sellers: tuple[Seller, ...]
    cumulative_activity: tuple[float, ...]
    fresh: tuple[Seller, ...]
    ghosts: tuple[Seller, ...]
    settled: tuple[Seller, ...]


def recruit(seed: int, count: int) -> Roster:
    """The roster of a seed: the same for the same arguments, always."""
    rng = Random(f"{seed}:sellers")
    ghosts = max(3, count // 100)
    markets = _markets(rng, count)
    sponsors = _sponsors(rng, markets, ghosts)
    suspended = set(rng.sample(range(count), max(1, count // 80)))
    no_payout = set(rng.sample(range(count), max(1, count // 16)))
    paid = [k for k in range(count) if k not in no_payout]
    prefixes = _prefixes(rng, paid)
    activity = _activity(rng, count, ghosts)
    busiest = sorted(range(count), key=activity.__getitem__, reverse=True)[: count // 2]
    late = {k: rng.randint(1, 4) for k in rng.sample(busiest, max(1, count // 33))}
    ids = [f"{market.country.lower()}-{seed}-{k:05}" for k, market in enumerate(markets)]
    ways = drawn(
        seed,
        (
            Person(
                ids[k], markets[k].country, markets[k].currency, activity[k], prefixes.get(k, "")
            )
            for k in paid
        ),
    )
    sellers = []
    for k, market in enumerate(markets):
        sponsor = sponsors[k]
        ghost = k >= count - ghosts
        owner = count - ghosts if ghost else k
        sellers.append(
            Seller(
                id=ids[k],
                key=ids[k].encode(),
                market=market,
                zone=rng.choice(market.zones),
                sponsor_id=None if sponsor is None else ids[sponsor],
                joined_days=_joined_days(k, count),
                suspended=k in suspended,
                ways=ways.get(ids[k], ()),
                device=f"till-{seed}-{owner}",
                instrument=f"own-{seed}-{owner}",
                withheld_until=late.get(k),
                ghost=ghost,
            )
        )
    return _roster(sellers, activity)


def _roster(sellers: list[Seller], activity: list[float]) -> Roster:
    people = [seller for seller in sellers if not seller.ghost]
    fresh = [seller for seller in people if seller.joined_days <= FRESH_DAYS_MAX]
    settled = [seller for seller in people if seller.joined_days > FRESH_DAYS_MAX]
    return Roster(
        sellers=tuple(sellers),
        cumulative_activity=tuple(accumulate(activity)),
        fresh=tuple(fresh),
        ghosts=tuple(seller for seller in sellers if seller.ghost),
        settled=tuple(settled),
    )


def _markets(rng: Random, count: int) -> list[Market]:
    """Each market at least once, then by weight."""
    weights = [market.weight for market in MARKETS]
    return [*MARKETS, *rng.choices(MARKETS, weights, k=count - len(MARKETS))]


def _sponsors(rng: Random, markets: list[Market], ghosts: int) -> list[int | None]:
    """Who recruited whom: those with recruits recruit more, mostly at home; ghosts in a chain."""
    founders = len(MARKETS)
    sponsors: list[int | None] = [None] * len(markets)
    everywhere: list[int] = list(range(founders))
    at_home: dict[str, list[int]] = {market.country: [k] for k, market in enumerate(MARKETS)}
    for k in range(founders, len(markets)):
        home = at_home[markets[k].country]
        chained = k > len(markets) - ghosts
        sponsor = k - 1 if chained else rng.choice(home if rng.random() < 0.85 else everywhere)
        sponsors[k] = sponsor
        everywhere += (k, sponsor)
        home += (k, sponsor)
    return sponsors


def _prefixes(rng: Random, paid: list[int]) -> dict[int, str]:
    """About five in a hundred destinations misbehave; each way at least once."""
    each = max(1, len(paid) // 180)
    picked = rng.sample(paid, each * len(BEHAVIOURS))
    return {k: BEHAVIOURS[i % len(BEHAVIOURS)] for i, k in enumerate(picked)}


def _activity(rng: Random, count: int, ghosts: int) -> list[float]:
    """How much each sells: Zipf over a shuffled rank; the newest little, ghosts nothing."""
    ranks = list(range(1, count + 1))
    rng.shuffle(ranks)
    activity = [1 / rank**0.8 for rank in ranks]
    for k in range(count - ghosts - max(3, count // 33), count - ghosts):
        activity[k] *= 0.1
    activity[count - ghosts :] = [0.0] * ghosts
    return activity


def _joined_days(k: int, count: int) -> int:
    """Days since joining: the founders years ago, so a sponsor never joined after her recruit."""
    left = (count - 1 - k) / count
    newest = max(3, count // 33) + max(3, count // 100)
    if count - k <= newest:
        return (count - k) * FRESH_DAYS_MAX // newest
    return FRESH_DAYS_MAX + 1 + int(1_800 * left**1.5)
