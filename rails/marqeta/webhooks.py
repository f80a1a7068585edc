"""Proof that a webhook comes from Marqeta: a user and a password, and an HMAC of its bytes.

The HMAC is there where a secret is set up: hexadecimal in ``X-Marqeta-Signature``, SHA-1 or
SHA-256 as the webhook is configured. It covers the body only, so the time is the body's own.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping

from rails.http import basic_login
from rails.marqeta.mapping import webhook_reports
from rails.marqeta.settings import MarqetaSettings
from rails.webhooks import (
    AHEAD_S_MAX,
    BODY_BYTES_MAX,
    WebhookCall,
    WebhookRefused,
    event_of,
    sent_at_s,
)

SIGNATURE = "X-Marqeta-Signature"
ALGORITHMS = {40: "sha1", 64: "sha256"}
"""By the characters of a signature."""

AGE_S_MAX = 15 * 86_400
"""Marqeta goes on trying for two weeks."""


class MarqetaVerifier:
    """The WebhookVerifier for one webhook of one program."""

    def __init__(
        self,
        username: str,
        password: str,
        secret: str = "",
        *,
        now_s: Callable[[], int] = lambda: int(time.time()),
    ) -> None:
        """Take what Marqeta was told at the webhook's creation. Raises ValueError if it is none."""
        if not username or not password:
            raise ValueError("a webhook of Marqeta's comes with a user and a password")
        self._login = basic_login(username, password).partition(" ")[2].encode()
        self._secret = secret.encode()
        self._now_s = now_s

    async def verify(self, headers: Mapping[str, str], body: bytes) -> WebhookCall:
        """Prove a call. Raises WebhookRefused."""
        if len(body) > BODY_BYTES_MAX:
            raise WebhookRefused("too_large")
        scheme, _, login = headers.get("Authorization", "").partition(" ")
        given = login.strip().encode(errors="surrogateescape")
        if scheme.lower() != "basic" or not hmac.compare_digest(given, self._login):
            raise WebhookRefused("login_refused")
        if self._secret:
            self._check_signature(headers.get(SIGNATURE, ""), body)
        try:
            reports = webhook_reports(event_of(body))
        except ValueError:
            raise WebhookRefused("unreadable") from None
        for report in reports:
            age_s = self._now_s() - sent_at_s(str(report["occurred_at"]))
            if not -AHEAD_S_MAX <= age_s <= AGE_S_MAX:
                raise WebhookRefused("time_refused")
        return WebhookCall(hashlib.sha256(body).hexdigest(), reports)

    def _check_signature(self, given: str, body: bytes) -> None:
        algorithm = ALGORITHMS.get(len(given))
        if algorithm is None:
            raise WebhookRefused("signature_unreadable")
        expected = hmac.new(self._secret, body, algorithm).hexdigest()
        if not hmac.compare_digest(
            given.lower().encode(errors="surrogateescape"), expected.encode()
        ):
            raise WebhookRefused("signature_refused")


def marqeta_verifier(settings: MarqetaSettings) -> MarqetaVerifier:
    """The verifier of one program's webhook."""
    return MarqetaVerifier(
        settings.webhook_username,
        settings.webhook_password.get_secret_value(),
        settings.webhook_secret.get_secret_value(),
    )
