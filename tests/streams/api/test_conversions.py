"""Quotes and conversions over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from streams.api.keys import Scope
from tests.streams.api.harness import Caller, Shop, new_key

WALLET = "/v1/sellers/anna/wallet"
QUOTES = "/v1/sellers/anna/quotes"
PAYOUTS = "/v1/sellers/anna/payouts"
CONVERSIONS = "/v1/sellers/anna/conversions"
EUR_USD = {"source_currency": "EUR", "target_currency": "USD"}


@pytest.fixture
async def open_desk(open_shop: Shop) -> Shop:
    """A shop that knows what a euro is in dollars."""
    company = open_shop.company
    expires = datetime.fromtimestamp(company.clock.now_ms / 1000 + 600, UTC).isoformat()
    company.publish("rates", company.event(
        "rate.quoted", "EUR-USD", **EUR_USD, numerator=10_842, denominator=10_000,
        expires_at=expires,
    ))  # fmt: skip
    await company.work()
    return open_shop


async def test_a_quote_is_made_and_used_once(open_desk: Shop) -> None:
    call = open_desk.call
    before = (await call("GET", WALLET)).body["accounts"]["EUR"]
    quote = await call("POST", QUOTES, {**EUR_USD, "source_minor": 1_000}, key="k1")
    assert quote.status == 201
    told: dict[str, Any] = quote.body
    assert (told["mid"], told["rate"]) == ("1.0842", "1.073358")
    figures = ("sold_minor", "bought_minor", "markup_minor", "rounding_minor")
    assert [told[name] for name in figures] == [1_000, 1_073, 10, 1]
    assert told["balances"] == {
        **before, "available": before["available"] - 1_000, "quoted": 1_000,
    }  # fmt: skip
    assert (await call("POST", QUOTES, {**EUR_USD, "source_minor": 1_000}, key="k1")).body == told
    wanted = {"quote_id": told["quote_id"]}
    used = await call("POST", CONVERSIONS, wanted, key="k2")
    assert (used.status, used.body["balances"]["quoted"]) == (201, 0)
    assert used.body["target_balances"]["available"] == 1_073
    assert (await call("POST", CONVERSIONS, wanted, key="k2")).body == used.body
    again = await call("POST", CONVERSIONS, wanted)
    assert (again.status, again.code) == (409, "quote_used")


async def test_a_payout_uses_a_quote_or_does_nothing(open_desk: Shop) -> None:
    call, company = open_desk.call, open_desk.company
    company.publish("sellers", company.seller("anna", receiver="anna@example.com"))
    await company.work()
    quote = await call("POST", QUOTES, {**EUR_USD, "target_minor": 1_000})
    wanted = {"currency": "USD", "quote_id": quote.body["quote_id"]}
    wrong = await call("POST", PAYOUTS, {**wanted, "currency": "EUR"})
    assert (wrong.status, wrong.code) == (422, "currency_mismatch")
    paid = await call("POST", PAYOUTS, wanted, key="k1")
    assert paid.status == 201, paid
    assert paid.body["amount_minor"] + paid.body["fee_minor"] == 1_000
    assert (await call("POST", PAYOUTS, wanted, key="k1")).body == paid.body
    again = await call("POST", PAYOUTS, wanted)
    assert (again.status, again.code) == (409, "quote_used")
    wallet = (await call("GET", WALLET)).body["accounts"]
    assert (wallet["EUR"]["quoted"], wallet["USD"]["in_flight"]) == (0, 1_000)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({**EUR_USD}, 422, "invalid_field"),
        ({**EUR_USD, "source_minor": 1, "target_minor": 1}, 422, "invalid_field"),
        ({**EUR_USD, "target_currency": "EUR", "source_minor": 1}, 422, "invalid_field"),
        ({**EUR_USD, "target_currency": "CHF", "source_minor": 1}, 422, "rate_unknown"),
        ({**EUR_USD, "source_minor": 10**9}, 422, "insufficient_available"),
        ({**EUR_USD, "target_minor": 10**12}, 422, "amount_too_large"),
        ({"source_currency": "USD", "target_currency": "EUR", "source_minor": 1}, 422,
         "conversion_too_small"),
    ],
)  # fmt: skip
async def test_what_is_refused(
    open_desk: Shop, body: dict[str, Any], status: int, code: str
) -> None:
    reply = await open_desk.call("POST", QUOTES, body)
    assert (reply.status, reply.code) == (status, code)


async def test_needs_its_scope_and_its_own_quote(open_desk: Shop) -> None:
    call = open_desk.call
    reader = Caller(call._session, call.url, new_key(open_desk.keys, Scope.PAY, client="shop"))
    open_desk.api.keys.refresh()
    reply = await reader("POST", QUOTES, {**EUR_USD, "source_minor": 1_000})
    assert (reply.status, reply.code) == (403, "scope_missing")
    quote = await call("POST", QUOTES, {**EUR_USD, "source_minor": 1_000})
    berta = "/v1/sellers/berta/conversions"
    reply = await call("POST", berta, {"quote_id": quote.body["quote_id"]})
    assert (reply.status, reply.code) == (404, "quote_unknown")
