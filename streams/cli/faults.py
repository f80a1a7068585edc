"""`payouts faults`: break every part while it works, and prove that nothing is lost or doubled."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.console import console, remarks
from streams.cli.errors import BadUse, CommandError

if TYPE_CHECKING:
    from streams.faults.ground import Ground
    from streams.faults.plan import Fault
    from streams.faults.report import Report, Round
    from streams.faults.run import Progress

ROUND_FAULTS = 100
"""Faults of a round. A round's Redis and journal grow, and so does the time that healing takes."""

LINE_INTERVAL_S = 10.0
"""Time between two lines about how far the run is."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(faults)


def faults(  # noqa: PLR0917 - the options of the command
    seed: Annotated[
        int, typer.Option(min=0, max=2**31 - 1, help="The same seed plans the same faults.")
    ] = 1,
    number: Annotated[
        int, typer.Option("--faults", min=0, max=100_000, help="Faults to inject.")
    ] = 50,
    events: Annotated[
        int | None, typer.Option(min=1, help="Events to send; 500 a fault if not given.")
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1_000,
            help="Divide them among so many rounds, each on new servers, with the next seed and "
            "a proof of its own; one for every 100 faults if not given.",
        ),
    ] = None,
    rate: Annotated[float, typer.Option(min=1, help="Events a second at most.")] = 1_000.0,
    workers: Annotated[int, typer.Option(min=2, max=9, help="Worker processes.")] = 3,
    window: Annotated[
        int, typer.Option(min=0, max=60, help="Seconds a payout waits for more; 0 pays at once.")
    ] = 2,
    kinds: Annotated[str, typer.Option(help="Only these kinds, as a,b,c.")] = "",
    kafka: Annotated[
        str,
        typer.Option(help="apache or embedded; apache if its jars are there, see make test-kafka."),
    ] = "",
    brokers: Annotated[int, typer.Option(min=1, max=3, help="Brokers of Apache Kafka.")] = 3,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the report as JSON to this file.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the logs of all parts.")] = False,
    list_kinds: Annotated[bool, typer.Option("--list", help="Show the kinds and end.")] = False,
) -> None:
    """Break servers, network, workers, clocks and rails under load, and prove what is promised.

    Needs no servers. Exit code 1 if anything was lost, doubled or broken: the last line says how
    to run the same again.
    """
    from streams.faults.ground import Ground
    from streams.faults.kinds import KINDS, UnknownKind, chosen
    from streams.faults.plan import PlanImpossible, plan
    from streams.faults.report import Report

    if list_kinds:
        for kind in KINDS.values():
            console().print(f"{kind.name:<22} {kind.sentence}", highlight=False)
        return
    on = _brokers(kafka, brokers)
    total = events if events is not None else max(2_000, 500 * number)
    parts = rounds if rounds is not None else max(1, math.ceil(number / ROUND_FAULTS))
    try:
        names = chosen([name.strip() for name in kinds.split(",") if name.strip()], on)
        plans = [
            (seed + k, share, plan(seed + k, struck, names, share))
            for k, (struck, share) in enumerate(
                zip(_shares(number, parts), _shares(total, parts), strict=True)
            )
        ]
    except (UnknownKind, PlanImpossible) as error:
        raise BadUse(str(error)) from error
    done: list[Round] = []
    for its_seed, share, planned in plans:
        ground = Ground(workers=workers, brokers=on, window_s=window)
        done.append(_run(ground, its_seed, share, rate, planned, keep=keep))
        if json_file is not None:
            text = json.dumps(Report(done).json(), indent=2)
            json_file.write_text(text + "\n", encoding="utf-8")
    report = Report(done)
    _show(report)
    if broken := [one for one in done if one.violations]:
        its_seed, share, planned = next(each for each in plans if each[0] == broken[0].seed)
        again = f"payouts faults --seed {its_seed} --faults {len(planned)} --events {share}"
        again += f" --rounds 1 --rate {rate:g} --workers {workers} --window {window}"
        again += f" --kafka apache --brokers {on}" if on else " --kafka embedded"
        again += f" --kinds {kinds}" if kinds else ""
        count = len(report.violations())
        raise CommandError(f"{count} violations; the first round with one again: {again}")


def _shares(whole: int, parts: int) -> list[int]:
    """A number divided into parts that differ by one at most."""
    return [whole * (k + 1) // parts - whole * k // parts for k in range(parts)]


def _brokers(kafka: str, brokers: int) -> int:
    """How many Apache brokers to run on; 0 for the embedded one. Raises BadUse, CommandError."""
    from streams.demo.apache import ApacheUnavailable, jars_directory

    if kafka not in {"", "apache", "embedded"}:
        raise BadUse(f"--kafka {kafka}: take apache or embedded")
    if kafka == "embedded":
        return 0
    try:
        jars_directory()
    except ApacheUnavailable as error:
        if kafka:
            raise CommandError(str(error)) from error
        remarks().print(f"without killed brokers, on the embedded one: {error}", highlight=False)
        return 0
    return brokers


def _run(
    ground: Ground, seed: int, events: int, rate: float, planned: list[Fault], *, keep: bool
) -> Round:
    from streams.cli.demo import one_line_errors
    from streams.demo.apache import ApacheUnavailable
    from streams.faults.run import FaultRun

    screen = remarks()
    with one_line_errors():
        screen.print("starting Kafka, Redis, rail sandbox and workers")
        try:
            with ground:
                run = FaultRun(ground, seed=seed, events=events, rate=rate, on_progress=_Lines())
                report = run.go(planned)
                ground.kept |= keep
        except ApacheUnavailable as error:
            raise CommandError(str(error)) from error
        if ground.kept:
            screen.print(f"logs are in {ground.directory}", highlight=False)
        return report


class _Lines:
    """A line now and then that says how far the run is."""

    def __init__(self) -> None:
        self._began = self._last_s = time.monotonic()
        self._phase = ""

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._last_s < LINE_INTERVAL_S and progress.phase == self._phase:
            return
        self._last_s, self._phase = now, progress.phase
        remarks().print(
            f"{now - self._began:5.0f} s  {progress.phase}: {progress.struck} of "
            f"{progress.faults} faults, {progress.sent:,} of {progress.events:,} events sent, "
            f"{progress.booked:,} entries, {progress.restarts} workers started again",
            highlight=False,
        )


def _show(report: Report) -> None:
    from rich.table import Table

    screen = console()
    table = Table("fault", "times", "recovered, p50", "longest", box=None, header_style="bold")
    recovery = report.recovery()
    for kind, count in sorted(report.by_kind().items()):
        times = recovery.get(kind, {})
        cells = [f"{times[name]:.1f} s" if name in times else "" for name in ("p50", "max")]
        table.add_row(kind, str(count), *cells)
    screen.print(table)
    for check in report.rounds[-1].checks:
        if check.ok:
            screen.print(f"holds     {check.name}: {check.detail}", highlight=False)
    paid = ", ".join(f"{count:,} {rail}" for rail, count in report.rails().most_common())
    moved = report.failed_over().total()
    screen.print(
        f"payouts   {paid}; {moved:,} went on over another rail after a proven failure",
        highlight=False,
    )
    violations = report.violations()
    for violation in violations:
        told = f"VIOLATED  {violation.check}: {violation.detail} (seed {violation.seed})"
        screen.print(told, style="red", highlight=False)
    seconds = sum(one.seconds for one in report.rounds)
    screen.print(
        f"{report.by_kind().total():,} faults over {report.events():,} events in {seconds:.0f} s, "
        f"{len(report.rounds)} rounds on {report.rounds[0].kafka}, {report.entries_lost():,} "
        f"entries lost by Redis and healed: {len(violations)} violations",
        highlight=False,
    )
