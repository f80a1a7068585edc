"""History over HTTP: pages that go on where the one before ended, and read only so much."""

from __future__ import annotations

import json
from typing import Any

import pytest

from models.shards import SHARDS, partition_of, shard_of
from streams.api import history as pages
from streams.wallets.journal import Journal
from tests.streams.api.harness import Shop
from tests.streams.wallets.harness import PARTITIONS

PATH = "/v1/sellers/anna/history"


async def walk(shop: Shop, **query: Any) -> tuple[list[dict[str, Any]], int]:
    """All of anna's movements, page by page, and how many pages that took."""
    found: list[dict[str, Any]] = []
    more, count = True, 0
    while more:
        reply = await shop.call("GET", PATH, params=query)
        assert reply.status == 200, reply
        assert count < 100, "it does not go on"
        found += reply.body["movements"]
        query["cursor"], more, count = reply.body["cursor"], reply.body["more"], count + 1
    return found, count


async def spent(shop: Shop, *sellers: str) -> None:
    """Each has something booked, in turn."""
    for number, seller in enumerate(sellers):
        shop.company.publish("sellers", shop.company.seller(seller))
        shop.company.publish("sales", shop.company.sale(seller, 900, f"more-{number}"))
        await shop.company.work()


async def test_pages_hold_what_moved_and_go_on(open_shop: Shop) -> None:
    shop = open_shop
    body = {"currency": "EUR", "amount_minor": 100, "order_ref": "o"}
    redeemed = await shop.call("POST", "/v1/sellers/anna/redemptions", body)
    whole, count = await walk(shop)
    assert count == 1
    last = whole[-1]
    assert (last["kind"], last["reference"]) == ("credit.redeemed", redeemed.body["id"])
    assert last["postings"] == [
        {"account": "credit", "currency": "EUR", "amount_minor": -100,
         "after_minor": redeemed.body["balances"]["credit"]}
    ]  # fmt: skip
    assert await walk(shop, limit=1) == (whole, len(whole))
    first = (await shop.call("GET", PATH)).body["cursor"]
    assert (await shop.call("GET", PATH, params={"cursor": first})).body["movements"] == []
    await shop.call("POST", "/v1/sellers/anna/redemptions", body)
    [later] = (await shop.call("GET", PATH, params={"cursor": first})).body["movements"]
    assert later["kind"] == "credit.redeemed"
    nobody = await shop.call("GET", PATH.replace("anna", "nobody"))
    assert nobody.body["movements"] == []


async def test_a_page_reads_only_so_much(open_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where most of what it reads is of others."""
    shop = open_shop
    others = [f"other-{number}" for number in range(3)]
    await spent(shop, *others, "anna", *others)
    whole, count = await walk(shop)
    assert count == 1
    monkeypatch.setattr(pages, "MESSAGES_MAX", 2)
    found, count = await walk(shop)
    assert found == whole
    journal = Journal(shop.company.settings.kafka_client())
    messages = len(list(journal.read(partition_of("anna", PARTITIONS))))
    assert messages > 2 * len(whole)
    assert messages // 2 <= count <= messages // 2 + 1


async def test_a_page_does_not_end_where_no_other_could_go_on(
    open_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry came before its turn, and the one in front of it behind more than a page reads."""
    shop = open_shop
    whole, _ = await walk(shop)
    cursor = (await shop.call("GET", PATH)).body["cursor"]
    shard, seq, epoch, *_ = map(int, cursor.split("-"))

    def entry(of: int, number: int, seller: str, after: int) -> bytes:
        moved = [["anna/credit", "EUR", 1, after], ["/spendback", "EUR", -1, -after]]
        return json.dumps(
            {"v": 1, "shard": of, "seq": number, "epoch": epoch, "kind": "k", "id": f"e{number}",
             "seller": seller, "at": 1, "postings": moved, "writes": []},
            separators=(",", ":"),
        ).encode()  # fmt: skip

    of_others = entry((shard + PARTITIONS) % SHARDS, 9_999, "x", 0)
    early, late = entry(shard, seq + 2, "anna", 2), entry(shard, seq + 1, "anna", 1)
    shop.company.publish("ledger", early, *[of_others] * 5, late, key="anna")
    monkeypatch.setattr(pages, "MESSAGES_MAX", 2)
    found, _ = await walk(shop)
    assert [each["reference"] for each in found[len(whole) :]] == [f"e{seq + 1}", f"e{seq + 2}"]


async def test_what_cannot_be_a_page(open_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    call = open_shop.call
    shard = shard_of("anna")
    for cursor in ("x", "", f"{shard}-5-1-999999-0", f"{(shard + 1) % SHARDS}-0-0-0-0"):
        reply = await call("GET", PATH, params={"cursor": cursor})
        assert (reply.status, reply.code) == (422, "cursor_invalid"), cursor
    for query in ("limit=0", "limit=201", "limit=1_0", "limit=%2B1", "limit=", "limit=1&limit=2",
                  "page=2", "cursor=" + "1" * 99):  # fmt: skip
        assert (await call("GET", f"{PATH}?{query}")).code == "invalid_field", query
    monkeypatch.setattr(pages, "READERS_MAX", 0)
    busy = await call("GET", PATH)
    assert (busy.code, busy.headers["Retry-After"]) == ("busy", "1")
