"""`payouts unknown`: payouts that their rail is silent about, and what a person found out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from streams.cli.asking import asked
from streams.cli.cancel import stored_payout
from streams.cli.console import console
from streams.cli.errors import CommandError, LineErrors
from streams.cli.moments import age, span_ms
from streams.cli.sending import publish, require_valid

if TYPE_CHECKING:
    from streams.unknowns import Unknown, Unknowns

group = typer.Typer(
    cls=LineErrors, no_args_is_help=True, help="Payouts that their rail is silent about."
)


class Outcome(StrEnum):
    """What a person may say that became of a payout."""

    SETTLED = "settled"
    RETURNED = "returned"
    FAILED = "failed"


_MEANS = {
    Outcome.SETTLED: "it was paid, and stays so",
    Outcome.RETURNED: "it was paid and came back: the seller has the money again",
    Outcome.FAILED: "it was not paid and never will be: the seller has the money again",
}


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="unknown")


@group.command("list")
def list_(
    *,
    rail: Annotated[
        str | None, typer.Option("--rail", metavar="RAIL", help="Only of this rail.")
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="TIME",
            help="Only those with the rail for longer: 90m, 36h, 2d.",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, metavar="N", help="Payouts to show.")
    ] = 50,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, amounts in minor units.")
    ] = False,
) -> None:
    """List payouts that are unknown, those that have been with their rail the longest first."""
    age_ms = None if older_than is None else span_ms(older_than, "--older-than")
    now_ms = time.time_ns() // 1_000_000
    found = _found(limit, rail, None if age_ms is None else now_ms - age_ms)
    if as_json:
        told = [_told(one) for one in found.oldest]
        typer.echo(json.dumps({"unknown": told, "payouts": found.count}, indent=2))
    elif not found.count:
        console().print("no payout is unknown")
    else:
        _print(found.oldest, now_ms)
        console().print(f"{found.count:,} payout{'' if found.count == 1 else 's'}")


@group.command()
def resolve(
    payout: Annotated[str, typer.Argument(metavar="PAYOUT", help="The payout's id.")],
    *,
    outcome: Annotated[Outcome, typer.Option("--as", help="What became of it.")],
    by: Annotated[
        str, typer.Option("--by", metavar="NAME", help="Who says so: not the seller herself.")
    ],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="How it was found out.")],
    reference: Annotated[
        str | None,
        typer.Option("--reference", metavar="REF", help="The provider's own id of the payment."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    event_id: Annotated[
        str | None,
        typer.Option(
            "--id", metavar="ID", help="The event's id, to send it again without a second effect."
        ),
    ] = None,
) -> None:
    """End a payout that stays unknown, as its provider told you. Name and reason are journalled.

    settled: it was paid. returned: it was, and came back. failed: it was not and never will be. The
    last two give the money back to the seller, and it goes out with her next payout; so ask the
    provider first. The workers book it.
    """
    from models.money import text
    from streams.settings import load_settings

    settings = load_settings()
    found = stored_payout(payout)
    event = _event(found, outcome, (by, reason, reference), event_id)
    require_valid("commissions", event)
    if _said_before(found, event):
        console().print(f"{payout} is resolved already: {outcome}, by {by}")
        return
    _require_unknown(found, event)
    if outcome is not Outcome.SETTLED:
        _require_quiet(settings, found)
    of = f"{text(found['amount_minor'], found['currency'])} of {found['seller_id']}"
    if not yes:
        if not sys.stdin.isatty():
            raise CommandError("not sent: nobody to ask here; --yes does it")
        typer.confirm(
            f"{payout}, {of} over {found['rail']}: {_MEANS[outcome]}?", abort=True, err=True
        )
    publish(settings, "commissions", event)
    console().print(f"sent as {event['id']}: {outcome}, {of}")


def _event(
    payout: Mapping[str, Any],
    outcome: Outcome,
    said: tuple[str, str, str | None],
    event_id: str | None,
) -> dict[str, Any]:
    by, reason, reference = said
    event = {
        "type": "payout.resolved",
        "version": 1,
        "id": event_id or str(uuid4()),
        "occurred_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "seller_id": payout["seller_id"],
        "payout_id": payout["payout_id"],
        "attempt": payout["attempt"],
        "outcome": outcome.value,
        "currency": payout["currency"],
        "amount_minor": payout["amount_minor"],
        "by": by,
        "reason": reason,
    }
    return event | ({} if reference is None else {"reference": reference})


def _said_before(payout: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    said = payout.get("resolved")
    return said is not None and (
        (said["state"], said["by"], said["why"], said.get("reference"))
        == (event["outcome"], event["by"], event["reason"], event.get("reference"))
    )


def _require_unknown(payout: Mapping[str, Any], event: Mapping[str, Any]) -> None:
    """Raises CommandError for what the workers would refuse."""
    payout_id, known = payout["payout_id"], payout.get("provider_ref")
    if (said := payout.get("resolved")) is not None:
        raise CommandError(f"{payout_id} is resolved: {said['state']}, by {said['by']}")
    if payout["state"] != "unknown":
        raise CommandError(f"{payout_id} is {payout['state']} at {payout['rail']}, not unknown")
    if event["by"].casefold() == payout["seller_id"].casefold():
        raise CommandError(f"{event['by']} is whose payout it is: somebody else has to say so")
    if known is not None and event.get("reference", known) != known:
        raise CommandError(f"{payout_id} is {known} at {payout['rail']}: that is another payment")


def _require_quiet(settings: Any, payout: Mapping[str, Any]) -> None:
    """Raises CommandError while the rail may still carry out a payout that is said not to be paid.

    Where an enquiry is a repeat of the submission, each one may pay for as long as it is made.
    """
    from models.resolutions import QUIET_MS
    from rails.registry import provider
    from streams.unknowns import ask_at

    now_ms = time.time_ns() // 1_000_000
    rail = settings.rails().get(payout["rail"])
    if rail is not None and payout.get("provider_ref") is None:
        capabilities = provider(rail.provider).capabilities
        submitted_ms = int(payout["submitted_ms"])
        if capabilities.guard_days and not capabilities.guard_lapsed(submitted_ms, now_ms):
            until = _moment(submitted_ms + (capabilities.guard_days - 1) * 86_400_000)
            raise CommandError(
                f"{payout['payout_id']} may still be paid: until {until} an enquiry hands it to "
                f"{payout['rail']} again, under its guard"
            )
    due_ms = asked(lambda client: ask_at(client, payout["payout_id"]))
    if due_ms is not None and due_ms < now_ms + QUIET_MS:
        raise CommandError(
            f"{payout['rail']} is being asked about {payout['payout_id']}, or is within a minute: "
            "try again when it has been"
        )
    if payout["changed_ms"] > now_ms - QUIET_MS:
        raise CommandError(
            f"{payout['rail']} was asked about {payout['payout_id']} within the last minute, which "
            "may have paid it: ask again what became of it"
        )


def _found(limit: int, rail: str | None, before_ms: int | None) -> Unknowns:
    from streams.unknowns import unknown_payouts

    found: Unknowns = asked(
        lambda client: unknown_payouts(client, limit=limit, rail=rail, before_ms=before_ms)
    )
    return found


def _told(one: Unknown) -> dict[str, Any]:
    """A payout as JSON has it."""
    return {
        "payout_id": one.payout_id,
        "seller_id": one.seller_id,
        "rail": one.rail,
        "currency": one.currency,
        "amount_minor": one.amount_minor,
        "fee_minor": one.fee_minor,
        "since": _moment(one.since_ms),
        "attempts": one.attempts,
        "asked": one.asked,
        "asked_next": _moment(one.ask_at_ms),
        "reference": one.reference,
        "reason": one.reason,
    }


def _print(unknown: Sequence[Unknown], now_ms: int) -> None:
    from rich.table import Table

    from models.money import text

    table = Table(
        *("unknown for", "payout", "rail", "amount", "attempts", "asked", "reference", "why"),
        box=None, pad_edge=False,
    )  # fmt: skip
    for number in (0, 3, 4, 5):
        table.columns[number].justify = "right"
    for one in unknown:
        table.add_row(
            age(now_ms - one.since_ms), one.payout_id, one.rail,
            text(one.amount_minor, one.currency), str(one.attempts), str(one.asked),
            one.reference or "", one.reason or "",
        )  # fmt: skip
    console().print(table)


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")
