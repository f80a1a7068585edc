"""`payouts verify`, `rebuild` and `snapshot`: prove the wallets, and make them again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.console import console, remarks
from streams.cli.errors import EXIT_FAILED, BadUse, CommandError

if TYPE_CHECKING:
    from streams.wallets.verify import Verdict


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(verify)
    app.command()(rebuild)
    app.command()(snapshot)


def verify(
    *,
    file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Also write the result as JSON to this file; - prints only that.",
        ),
    ] = None,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="For a system at rest: nothing may be on its way."),
    ] = False,
) -> None:
    """Prove that wallets, journal, topics and the rail's books agree. Changes nothing.

    May run beside workers: what is on its way is left out, unless --whole says there is none.
    Exit code 1 if a rule does not hold.
    """
    from streams.settings import load_settings
    from streams.wallets.verify import EvidenceMissing
    from streams.wallets.verify import verify as prove

    try:
        verdict = prove(load_settings(), whole=whole)
    except EvidenceMissing as error:
        raise CommandError(str(error)) from error
    text = json.dumps(as_json(verdict), indent=2)
    if file is not None and str(file) == "-":
        typer.echo(text)
    else:
        _print(verdict)
    if file is not None and str(file) != "-":
        try:
            file.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise CommandError(f"cannot write {file}: {error.strerror}") from error
    if not verdict.ok:
        broken = sum(not check.ok for check in verdict.checks)
        remarks().print(f"{broken} of {len(verdict.checks)} rules do not hold")
        raise typer.Exit(EXIT_FAILED)


def as_json(verdict: Verdict) -> dict[str, Any]:
    """A verdict as the JSON of reports."""
    return {
        "ok": verdict.ok,
        "entries": verdict.fold.entries,
        "earned_sha256": verdict.fold.earned_sha256(),
        "checks": [
            {"name": check.name, "ok": check.ok, "detail": check.detail} for check in verdict.checks
        ],
    }


def _print(verdict: Verdict) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("", "rule", "", box=None, pad_edge=False)
    for check in verdict.checks:
        mark = Text("holds", "green") if check.ok else Text("BROKEN", "bold red")
        table.add_row(mark, Text(check.name), Text(check.detail, "" if check.ok else "red"))
    console().print(table)


def rebuild(
    *,
    from_empty: Annotated[
        bool, typer.Option("--from-empty", help="Delete the wallets in Redis first.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Make the wallets in Redis again from the journal. With --from-empty, stop the workers first.

    What Redis has already is kept, so it may be repeated. Refused when Redis has what the journal
    lacks; --from-empty goes by the journal.
    """
    from redis.exceptions import RedisError

    from streams.settings import load_settings
    from streams.wallets.journal import JournalUnreadable
    from streams.wallets.rebuild import RebuildRefused, RedisGone
    from streams.wallets.rebuild import rebuild as remake

    if yes and not from_empty:
        raise BadUse("--yes goes with --from-empty; without it nothing is deleted")
    settings = load_settings()
    if from_empty and not yes:
        typer.confirm(
            f"Delete all wallets in {settings.redis_address} and make them again?",
            abort=True,
            err=True,
        )
    try:
        rebuilt = remake(settings, from_empty=from_empty)
    except RebuildRefused as error:
        raise CommandError(str(error)) from error
    except JournalUnreadable as error:
        raise CommandError(f"cannot read the journal: {error}") from error
    except (RedisError, RedisGone, OSError) as error:
        raise CommandError(f"{settings.redis_address}: {error}") from error
    rate = rebuilt.entries / rebuilt.seconds if rebuilt.seconds else 0
    console().print(
        f"{rebuilt.entries:,} entries redone, {rebuilt.republished:,} published that were not, "
        f"{rebuilt.seconds:.1f} s, {rate:,.0f} a second"
    )


def snapshot() -> None:
    """Write a snapshot of the wallets into the topic `snapshots`, beside running workers.

    An emptied Redis then begins there, and only what came later is redone from the journal. Take
    one every day or so.
    """
    from redis.exceptions import RedisError

    from streams.connections import redis_client
    from streams.settings import load_settings
    from streams.wallets.journal import Journal, JournalUnreadable
    from streams.wallets.snapshots import SnapshotFailed, Snapshots

    settings = load_settings()
    client = redis_client(settings, timeout_s=60.0)
    try:
        partitions = Journal(settings.kafka_client()).partitions()
        taken = Snapshots(settings.kafka_client(), partitions).take(client)
    except SnapshotFailed as error:
        raise CommandError(str(error)) from error
    except JournalUnreadable as error:
        raise CommandError(f"cannot write the snapshot: {error}") from error
    except (RedisError, OSError) as error:
        raise CommandError(f"{settings.redis_address}: {error}") from error
    finally:
        client.close()
    console().print(f"{taken.keys:,} keys, {taken.size_bytes / 1e6:,.1f} MB, {taken.seconds:.1f} s")
