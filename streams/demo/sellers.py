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

_SHARED_TILL = 0.04  # of the sellers, with whoever recruited them
_SHARED_CARD = 0.015  # a couple, who have one account as well


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
    stacked: bool
    """A position that another seller placed below herself and runs as her own."""


@dataclass(frozen=True, slots=True)
class Roster:
    """All sellers, and the groups that fraud patterns pick from."""

    sellers: tuple[Seller, ...]
    cumulative_activity: tuple[float, ...]
    fresh: tuple[Seller, ...]
    ghosts: tuple[Seller, ...]
    stacked: tuple[Seller, ...]
    settled: tuple[Seller, ...]
    teams: dict[str, list[Seller]]
    """Settled sellers by who recruited them."""

    def team_of(self, seller: Seller) -> list[Seller]:
        """The settled sellers whom she recruited, or who were recruited by her own sponsor."""
        own = self.teams.get(seller.id, [])
        return own or self.teams.get(seller.sponsor_id or "", [])


def recruit(seed: int, count: int) -> Roster:
    """The roster of a seed: the same for the same arguments, always."""
    rng = Random(f"{seed}:sellers")
    ghosts = max(3, count // 100)
    markets = _markets(rng, count)
    # Two chains at the list's end: ghosts, and before them the positions of one stacking seller.
    stacked = range(count - 2 * ghosts, count - ghosts)
    sponsors = _sponsors(rng, markets, ghosts)
    owners = _owners(rng, count, ghosts, stacked)
    for k in stacked:
        sponsors[k] = owners[k] if k == stacked[0] else k - 1
    tills, cards, payees = _shared(rng, owners, sponsors)
    suspended = set(rng.sample(range(count), max(1, count // 80)))
    no_payout = set(rng.sample(range(count), max(1, count // 16)))
    paid = [k for k in range(count) if k not in no_payout]
    prefixes = _prefixes(rng, paid)
    activity = _activity(rng, count, 2 * ghosts)
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
        sellers.append(
            Seller(
                id=ids[k],
                key=ids[k].encode(),
                market=market,
                zone=rng.choice(market.zones),
                sponsor_id=None if sponsor is None else ids[sponsor],
                joined_days=_joined_days(k, count),
                suspended=k in suspended,
                ways=ways.get(ids[payees[k]], ()),
                device=f"till-{seed}-{tills[k]}",
                instrument=f"own-{seed}-{cards[k]}",
                withheld_until=late.get(k),
                ghost=ghost,
                stacked=k in stacked,
            )
        )
    return _roster(sellers, activity)


def _roster(sellers: list[Seller], activity: list[float]) -> Roster:
    people = [seller for seller in sellers if not seller.ghost and not seller.stacked]
    fresh = [seller for seller in people if seller.joined_days <= FRESH_DAYS_MAX]
    settled = [seller for seller in people if seller.joined_days > FRESH_DAYS_MAX]
    teams: dict[str, list[Seller]] = {}
    for seller in settled:
        if seller.sponsor_id is not None:
            teams.setdefault(seller.sponsor_id, []).append(seller)
    return Roster(
        sellers=tuple(sellers),
        cumulative_activity=tuple(accumulate(activity)),
        fresh=tuple(fresh),
        ghosts=tuple(seller for seller in sellers if seller.ghost),
        stacked=tuple(seller for seller in sellers if seller.stacked),
        settled=tuple(settled),
        teams=teams,
    )


def _owners(rng: Random, count: int, ghosts: int, stacked: range) -> dict[int, int]:
    """Who is behind each position: herself, but for ghosts and stacked positions."""
    owners = {k: k for k in range(count)}
    for k in range(count - ghosts, count):
        owners[k] = count - ghosts
    owner = rng.randrange(len(MARKETS), count // 2)
    for k in stacked:
        owners[k] = owner
    return owners


def _shared(
    rng: Random, owners: dict[int, int], sponsors: list[int | None]
) -> tuple[dict[int, int], dict[int, int], dict[int, int]]:
    """Whose till and whose card each uses, and to whose account she is paid: a few honest recruits
    use their sponsor's."""
    tills, cards, payees = dict(owners), dict(owners), dict(owners)
    for k, sponsor in enumerate(sponsors):
        draw = rng.random()
        if owners[k] == k and sponsor is not None and draw < _SHARED_TILL:
            tills[k] = tills[sponsor]
            if draw < _SHARED_CARD:
                cards[k], payees[k] = cards[sponsor], payees[sponsor]
    return tills, cards, payees


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
        activity[k] *= 0.4
    activity[count - ghosts :] = [0.0] * ghosts
    return activity


def _joined_days(k: int, count: int) -> int:
    """Days since joining: the founders years ago, so a sponsor never joined after her recruit."""
    left = (count - 1 - k) / count
    newest = max(3, count // 33) + 2 * max(3, count // 100)
    if count - k <= newest:
        return (count - k) * FRESH_DAYS_MAX // newest
    return FRESH_DAYS_MAX + 1 + int(1_800 * left**1.5)
