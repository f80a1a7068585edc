"""Proof that a webhook comes from PayPal: its signature, made with a certificate of PayPal's.

PayPal signs ``transmission id|time|webhook id|crc32 of the body`` with SHA256withRSA and names the
certificate's address in a header. Anyone may send that header, so the address is pinned.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
import zlib
from collections.abc import Callable, Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256

from rails.certificates import Certificate, Certificates
from rails.paypal.mapping import webhook_report
from rails.paypal.settings import PayPalSettings
from rails.webhooks import BODY_BYTES_MAX, WebhookCall, WebhookRefused, event_of, sent_at_s

CERT_PREFIXES = (
    "https://api.paypal.com/v1/notifications/certs/",
    "https://api-m.paypal.com/v1/notifications/certs/",
    "https://api.sandbox.paypal.com/v1/notifications/certs/",
    "https://api-m.sandbox.paypal.com/v1/notifications/certs/",
)
ALGORITHM = "SHA256withRSA"
TOLERANCE_S = 300

_CERT_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}(?:\.pem)?")
_TRANSMISSION_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


def signed_text(transmission_id: str, sent_at: str, webhook_id: str, body: bytes) -> bytes:
    """The bytes PayPal signs."""
    return f"{transmission_id}|{sent_at}|{webhook_id}|{zlib.crc32(body)}".encode()


class PayPalVerifier:
    """The WebhookVerifier for one webhook of one PayPal app."""

    def __init__(
        self,
        webhook_id: str,
        *,
        cert_prefixes: tuple[str, ...] = CERT_PREFIXES,
        now_s: Callable[[], int] = lambda: int(time.time()),
    ) -> None:
        """Pin the webhook id and where certificates may come from. Raises ValueError if empty."""
        if not webhook_id or not cert_prefixes:
            raise ValueError("a webhook id and a certificate prefix are needed")
        if any(not prefix.endswith("/") for prefix in cert_prefixes):
            raise ValueError("a certificate prefix ends with a slash")
        self._webhook_id = webhook_id
        self._cert_prefixes = cert_prefixes
        self._now_s = now_s
        self._certs = Certificates()

    async def verify(self, headers: Mapping[str, str], body: bytes) -> WebhookCall:
        """Prove a call, cheapest test first. Raises WebhookRefused."""
        if len(body) > BODY_BYTES_MAX:
            raise WebhookRefused("too_large")
        transmission_id = headers.get("PAYPAL-TRANSMISSION-ID", "")
        sent_at = headers.get("PAYPAL-TRANSMISSION-TIME", "")
        if not _TRANSMISSION_ID.fullmatch(transmission_id):
            raise WebhookRefused("no_transmission_id")
        if headers.get("PAYPAL-AUTH-ALGO") != ALGORITHM:
            raise WebhookRefused("algorithm_refused")
        if abs(self._now_s() - sent_at_s(sent_at)) > TOLERANCE_S:
            raise WebhookRefused("time_refused")
        try:
            signature = base64.b64decode(headers.get("PAYPAL-TRANSMISSION-SIG", ""), validate=True)
        except (binascii.Error, ValueError):
            raise WebhookRefused("signature_unreadable") from None
        cert = await self._cert(headers.get("PAYPAL-CERT-URL", ""))
        cert.require_valid(self._now_s())
        signed = signed_text(transmission_id, sent_at, self._webhook_id, body)
        try:
            cert.key.verify(signature, signed, padding.PKCS1v15(), SHA256())
        except InvalidSignature:
            raise WebhookRefused("signature_refused") from None
        return WebhookCall(transmission_id, _reports(body))

    async def _cert(self, url: str) -> Certificate:
        prefix = next((known for known in self._cert_prefixes if url.startswith(known)), None)
        if prefix is None or not _CERT_NAME.fullmatch(url[len(prefix) :]):
            raise WebhookRefused("certificate_host_refused")
        return await self._certs.at(url)


def _reports(body: bytes) -> list[dict[str, object]]:
    try:
        report = webhook_report(event_of(body))
    except ValueError:
        raise WebhookRefused("unreadable") from None
    return [] if report is None else [report]


def paypal_verifier(settings: PayPalSettings) -> PayPalVerifier:
    """The verifier of one PayPal account's webhook. Raises ValueError without a webhook id."""
    return PayPalVerifier(
        settings.webhook_id, cert_prefixes=settings.webhook_cert_prefixes or CERT_PREFIXES
    )
