"""`payouts cancel`: stop a payout that has not left."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer

from streams.cli.asking import asked
from streams.cli.console import console
from streams.cli.errors import BadUse, CommandError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(cancel)


def cancel(
    payout: Annotated[str, typer.Argument(metavar="PAYOUT", help="The payout's id.")],
) -> None:
    """Ask the workers to stop a payout. Its money is the seller's again once it is cancelled.

    One that is reserved is stopped before its rail gets it. One that waits to be claimed is stopped
    by its rail, where that can. Any other is too late. `payouts wallet show` tells what came of it.
    """
    from streams.settings import load_settings

    settings = load_settings()
    found = stored_payout(payout)
    _require_stoppable(settings, found)
    order = {
        "v": 1,
        "type": "payout.cancel",
        "payout_id": payout,
        "seller_id": found["seller_id"],
        "at_ms": time.time_ns() // 1_000_000,
    }
    _publish(settings, found["seller_id"], json.dumps(order).encode())
    console().print(f"asked for: {payout} of {found['seller_id']}, {found['state']}")


def stored_payout(payout_id: str) -> dict[str, Any]:
    """A payout as Redis holds it. Raises BadUse, CommandError."""
    from models.ids import shard_of_payout

    try:
        shard = shard_of_payout(payout_id)
    except ValueError:
        raise BadUse(
            f"{payout_id[:80]!r} is no payout id; `payouts wallet show SELLER --json` has them"
        ) from None
    stored: Any = asked(lambda client: client.get(f"{{s{shard}}}:y:{payout_id}"))
    if stored is None:
        raise CommandError(f"there is no payout {payout_id}")
    found: dict[str, Any] = json.loads(stored)
    return found


def _require_stoppable(settings: Any, payout: dict[str, Any]) -> None:
    """Raises CommandError for a payout that is too late to stop."""
    from models.payouts import PayoutState
    from rails.registry import provider
    from streams.agents.payouts import cancellable

    state, rail = payout["state"], payout["rail"]
    if state == PayoutState.RESERVED:
        return
    rails = settings.rails()
    if rail in rails and cancellable(state, provider(rails[rail].provider).capabilities):
        return
    raise CommandError(f"{payout['payout_id']} is {state} at {rail}: it can no longer be stopped")


def _publish(settings: Any, seller_id: str, value: bytes) -> None:
    import asyncio

    from streams.engine import Outgoing
    from streams.wallets.journal import JournalUnreadable
    from streams.wallets.rebuild import Sender

    order = Outgoing("payouts.commands", seller_id.encode(), value)
    try:
        asyncio.run(Sender(settings.kafka_client()).send([order]))
    except JournalUnreadable as error:
        raise CommandError(f"not asked for: {error}") from error
