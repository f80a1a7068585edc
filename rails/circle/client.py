"""Circle's calls: an API key as bearer, and idempotency keys in the bodies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import urlencode

from rails.circle.settings import CircleSettings
from rails.http import Answer, HttpClient

PAYOUTS = "/v1/payouts"
RECIPIENTS = "/v1/addressBook/recipients"


class CircleClient:
    """Five calls of Circle Mint. Opens its session at the first call, in that event loop."""

    def __init__(self, settings: CircleSettings) -> None:
        """Take the settings of one wallet."""
        self._settings = settings
        self._http = HttpClient(settings)

    async def find_recipients(self, chain: str, address: str) -> Answer:
        """``GET /v1/addressBook/recipients`` with an address. Raises CallFailed."""
        query = urlencode({"address": address, "chain": chain})
        return await self._call("GET", f"{RECIPIENTS}?{query}")

    async def create_recipient(self, body: Mapping[str, object]) -> Answer:
        """``POST /v1/addressBook/recipients``. Raises CallFailed."""
        return await self._call("POST", RECIPIENTS, json.dumps(body).encode())

    async def show_recipient(self, recipient_id: str) -> Answer:
        """``GET /v1/addressBook/recipients/{id}``. Raises CallFailed."""
        return await self._call("GET", f"{RECIPIENTS}/{recipient_id}")

    async def create(self, data: bytes) -> Answer:
        """``POST /v1/payouts``. Raises CallFailed."""
        return await self._call("POST", PAYOUTS, data)

    async def show(self, payout_id: str) -> Answer:
        """``GET /v1/payouts/{id}``. Raises CallFailed."""
        return await self._call("GET", f"{PAYOUTS}/{payout_id}")

    async def close(self) -> None:
        """Close the session."""
        await self._http.close()

    async def _call(self, method: str, path: str, data: bytes | None = None) -> Answer:
        headers = {"Authorization": f"Bearer {self._settings.api_key.get_secret_value()}"}
        if data is not None:
            headers["Content-Type"] = "application/json"
        async with self._http.places:
            return await self._exchange(method, path, headers, data)

    async def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], data: bytes | None
    ) -> Answer:
        """One request and its answer. Raises CallFailed."""
        return await self._http.exchange(method, path, headers, data)
