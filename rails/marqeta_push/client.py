"""Marqeta's calls of a push to a card: a token of ours names the disbursement."""

from __future__ import annotations

from urllib.parse import quote

from rails.http import Answer
from rails.marqeta.client import CoreClient


class PushClient(CoreClient):
    """Two calls."""

    async def disburse(self, data: bytes) -> Answer:
        """``POST /pushtocards/disburse``, once for each token. Raises CallFailed."""
        return await self._exchange("POST", "/pushtocards/disburse", data)

    async def show(self, token: str) -> Answer:
        """``GET /pushtocards/disburse/{token}``. Raises CallFailed."""
        return await self._exchange("GET", f"/pushtocards/disburse/{quote(token, safe='')}", None)
