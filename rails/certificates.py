"""Certificates that webhooks name by an address: fetched once, kept for a while, bounded.

Whoever uses them pins the address first: anyone may send one.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from rails.webhooks import WebhookRefused

CERT_BYTES_MAX = 64 * 1024
CERTS_MAX = 16
CERT_LIFE_S = 6 * 3600
CERT_FETCHES_PER_MINUTE_MAX = 30
FETCH_TIMEOUT_S = 5
RSA_BITS_MIN = 2048

_PEM_END = b"-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Certificate:
    """An RSA key and the time it is good for, in seconds since the epoch."""

    key: rsa.RSAPublicKey
    from_s: int
    until_s: int
    fetched_s: float

    def require_valid(self, now_s: int) -> None:
        """Raise WebhookRefused outside its time."""
        if not self.from_s <= now_s <= self.until_s:
            raise WebhookRefused("certificate_expired")


class Certificates:
    """Those that were asked for, by address."""

    def __init__(self) -> None:
        """Begin with none."""
        self._known: OrderedDict[str, Certificate] = OrderedDict()
        self._fetches: list[float] = []

    async def at(self, url: str) -> Certificate:
        """The certificate at an address that was pinned before. Raises WebhookRefused."""
        now = time.monotonic()
        known = self._known.get(url)
        if known is not None and now - known.fetched_s < CERT_LIFE_S:
            self._known.move_to_end(url)
            return known
        self._fetches = [at for at in self._fetches if now - at < 60]
        if len(self._fetches) >= CERT_FETCHES_PER_MINUTE_MAX:
            # Forged calls with invented names must not make us hammer the provider.
            raise WebhookRefused("certificate_fetches_exhausted", retry=True)
        self._fetches.append(now)
        found = parsed(await fetched(url, "certificate"))
        self.keep(url, found)
        return found

    def keep(self, url: str, certificate: Certificate) -> None:
        """Know a certificate by its address."""
        self._known[url] = certificate
        if len(self._known) > CERTS_MAX:
            self._known.popitem(last=False)


async def fetched(url: str, what: str) -> bytes:
    """What is at an address, redirects unfollowed; ``what`` names it in refusals.

    Raises WebhookRefused.
    """
    timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            session.get(
                url, allow_redirects=False, headers={"Accept-Encoding": "identity"}
            ) as response,
        ):
            if response.status != 200:
                raise WebhookRefused(f"{what}_not_found", retry=response.status >= 500)
            data = b""
            async for chunk in response.content.iter_any():
                data += chunk
                if len(data) > CERT_BYTES_MAX:
                    raise WebhookRefused(f"{what}_too_large")
            return data
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        raise WebhookRefused(f"{what}_unreachable", retry=True) from None


def parsed(pem: bytes) -> Certificate:
    """The first certificate of a PEM file: the signer's own, before its issuers'.

    Raises WebhookRefused.
    """
    head, end, _ = pem.partition(_PEM_END)
    try:
        cert = x509.load_pem_x509_certificate(head + end)
        key = cert.public_key()
    except ValueError:
        raise WebhookRefused("certificate_unreadable") from None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < RSA_BITS_MIN:
        raise WebhookRefused("certificate_key_refused")
    return Certificate(
        key,
        int(cert.not_valid_before_utc.timestamp()),
        int(cert.not_valid_after_utc.timestamp()),
        time.monotonic(),
    )
