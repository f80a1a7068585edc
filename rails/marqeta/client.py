"""Marqeta's calls: a token of ours names the order, and guards the call that moves money."""

from __future__ import annotations

from urllib.parse import quote

from rails.http import Answer, HttpClient, basic_login
from rails.marqeta.settings import CoreSettings


class CoreClient:
    """The Core API, for those who know its calls. Opens its session at the first, in that event
    loop."""

    def __init__(self, settings: CoreSettings) -> None:
        """Take the settings of one program."""
        password = settings.access_token.get_secret_value()
        self._login = basic_login(settings.application_token, password)
        self._http = HttpClient(settings)

    async def close(self) -> None:
        """Close the session."""
        await self._http.close()

    async def _exchange(self, method: str, path: str, data: bytes | None) -> Answer:
        """One request and its answer, once there is a place for it. Raises CallFailed."""
        headers = {"Authorization": self._login}
        if data is not None:
            headers["Content-Type"] = "application/json"
        async with self._http.places:
            return await self._http.exchange(method, path, headers, data)


class MarqetaClient(CoreClient):
    """The two calls of a load."""

    async def create(self, data: bytes) -> Answer:
        """``POST /gpaorders``. Raises CallFailed."""
        return await self._exchange("POST", "/gpaorders", data)

    async def show(self, token: str) -> Answer:
        """``GET /gpaorders/{token}``. Raises CallFailed."""
        return await self._exchange("GET", f"/gpaorders/{quote(token, safe='')}", None)
