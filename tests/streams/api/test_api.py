"""The API through real servers: what it answers is booked, once, and can no longer be lost."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import redis

from models.ledger import Entry, Fold
from models.shards import shard_of
from streams.api.keys import Scope
from streams.wallets.journal import Journal
from tests.streams.api.harness import Caller, Shop, new_key
from tests.streams.wallets.harness import PARTITIONS

WALLET = "/v1/sellers/anna/wallet"
REDEEM = "/v1/sellers/anna/redemptions"
PAY = "/v1/sellers/anna/payouts"
REINVEST = "/v1/sellers/anna/reinvestments"
PROFILE = "/v1/sellers/anna/profile"


def spend(amount: int = 100, **fields: Any) -> dict[str, Any]:
    """A redemption."""
    return {"currency": "EUR", "amount_minor": amount, "order_ref": "order-1", **fields}


def journal(shop: Shop) -> tuple[Fold, list[Entry]]:
    """What the ledger says."""
    fold, entries = Fold(), []
    source = Journal(shop.company.settings.kafka_client())
    for partition in range(PARTITIONS):
        for one in source.read(partition):
            entries += fold.add(Entry.parse(one.value), one.offset)
    assert not fold.violations
    return fold, entries


async def balances(shop: Shop) -> dict[str, int]:
    """What anna has, in EUR."""
    reply = await shop.call("GET", WALLET)
    assert reply.status == 200
    found: dict[str, int] = reply.body["accounts"]["EUR"]
    return found


async def payable(shop: Shop) -> None:
    """Anna gets a destination, without being paid at once."""
    shop.company.publish("sellers", shop.company.seller("anna", receiver="anna@example.com"))
    await shop.company.work()


async def test_what_is_answered_is_in_the_ledger(open_shop: Shop) -> None:
    before = await balances(open_shop)
    reply = await open_shop.call("POST", REDEEM, spend(), key="k1")
    _, entries = journal(open_shop)
    assert reply.status == 201
    [entry] = [each for each in entries if each.id == reply.body["id"]]
    assert entry.kind == "credit.redeemed"
    assert entry.source is None
    assert reply.body["balances"] == {**before, "credit": before["credit"] - 100}
    assert await balances(open_shop) == reply.body["balances"]


async def test_a_repeat_is_answered_alike_and_books_nothing(
    open_shop: Shop, client: redis.Redis
) -> None:
    call = open_shop.call
    first = await call("POST", REDEEM, spend(), key="k1")
    await call("POST", REDEEM, spend())
    again = await call("POST", REDEEM, spend(), key="k1")
    assert (again.status, again.body) == (first.status, first.body)
    # The same JSON, written otherwise; the key without quotes.
    body = json.dumps(spend(), indent=3, sort_keys=True)
    headers = {"Idempotency-Key": "k1", "Content-Type": "application/json"}
    again = await call("POST", REDEEM, headers=headers, data=body)
    assert (again.status, again.body) == (201, first.body)
    # Another key of the same client, as when one is replaced.
    other = Caller(call._session, call.url, new_key(open_shop.keys))
    open_shop.api.keys.refresh()
    assert (await other("POST", REDEEM, spend(), key="k1")).body == first.body
    # Another client's is another request.
    stranger = Caller(call._session, call.url, new_key(open_shop.keys, client="shop"))
    open_shop.api.keys.refresh()
    assert (await stranger("POST", REDEEM, spend(), key="k1")).body["id"] != first.body["id"]
    assert (await call("POST", REDEEM, spend(101), key="k1")).code == "id_reused"
    assert (await call("POST", PAY, {"currency": "EUR"}, key="k1")).code == "id_reused"
    client.flushall()
    assert (await call("POST", REDEEM, spend(), key="k1")).body == first.body
    fold, _ = journal(open_shop)
    assert fold.kinds["credit.redeemed"] == 3


async def test_a_refusal_stands(open_shop: Shop) -> None:
    reply = await open_shop.call("POST", REDEEM, spend(10**9), key="k1")
    assert (reply.status, reply.code) == (422, "insufficient_credit")
    assert (await open_shop.call("POST", REDEEM, spend(10**9), key="k1")).body == reply.body
    fold, _ = journal(open_shop)
    assert fold.refusals == 1


async def test_many_at_once_share_the_way_and_each_has_its_own_answer(open_shop: Shop) -> None:
    before = (await balances(open_shop))["credit"]
    keys = [f"k{number % 40}" for number in range(80)]
    replies = await asyncio.gather(*(open_shop.call("POST", REDEEM, spend(1), key=k) for k in keys))
    by_key: dict[str, set[str]] = {}
    for key, reply in zip(keys, replies, strict=True):
        assert reply.status in {201, 409}
        if reply.status == 409:
            assert reply.code == "in_flight"
            assert reply.headers["Retry-After"] == "2"
        else:
            by_key.setdefault(key, set()).add(json.dumps(reply.body, sort_keys=True))
    assert {key: len(bodies) for key, bodies in by_key.items()} == dict.fromkeys(keys, 1)
    assert (await balances(open_shop))["credit"] == before - 40


async def test_what_is_available_is_paid_out_and_can_be_stopped(open_shop: Shop) -> None:
    call = open_shop.call
    assert (await call("POST", PAY, {"currency": "EUR"})).code == "payout_not_possible"
    await payable(open_shop)
    assert (await call("POST", PAY, {"currency": "USD"})).code == "nothing_available"
    available = (await balances(open_shop))["available"]
    assert available == 3_000
    reply = await call("POST", PAY, {"currency": "EUR"}, key="p1")
    assert reply.status == 201, reply
    assert reply.body["amount_minor"] + reply.body["fee_minor"] == available
    path = f"{PAY}/{reply.body['payout_id']}"
    found = await call("GET", path)
    assert (found.status, found.body["state"]) == (200, "reserved")
    assert not {"destination", "seller_id"} & found.body.keys()
    assert (await call("GET", path.replace("anna", "ben"))).code == "unknown_payout"
    assert (await call("GET", f"{PAY}/none")).code == "unknown_payout"
    assert (await call("POST", f"{path}/cancel")).status == 202
    assert (await call("POST", PAY, {"currency": "EUR"}, key="p1")).body == reply.body
    commands = [sent for sent in topic(open_shop, "payouts.commands") if b"cancel" in sent]
    assert json.loads(commands[-1])["payout_id"] == reply.body["payout_id"]


async def test_earnings_are_reinvested_once(open_shop: Shop) -> None:
    call, before = open_shop.call, await balances(open_shop)
    body = {"currency": "EUR", "amount_minor": 1_000}
    reply = await call("POST", REINVEST, body, key="r1")
    assert reply.status == 201, reply
    assert (reply.body["amount_minor"], reply.body["bonus_minor"]) == (1_000, 0)
    after = {**before, "available": 2_000, "credit": before["credit"] + 1_000}
    assert reply.body["balances"] == after == await balances(open_shop)
    assert (await call("POST", REINVEST, body, key="r1")).body == reply.body
    assert (await call("POST", REINVEST, {"currency": "EUR"}, key="r1")).code == "id_reused"
    refusals = [
        ({**body, "amount_minor": 2_001}, REINVEST, "insufficient_funds"),
        ({**body, "amount_minor": 0}, REINVEST, "amount_negative"),
        ({**body, "percent": 20}, REINVEST, "invalid_field"),
        ({"currency": "USD"}, REINVEST, "nothing_available"),
        (body, REINVEST.replace("anna", "nobody"), "unknown_seller"),
    ]
    for wrong, path, code in refusals:
        assert (await call("POST", path, wrong)).code == code
    reader = Caller(call._session, call.url, new_key(open_shop.keys, Scope.READ))
    open_shop.api.keys.refresh()
    assert (await reader("POST", REINVEST, body)).code == "scope_missing"
    all_of_it = await call("POST", REINVEST, {"currency": "EUR"})
    assert (all_of_it.body["amount_minor"], all_of_it.body["balances"]["available"]) == (2_000, 0)
    wallet = (await call("GET", WALLET)).body
    assert [lot["left_minor"] for lot in wallet["lots"] if lot["campaign"] == "@reinvested"] == [
        3_000
    ]
    fold, _ = journal(open_shop)
    assert fold.kinds["earnings.reinvested"] == 2
    assert fold.reinvested["anna", "EUR"] == 3_000
    text = open_shop.api.metrics.exposition().decode()
    counted = 'payouts_booked_minor_units_total{currency="EUR",direction="reinvested"} 3000.0'
    assert counted in text


def topic(shop: Shop, name: str) -> list[bytes]:
    """Every message of a topic."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({**shop.company.settings.kafka_client(), "group.id": "t",
                         "enable.partition.eof": True})  # fmt: skip
    consumer.assign([TopicPartition(name, p, 0) for p in range(PARTITIONS)])
    found, ended = [], 0
    while ended < PARTITIONS:
        message = consumer.poll(10)
        assert message is not None
        if message.error() is None:
            found.append(message.value() or b"")
        else:
            ended += 1
    consumer.close()
    return found


async def test_a_profile_goes_to_its_topic_and_comes_back(open_shop: Shop) -> None:
    sealed = open_shop.company.seal.seal("anna", "anna@example.com")
    update = {"country": "AT", "zone": "Europe/Vienna", "tier": "gold", "tags": ["vip"],
              "payout": {"rail": "paypal", "destination": sealed},
              "reinvest": {"EUR": {"percent": 20}}}  # fmt: skip
    reply = await open_shop.call("PUT", PROFILE, update)
    assert (reply.status, reply.body["status"]) == (202, "accepted")
    sent = json.loads(topic(open_shop, "sellers")[-1])
    assert (sent["tier"], sent["tags"]) == ("gold", ["vip"]), "what is not sent would be deleted"
    await open_shop.company.work()
    found = await open_shop.call("GET", PROFILE)
    assert (found.body["country"], found.body["zone"]) == ("AT", "Europe/Vienna")
    assert found.body["methods"] == [{"rails": ["paypal"], "standing": "on file"}]
    assert found.body["reinvest"] == {"EUR": {"percent": 20, "keep_minor": 0}}
    wrong = {**update, "reinvest": {"EUR": {"percent": 101}}}
    assert (await open_shop.call("PUT", PROFILE, wrong)).code == "percent_out_of_range"
    assert "destination" not in json.dumps(found.body)
    assert (await open_shop.call("GET", "/v1/sellers/nobody/profile")).code == "not_found"


async def test_who_may_not(open_shop: Shop) -> None:
    call = open_shop.call
    reader = Caller(call._session, call.url, new_key(open_shop.keys, Scope.READ))
    open_shop.api.keys.refresh()
    assert (await reader("GET", WALLET)).status == 200
    assert (await reader("POST", REDEEM, spend())).code == "scope_missing"
    for token in ("", "x", "pk_" + "0" * 12 + "_" + "A" * 43, call.token[:-1] + "-"):
        reply = await Caller(call._session, call.url, token)("GET", WALLET)
        assert (reply.status, reply.code) == (401, "unauthenticated")
        assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert call.token.encode() not in open_shop.keys.read_bytes()
    assert call.token.split("_", 2)[2] not in open_shop.keys.read_text()


async def test_rubbish(open_shop: Shop) -> None:
    call = open_shop.call
    json_ = {"Content-Type": "application/json"}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"data": b"", "headers": json_}, "empty"),
        ({"data": b"{", "headers": json_}, "not_json"),
        ({"data": b"\xff", "headers": json_}, "not_utf8"),
        ({"data": b"[]", "headers": json_}, "wrong_type"),
        ({"data": b"{}", "headers": {"Content-Type": "text/plain"}}, "media_type_unsupported"),
        ({"data": b" " * 70_000, "headers": json_}, "too_large"),
        ({"body": {}}, "missing_field"),
        ({"body": spend(0)}, "amount_negative"),
        ({"body": spend(10**13)}, "amount_too_large"),
        ({"body": spend(1.5)}, "amount_not_integer"),  # type: ignore[arg-type]
        ({"body": spend(currency="ABC")}, "unknown_currency"),
        ({"body": spend(order_ref="a b")}, "invalid_field"),
        ({"body": spend(ammount=1)}, "invalid_field"),
        ({"body": spend(), "key": ""}, "key_missing"),
        ({"body": spend(), "headers": {"Idempotency-Key": '"a b"'}}, "key_invalid"),
    ]
    for given, code in wrong:
        reply = await call("POST", REDEEM, **given)
        assert reply.code == code, given

    async def without_length() -> Any:
        yield b" " * 70_000

    endless = await call("POST", REDEEM, data=without_length(), headers=json_)
    assert endless.code == "too_large"
    assert (await call("GET", "/v1/sellers/a%20b/wallet")).code == "not_found"
    assert (await call("GET", "/v2/x")).code == "not_found"
    deleted = await call("DELETE", WALLET)
    assert deleted.code == "method_not_allowed"
    assert deleted.headers["Allow"]
    assert (await call("GET", "/problems/id_reused")).body.startswith(b"id_reused: ")
    fold, _ = journal(open_shop)
    assert not fold.kinds["credit.redeemed"]


async def test_it_says_how_it_is(open_shop: Shop) -> None:
    assert (await open_shop.call("GET", "/healthz")).body == {"status": "ok", "healed": True}
    assert (await open_shop.call("GET", "/openapi.json")).body["openapi"] == "3.1.0"
    await open_shop.call("GET", WALLET)
    text = open_shop.api.metrics.exposition().decode()
    assert 'payouts_api_requests_total{endpoint="wallet",status="200"} 1.0' in text
    assert "anna" not in text


async def test_a_stop_finishes_what_is_under_way(open_shop: Shop, client: redis.Redis) -> None:
    gate = asyncio.Event()
    send = open_shop.api.wallets._send

    async def slow(messages: Any) -> Any:
        await gate.wait()
        return await send(messages)

    open_shop.api.wallets._send = slow
    asking = asyncio.create_task(open_shop.call("POST", REDEEM, spend(), key="k1"))
    while not client.xlen(f"{{s{shard_of('anna')}}}:o"):  # noqa: ASYNC110 - Redis has no event
        await asyncio.sleep(0.01)
    open_shop.api.stopping.set()
    await asyncio.sleep(0.3)
    assert not asking.done()
    assert not open_shop.serving.done()
    try:
        await open_shop.call("GET", WALLET)
        raise AssertionError("it takes requests while it stops")
    except aiohttp.ClientConnectionError:
        pass
    gate.set()
    assert (await asking).status == 201
    assert await open_shop.serving == 0
    fold, _ = journal(open_shop)
    assert fold.kinds["credit.redeemed"] == 1
