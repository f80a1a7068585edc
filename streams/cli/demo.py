"""`payouts demo`, `replay` and `simulate`: a simulated company, or a real retailer's file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.console import console, remarks
from streams.cli.errors import BadUse, CommandError

if TYPE_CHECKING:
    from streams.demo.run import Outcome, Progress

JsonOption = Annotated[
    Path | None, typer.Option("--json", help="Write the report as JSON to this file.")
]
SeedOption = Annotated[
    int, typer.Option(min=0, max=2**31 - 1, help="The same seed makes the same events.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(demo)
    app.command()(replay)
    app.command()(simulate)


def demo(  # noqa: PLR0917 - the options of the command
    events: Annotated[int, typer.Option(min=1, help="Events to send.")] = 5_000,
    rate: Annotated[float, typer.Option(min=0.1, help="Events a second.")] = 500.0,
    seed: SeedOption = 1,
    crash: Annotated[
        int, typer.Option(min=0, max=50, help="Kill the worker with -9 this many times on the way.")
    ] = 0,
    sellers: Annotated[
        int, typer.Option(min=40, max=100_000, help="Sellers in the company.")
    ] = 400,
    json_file: JsonOption = None,
) -> None:
    """Run the whole product on this machine against a simulated company, and prove the result.

    Needs no servers: a broker and Valkey come as wheels, and end with the command. Exit code 1 if
    the proof does not hold.
    """
    from streams.demo.company import Company, day_window
    from streams.demo.report import show
    from streams.demo.run import LATER_MS, Run
    from streams.demo.stack import Stack

    with one_line_errors(), _progress(events) as progress:
        progress.say("starting broker, Redis, rail sandbox and worker")
        with Stack() as stack:
            company = Company(seed, sellers, seal=stack.seal.seal, spends=True)
            start_ms, density = day_window(time.time_ns() // 1_000_000, events)
            outcome = Run(stack, seed=seed, on_progress=progress).go(
                company.profiles(start_ms),
                company.events(events, start_ms=start_ms, rate=density),
                total=events,
                rate=rate,
                crashes=crash,
                ahead_ms=LATER_MS,
            )
    show(console(), outcome)
    _end(outcome, outcome.json(), json_file)


def replay(  # noqa: PLR0917 - the options of the command
    file: Annotated[Path, typer.Argument(help="The file, as csv or csv.gz.")],
    format_: Annotated[
        str,
        typer.Option("--format", help="The file's format; online-retail (UCI) is the only one."),
    ] = "online-retail",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only this many invoices, the first of the file.")
    ] = None,
    speed: Annotated[
        str, typer.Option(help="max, or a number: how many times faster than it happened.")
    ] = "max",
    sellers_by: Annotated[
        str,
        typer.Option(
            help="Who sold what. customer: each customer has one of N sellers, sales without a "
            "customer go to a seller of the country. country: a seller per country. hash: one of "
            "N sellers by the invoice."
        ),
    ] = "customer",
    sellers: Annotated[int, typer.Option(min=1, max=10_000, help="The N of --sellers-by.")] = 50,
    json_file: JsonOption = None,
) -> None:
    """Run a real retailer's sales and returns through the whole product, to the penny.

    An invoice is a sale; a cancelled one is a return. Times are moved by whole weeks, so that the
    last invoice is of this week.
    """
    from streams.demo.replay import replay_retail
    from streams.demo.report import show
    from streams.demo.retail import RetailFileError, SellersBy

    if format_ != "online-retail":
        raise BadUse(f"--format {format_}: there is online-retail only")
    if sellers_by not in set(SellersBy):
        raise BadUse(f"--sellers-by {sellers_by}: take {', '.join(SellersBy)}")
    factor = _speed(speed)
    if not file.is_file():
        raise BadUse(f"{file}: no such file")
    with one_line_errors(), _progress(limit) as progress:
        progress.say(f"reading {file.name}")
        try:
            outcome, totals = replay_retail(
                file,
                limit=limit,
                speed=factor,
                sellers_by=SellersBy(sellers_by),
                sellers=sellers,
                on_progress=progress,
            )
        except RetailFileError as error:
            raise BadUse(str(error)) from error
    show(console(), outcome, totals)
    report = outcome.json() | {
        "file": {name: file_figure for name, (file_figure, _) in totals.items()},
        "pipeline": {name: figure for name, (_, figure) in totals.items()},
        "reconciled": all(wanted == found for wanted, found in totals.values()),
    }
    if not report["reconciled"]:
        _write(report, json_file)
        raise CommandError("the pipeline's totals are not the file's")
    _end(outcome, report, json_file)


def simulate(
    events: Annotated[int, typer.Option(min=1, help="Events to send.")] = 1_000,
    rate: Annotated[float, typer.Option(min=0.1, help="Events a second.")] = 50.0,
    seed: SeedOption = 1,
    sellers: Annotated[
        int, typer.Option(min=40, max=100_000, help="Sellers in the company.")
    ] = 400,
) -> None:
    """Send a simulated company's profiles and events to the configured Kafka. Ctrl-C ends it.

    For trying out an installation: goes to PAYOUTS_KAFKA_BROKERS, with destinations of the rails
    that are set up here, sealed by the first of PAYOUTS_SEAL_KEYS. Not for topics of a production
    system.
    """
    from rails.destination import KeysInvalid, Seal
    from streams.demo.company import Company, day_window
    from streams.demo.publish import Publisher, PublishFailed
    from streams.settings import load_settings

    settings = load_settings()
    keys = settings.seal_keys.get_secret_value()
    try:
        seal = Seal.parse(keys).seal if keys else None
    except KeysInvalid as error:
        raise BadUse(f"PAYOUTS_SEAL_KEYS: {error}") from error
    company = Company(seed, sellers, seal=seal, rails=settings.rails(), spends=True)
    start_ms, density = day_window(time.time_ns() // 1_000_000, events)
    publisher = Publisher(settings.kafka_client())
    try:
        publisher.send(company.profiles(start_ms), rate=None)
        publisher.send(company.events(events, start_ms=start_ms, rate=density), rate=rate)
    except PublishFailed as error:
        raise CommandError(f"{settings.kafka_brokers}: {error}") from error
    console().print(f"sent {publisher.events:,} events of {sellers:,} sellers, seed {seed}")


def _speed(text: str) -> float | None:
    """None for as fast as possible."""
    if text == "max":
        return None
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise BadUse(f"--speed {text}: write max or a number above 0")
    return factor


class _Display:
    """A line that says how far the run is."""

    def __init__(self, update: Callable[[str], None]) -> None:
        self._update = update
        self._last_s = 0.0

    def say(self, text: str) -> None:
        """Show a phase without figures."""
        self._update(text)

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._last_s < 0.2:
            return
        self._last_s = now
        crashes = f" · {progress.crashes} crashes" if progress.crashes else ""
        total = f" of {progress.total:,}" if progress.total else ""
        self._update(
            f"{progress.phase} · {progress.sent:,}{total} sent · {progress.booked:,} booked · "
            f"{progress.paid:,} payouts settled · {progress.dead_letters:,} dead letters{crashes}"
        )


@contextmanager
def _progress(_total: int | None) -> Iterator[_Display]:
    screen = remarks()
    if screen.is_terminal:
        with screen.status("starting") as status:
            yield _Display(status.update)
        return
    last = [""]

    def line(text: str) -> None:
        phase = text.partition(" ·")[0]
        if phase != last[0]:  # a log wants a line a phase, not one a moment
            last[0] = phase
            screen.print(text)

    yield _Display(line)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What a stack may raise, as the one line that people are told."""
    from streams.demo.embedded import EmbeddedUnavailable
    from streams.demo.publish import PublishFailed
    from streams.demo.run import RunFailed
    from streams.demo.stack import StackFailed

    try:
        yield
    except (EmbeddedUnavailable, PublishFailed, RunFailed, StackFailed) as error:
        raise CommandError(str(error)) from error
    except KeyboardInterrupt:
        raise CommandError("interrupted: everything the command started has been stopped") from None


def _end(outcome: Outcome, report: dict[str, Any], json_file: Path | None) -> None:
    _write(report, json_file)
    if not outcome.ok:
        broken = ", ".join(check.name for check in outcome.checks if not check.ok)
        raise CommandError(f"verify does not hold: {broken}")


def _write(report: dict[str, Any], json_file: Path | None) -> None:
    if json_file is None:
        return
    try:
        json_file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{json_file}: {error.strerror}") from error
