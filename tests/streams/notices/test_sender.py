"""From the topic to the company, through a real Redis: once, in order, again, and never."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import Any

import pytest
import redis
from aiohttp import web

from models.notices import TRY_AFTER_MS
from models.refusals import Reason
from models.shards import shard_of
from streams.demo.process import free_port
from streams.notices.sender import LEASE_MARGIN_MS
from tests.streams.notices.harness import SECRET, Clock, Company, Product, kept, raw, update

HOUR_MS = 3_600_000


def answers(*statuses: int, **headers: str) -> Any:
    """These statuses, one a try, and the last of them for ever."""
    return lambda number, request: web.Response(
        status=statuses[min(number, len(statuses)) - 1],
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def reasons(product: Product) -> list[tuple[str, str]]:
    """Reason and detail of each dead letter."""
    headers = [dict(message.headers or ()) for message in product.sent]
    assert {message.topic for message in product.sent} <= {"dead-letters"}
    return [((h["reason"] or b"").decode(), (h["detail"] or b"").decode()) for h in headers]


async def test_each_update_is_delivered_once(
    redis_url: str, client: redis.Redis, company: Company
) -> None:
    async with Product(redis_url, company.url) as product:
        await product.take(*(raw(n, update(n)) for n in range(50)))
        assert kept(client) == 50
        assert await product.deliver() == 50
        assert await product.deliver() == 0
    assert [event["id"] for event in company.events] == [
        json.loads(update(n))["id"] for n in range(50)
    ]
    assert company.forged == 0
    assert list(client.scan_iter("notices*")) == []
    assert product.count("delivered") == 50


async def test_credit_is_told_of_too(redis_url: str, client: redis.Redis, company: Company) -> None:
    credit = {
        "v": 1, "type": "credit.granted", "id": "c1", "seller_id": "anna", "lot": "l1",
        "campaign": "first-sale", "period": "life", "tier": 1, "currency": "EUR",
        "amount_minor": 1_000, "at_ms": 1_795_600_000_000, "expires_ms": 0, "note": "not public",
    }  # fmt: skip
    value = json.dumps(credit).encode()
    async with Product(redis_url, company.url) as product:
        await product.take(raw(0, value, topic="spendback.credits"))
        await product.deliver()
    [event] = company.events
    assert event["type"] == "credit.granted"
    assert event["data"] == {
        "seller_id": "anna", "lot": "l1", "campaign": "first-sale", "period": "life", "tier": 1,
        "currency": "EUR", "amount_minor": 1_000, "expires_ms": 0,
    }  # fmt: skip


async def test_what_the_contract_does_not_name_is_never_sent(
    redis_url: str, client: redis.Redis, company: Company
) -> None:
    value = update(1, destination="v1.k1.sealed", email="anna@example.com")
    async with Product(redis_url, company.url) as product:
        await product.take(raw(0, value))
        await product.deliver()
    assert "destination" not in json.dumps(company.events)
    assert "anna@example.com" not in json.dumps(company.events)


async def test_a_message_that_comes_again_before_it_was_sent_is_sent_once(
    redis_url: str, client: redis.Redis, company: Company
) -> None:
    async with Product(redis_url, company.url) as product:
        await product.take(raw(7, update()))
        await product.take(raw(7, update()))
        await product.deliver()
    assert company.tries == 1


async def test_twice_500_then_200(redis_url: str, client: redis.Redis, company: Company) -> None:
    company.behave = answers(500, 500, 200)
    async with Product(redis_url, company.url) as product:
        await product.take(raw(0, update()))
        assert await product.deliver() == 1
        assert await product.deliver() == 0
        product.clock.ahead_ms += TRY_AFTER_MS[1] * 2
        assert await product.deliver() == 1
        product.clock.ahead_ms += TRY_AFTER_MS[1] * 2
        assert await product.deliver() == 0
        company.hook = _later(company, product)
        product.clock.ahead_ms += TRY_AFTER_MS[2] * 2
        assert await product.deliver() == 1
    assert len(set(company.ids)) == 1
    assert len(company.events) == 1
    assert (product.count("retried"), product.count("delivered")) == (2, 1)
    assert kept(client) == 0


def _later(company: Company, product: Product) -> Any:
    """A verifier that lives in the product's time: the package's own goes by the wall clock."""

    class Later:
        def verify(self, body: bytes, headers: dict[str, str]) -> Any:
            sent_s = int(headers["webhook-timestamp"])
            assert abs(sent_s - product.clock() // 1000) <= 2
            return json.loads(body)

    return Later()


async def test_never_taken_becomes_a_dead_letter_after_the_last_try(
    redis_url: str, client: redis.Redis, company: Company
) -> None:
    company.behave = answers(500)
    async with Product(redis_url, company.url) as product:
        company.hook = _later(company, product)
        await product.take(raw(3, update()))
        tries = 0
        for _ in TRY_AFTER_MS:
            assert product.sent == []
            tries += await product.deliver()
            product.clock.ahead_ms += 27 * HOUR_MS
        assert tries == company.tries == len(TRY_AFTER_MS) == 10
        assert await product.deliver() == 0
    assert reasons(product) == [("notice_undelivered", "tried 10 times; the last answer: http_500")]
    [letter] = product.sent
    assert (letter.key, letter.value) == (b"anna", update())
    assert dict(letter.headers or ())["topic"] == b"payouts.updates"
    assert dict(letter.headers or ())["offset"] == b"3"
    assert kept(client) == 0
    assert product.count("given_up") == 1


async def test_what_the_endpoint_asks_for_is_waited_for_within_a_bound(
    redis_url: str, client: redis.Redis, company: Company
) -> None:
    company.behave = answers(503, Retry_After="3600")
    async with Product(redis_url, company.url) as product:
        await product.take(raw(0, update()))
        await product.deliver()
        product.clock.ahead_ms += HOUR_MS - 60_000
        assert await product.deliver() == 0
        company.hook = _later(company, product)
        company.behave = answers(503, Retry_After="99999999")
        product.clock.ahead_ms += 120_000
        assert await product.deliver() == 1
        product.clock.ahead_ms += 24 * HOUR_MS + 1_000
        assert await product.deliver() == 1


async def test_gone_ends_it_with_a_metric_and_dead_letters(
    redis_url: str, client: redis.Redis, company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    company.behave = answers(410)
    async with Product(redis_url, company.url) as product:
        assert product.gauge("notices_endpoint_gone") == 0
        await product.take(raw(0, update(0)))
        await product.deliver()
        await product.take(raw(1, update(1)), raw(2, update(2)))
        await product.deliver()
    assert company.tries == 1
    assert product.gauge("notices_endpoint_gone") == 1
    assert reasons(product) == [("notice_undelivered", "the endpoint answered 410")] * 3
    assert product.count("gone") == 3
    assert [r.levelname for r in caplog.records if "410" in r.getMessage()] == ["ERROR"]
    assert "anna" not in caplog.text


async def test_sellers_do_not_wait_for_each_other_and_each_is_in_order(
    redis_url: str, client: redis.Redis, company: Company
) -> None:
    under_way: dict[str, int] = {}
    most = 0

    async def slow(number: int, request: web.Request) -> web.Response:
        nonlocal most
        seller = (await request.json())["data"]["seller_id"]
        under_way[seller] = under_way.get(seller, 0) + 1
        assert under_way[seller] == 1, "two of one seller at once"
        most = max(most, sum(under_way.values()))
        await asyncio.sleep(0.01)
        under_way[seller] -= 1
        return web.Response()

    company.behave = slow
    async with Product(redis_url, company.url, concurrency=4) as product:
        sellers = [f"s{n}" for n in range(10)]
        messages = [
            raw(i, update(i, seller), seller=seller)
            for i, seller in enumerate(s for _ in range(6) for s in sellers)
        ]
        await product.take(*messages)
        await product.deliver()
    assert 1 < most <= 4
    for n, seller in enumerate(sellers):
        ids = [e["id"] for e in company.events if e["data"]["seller_id"] == seller]
        assert ids == [json.loads(update(i))["id"] for i in range(n, 60, 10)]


async def test_one_that_failed_lets_the_later_ones_pass(
    redis_url: str, client: redis.Redis, company: Company
) -> None:
    company.behave = answers(500, 200)
    async with Product(redis_url, company.url) as product:
        await product.take(raw(0, update(0)), raw(1, update(1)))
        await product.deliver()
        assert [e["id"] for e in company.events] == [json.loads(update(1))["id"]]
        product.clock.ahead_ms += 10_000
        await product.deliver()
    assert len(company.events) == 2


async def test_above_the_bound_they_are_dead_letters_at_once(
    redis_url: str, client: redis.Redis, company: Company
) -> None:
    async with Product(redis_url, company.url, pending_max=3) as product:
        product.sender.delivering = False
        started = time.monotonic()
        await product.take(*(raw(n, update(n)) for n in range(5)))
        assert time.monotonic() - started < 1
        assert kept(client) == 3
        assert (
            reasons(product)
            == [("notice_undelivered", "too many notices wait for the endpoint")] * 2
        )
        assert product.count("overflow") == 2
        await product.deliver()
    assert len(company.events) == 3


async def test_an_endpoint_that_is_only_slow_is_waited_for(
    redis_url: str, client: redis.Redis, company: Company
) -> None:
    async with Product(redis_url, company.url, pending_max=2) as product:
        running = asyncio.create_task(product.sender.run())
        await product.take(*(raw(n, update(n)) for n in range(12)))
        await _until(lambda: len(company.events) == 12)
        await _end(running)
    assert product.sent == []


async def test_what_waits_is_in_the_gauges(
    redis_url: str, client: redis.Redis, company: Company
) -> None:
    company.behave = answers(500)
    async with Product(redis_url, company.url) as product:
        await product.take(raw(0, update(0)), raw(1, update(1, "bert"), seller="bert"))
        await product.deliver()
        product.clock.ahead_ms += 4_000
        await product.sender.once()
        assert product.gauge("notices_pending") == 2
        assert 4 <= (product.gauge("notices_oldest_seconds") or 0) < 6


async def test_two_workers_send_each_notice_once(
    redis_url: str, client: redis.Redis, company: Company
) -> None:
    async with Product(redis_url, company.url) as one, Product(redis_url, company.url) as other:
        await one.take(*(raw(n, update(n, f"s{n}"), seller=f"s{n}") for n in range(100)))
        await asyncio.gather(one.deliver(), other.deliver())
        assert one.count("delivered") + other.count("delivered") == 100
    assert company.tries == 100


async def test_a_worker_that_died_over_a_notice_is_followed_by_another(
    redis_url: str, client: redis.Redis, company: Company
) -> None:
    async def never(number: int, request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    company.behave = never
    clock = Clock()
    async with Product(redis_url, company.url, clock=clock, timeout_s=60) as dead:
        await dead.take(raw(0, update()))
        running = asyncio.create_task(dead.sender.run())
        await _until(lambda: company.tries == 1)
        # As after a kill: nothing is concluded.
        for task in list(dead.sender._under_way):
            task.cancel()
        await _end(running)
        assert kept(client) == 1
    company.behave = answers(200)
    async with Product(redis_url, company.url, clock=clock) as heir:
        assert await heir.deliver() == 0
        clock.ahead_ms += 60_000 + LEASE_MARGIN_MS
        company.hook = _later(company, heir)
        assert await heir.deliver() == 1
    assert company.ids[0] == company.ids[1]
    assert len(company.events) == 1


async def test_a_stop_lets_what_is_under_way_end(
    redis_url: str, client: redis.Redis, company: Company
) -> None:
    async def slow(number: int, request: web.Request) -> web.Response:
        await asyncio.sleep(0.3)
        return web.Response()

    company.behave = slow
    async with Product(redis_url, company.url) as product:
        await product.take(raw(0, update()))
        running = asyncio.create_task(product.sender.run())
        await _until(lambda: company.tries == 1)
        await _end(running)
    assert kept(client) == 0


async def test_an_emptied_redis_loses_what_waited_and_nothing_else(
    redis_url: str, client: redis.Redis, company: Company
) -> None:
    async with Product(redis_url, company.url) as product:
        await product.take(raw(0, update(0)))
        client.flushall()
        client.function_flush()
        # The first call finds the functions missing and loads them.
        running = asyncio.create_task(product.sender.run())
        await product.take(raw(1, update(1)))
        await _until(lambda: len(company.events) == 1)
        await _end(running)
    assert company.events[0]["id"] == json.loads(update(1))["id"]


@pytest.mark.parametrize(
    "value", [b"", b"{}", b"\xff", b'{"type":"payout.updated"}', b"[1]", update() + b" " * 70_000]
)
async def test_what_is_no_update_is_a_dead_letter(
    redis_url: str, client: redis.Redis, company: Company, value: bytes
) -> None:
    async with Product(redis_url, company.url) as product:
        await product.take(raw(0, value), raw(1, update()))
        await product.deliver()
    [(reason, _)] = reasons(product)
    assert reason == Reason.NOTICE_UNDELIVERED
    assert product.sent[0].value == value
    assert len(company.events) == 1
    assert product.count("unreadable") == 1


async def test_bytes_of_a_foreign_key_are_kept_as_they_are(
    redis_url: str, client: redis.Redis
) -> None:
    async with Product(redis_url, f"http://127.0.0.1:{free_port()}/") as product:
        message = raw(0, update())._replace(key=b"\xff\x00")
        await product.take(message)
        for _ in TRY_AFTER_MS:
            await product.deliver()
            product.clock.ahead_ms += 27 * HOUR_MS
    assert product.sent[0].key == b"\xff\x00"


async def test_the_keys_lie_in_the_slot_of_their_shard_and_not_among_the_wallets(
    redis_url: str, client: redis.Redis, company: Company
) -> None:
    async with Product(redis_url, company.url) as product:
        await product.take(raw(0, update()))
    names = {key.decode() for key in client.scan_iter("*") if b"notices" in key}
    tag = f"{{s{shard_of('anna')}}}"
    assert names == {f"notices{tag}:{part}" for part in ("due", "since", "text")}
    assert not list(client.scan_iter("{s*}:*"))
    assert SECRET.encode() not in b"".join(client.dump(name) or b"" for name in names)  # type: ignore[misc]


async def _until(condition: Any, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
