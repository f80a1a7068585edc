"""The replay of a real retailer's file through a stack, reconciled with the file to the penny."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from models.money import text
from streams.demo.messages import Kind, Message
from streams.demo.retail import SellersBy, Totals, messages, totals
from streams.demo.run import Outcome, Progress, Run
from streams.demo.stack import Stack

RETENTION_DAYS = 400
"""The file spans 374 days; ids are remembered for longer, so that none of it counts as too old."""

FREE_RATE_MAX = 2_000.0
"""Events a second at ``--speed max``: the sender must not fill the broker's memory unbounded."""

Reconciled = dict[str, tuple[Any, Any]]
"""Figure → (the file's own, the pipeline's)."""


def replay_retail(
    path: Path,
    *,
    limit: int | None,
    speed: float | None,
    sellers_by: SellersBy,
    sellers: int,
    on_progress: Callable[[Progress], None] | None = None,
) -> tuple[Outcome, Reconciled]:
    """Send the file's sales and returns through the product.

    ``speed``: how many times faster than it happened; None for as fast as they are taken. Raises
    RetailFileError, RunFailed, StackFailed.
    """
    own = totals(path, limit)
    with Stack(retention_days=RETENTION_DAYS, settle_delay_ms=50) as stack:
        stream = list(
            messages(
                path,
                limit,
                sellers_by=sellers_by,
                sellers=sellers,
                ends_ms=time.time_ns() // 1_000_000,
                seal=stack.seal.seal,
            )
        )
        profiles = [message for message in stream if message.kind is Kind.PROFILE]
        events = [message for message in stream if message.kind is not Kind.PROFILE]
        run = Run(stack, seed=0, on_progress=on_progress)
        outcome = run.go(
            profiles,
            _paced(events, speed),
            total=len(events),
            rate=FREE_RATE_MAX if speed is None else None,
        )
    return outcome, _reconcile(own, outcome, events)


def _paced(events: list[Message], speed: float | None) -> Iterator[Message]:
    """The events at their own times, ``speed`` times faster."""
    if speed is None or not events:
        yield from events
        return
    began, first_ms = time.monotonic(), events[0].at_ms
    for message in events:
        due = began + (message.at_ms - first_ms) / 1000 / speed
        if (pause := due - time.monotonic()) > 0:
            time.sleep(pause)
        yield message


def _reconcile(own: Totals, outcome: Outcome, events: list[Message]) -> Reconciled:
    """The file's figures beside what the journal says was booked."""
    fold = outcome.fold
    kinds = fold.kinds
    sold = fold.volumes["sale.completed", own.currency]
    returned = fold.volumes["sale.returned", own.currency]
    booked = [from_json(event.value) for event in events if event.id in fold.booked]
    lines = sum(event["lines"] for event in booked)
    cancellations = sum(event.get("reason") == "cancelled" for event in booked)
    return {
        "lines": (own.lines, lines),
        "invoices": (own.invoices, kinds["sale.completed"] + kinds["sale.returned"]),
        "cancellations": (own.cancellations, cancellations),
        "sales": (own.sales, kinds["sale.completed"]),
        "returns": (own.returns, kinds["sale.returned"]),
        "gross": (text(own.gross_minor, own.currency), text(sold, own.currency)),
        "returned": (text(own.returned_minor, own.currency), text(returned, own.currency)),
        "net": (text(own.net_minor, own.currency), text(sold - returned, own.currency)),
    }
