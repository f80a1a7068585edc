"""`payouts wallet`: what one seller has, had, and what moved it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.console import console, remarks
from streams.cli.errors import BadUse, CommandError, LineErrors
from streams.cli.moments import moment_ms

if TYPE_CHECKING:
    from models.movements import Movement

group = typer.Typer(cls=LineErrors, no_args_is_help=True, help="What a seller has.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="wallet")


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, amounts in minor units.")]
SellerArgument = Annotated[str, typer.Argument(metavar="SELLER", help="The seller's id.")]


@group.command()
def show(
    seller: SellerArgument,
    *,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME",
            help="What she had then, by the journal, such as 2026-10-31T18:00+01:00; UTC without "
            "an offset.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a seller's accounts, credit, payouts and profile. Never where she is paid to."""
    statement = _present(seller) if at is None else _past(seller, at)
    if as_json:
        typer.echo(json.dumps(statement, indent=2))
    else:
        _print(statement)


def _present(seller: str) -> dict[str, Any]:
    from redis.exceptions import RedisError

    from streams.connections import redis_client
    from streams.settings import load_settings
    from streams.wallets.statement import read_statement

    settings = load_settings()
    client = redis_client(settings)
    try:
        statement = read_statement(client, seller)
    except (RedisError, OSError) as error:
        raise CommandError(f"{settings.redis_address}: {error}") from error
    finally:
        client.close()
    if statement is None:
        raise CommandError(f"nothing is known of a seller {seller!r}")
    return statement


def _past(seller: str, at: str) -> dict[str, Any]:
    from streams.settings import load_settings
    from streams.statements.ledger import Ledger
    from streams.statements.past import read_past
    from streams.wallets.journal import JournalUnreadable

    at_ms = moment_ms(at, "--at")
    if at_ms > time.time_ns() // 1_000_000:
        raise BadUse(f"--at {at} is in the future")
    try:
        statement = read_past(Ledger(load_settings()), seller, at_ms)
    except JournalUnreadable as error:
        raise CommandError(f"cannot read the journal: {error}") from error
    if statement is None:
        raise CommandError(f"nothing was known of a seller {seller!r} at {at}")
    return statement


@group.command()
def history(
    seller: SellerArgument,
    *,
    after: Annotated[
        str | None,
        typer.Option(
            "--after", metavar="CURSOR", help="Go on behind a page: the cursor that it came with."
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=1_000, metavar="N", help="Movements of the page.")
    ] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show what moved a seller's accounts, by the journal, oldest first."""
    from streams.settings import load_settings
    from streams.statements.files import movement_json
    from streams.statements.history import CursorInvalid
    from streams.statements.history import history as read
    from streams.statements.ledger import Ledger
    from streams.wallets.journal import JournalUnreadable

    try:
        page = read(Ledger(load_settings()), seller, after=after, limit=limit)
    except CursorInvalid as error:
        raise BadUse(str(error)) from error
    except JournalUnreadable as error:
        raise CommandError(f"cannot read the journal: {error}") from error
    if not page.known:
        raise CommandError(f"nothing is known of a seller {seller!r}")
    if as_json:
        told = {
            "movements": [movement_json(movement) for movement in page.movements],
            "cursor": page.cursor,
            "more": page.more,
        }
        typer.echo(json.dumps(told, indent=2))
        return
    _print_movements(page.movements)
    remarks().print(f"{'more' if page.more else 'what comes later'}: --after {page.cursor}")


def _print_movements(movements: Sequence[Movement]) -> None:
    from rich.table import Table

    from models.money import text
    from streams.statements.sheet import signed

    table = Table("at", "movement", "account", "amount", "after", box=None, pad_edge=False)
    for column in table.columns[3:]:
        column.justify = "right"
    for movement in movements:
        at, words = _moment(movement.at_ms), movement.words
        for account, currency, minor, after in movement.postings:
            table.add_row(at, words, account, signed(minor, currency), text(after, currency))
            at = words = ""
    console().print(table)


def _print(statement: Mapping[str, Any]) -> None:
    from models.money import text

    out = console()
    out.print(f"[bold]{statement['seller_id']}[/]  shard {statement['shard']}", markup=True)
    if statement["profile"] is None:
        out.print("no profile yet")
    else:
        profile = {**statement["profile"]}
        methods, reinvest = profile.pop("methods"), profile.pop("reinvest")
        out.print("  ".join(f"{name} {value}" for name, value in profile.items()))
        for number, method in enumerate(methods, 1):
            out.print(f"paid {number}. over {', '.join(method['rails'])}: {method['standing']}")
        for currency, wanted in reinvest.items():
            kept = text(wanted["keep_minor"], currency)
            out.print(f"reinvests {wanted['percent']} % of {currency}, keeps {kept}")
    if statement["waiting"]:
        out.print(f"{statement['waiting']} earnings and returns wait for the profile")
    _print_accounts(statement["accounts"])
    _print_pending(statement["pending"])
    _print_lots(statement["lots"])
    _print_discounts(statement["discounts"])
    _print_payouts(statement["payouts"])


def _print_accounts(accounts: Mapping[str, Mapping[str, int]]) -> None:
    from rich.table import Table

    from models.ledger import SELLER_ACCOUNTS
    from models.money import text

    if not accounts:
        return
    table = Table("", *SELLER_ACCOUNTS, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for currency, balances in accounts.items():
        amounts = (text(balances[name], currency) for name in SELLER_ACCOUNTS)
        table.add_row(currency, *(amount.rpartition(" ")[0] for amount in amounts))
    console().print()
    console().print(table)


def _print_lots(lots: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from models.money import text

    if not lots:
        return
    table = Table("credit left", "of", "campaign", "expires", box=None, pad_edge=False)
    for lot in lots:
        currency = lot["currency"]
        table.add_row(
            text(lot["left_minor"], currency),
            text(lot["granted_minor"], currency),
            lot["campaign"],
            _moment(lot["expires_ms"]) if lot["expires_ms"] else "never",
        )
    console().print()
    console().print(table)


def _print_pending(pending: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from models.money import text

    if not pending:
        return
    table = Table("pending", "of", "until", "why", box=None, pad_edge=False)
    for lot in pending:
        table.add_row(
            text(lot["left_minor"], lot["currency"]),
            f"{lot['earning']} {lot['id']}",
            _moment(lot["until_ms"]),
            lot["reason"],
        )
    console().print()
    console().print(table)


def _print_discounts(discounts: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from models.money import text

    if not discounts:
        return
    table = Table("discount", "off", "for", "campaign", "expires", box=None, pad_edge=False)
    for one in discounts:
        currency, share = one["currency"], one["percent_bp"]
        off = f"{share / 100:g} %" if share else text(one["off_minor"], currency)
        if share and one["cap_minor"]:
            off += f", at most {text(one['cap_minor'], currency)}"
        what = ", ".join(one["products"]) or "everything"
        if one["basket_min_minor"]:
            what += f" from {text(one['basket_min_minor'], currency)} on"
        ends = _moment(one["expires_ms"]) if one["expires_ms"] else "never"
        table.add_row(one["discount"], off, what, one["campaign"], ends)
    console().print()
    console().print(table)


def _print_payouts(payouts: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from models.money import text

    if not payouts:
        return
    table = Table("payout", "state", "amount", "fee", "rail", "since", box=None, pad_edge=False)
    for payout in payouts:
        currency = payout["currency"]
        state = payout["state"]
        if (said := payout.get("resolved")) is not None and state == said["state"]:
            state = f"{state} (resolved by {said['by']}: {said['why']})"
        elif payout.get("reason"):
            state = f"{state} ({payout['reason']})"
        table.add_row(
            payout["payout_id"],
            state,
            text(payout["amount_minor"], currency),
            text(payout["fee_minor"], currency),
            payout["rail"],
            _moment(payout["changed_ms"]),
        )
    console().print()
    console().print(table)


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%MZ")
