"""Statements: what accounts were at, what moved them, and what they are at behind it.

Built from the journal's entries alone, in their order. Opening and movements make the closing
balance, and that is what the journal itself says the accounts are at, or there is no statement.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from models.ledger import SELLER_ACCOUNTS, Entry, Posting
from models.movements import Movement, movement_of, own_postings

UTC_ZONE = "UTC"

MOVEMENTS_MAX = 100_000
"""Movements that one statement holds: some thousands of pages."""

SELLERS = "sellers:"
"""How a company statement names what an account of all sellers holds: ``sellers:available``."""

_MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])")
_YEAR = re.compile(r"20\d\d")

Balances = dict[str, dict[str, int]]
"""Minor units by currency and account."""


class PeriodInvalid(ValueError):
    """A month, year or time zone that is none; one line."""


class StatementBroken(Exception):
    """The journal contradicts itself: opening and movements do not make what it says is there."""


class StatementTooLong(Exception):
    """More movements than a statement holds."""


class Period(NamedTuple):
    """A month or year of a time zone: from a moment on, up to another, in ms since the epoch."""

    label: str
    since_ms: int
    until_ms: int
    zone: str

    def covers(self, at_ms: int) -> bool:
        """Whether a moment lies in it."""
        return self.since_ms <= at_ms < self.until_ms


def month(text: str, zone: str = UTC_ZONE) -> Period:
    """The month of a text such as ``2026-10``. Raises PeriodInvalid."""
    found = _MONTH.fullmatch(text)
    if found is None:
        raise PeriodInvalid(f"a month is written like 2026-10, not {text!r}")
    year_, month_ = int(found[1]), int(found[2])
    after = (year_ + month_ // 12, month_ % 12 + 1)
    return Period(text, _start(year_, month_, zone), _start(*after, zone), zone)


def year(text: str, zone: str = UTC_ZONE) -> Period:
    """The year of a text such as ``2026``. Raises PeriodInvalid."""
    if not _YEAR.fullmatch(text):
        raise PeriodInvalid(f"a year is written like 2026, not {text!r}")
    return Period(text, _start(int(text), 1, zone), _start(int(text) + 1, 1, zone), zone)


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _start(year_: int, month_: int, zone: str) -> int:
    if zone not in _zones():
        raise PeriodInvalid(f"no time zone {zone!r}; one is named like Europe/Berlin")
    return int(datetime(year_, month_, 1, tzinfo=ZoneInfo(zone)).timestamp()) * 1000


@dataclass(slots=True)
class Statement:
    """A seller's statement."""

    seller_id: str
    period: Period
    opening: Balances = field(default_factory=dict)
    movements: list[Movement] = field(default_factory=list)
    closing: Balances = field(default_factory=dict)

    def currencies(self) -> list[str]:
        """The currencies that there is anything to say of."""
        moved = {p.currency for movement in self.movements for p in movement.postings}
        stood = {c for c, accounts in self.opening.items() if any(accounts.values())}
        return sorted(moved | stood)

    def accounts(self, currency: str) -> list[str]:
        """The accounts to show in a currency: those that moved or hold something."""
        used = {a for a, minor in self.opening.get(currency, {}).items() if minor}
        for movement in self.movements:
            used |= {p.account for p in movement.postings if p.currency == currency}
        order = [*SELLER_ACCOUNTS, *sorted(used.difference(SELLER_ACCOUNTS))]
        return [account for account in order if account in used]


def seller_statement(
    seller_id: str, period: Period, entries: Iterable[tuple[Entry, int]]
) -> Statement | None:
    """The statement, from every entry that counts of the seller's, in order, each with its time.

    Times never go back. None if there is no entry at all. Raises StatementBroken, StatementTooLong.
    """
    statement = Statement(seller_id, period)
    said: dict[tuple[str, str], int] = {}
    opening: dict[tuple[str, str], int] = defaultdict(int)
    known = False
    for entry, at_ms in entries:
        known = True
        if at_ms >= period.until_ms:
            break
        for account, currency, minor, after in own_postings(entry):
            _follows(said.get((currency, account), 0), minor, after, entry, account)
            said[currency, account] = after
            if at_ms < period.since_ms:
                opening[currency, account] += minor
        if period.covers(at_ms):
            _move(statement, movement_of(entry, at_ms))
    statement.opening, statement.closing = _nested(opening), _nested(said)
    _check(statement)
    return statement if known else None


def _move(statement: Statement, movement: Movement | None) -> None:
    if movement is None:
        return
    if len(statement.movements) == MOVEMENTS_MAX:
        raise StatementTooLong(
            f"more than {MOVEMENTS_MAX:,} movements of {statement.seller_id} in "
            f"{statement.period.label}; take a month of it"
        )
    statement.movements.append(movement)


def _follows(before: int, minor: int, after: int, entry: Entry, account: str) -> None:
    if before + minor != after:
        raise StatementBroken(
            f"the journal contradicts itself at shard {entry.shard} seq {entry.seq}: {account} was "
            f"at {before}, moves by {minor} and is at {after}; run `payouts verify`"
        )


def _check(statement: Statement) -> None:
    """Opening and movements make the closing balances, which are the journal's own."""
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for currency, accounts in statement.opening.items():
        for account, minor in accounts.items():
            sums[currency, account] += minor
    for movement in statement.movements:
        for account, currency, minor, _ in movement.postings:
            sums[currency, account] += minor
    if _nested(sums) != statement.closing:
        raise StatementBroken(
            f"opening and movements of {statement.seller_id} in {statement.period.label} do not "
            "make the closing balances"
        )


def _nested(balances: Mapping[tuple[str, str], int]) -> Balances:
    nested: Balances = {}
    for (currency, account), minor in sorted(balances.items()):
        nested.setdefault(currency, {})[account] = minor
    return nested


class KindTotal(NamedTuple):
    """What the entries of one kind moved on an account."""

    kind: str
    entries: int
    minor: int


@dataclass(slots=True)
class AccountLine:
    """One account in one currency: opening, movements by kind of entry, closing."""

    account: str
    currency: str
    opening_minor: int = 0
    kinds: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By kind of entry: how many, and minor units."""
    closing_minor: int = 0

    def add(self, kind: str, minor: int) -> None:
        """Count a movement."""
        entries, total = self.kinds.get(kind, (0, 0))
        self.kinds[kind] = (entries + 1, total + minor)

    def totals(self) -> list[KindTotal]:
        """The movements by kind, in the order of the kinds' names."""
        return [KindTotal(kind, *self.kinds[kind]) for kind in sorted(self.kinds)]


@dataclass(slots=True)
class CompanyStatement:
    """The house's accounts, and for each of the sellers' what they hold of it together.

    All accounts of a currency sum to zero.
    """

    period: Period
    lines: dict[tuple[str, str], AccountLine] = field(default_factory=dict)

    def currencies(self) -> list[str]:
        """The currencies that there is anything to say of."""
        return sorted({currency for currency, _ in self.lines})

    def of(self, currency: str) -> list[AccountLine]:
        """A currency's accounts: the house's by name, then the sellers' in their order."""
        own = [line for (of, _), line in self.lines.items() if of == currency]
        names = [SELLERS + name for name in SELLER_ACCOUNTS]
        rank = {name: place for place, name in enumerate(names)}
        return sorted(own, key=lambda line: (rank.get(line.account, -1), line.account))


def company_statement(period: Period, entries: Iterable[tuple[Entry, int]]) -> CompanyStatement:
    """The statement, from every entry that counts, each with its time. Raises StatementBroken."""
    statement = CompanyStatement(period)
    said: dict[tuple[int, str, str], int] = {}
    for entry, at_ms in entries:
        if at_ms >= period.until_ms:
            continue
        moved: dict[tuple[str, str], int] = defaultdict(int)
        for posting in entry.postings:
            _book(said, entry, posting)
            moved[posting.currency, company_account(posting.account)] += posting.minor
        for (currency, account), minor in moved.items():
            line = statement.lines.setdefault((currency, account), AccountLine(account, currency))
            if at_ms < period.since_ms:
                line.opening_minor += minor
            else:
                line.add(entry.kind, minor)
    _close(statement, said)
    return statement


def company_account(account: str) -> str:
    """How a company statement names an account: the house's by its own name."""
    owner, _, name = account.partition("/")
    return SELLERS + name if owner else account


def _book(said: dict[tuple[int, str, str], int], entry: Entry, posting: Posting) -> None:
    # A seller lives in one shard, of a house account each shard has a share of its own.
    place = (entry.shard, posting.account, posting.currency)
    _follows(said.get(place, 0), posting.minor, posting.after, entry, posting.account)
    said[place] = posting.after


def _close(statement: CompanyStatement, said: Mapping[tuple[int, str, str], int]) -> None:
    """Set the closing balances to what the journal says, and check that all else leads to them."""
    for (_, account, currency), after in said.items():
        statement.lines[currency, company_account(account)].closing_minor += after
    sums: dict[str, int] = defaultdict(int)
    for line in statement.lines.values():
        moved_minor = sum(minor for _, minor in line.kinds.values())
        sums[line.currency] += line.closing_minor
        if line.opening_minor + moved_minor != line.closing_minor:
            raise StatementBroken(
                f"{line.account} {line.currency}: opening and movements do not make the closing "
                "balance; run `payouts verify`"
            )
    for currency, minor in sums.items():
        if minor:
            raise StatementBroken(
                f"the accounts in {currency} sum to {minor} and not to zero; run `payouts verify`"
            )
