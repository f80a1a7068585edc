"""PayPal's calls: one token for all of them, fetched once and renewed before it ends."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from rails.http import Answer, CallFailed, Fate, HttpClient, basic_login
from rails.paypal.settings import PayPalSettings

TOKEN_CHARS_MAX = 8192
TOKEN_EARLY_S = 60
"""A token is renewed this long before it ends, so that it does not end on the way."""
TOKEN_LIFE_S_MAX = 9 * 3600


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    ends_at_s: float


class PayPalClient:
    """The four calls of Payouts v1. Opens its session at the first call, in that event loop."""

    def __init__(self, settings: PayPalSettings) -> None:
        """Take the settings of one PayPal account."""
        self._settings = settings
        self._http = HttpClient(settings, spare=1)  # one for the token
        self._token: _Token | None = None
        self._fetching: asyncio.Task[_Token | CallFailed] | None = None

    async def create_batch(self, data: bytes) -> Answer:
        """``POST /v1/payments/payouts``. Raises CallFailed."""
        return await self._call("POST", "/v1/payments/payouts", data)

    async def show_batch(self, batch_id: str) -> Answer:
        """``GET /v1/payments/payouts/{id}``. Raises CallFailed."""
        return await self._call("GET", f"/v1/payments/payouts/{batch_id}")

    async def show_item(self, item_id: str) -> Answer:
        """``GET /v1/payments/payouts-item/{id}``. Raises CallFailed."""
        return await self._call("GET", f"/v1/payments/payouts-item/{item_id}")

    async def cancel_item(self, item_id: str) -> Answer:
        """``POST /v1/payments/payouts-item/{id}/cancel``. Raises CallFailed."""
        return await self._call("POST", f"/v1/payments/payouts-item/{item_id}/cancel", b"")

    async def close(self) -> None:
        """Close the session; a token under way is dropped."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        await self._http.close()

    async def _call(self, method: str, path: str, data: bytes | None = None) -> Answer:
        async with self._http.places:
            token = await self._access_token()
            answer = await self._exchange(method, path, data, f"Bearer {token.value}")
            if answer.status != 401:
                return answer
            # The token was revoked before its time. A 401 executed nothing: once more is safe.
            if self._token is token:
                self._token = None
            token = await self._access_token()
            return await self._exchange(method, path, data, f"Bearer {token.value}")

    async def _access_token(self) -> _Token:
        """The token, fetched once however many callers wait. Raises CallFailed, never sent."""
        token = self._token
        if token is not None and time.monotonic() < token.ends_at_s:
            return token
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch_token())
            self._fetching.add_done_callback(self._fetched)
        # Shielded: the first caller giving up must not take the token from the others.
        found = await asyncio.shield(self._fetching)
        if isinstance(found, CallFailed):
            raise CallFailed(Fate.NOT_SENT, found.reason)
        return found

    def _fetched(self, task: asyncio.Task[_Token | CallFailed]) -> None:
        self._fetching = None
        found = None if task.cancelled() else task.result()
        if isinstance(found, _Token):
            self._token = found

    async def _fetch_token(self) -> _Token | CallFailed:
        secret = self._settings.client_secret.get_secret_value()
        login = basic_login(self._settings.client_id, secret)
        try:
            answer = await self._exchange(
                "POST", "/v1/oauth2/token", b"grant_type=client_credentials", login
            )
        except CallFailed as error:
            return CallFailed(Fate.NOT_SENT, f"token_{error.reason}")
        body = answer.body if isinstance(answer.body, dict) else {}
        value, life_s = body.get("access_token"), body.get("expires_in")
        if answer.status in {400, 401, 403}:
            return CallFailed(Fate.NOT_SENT, "token_refused")
        if answer.status != 200 or not isinstance(value, str) or not value.isascii():
            return CallFailed(Fate.NOT_SENT, f"token_http_{answer.status}")
        if not isinstance(life_s, int) or not 0 < len(value) <= TOKEN_CHARS_MAX:
            return CallFailed(Fate.NOT_SENT, "token_unreadable")
        life_s = max(0, min(life_s, TOKEN_LIFE_S_MAX))
        return _Token(value, time.monotonic() + life_s - min(TOKEN_EARLY_S, life_s // 2))

    async def _exchange(
        self, method: str, path: str, data: bytes | None, authorization: str
    ) -> Answer:
        """One request and its answer. Raises CallFailed."""
        kind = "application/x-www-form-urlencoded" if "oauth2" in path else "application/json"
        headers = {"Authorization": authorization}
        if data is not None:
            headers["Content-Type"] = kind
        return await self._http.exchange(method, path, headers, data)
