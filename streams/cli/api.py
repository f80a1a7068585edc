"""`payouts api` and `payouts api-key`: the HTTP API, and who may use it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from streams.cli.console import console
from streams.cli.errors import BadUse, CommandError, LineErrors

group = typer.Typer(cls=LineErrors, no_args_is_help=True, help="Keys of the HTTP API.")


def register(app: typer.Typer) -> None:
    """Add the command and the group."""
    app.command()(api)
    app.add_typer(group, name="api-key")


def api(
    *,
    openapi: Annotated[
        bool, typer.Option("--openapi", help="Print the OpenAPI document instead.")
    ] = False,
) -> None:
    """Serve the HTTP API. Until SIGTERM or Ctrl-C; requests under way are finished before.

    More processes serve more requests; they need no partition and know nothing of each other.
    """
    from models.config import ConfigError
    from streams.api.document import document
    from streams.api.process import Api
    from streams.logs import setup_logging
    from streams.settings import load_settings

    if openapi:
        typer.echo(document(), nl=False)
        return
    settings = load_settings()
    setup_logging(settings.log_format, settings.log_level)
    try:
        code = Api(settings).run()
    except (ConfigError, OSError) as error:
        raise CommandError(str(error)) from error
    raise typer.Exit(code)


@group.command()
def create(
    client: Annotated[
        str, typer.Argument(metavar="CLIENT", help="Whose it is, such as shop or till-berlin.")
    ],
    scopes: Annotated[str, typer.Option(help="What it may do, with commas, such as wallets.read.")],
) -> None:
    """Make a key and print it, once: only its SHA-256 is kept, in the file PAYOUTS_API_KEYS.

    A process that serves takes it within a second. Keys of one client share their idempotency
    keys: to replace one, make the next, use it, then revoke the first.
    """
    from pydantic import ValidationError

    from streams.api.keys import Scope, make

    wanted = [word.strip() for word in scopes.split(",") if word.strip()]
    if not wanted or not set(wanted) <= set(Scope):
        raise BadUse(f"--scopes takes {','.join(Scope)}")
    try:
        made = make(client, [Scope(word) for word in dict.fromkeys(wanted)])
    except ValidationError:
        raise BadUse("CLIENT is 1 to 32 of a-z, 0-9 and -") from None
    path, keys = _keys()
    _write(path, [*keys, made.key])
    typer.echo(made.token)


@group.command(name="list")
def list_() -> None:
    """List the keys: their ids, clients and scopes."""
    _, keys = _keys()
    for key in keys:
        console().print(f"{key.id}  {key.client}  {','.join(key.scopes)}")


@group.command()
def revoke(id_: Annotated[str, typer.Argument(metavar="ID", help="The key's id.")]) -> None:
    """Revoke a key. A process that serves refuses it within a second."""
    path, keys = _keys()
    left = [key for key in keys if key.id != id_]
    if len(left) == len(keys):
        raise CommandError(f"there is no key {id_[:20]!r}; `payouts api-key list` has them")
    _write(path, left)
    console().print(f"revoked: {id_}")


def _keys() -> tuple[Path, Any]:
    from models.config import ConfigError
    from streams.api.keys import read
    from streams.settings import load_settings, variable

    path = load_settings().api_keys
    if path is None:
        raise BadUse(f"{variable('api_keys')} is not set: name the file that keeps the keys")
    try:
        return path, read(path)
    except (ConfigError, OSError) as error:
        raise CommandError(str(error)) from error


def _write(path: Path, keys: Any) -> None:
    from streams.api.keys import write

    try:
        write(path, keys)
    except OSError as error:
        raise CommandError(f"{path}: cannot be written: {error.strerror}") from error
