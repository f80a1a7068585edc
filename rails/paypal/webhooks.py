"""Proof that a webhook comes from PayPal: its signature, made with a certificate of PayPal's.

PayPal signs ``transmission id|time|webhook id|crc32 of the body`` with SHA256withRSA and names the
certificate's address in a header. Anyone may send that header, so the address is pinned.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from rails.paypal.mapping import webhook_report
from rails.settings import RailSettings
from rails.webhooks import BODY_BYTES_MAX, WebhookCall, WebhookRefused

CERT_PREFIXES = (
    "https://api.paypal.com/v1/notifications/certs/",
    "https://api-m.paypal.com/v1/notifications/certs/",
    "https://api.sandbox.paypal.com/v1/notifications/certs/",
    "https://api-m.sandbox.paypal.com/v1/notifications/certs/",
)
ALGORITHM = "SHA256withRSA"
CERT_BYTES_MAX = 64 * 1024
CERTS_MAX = 16
CERT_LIFE_S = 6 * 3600
CERT_FETCHES_PER_MINUTE_MAX = 30
CERT_TIMEOUT_S = 5
RSA_BITS_MIN = 2048

_CERT_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}(?:\.pem)?")
_TRANSMISSION_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_PEM_END = b"-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class _Cert:
    key: rsa.RSAPublicKey
    from_s: int
    until_s: int
    fetched_s: float


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
        tolerance_s: int = 300,
        now_s: Callable[[], int] = lambda: int(time.time()),
    ) -> None:
        """Pin the webhook id and where certificates may come from. Raises ValueError if empty."""
        if not webhook_id or not cert_prefixes:
            raise ValueError("a webhook id and a certificate prefix are needed")
        if any(not prefix.endswith("/") for prefix in cert_prefixes):
            raise ValueError("a certificate prefix ends with a slash")
        self._webhook_id = webhook_id
        self._cert_prefixes = cert_prefixes
        self._tolerance_s = tolerance_s
        self._now_s = now_s
        self._certs: OrderedDict[str, _Cert] = OrderedDict()
        self._fetches: list[float] = []

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
        if abs(self._now_s() - _seconds(sent_at)) > self._tolerance_s:
            raise WebhookRefused("time_refused")
        try:
            signature = base64.b64decode(headers.get("PAYPAL-TRANSMISSION-SIG", ""), validate=True)
        except (binascii.Error, ValueError):
            raise WebhookRefused("signature_unreadable") from None
        cert = await self._cert(headers.get("PAYPAL-CERT-URL", ""))
        if not cert.from_s <= self._now_s() <= cert.until_s:
            raise WebhookRefused("certificate_expired")
        signed = signed_text(transmission_id, sent_at, self._webhook_id, body)
        try:
            cert.key.verify(signature, signed, padding.PKCS1v15(), SHA256())
        except InvalidSignature:
            raise WebhookRefused("signature_refused") from None
        return WebhookCall(transmission_id, _reports(body))

    async def _cert(self, url: str) -> _Cert:
        prefix = next((known for known in self._cert_prefixes if url.startswith(known)), None)
        if prefix is None or not _CERT_NAME.fullmatch(url[len(prefix) :]):
            raise WebhookRefused("certificate_host_refused")
        now = time.monotonic()
        known = self._certs.get(url)
        if known is not None and now - known.fetched_s < CERT_LIFE_S:
            self._certs.move_to_end(url)
            return known
        self._fetches = [at for at in self._fetches if now - at < 60]
        if len(self._fetches) >= CERT_FETCHES_PER_MINUTE_MAX:
            # Forged calls with invented names must not make us hammer PayPal.
            raise WebhookRefused("certificate_fetches_exhausted", retry=True)
        self._fetches.append(now)
        found = _parsed(await _fetched(url))
        self._certs[url] = found
        if len(self._certs) > CERTS_MAX:
            self._certs.popitem(last=False)
        return found


async def _fetched(url: str) -> bytes:
    timeout = aiohttp.ClientTimeout(total=CERT_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            session.get(
                url, allow_redirects=False, headers={"Accept-Encoding": "identity"}
            ) as response,
        ):
            if response.status != 200:
                raise WebhookRefused("certificate_not_found", retry=response.status >= 500)
            data = b""
            async for chunk in response.content.iter_any():
                data += chunk
                if len(data) > CERT_BYTES_MAX:
                    raise WebhookRefused("certificate_too_large")
            return data
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        raise WebhookRefused("certificate_unreachable", retry=True) from None


def _parsed(pem: bytes) -> _Cert:
    """The first certificate of a PEM file: PayPal's own, before its issuers'."""
    head, end, _ = pem.partition(_PEM_END)
    try:
        cert = x509.load_pem_x509_certificate(head + end)
        key = cert.public_key()
    except ValueError:
        raise WebhookRefused("certificate_unreadable") from None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < RSA_BITS_MIN:
        raise WebhookRefused("certificate_key_refused")
    return _Cert(
        key,
        int(cert.not_valid_before_utc.timestamp()),
        int(cert.not_valid_after_utc.timestamp()),
        time.monotonic(),
    )


def _seconds(sent_at: str) -> int:
    """RFC 3339 as seconds since the epoch. Raises WebhookRefused."""
    try:
        moment = datetime.fromisoformat(sent_at)
    except ValueError:
        raise WebhookRefused("time_unreadable") from None
    if moment.tzinfo is None or len(sent_at) > 40:
        raise WebhookRefused("time_unreadable")
    return int(moment.astimezone(UTC).timestamp())


def _reports(body: bytes) -> list[dict[str, object]]:
    try:
        report = webhook_report(json.loads(body, parse_float=str))
    except (ValueError, RecursionError):
        raise WebhookRefused("unreadable") from None
    return [] if report is None else [report]


def paypal_verifier(settings: RailSettings) -> PayPalVerifier:
    """The verifier of one PayPal account's webhook. Raises ValueError without a webhook id."""
    return PayPalVerifier(
        settings.webhook_id,
        cert_prefixes=settings.webhook_cert_prefixes or CERT_PREFIXES,
        tolerance_s=settings.webhook_tolerance_s,
    )
