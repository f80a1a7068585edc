"""What the API's tests share: the process's own code around real servers, and a client."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from streams.api.keys import Scope, make, read, write
from streams.api.process import Api
from streams.settings import load_settings
from tests.streams.wallets.harness import PARTITIONS, SEAL_KEYS, Company

RAIL = {"paypal_client_id": "id", "paypal_client_secret": "secret", "paypal_webhook_id": "hook"}


class Reply(NamedTuple):
    """What the API answered."""

    status: int
    body: Any
    headers: Any

    @property
    def code(self) -> str:
        """The code of a problem."""
        assert self.headers["Content-Type"] == "application/problem+json", self
        assert self.body["type"] == "/problems/" + self.body["code"]
        assert self.body["status"] == self.status
        return str(self.body["code"])


def new_key(path: Path, *scopes: Scope, client: str = "till") -> str:
    """A key that the file has from now on; its token."""
    made = make(client, scopes or list(Scope))
    write(path, [*read(path), made.key])
    return made.token


class Caller:
    """A client of the API."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._session = session
        self.url = url
        self.token = token

    async def __call__(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **more: Any
    ) -> Reply:
        """Send a request; a booking has an Idempotency-Key of its own unless one is given."""
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        if key != "":
            headers.setdefault("Idempotency-Key", f'"{key or uuid.uuid4()}"')
        if body is not None:
            more["json"] = body
        call = self._session.request(method, self.url + path, headers=headers, **more)
        async with call as answer:
            text = await answer.read()
            is_json = "json" in answer.headers.get("Content-Type", "")
            return Reply(answer.status, await answer.json(content_type=None) if is_json else text,
                         answer.headers)  # fmt: skip


class Shop(NamedTuple):
    """A company with an API before it."""

    company: Company
    api: Api
    call: Caller
    keys: Path
    serving: asyncio.Task[int]


@asynccontextmanager
async def shop(
    brokers: str, redis_url: str, directory: Path, **settings: Any
) -> AsyncIterator[Shop]:
    """A running company and API; anna has 30.00 available, and some credit."""
    keys = directory / "keys.yaml"
    token = new_key(keys)
    given = {
        "kafka_brokers": brokers, "redis_url": redis_url, "partitions": PARTITIONS,
        "seal_keys": SEAL_KEYS, "api_port": 0, "api_keys": keys, **RAIL, **settings,
    }  # fmt: skip
    async with Company(brokers, redis_url) as company:
        company.publish("sellers", company.seller("anna"))
        company.publish("sales", company.sale("anna", 20_000, "s1"))
        commission = {"commission_id": "c1", "currency": "EUR", "amount_minor": 3_000}
        company.publish("commissions", company.event("commission.earned", "anna", **commission))
        await company.work()
        api = Api(load_settings(**given))
        serving = asyncio.create_task(api.serve())
        waiting = asyncio.create_task(api.started.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        async with aiohttp.ClientSession() as session:
            caller = Caller(session, f"http://127.0.0.1:{api.port}", token)
            try:
                yield Shop(company, api, caller, keys, serving)
            finally:
                api.stopping.set()
                await serving
