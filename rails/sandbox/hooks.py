"""Webhooks of the sandbox: when a payout's status changes, tell the configured address, signed.

Best effort, like a provider's: a bounded number waits, each is tried a few times, then dropped and
counted. The books are the truth; who missed a webhook asks.
"""

from __future__ import annotations

import asyncio
import base64
import heapq
import json
import logging
import uuid
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from rails.sandbox.behaviours import BEHAVIOURS, Hook
from rails.sandbox.books import Entry, SandboxClock

log = logging.getLogger(__name__)

WAITING_MAX = 100_000
SENDING_MAX = 16
TRIES_MAX = 25
TRY_AGAIN_MS = 1_000
SOON_MS = 10_000
"""A webhook due by then counts as waiting."""

POLL_S = 0.05

EVENTS = {
    "SUCCESS": "SUCCEEDED",
    "FAILED": "FAILED",
    "BLOCKED": "BLOCKED",
    "UNCLAIMED": "UNCLAIMED",
    "RETURNED": "RETURNED",
    "REFUNDED": "REFUNDED",
    "REVERSED": "REFUNDED",
    "ONHOLD": "HELD",
}


class Signer:
    """A key made at start and its self-signed certificate: the sandbox's own authority."""

    def __init__(self) -> None:
        """Make key and certificate; takes some tenths of a second."""
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "payout sandbox")])
        now = datetime.now(UTC)
        self._cert = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=365))
            .sign(self._key, SHA256())
        )
        self.cert_name = f"CERT-{self._cert.fingerprint(SHA256()).hex()[:24]}"

    def pem(self) -> bytes:
        """The certificate."""
        return self._cert.public_bytes(Encoding.PEM)

    def headers(self, url: str, webhook_id: str, body: bytes, moment: datetime) -> dict[str, str]:
        """The headers PayPal would send with a body."""
        transmission_id = str(uuid.uuid4())
        sent_at = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        text = f"{transmission_id}|{sent_at}|{webhook_id}|{zlib.crc32(body)}"
        signature = self._key.sign(text.encode(), padding.PKCS1v15(), SHA256())
        return {
            "Content-Type": "application/json",
            "PAYPAL-TRANSMISSION-ID": transmission_id,
            "PAYPAL-TRANSMISSION-TIME": sent_at,
            "PAYPAL-TRANSMISSION-SIG": base64.b64encode(signature).decode(),
            "PAYPAL-CERT-URL": url,
            "PAYPAL-AUTH-ALGO": "SHA256withRSA",
        }


class Hooks:
    """Sends the webhooks of all entries; one heap entry a payout, whatever its plan."""

    def __init__(
        self,
        url: str,
        webhook_id: str,
        signer: Signer,
        clock: SandboxClock,
        resource_of: Callable[[Entry, int], dict[str, object]],
    ) -> None:
        """``resource_of`` shows an entry as the provider's resource at a time in milliseconds."""
        self._url = url
        self._webhook_id = webhook_id
        self._signer = signer
        self._clock = clock
        self._resource_of = resource_of
        self._due: list[tuple[int, int, int, int, Entry]] = []
        self._number = 0
        self._sending: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._cert_url = ""
        self.sent = 0
        self.dropped = 0

    def name_certificate(self, prefix: str) -> None:
        """Say where the certificate is served, once the address is known."""
        self._cert_url = prefix + self._signer.cert_name

    def schedule(
        self, entry: Entry, step: int, *, tries: int = 0, at_ms: int | None = None
    ) -> None:
        """Send the webhook of a step when it is due."""
        if step >= len(entry.plan):
            return
        if len(self._due) >= WAITING_MAX:
            self.dropped += 1
            return
        self._number += 1
        due_ms = entry.due_ms(step) if at_ms is None else at_ms
        heapq.heappush(self._due, (due_ms, self._number, step, tries, entry))

    def waiting(self) -> int:
        """Webhooks that are being sent, or will be within ``SOON_MS``."""
        soon_ms = self._clock.now_ms() + SOON_MS
        due = sum(
            step < len(entry.plan) and entry.plan[step][2] in EVENTS
            for due_ms, _, step, _, entry in self._due
            if due_ms <= soon_ms
        )
        return due + len(self._sending)

    async def run(self) -> None:
        """Send what is due, for ever."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            self._session = session
            while True:
                now_ms = self._clock.now_ms()
                while self._due and self._due[0][0] <= now_ms and len(self._sending) < SENDING_MAX:
                    _, _, step, tries, entry = heapq.heappop(self._due)
                    task = asyncio.create_task(self._send(entry, step, tries))
                    self._sending.add(task)
                    task.add_done_callback(self._sending.discard)
                if len(self._sending) >= SENDING_MAX:
                    await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)
                else:
                    await asyncio.sleep(POLL_S)

    async def close(self) -> None:
        """Drop what waits and what is being sent."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def _send(self, entry: Entry, step: int, tries: int) -> None:
        if step >= len(entry.plan):
            return  # cancelled while it waited
        behaviour = BEHAVIOURS.get(entry.behaviour)
        hook = behaviour.hook if behaviour else Hook.SENT
        if hook is not Hook.LOST and entry.plan[step][2] in EVENTS:
            body = self._body(entry, step)
            forged = body.replace(b'"resource"', b'"resource" ') if hook is Hook.FORGED else body
            arrived = await self._post(body, forged)
            if hook is Hook.TWICE:
                await self._post(body, forged)
            if not arrived and hook is not Hook.FORGED:
                if tries + 1 < TRIES_MAX:
                    at_ms = self._clock.now_ms() + TRY_AGAIN_MS
                    self.schedule(entry, step, tries=tries + 1, at_ms=at_ms)
                    return
                self.dropped += 1
        self.schedule(entry, step + 1)

    async def _post(self, signed: bytes, sent: bytes) -> bool:
        if self._session is None:
            return False
        now = datetime.fromtimestamp(self._clock.now_ms() // 1000, UTC)
        headers = self._signer.headers(self._cert_url, self._webhook_id, signed, now)
        try:
            async with self._session.post(self._url, data=sent, headers=headers) as response:
                self.sent += 1
                return response.status < 300
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.debug("webhook not delivered: %s", type(error).__name__)
            return False

    def _body(self, entry: Entry, step: int) -> bytes:
        word = entry.plan[step][2]
        due_ms = entry.due_ms(step)
        moment = datetime.fromtimestamp(due_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        event = {
            "id": f"WH-{entry.reference}-{step}",
            "event_version": "1.0",
            "create_time": moment,
            "resource_type": "payouts_item",
            "event_type": f"PAYMENT.PAYOUTS-ITEM.{'CANCELED' if entry.ended else EVENTS[word]}",
            "summary": f"A payout item is {word.lower()}",
            "resource": self._resource_of(entry, due_ms),
        }
        return json.dumps(event, separators=(",", ":")).encode()
