"""Fraud patterns: what each leaves in the sales, as steps that a run plays out among honest ones.

self_purchase         a seller loads up on stock: she buys from herself, openly as her own customer
                      or under other names, with her own card
stolen_card           a new account's first sales are large, each on another card, most of them
                      foreign; some come back as chargebacks
card_testing          many tiny sales on one device, each on another card, within moments
burst                 far more sales than the seller ever makes, nearly all of one amount
refund_after_payout   large sales on a few cards that come back once the commission is out, again
                      and again
ring                  sellers of one team who buy from one another in a circle, with few cards
account_takeover      the payout destination changes, then large sales from a new device
ghost_sellers         made-up sellers in a chain who all share one device and one card
stacking              a seller's own sales run through positions she placed below herself
rank_buying           near the period's end, purchases on her own and borrowed cards lift a volume

Honest sellers do much of this at times, at a smaller scale: :mod:`streams.demo.habits`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from streams.demo.messages import Label
from streams.demo.sellers import MARKETS, Market, Roster, Seller
from streams.demo.ways import PAYPAL, Way


@dataclass(frozen=True, slots=True)
class Sold:
    """A sale: references are tokens, ``country`` is where the buyer's card comes from."""

    seller: Seller
    sale_id: str
    amount_minor: int
    currency: str
    customer: str
    instrument: str
    device: str
    country: str


@dataclass(frozen=True, slots=True)
class Returned:
    """A whole sale comes back."""

    sale: Sold
    reason: str


@dataclass(frozen=True, slots=True)
class Moved:
    """The seller's payout destination becomes another."""

    seller: Seller
    way: Way


@dataclass(frozen=True, slots=True)
class Step:
    """What happens, and how many events after the pattern's start."""

    after: int
    action: Sold | Returned | Moved
    label: Label | None


def incident_of(sale_id: str) -> str:
    """Which incident the sale of a pattern belongs to: all of one share this name."""
    return sale_id.rpartition("-")[0]


def amount_near(market: Market, times: float) -> int:
    """``times`` the market's typical sale, as an amount one can pay there; at least one step."""
    step = market.step_minor
    return max(1, round(market.typical_minor * times / step)) * step


class Scene:
    """What patterns and habits share: their own random numbers, names of their own, the sellers."""

    def __init__(self, seed: int, number: int, roster: Roster, kind: str = "fraud") -> None:
        """Number ``number`` of its ``kind``."""
        self.rng = Random(f"{seed}:{kind}:{number}")
        self.roster = roster
        self._name = f"{'x' if kind == 'fraud' else 'h'}{seed}-{number}"
        self._count = 0
        self._at = 0

    def name(self, kind: str) -> str:
        """A reference that nobody else has."""
        self._count += 1
        return f"{kind}-{self._name}-{self._count}"

    def wait(self, least: int, most: int) -> int:
        """Let some events pass; the number of events since the pattern's start."""
        self._at += self.rng.randint(least, most)
        return self._at

    def anybody(self) -> Seller:
        """Any seller who has been there for a while and whose profile is known."""
        while True:
            seller = self.rng.choice(self.roster.settled)
            if seller.withheld_until is None:
                return seller

    def team(self, size: int) -> list[Seller]:
        """A seller and others of one team, as far as there are so many; at least her neighbours."""
        first = self.anybody()
        near = self.roster.team_of(first)
        if len(near) < 2:
            near = [one for one in self.roster.settled if one.market is first.market]
        others = [one for one in near if one is not first]
        return [first, *self.rng.sample(others, min(len(others), size - 1))]

    def sold(
        self,
        seller: Seller,
        times: float,
        *,
        customer: str | None = None,
        instrument: str | None = None,
        device: str | None = None,
        country: str | None = None,
    ) -> Sold:
        """A sale of ``times`` the usual amount; what is not given is honest-looking and new."""
        return Sold(
            seller=seller,
            sale_id=self.name("sale"),
            amount_minor=amount_near(seller.market, times),
            currency=seller.market.currency,
            customer=customer or self.name("cus"),
            instrument=instrument or self.name("ins"),
            device=device or seller.device,
            country=country or seller.market.country,
        )


def _self_purchase(own: Scene) -> Iterator[Step]:
    seller = own.anybody()
    openly = own.rng.random() < 0.5
    for _ in range(own.rng.randint(4, 9)):
        customer = seller.id if openly or own.rng.random() < 0.3 else None
        times = own.rng.uniform(1.5, 5)
        sold = own.sold(seller, times, customer=customer, instrument=seller.instrument)
        yield Step(own.wait(3, 40), sold, Label.SELF_PURCHASE)


def _stolen_card(own: Scene) -> Iterator[Step]:
    seller = own.rng.choice(own.roster.fresh)
    device = own.name("dev")
    abroad = [market.country for market in MARKETS if market is not seller.market]
    for _ in range(own.rng.randint(2, 5)):
        country = own.rng.choice(abroad) if own.rng.random() < 0.7 else None
        sold = own.sold(seller, own.rng.uniform(4, 12), device=device, country=country)
        at = own.wait(1, 8)
        yield Step(at, sold, Label.STOLEN_CARD)
        if own.rng.random() < 0.5:
            later = at + own.rng.randint(200, 1_200)
            yield Step(later, Returned(sold, "chargeback"), Label.STOLEN_CARD)


def _card_testing(own: Scene) -> Iterator[Step]:
    seller = own.anybody()
    device = own.name("dev")
    for _ in range(own.rng.randint(12, 28)):
        sold = own.sold(seller, own.rng.uniform(0.01, 0.08), device=device)
        yield Step(own.wait(0, 1), sold, Label.CARD_TESTING)


def _burst(own: Scene) -> Iterator[Step]:
    seller = own.anybody()
    times = own.rng.uniform(0.9, 2.5)
    for _ in range(own.rng.randint(10, 24)):
        sold = own.sold(seller, times * own.rng.uniform(0.97, 1.03))
        yield Step(own.wait(0, 2), sold, Label.BURST)


def _refund_after_payout(own: Scene) -> Iterator[Step]:
    seller = own.anybody()
    cards = [own.name("ins") for _ in range(2)]
    for _ in range(own.rng.randint(5, 9)):
        sold = own.sold(seller, own.rng.uniform(2.5, 7), instrument=own.rng.choice(cards))
        at = own.wait(10, 60)
        yield Step(at, sold, Label.REFUND_AFTER_PAYOUT)
        back = Returned(sold, "changed_mind")
        yield Step(at + own.rng.randint(20, 120), back, Label.REFUND_AFTER_PAYOUT)


def _ring(own: Scene) -> Iterator[Step]:
    members = own.team(own.rng.randint(3, 5))
    cards = [own.name("ins") for _ in range(2)]
    customers = [own.name("cus") for _ in members]
    for turn in range(own.rng.randint(12, 22)):
        sold = own.sold(
            members[turn % len(members)],
            own.rng.uniform(1.2, 3),
            customer=customers[(turn + 1) % len(members)],
            instrument=own.rng.choice(cards),
        )
        yield Step(own.wait(2, 25), sold, Label.RING)


def _account_takeover(own: Scene) -> Iterator[Step]:
    seller = own.anybody()
    while not seller.ways:
        seller = own.anybody()
    moved = Moved(seller, Way(PAYPAL, f"{own.name('new')}@example.net"))
    yield Step(own.wait(0, 2), moved, Label.ACCOUNT_TAKEOVER)
    device = own.name("dev")
    for _ in range(own.rng.randint(3, 5)):
        sold = own.sold(seller, own.rng.uniform(3, 9), device=device)
        yield Step(own.wait(1, 6), sold, Label.ACCOUNT_TAKEOVER)


def _ghost_sellers(own: Scene) -> Iterator[Step]:
    for _ in range(own.rng.randint(5, 10)):
        seller = own.rng.choice(own.roster.ghosts)
        sold = own.sold(seller, own.rng.uniform(1, 2.5), instrument=seller.instrument)
        yield Step(own.wait(1, 12), sold, Label.GHOST_SELLERS)


def _stacking(own: Scene) -> Iterator[Step]:
    for _ in range(own.rng.randint(6, 12)):
        seller = own.rng.choice(own.roster.stacked)
        card = seller.instrument if own.rng.random() < 0.25 else None
        sold = own.sold(seller, own.rng.uniform(0.5, 2.5), instrument=card)
        yield Step(own.wait(1, 15), sold, Label.STACKING)


def _rank_buying(own: Scene) -> Iterator[Step]:
    seller = own.anybody()
    cards = [seller.instrument, own.name("ins")]
    for _ in range(own.rng.randint(6, 12)):
        card = own.rng.choice(cards)
        herself = card == seller.instrument and own.rng.random() < 0.6
        sold = own.sold(
            seller,
            own.rng.uniform(1.5, 4),
            customer=seller.id if herself else None,
            instrument=card,
        )
        yield Step(own.wait(1, 10), sold, Label.RANK_BUYING)


_PATTERNS: dict[Label, Callable[[Scene], Iterator[Step]]] = {
    Label.SELF_PURCHASE: _self_purchase,
    Label.STOLEN_CARD: _stolen_card,
    Label.CARD_TESTING: _card_testing,
    Label.BURST: _burst,
    Label.REFUND_AFTER_PAYOUT: _refund_after_payout,
    Label.RING: _ring,
    Label.ACCOUNT_TAKEOVER: _account_takeover,
    Label.GHOST_SELLERS: _ghost_sellers,
    Label.STACKING: _stacking,
    Label.RANK_BUYING: _rank_buying,
}
if set(_PATTERNS) != set(Label):
    raise RuntimeError("every label needs a pattern")

# The small patterns come more often, so that no label drowns the others.
_DECK = (
    *_PATTERNS,
    Label.SELF_PURCHASE,
    Label.STOLEN_CARD,
    Label.STOLEN_CARD,
    Label.ACCOUNT_TAKEOVER,
    Label.ACCOUNT_TAKEOVER,
)


def patterns(seed: int, roster: Roster) -> Iterator[list[Step]]:
    """Patterns without end, each as its steps: all labels in every round, in a seeded order."""
    order = Random(f"{seed}:fraud")
    number = 0
    while True:
        for label in order.sample(_DECK, len(_DECK)):
            yield list(_PATTERNS[label](Scene(seed, number, roster)))
            number += 1
