"""`payouts review`: earnings that are held, and somebody's decision about them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from streams.cli.asking import asked
from streams.cli.console import console
from streams.cli.errors import CommandError, LineErrors
from streams.cli.moments import age
from streams.cli.sending import publish, require_valid

if TYPE_CHECKING:
    from models.decisions import Record
    from streams.reviews import Item

group = typer.Typer(cls=LineErrors, no_args_is_help=True, help="Earnings held for review.")


class Fraud(StrEnum):
    """What a forfeit may say of a sale."""

    CONFIRMED = "confirmed"
    CHARGEBACK = "chargeback"


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="review")


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, amounts in minor units.")]
SaleArgument = Annotated[str, typer.Argument(metavar="SALE", help="The sale's id.")]
SellerOption = Annotated[
    str | None,
    typer.Option("--seller", metavar="SELLER", help="Whose sale, if several have one of this id."),
]
ByOption = Annotated[
    str,
    typer.Option("--by", metavar="NAME", help="Who decided it: nobody who earns by the sale."),
]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why.")]
IdOption = Annotated[
    str | None,
    typer.Option(
        "--id", metavar="ID", help="The event's id, to send it again without a second effect."
    ),
]


@group.command("list")
def list_(
    *,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, metavar="N", help="Sales to show.")
    ] = 50,
    as_json: JsonOption = False,
) -> None:
    """List sales of which earnings are held, the longest held first, with score and reasons.

    Commissions above them are decided with their sale.
    """
    from streams.reviews import held_items

    items = asked(held_items)
    sales = [item for item in items if item.sale_id is not None]
    shown = sales[:limit]
    decisions = _decisions(shown)
    if as_json:
        told = [_told(item, decisions.get((item.seller_id, item.sale_id))) for item in shown]
        above = len(items) - len(sales)
        typer.echo(json.dumps({"held": told, "sales": len(sales), "commissions": above}, indent=2))
    elif not items:
        console().print("nothing is held")
    else:
        _print(shown, decisions)
        console().print(f"{len(sales):,} sales, and {len(items) - len(sales):,} commissions")


@group.command()
def show(sale: SaleArgument, *, seller: SellerOption = None, as_json: JsonOption = False) -> None:
    """Show what a sale earned, what of it is held and why, and what was said of it."""
    item = _found(sale, seller)
    record = _decisions([item]).get((item.seller_id, item.sale_id))
    told = _told(item, record)
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    for name, value in told.items():
        if value is not None and value != []:
            words = "; ".join(value) if isinstance(value, list) else value
            console().print(f"{name.replace('_', ' ')}: {words}", markup=False, highlight=False)


@group.command()
def release(
    sale: SaleArgument,
    *,
    by: ByOption,
    reason: ReasonOption,
    seller: SellerOption = None,
    event_id: IdOption = None,
) -> None:
    """Release what is held of a sale: it is genuine. Name and reason stay in the journal."""
    _send(sale, seller, "cleared", (by, reason), event_id)


@group.command()
def forfeit(
    sale: SaleArgument,
    *,
    by: ByOption,
    reason: ReasonOption,
    verdict: Annotated[Fraud, typer.Option("--verdict", help="What it is.")] = Fraud.CONFIRMED,
    seller: SellerOption = None,
    event_id: IdOption = None,
) -> None:
    """Forfeit what is held of a sale: it is a fraud. Name and reason stay in the journal."""
    _send(sale, seller, verdict.value, (by, reason), event_id)


def _send(
    sale: str, seller: str | None, verdict: str, said: tuple[str, str], event_id: str | None
) -> None:
    from models.money import text
    from streams.reviews import earners
    from streams.settings import load_settings

    item = _found(sale, seller)
    event = {
        "type": "fraud.labelled",
        "version": 1,
        "id": event_id or str(uuid4()),
        "occurred_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "seller_id": item.seller_id,
        "sale_id": sale,
        "verdict": verdict,
        "by": said[0],
        "reason": said[1],
    }
    require_valid("fraud.labels", event)
    if item.verdict is not None:
        raise CommandError(f"{sale} is decided: {item.verdict}")
    if not item.held_minor:
        raise CommandError(f"nothing is held of {sale}")
    named = said[0].casefold()
    if any(one.casefold() == named for one in asked(lambda c: list(earners(c, item.seller_id)))):
        raise CommandError(f"{said[0]} earns by {sale}: somebody else has to decide")
    publish(load_settings(), "fraud.labels", event)
    held = text(item.held_minor, item.currency)
    console().print(f"sent as {event['id']}: {verdict}, {held} of {item.seller_id}")


def _found(sale: str, seller: str | None) -> Item:
    """Raises CommandError for a sale that is unknown, or not the only one."""
    from streams.reviews import items_of

    items = asked(lambda client: items_of(client, sale))
    mine = [item for item in items if seller in {None, item.seller_id}]
    if not mine:
        raise CommandError(f"no sale {sale!r} is known" + (f" of {seller}" if seller else ""))
    if len(mine) > 1:
        names = ", ".join(item.seller_id for item in mine)
        raise CommandError(f"several sellers have a sale {sale!r}: say --seller ({names})")
    return mine[0]


def _decisions(items: Sequence[Item]) -> Mapping[tuple[str, str | None], Record]:
    from streams.reading import TopicUnreadable
    from streams.reviews import decisions_of
    from streams.settings import load_settings

    try:
        return decisions_of(load_settings().kafka_client(), items)
    except TopicUnreadable as error:
        raise CommandError(str(error)) from error


def _told(item: Item, record: Record | None) -> dict[str, Any]:
    """A sale as JSON has it. What nobody decided has neither score nor reasons."""
    decision = record.decision if record else None
    return {
        "sale_id": item.sale_id,
        "seller_id": item.seller_id,
        "currency": item.currency,
        "amount_minor": item.base_minor,
        "earned_minor": item.earned_minor,
        "returned_minor": item.returned_minor,
        "held_minor": item.held_minor,
        "sold_at": _moment(item.occurred_ms),
        "held_since": None if item.since_ms is None else _moment(item.since_ms),
        "waits_for_profile": item.waits,
        "verdict": item.verdict,
        "score": decision.score if decision else None,
        "reasons": list(decision.reasons) if decision else [],
        "event_id": record.event_id if record else None,
        "model": record.model if record else None,
    }


def _print(items: Sequence[Item], decisions: Mapping[tuple[str, str | None], Record]) -> None:
    from rich.table import Table

    from models.money import text

    table = Table("held for", "held", "sale", "seller", "score", "why", box=None, pad_edge=False)
    for number in (0, 1, 4):
        table.columns[number].justify = "right"
    now_ms = time.time_ns() // 1_000_000
    for item in items:
        record = decisions.get((item.seller_id, item.sale_id))
        score = record.decision.score if record else None
        why = "; ".join(record.decision.reasons) if record else "its decision is not there any more"
        table.add_row(
            age(now_ms - (item.since_ms or now_ms)), text(item.held_minor, item.currency),
            item.sale_id, item.seller_id, "" if score is None else f"{score:.3f}", why,
        )  # fmt: skip
    console().print(table)


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
