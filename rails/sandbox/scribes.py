"""How each provider writes and signs its webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from rails.sandbox.books import Entry, moment
from rails.sandbox.notices import EVENTS, Notice

Shown = Callable[[Entry, int, str | None], Mapping[str, object]]
"""An entry as a provider shows it at a time in milliseconds, with a status it does not have where
one is given."""


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
        fingerprint = self._cert.fingerprint(SHA256()).hex()
        self.cert_name = f"CERT-{fingerprint[:24]}"
        self.sns_name = f"SimpleNotificationService-{fingerprint[:32]}.pem"

    def pem(self) -> bytes:
        """The certificate."""
        return self._cert.public_bytes(Encoding.PEM)

    def signature(self, data: bytes, hash_: HashAlgorithm) -> str:
        """RSA over some bytes, in base64."""
        return base64.b64encode(self._key.sign(data, padding.PKCS1v15(), hash_)).decode()

    def headers(self, url: str, webhook_id: str, body: bytes, now: datetime) -> dict[str, str]:
        """The headers PayPal would send with a body."""
        transmission_id = str(uuid.uuid4())
        sent_at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        text = f"{transmission_id}|{sent_at}|{webhook_id}|{zlib.crc32(body)}"
        return {
            "Content-Type": "application/json",
            "PAYPAL-TRANSMISSION-ID": transmission_id,
            "PAYPAL-TRANSMISSION-TIME": sent_at,
            "PAYPAL-TRANSMISSION-SIG": self.signature(text.encode(), SHA256()),
            "PAYPAL-CERT-URL": url,
            "PAYPAL-AUTH-ALGO": "SHA256withRSA",
        }


class PayPalScribe:
    """Events of PayPal's, signed with a key whose certificate is served."""

    def __init__(self, webhook_id: str, signer: Signer, shown: Shown) -> None:
        """``shown``: an entry as an item."""
        self._webhook_id = webhook_id
        self._signer = signer
        self._shown = shown
        self._cert_url = ""

    def name_certificate(self, prefix: str) -> None:
        """Say where the certificate is served, once the address is known."""
        self._cert_url = prefix + self._signer.cert_name

    def headers(self, signed: bytes, now: datetime) -> dict[str, str]:
        """The signature and what belongs to it."""
        return self._signer.headers(self._cert_url, self._webhook_id, signed, now)

    def body(self, entry: Entry, notice: Notice, number: str, at_ms: int) -> bytes:
        """An event about the item."""
        event = {
            "id": f"WH-{entry.reference}-{number}",
            "event_version": "1.0",
            "create_time": moment(at_ms),
            "resource_type": "payouts_item",
            "event_type": f"PAYMENT.PAYOUTS-ITEM.{EVENTS[notice.word]}",
            "summary": f"A payout item is {notice.word.lower()}",
            "resource": self._shown(entry, at_ms, None if entry.ended else notice.word),
        }
        return json.dumps(event, separators=(",", ":")).encode()


def hmac_headers(key: bytes, header: str, signed: bytes) -> dict[str, str]:
    """The headers of a JSON body that is proven by its HMAC-SHA256 in base64."""
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return {"Content-Type": "application/json", header: base64.b64encode(digest).decode()}


class AdyenScribe:
    """Events of Adyen's, signed with a key that both sides know."""

    def __init__(self, key_hex: str, shown: Shown) -> None:
        """``shown``: an entry as a transfer."""
        self._key = bytes.fromhex(key_hex)
        self._shown = shown

    def headers(self, signed: bytes, now: datetime) -> dict[str, str]:
        """The signature; it has no time of its own."""
        return hmac_headers(self._key, "HmacSignature", signed)

    def body(self, entry: Entry, notice: Notice, number: str, at_ms: int) -> bytes:
        """An event about the transfer, numbered; lies are numbered apart from the truth."""
        sequence = int(number) + 1 if number.isdecimal() else 1000 + int(number[1:])
        event = {
            "type": "balancePlatform.transfer.updated",
            "environment": "test",
            "timestamp": moment(at_ms),
            "data": {
                **self._shown(entry, at_ms, None if entry.ended else notice.word),
                "sequenceNumber": sequence,
                "updatedAt": moment(at_ms),
            },
        }
        return json.dumps(event, separators=(",", ":")).encode()


class CircleScribe:
    """Circle's notifications in messages of SNS, signed with a key whose certificate is served."""

    def __init__(self, topic_arn: str, signer: Signer, shown: Shown) -> None:
        """``shown``: an entry as a payout."""
        self._topic_arn = topic_arn
        self._signer = signer
        self._shown = shown
        self._host = ""

    def name_host(self, prefix: str) -> None:
        """Say where certificate and confirmations are, once the address is known."""
        self._host = prefix

    def headers(self, signed: bytes, now: datetime) -> dict[str, str]:
        """SNS's: the signature is in the message."""
        return {"Content-Type": "text/plain; charset=UTF-8"}

    def body(self, entry: Entry, notice: Notice, number: str, at_ms: int) -> bytes:
        """A message about the payout. A forgery is one that says other things than were signed."""
        told = {
            "clientId": "00000000-0000-4000-8000-000000000000",
            "notificationType": "payouts",
            "version": 1,
            "payout": self._shown(entry, at_ms, None if entry.ended else notice.word),
        }
        text = json.dumps(told, separators=(",", ":"))
        fields = {
            "Message": text,
            "MessageId": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{entry.reference}-{number}")),
            "Timestamp": moment(at_ms),
            "TopicArn": self._topic_arn,
            "Type": "Notification",
        }
        return self.message(fields, said=text + " " if notice.forged else text)

    def confirmation(self, at_ms: int) -> bytes:
        """The first message to a new subscriber."""
        token = "5a" * 32
        query = f"Action=ConfirmSubscription&TopicArn={self._topic_arn}&Token={token}"
        fields = {
            "Message": "To confirm the subscription, visit the SubscribeURL.",
            "MessageId": str(uuid.uuid5(uuid.NAMESPACE_OID, token)),
            "SubscribeURL": f"{self._host}?{query}",
            "Timestamp": moment(at_ms),
            "Token": token,
            "TopicArn": self._topic_arn,
            "Type": "SubscriptionConfirmation",
        }
        return self.message(fields)

    def message(
        self, fields: Mapping[str, str], *, said: str | None = None, version: str = "1"
    ) -> bytes:
        """Fields and their signature; ``said``: with another text than the signed one."""
        signed = "".join(f"{name}\n{value}\n" for name, value in sorted(fields.items()))
        hash_ = SHA256() if version == "2" else SHA1()  # noqa: S303 - as SNS does by default
        message = {
            **fields,
            "Message": fields["Message"] if said is None else said,
            "SignatureVersion": version,
            "Signature": self._signer.signature(signed.encode(), hash_),
            "SigningCertURL": self._host + self._signer.sns_name,
        }
        return json.dumps(message).encode()
