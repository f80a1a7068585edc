"""The sandbox as PayPal: what it takes, refuses and remembers, without the connector."""

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from rails.sandbox.behaviours import DAY_MS
from rails.sandbox.provider import CLIENT_ID, HEADER, SECRET
from rails.sandbox.server import Sandbox, serve
from tests.rails import specs

PAYOUTS = "/v1/payments/payouts"


class Caller:
    """Somebody with credentials and no connector. Holds every answer against the document."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.session = session
        self.headers: dict[str, str] = {}

    async def login(self, secret: str = SECRET, grant: str = "client_credentials") -> int:
        pair = base64.b64encode(f"{CLIENT_ID}:{secret}".encode()).decode()
        async with self.session.post(
            f"{self.sandbox.url}/v1/oauth2/token",
            data={"grant_type": grant},
            headers={"Authorization": f"Basic {pair}"},
        ) as response:
            body = await response.json()
            if response.status == 200:
                self.headers = {"Authorization": f"Bearer {body['access_token']}"}
            return response.status

    async def call(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.request(
            method,
            self.sandbox.url + path,
            data=data if body is not None else None,
            headers={**self.headers, **headers},
        ) as response:
            answer = await response.json()
            if specs.available(specs.PAYPAL):
                assert not specs.answer_problems(
                    specs.PAYPAL, method, path, response.status, answer
                )
            return response.status, answer

    async def pay(self, receiver: str = "anna@example.com", **changes: object) -> tuple[int, Any]:
        return await self.call("POST", PAYOUTS, request(receiver, **changes))


def request(receiver: str = "anna@example.com", **changes: object) -> dict[str, object]:
    batch_id = changes.pop("batch_id", str(uuid.uuid4()))
    amount = {
        "currency": changes.pop("currency", "EUR"),
        "value": changes.pop("value", "10.50"),
    }
    item = {"receiver": receiver, "amount": amount, "sender_item_id": "p-1", **changes}
    header = {} if batch_id is None else {"sender_batch_id": batch_id}
    return {"sender_batch_header": header, "items": [item]}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with await serve(settle_delay_ms=1_000, seed=7) as served:
        yield served


@pytest.fixture
async def caller(sandbox: Sandbox) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as session:
        made = Caller(sandbox, session)
        assert await made.login() == 200
        yield made


class TestTokens:
    async def test_credentials_matter(self, caller: Caller) -> None:
        assert await caller.login("wrong") == 401
        assert await caller.login(grant="password") == 400

    @pytest.mark.parametrize("value", ["", "Bearer", "Bearer wrong", "Basic wrong"])
    async def test_no_call_without_one(self, caller: Caller, value: str) -> None:
        caller.headers = {"Authorization": value}
        for method, path in (
            ("POST", PAYOUTS),
            ("GET", f"{PAYOUTS}/X"),
            ("GET", "/v1/payments/payouts-item/X"),
            ("POST", "/v1/payments/payouts-item/X/cancel"),
        ):
            status, body = await caller.call(method, path)
            assert (status, body["name"]) == (401, "AUTHENTICATION_FAILURE")

    async def test_one_ends(self) -> None:
        async with (
            await serve(token_life_s=0) as sandbox,
            aiohttp.ClientSession() as session,
        ):
            caller = Caller(sandbox, session)
            await caller.login()
            assert (await caller.pay())[0] == 401


class TestCreate:
    async def test_created_is_pending(self, caller: Caller) -> None:
        status, body = await caller.pay(batch_id="b-1")
        assert status == 201
        assert body["batch_header"]["batch_status"] == "PENDING"
        assert body["batch_header"]["sender_batch_header"] == {"sender_batch_id": "b-1"}

    @pytest.mark.parametrize(
        ("body", "name"),
        [
            (b"", "MALFORMED_REQUEST"),
            (b"[]", "MALFORMED_REQUEST"),
            ({}, "VALIDATION_ERROR"),
            ({"sender_batch_header": {}, "items": []}, "VALIDATION_ERROR"),
            ({"sender_batch_header": {}, "items": [5]}, "VALIDATION_ERROR"),
            (
                {"sender_batch_header": {"sender_batch_id": "x" * 257}, "items": [{}]},
                "VALIDATION_ERROR",
            ),
            ({"sender_batch_header": {}, "items": [{}, {}]}, "VALIDATION_ERROR"),
            (request(""), "VALIDATION_ERROR"),
            (request("x" * 120 + "@example.com"), "VALIDATION_ERROR"),
            (request("+491511234567"), "VALIDATION_ERROR"),
            (request(amount=None), "VALIDATION_ERROR"),
            (request(currency="XXX"), "VALIDATION_ERROR"),
            (request(value=10.5), "VALIDATION_ERROR"),
            (request(value="10.5"), "VALIDATION_ERROR"),
            (request(value="0.00"), "VALIDATION_ERROR"),
            (request(value="-1.00"), "VALIDATION_ERROR"),
            (request(currency="JPY", value="100.00"), "VALIDATION_ERROR"),
            (request(sender_item_id="x" * 64), "VALIDATION_ERROR"),
            (request(note="x" * 4_001), "VALIDATION_ERROR"),
        ],
    )
    async def test_what_is_refused(self, caller: Caller, body: object, name: str) -> None:
        status, answer = await caller.call("POST", PAYOUTS, body)
        assert (status, answer["name"]) == (400, name)
        assert len(caller.sandbox.books) == 0

    async def test_a_duplicate_names_the_first(self, caller: Caller) -> None:
        _, first = await caller.pay(batch_id="b-1")
        status, second = await caller.pay(batch_id="b-1")
        assert (status, second["name"]) == (400, "USER_BUSINESS_ERROR")
        href = second["details"][0]["link"][0]["href"]
        assert href.endswith(f"{PAYOUTS}/{first['batch_header']['payout_batch_id']}")
        assert len(caller.sandbox.books) == 1

    async def test_duplicates_at_the_same_time(self, caller: Caller) -> None:
        answers = await asyncio.gather(*(caller.pay(batch_id="b-1") for _ in range(20)))
        assert sorted(status for status, _ in answers) == [201] + [400] * 19
        assert len(caller.sandbox.books) == 1

    async def test_the_guard_ends_after_thirty_days(self, caller: Caller) -> None:
        await caller.pay(batch_id="b-1")
        caller.sandbox.clock.ahead_ms = 30 * DAY_MS - 5_000
        assert (await caller.pay(batch_id="b-1"))[0] == 400
        caller.sandbox.clock.ahead_ms = 30 * DAY_MS
        assert (await caller.pay(batch_id="b-1"))[0] == 201
        assert caller.sandbox.books.executions("p-1") == 2

    async def test_the_request_id_header_guards_nothing(self, caller: Caller) -> None:
        for _ in range(2):
            body = request(batch_id=None)
            status, _ = await caller.call("POST", PAYOUTS, body, **{"PayPal-Request-Id": "r-1"})
            assert status == 201
        assert caller.sandbox.books.executions("p-1") == 2

    async def test_behaviour_by_header(self, caller: Caller) -> None:
        _, body = await caller.call("POST", PAYOUTS, request(), **{"X-Sandbox-Behaviour": "closed"})
        entry = caller.sandbox.books.by_reference(body["batch_header"]["payout_batch_id"])
        assert entry is not None
        assert entry.behaviour == "closed"

    async def test_full_books_are_an_outage(self) -> None:
        async with (
            await serve(entries_max=1) as sandbox,
            aiohttp.ClientSession() as session,
        ):
            caller = Caller(sandbox, session)
            await caller.login()
            assert (await caller.pay())[0] == 201
            status, body = await caller.pay()
            assert (status, body["name"]) == (503, "SERVICE_UNAVAILABLE")


class TestBefall:
    """Behaviours ordered for whichever payouts come next."""

    async def _order(self, caller: Caller, **order: int) -> None:
        body = {"befall": {name.replace("_", "-"): number for name, number in order.items()}}
        url = f"{caller.sandbox.url}/sandbox/control"
        async with caller.session.post(url, json=body) as answer:
            assert answer.status == 204

    async def _summary(self, caller: Caller) -> tuple[dict[str, int], int]:
        async with caller.session.get(f"{caller.sandbox.url}/sandbox/summary") as answer:
            summary = await answer.json()
        return summary["befallen"], summary["befalls_waiting"]

    def _behaviours(self, caller: Caller, attempts: int) -> list[str]:
        entries = [caller.sandbox.books.by_attempt(f"b-{n}") for n in range(attempts)]
        return [entry.behaviour if entry else "none" for entry in entries]

    async def test_the_next_submissions_behave_as_ordered(self, caller: Caller) -> None:
        await self._order(caller, closed=2, error500_after=3)
        assert await self._summary(caller) == ({}, 5)
        answers = [await caller.pay(batch_id=f"b-{n}") for n in range(7)]
        assert [status for status, _ in answers].count(500) == 3
        behaviours = self._behaviours(caller, 7)
        assert sorted(behaviours[:5]) == ["closed"] * 2 + ["error500-after"] * 3
        assert behaviours[5:] == ["", ""]
        assert await self._summary(caller) == ({"closed": 2, "error500-after": 3}, 0)

    async def test_orders_add_up(self, caller: Caller) -> None:
        await self._order(caller, closed=1)
        await self._order(caller, closed=1, garbage=0)
        assert await self._summary(caller) == ({}, 2)

    async def test_the_seed_decides_the_order(self) -> None:
        async def run(seed: int) -> list[str]:
            async with await serve(seed=seed) as sandbox, aiohttp.ClientSession() as session:
                caller = Caller(sandbox, session)
                await caller.login()
                await self._order(caller, closed=8, risk=8, limit=8)
                for number in range(24):
                    await caller.pay(batch_id=f"b-{number}")
                return self._behaviours(caller, 24)

        first, second, other = await run(1), await run(1), await run(2)
        assert first == second != other
        assert first != sorted(first)
        assert {name: first.count(name) for name in first} == {"closed": 8, "risk": 8, "limit": 8}

    async def test_who_asks_for_something_gets_that(self, caller: Caller) -> None:
        await self._order(caller, garbage=1)
        await caller.pay("slow+anna@example.com", batch_id="b-0")
        await caller.call("POST", PAYOUTS, request(batch_id="b-1"), **{HEADER: "closed"})
        await caller.pay(batch_id="b-2", note="ERRPYO006")
        await caller.pay(batch_id="b-2", value="0.00")
        await caller.pay(batch_id=None)
        caller.sandbox.providers["paypal"].funded = False
        await caller.pay(batch_id="b-2")
        assert self._behaviours(caller, 3) == ["slow", "closed", "none"]
        assert await self._summary(caller) == ({}, 1)

    async def test_a_repeat_is_no_new_submission(self, caller: Caller) -> None:
        await caller.pay(batch_id="b-0")
        await self._order(caller, error500=1)
        assert (await caller.pay(batch_id="b-0"))[0] == 400
        assert (await caller.pay(batch_id="b-1"))[0] == 500
        assert self._behaviours(caller, 2) == ["", "none"]
        await self._order(caller, closed=1)
        # The first did not execute; the repeat does, as what it was the first time.
        assert (await caller.pay(batch_id="b-1"))[0] == 201
        assert (await caller.pay(batch_id="b-1"))[0] == 400
        assert self._behaviours(caller, 2) == ["", "error500"]
        assert await self._summary(caller) == ({"error500": 1}, 1)

    @pytest.mark.parametrize(
        ("name", "status"), [("newerror", 418), ("nofunds", 422), ("limited", 429)]
    )
    async def test_a_refusal_befalls_one_submission(
        self, caller: Caller, name: str, status: int
    ) -> None:
        await self._order(caller, **{name: 1})
        assert (await caller.pay(batch_id="b-0"))[0] == status
        assert await self._summary(caller) == ({name: 1}, 0)
        assert (await caller.pay(batch_id="b-0"))[0] == 201
        assert self._behaviours(caller, 1) == [""]

    async def test_chance_does_not_touch_what_befell(self) -> None:
        async with (
            await serve(fault_bp={"invalid": 10_000}) as sandbox,
            aiohttp.ClientSession() as session,
        ):
            caller = Caller(sandbox, session)
            await caller.login()
            await self._order(caller, error500_after=1)
            assert (await caller.pay(batch_id="b-0"))[0] == 500
            # It has executed: "invalid" would say that it never can have.
            status, body = await caller.pay(batch_id="b-0")
            assert (status, body["name"]) == (400, "USER_BUSINESS_ERROR")

    async def test_at_the_same_time(self, caller: Caller) -> None:
        await self._order(caller, closed=10)
        await asyncio.gather(*(caller.pay(batch_id=f"b-{n % 20}") for n in range(40)))
        assert self._behaviours(caller, 20).count("closed") == 10
        assert await self._summary(caller) == ({"closed": 10}, 0)


class TestShowAndCancel:
    async def _paid(self, caller: Caller, receiver: str) -> tuple[str, str]:
        _, body = await caller.pay(receiver)
        batch_id = body["batch_header"]["payout_batch_id"]
        _, batch = await caller.call("GET", f"{PAYOUTS}/{batch_id}")
        return batch_id, batch["items"][0]["payout_item_id"]

    def _to_step(self, caller: Caller, batch_id: str, step: int) -> None:
        entry = caller.sandbox.books.by_reference(batch_id)
        assert entry is not None
        caller.sandbox.clock.ahead_ms += entry.due_ms(step) - caller.sandbox.clock.now_ms()

    async def test_denied_batch_with_failed_item(self, caller: Caller) -> None:
        batch_id, _ = await self._paid(caller, "denied+anna@example.com")
        self._to_step(caller, batch_id, 1)
        _, body = await caller.call("GET", f"{PAYOUTS}/{batch_id}")
        assert body["batch_header"]["batch_status"] == "DENIED"
        assert body["items"][0]["transaction_status"] == "FAILED"
        assert body["items"][0]["errors"]["name"] == "RECEIVER_ACCOUNT_INVALID"

    async def test_item_and_batch_show_the_same(self, caller: Caller) -> None:
        batch_id, item_id = await self._paid(caller, "anna@example.com")
        _, batch = await caller.call("GET", f"{PAYOUTS}/{batch_id}")
        _, item = await caller.call("GET", f"/v1/payments/payouts-item/{item_id}")
        item.pop("sender_batch_id")
        assert batch["items"] == [item]

    async def test_cancel_only_the_unclaimed_and_only_once(self, caller: Caller) -> None:
        batch_id, item_id = await self._paid(caller, "unclaimed+anna@example.com")
        path = f"/v1/payments/payouts-item/{item_id}/cancel"
        status, body = await caller.call("POST", path)
        assert (status, body["name"]) == (400, "ITEM_INCORRECT_STATUS")
        self._to_step(caller, batch_id, 1)
        status, body = await caller.call("POST", path)
        assert (status, body["transaction_status"]) == (200, "RETURNED")
        status, body = await caller.call("POST", path)
        assert (status, body["name"]) == (400, "ITEM_ALREADY_CANCELLED")

    async def test_executed_and_called_a_duplicate_of_itself(self, caller: Caller) -> None:
        status, body = await caller.pay("duplicate+anna@example.com", batch_id="b-1")
        assert (status, body["name"]) == (400, "USER_BUSINESS_ERROR")
        href = body["details"][0]["link"][0]["href"]
        status, shown = await caller.call("GET", PAYOUTS + href.rpartition("payouts")[2])
        assert status == 200
        assert shown["batch_header"]["sender_batch_header"]["sender_batch_id"] == "b-1"
        assert caller.sandbox.books.executions("p-1") == 1

    @pytest.mark.parametrize("by_item", [False, True])
    async def test_the_first_enquiries_fail(self, caller: Caller, by_item: bool) -> None:
        status, body = await caller.pay("enquiry-500+anna@example.com")
        assert status == 201
        reference = body["batch_header"]["payout_batch_id"]
        path = f"/v1/payments/payouts-item/I{reference}" if by_item else f"{PAYOUTS}/{reference}"
        answers = [(await caller.call("GET", path))[0] for _ in range(4)]
        assert answers == [500, 500, 200, 200]

    async def test_the_first_enquiries_are_not_answered(self, caller: Caller) -> None:
        _, body = await caller.pay("enquiry-slow+anna@example.com")
        path = f"{PAYOUTS}/{body['batch_header']['payout_batch_id']}"
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(caller.call("GET", path), 0.2)
        assert (await caller.call("GET", path))[0] == 200

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", f"{PAYOUTS}/X"),
            ("GET", "/v1/payments/payouts-item/IX"),
            ("POST", "/v1/payments/payouts-item/IX/cancel"),
        ],
    )
    async def test_what_does_not_exist(self, caller: Caller, method: str, path: str) -> None:
        status, body = await caller.call(method, path)
        assert (status, body["name"]) == (404, "RESOURCE_NOT_FOUND")


async def test_the_same_seed_does_the_same() -> None:
    async def run(seed: int) -> list[tuple[str, str, int]]:
        faults = {"closed": 2_000, "unclaimed": 2_000}
        async with (
            await serve(seed=seed, fault_bp=faults) as sandbox,
            aiohttp.ClientSession() as session,
        ):
            caller = Caller(sandbox, session)
            await caller.login()
            for number in range(40):
                await caller.pay(batch_id=f"b-{number}")
            entries = [sandbox.books.by_attempt(f"b-{number}") for number in range(40)]
            return [(e.reference, e.behaviour, e.delay_ms) for e in entries if e is not None]

    first, second, other = await run(1), await run(1), await run(2)
    assert first == second
    assert first != other
    assert {behaviour for _, behaviour, _ in first} == {"", "closed", "unclaimed"}
