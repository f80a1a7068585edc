"""Statements for machines: CSV with decimals, JSON with minor units."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from models.ledger import SELLER_ACCOUNTS
from models.moments import rfc_3339
from models.money import decimal, exponent
from models.movements import Movement
from models.statement import Balances, CompanyStatement, Period, Statement
from streams.statements.sheet import kind_words

_HEAD = ("seller_id", "row", "at", "entry", "kind", "reason", "reference", "payout_id", "currency")


def seller_csv(statement: Statement, made_ms: int) -> str:
    """A row for each opening balance, movement and closing balance, by currency.

    Of a movement the accounts' columns hold what it moved, and those with ``_after`` what they
    were at behind it. A period that is not over ends when the statement was made.
    """
    named = {name for currency in statement.currencies() for name in statement.accounts(currency)}
    accounts = [*SELLER_ACCOUNTS, *sorted(named.difference(SELLER_ACCOUNTS))]
    head = (*_HEAD, *accounts, *(f"{account}_after" for account in accounts))
    rows: list[Sequence[str]] = []
    for currency in statement.currencies():
        opening = statement.opening.get(currency, {})
        closing = statement.closing.get(currency, {})
        since_ms, until_ms = statement.period.since_ms, min(statement.period.until_ms, made_ms)
        start = (statement.seller_id, "opening", rfc_3339(since_ms), *[""] * 5, currency)
        rows.append([*start, *_balances(opening, accounts, currency)])
        for movement in statement.movements:
            if any(posting.currency == currency for posting in movement.postings):
                rows.append(_movement_row(statement.seller_id, movement, currency, accounts))
        end = (statement.seller_id, "closing", rfc_3339(until_ms), *[""] * 5, currency)
        rows.append([*end, *_balances(closing, accounts, currency)])
    return _csv(head, rows)


def _balances(balances: Mapping[str, int], accounts: Sequence[str], currency: str) -> list[str]:
    amounts = [decimal(balances.get(account, 0), currency) for account in accounts]
    return [*[""] * len(accounts), *amounts]


def _movement_row(
    seller_id: str, movement: Movement, currency: str, accounts: Sequence[str]
) -> list[str]:
    moved = {p.account: p for p in movement.postings if p.currency == currency}
    changes = [decimal(moved[a].minor, currency) if a in moved else "" for a in accounts]
    after = [decimal(moved[a].after, currency) if a in moved else "" for a in accounts]
    return [
        *(seller_id, "movement", rfc_3339(movement.at_ms), _entry(movement), movement.kind),
        *(movement.words, movement.reference, movement.payout_id or "", currency),
        *changes,
        *after,
    ]


def _entry(movement: Movement) -> str:
    """Where the journal has it: shard and number."""
    return f"{movement.shard}/{movement.seq}"


def company_csv(statement: CompanyStatement) -> str:
    """A row for each account's opening balance, movements by kind, and closing balance."""
    head = ("currency", "account", "row", "kind", "reason", "entries", "amount")
    rows: list[Sequence[str]] = []
    for currency in statement.currencies():
        for line in statement.of(currency):
            start = (currency, line.account)
            rows.append((*start, "opening", "", "", "", decimal(line.opening_minor, currency)))
            for kind, entries, minor in line.totals():
                told = ("movement", kind, kind_words(kind), str(entries), decimal(minor, currency))
                rows.append((*start, *told))
            rows.append((*start, "closing", "", "", "", decimal(line.closing_minor, currency)))
    return _csv(head, rows)


def _csv(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")  # RFC 4180
    writer.writerow(head)
    writer.writerows(rows)
    return out.getvalue()


def movement_json(movement: Movement) -> dict[str, Any]:
    """A movement; amounts in minor units."""
    return {
        "shard": movement.shard,
        "seq": movement.seq,
        "at": rfc_3339(movement.at_ms),
        "kind": movement.kind,
        "reason": movement.words,
        "reference": movement.reference,
        "payout_id": movement.payout_id,
        "rail": movement.rail,
        "postings": [
            {
                "account": posting.account,
                "currency": posting.currency,
                "amount_minor": posting.minor,
                "after_minor": posting.after,
            }
            for posting in movement.postings
        ],
    }


def seller_json(statement: Statement, made_ms: int) -> str:
    """All of a statement; amounts in minor units, with the decimals of each currency."""
    told = {
        "seller_id": statement.seller_id,
        **_period_json(statement.period, made_ms),
        "decimals": {currency: exponent(currency) for currency in statement.currencies()},
        "opening": _balances_json(statement.opening),
        "movements": [movement_json(movement) for movement in statement.movements],
        "closing": _balances_json(statement.closing),
    }
    return json.dumps(told, indent=2) + "\n"


def _balances_json(balances: Balances) -> dict[str, dict[str, int]]:
    return {
        currency: {**dict.fromkeys(SELLER_ACCOUNTS, 0), **accounts}
        for currency, accounts in balances.items()
    }


def company_json(statement: CompanyStatement, made_ms: int) -> str:
    """All of a statement; amounts in minor units, with the decimals of each currency."""
    told = {
        **_period_json(statement.period, made_ms),
        "decimals": {currency: exponent(currency) for currency in statement.currencies()},
        "accounts": [
            {
                "account": line.account,
                "currency": currency,
                "opening_minor": line.opening_minor,
                "movements": [
                    {
                        "kind": total.kind,
                        "reason": kind_words(total.kind),
                        "entries": total.entries,
                        "amount_minor": total.minor,
                    }
                    for total in line.totals()
                ],
                "closing_minor": line.closing_minor,
            }
            for currency in statement.currencies()
            for line in statement.of(currency)
        ],
    }
    return json.dumps(told, indent=2) + "\n"


def _period_json(period: Period, made_ms: int) -> dict[str, Any]:
    return {
        "period": period.label,
        "zone": period.zone,
        "since": rfc_3339(period.since_ms),
        "until": rfc_3339(period.until_ms),
        "made": rfc_3339(made_ms),
        "complete": made_ms >= period.until_ms,
    }
