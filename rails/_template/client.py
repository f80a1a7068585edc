"""The calls of the template's provider: an API key, and an idempotency key."""

from __future__ import annotations

from rails._template.settings import TemplateSettings
from rails.http import Answer, HttpClient


class TemplateClient:
    """Two calls. Opens its session at the first, in that event loop."""

    def __init__(self, settings: TemplateSettings) -> None:
        """Take the settings of one account."""
        self._settings = settings
        self._http = HttpClient(settings)

    async def create(self, data: bytes, key: str) -> Answer:
        """``POST /payouts`` under an idempotency key. Raises CallFailed."""
        return await self._call("POST", "/payouts", data, {"Idempotency-Key": key})

    async def show(self, reference: str) -> Answer:
        """``GET /payouts/{id}``. Raises CallFailed."""
        return await self._call("GET", f"/payouts/{reference}")

    async def close(self) -> None:
        """Close the session."""
        await self._http.close()

    async def _call(
        self,
        method: str,
        path: str,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = {"Authorization": f"Bearer {self._settings.api_key.get_secret_value()}"}
        if data is not None:
            sent["Content-Type"] = "application/json"
        async with self._http.places:
            return await self._http.exchange(method, path, {**sent, **(headers or {})}, data)
