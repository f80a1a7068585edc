"""The rails' own books: every configured rail that is a sandbox is read, each server once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from models.shards import SHARDS
from rails.circle.mapping import payout_key
from rails.registry import PROVIDERS, open_rails
from rails.sandbox.server import Sandbox, serve
from rails.settings import RailSettings
from streams.demo.stack import POLICY
from streams.settings import load_settings
from streams.wallets import evidence, railbooks
from streams.wallets.railbooks import BooksAbsent, Execution, joined, read_books, sandbox_root
from streams.wallets.verify import Check, verify
from tests.streams.wallets.harness import Company, Shard

RAILS = ("adyen", "circle", "marqeta", "paypal")
BOOKS = "payouts agree with the rail's books"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with await serve(settle_delay_ms=0) as served:
        yield served


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is late on a broker that has nothing else to do."""
    monkeypatch.setattr(evidence, "QUIET_S", 0.05)
    monkeypatch.setattr(evidence, "LATE_MAX_S", 0.3)


class TestWhichAreRead:
    @pytest.mark.parametrize("rail", [name for name in PROVIDERS if name != "iso20022"])
    def test_a_sandbox_s_root_is_found_from_each_rail_s_address(self, rail: str) -> None:
        settings = sandbox_settings(rail, "http://sandbox.test:8700/some")
        assert sandbox_root(rail, settings) == "http://sandbox.test:8700/some"

    def test_a_provider_s_own_address_is_left_alone(self) -> None:
        settings = load_settings(
            adyen_api_key="k", circle_api_key="k", marqeta_access_token="t"
        ).rails()
        assert set(settings) == set(RAILS)
        books = read_books(settings)
        assert books.absent == dict.fromkeys(settings, "the rail is the provider's own")
        assert (books.read, books.rows, books.failed) == ([], [], [])

    @pytest.mark.parametrize("host", ["paypal.com", "api-m.paypal.com", "API-M.PayPal.com"])
    def test_so_is_any_host_of_its_domain(self, host: str) -> None:
        with pytest.raises(BooksAbsent):
            sandbox_root("paypal", sandbox_settings("paypal", f"https://{host}"))
        assert sandbox_root("paypal", sandbox_settings("paypal", "https://mypaypal.com"))

    async def test_a_server_of_several_rails_is_asked_once(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []
        rows = railbooks._rows

        def counted(root: str) -> list[tuple[str, Execution]]:
            asked.append(root)
            return rows(root)

        monkeypatch.setattr(railbooks, "_rows", counted)
        rails = {name: sandbox.rail_settings(name) for name in RAILS}
        async with await serve() as another:
            rails["visa"] = another.rail_settings("visa")
            books = await asyncio.to_thread(read_books, rails)
            assert asked == [sandbox.url, another.url]
        assert books.read == [*RAILS, "visa"]
        # One that is gone fails, and the others are read all the same.
        books = await asyncio.to_thread(read_books, rails)
        assert books.read == list(RAILS)
        [problem] = books.failed
        assert problem.startswith("the books of visa cannot be read")


def sandbox_settings(rail: str, url: str) -> RailSettings:
    from rails.sandbox.server import sandbox_rail_settings

    return sandbox_rail_settings(url, rail)


def test_all_that_was_executed_under_a_payout_is_one() -> None:
    failed, paid = Execution("adyen", "EUR", 5, 0, 0), Execution("paypal", "EUR", 5, 5, 1)
    assert joined([("p", failed), ("p", paid)]) == {"p": paid}
    assert joined([("p", paid), ("p", failed)]) == {"p": paid}
    assert joined([("p", paid), ("p", paid), ("q", failed)]) == {
        "p": Execution("paypal", "EUR", 5, 10, 2),
        "q": failed,
    }


@pytest.fixture
async def company(own_broker: str, redis_url: str, sandbox: Sandbox) -> AsyncIterator[Company]:
    rails = open_rails({name: sandbox.rail_settings(name, timeout_s=0.5) for name in RAILS})
    settings: dict[str, Any] = {}
    for name in RAILS:
        fields = sandbox.providers[name].rail_fields(sandbox.url)
        settings |= {f"{name}_{field}": value for field, value in fields.items()}
    async with Company(
        own_broker, redis_url, rails=rails, policy=POLICY.read_text("utf-8"), **settings
    ) as made:
        await made.wallets.heal(range(SHARDS))
        yield made
    for rail in rails.values():
        await rail.close()


async def sells(company: Company, seller: str, *ways: tuple[str, str]) -> None:
    """A seller joins with her destinations in order, and sells; until nothing moves any more."""
    first, *others = (
        {"rail": rail, "destination": company.seal.seal(seller, plain)} for rail, plain in ways
    )
    payout = {**first, "others": others}
    company.publish("sellers", company.seller(seller, payout=payout))
    company.publish("sales", company.sale(seller, 8_000, f"s-{seller}", currency="USD"))
    for _ in range(4):
        while await company.work():
            pass
        company.clock.now_ms += 60_000
        await company.janitor.once()


def account(holder: str) -> str:
    fields = {"kind": "us", "routing": "011000015", "account": "12345678"}
    return json.dumps({**fields, "holder": holder})


def wallet(holder: str) -> str:
    """An address of her own: what befalls a payout hangs on whose entry of the book it is to."""
    address = {"kind": "crypto", "chain": "BASE", "address": f"0x{holder.encode().hex():0>40}"}
    return json.dumps({**address, "holder": holder, "country": "US"})


async def books_check(company: Company) -> Check:
    verdict = await asyncio.to_thread(verify, company.settings, whole=True)
    return next(check for check in verdict.checks if check.name == BOOKS)


class TestVerify:
    async def test_holds_over_all_rails_and_failovers(
        self, company: Company, sandbox: Sandbox, client: redis.Redis
    ) -> None:
        await sells(company, "anna", ("circle", wallet("trouble+Anna")), ("paypal", "a@x.test"))
        await sells(company, "berta", ("adyen", account("trouble+Berta")), ("circle", wallet("B")))
        await sells(company, "clara", ("marqeta", "closed+clara"), ("adyen", account("Clara")))
        await sells(company, "dora", ("paypal", "dora@x.test"))
        verdict = await asyncio.to_thread(verify, company.settings, whole=True)
        assert [check for check in verdict.checks if not check.ok] == []
        assert list(verdict.fold.failed_over.values()) == [
            [("circle", "paypal")],
            [("adyen", "circle")],
            [("marqeta", "adyen")],
        ]
        assert (await books_check(company)).detail == f"4 payouts at {', '.join(RAILS)}"

        # The second attempt of Berta's, which Circle knows by its key alone, did not pay.
        payout_id = Shard(client, "berta").only_payout()
        entry = sandbox.books.by_attempt(payout_key(f"{payout_id}.1"))
        assert entry is not None
        plan, entry.plan = entry.plan, ((0, 0, "FAILED"),)
        found = await books_check(company)
        assert found.detail == f"{payout_id} is settled, the rail has not paid it"
        entry.plan = plan

        # Its first one did as well, on another rail.
        first = sandbox.books.by_attempt(payout_id)
        assert first is not None
        plan, first.plan = first.plan, ((0, 0, "SUCCESS"),)
        assert f"{payout_id} was paid 2 times" in (await books_check(company)).detail

        # The first one alone.
        entry.plan = ((0, 0, "FAILED"),)
        found = await books_check(company)
        assert found.detail == f"{payout_id} was paid over adyen, the ledger has it over circle"

    async def test_says_which_rails_were_not_compared(
        self, company: Company, sandbox: Sandbox
    ) -> None:
        await sells(company, "anna", ("adyen", account("trouble+Anna")), ("paypal", "a@x.test"))
        # PayPal is real, and the sandbox has the failure of the attempt before only.
        for entry in list(sandbox.books._by_reference.values()):
            if entry.rail == "paypal":
                del sandbox.books._by_reference[entry.reference]
        own = {"paypal_base_url": "https://api-m.paypal.com"}
        company.settings = company.settings.model_copy(update=own)
        found = await books_check(company)
        assert found.ok
        assert found.detail.startswith("1 payouts at ")
        assert found.detail.endswith("; not compared: paypal (the rail is the provider's own)")
