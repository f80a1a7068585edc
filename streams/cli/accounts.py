"""`payouts fraud accounts`: accounts that several sellers are paid to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.asking import asked
from streams.cli.console import console, remarks

if TYPE_CHECKING:
    from streams.fraud.accounts import Shared, Sharing

_NAMED = 8
"""Sellers of an account that a line names; JSON has all."""


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command()(accounts)


def accounts(
    *,
    sellers: Annotated[
        int, typer.Option("--sellers", min=2, metavar="N", help="Paid to by at least so many.")
    ] = 2,
    seller: Annotated[
        str | None, typer.Option("--seller", metavar="SELLER", help="Only accounts of hers.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, metavar="N", help="Accounts to show.")
    ] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all sellers.")] = False,
) -> None:
    """List accounts that several sellers are paid to, those with most sellers first.

    Told by fingerprints, which profiles get when they come while PAYOUTS_ACCOUNT_KEY is set. No
    account number is kept or shown.
    """
    from streams.fraud.accounts import shared_accounts

    found: Sharing = asked(lambda client: shared_accounts(client, least=sellers, seller_id=seller))
    if as_json:
        told = [{"account": one.fingerprint, "sellers": one.sellers} for one in found.shared]
        body = {"accounts": told[:limit], "shared": len(told), "profiles": found.profiles}
        typer.echo(json.dumps(body | {"profiles_with_account": found.known}, indent=2))
        return
    if not found.known:
        remarks().print(
            f"none of {found.profiles:,} profiles has a fingerprint: set PAYOUTS_ACCOUNT_KEY at "
            "the workers and send the profiles again",
            soft_wrap=True,
        )
    _print(found.shared[:limit])
    console().print(
        f"{len(found.shared):,} of the accounts of {found.known:,} sellers have {sellers} or more"
    )


def _print(shared: Sequence[Shared]) -> None:
    from rich.table import Table

    if not shared:
        return
    table = Table("account", "sellers", "who", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for one in shared:
        more = len(one.sellers) - _NAMED
        named = ", ".join(one.sellers[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
        table.add_row(one.fingerprint, f"{len(one.sellers):,}", named)
    console().print(table)
