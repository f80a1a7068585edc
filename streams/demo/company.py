"""A direct-selling company that does not exist: sellers, customers, sales, returns, some fraud.

Everything follows from the seed: same seed, same people, ids and amounts, whatever the start time
and the pace; only the times differ (``occurred_at``, ``joined_at``), and the sealing of payout
destinations, which is random by nature.

Event time is derived from ``start_ms`` and the event's number, never from the clock. Campaign
periods are days, weeks and months in each seller's zone, so a stream that ran over somebody's
midnight would grant differently from one that did not. :func:`day_window` gives a start and a pace
for which no seller's date changes from the first event to the last.
"""

from __future__ import annotations

from bisect import bisect
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import exp
from random import Random

from models.money import BASIS_POINTS
from models.refusals import Reason
from streams.demo.habits import habits
from streams.demo.messages import Clock, Kind, Label, Message
from streams.demo.patterns import Moved, Returned, Sold, Step, patterns
from streams.demo.sellers import MARKETS, Market, Seal, Seller, recruit
from streams.demo.spending import Spending, preferences
from streams.demo.spoiled import WAYS, Good
from streams.demo.ways import RAILS, Way

__all__ = ["Company", "Kind", "Label", "Message", "Seller", "day_window"]

SELLERS_MIN = 40
SEED_MAX = 2**31 - 1
FRAUD_RATE_BP_MAX = 5_000

_DAY_MS = 86_400_000
_WINDOW_FROM_MS = (8 * 60 + 5) * 60_000
_WINDOW_MS = (6 * 60 + 45) * 60_000

# Shares of what is published, cumulative. What remains to 1 is sale.completed.
_RETURNED = 0.060
_EARNED = 0.100
_REVERSED = 0.110
_REPEATED = 0.115
_BAD = 0.120
_SALES_SHARE = 0.94
_HABIT_SHARE = 0.06  # of all events belong to what honest sellers do that looks like fraud
_LATE = 0.88  # from this part of the stream on its period ends: who buys a rank does so then
_ABROAD = 0.02  # of an honest seller's customers pay with a card of another country

_EARLY_SHARE = 0.04
_EARLY_EVENTS_MAX = 40
_EARLY_WAITING_MAX = 8
_OPEN_SALES_MAX = 2_048
_RECENT_MAX = 512
_CUSTOMERS_MAX = 40
_SPREAD = 0.75


def day_window(now_ms: int, events: int) -> tuple[int, float]:
    """A start and a rate (events a second) that spread ``events`` over one day of every seller.

    The window is 08:05 to 14:50 UTC: after midnight in Los Angeles, before midnight in Tokyo. It
    is the latest that lies wholly before ``now_ms``, so that no event is of the future.
    """
    if events < 1:
        raise ValueError("a stream has at least one event")
    day_ms = (now_ms - _WINDOW_FROM_MS - _WINDOW_MS) // _DAY_MS * _DAY_MS
    return day_ms + _WINDOW_FROM_MS, events * 1000 / _WINDOW_MS


class Company:
    """A company of ``sellers`` sellers. ``fraud_rate_bp`` is the share of sales events, in basis
    points, that belong to a fraud pattern.

    ``seal`` seals payout destinations; without it no profile carries a payout preference.
    ``rails``: what the company pays over; a seller's other destinations are left out. ``spends``:
    sellers also use what is in their wallets (:mod:`streams.demo.spending`). Raises ValueError for
    a seed, a number of sellers or a rate out of bounds.
    """

    def __init__(
        self,
        seed: int,
        sellers: int = 400,
        fraud_rate_bp: int = 200,
        *,
        seal: Seal | None = None,
        rails: Collection[str] = RAILS,
        spends: bool = False,
    ) -> None:
        """Recruit the sellers."""
        if not 0 <= seed <= SEED_MAX:
            raise ValueError(f"a seed lies between 0 and {SEED_MAX}, not {seed}")
        if sellers < SELLERS_MIN:
            raise ValueError(f"a company has at least {SELLERS_MIN} sellers, not {sellers}")
        if not 0 <= fraud_rate_bp <= FRAUD_RATE_BP_MAX:
            raise ValueError(f"a fraud rate lies between 0 and {FRAUD_RATE_BP_MAX} basis points")
        self.seed = seed
        self.fraud_rate_bp = fraud_rate_bp
        self.roster = recruit(seed, sellers)
        self.sellers = self.roster.sellers
        self._seal = seal
        self._rails = frozenset(rails)
        self.spends = spends
        self.preferences = preferences(seed, self.sellers) if spends else {}
        self._sealed: dict[tuple[str, str], str] = {}

    def profiles(self, start_ms: int) -> list[Message]:
        """The profiles to publish before the events. A few are missing: they come late, among
        the events, once their sellers have sold something."""
        return [
            self.profile(seller, start_ms, start_ms)
            for seller in self.sellers
            if seller.withheld_until is None
        ]

    def events(self, n: int, *, start_ms: int, rate: float) -> Iterator[Message]:
        """``n`` source events, ``rate`` a second from ``start_ms`` on, and the late profiles among
        them, which are not counted. Each call starts anew and yields the same."""
        if rate <= 0:
            raise ValueError("a rate is positive")
        return _Run(self, n, start_ms, rate).messages()

    def profile(
        self,
        seller: Seller,
        start_ms: int,
        at_ms: int,
        *,
        moved: Way | None = None,
        label: Label | None = None,
    ) -> Message:
        """A seller's profile as of ``at_ms``; with ``moved``, after a change of destination."""
        clock = Clock()
        at = clock.text(at_ms)
        joined = clock.text(start_ms - seller.joined_days * _DAY_MS - 3_600_000)
        event_id = f"profile-{seller.id}" + (
            f"-{moved.destination.partition('@')[0]}" if moved else ""
        )
        optional = f',"sponsor_id":"{seller.sponsor_id}"' if seller.sponsor_id else ""
        if moved is None:
            optional += self._payout(seller, self.ways(seller))
        else:
            optional += self._payout(seller, (moved,), at)
        optional += self._reinvest(seller)
        value = (
            f'{{"id":"{event_id}","type":"seller.updated","version":1,"occurred_at":"{at}",'
            f'"seller_id":"{seller.id}","country":"{seller.market.country}","zone":"{seller.zone}",'
            f'"status":"{"suspended" if seller.suspended else "active"}",'
            f'"joined_at":"{joined}"{optional}}}'
        )
        return Message("sellers", seller.key, value.encode(), at_ms, label, event_id, Kind.PROFILE)

    def ways(self, seller: Seller) -> tuple[Way, ...]:
        """How the company pays a seller, in her order."""
        return tuple(way for way in seller.ways if way.rail in self._rails)

    def _payout(self, seller: Seller, ways: Sequence[Way], changed_at: str | None = None) -> str:
        """The payout preference of a profile, as JSON behind a comma; empty for none."""
        if self._seal is None or not ways:
            return ""
        first, *others = (
            f'"rail":"{way.rail}","destination":"{self._sealed_for(seller, way)}"' for way in ways
        )
        rest = ",".join(f"{{{other}}}" for other in others)
        optional = f',"others":[{rest}]' if others else ""
        optional += f',"changed_at":"{changed_at}"' if changed_at else ""
        return f',"payout":{{{first}{optional}}}'

    def _reinvest(self, seller: Seller) -> str:
        """What of her earnings becomes credit, as JSON behind a comma; empty for nothing."""
        wanted = self.preferences.get(seller.id)
        if wanted is None:
            return ""
        terms = f'{{"percent":{wanted.percent},"keep_minor":{wanted.keep_minor}}}'
        return f',"reinvest":{{"{seller.market.currency}":{terms}}}'

    def _sealed_for(self, seller: Seller, way: Way) -> str:
        # A seal differs each time; kept, so that a profile published twice has the same bytes.
        key = (seller.id, way.destination)
        if key not in self._sealed and self._seal is not None:
            self._sealed[key] = self._seal(seller.id, way.destination)
        return self._sealed[key]


@dataclass(slots=True)
class _Open:
    """Something that may still be taken back: a sale, or a commission from outside."""

    id: str
    seller: Seller
    currency: str
    left_minor: int


@dataclass(slots=True)
class _Customers:
    """A seller's customers (reference, card, device) and how many sales she made."""

    known: list[tuple[str, str, str]] = field(default_factory=list)
    sales: int = 0


@dataclass(order=True, slots=True)
class _Due:
    """A step of a pattern or habit, due once event number ``index`` is reached."""

    index: int
    order: int
    step: Step = field(compare=False)


class _Run:
    """One stream of events: everything that changes while it is generated."""

    def __init__(self, company: Company, n: int, start_ms: int, rate: float) -> None:
        self._company = company
        self._n = n
        self._start_ms = start_ms
        self._gap_ms = 1000 / rate
        self._at_ms = start_ms
        self._tag = f"{company.seed}"
        self._rng = Random(f"{company.seed}:events")
        self._clock = Clock()
        self._index = 0
        self._customers = {seller.id: _Customers() for seller in company.sellers}
        self._open_sales: list[_Open] = []
        self._open_commissions: list[_Open] = []
        self._recent: list[Message] = []
        self._bad = 0
        self._owed: deque[tuple[int, Message]] = deque()
        self._withheld = {s.id: s for s in company.sellers if s.withheld_until is not None}
        self._patterns = patterns(company.seed, company.roster)
        self._due: list[_Due] = []
        self._planned = self._fraud_planned = self._habits_planned = 0
        self._habits = habits(company.seed, company.roster)
        self._fraud_share = _SALES_SHARE * company.fraud_rate_bp / BASIS_POINTS
        self._extra: list[Message] = []
        self._spending = Spending(company.seed, company.preferences, n) if company.spends else None

    def messages(self) -> Iterator[Message]:
        """The stream."""
        gap_ms, start_ms, extra = self._gap_ms, self._start_ms, self._extra
        for index in range(self._n):
            self._index = index
            self._at_ms = start_ms + int(index * gap_ms)
            yield self._next()
            if extra:
                yield from extra
                extra.clear()
        for seller in self._withheld.values():
            yield self._company.profile(seller, self._start_ms, self._at_ms)

    def _next(self) -> Message:
        owed = self._owed
        if owed and owed[0][0] <= self._index:
            message = owed.popleft()[1]
            message.at_ms = self._at_ms
            return message
        if self._fraud_planned < self._fraud_share * self._index:
            steps = next(self._patterns)
            self._fraud_planned += len(steps)
            self._plan(steps, late=steps[0].label is Label.RANK_BUYING)
        if self._habits_planned < _HABIT_SHARE * self._index:
            late, steps = next(self._habits)
            self._habits_planned += len(steps)
            self._plan(steps, late=late)
        if self._due and self._due[0].index <= self._index:
            played = self._play()
            if played is not None:
                return played
        if self._spending is not None:
            spent = self._spending.next(self._index, self._at_ms)
            if spent is not None:
                return spent
        return self._remember(self._honest())

    def _honest(self) -> Message:
        draw = self._rng.random()
        message = None
        if draw >= _BAD:
            return self._sale()
        if draw < _RETURNED:
            message = self._return()
        elif draw < _EARNED:
            message = self._commission()
        elif draw < _REVERSED:
            message = self._reversal()
        elif self._recent:
            message = self._repeat() if draw < _REPEATED else self._spoil()
        return message or self._sale()

    def _remember(self, message: Message) -> Message:
        """Keep a few recent events, to repeat them later."""
        if message.kind is Kind.EVENT and self._index & 7 == 0:
            if len(self._recent) < _RECENT_MAX:
                self._recent.append(message)
            else:
                self._recent[(self._index >> 3) % _RECENT_MAX] = message
        return message

    # -- sales ------------------------------------------------------------------------------

    def _sale(self) -> Message:
        seller = self._seller()
        market = self._currency_market(seller)
        amount_minor = self._amount(market)
        sale_id = f"s{self._tag}-{self._index}"
        opened = _Open(sale_id, seller, market.currency, amount_minor)
        slot = self._index % _OPEN_SALES_MAX
        if slot < len(self._open_sales):
            self._open_sales[slot] = opened
        else:
            self._open_sales.append(opened)
        return self._honest_sale(opened)

    def _honest_sale(self, sale: _Open) -> Message:
        """The message of a sale to one of the seller's customers."""
        seller = sale.seller
        customers = self._customers[seller.id]
        customers.sales += 1
        if seller.withheld_until == customers.sales:
            self._release(seller)
        if self._spending is not None:
            self._spending.sold(seller, sale.currency, sale.left_minor, self._index)
        customer, instrument, device = self._customer(seller, customers)
        country = seller.market.country
        if self._rng.random() < _ABROAD:
            country = self._rng.choice(MARKETS).country
        return self._sale_message(
            Sold(
                seller,
                sale.id,
                sale.left_minor,
                sale.currency,
                customer,
                instrument,
                device,
                country,
            ),
            None,
        )

    def _sale_message(self, sold: Sold, label: Label | None) -> Message:
        at_ms = self._at_ms
        event_id = f"e{self._tag}-{sold.sale_id}"
        lines = 1 + int(self._rng.random() * 6)
        value = (
            f'{{"id":"{event_id}","type":"sale.completed","version":1,'
            f'"occurred_at":"{self._clock.text(at_ms)}","seller_id":"{sold.seller.id}",'
            f'"sale_id":"{sold.sale_id}","currency":"{sold.currency}",'
            f'"amount_minor":{sold.amount_minor},"customer_ref":"{sold.customer}",'
            f'"instrument_ref":"{sold.instrument}","device_ref":"{sold.device}",'
            f'"country":"{sold.country}","lines":{lines}}}'
        )
        return Message("sales", sold.seller.key, value.encode(), at_ms, label, event_id)

    def _seller(self) -> Seller:
        cumulative = self._company.roster.cumulative_activity
        return self._company.sellers[bisect(cumulative, self._rng.random() * cumulative[-1])]

    def _currency_market(self, seller: Seller) -> Market:
        """Where the sale's currency comes from: home, and now and then a customer abroad."""
        if self._rng.random() < 0.02:
            return self._rng.choice(MARKETS)
        return seller.market

    def _amount(self, market: Market) -> int:
        """Log-normal around the market's typical sale; one sale in a thousand is free."""
        draw = self._rng.random()
        if draw < 0.001:
            return 0
        step = market.step_minor
        times = exp(_SPREAD * self._rng.gauss(0.0, 1.0))
        return max(1, round(market.typical_minor * times / step)) * step

    def _customer(self, seller: Seller, customers: _Customers) -> tuple[str, str, str]:
        """A customer of the seller: mostly one she knows, at her till or on his own device."""
        known = customers.known
        draw = self._rng.random()
        if draw < 0.004:
            # Honest sellers also buy for themselves, or a detector would have it too easy.
            return seller.id, seller.instrument, seller.device
        if known and draw < 0.65:
            return known[int(self._rng.random() * len(known))]
        ref = f"{self._tag}-{self._index}"
        device = seller.device if draw < 0.85 else f"dev-{ref}"
        new = (f"cus-{ref}", f"ins-{ref}", device)
        if len(known) < _CUSTOMERS_MAX:
            known.append(new)
        else:
            known[self._index % _CUSTOMERS_MAX] = new
        return new

    def _release(self, seller: Seller) -> None:
        """Let a late profile come right after the sale that is being made."""
        if self._withheld.pop(seller.id, None) is not None:
            self._extra.append(self._company.profile(seller, self._start_ms, self._at_ms))

    # -- what takes back, and what comes from outside ---------------------------------------

    def _return(self) -> Message | None:
        if self._rng.random() < _EARLY_SHARE:
            return self._early_return()
        sale = self._pick(self._open_sales)
        if sale is None:
            return None
        part_minor = self._part(sale)
        return self._return_message(sale, part_minor, "not_wanted", None)

    def _early_return(self) -> Message | None:
        """A return whose sale comes up to some events later. None when it might not come."""
        last = self._n - _EARLY_EVENTS_MAX - 4 * _EARLY_WAITING_MAX
        if self._index >= last or len(self._owed) >= _EARLY_WAITING_MAX:
            return None
        seller = self._seller()
        amount_minor = max(1, self._amount(seller.market))
        sale = _Open(f"s{self._tag}-{self._index}", seller, seller.market.currency, amount_minor)
        sold = self._honest_sale(sale)
        due = self._index + self._rng.randint(1, _EARLY_EVENTS_MAX)
        # Kept in order of dueness by never being due before the one that waits longest.
        self._owed.append((max(due, self._owed[-1][0] if self._owed else 0), sold))
        return self._return_message(sale, self._part(sale), "damaged", None)

    def _return_message(
        self, sale: _Open, amount_minor: int, reason: str, label: Label | None
    ) -> Message:
        at_ms = self._at_ms
        event_id = f"e{self._tag}-r{self._index}"
        value = (
            f'{{"id":"{event_id}","type":"sale.returned","version":1,'
            f'"occurred_at":"{self._clock.text(at_ms)}","seller_id":"{sale.seller.id}",'
            f'"sale_id":"{sale.id}","currency":"{sale.currency}","amount_minor":{amount_minor},'
            f'"reason":"{reason}"}}'
        )
        return Message("sales", sale.seller.key, value.encode(), at_ms, label, event_id)

    def _pick(self, opened: list[_Open]) -> _Open | None:
        """Something with an amount left to take back, if a few tries find one."""
        for _ in range(8 if opened else 0):
            found = opened[int(self._rng.random() * len(opened))]
            if found.left_minor:
                return found
        return None

    def _part(self, opened: _Open) -> int:
        """How much of it is taken back now: all that is left, or a part."""
        left_minor = opened.left_minor
        part_minor = left_minor
        if self._rng.random() < 0.55:
            part_minor = max(1, left_minor * self._rng.randint(10, 90) // 100)
        opened.left_minor = left_minor - part_minor
        return part_minor

    def _commission(self) -> Message:
        """A commission that another plan engine computed: a bonus, about a tenth of a sale."""
        seller = self._seller()
        amount_minor = self._amount(seller.market) // 10 + 1
        opened = _Open(f"c{self._tag}-{self._index}", seller, seller.market.currency, amount_minor)
        slot = self._index % _RECENT_MAX
        if slot < len(self._open_commissions):
            self._open_commissions[slot] = opened
        else:
            self._open_commissions.append(opened)
        return self._commission_message("commission.earned", opened, amount_minor)

    def _reversal(self) -> Message | None:
        opened = self._pick(self._open_commissions)
        if opened is None:
            return None
        return self._commission_message("commission.reversed", opened, self._part(opened))

    def _commission_message(self, kind: str, opened: _Open, amount_minor: int) -> Message:
        event_id = f"e{self._tag}-c{self._index}"
        value = (
            f'{{"id":"{event_id}","type":"{kind}","version":1,'
            f'"occurred_at":"{self._clock.text(self._at_ms)}","seller_id":"{opened.seller.id}",'
            f'"commission_id":"{opened.id}","currency":"{opened.currency}",'
            f'"amount_minor":{amount_minor}}}'
        )
        return Message(
            "commissions", opened.seller.key, value.encode(), self._at_ms, None, event_id
        )

    # -- what a producer gets wrong ---------------------------------------------------------

    def _repeat(self) -> Message:
        first = self._rng.choice(self._recent)
        return Message(
            first.topic, first.key, first.value, self._at_ms, first.label, first.id, Kind.REPEAT
        )

    def _spoil(self) -> Message:
        """A bad message; the ways take turns, so that a short stream has them all."""
        way = self._bad % (len(WAYS) + 1)
        self._bad += 1
        if way == len(WAYS):
            return self._other_body()
        seller = self._seller()
        reason, spoil = WAYS[way]
        event_id = f"e{self._tag}-b{self._index}"
        good = Good(
            id=event_id,
            seller_id=seller.id,
            occurred_at=self._clock.text(self._at_ms),
            currency=seller.market.currency,
            amount_minor=self._amount(seller.market),
        )
        return Message(
            "sales", seller.key, spoil(good), self._at_ms, None, event_id, Kind.BAD, reason
        )

    def _other_body(self) -> Message:
        """An earlier event's id with another body."""
        first = self._rng.choice(self._recent)
        value = first.value.replace(b'"amount_minor":', b'"amount_minor":1', 1)
        return Message(
            first.topic, first.key, value, self._at_ms, None, first.id, Kind.BAD, Reason.ID_REUSED
        )

    # -- patterns and habits ----------------------------------------------------------------

    def _plan(self, steps: Sequence[Step], *, late: bool) -> None:
        """Put steps among the events to come; ``late`` ones near the stream's end."""
        start = (
            max(self._index, int(self._n * self._rng.uniform(_LATE, 1))) if late else self._index
        )
        for step in steps:
            heappush(self._due, _Due(start + step.after, self._planned, step))
            self._planned += 1

    def _play(self) -> Message | None:
        """The next step as a message. A changed profile comes beside the event: None."""
        step = heappop(self._due).step
        action = step.action
        if isinstance(action, Moved):
            moved = self._company.profile(
                action.seller, self._start_ms, self._at_ms, moved=action.way, label=step.label
            )
            self._extra.append(moved)
            return None
        if isinstance(action, Returned):
            sale = action.sale
            taken = _Open(sale.sale_id, sale.seller, sale.currency, 0)
            return self._return_message(taken, sale.amount_minor, action.reason, step.label)
        return self._played_sale(action, step.label)

    def _played_sale(self, sold: Sold, label: Label | None) -> Message:
        customers = self._customers[sold.seller.id]
        customers.sales += 1
        if sold.seller.withheld_until == customers.sales:
            self._release(sold.seller)
        return self._sale_message(sold, label)
