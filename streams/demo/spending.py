"""What sellers of the simulated company do with what is in their wallets.

Some buy from the company: a till authorises a purchase, captures it whole, in parts or short of
what it asked for, voids it, or forgets it; some of it is refunded. Some turn earnings into credit,
by a standing preference or once; some exchange earnings that no rail carries, at the rates that the
treasury tells. They ask for what a wallet is sure to hold by then: what they sold
before, as the packaged plan and campaigns pay it at the least. Now and then it is not there after
all, and the till is told so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from json import dumps
from random import Random
from typing import Any, NamedTuple

from models.fx import pair
from streams.demo.messages import Clock, Kind, Message
from streams.demo.sellers import Seller
from streams.demo.treasury import GOOD_FOR_MS, RATES, rate_now, roughly

UNCARRIED = frozenset(source for source, _ in RATES)
"""Currencies that no rail of the company's policy carries: what is earned in them stays there."""

_BEGUN = 0.025
"""How often somebody begins something, a chance for each event."""

_RIPE_EVENTS_MAX = 600
"""Events between a sale and the use of what it brought: by then it is booked, if no worker died."""

_RIPE_SHARE = 4
"""In a short stream it is a quarter of it, so that there is something to use."""

_FIRST_CREDIT_PERCENT = 14
"""What a first sale brings as credit, at least, of a typical sale of the market."""

_EARNED_PERCENT = 10
"""What of a sale is left as earnings, at least: plan's share less returns, holds and debts."""

_PERCENTS = (10, 20, 25, 50, 100)
"""Of each earning, what sellers with a preference reinvest."""

_RATES_EVENTS = 1_000
"""Events between two rates of a pair."""

_TRIES_MAX = 12


class Preference(NamedTuple):
    """What is reinvested of each earning: a percentage, as long as an amount stays available."""

    percent: int
    keep_minor: int


def preferences(seed: int, sellers: Sequence[Seller]) -> dict[str, Preference]:
    """Who reinvests a share of what she earns, by her id: about one in eight."""
    rng = Random(f"{seed}:reinvest")
    wanted = {}
    for seller in sellers:
        if rng.random() < 0.125:
            keep_minor = rng.choice((0, 0, seller.market.typical_minor // 5))
            wanted[seller.id] = Preference(rng.choice(_PERCENTS), keep_minor)
    return wanted


@dataclass(slots=True)
class _Purse:
    """What a seller's wallet is sure to hold, in minor units of her market's currency."""

    seller: Seller
    ripe_at: int
    credit_minor: int
    available_minor: int = 0

    @property
    def minor(self) -> int:
        """What a purchase can take."""
        return self.credit_minor + self.available_minor


class _Step(NamedTuple):
    """A message, due so many events later. ``again``: it is sent twice."""

    after: int
    type: str
    fields: dict[str, Any]
    again: bool = False


@dataclass(order=True, slots=True)
class _Due:
    index: int
    order: int
    who: str = field(compare=False)
    step: _Step = field(compare=False)
    repeat: Message | None = field(compare=False, default=None)


class Spending:
    """What is done with the wallets of one stream of events; the same for the same seed."""

    def __init__(self, seed: int, wanted: Mapping[str, Preference], events: int) -> None:
        """``wanted``: the standing preferences; ``events``: how many there will be in all."""
        self.ripe_events = min(_RIPE_EVENTS_MAX, events // _RIPE_SHARE)
        self._rng = Random(f"{seed}:spending")
        self._tag = f"{seed}"
        self._wanted = wanted
        self._clock = Clock()
        self._purses: dict[str, _Purse] = {}
        self._due: list[_Due] = []
        self._order = 0
        self._deck: deque[_Doing] = deque()
        for at in range(0, events, _RATES_EVENTS):
            for currencies in RATES:
                step = _Step(0, "rate.quoted", rate_now(self._rng, currencies))
                self._put(at, pair(*currencies), step)

    def sold(self, seller: Seller, currency: str, amount_minor: int, index: int) -> None:
        """A seller made a sale: it is event number ``index``."""
        market = seller.market
        if seller.suspended or seller.withheld_until or currency != market.currency:
            return
        purse = self._purses.get(seller.id)
        if purse is None:
            credit_minor = market.typical_minor * _FIRST_CREDIT_PERCENT // 100
            purse = _Purse(seller, index + self.ripe_events, credit_minor)
            self._purses[seller.id] = purse
        share_minor = amount_minor * _EARNED_PERCENT // 100
        wanted = self._wanted.get(seller.id)
        if wanted is None and (not seller.ways or currency in UNCARRIED):
            purse.available_minor += share_minor

    def next(self, index: int, at_ms: int) -> Message | None:
        """What somebody does with her wallet at event number ``index``, if anything."""
        if self._rng.random() < _BEGUN:
            self._begin(index)
        if self._due and self._due[0].index <= index:
            return self._play(index, at_ms)
        return None

    def _begin(self, index: int) -> None:
        """Let one of the next doings begin that somebody can do."""
        for _ in range(_TRIES_MAX):
            if not self._deck:
                self._deck.extend(self._rng.sample(_DECK, len(_DECK)))
            doing = self._deck.popleft()
            purse = self._pick(index, doing)
            if purse is None:
                continue
            for step in doing.steps(self, purse, index):
                self._put(index + step.after, purse.seller.id, step)
            return

    def _pick(self, index: int, doing: _Doing) -> _Purse | None:
        """Somebody who can do it."""
        able = [purse for purse in self._purses.values() if doing.fits(purse, index)]
        return self._rng.choice(able) if able else None

    def _put(self, index: int, who: str, step: _Step, repeat: Message | None = None) -> None:
        self._order += 1
        heappush(self._due, _Due(index, self._order, who, step, repeat))

    def _play(self, index: int, at_ms: int) -> Message:
        due = heappop(self._due)
        who, step = due.who, due.step
        if due.repeat is not None:
            first = due.repeat
            return Message(
                first.topic, first.key, first.value, at_ms, None, first.id, Kind.REPEAT
            )  # fmt: skip
        event_id = f"e{self._tag}-w{index}"
        body = {
            "id": event_id,
            "type": step.type,
            "version": 1,
            "occurred_at": self._clock.text(at_ms),
            "seller_id": who,
            **step.fields,
        }
        topic = "redemptions"
        if step.type == "rate.quoted":
            topic = "rates"
            body["expires_at"] = self._clock.text(at_ms + GOOD_FOR_MS)
        value = dumps(body, separators=(",", ":")).encode()
        message = Message(topic, who.encode(), value, at_ms, None, event_id)
        if step.again:
            self._put(index + self.between(1, 10), who, step, message)
        return message

    # -- for the doings ---------------------------------------------------------------------

    def between(self, least: int, most: int) -> int:
        """A whole number from ``least`` to ``most``."""
        return self._rng.randint(least, most)

    def pick(self, among: Sequence[str]) -> str:
        """One of some."""
        return self._rng.choice(among)

    def name(self, kind: str, index: int) -> str:
        """An id that nothing else has."""
        return f"{kind}{self._tag}-{index}"

    def take(self, purse: _Purse) -> int:
        """Take of a purse what a purchase comes to: an amount that one can pay there."""
        step = purse.seller.market.step_minor
        share_minor = purse.minor * self.between(40, 90) // 100
        minor = max(step, share_minor // step * step)
        of_credit = min(minor, purse.credit_minor)
        purse.credit_minor -= of_credit
        purse.available_minor -= minor - of_credit
        return minor


class _Doing(NamedTuple):
    """Something that a seller does. ``of_available``: with earnings that are still there."""

    steps: Callable[[Spending, _Purse, int], Iterator[_Step]]
    of_available: bool = False
    uncarried: bool = False
    """Whether it is for earnings that no rail carries."""

    def fits(self, purse: _Purse, index: int) -> bool:
        """Whether a seller can do it at event number ``index``."""
        market = purse.seller.market
        found = purse.available_minor if self.of_available else purse.minor
        enough = purse.ripe_at <= index and found >= market.typical_minor // 20
        return enough and (market.currency in UNCARRIED or not self.uncarried)


class _Sale(NamedTuple):
    """A purchase under way: what its messages have in common."""

    purchase: dict[str, Any]
    currency: str

    def step(self, after: int, verb: str, minor: int = 0, **fields: Any) -> _Step:
        """A message about it; an amount of 0 is left out."""
        amount = {"currency": self.currency, "amount_minor": minor} if minor else {}
        again = fields.pop("again", False)
        return _Step(after, f"purchase.{verb}", {**self.purchase, **amount, **fields}, again)


def _asked(own: Spending, purse: _Purse, index: int) -> _Sale:
    return _Sale(
        {"authorisation_id": own.name("a", index)},
        purse.seller.market.currency,
    )


def _bought(own: Spending, purse: _Purse, index: int) -> Iterator[_Step]:
    """Paid in one go, as at most tills; the till repeats itself now and then."""
    sale, minor = _asked(own, purse, index), own.take(purse)
    again = own.between(0, 3) == 0
    yield sale.step(0, "authorised", minor, order_ref=own.name("o", index), again=again)
    yield sale.step(own.between(5, 40), "captured", minor, again=again)


def _in_parts(own: Spending, purse: _Purse, index: int) -> Iterator[_Step]:
    """Shipped in two parcels, each paid when it goes."""
    sale, minor = _asked(own, purse, index), own.take(purse)
    first_minor = max(1, minor * own.between(30, 70) // 100)
    yield sale.step(0, "authorised", minor)
    yield sale.step(own.between(5, 30), "captured", first_minor)
    if minor > first_minor:
        yield sale.step(own.between(40, 90), "captured", minor - first_minor)


def _short(own: Spending, purse: _Purse, index: int) -> Iterator[_Step]:
    """Something was out of stock: the till captures less, and releases the rest."""
    sale, minor = _asked(own, purse, index), own.take(purse)
    yield sale.step(0, "authorised", minor)
    captured_minor = max(1, minor * own.between(40, 80) // 100)
    yield sale.step(own.between(5, 40), "captured", captured_minor, final=True)


def _refunded(own: Spending, purse: _Purse, index: int) -> Iterator[_Step]:
    """Captured in part, and a part of that comes back; the rest is not needed."""
    sale, minor = _asked(own, purse, index), own.take(purse)
    captured_minor = max(1, minor * own.between(50, 100) // 100)
    yield sale.step(0, "authorised", minor)
    yield sale.step(own.between(5, 30), "captured", captured_minor)
    if captured_minor < minor:
        yield sale.step(own.between(35, 45), "voided")
    back_minor = max(1, captured_minor * own.between(20, 100) // 100)
    yield sale.step(own.between(50, 120), "refunded", back_minor)


def _voided(own: Spending, purse: _Purse, index: int) -> Iterator[_Step]:
    """She changed her mind at the till."""
    sale, minor = _asked(own, purse, index), own.take(purse)
    yield sale.step(0, "authorised", minor)
    yield sale.step(own.between(5, 60), "voided")


def _forgotten(own: Spending, purse: _Purse, index: int) -> Iterator[_Step]:
    """The till never came back to it: it ends when its time is over."""
    sale, minor = _asked(own, purse, index), own.take(purse)
    yield sale.step(0, "authorised", minor)


def _as_far_as_it_goes(own: Spending, purse: _Purse, index: int) -> Iterator[_Step]:
    """A dear thing, paid from the wallet as far as that goes, and the rest in cash."""
    sale, minor = _asked(own, purse, index), own.take(purse)
    dear_minor = purse.seller.market.typical_minor * own.between(8, 20)
    purse.credit_minor = purse.available_minor = 0
    yield sale.step(0, "authorised", dear_minor, partial=True)
    yield sale.step(own.between(5, 40), "captured", minor, final=True)


def _reinvested(own: Spending, purse: _Purse, index: int) -> Iterator[_Step]:
    """An amount of what is available becomes credit, or all of it."""
    fields: dict[str, Any] = {"currency": purse.seller.market.currency}
    minor = purse.available_minor
    if own.between(0, 2):
        minor = max(1, minor * own.between(30, 80) // 100)
        fields["amount_minor"] = minor
    purse.available_minor -= minor
    purse.credit_minor += minor
    purse.ripe_at = index + own.ripe_events
    yield _Step(0, "earnings.reinvested", fields)


def _quoted(own: Spending, purse: _Purse, index: int) -> Iterator[_Step]:
    """She asks what her earnings are worth in dollars or euros, and lets it be."""
    source = purse.seller.market.currency
    target = own.pick([target for of, target in RATES if of == source])
    minor = max(1, purse.available_minor * own.between(30, 90) // 100)
    purse.available_minor -= minor
    asked = {"source_minor": minor}
    if own.between(0, 2) == 0:
        # What is bought is fixed: markup and the rate's moves come on top of what is sold.
        asked = {"target_minor": roughly(minor, (source, target), 90)}
    currencies = {"source_currency": source, "target_currency": target}
    quote_id = own.name("q", index)
    yield _Step(0, "conversion.quoted", {"quote_id": quote_id, **currencies, **asked})


def _converted(own: Spending, purse: _Purse, index: int) -> Iterator[_Step]:
    """The same, and takes it; what she gets goes out to her."""
    for quoted in _quoted(own, purse, index):
        yield quoted
        quote = {"quote_id": quoted.fields["quote_id"]}
        yield _Step(own.between(3, 15), "conversion.made", quote)


_DECK = (
    *[_Doing(_bought)] * 3,
    _Doing(_bought, of_available=True),
    _Doing(_in_parts),
    _Doing(_refunded),
    _Doing(_short),
    _Doing(_voided),
    _Doing(_forgotten),
    _Doing(_as_far_as_it_goes),
    *[_Doing(_reinvested, of_available=True)] * 2,
    *[_Doing(_converted, of_available=True, uncarried=True)] * 3,
    _Doing(_quoted, of_available=True, uncarried=True),
)
