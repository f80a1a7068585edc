"""`payouts debt` and `payouts exposure`: write a debt off, and what is owed for how long."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from streams.cli.console import console
from streams.cli.errors import CommandError, LineErrors
from streams.cli.sending import publish, require_valid

if TYPE_CHECKING:
    from streams.exposure import Exposure

group = typer.Typer(cls=LineErrors, no_args_is_help=True, help="What sellers owe.")


def register(app: typer.Typer) -> None:
    """Add the group and the command."""
    app.add_typer(group, name="debt")
    app.command()(exposure)


@group.command("write-off")
def write_off(
    seller: Annotated[str, typer.Argument(metavar="SELLER", help="The seller's id.")],
    currency: Annotated[str, typer.Argument(metavar="CURRENCY", help="Such as EUR.")],
    amount: Annotated[
        int, typer.Argument(metavar="AMOUNT", help="In minor units: 1299 is 12.99 EUR.")
    ],
    *,
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who decided it.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why.")],
    event_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="ID",
            help="The event's id, to send the same write-off again without a second effect.",
        ),
    ] = None,
) -> None:
    """Write off what a seller owes, or a part of it. Name and reason stay in the journal.

    The workers book it; a write-off of more than is owed then is refused, and a dead letter.
    """
    from streams.settings import load_settings

    settings = load_settings()
    event = {
        "type": "debt.written_off",
        "version": 1,
        "id": event_id or str(uuid4()),
        "occurred_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "seller_id": seller,
        "currency": currency,
        "amount_minor": amount,
        "by": by,
        "reason": reason,
    }
    require_valid("commissions", event)
    _require_debt(settings, seller, currency, amount)
    publish(settings, "commissions", event)
    console().print(f"sent as {event['id']}: {_text(amount, currency)} of {seller}")


def _require_debt(settings: Any, seller: str, currency: str, amount: int) -> None:
    """Raises CommandError for more than the seller owes now."""
    from redis.exceptions import RedisError

    from models.shards import shard_of
    from streams.connections import redis_client

    client = redis_client(settings)
    try:
        stored: Any = client.hget(f"{{s{shard_of(seller)}}}:w:{seller}", f"{currency}:debt")
    except (RedisError, OSError) as error:
        raise CommandError(f"{settings.redis_address}: {error}") from error
    finally:
        client.close()
    owed = -int(stored or 0)
    if amount > owed:
        raise CommandError(f"{seller} owes {_text(owed, currency)}: not more can be written off")


def exposure(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, amounts in minor units.")
    ] = False,
) -> None:
    """Show what sellers owe, by currency and by how many days they have owed it.

    What is paid is what has been owed the longest. Days are those of UTC.
    """
    from redis.exceptions import RedisError

    from streams.connections import redis_client
    from streams.exposure import read_exposure
    from streams.settings import load_settings

    settings = load_settings()
    client = redis_client(settings)
    try:
        found = read_exposure(client, time.time_ns() // 1_000_000)
    except (RedisError, OSError) as error:
        raise CommandError(f"{settings.redis_address}: {error}") from error
    finally:
        client.close()
    if as_json:
        told = {
            currency: {
                "sellers": one.sellers,
                "total_minor": one.total_minor,
                "by_age_days": dict(one.by_age),
            }
            for currency, one in found.items()
        }
        typer.echo(json.dumps(told, indent=2))
    else:
        _print(found)


def _print(found: Mapping[str, Exposure]) -> None:
    from rich.table import Table

    from models.debts import AGES, OLDER

    if not found:
        console().print("no seller owes anything")
        return
    ages = (*AGES, OLDER)
    table = Table("", "sellers", *ages, "in all", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for currency, one in found.items():
        minors = (*(one.by_age[age] for age in ages), one.total_minor)
        amounts = (_text(minor, currency).rpartition(" ")[0] for minor in minors)
        table.add_row(currency, f"{one.sellers:,}", *amounts)
    console().print(table)


def _text(minor: int, currency: str) -> str:
    from models.money import text

    return text(minor, currency)
