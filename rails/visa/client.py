"""Visa Direct's calls: a client certificate, a user and a password."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from rails.http import Answer, HttpClient, basic_login
from rails.visa.settings import VisaSettings

PUSH = "/visadirect/fundstransfer/v1/pushfundstransactions"
QUERY = "/visadirect/v1/transactionquery"


class VisaClient:
    """Three calls. Opens its session at the first, in that event loop."""

    def __init__(self, settings: VisaSettings) -> None:
        """Take the settings of one originator. Raises ValueError for an unusable certificate."""
        self._login = basic_login(settings.user_id, settings.password.get_secret_value())
        self._http = HttpClient(settings, tls=settings.tls())

    async def push(self, data: bytes, transaction_id: str) -> Answer:
        """``POST …/pushfundstransactions``, once for each id of ours. Raises CallFailed."""
        return await self._exchange("POST", PUSH, data, {"X-Client-Transaction-ID": transaction_id})

    async def status(self, status_identifier: str) -> Answer:
        """``GET …/pushfundstransactions/{statusIdentifier}``, for a day. Raises CallFailed."""
        return await self._exchange("GET", f"{PUSH}/{quote(status_identifier, safe='')}", None, {})

    async def query(self, fields: Mapping[str, str]) -> Answer:
        """``GET …/transactionquery``. Raises CallFailed."""
        return await self._exchange("GET", f"{QUERY}?{urlencode(fields)}", None, {})

    async def close(self) -> None:
        """Close the session."""
        await self._http.close()

    async def _exchange(
        self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        """One request and its answer, once there is a place for it. Raises CallFailed."""
        sent = {"Authorization": self._login, **headers}
        if data is not None:
            sent["Content-Type"] = "application/json"
        async with self._http.places:
            return await self._http.exchange(method, path, sent, data)
