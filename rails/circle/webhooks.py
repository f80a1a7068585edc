"""What Circle reports of payouts: notifications inside messages of Amazon SNS.

A payout carries nothing of ours, so a report names it by Circle's id; the receiver knows which
payout that is (``rails.webhooks.AttemptOf``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from rails.circle.mapping import webhook_report
from rails.circle.settings import CircleSettings
from rails.circle.sns import NOTIFICATION, SnsMessage, SnsVerifier
from rails.webhooks import WebhookCall, WebhookRefused, event_of


class CircleVerifier:
    """The WebhookVerifier for one subscription to Circle's notifications."""

    def __init__(
        self,
        topic_arn: str,
        *,
        prefixes: tuple[str, ...] = (),
        now_s: Callable[[], int] = lambda: int(time.time()),
    ) -> None:
        """Pin the topic, and for a sandbox the hosts. Raises ValueError."""
        self.sns = SnsVerifier(topic_arn, prefixes=prefixes, now_s=now_s)

    async def verify(self, headers: Mapping[str, str], body: bytes) -> WebhookCall:
        """Prove a call; confirm the subscription if that is what it asks for.

        Raises WebhookRefused.
        """
        message = await self.sns.verify(body)
        if message.kind == "SubscriptionConfirmation":
            await self.sns.confirm(message)
        reports = _reports(message) if message.kind == NOTIFICATION else []
        return WebhookCall(message.message_id, reports)


def _reports(message: SnsMessage) -> list[dict[str, object]]:
    try:
        report = webhook_report(message.message_id, event_of(message.text.encode()))
    except ValueError:
        raise WebhookRefused("unreadable") from None
    return [] if report is None else [report]


def circle_verifier(settings: CircleSettings) -> CircleVerifier:
    """The verifier of one account's notifications. Raises ValueError without a topic."""
    return CircleVerifier(settings.topic_arn, prefixes=settings.webhook_cert_prefixes)
