"""Tells the product what came in of payments nobody asks about now: a return comes days later.

Each report becomes a ``payout.reported`` on ``rail.updates`` with what all reports of its payment
come to. Events have ids of their reports, so that one told twice counts once.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from models.payouts import PayoutState
from rails.iso20022.exchange import Exchange
from rails.iso20022.mapping import folded
from rails.iso20022.settings import Iso20022Settings
from rails.rail import reported
from rails.webhooks import Publish, SellerOf, forward

log = logging.getLogger(__name__)

POLL_MS = 500


class ReportFeed:
    """Reads the inbox of a rail and publishes, for ever."""

    def __init__(self, exchange: Exchange, rail: str, *, poll_ms: int = POLL_MS) -> None:
        """Take the rail's exchange and its name."""
        self._exchange = exchange
        self._rail = rail
        self._poll_s = poll_ms / 1000

    async def run(self, publish: Publish, seller_of: SellerOf) -> None:
        """Go on until cancelled. What cannot be published stays and is tried again."""
        while True:
            try:
                await self.round(publish, seller_of)
            except Exception as error:  # noqa: BLE001 - a disk, the broker, Redis: all come back
                log.warning("reports wait: %s", type(error).__name__, extra={"rail": self._rail})
            await asyncio.sleep(self._poll_s)

    async def round(self, publish: Publish, seller_of: SellerOf) -> int:
        """Take in and publish once; how many reports were new to the product."""
        await asyncio.to_thread(self._exchange.take)
        told = 0
        for payment_id, name in await asyncio.to_thread(lambda: list(self._exchange.unpublished())):
            event = await asyncio.to_thread(self._event, payment_id, name)
            if event is None:
                continue
            if event:
                told += await forward(publish, seller_of, self._rail, event)
            await asyncio.to_thread(self._exchange.published, payment_id, name)
        return told

    def _event(self, payment_id: str, name: str) -> dict[str, object] | None:
        """What to tell; nothing of what is unclear; None while the report is being filed."""
        payment = self._exchange.payment(payment_id)
        reports = self._exchange.reports(payment_id)
        if payment is None or name not in reports:
            return None
        outcome = folded(payment, reports.values())
        if outcome is None or outcome.state is PayoutState.UNKNOWN:
            return {}
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return reported(name.removesuffix(".json"), now, payment.attempt_id, self._rail, outcome)


def iso20022_feed(settings: Iso20022Settings, name: str = "iso20022") -> ReportFeed:
    """The feed beside a rail of the same settings and name. Raises ValueError."""
    return ReportFeed(Exchange(*settings.folders), name)
