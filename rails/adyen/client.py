"""Adyen's calls: an API key, and an idempotency key that guards the one that moves money."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from rails.adyen.settings import AdyenSettings
from rails.http import Answer, HttpClient


class AdyenClient:
    """Three calls of Transfers v4. Opens its session at the first call, in that event loop."""

    def __init__(self, settings: AdyenSettings) -> None:
        """Take the settings of one balance account."""
        self._settings = settings
        self._http = HttpClient(settings)

    async def create(self, data: bytes, key: str) -> Answer:
        """``POST /transfers`` under an idempotency key of at most 64. Raises CallFailed."""
        return await self._call("POST", "/transfers", {"Idempotency-Key": key}, data)

    async def show(self, transfer_id: str) -> Answer:
        """``GET /transfers/{id}``. Raises CallFailed."""
        return await self._call("GET", f"/transfers/{transfer_id}")

    async def find(self, reference: str, since: str, until: str) -> Answer:
        """``GET /transfers`` of our account with our reference, made between two times (RFC 3339).

        Raises CallFailed.
        """
        query = urlencode(
            {
                "balanceAccountId": self._settings.balance_account,
                "reference": reference,
                "createdSince": since,
                "createdUntil": until,
            }
        )
        return await self._call("GET", f"/transfers?{query}")

    async def close(self) -> None:
        """Close the session."""
        await self._http.close()

    async def _call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> Answer:
        sent = {"X-API-Key": self._settings.api_key.get_secret_value(), **(headers or {})}
        if data is not None:
            sent["Content-Type"] = "application/json"
        async with self._http.places:
            return await self._exchange(method, path, sent, data)

    async def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], data: bytes | None
    ) -> Answer:
        """One request and its answer. Raises CallFailed."""
        return await self._http.exchange(method, path, headers, data)
