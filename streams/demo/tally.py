"""What was done with the wallets, counted from the journal's entries and from nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.gains import Gains
from models.ledger import Entry
from models.quotes import Quote

_OPERATIONS = frozenset(
    {
        "purchase.authorised",
        "purchase.captured",
        "purchase.voided",
        "purchase.refunded",
        "purchase.expired",
    }
)

_PLACES = {
    "left": "left",
    "authorised": "left",
    "spent": "spent",
    "forgiven": "spent",
    "recovered": "undone",
    "reversed": "undone",
    "expired": "expired",
}
"""Where credit of a lot may be, and what the tally calls that. What was spent before a return
undid its grant stays spent if it is forgiven."""


@dataclass(slots=True)
class Tally:
    """What the wallets were used for. Amounts in minor units, by word and currency."""

    counts: Counter[str] = field(default_factory=Counter)
    """Operations of a kind: ``purchase.captured``, ``reinvested.once``, …"""
    credit: Counter[tuple[str, str]] = field(default_factory=Counter)
    """``granted`` and ``reinvested``, and what became of that: ``spent``, ``expired``, ``undone``
    or ``left``. The first two come to as much as the others."""
    debt: Counter[tuple[str, str]] = field(default_factory=Counter)
    """``taken``; and of that ``worked`` off by earnings, ``repaid`` by other money of hers,
    ``written`` off, or still ``owed``."""
    debtors: dict[str, int] = field(default_factory=dict)
    """What is owed by each debt account that ever had something on it."""

    gains: Gains = field(default_factory=Gains)
    """What conversions came to."""

    def take(self, entry: Entry) -> None:
        """Take an entry that counts."""
        if entry.refused is not None:
            return
        if entry.kind in _OPERATIONS:
            self.counts[entry.kind] += 1
        if entry.quote is not None:
            self._quote(entry.quote)
        self._lots(entry)
        for account, currency, minor, after in entry.postings:
            if account.endswith("/debt"):
                self._debt(entry, currency, minor)
                self.debtors[f"{account} {currency}"] = -after

    def _quote(self, quote: Quote) -> None:
        self.counts[f"quote.{quote.step}"] += 1
        if quote.step == "converted":
            self.gains.take(quote)

    def _lots(self, entry: Entry) -> None:
        own = False
        for _, currency, before, after, minor in entry.lots:
            own = own or before == "reinvested"
            if before in _PLACES:
                self.credit[_PLACES[before], currency] -= minor
            else:
                self.credit[before, currency] += minor
            self.credit[_PLACES[after], currency] += minor
        if own:
            once = entry.kind == "earnings.reinvested"
            self.counts["reinvested.once" if once else "reinvested.standing"] += 1

    def _debt(self, entry: Entry, currency: str, minor: int) -> None:
        self.debt["owed", currency] -= minor
        if minor < 0:
            self.debt["taken", currency] -= minor
        elif entry.written_off is not None:
            self.debt["written", currency] += minor
        elif entry.worked:
            self.debt["worked", currency] += minor
        else:
            self.debt["repaid", currency] += minor

    def owing(self) -> int:
        """How many wallets are in debt, of those that ever were."""
        return sum(minor > 0 for minor in self.debtors.values())

    def json(self) -> dict[str, Any]:
        """As the report has it: counts, and amounts by currency."""
        debts = {"ever": len(self.debtors), "still": self.owing()}
        return {
            "counts": dict(sorted(self.counts.items())),
            "credit_minor": by_currency(self.credit),
            "debt_minor": by_currency(self.debt),
            "debtors": debts,
            "converted": [
                {
                    "source": source,
                    "target": target,
                    "made": made,
                    "sold_minor": self.gains.sold[source, target],
                    "bought_minor": self.gains.bought[source, target],
                }
                for (source, target), made in sorted(self.gains.made.items())
            ],
        }


def by_currency(sums: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Currency → word → minor units, sorted; no zeros."""
    found: dict[str, dict[str, int]] = {}
    for word, currency in sorted(sums, key=lambda key: key[::-1]):
        if minor := sums[word, currency]:
            found.setdefault(currency, {})[word] = minor
    return found
