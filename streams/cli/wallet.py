"""`payouts wallet`: what one seller has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from streams.cli.console import console
from streams.cli.errors import CommandError, LineErrors

group = typer.Typer(cls=LineErrors, no_args_is_help=True, help="What a seller has.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="wallet")


@group.command()
def show(
    seller: Annotated[str, typer.Argument(metavar="SELLER", help="The seller's id.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, amounts in minor units.")] = (
        False
    ),
) -> None:
    """Show a seller's accounts, credit, payouts and profile. Never where she is paid to."""
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
    if as_json:
        typer.echo(json.dumps(statement, indent=2))
    else:
        _print(statement)


def _print(statement: Mapping[str, Any]) -> None:
    out = console()
    out.print(f"[bold]{statement['seller_id']}[/]  shard {statement['shard']}", markup=True)
    if statement["profile"] is None:
        out.print("no profile yet")
    else:
        profile = {**statement["profile"]}
        methods = profile.pop("methods")
        out.print("  ".join(f"{name} {value}" for name, value in profile.items()))
        for number, method in enumerate(methods, 1):
            out.print(f"paid {number}. over {', '.join(method['rails'])}: {method['standing']}")
    if statement["waiting"]:
        out.print(f"{statement['waiting']} earnings and returns wait for the profile")
    _print_accounts(statement["accounts"])
    _print_lots(statement["lots"])
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


def _print_payouts(payouts: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from models.money import text

    if not payouts:
        return
    table = Table("payout", "state", "amount", "fee", "rail", "since", box=None, pad_edge=False)
    for payout in payouts:
        currency = payout["currency"]
        state = payout["state"]
        if payout.get("reason"):
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
