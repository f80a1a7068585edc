"""Proof that a webhook comes from Adyen: an HMAC-SHA256 of its bytes with a shared key.

The key is hexadecimal; the signature stands in base64 in the header ``HmacSignature``.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rails.adyen.mapping import webhook_report
from rails.adyen.settings import AdyenSettings
from rails.webhooks import HmacVerifier

AGE_S_MAX = 30 * 86_400
"""Adyen queues what is not acknowledged and goes on trying for a month."""


class AdyenVerifier(HmacVerifier):
    """The WebhookVerifier for one webhook of one balance platform."""

    def __init__(
        self, key_hex: str, *, now_s: Callable[[], int] = lambda: int(time.time())
    ) -> None:
        """Take the key as Adyen shows it. Raises ValueError if it is none."""
        super().__init__(
            bytes.fromhex(key_hex),
            "HmacSignature",
            webhook_report,
            age_s_max=AGE_S_MAX,
            now_s=now_s,
        )


def adyen_verifier(settings: AdyenSettings) -> AdyenVerifier:
    """The verifier of one account's webhook. Raises ValueError without a key."""
    return AdyenVerifier(settings.webhook_key.get_secret_value())
