"""Circle's sandbox refuses what Circle would: the connector's mistakes must not pass here."""

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from rails.sandbox.circle import TOPIC_ARN, CircleSandbox
from rails.sandbox.provider import CLIENT_ID, SECRET
from rails.sandbox.server import Sandbox, serve

ADDRESS = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


class Caller:
    """Speaks HTTP to the sandbox, as whoever has the key."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.session = session
        self.key = SECRET

    async def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.key}"}
        data = None if body is None else json.dumps(body)
        url = self.sandbox.url + path
        async with self.session.request(method, url, data=data, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def enter(self, **fields: object) -> tuple[int, Any]:
        plain = {"chain": "ETH", "address": ADDRESS, "metadata": {"nickname": "Anna"}}
        body = {"idempotencyKey": str(uuid.uuid4()), **plain, **fields}
        return await self.call("POST", "/v1/addressBook/recipients", body)

    async def pay(self, recipient_id: str, **fields: object) -> tuple[int, Any]:
        plain = {
            "source": {"type": "wallet", "id": CLIENT_ID},
            "destination": {"type": "address_book", "id": recipient_id},
            "amount": {"amount": "10.50", "currency": "USD"},
            "toAmount": {"currency": "USD"},
        }
        body = {"idempotencyKey": str(uuid.uuid4()), **plain, **fields}
        return await self.call("POST", "/v1/payouts", body)


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    async with await serve(settle_delay_ms=20_000) as sandbox, aiohttp.ClientSession() as session:
        yield Caller(sandbox, session)


async def entered(caller: Caller, **fields: object) -> str:
    status, body = await caller.enter(**fields)
    assert (status, body["data"]["status"]) == (201, "pending")
    return str(body["data"]["id"])


async def test_an_address_has_one_entry(caller: Caller) -> None:
    first = await entered(caller)
    assert await entered(caller, address=ADDRESS.lower()) == first
    assert await entered(caller, chain="BASE") != first
    status, body = await caller.call("GET", f"/v1/addressBook/recipients/{first}")
    assert (status, body["data"]["status"]) == (200, "active")
    query = f"?chain=ETH&address={ADDRESS}"
    _, body = await caller.call("GET", f"/v1/addressBook/recipients{query}")
    assert [one["id"] for one in body["data"]] == [first]
    assert (await caller.call("GET", "/v1/addressBook/recipients/none"))[0] == 404


@pytest.mark.parametrize(
    ("fields", "location"),
    [
        ({"idempotencyKey": str(uuid.uuid5(uuid.NAMESPACE_OID, "x"))}, "idempotencyKey"),
        ({"idempotencyKey": None}, "idempotencyKey"),
        ({"chain": "BTC"}, "chain"),
        ({"address": ADDRESS[:-1]}, "address"),
        ({"addressTag": 5}, "addressTag"),
    ],
)
async def test_an_entry_that_is_none(
    caller: Caller, fields: dict[str, object], location: str
) -> None:
    status, body = await caller.enter(**fields)
    assert (status, body["code"], body["errors"][0]["location"]) == (400, 2, location)


@pytest.mark.parametrize(
    ("fields", "location"),
    [
        ({"idempotencyKey": "x"}, "idempotencyKey"),
        ({"source": {"type": "wallet", "id": "another"}}, "source.id"),
        ({"destination": {"type": "address_book", "id": "none"}}, "destination.id"),
        ({"destination": {"type": "wire"}}, "destination.id"),
        ({"amount": {"amount": "10.5", "currency": "USD"}}, "amount.amount"),
        ({"amount": {"amount": 10.50, "currency": "USD"}}, "amount.amount"),
        ({"amount": {"amount": "0.00", "currency": "USD"}}, "amount.amount"),
        ({"amount": {"amount": "10.50", "currency": "EUR"}}, "amount.currency"),
        ({"toAmount": {"currency": "ETH"}}, "amount.currency"),
        ({"amount": {"amount": "3000.00", "currency": "USD"}}, "source.identities"),
    ],
)
async def test_a_payout_that_is_none(
    caller: Caller, fields: dict[str, object], location: str
) -> None:
    status, body = await caller.pay(await entered(caller), **fields)
    assert (status, body["errors"][0]["location"]) == (400, location)
    assert len(caller.sandbox.books) == 0


async def test_an_entry_is_paid_once_it_is_active(caller: Caller) -> None:
    circle = caller.sandbox.providers["circle"]
    assert isinstance(circle, CircleSandbox)
    circle.recipient_delay_ms = 60_000
    recipient_id = await entered(caller)
    assert (await caller.pay(recipient_id))[0] == 400
    caller.sandbox.clock.ahead_ms += 60_000
    key = str(uuid.uuid4())
    status, body = await caller.pay(recipient_id, idempotencyKey=key)
    assert (status, body["data"]["status"]) == (201, "pending")
    assert uuid.UUID(body["data"]["id"]).version == 4
    assert await caller.pay(recipient_id, idempotencyKey=key) == (status, body)
    assert len(caller.sandbox.books) == 1


async def test_a_denied_entry_is_never_paid(caller: Caller) -> None:
    recipient_id = await entered(caller, metadata={"nickname": "denied+Anna"})
    _, body = await caller.call("GET", f"/v1/addressBook/recipients/{recipient_id}")
    assert body["data"]["status"] == "denied"
    assert (await caller.pay(recipient_id))[0] == 400


@pytest.mark.parametrize("path", ["/v1/payouts/x", "/v1/addressBook/recipients"])
async def test_without_the_key_nothing_is_told(caller: Caller, path: str) -> None:
    caller.key = "another"
    assert (await caller.call("GET", path))[0] == 401
    assert (await caller.enter())[0] == 401
    assert (await caller.pay("x"))[0] == 401


async def test_a_confirmation_that_is_none(caller: Caller) -> None:
    query = f"?Action=ConfirmSubscription&TopicArn={TOPIC_ARN}"
    for path in ("/sns/", "/sns/" + query, "/sns/?Action=Else&Token=1", "/sns/cert.pem"):
        async with caller.session.get(caller.sandbox.url + path) as answer:
            assert answer.status in {400, 404}
    circle = caller.sandbox.providers["circle"]
    assert isinstance(circle, CircleSandbox)
    assert not circle.subscribed
    with pytest.raises(ValueError, match="no subscription"):
        circle.confirmation(0)
