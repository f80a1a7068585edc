"""Purchases over HTTP: one behaviour with the events, booked once, and told as they were booked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis

from models import till
from models.till import Discount
from streams.api.keys import Scope
from streams.wallets.verify import verify
from tests.streams.api.harness import Caller, Reply, Shop, new_key
from tests.streams.api.test_api import balances, journal

ALL = "/v1/sellers/anna/authorisations"
EUR = {"currency": "EUR"}


def wanted(amount: int = 3_500, name: str = "p", **fields: Any) -> dict[str, Any]:
    """A purchase to be authorised: of more than anna's credit, which is below 3,000."""
    return {**EUR, "authorisation_id": name, "amount_minor": amount, **fields}


async def take(shop: Shop, what: str, amount: int, name: str = "p", **fields: Any) -> Reply:
    """A capture or a refund."""
    body = {**EUR, "amount_minor": amount, **fields}
    return await shop.call("POST", f"{ALL}/{name}/{what}", body)


async def test_from_authorisation_to_refund(open_shop: Shop) -> None:
    shop, call = open_shop, open_shop.call
    discount = Discount("d", "EUR", "c", amount_minor=100)
    await shop.company.wallets.post([till.give_discount("g", "anna", discount)])
    before = await balances(shop)
    [shown] = (await call("GET", "/v1/sellers/anna/wallet")).body["discounts"]
    assert (shown["discount"], shown["off_minor"], shown["products"]) == ("d", 100, [])
    reply = await call("POST", ALL, wanted(order_ref="o-1"))
    assert reply.status == 201, reply
    purchase, credit = reply.body["purchase"], before["credit"]
    assert (purchase["amount_minor"], purchase["left_minor"]) == (3_500, 3_500)
    assert {account: of["amount_minor"] for account, of in purchase["sources"].items()} == {
        "discount": 100, "credit": credit, "available": 3_400 - credit,
    }  # fmt: skip
    assert reply.body["balances"] == await balances(shop)
    assert reply.body["balances"]["authorised"] == 3_500

    first = (await take(shop, "captures", 700)).body["purchase"]
    assert first["sources"]["discount"]["captured_minor"] == 20
    second = (await take(shop, "captures", 1_000, final=True)).body["purchase"]
    assert (second["captured_minor"], second["released_minor"]) == (1_700, 1_800)
    assert (second["left_minor"], second["ended"]) == (0, "captured")
    back = (await take(shop, "refunds", 1_700)).body
    assert back["purchase"]["refunded_minor"] == 1_700
    now = back["balances"]
    assert (now["available"], now["credit"]) == (before["available"], before["credit"])

    assert (await call("GET", "/v1/sellers/anna/wallet")).body["discounts"] == []
    found = (await call("GET", f"{ALL}/p")).body
    assert {**found, **back["purchase"]} == found, "what is told is what stands"
    assert (found["order_ref"], found["parts"][0]["account"]) == ("o-1", "discount")
    await call("POST", ALL, wanted(name="q"))
    voided = (await call("POST", f"{ALL}/q/voids")).body["purchase"]
    assert (voided["ended"], voided["left_minor"]) == ("voided", 0)
    verdict = await asyncio.to_thread(verify, shop.company.settings, whole=True)
    assert verdict.ok, [check for check in verdict.checks if not check.ok]


async def test_an_event_and_a_request_are_one(open_shop: Shop) -> None:
    shop = open_shop

    def event(kind: str, name: str, **fields: Any) -> dict[str, Any]:
        return shop.company.event(f"purchase.{kind}", "anna", authorisation_id=name, **fields)

    lines = [{"group": "tea", "amount_minor": 5}]
    asked = {**EUR, "amount_minor": 10**6, "partial": True, "lines": lines, "discounts": False}
    reply = await shop.call("POST", ALL, {**asked, "authorisation_id": "over-http"})
    await shop.call("POST", f"{ALL}/over-http/voids")
    shop.company.publish("redemptions", event("authorised", "by-event", **asked))
    await shop.company.work()
    found = (await shop.call("GET", f"{ALL}/by-event")).body
    told = reply.body["purchase"]
    assert told["partial"]
    same = ("amount_minor", "partial", "sources")
    assert [found[name] for name in same] == [told[name] for name in same]
    await take(shop, "captures", 300, "by-event")
    shop.company.publish("redemptions", event("refunded", "by-event", **EUR, amount_minor=100))
    await shop.company.work()
    assert (await shop.call("GET", f"{ALL}/by-event")).body["refunded_minor"] == 100


async def test_a_repeat_is_told_what_was_booked_then(open_shop: Shop, client: redis.Redis) -> None:
    shop, call = open_shop, open_shop.call
    first = await call("POST", ALL, wanted(), key="a")
    await call("POST", ALL, wanted(name="q", amount=1), key="b")
    captured = await call("POST", f"{ALL}/p/captures", {**EUR, "amount_minor": 9}, key="c")
    client.flushall()
    assert (await call("POST", ALL, wanted(), key="a")).body == first.body
    again = await call("POST", f"{ALL}/p/captures", {**EUR, "amount_minor": 9}, key="c")
    assert (again.status, again.body) == (201, captured.body)
    # Bound to the body, and to the purchase that the path names.
    for path, body in ((f"{ALL}/p/captures", {**EUR, "amount_minor": 10}),
                       (f"{ALL}/q/captures", {**EUR, "amount_minor": 9}),
                       (f"{ALL}/p/refunds", {**EUR, "amount_minor": 9})):  # fmt: skip
        assert (await call("POST", path, body, key="c")).code == "id_reused"
    fold, _ = journal(shop)
    assert fold.kinds["purchase.captured"] == 1


async def test_each_refusal_has_its_code_and_moves_nothing(open_shop: Shop) -> None:
    shop, call = open_shop, open_shop.call
    before = await balances(shop)
    dear = await call("POST", ALL, wanted(10**9), key="dear")
    assert (dear.status, dear.code) == (422, "insufficient_funds")
    assert (await call("POST", ALL, wanted(10**9), key="dear")).body == dear.body
    nobody = await call("POST", ALL.replace("anna", "nobody"), wanted())
    assert (nobody.status, nobody.code) == (404, "unknown_seller")
    for path, body in ((f"{ALL}/x/captures", {**EUR, "amount_minor": 1}),
                       (f"{ALL}/x/voids", None),
                       (f"{ALL}/x/refunds", {**EUR, "amount_minor": 1})):  # fmt: skip
        assert (await call("POST", path, body)).code == "unknown_authorisation"
    assert (await call("GET", f"{ALL}/x")).code == "unknown_authorisation"
    assert await balances(shop) == before

    await call("POST", ALL, wanted(500))
    assert (await call("POST", ALL, wanted(1))).code == "authorisation_reused"
    assert (await take(shop, "captures", 501)).code == "capture_exceeds_authorisation"
    assert (await take(shop, "captures", 1, currency="USD")).code == "currency_mismatch"
    assert (await take(shop, "refunds", 1)).code == "refund_exceeds_capture"
    assert (await call("POST", f"{ALL}/p/voids")).status == 201
    assert (await call("POST", f"{ALL}/p/voids")).code == "authorisation_closed"
    assert (await take(shop, "captures", 1)).code == "authorisation_closed"
    assert await balances(shop) == before
    wrong = [
        ({**wanted(), "lines": [{"group": "tea", "amount_minor": -1}]}, "amount_negative"),
        ({**wanted(), "lines": [{"group": "tea", "amount_minor": 1, "x": 1}]}, "invalid_field"),
        ({**wanted(), "partial": 1}, "wrong_type"),
        (EUR, "missing_field"),
    ]
    for body, code in wrong:
        assert (await call("POST", ALL, body)).code == code, body
    shop.company.publish("sellers", shop.company.seller("anna", status="suspended"))
    await shop.company.work()
    assert (await call("POST", ALL, wanted(1, "s"))).code == "seller_suspended"


@pytest.mark.parametrize("scope", [Scope.BUY, Scope.REFUND])
async def test_a_till_that_may_not_refund(open_shop: Shop, scope: Scope) -> None:
    call = open_shop.call
    one = Caller(call._session, call.url, new_key(open_shop.keys, scope))
    open_shop.api.keys.refresh()
    refund = await one("POST", f"{ALL}/x/refunds", {**EUR, "amount_minor": 1})
    buy = await one("POST", f"{ALL}/x/voids")
    allowed, other = (buy, refund) if scope is Scope.BUY else (refund, buy)
    assert allowed.code == "unknown_authorisation"
    assert other.code == "scope_missing"
