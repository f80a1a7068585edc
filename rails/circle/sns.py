"""Amazon SNS messages: the envelope that Circle's notifications come in.

SNS signs a text of chosen fields with RSA and names the certificate's address in the message.
Anyone may send such a message, and anyone may have a topic, so the address and the topic are pinned
(AWS, "Verifying the signatures of Amazon SNS messages").
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm

from rails.answers import at
from rails.certificates import Certificates, fetched
from rails.webhooks import AHEAD_S_MAX, BODY_BYTES_MAX, WebhookRefused, event_of, sent_at_s

AGE_S_MAX = 3_900
"""SNS tries an HTTPS endpoint for 3,600 seconds at most, under the time of the first try."""

NOTIFICATION = "Notification"
CONFIRMATIONS = frozenset({"SubscriptionConfirmation", "UnsubscribeConfirmation"})

_CONFIRMING = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")

SIGNED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
        **dict.fromkeys(CONFIRMATIONS, _CONFIRMING),
    }
)
"""The fields under the signature, in their order; a subject that is not there is left out."""

HASHES: Mapping[str, type[HashAlgorithm]] = MappingProxyType({"1": SHA1, "2": SHA256})
"""Of each version of the signature. The owner of the topic, Circle, decides; 1 is the default."""

TOPIC_ARN = re.compile(r"arn:aws:sns:([a-z0-9-]{3,32}):[0-9]{12}:[A-Za-z0-9_-]{1,256}(?:\.fifo)?")

_HOST = re.compile(r"https://sns\.[a-z0-9-]{3,32}\.amazonaws\.com/")
_CERT_NAME = re.compile(r"SimpleNotificationService-[0-9a-f]{16,64}\.pem")
_MESSAGE_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


class SnsMessage:
    """A proven message. ``kind`` is its ``Type``; ``text`` what was said."""

    __slots__ = ("kind", "message_id", "subscribe_url", "text")

    def __init__(self, fields: Mapping[str, str]) -> None:
        """Take the fields of a message whose signature was checked."""
        self.kind = fields["Type"]
        self.message_id = fields["MessageId"]
        self.text = fields["Message"]
        self.subscribe_url = fields.get("SubscribeURL", "")


def signed_text(fields: Mapping[str, str]) -> bytes:
    """The bytes that SNS signs: each field's name and value on lines of their own."""
    present = (name for name in SIGNED[fields["Type"]] if name in fields)
    return "".join(f"{name}\n{fields[name]}\n" for name in present).encode()


class SnsVerifier:
    """Proves the messages of one topic."""

    def __init__(
        self,
        topic_arn: str,
        *,
        prefixes: tuple[str, ...] = (),
        now_s: Callable[[], int] = lambda: int(time.time()),
    ) -> None:
        """Pin the topic. ``prefixes``: where certificates and confirmations may be instead of
        Amazon's hosts, for a sandbox. Raises ValueError for what is no topic or no prefix."""
        if not TOPIC_ARN.fullmatch(topic_arn):
            raise ValueError("a topic is arn:aws:sns:<region>:<account>:<name>")
        if any(not prefix.endswith("/") for prefix in prefixes):
            raise ValueError("a certificate prefix ends with a slash")
        self._topic_arn = topic_arn
        self._prefixes = prefixes
        self._now_s = now_s
        self.certificates = Certificates()

    async def verify(self, body: bytes) -> SnsMessage:
        """The proven message, cheapest test first. Raises WebhookRefused."""
        fields = _fields(body)
        if fields["TopicArn"] != self._topic_arn:
            raise WebhookRefused("topic_refused")
        hash_ = HASHES.get(fields["SignatureVersion"])
        if hash_ is None:
            raise WebhookRefused("algorithm_refused")
        age_s = self._now_s() - sent_at_s(fields["Timestamp"])
        if not -AHEAD_S_MAX <= age_s <= AGE_S_MAX:
            raise WebhookRefused("time_refused")
        try:
            signature = base64.b64decode(fields["Signature"], validate=True)
        except (binascii.Error, ValueError):
            raise WebhookRefused("signature_unreadable") from None
        url = fields["SigningCertURL"]
        prefix = self._pinned(url)
        if prefix is None or not _CERT_NAME.fullmatch(url[len(prefix) :]):
            raise WebhookRefused("certificate_host_refused")
        certificate = await self.certificates.at(url)
        certificate.require_valid(self._now_s())
        try:
            certificate.key.verify(signature, signed_text(fields), padding.PKCS1v15(), hash_())
        except InvalidSignature:
            raise WebhookRefused("signature_refused") from None
        return SnsMessage(fields)

    async def confirm(self, message: SnsMessage) -> None:
        """Confirm a subscription that a proven message asks for. Raises WebhookRefused.

        The address is in the message, so it is followed only to SNS and only to confirm our topic.
        """
        url = message.subscribe_url
        prefix = self._pinned(url)
        if prefix is None or url[len(prefix) : len(prefix) + 1] != "?":
            raise WebhookRefused("subscription_host_refused")
        query = parse_qs(urlsplit(url).query)
        if query.get("Action") != ["ConfirmSubscription"] or query.get("TopicArn") != [
            self._topic_arn
        ]:
            raise WebhookRefused("subscription_refused")
        await fetched(url, "subscription")

    def _pinned(self, url: str) -> str | None:
        """The part of an address that is on a host we believe; None if there is none."""
        if self._prefixes:
            return next((known for known in self._prefixes if url.startswith(known)), None)
        match = _HOST.match(url)
        return match[0] if match else None


def _fields(body: bytes) -> dict[str, str]:
    """The fields of a message that have to be there, as texts. Raises WebhookRefused."""
    if len(body) > BODY_BYTES_MAX:
        raise WebhookRefused("too_large")
    raw = event_of(body)
    kind = at(raw, "Type")
    signed = SIGNED.get(kind) if isinstance(kind, str) else None
    if signed is None or not isinstance(raw, dict):
        raise WebhookRefused("unreadable")
    needed = {*signed, "SignatureVersion", "Signature", "SigningCertURL"} - {"Subject"}
    # A subject that is null is none: that is how some senders of SNS messages leave it out.
    names = needed | ({"Subject"} if raw.get("Subject") is not None else set())
    fields = {name: raw.get(name) for name in names}
    texts = {name: value for name, value in fields.items() if isinstance(value, str)}
    if texts.keys() != names or not _MESSAGE_ID.fullmatch(texts["MessageId"]):
        raise WebhookRefused("unreadable")
    try:
        signed_text(texts)
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell
        raise WebhookRefused("unreadable") from None
    return texts
