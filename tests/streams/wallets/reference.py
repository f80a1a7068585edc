"""A second ledger, slow and plain, written from the rules and not from the Lua.

It keeps every fact and works balances out again from all of them; there is no cleverness to share
mistakes with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor

from models.ids import derived

NEVER = 2**60
"""When a lot expires that never does."""
NO_TIER = -1
"""The tier of what no campaign granted."""
DAY_MS = 86_400_000

FEE_FIXED, FEE_BP, FEE_CAP, PAY_MIN, PAY_MAX = 10, 100, 100, 500, 500_000

DOLLARS = Fraction(10_842, 10_000)
"""What a euro is worth at mid."""
MARKUP = Fraction(1, 100)

PAID = {"settled", "delivered"}
ENDED = {"settled", "delivered", "returned", "cancelled", "failed"}
AFTER = {
    "reserved": {"submitted", "cancelled"},
    "submitted": {"accepted", "settled", "unknown", "unclaimed", "failed", "returned", "cancelled",
                  "delivered"},
    "unknown": {"accepted", "settled", "delivered", "unclaimed", "failed", "returned", "cancelled"},
    "accepted": {"settled", "delivered", "unclaimed", "failed", "returned", "cancelled"},
    "unclaimed": {"settled", "delivered", "returned", "cancelled", "failed"},
    "settled": {"delivered", "returned"},
    "delivered": {"returned"},
}  # fmt: skip


def half_even(value: Fraction) -> int:
    """To the nearest integer, a half to the even one: what ``round`` does with fractions."""
    return round(value)


def fee(principal: int) -> int:
    """What a payout costs its seller."""
    return min(FEE_FIXED + principal * FEE_BP // 10_000, FEE_CAP)


def most_payable(balance: int) -> int:
    """The largest principal that a balance pays together with its fee; found by trying."""
    principal = min(balance, PAY_MAX)
    while principal > 0 and principal + fee(principal) > balance:
        principal -= 1
    return principal


@dataclass
class Sale:
    """What was earned, and what of it came back."""

    base: int
    amount: int
    tier: str
    returned: int = 0
    reversed: int = 0
    held: int = 0
    worked: int = 0
    """What of it has paid debt."""
    occurred: int = 0
    counts: bool = False
    shown: int = 0
    """What of the returned counts: less than that while the profile is awaited."""
    kept: list[Kept] = field(default_factory=list)
    """What of it was reinvested: each time when a part of it became available."""
    pending: int = 0
    """What of it is released later."""
    earned: int = 0
    """Of what is pending: by the whole earning, less what came back of it meanwhile."""
    paid: int = 0
    """Of what is pending: what of the earning had paid debt before."""


@dataclass
class Kept:
    """A part of a sale's earning that was reinvested."""

    reinvested: int
    bonus: int
    bonus_lot: str
    due: int = 0
    """How much of what was reinvested is taken back, spent or not."""
    undone: int = 0


@dataclass
class Lot:
    """Credit of one grant."""

    id: str
    left: int
    expires: int
    tier: int = 0
    first: int = 0
    """When it was to expire before any grace."""


@dataclass
class Taken:
    """A part of a purchase: from a lot, or from what is available."""

    lot: Lot | None
    amount: int
    captured: int = 0
    refunded: int = 0
    released: int = 0

    @property
    def open(self) -> int:
        """What may still be captured."""
        return self.amount - self.captured - self.released


@dataclass
class Purchase:
    """What a till has authorised."""

    takes: list[Taken]
    expires: int
    ended: str = ""

    @property
    def open(self) -> int:
        """What may still be captured."""
        return sum(taken.open for taken in self.takes)


@dataclass
class Wants:
    """What is to be reinvested of each earning, and the policy's bonus on it."""

    percent: int
    keep: int
    bonus: int
    days: int


@dataclass
class Quote:
    """Money set aside to be exchanged."""

    source: str
    sold: int
    bought: int
    expires: int
    ended: str = ""


@dataclass
class Payout:
    """Money on its way."""

    principal: int
    fee: int
    state: str = "reserved"
    said: tuple[str, str] | None = None
    """As what a person resolved it, and who."""


@dataclass
class Ledger:
    """One seller, one currency, one campaign of sales volume with fixed credits."""

    steps: list[tuple[int, int, int]]
    """Tier, threshold, credit."""
    life: int
    available: int = 0
    held: int = 0
    in_flight: int = 0
    debt: int = 0
    known: bool = True
    """Whether the profile is there."""
    sales: dict[str, Sale] = field(default_factory=dict)
    waiting: list[tuple[str, int | None]] = field(default_factory=list)
    """Sales, and parts of them that came back, in their order, until the profile comes."""
    early: dict[str, list[int]] = field(default_factory=dict)
    payouts: list[Payout] = field(default_factory=list)
    lots: list[Lot] = field(default_factory=list)
    fired: dict[int, Lot] = field(default_factory=dict)
    given: dict[int, int] = field(default_factory=dict)
    """What a threshold that is fired has given in all."""
    purchases: dict[str, Purchase] = field(default_factory=dict)
    used: dict[int, int] = field(default_factory=dict)
    """What was used of it when it was undone."""
    dollars: int = 0
    """What of the second currency is available."""
    quotes: dict[str, Quote] = field(default_factory=dict)
    share_bp: int = 10_000
    """How much of each earning pays debt, in basis points."""
    spent_is_debt: bool = False
    """Whether spent credit of a grant that is undone is owed; else it is forgiven."""
    spent: dict[int, dict[str, int]] = field(default_factory=dict)
    """Per threshold that is fired: by lot, what of its grants stands as spent."""
    owed: dict[str, int] = field(default_factory=dict)
    """By lot: what of it was spent, and is owed since its grant was undone."""
    forgiven: dict[str, int] = field(default_factory=dict)
    """By lot: the same that is not owed."""

    def balances(self) -> tuple[int, ...]:
        """available, held, in_flight, credit, debt."""
        credit = sum(lot.left for lot in self.lots)
        return (self.available, self.held, self.in_flight, credit, -self.debt)

    def gain(self, amount: int) -> int:
        """Debt is paid first; what is left over."""
        paid = min(self.debt, amount)
        self.debt -= paid
        return amount - paid

    def earn(self, earned: int, there: int, before: int) -> int:
        """Of an earning, a share pays debt, `before` of it when it came; what is left over."""
        share = max(earned * self.share_bp // 10_000 - before, 0)
        paid = min(self.debt, there, share)
        self.debt -= paid
        return there - paid

    def lose(self, sale: Sale | None, amount: int) -> None:
        """Held of the same sale, then available, then debt."""
        if sale is not None:
            part = min(sale.held, amount)
            sale.held -= part
            self.held -= part
            amount -= part
            part = min(sale.pending, amount)
            sale.pending -= part
            sale.earned -= part
            amount -= part
            for kept in reversed(sale.kept):  # what was kept last first
                amount -= self.give_up(kept, amount)
        part = min(self.available, amount)
        self.available -= part
        self.debt += amount - part

    def sell(  # noqa: PLR0917 - a sale
        self, cause: str, name: str, base: int, amount: int, tier: str, now: int, *, pay: bool,
        wants: Wants | None = None, schedule: tuple[int, int] | None = None, share: int = 10_000,
    ) -> str:  # fmt: skip
        """A sale. ``schedule``: basis points that are pending, and until when. ``share``: of a
        partial one, basis points that are not held."""
        if name in self.sales:
            return "refused:sale_reused"
        comes = tier in {"instant", "partial"} and self.known
        sale = self.sales[name] = Sale(base, amount, tier, occurred=now)
        kept = self.earn(amount, amount, 0)
        if comes:
            sale.held = kept - kept * share // 10_000
            self.held += sale.held
            self.available += kept - sale.held
        else:
            sale.held = kept
            sale.worked = amount - kept
            self.held += kept
        for part in self.early.pop(name, []):
            if sale.returned + part <= base:
                self._bring_back(sale, part)
        sale.shown = sale.returned
        if comes:
            gained = kept - sale.reversed - sale.held
            sale.worked = amount - kept
            gained -= self.hold_back(sale, gained, schedule, now)
            self.keep_some(sale, gained, wants, now)
        if self.known:
            sale.counts = tier != "reject"
            self.recount(cause, now)
            if pay and comes:
                self.pay()
        elif tier != "reject":
            self.waiting.append((name, None))
        return "booked"

    def bring_back(self, name: str, part: int) -> str:
        """A return."""
        sale = self.sales.get(name)
        if sale is None:
            if len(self.early.get(name, [])) >= 20:
                return "refused:too_many_waiting"
            self.early.setdefault(name, []).append(part)
            return "parked"
        if sale.returned + part > sale.base:
            return "refused:return_exceeds_sale"
        self._bring_back(sale, part)
        if self.known:
            sale.shown += part
            self.recount()
        else:
            self.waiting.append((name, part))
        return "booked"

    def _bring_back(self, sale: Sale, part: int) -> None:
        sale.returned += part
        should = half_even(Fraction(sale.amount * sale.returned, sale.base))
        self.lose(sale, should - sale.reversed)
        sale.reversed = should

    def take(self, amount: int) -> str:
        """A return without a receipt, outside of campaigns."""
        self.lose(None, amount)
        return "booked"

    # Releases

    def pending(self) -> int:
        """What is released later of all sales."""
        return sum(sale.pending for sale in self.sales.values())

    def hold_back(self, sale: Sale, gained: int, schedule: tuple[int, int] | None, now: int) -> int:
        """A share of the whole earning, less what came back of it, is pending."""
        if schedule is None or schedule[1] <= now:
            return 0
        share = half_even(Fraction(sale.amount * schedule[0], 10_000)) - sale.reversed
        sale.pending = max(0, min(share, gained))
        sale.earned, sale.paid = sale.amount - sale.reversed, sale.worked
        self.available -= sale.pending
        return sale.pending

    def release(self, name: str, wants: Wants | None, now: int, *, pay: bool) -> None:
        """The time of what is pending of a sale has come."""
        sale = self.sales[name]
        kept = self.earn(sale.earned, sale.pending, sale.paid)
        sale.pending = 0
        self.available += kept
        self.keep_some(sale, kept, wants, now)
        if pay:
            self.pay()

    # Reinvesting

    def keep_some(self, sale: Sale, gained: int, wants: Wants | None, now: int) -> None:
        """A share of what was gained becomes credit."""
        if wants is None or gained <= 0:
            return
        share = half_even(Fraction(gained * wants.percent, 100))
        share = min(share, self.available - wants.keep)
        if share > 0:
            sale.kept.append(Kept(share, *self.convert(share, wants, now)))

    def convert(self, minor: int, wants: Wants, now: int) -> tuple[int, str]:
        """What is available becomes credit, and the house adds to it."""
        self.available -= minor
        self._lot("reinvested.EUR", NEVER).left += minor
        bonus = minor * wants.bonus // 10_000
        day = now // DAY_MS + wants.days + 1
        name, expires = f"reinvest-bonus.EUR.{day}", day * DAY_MS
        if not wants.days:
            name, expires = "reinvest-bonus.EUR", NEVER
        if bonus:
            self._lot(name, expires).left += bonus
        return bonus, name

    def _lot(self, name: str, expires: int) -> Lot:
        for lot in self.lots:
            if lot.id == name:
                return lot
        self.lots.append(Lot(name, 0, expires, NO_TIER, expires))
        return self.lots[-1]

    def give_up(self, kept: Kept, minor: int) -> int:
        """A return takes what was reinvested, as far as it is unspent, and the bonus with it."""
        due = min(minor, kept.reinvested - kept.due)
        kept.due += due
        if kept.bonus:
            undone = half_even(Fraction(kept.bonus * kept.due, kept.reinvested))
            bonus = self._lot(kept.bonus_lot, NEVER)
            bonus.left -= min(bonus.left, undone - kept.undone)
            kept.undone = undone
        own = self._lot("reinvested.EUR", NEVER)
        taken = min(own.left, due)
        own.left -= taken
        return taken

    def reinvest(self, amount: int | None, wants: Wants, now: int) -> str:
        """She asks for it once."""
        if not self.known:
            return "refused:unknown_seller"
        minor = self.available if amount is None else amount
        if not minor:
            return "refused:nothing_available"
        if minor > self.available:
            return "refused:insufficient_funds"
        self.convert(minor, wants, now)
        return "booked"

    def meet(
        self,
        cause: str,
        wants: Wants | None = None,
        now: int = 0,
        schedule: tuple[int, int] | None = None,
    ) -> None:
        """The profile comes: what waited takes effect, in its order."""
        self.known = True
        for name, part in self.waiting:
            sale = self.sales[name]
            if part is not None:
                sale.shown += part
                self.recount()
                continue
            if sale.tier == "instant":
                self.set_free(sale, wants, now, schedule)
            sale.counts = True
            self.recount(f"{cause}/s:{name}", sale.occurred)

    def clear(
        self, name: str, wants: Wants, now: int, schedule: tuple[int, int] | None, *, pay: bool
    ) -> str:
        """A label says that a sale is genuine. What waits for the profile waits on."""
        sale = self.sales[name]
        held, sale.tier = sale.tier != "instant", "instant"
        if self.known and held:
            self.set_free(sale, wants, now, schedule)
            if pay:
                self.pay()
        return "booked"

    def set_free(
        self, sale: Sale, wants: Wants | None, now: int, schedule: tuple[int, int] | None
    ) -> None:
        """What is held goes on as what was never held; a sale has one part that is pending."""
        self.held -= sale.held
        kept = self.earn(sale.amount - sale.reversed, sale.held, sale.worked)
        self.available += kept
        sale.worked += sale.held - kept
        sale.held = 0
        if not sale.pending:
            kept -= self.hold_back(sale, kept, schedule, now)
        self.keep_some(sale, kept, wants, now)

    def pay(self) -> None:
        """Reserve what is available, if it is enough."""
        if self.available < PAY_MIN:
            return
        principal = most_payable(self.available)
        if principal < PAY_MIN:
            return
        self.payouts.append(Payout(principal, fee(principal)))
        self.available -= principal + fee(principal)
        self.in_flight += principal + fee(principal)

    def move(self, number: int, state: str) -> str:
        """A payout goes to a state."""
        payout = self.payouts[number]
        if state not in AFTER.get(payout.state, set()):
            paid_after_all = payout.state == "failed" and state in PAID
            never_paid = payout.said and payout.state in PAID and state in ENDED - PAID
            return f"ignored:{'contradicted' if paid_after_all or never_paid else payout.state}"
        before, payout.state = payout.state, state
        whole = payout.principal + payout.fee
        if before not in PAID and state in PAID:
            self.in_flight -= whole
        elif before in PAID and state not in PAID:
            self.available += self.gain(payout.principal)
        elif state in ENDED - PAID:
            self.in_flight -= whole
            self.available += self.gain(whole)
        return "booked"

    def resolve(self, number: int, state: str, by: str) -> str:
        """A person says what became of a payout that stays unknown."""
        payout = self.payouts[number]
        if payout.said:
            return "ignored:resolved" if payout.said == (state, by) else "refused:payout_resolved"
        if payout.state != "unknown":
            return "refused:payout_not_unknown"
        payout.said = state, by
        return self.move(number, state)

    def recount(self, cause: str = "", now: int = 0) -> None:
        """A grant stands exactly while the total is at its threshold or above."""
        total = sum(sale.base - sale.shown for sale in self.sales.values() if sale.counts)
        for tier, threshold, credit in self.steps:
            if total >= threshold and tier not in self.fired:
                # What was used of the grant before is not given again.
                size = max(credit - self.used.get(tier, 0), 0)
                expires = now + self.life
                lot = Lot(derived(f"{cause}/c/p/{tier}"), size, expires, tier, expires)
                self.fired[tier] = lot
                self.given[tier] = size + self.used.get(tier, 0)
                if size:
                    self.lots.append(lot)
            elif total < threshold and tier in self.fired:
                lot = self.fired.pop(tier)
                left = lot.left if lot in self.lots else 0
                if lot in self.lots:
                    self.lots.remove(lot)
                taken = sum(self.settle(*one) for one in self.spent.pop(tier, {}).items())
                self.used[tier] = self.given[tier] - left - taken

    def settle(self, lot: str, minor: int) -> int:
        """Credit was spent and its grant is undone: it is owed or forgiven; what is owed."""
        settled = self.owed if self.spent_is_debt else self.forgiven
        settled[lot] = settled.get(lot, 0) + minor
        if not self.spent_is_debt:
            return 0
        self.lose(None, minor)
        return minor

    def spend(self, lot: Lot, minor: int) -> None:
        """Credit of a lot is spent, for good if its grant stands."""
        if lot.tier in self.fired:
            spent = self.spent.setdefault(lot.tier, {})
            spent[lot.id] = spent.get(lot.id, 0) + minor
        elif self.used.get(lot.tier, 0) and minor:
            self.used[lot.tier] -= self.settle(lot.id, minor)

    def redeem(self, amount: int, now: int) -> str:
        """Credit is spent, soonest expiry first."""
        good = [lot for lot in self.lots if lot.expires > now]
        if sum(lot.left for lot in good) < amount:
            return "refused:insufficient_credit"
        for lot in sorted(good, key=lambda lot: (lot.expires, lot.id)):
            used = min(lot.left, amount)
            lot.left -= used
            self.spend(lot, used)
            amount -= used
        return "booked"

    def expire(self, now: int) -> None:
        """Lots whose time is over are gone."""
        self.lots = [lot for lot in self.lots if lot.expires > now]

    # Conversions

    def quoted(self, source: str) -> int:
        """What open quotes hold of a currency."""
        return sum(q.sold for q in self.quotes.values() if q.source == source and not q.ended)

    def quote(  # noqa: PLR0917 - a quote
        self, name: str, source: str, sold: int | None, bought: int | None, now: int, good: int
    ) -> str:
        """Either amount is given; the other one is rounded in the house's favour."""
        if not self.known:
            return "refused:unknown_seller"
        if name in self.quotes:
            return "refused:quote_reused"
        rate = (DOLLARS if source == "EUR" else 1 / DOLLARS) * (1 - MARKUP)
        if bought is None:
            bought = floor((sold or 0) * rate)
        else:
            sold = ceil(bought / rate)
        if not sold or not bought:
            return "refused:conversion_too_small"
        if sold > (self.available if source == "EUR" else self.dollars):
            return "refused:insufficient_available"
        self._draw(source, sold)
        self.quotes[name] = Quote(source, sold, bought, now + good)
        return "booked"

    def exchange(self, name: str, now: int) -> str:
        """A quote is used."""
        if refused := self._unusable(name, now):
            return refused
        quote = self.quotes[name]
        quote.ended = "used"
        self._draw("USD" if quote.source == "EUR" else "EUR", -quote.bought)
        return "booked"

    def pay_out(self, name: str | None, now: int) -> str:
        """All euros go out now, with those that a quote buys: if nothing goes, it is not used."""
        bought = 0
        if name is not None:
            if refused := self._unusable(name, now):
                return refused
            if self.quotes[name].source == "EUR":
                return "refused:currency_mismatch"
            bought = self.quotes[name].bought
        left = self.available + max(bought - self.debt, 0)
        if left <= 0:
            return "refused:nothing_available"
        if left < PAY_MIN or most_payable(left) < PAY_MIN:
            return "refused:amount_below_minimum"
        if name is not None:
            self.exchange(name, now)
        self.pay()
        return "booked"

    def end_quotes(self, now: int) -> None:
        """Quotes whose time is over."""
        for quote in self.quotes.values():
            if not quote.ended and quote.expires <= now:
                quote.ended = "expired"
                self._draw(quote.source, -quote.sold)

    def _unusable(self, name: str, now: int) -> str:
        quote = self.quotes.get(name)
        if quote is None:
            return "refused:quote_unknown"
        if quote.ended == "used":
            return "refused:quote_used"
        if quote.ended or quote.expires <= now:
            return "refused:quote_expired"
        return ""

    def _draw(self, currency: str, minor: int) -> None:
        """Take from what is available; less than nothing comes to it."""
        if currency == "USD":
            self.dollars -= minor
        elif minor < 0:
            self.available += self.gain(-minor)
        else:
            self.available -= minor

    # The till

    def authorised(self) -> int:
        """What purchases hold."""
        return sum(purchase.open for purchase in self.purchases.values())

    def authorise(self, name: str, amount: int, expires: int, now: int, *, partial: bool) -> str:
        """Credit by expiry, then what is available."""
        if not self.known:
            return "refused:unknown_seller"
        if name in self.purchases:
            return "refused:authorisation_reused"
        good = [lot for lot in self.lots if lot.expires > now]
        takes, rest = [], amount
        for lot in sorted(good, key=lambda lot: (lot.expires, lot.id)):
            takes.append(Taken(lot, min(lot.left, rest)))
            rest -= takes[-1].amount
        takes.append(Taken(None, min(self.available, rest)))
        rest -= takes[-1].amount
        if rest and not (partial and rest < amount):
            return "refused:insufficient_funds"
        for taken in takes:
            if taken.lot is None:
                self.available -= taken.amount
            else:
                taken.lot.left -= taken.amount
        self.purchases[name] = Purchase(takes, expires)
        return "booked"

    def _found(self, name: str, now: int) -> str:
        purchase = self.purchases.get(name)
        if purchase is None:
            return "refused:unknown_authorisation"
        if purchase.ended == "expired" or (purchase.open and purchase.expires <= now):
            return "refused:authorisation_expired"
        return ""

    def capture(self, name: str, amount: int, now: int, grace: int, *, final: bool) -> str:
        """Part by part, in the order in which they were taken."""
        if refused := self._found(name, now):
            return refused
        purchase = self.purchases[name]
        if purchase.ended == "voided":
            return "refused:authorisation_closed"
        if amount > purchase.open:
            return "refused:capture_exceeds_authorisation"
        for taken in purchase.takes:
            part = min(taken.open, amount)
            taken.captured += part
            if taken.lot is not None:
                self.spend(taken.lot, part)
            amount -= part
        if final:
            self._release(purchase, now, grace)
        return "booked"

    def void(self, name: str, now: int, grace: int) -> str:
        """The rest is not needed."""
        if refused := self._found(name, now):
            return refused
        purchase = self.purchases[name]
        if not purchase.open:
            return "refused:authorisation_closed"
        self._release(purchase, now, grace)
        purchase.ended = "voided"
        return "booked"

    def end(self, now: int, grace: int) -> None:
        """Authorisations whose time is over end."""
        for purchase in self.purchases.values():
            if purchase.open and purchase.expires <= now:
                self._release(purchase, now, grace)
                purchase.ended = "expired"

    def refund(self, name: str, amount: int, now: int, grace: int) -> str:
        """Part by part, the last first."""
        purchase = self.purchases.get(name)
        if purchase is None:
            return "refused:unknown_authorisation"
        if amount > sum(taken.captured - taken.refunded for taken in purchase.takes):
            return "refused:refund_exceeds_capture"
        for taken in reversed(purchase.takes):
            part = min(taken.captured - taken.refunded, amount)
            taken.refunded += part
            amount -= part
            if taken.lot is not None:
                self._refund(taken.lot, part, now, grace)
            else:
                self._give(None, part, now, grace)
        return "booked"

    def _refund(self, lot: Lot, minor: int, now: int, grace: int) -> None:
        """What is owed of it is owed no more; the rest goes where credit of its lot goes."""
        owed = min(self.owed.get(lot.id, 0), minor)
        if owed:
            self.owed[lot.id] -= owed
            self.available += self.gain(owed)
            minor -= owed
        forgiven = min(self.forgiven.get(lot.id, 0), minor)
        if forgiven:
            self.forgiven[lot.id] -= forgiven
            self._give(lot, forgiven, now, grace)
            minor -= forgiven
        if minor and lot.tier in self.fired:
            spent = self.spent.setdefault(lot.tier, {})
            spent[lot.id] = max(spent.get(lot.id, 0) - minor, 0)
        self._give(lot, minor, now, grace)

    def _release(self, purchase: Purchase, now: int, grace: int) -> None:
        for taken in purchase.takes:
            part = taken.open
            taken.released += part
            self._give(taken.lot, part, now, grace)

    def _give(self, lot: Lot | None, minor: int, now: int, grace: int) -> None:
        """Back to where it came from; to a grant that was made again, or to nobody if undone."""
        if not minor:
            return
        if lot is None:
            self.available += self.gain(minor)
            return
        if lot.tier != NO_TIER:
            if lot.tier not in self.fired:
                self.used[lot.tier] -= minor
                return
            lot = self.fired[lot.tier]
        if lot not in self.lots:
            self.lots.append(lot)
            lot.left = 0
        if not lot.left:
            lot.expires = lot.first
        if lot.expires <= now:
            if not grace:
                return
            lot.left, lot.expires = 0, now + grace
        lot.left += minor
