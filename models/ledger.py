"""The ledger: accounts, postings, journal entries, and the fold that re-derives every figure.

A journal entry is a list of postings that sums to zero per currency. An account is written
``<seller>/<account>``, or ``/<account>`` for one of the house. Which entries of the topic count is
said by the markers of epochs in it (:class:`Timeline`). The fold is an independent second model of
the wallets: what Redis holds must equal it (:mod:`streams.wallets.verify`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from pydantic_core import from_json

from models.payouts import PAID, PayoutState
from models.quotes import QUOTE, Conversions, Quote

SELLER_ACCOUNTS = ("available", "held", "in_flight", "authorised", "quoted", "credit", "debt")
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

EARLY_MAX = 10_000
"""Entries of a shard that may wait for one that is missing in front of them: more than can be on
their way at once, so that a ledger that was cut is not taken for one that is late."""


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
    """Campaign, currency, what the entry drew of its budget, the shard in all, of what it got."""
    slice: tuple[str, str, int, int, int, int] | None = None
    """Campaign, currency, to which shard, handed to it in all, to all of them, the budget."""
    more: int = 0
    """How many entries behind it are of the same event: they count together or not at all."""
    lots: tuple[tuple[str, str, str, str, int], ...] = ()
    """Lot, currency, from and to which place credit of it went, amount."""
    purchase: tuple[str, str, int, int, int, int] | None = None
    """Authorisation, currency, and behind the entry authorised, captured, refunded, released."""
    discounts: tuple[tuple[str, str], ...] = ()
    quote: Quote | None = None

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
                Quote(**raw["quote"]) if "quote" in raw else None,
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a journal entry: {error!r}") from error


class Numbered(Protocol):
    """What has a shard's number in its place: a journal entry, whole or just its head."""

    @property
    def seq(self) -> int:
        """Its number in the shard; 0 of a marker."""
        ...

    @property
    def epoch(self) -> int:
        """The epoch it was booked in; of a marker the epoch that it ends."""
        ...

    @property
    def more(self) -> int:
        """How many entries behind it are of the same event."""
        ...


E = TypeVar("E", bound=Numbered)


@dataclass(slots=True)
class Timeline(Generic[E]):
    """Which entries of one shard count, and in what order: the ledger topic's own truth.

    As in PostgreSQL, a new history begins where a failover ends the one before. A shard is booked
    to in epochs. A marker in the topic ends the epoch that it names and opens the next, whose
    number is the offset behind the marker; a marker that names another epoch than the present one
    came too late and opens nothing. An entry counts if it comes in the epoch it was booked in, with
    the rest of its event's, and every number before its own counts. Others are void: booked on a
    Redis that was replaced or lost them, and their events are taken again. Several workers publish,
    so entries may come twice and out of order within an epoch.
    """

    epoch: int = 0
    seq: int = 0
    """The last number that counts."""
    early: dict[int, tuple[int, E]] = field(default_factory=dict)
    """What came before its turn or the rest of its event's, by number, with its offset."""

    def take(self, entry: E, offset: int) -> Iterator[E]:
        """Take what the topic has at an offset; what counts from now on, in order.

        Raises ValueError if the topic lacks an entry in front of too many others.
        """
        if entry.seq == 0:
            if entry.epoch == self.epoch:
                self.epoch = offset + 1
                self.early.clear()
            return
        if entry.epoch != self.epoch:
            return
        if entry.seq <= self.seq:
            return
        self.early.setdefault(entry.seq, (offset, entry))
        while (found := self.early.get(self.seq + 1)) is not None:
            last = self.seq + 1 + found[1].more
            if any(seq not in self.early for seq in range(self.seq + 2, last + 1)):
                break
            while self.seq < last:
                self.seq += 1
                yield self.early.pop(self.seq)[1]
        if len(self.early) > EARLY_MAX:
            raise ValueError(f"entry {self.missing()} is not in the journal, later ones are")

    def missing(self) -> int | None:
        """The first number that is not there, if others wait for it."""
        if not self.early:
            return None
        return next(seq for seq in count(self.seq + 1) if seq not in self.early)


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
class Budgets:
    """What campaigns cost, by campaign and currency, as every shard's entries say."""

    used: dict[tuple[str, str], dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    """What each shard drew."""
    got: dict[tuple[str, str], dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    """What each shard says that it was handed."""
    handed: dict[tuple[str, str], dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    """What each shard was handed, as the budget's home says."""
    whole: dict[tuple[str, str], int] = field(default_factory=dict)
    """The largest that each budget was when a slice of it was handed out."""

    def apply(self, entry: Entry) -> Iterator[str]:
        """Take an entry; what is wrong with it, if the shards before it are right."""
        for campaign, currency, drawn, used, got in entry.budgets:
            key, shard = (campaign, currency), entry.shard
            before = self.used[key].get(shard, 0)
            if before + drawn != used or not 0 <= used <= got:
                figures = f"{before} to {used} of {got}"
                yield f"{entry.id} draws {drawn} {currency} of {campaign}: {figures}"
            self.used[key][shard], self.got[key][shard] = used, got
        if entry.slice is not None:
            campaign, currency, to, handed, given, whole = entry.slice
            key = (campaign, currency)
            more = handed - self.handed[key].get(to, 0)
            self.handed[key][to] = handed
            total = sum(self.handed[key].values())
            if given != total or more < 0 or (more and given > whole):
                yield f"{entry.id} hands out {given} {currency} of {campaign}, {total} of {whole}"
            self.whole[key] = max(whole, self.whole.get(key, 0))

    def overspent(self, *, at_rest: bool) -> Iterator[str]:
        """Budgets that were overspent, and at rest shards that use what nobody handed to them."""
        for key, used in self.used.items():
            campaign, currency = key
            whole = self.whole.get(key, 0)
            if at_rest and sum(used.values()) > whole:
                yield f"{campaign} cost {sum(used.values())} {currency}, its budget is {whole}"
            for shard, got in self.got[key].items():
                handed = self.handed[key].get(shard, 0)
                if at_rest and got > handed:
                    yield f"shard {shard} has {got} {currency} of {campaign}, handed {handed}"


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
    """Per seller, currency and lot: what is left, authorised, spent, expired and reversed of it."""
    purchases: dict[tuple[str, str], Purchase] = field(default_factory=dict)
    """Per seller and authorisation."""
    purchased: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    """Per seller and currency: of what she earned, what purchases have authorised or captured."""
    discounts: dict[tuple[str, str], str] = field(default_factory=dict)
    """Per seller and discount: what became of it last."""
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
        self._post(entry)
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
        for text in self.conversions.apply(
            entry.seller, entry.id, entry.at_ms, entry.quote, entry.postings
        ):
            self._violated(QUOTE, text)
        for text in self.budgets.apply(entry):
            self._violated("no budget is overspent", text)
        if entry.waiting:
            self.waiting.add((entry.seller, entry.waiting))
        if entry.released:
            self.waiting.discard((entry.seller, entry.released))
        if entry.parked:
            self.parked += 1

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
            elif account.startswith("/clearing:") or account == "/fees":
                self.paid_out[entry.seller, currency] += minor
        for currency, total in sums.items():
            if total:
                self._violated("postings sum to zero", f"{entry.id}: {total} {currency}")

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
            active[lot] = minor
            if len(active) > 1:
                self._violated(
                    "a threshold fires once", f"{campaign} {period} tier {tier} of {entry.seller}"
                )
        elif lot in active:
            del active[lot]
        else:
            self._violated("only a grant is undone", f"lot {lot} of {entry.seller}")

    def _purchase(self, entry: Entry) -> None:
        """What an entry does to lots and to a purchase, and whether its postings are just that."""
        moved: Counter[tuple[str, str]] = Counter()
        for posting in entry.postings:
            name = posting.account.rpartition("/")[2]
            if name in {"credit", "authorised", "sales", "discounts"}:
                moved[name, posting.currency] += posting.minor
        for lot, currency, before, after, minor in entry.lots:
            self._lot((entry.seller, currency, lot), before, after, minor)
            moved["lot " + after, currency] -= minor
            moved["lot " + before, currency] += minor
        self._told(entry)
        for currency in {currency for _, currency in moved}:
            if moved["credit", currency] + moved["lot left", currency]:
                self._violated("lots add up", f"{entry.id} moves other credit than of its lots")
            # What is authorised or sold, and neither credit nor given as a discount, is earnings.
            names = ("authorised", "sales", "discounts", "lot authorised", "lot spent")
            self.purchased[entry.seller, currency] += sum(moved[name, currency] for name in names)

    def _lot(self, key: tuple[str, str, str], before: str, after: str, minor: int) -> None:
        places = self.lots[key]
        if before != "granted":
            places[before] -= minor
            if places[before] < 0:
                self._violated("lots add up", f"lot {key[2]} of {key[0]} has no {minor} {before}")
        places[after] += minor

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


_DISCOUNT_AFTER: Mapping[str, frozenset[str | None]] = {
    "granted": frozenset({None, "used", "expired"}),
    "used": frozenset({"granted", "returned"}),
    "returned": frozenset({"used"}),
    "expired": frozenset({"granted", "returned"}),
}
"""What a discount must have been before: it may be given again once it is gone."""

VIOLATIONS_KEPT_MAX = 1_000
"""Violations that a fold keeps; one is already too many."""
