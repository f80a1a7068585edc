"""What a seller had at a time of the past: the writes of her journal entries up to there, redone.

The same that :mod:`streams.wallets.statement` tells of the present, and without asking Redis.
Payouts that Redis has forgotten since are there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from models.ledger import SELLER_ACCOUNTS
from streams.statements.ledger import Ledger
from streams.wallets.journal import JournalUnreadable
from streams.wallets.statement import statement_of


@dataclass(slots=True)
class Past:
    """A seller's keys, as the journal makes them."""

    seller_id: str
    entries: int = 0
    profile: bytes | None = None
    wallet: dict[bytes, bytes] = field(default_factory=dict)
    lots: dict[bytes, bytes] = field(default_factory=dict)
    pending: dict[bytes, bytes] = field(default_factory=dict)
    discounts: dict[bytes, bytes] = field(default_factory=dict)
    payouts: dict[str, dict[str, Any]] = field(default_factory=dict)
    waiting: int = 0

    def redo(self, entry: dict[str, Any]) -> None:
        """Take the seller's next entry, decoded. Raises KeyError, TypeError or ValueError."""
        self.entries += 1
        for account, currency, _, after in entry["postings"]:
            owner, _, name = account.partition("/")
            if owner == self.seller_id:
                for each in SELLER_ACCOUNTS:
                    self.wallet.setdefault(f"{currency}:{each}".encode(), b"0")
                self.wallet[f"{currency}:{name}".encode()] = str(after).encode()
        for command, key, *arguments in entry["writes"]:
            self._write(command, key, arguments)

    def _write(self, command: str, key: str, arguments: list[str]) -> None:
        kind, _, name = key.partition(":")
        if command == "SET" and kind == "y":
            self.payouts[name] = from_json(arguments[0])
        elif name != self.seller_id:
            return
        elif command == "SET" and kind == "p":
            self.profile = arguments[0].encode()
        elif kind in {"l", "L", "g"}:
            self._keep(self._kept(kind), command, arguments)
        elif kind == "q":
            self.waiting = self.waiting + 1 if command == "RPUSH" else 0

    def _kept(self, kind: str) -> dict[bytes, bytes]:
        return {"l": self.lots, "L": self.pending, "g": self.discounts}[kind]

    @staticmethod
    def _keep(lots: dict[bytes, bytes], command: str, arguments: list[str]) -> None:
        if command == "HSET":
            for lot, value in zip(arguments[::2], arguments[1::2], strict=True):
                lots[lot.encode()] = value.encode()
        elif command == "HDEL":
            for lot in arguments:
                lots.pop(lot.encode(), None)


def past_of(seller_id: str, entries: Iterable[tuple[bytes, int]], at_ms: int) -> Past:
    """A seller's keys behind the last entry that was booked up to a time."""
    past = Past(seller_id)
    for value, booked_ms in entries:
        if booked_ms > at_ms:
            break
        try:
            past.redo(from_json(value))
        except (KeyError, TypeError, ValueError) as error:
            raise JournalUnreadable(f"an entry of {seller_id} is none: {error!r}") from error
    return past


def read_past(ledger: Ledger, seller_id: str, at_ms: int) -> dict[str, Any] | None:
    """The statement at a time, as :func:`streams.wallets.statement.read_statement` has it now.

    None if nothing was known of the seller then. Blocking. Raises JournalUnreadable.
    """
    past = past_of(seller_id, ledger.raw_of_seller(seller_id), at_ms)
    if not past.entries:
        return None
    return statement_of(
        seller_id,
        past.profile,
        past.wallet,
        past.lots,
        pending=past.pending,
        discounts=past.discounts,
        payouts=past.payouts.values(),
        waiting=past.waiting,
    )
