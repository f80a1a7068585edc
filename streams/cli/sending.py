"""Sending events: what a command that somebody answers for puts on an inbound topic."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from streams.cli.errors import BadUse, CommandError


def require_valid(topic: str, event: Mapping[str, Any]) -> None:
    """Raises BadUse for an event that would be refused for its form."""
    from models.events import decode
    from models.refusals import Refused

    now_ms = time.time_ns() // 1_000_000
    try:
        decode(topic, json.dumps(event).encode(), now_ms=now_ms, retention_ms=now_ms)
    except Refused as refused:
        raise BadUse(refused.detail) from None


def publish(settings: Any, topic: str, event: Mapping[str, Any]) -> None:
    """Put an event on a topic, keyed by its seller. Raises CommandError."""
    import asyncio

    from streams.engine import Outgoing
    from streams.wallets.journal import JournalUnreadable
    from streams.wallets.rebuild import Sender

    value = json.dumps(event, ensure_ascii=False).encode()
    sent = Outgoing(topic, event["seller_id"].encode(), value)
    try:
        asyncio.run(Sender(settings.kafka_client()).send([sent]))
    except JournalUnreadable as error:
        raise CommandError(f"not sent: {error}") from error
