"""Providers' calls as they came, kept for whoever has to prove or repeat what a provider said.

A message of the topic ``webhooks`` holds one proven call, its headers and its body, sealed with the
keys of destinations: both hold personal data. Its key is a digest of the body, so that a call that
came twice lies beside itself; the headers ``rail`` and ``at`` are in the clear.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

from confluent_kafka import Message

from models.moments import rfc_3339
from rails.destination import Seal
from streams.deadletters import Place
from streams.engine import Outgoing
from streams.reading import read_topic
from streams.topics import WEBHOOKS

SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
"""Headers that prove the caller by a secret, which is not kept."""


@dataclass(frozen=True, slots=True)
class RawCall:
    """One call that is kept. ``at`` is when it came, RFC 3339."""

    place: Place
    rail: str
    at: str
    sealed: bytes

    def __repr__(self) -> str:
        """Without what is sealed."""
        return f"RawCall({self.place}, {self.rail}, {self.at})"

    def open(self, seal: Seal) -> tuple[dict[str, str], str]:
        """Headers, in lower case, and body. Raises SealError."""
        raw = json.loads(seal.open_bytes(self.rail, self.sealed))
        return raw["headers"], raw["body"]


def kept(rail: str, headers: Mapping[str, str], body: bytes, seal: Seal, now_ms: int) -> Outgoing:
    """The message that keeps a call. ``now_ms`` since the epoch."""
    plain = {
        "headers": {
            name.lower(): value
            for name, value in headers.items()
            if name.lower() not in SECRET_HEADERS
        },
        "body": body.decode("utf-8", errors="surrogateescape"),
    }
    return Outgoing(
        WEBHOOKS.name,
        sha256(body).hexdigest().encode(),
        seal.seal_bytes(rail, json.dumps(plain).encode()),
        [("rail", rail.encode()), ("at", rfc_3339(now_ms).encode())],
    )


def read(client: Mapping[str, Any], rail: str | None = None) -> Iterator[RawCall]:
    """All calls that are kept, of one rail or of all. Raises what ``read_topic`` raises."""
    for message in read_topic(client, WEBHOOKS.name):
        call = _call_of(message)
        if rail in (None, call.rail):
            yield call


def _call_of(message: Message) -> RawCall:
    headers = dict(cast("list[tuple[str, bytes]]", message.headers() or []))
    return RawCall(
        Place(str(message.topic()), message.partition() or 0, message.offset() or 0),
        headers.get("rail", b"").decode(),
        headers.get("at", b"").decode(),
        message.value() or b"",
    )
