"""The ledger: accounts, postings, journal entries, and the fold that re-derives every figure.

A journal entry is a list of postings that sums to zero per currency. An account is written
``<seller>/<account>``, or ``/<account>`` for one of the house. Which entries of the topic count is
said by the markers of epochs in it (:mod:`models.timeline`). The fold is an independent second
model of the wallets: what Redis holds must equal it (:mod:`streams.wallets.verify`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

from pydantic_core import from_json

from models.budgets import Budgets
from models.debts import Owed, changed, day_of
from models.money import BASIS_POINTS
from models.payouts import PAID, PayoutState
from models.quotes import QUOTE, Conversions, Quote
from models.releases import PENDING, Releases
from models.resolutions import RESOLVED, Resolutions
from models.reviews import Label, Reviews
from models.suspects import Suspects
from models.timeline import Timeline

SELLER_ACCOUNTS = (
    *("available", "held", "pending", "in_flight", "authorised", "quoted"),
    *("credit", "debt"),
)
"""A seller's accounts, per currency. ``debt`` is zero or below, the others zero or above."""

HOUSE_ACCOUNTS = (
    "commissions",
    "clearing",
    "fees",
    "tax",
    "spendback",
    "bonuses",
    "sales",
    "discounts",
    "fx",
    "writeoff",
)
"""The house's accounts; ``clearing`` has one for each rail, ``tax`` one for each regime, and beside
``fx`` there are ``fx:markup`` and ``fx:rounding``."""


MARKER = "epoch"
"""Kind of the entry that opens an epoch of a shard; it has no number of its own (seq 0)."""


class Posting(NamedTuple):
    """A signed amount of integer minor units on an account, and what the account is at behind it.

    A house account's balance is the shard's share of it.
    """

    account: str
    currency: str
    minor: int
    after: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One journal entry, as the ``ledger`` topic holds it."""

    shard: int
    seq: int
    kind: str
    id: str
    seller: str
    at_ms: int
    postings: tuple[Posting, ...]
    source: tuple[str, int, int] | None = None
    emits: tuple[str, ...] = ()
    tier: str | None = None
    payout: tuple[str, str, str, int, int] | None = None
    credits: tuple[tuple[str, str, str, str, str, int, int], ...] = ()
    waiting: str | None = None
    released: str | None = None
    parked: str | None = None
    hash: str | None = None
    epoch: int = 0
    refused: str | None = None
    """Why the event was refused: an entry without postings."""
    volume: tuple[str, int] | None = None
    """Of a sale, commission or return: currency and amount that the earning is a share of."""
    budgets: tuple[tuple[str, str, int, int, int], ...] = ()
    """Campaign, currency, what the entry drew of its budget, the shard in all, of what it has."""
    slice: tuple[str, str, int, int, int, int] | None = None
    """Campaign, currency, a shard, what it has been handed, all of them have, the budget."""
    more: int = 0
    """How many entries behind it are of the same event: they count together or not at all."""
    lots: tuple[tuple[str, str, str, str, int], ...] = ()
    """Lot, currency, from and to which place credit of it went, amount."""
    purchase: tuple[str, str, int, int, int, int] | None = None
    """Authorisation, currency, and behind the entry authorised, captured, refunded, released."""
    discounts: tuple[tuple[str, str], ...] = ()
    worked: tuple[tuple[int, int, int, int, int, int], ...] = ()
    """Basis points that pay debt, earned, of that paid before, come now, owed, paid."""
    lines: tuple[tuple[str, str, str, int], ...] = ()
    """A sale's record, its line, whether it was sold or returned, how much of it."""
    written_off: tuple[str, str] | None = None
    """Who wrote debt off, and why."""
    quote: Quote | None = None
    pending: tuple[str, str, str, int, int, int, str] | None = None
    """Of an earning's lot: its record, currency, held, taken or released, how much, what is left,
    until when, why."""
    schedule: tuple[int, int, int, int] | None = None
    """Basis points that are held back, earned, of that taken back, what became available."""
    held: tuple[str, str, str, int, int] | None = None
    """Of an earning that is held: its record, currency, held, taken, released or forfeited, how
    much, what is left."""
    label: Label | None = None
    partial: tuple[int, int, int] | None = None
    """Of a partial earning: basis points that are not held, of how much, what is held."""
    resolved: tuple[str, str, str] | None = None
    """Who said what became of a payout that stayed unknown, why, and the provider's reference."""
    explored: tuple[str, int, int, int, int] | None = None
    """Of one let through by chance: currency, day, how much, the shard's on that day, the most."""

    @classmethod
    def parse(cls, value: bytes) -> Entry:
        """The entry in a ledger message. Raises ValueError if it is none."""
        try:
            raw: dict[str, Any] = from_json(value)
            return cls(
                raw["shard"],
                raw["seq"],
                raw["kind"],
                raw["id"],
                raw["seller"],
                raw["at"],
                tuple(Posting(*posting) for posting in raw["postings"]),
                tuple(raw["source"]) if "source" in raw else None,
                tuple(raw.get("emits", ())),
                raw.get("tier"),
                tuple(raw["payout"]) if "payout" in raw else None,
                tuple(tuple(credit) for credit in raw.get("credits", ())),
                raw.get("waiting"),
                raw.get("released"),
                raw.get("parked"),
                raw.get("hash"),
                raw["epoch"],
                raw.get("refused"),
                tuple(raw["volume"]) if "volume" in raw else None,
                tuple(tuple(budget) for budget in raw.get("budgets", ())),
                tuple(raw["slice"]) if "slice" in raw else None,
                raw.get("more", 0),
                tuple(tuple(lot) for lot in raw.get("lots", ())),
                tuple(raw["purchase"]) if "purchase" in raw else None,
                tuple(tuple(discount) for discount in raw.get("discounts", ())),
                tuple(tuple(each) for each in raw.get("worked", ())),
                tuple(tuple(each) for each in raw.get("lines", ())),
                tuple(raw["written_off"]) if "written_off" in raw else None,
                Quote(**raw["quote"]) if "quote" in raw else None,
                tuple(raw["pending"]) if "pending" in raw else None,
                tuple(raw["schedule"]) if "schedule" in raw else None,
                tuple(raw["held"]) if "held" in raw else None,
                Label.parse(*raw["label"]) if "label" in raw else None,
                tuple(raw["partial"]) if "partial" in raw else None,
                tuple(raw["resolved"]) if "resolved" in raw else None,
                tuple(raw["explored"]) if "explored" in raw else None,
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a journal entry: {error!r}") from error


class Purchase(NamedTuple):
    """A purchase at the till, in minor units."""

    currency: str
    authorised: int = 0
    captured: int = 0
    refunded: int = 0
    released: int = 0

    @property
    def open(self) -> int:
        """What can still be captured."""
        return self.authorised - self.captured - self.released

    def follows(self, before: Purchase) -> bool:
        """Whether it can have come of that: nothing shrinks, nothing exceeds what it is of."""
        grown = all(b <= a for b, a in zip(before[2:], self[2:], strict=True))
        same = before.authorised in {0, self.authorised} and before.currency == self.currency
        return grown and same and self.open >= 0 and self.captured >= self.refunded >= 0


class Violation(NamedTuple):
    """An invariant that an entry broke."""

    invariant: str
    detail: str


@dataclass(slots=True)
class Fold:
    """Everything that follows from the journal, entry by entry.

    Each entry that counts is applied once, in the order of its seq, whatever the topic has beside.
    """

    seqs: dict[int, int] = field(default_factory=dict)
    """The last number of each shard that was applied."""
    timelines: dict[int, Timeline[Entry]] = field(default_factory=lambda: defaultdict(Timeline))
    balances: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    earned: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    bonuses: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    """Per seller and currency what campaigns granted her in money, net of what was taken back."""
    budgets: Budgets = field(default_factory=Budgets)
    paid_out: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    payouts: dict[str, tuple[str, str, int, int]] = field(default_factory=dict)
    """Per payout: state, rail, amount and fee."""
    failed_over: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    """Per payout: from which rail to which it went after an attempt was proven dead."""
    grants: dict[tuple[str, str, str, str, int], dict[str, int]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    tiers: dict[str, str] = field(default_factory=dict)
    booked: set[str] = field(default_factory=set)
    pending: set[str] = field(default_factory=set)
    """Commissions on their way up the tree: emitted, not yet booked."""
    waiting: set[tuple[str, str]] = field(default_factory=set)
    parked: int = 0
    volumes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """What was sold, returned and so on, by kind of entry and currency, in minor units."""
    kinds: Counter[str] = field(default_factory=Counter)
    credits: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    refusals: int = 0
    turned_down: set[str] = field(default_factory=set)
    """Requests that were refused: whoever sent one was told that it has no effect."""
    entries: int = 0
    lots: dict[tuple[str, str, str], Counter[str]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    """Per seller, currency and lot: what is left, authorised, spent, expired, reversed, recovered
    and forgiven of it."""
    settled: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Of credit that was spent before its grant was undone: what was recovered and forgiven, by
    currency, in minor units."""
    owed: dict[tuple[str, str], Owed] = field(default_factory=dict)
    """Per seller and currency: since when debt is owed. Who owes nothing is not there."""
    sold: dict[tuple[str, str], int] = field(default_factory=dict)
    """Per record of a sale and line: what of it has not come back."""
    written_off: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    """Per seller and currency: debt that was written off."""
    purchases: dict[tuple[str, str], Purchase] = field(default_factory=dict)
    """Per seller and authorisation."""
    purchased: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    """Per seller and currency: of what she earned, what purchases have authorised or captured."""
    discounts: dict[tuple[str, str], str] = field(default_factory=dict)
    """Per seller and discount: what became of it last."""
    releases: Releases = field(default_factory=Releases)
    """Earnings that are pending."""
    reviews: Reviews = field(default_factory=Reviews)
    """Earnings that are held, and labels."""
    resolutions: Resolutions = field(default_factory=Resolutions)
    suspects: Suspects = field(default_factory=Suspects)
    """Earnings that are held in part, or let through by chance."""
    reinvested: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    """Per seller and currency: of what she earned, what became credit, net of what returns took."""
    own_lots: set[tuple[str, str, str]] = field(default_factory=set)
    """Seller, currency and lot of the lots that are a seller's own money, not the house's."""
    conversions: Conversions = field(default_factory=Conversions)
    shares: dict[tuple[int, str, str], int] = field(default_factory=lambda: defaultdict(int))
    """Per shard its share of each house account."""

    def add(self, entry: Entry, offset: int) -> list[Entry]:
        """Take what the topic has at an offset; the entries that were applied."""
        applied = list(self.timelines[entry.shard].take(entry, offset))
        for each in applied:
            self.apply(each)
        return applied

    def gaps(self) -> Iterator[tuple[int, int]]:
        """``(shard, seq)`` of entries that are missing in front of ones that are there."""
        for shard, timeline in self.timelines.items():
            if (seq := timeline.missing()) is not None:
                yield shard, seq

    def apply(self, entry: Entry) -> None:
        """Apply an entry that counts; those of a shard have to come in order."""
        self.entries += 1
        self.seqs[entry.shard] = entry.seq
        self.kinds[entry.kind] += 1
        self._owe(entry)
        self._post(entry)
        self._return_lines(entry)
        if entry.volume is not None:
            currency, minor = entry.volume
            self.volumes[entry.kind, currency] += minor
        if entry.refused is not None:
            self._refuse(entry)
        elif entry.source is not None or entry.hash is not None:
            self._book(entry)
        self.pending.update(id_ for id_ in entry.emits if id_ not in self.booked)
        if entry.tier:
            self.tiers[entry.id] = entry.tier
        if entry.payout:
            self._pay(entry, entry.payout)
        for credit in entry.credits:
            self._credit(entry, credit)
        self._purchase(entry)
        for discount, step in entry.discounts:
            self._discount(entry, discount, step)
        for rule, text in self._found_elsewhere(entry):
            self._violated(rule, text)
        if entry.waiting:
            self.waiting.add((entry.seller, entry.waiting))
        if entry.released:
            self.waiting.discard((entry.seller, entry.released))
        if entry.parked:
            self.parked += 1

    def _found_elsewhere(self, entry: Entry) -> Iterator[tuple[str, str]]:
        yield from ((QUOTE, text) for text in self.conversions.apply(entry))
        yield from ((PENDING, text) for text in self.releases.apply(entry))
        yield from self.reviews.apply(entry)
        yield from self.suspects.apply(entry)
        yield from ((RESOLVED, text) for text in self.resolutions.apply(entry))
        yield from (("no budget is overspent", text) for text in self.budgets.apply(entry))

    def _book(self, entry: Entry) -> None:
        if entry.id in self.booked:
            self._violated("every event has one effect", f"event {entry.id} was booked twice")
        elif entry.id in self.turned_down:
            self._violated(
                "every event has one effect", f"request {entry.id} was booked once refused"
            )
        self.booked.add(entry.id)
        self.pending.discard(entry.id)

    def _refuse(self, entry: Entry) -> None:
        self.refusals += 1
        if entry.source is None:
            if entry.id in self.booked or entry.id in self.turned_down:
                self._violated("every event has one effect", f"request {entry.id} came twice")
            self.turned_down.add(entry.id)

    def _post(self, entry: Entry) -> None:
        sums: dict[str, int] = defaultdict(int)
        for account, currency, minor, after in entry.postings:
            sums[currency] += minor
            balance = self.balances[account, currency] + minor
            self.balances[account, currency] = balance
            share = balance
            if account.startswith("/"):
                share = self.shares[entry.shard, account, currency] + minor
                self.shares[entry.shard, account, currency] = share
            if share != after:
                self._violated(
                    "balances follow from the entries before",
                    f"{account} {currency} is {after} by {entry.id}, the entries give {share}",
                )
            if not account.startswith("/"):
                name = account.rpartition("/")[2]
                if (balance > 0) if name == "debt" else (balance < 0):
                    self._violated(
                        "no account beyond zero", f"{account} {currency} at {balance} by {entry.id}"
                    )
            elif account == "/commissions":
                self.earned[entry.seller, currency] -= minor
            elif account == "/bonuses":
                self.bonuses[entry.seller, currency] -= minor
            elif account == "/writeoff":
                self.written_off[entry.seller, currency] -= minor
            elif account.startswith("/clearing:") or account == "/fees":
                self.paid_out[entry.seller, currency] += minor
        for currency, total in sums.items():
            if total:
                self._violated("postings sum to zero", f"{entry.id}: {total} {currency}")

    def _owe(self, entry: Entry) -> None:
        """What an entry does to debt, before its postings are applied."""
        account, off = f"{entry.seller}/debt", 0
        moved: Counter[str] = Counter()
        for posting in entry.postings:
            moved[posting.currency] -= posting.minor if posting.account == account else 0
            off -= posting.minor if posting.account == "/writeoff" else 0
        if entry.kind in _EARNINGS:
            self._earns(entry, moved)
        for bp, earned, before, there, owed, paid in entry.worked:
            share = max(0, earned * bp // BASIS_POINTS - before)
            if paid != min(owed, there, share):
                self._violated(DEBT, f"{entry.id} pays {paid} of {owed}, its share is {share}")
        if off != -sum(moved.values()) * (entry.written_off is not None):
            self._violated(WRITE_OFF, f"{entry.id} writes off {off} of {entry.seller}")
        for currency, more in moved.items():
            if more:
                key = (entry.seller, currency)
                self.owed[key] = changed(self.owed.get(key, ()), more, day_of(entry.at_ms))
                if not self.owed[key]:
                    del self.owed[key]

    def _earns(self, entry: Entry, currencies: Iterable[str]) -> None:
        """Debt that an earning meets has to be told, with what was paid of it."""
        for currency in currencies:
            owed = -self.balances.get((f"{entry.seller}/debt", currency), 0)
            if owed > 0 and (not entry.worked or entry.worked[0][4] != owed):
                self._violated(DEBT, f"{entry.id} does not tell of a debt of {owed} {currency}")

    def _return_lines(self, entry: Entry) -> None:
        for record, line, what, minor in entry.lines:
            left = minor if what == "sold" else self.sold.get((record, line), 0) - minor
            self.sold[record, line] = left
            if left < 0:
                self._violated(LINES, f"{entry.id} returns {-left} too much of {line} of {record}")

    def _pay(self, entry: Entry, payout: tuple[str, str, str, int, int]) -> None:
        payout_id, state, rail, amount, fee = payout
        before = self.payouts.get(payout_id)
        # Reserved anew from where a rail had it. One that was never handed over, as its rail was
        # not used just then, goes from RESERVED to RESERVED.
        if before and state == PayoutState.RESERVED != before[0] and rail != before[1]:
            self.failed_over[payout_id].append((before[1], rail))
        self.payouts[payout_id] = (state, rail, amount, fee)

    def _credit(self, entry: Entry, credit: tuple[str, str, str, str, str, int, int]) -> None:
        action, lot, campaign, period, currency, tier, minor = credit
        active = self.grants[entry.seller, campaign, period, currency, tier]
        self.credits[action] += 1
        if action == "granted":
            if active:
                self._violated(
                    "a threshold fires once", f"{campaign} {period} tier {tier} of {entry.seller}"
                )
            active[lot] = minor
        elif lot in active:
            del active[lot]
        else:
            self._violated("only a grant is undone", f"lot {lot} of {entry.seller}")

    def _purchase(self, entry: Entry) -> None:
        """What an entry does to lots and to a purchase, and whether its postings are just that."""
        moved: Counter[tuple[str, str]] = Counter()
        for posting in entry.postings:
            name = posting.account.rpartition("/")[2]
            if name in {"credit", "authorised", "sales", "discounts", "spendback"}:
                moved[name, posting.currency] += posting.minor
        for lot, currency, before, after, minor in entry.lots:
            self._lot((entry.seller, currency, lot), before, after, minor)
            moved["lot " + after, currency] -= minor
            moved["lot " + before, currency] += minor
            moved["house", currency] += self._of_house(entry, (lot, currency, before, after, minor))
        self._undone(entry)
        self._told(entry)
        self._reinvest(entry, moved)
        for currency in {currency for _, currency in moved}:
            if moved["credit", currency] + moved["lot left", currency]:
                self._violated("lots add up", f"{entry.id} moves other credit than of its lots")
            # What is authorised or sold, and neither credit nor given as a discount, is earnings.
            places = ("lot authorised", "lot spent", "lot forgiven")
            names = ("authorised", "sales", "discounts", *places)
            self.purchased[entry.seller, currency] += sum(moved[name, currency] for name in names)

    def _undone(self, entry: Entry) -> None:
        """Of a grant that is undone nothing may stand as spent: it is recovered or forgiven."""
        for _, currency, before, after, minor in entry.lots:
            if before == "spent" and after in {"recovered", "forgiven"}:
                self.settled[after, currency] += minor
        for action, lot, _, _, currency, _, _ in entry.credits:
            places = self.lots.get((entry.seller, currency, lot), Counter())
            if action == "unfired" and places["spent"]:
                self._violated(SETTLED, f"{entry.id} leaves {places['spent']} {currency} of {lot}")

    def _lot(self, key: tuple[str, str, str], before: str, after: str, minor: int) -> None:
        places = self.lots[key]
        if before not in {"granted", "reinvested"}:
            places[before] -= minor
            if places[before] < 0:
                self._violated("lots add up", f"lot {key[2]} of {key[0]} has no {minor} {before}")
        places[after] += minor

    def _of_house(self, entry: Entry, note: tuple[str, str, str, str, int]) -> int:
        """What a lot's move brings the house, and of own lots what of the earnings it is."""
        lot, currency, before, after, minor = note
        key = (entry.seller, currency, lot)
        if before == "reinvested":
            self.own_lots.add(key)
            self.reinvested[key[:2]] += minor
            return 0
        if after == "reversed" and key in self.own_lots:
            self.reinvested[key[:2]] -= minor
            return 0
        if after == "expired" and key in self.own_lots:
            self._violated(REINVESTED, f"{entry.id} lets {lot} of {entry.seller} expire")
        return minor * ((after in _HOUSE) - (before in _HOUSE or before == "granted"))

    def _reinvest(self, entry: Entry, moved: Mapping[tuple[str, str], int]) -> None:
        """Whether the house paid what it granted, and got back what was its own, and no more."""
        for currency in {of for _, of in moved}:
            house = moved.get(("spendback", currency), 0)
            of_lots = moved.get(("house", currency), 0)
            if house != of_lots:
                own = any(before == "reinvested" for _, _, before, _, _ in entry.lots)
                self._violated(
                    REINVESTED if own else "lots add up",
                    f"{entry.id} moves {house} {currency} of the house, lots {of_lots}",
                )

    def _told(self, entry: Entry) -> None:
        held: dict[str, int] = {p.currency: 0 for p in entry.postings}
        for account, currency, minor, _ in entry.postings:
            held[currency] += minor if account.endswith("/authorised") else 0
        if entry.purchase is not None:
            name, currency, *figures = entry.purchase
            after = Purchase(currency, *figures)
            before = self.purchases.get((entry.seller, name), Purchase(currency))
            self.purchases[entry.seller, name] = after
            sold = sum(p.minor for p in entry.postings if p.account == "/sales")
            if not after.follows(before):
                self._violated(PURCHASE, f"{name} of {entry.seller} went to {after}")
            if sold != (after.captured - after.refunded) - (before.captured - before.refunded):
                self._violated(PURCHASE, f"{entry.id} sells {sold} {currency}, {name} is {after}")
            held[currency] = held.get(currency, 0) - (after.open - before.open)
        for currency, minor in held.items():
            if minor:
                self._violated(PURCHASE, f"{entry.id} authorises {minor} {currency} of nothing")

    def _discount(self, entry: Entry, discount: str, step: str) -> None:
        before = self.discounts.get((entry.seller, discount))
        if before not in _DISCOUNT_AFTER[step]:
            self._violated("a discount is used once", f"{discount} is {step} when {before}")
        self.discounts[entry.seller, discount] = step

    def _violated(self, invariant: str, detail: str) -> None:
        if len(self.violations) < VIOLATIONS_KEPT_MAX:
            self.violations.append(Violation(invariant, detail))

    def paid(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Per rail and payout: ``(amount, fee)`` of payouts that have left."""
        return {
            (rail, payout_id): (amount, fee)
            for payout_id, (state, rail, amount, fee) in self.payouts.items()
            if PayoutState(state) in PAID
        }

    def earned_sha256(self) -> str:
        """A digest of what each seller has earned net of returns, and of the spendback granted.

        Neither hangs on timing nor on the order between partitions.
        """
        lines = [
            f"{seller} {currency} {minor}"
            for (seller, currency), minor in self.earned.items()
            if minor
        ]
        # Without the period: it is a date, and the same events may be booked on another day.
        for (seller, campaign, _, currency, tier), lots in self.grants.items():
            lines.extend(
                f"{seller} {campaign} {currency} {tier} {minor}" for minor in lots.values()
            )
        return sha256("\n".join(sorted(lines)).encode()).hexdigest()


PURCHASE = "a purchase takes no more than was authorised"
REINVESTED = "what is reinvested stays the seller's, as credit"
LINES = "no more of a line comes back than was sold"
SETTLED = "spent credit of an undone grant is recovered or forgiven"
DEBT = "debt is worked off by the share that its entry names"
WRITE_OFF = "debt is written off by somebody, for a reason"

_HOUSE = frozenset({"expired", "reversed", "recovered"})
"""Where credit is the house's again."""

_EARNINGS = frozenset(
    {"sale.completed", "commission.earned", "pending.released", "earning.cleared"}
)
"""Kinds of entries that an earning, or what was pending of it, is booked by."""

_DISCOUNT_AFTER: Mapping[str, frozenset[str | None]] = {
    "granted": frozenset({None, "used", "expired", "withdrawn"}),
    "used": frozenset({"granted", "returned"}),
    "returned": frozenset({"used"}),
    "expired": frozenset({"granted", "returned"}),
    "withdrawn": frozenset({"granted", "returned"}),
}
"""What a discount must have been before: it may be given again once it is gone."""

VIOLATIONS_KEPT_MAX = 1_000
"""Violations that a fold keeps; one is already too many."""
