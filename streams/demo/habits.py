"""Habits: what honest sellers do that looks a little like fraud, as steps without a label.

A pattern that a single threshold finds teaches nothing, so honest sellers have them at times too:

own_order       she orders for herself, as her own customer, sometimes several times
moving          she moves to another bank; now and then she also has a new telephone
busy_hour       a party or a market: many sales within moments, some of one price, some strangers
fair            a few of one team sell at one borrowed till
household       a couple or friends pay with one card at several sellers, under two names
wholesale       a shop takes large amounts again and again, and sends some of it back
big_start       a new seller begins with a party: large first sales, guests from abroad among them
small_change    samples for next to nothing, one after another at one till
month_end       friends and she herself buy to help her over a threshold, within reason
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from streams.demo.patterns import Moved, Returned, Scene, Step
from streams.demo.sellers import MARKETS, Roster
from streams.demo.ways import PAYPAL, Way

Habit = Callable[[Scene], Iterator[Step]]


def _guest(own: Scene, known: list[tuple[str, str]]) -> tuple[str, str]:
    """A customer and card: one who was there before, or somebody new."""
    if known and own.rng.random() < 0.4:
        return own.rng.choice(known)
    known.append((own.name("cus"), own.name("ins")))
    return known[-1]


def _times(own: Scene) -> float:
    """How much of the usual amount an ordinary sale comes to."""
    return min(6.0, own.rng.lognormvariate(0.0, 0.6))


def _own_order(own: Scene) -> Iterator[Step]:
    seller = own.anybody()
    for _ in range(own.rng.choice((1, 1, 1, 2, 3))):
        times = own.rng.uniform(0.2, 1.6)
        sold = own.sold(seller, times, customer=seller.id, instrument=seller.instrument)
        yield Step(own.wait(20, 400), sold, None)


def _moving(own: Scene) -> Iterator[Step]:
    seller = own.anybody()
    while not seller.ways:
        seller = own.anybody()
    yield Step(0, Moved(seller, Way(PAYPAL, f"{own.name('new')}@example.net")), None)
    device = own.name("dev") if own.rng.random() < 0.3 else None
    for _ in range(own.rng.randint(1, 4)):
        yield Step(own.wait(1, 200), own.sold(seller, _times(own), device=device), None)


def _busy_hour(own: Scene) -> Iterator[Step]:
    seller = own.anybody()
    price = own.rng.uniform(0.5, 1.5) if own.rng.random() < 0.3 else None
    known: list[tuple[str, str]] = []
    for _ in range(own.rng.randint(4, 14)):
        customer, card = _guest(own, known)
        times = price if price and own.rng.random() < 0.5 else _times(own)
        sold = own.sold(seller, times, customer=customer, instrument=card)
        yield Step(own.wait(0, 8), sold, None)


def _fair(own: Scene) -> Iterator[Step]:
    members = own.team(own.rng.randint(2, 4))
    till = own.rng.choice((members[0].device, own.name("dev")))
    known: list[tuple[str, str]] = []
    for _ in range(own.rng.randint(6, 16)):
        customer, card = _guest(own, known)
        seller = own.rng.choice(members)
        sold = own.sold(seller, _times(own), customer=customer, instrument=card, device=till)
        yield Step(own.wait(0, 15), sold, None)


def _household(own: Scene) -> Iterator[Step]:
    members = own.team(own.rng.choice((1, 2, 2, 3)))
    card = own.name("ins")
    names = [own.name("cus") for _ in range(2)]
    for _ in range(own.rng.randint(3, 7)):
        seller = own.rng.choice(members)
        sold = own.sold(seller, _times(own), customer=own.rng.choice(names), instrument=card)
        yield Step(own.wait(20, 400), sold, None)


def _wholesale(own: Scene) -> Iterator[Step]:
    seller = own.anybody()
    customer, card = own.name("cus"), own.name("ins")
    for _ in range(own.rng.randint(3, 8)):
        sold = own.sold(seller, own.rng.uniform(2, 6), customer=customer, instrument=card)
        at = own.wait(20, 300)
        yield Step(at, sold, None)
        if own.rng.random() < 0.12:
            yield Step(at + own.rng.randint(50, 400), Returned(sold, "not_wanted"), None)


def _big_start(own: Scene) -> Iterator[Step]:
    seller = own.rng.choice(own.roster.fresh)
    for _ in range(own.rng.randint(2, 6)):
        abroad = own.rng.random() < 0.15
        country = own.rng.choice(MARKETS).country if abroad else None
        sold = own.sold(seller, min(8.0, 1.5 * _times(own)), country=country)
        yield Step(own.wait(2, 60), sold, None)


def _small_change(own: Scene) -> Iterator[Step]:
    seller = own.anybody()
    known: list[tuple[str, str]] = []
    for _ in range(own.rng.randint(2, 6)):
        customer, card = _guest(own, known)
        times = own.rng.uniform(0.02, 0.2)
        sold = own.sold(seller, times, customer=customer, instrument=card)
        yield Step(own.wait(1, 20), sold, None)


def _month_end(own: Scene) -> Iterator[Step]:
    seller = own.anybody()
    for _ in range(own.rng.randint(2, 5)):
        herself = own.rng.random() < 0.3
        sold = own.sold(
            seller,
            own.rng.uniform(0.5, 2),
            customer=seller.id if herself else None,
            instrument=seller.instrument if herself else None,
        )
        yield Step(own.wait(2, 40), sold, None)


HABITS: tuple[Habit, ...] = (
    _own_order,
    _own_order,
    _own_order,
    _moving,
    _moving,
    _busy_hour,
    _fair,
    _household,
    _household,
    _wholesale,
    _big_start,
    _big_start,
    _small_change,
    _month_end,
)
"""How often each comes in a round."""

LATE: tuple[Habit, ...] = (_month_end,)
"""Habits of a period's end."""


def habits(seed: int, roster: Roster) -> Iterator[tuple[bool, list[Step]]]:
    """Habits without end, each as whether it belongs to a period's end, and its steps."""
    order = Random(f"{seed}:habits")
    number = 0
    while True:
        for habit in order.sample(HABITS, len(HABITS)):
            yield habit in LATE, list(habit(Scene(seed, number, roster, "habit")))
            number += 1
