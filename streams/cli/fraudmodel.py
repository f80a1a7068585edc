"""`payouts fraud export|train|promote`: the life of a fraud model."""

from __future__ import annotations

import getpass
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.console import console, remarks
from streams.cli.errors import BadUse, CommandError
from streams.cli.fraud import group

if TYPE_CHECKING:
    from streams.fraud.champion import Comparison
    from streams.fraud.dataset import Dataset, Example
    from streams.fraud.measures import Measures
    from streams.settings import Settings

_DAY_MS = 86_400_000

DelayOption = Annotated[
    int,
    typer.Option(
        "--label-delay",
        min=0,
        max=400,
        metavar="DAYS",
        help="A sale that was paid, and of which nothing was heard for so long, is genuine.",
    ),
]


def register(app: typer.Typer) -> None:
    """The commands are of the group `fraud`, which is added by its own module."""


@group.command()
def export(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write, JSON lines.")],
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day of sales, UTC.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The day after the last, UTC.")
    ] = None,
    label_delay_days: DelayOption = 120,
) -> None:
    """Write a training set: each decided sale with its vector, score and what became of it.

    It names no seller, no buyer and no event.
    """
    from streams.fraud import dataset
    from streams.fraud.artefact import replacing

    _directory_of(out)
    left_out: Counter[str] = Counter()
    examples = _examples(label_delay_days, left_out, since_ms=_ms(since) or 0, until_ms=_ms(until))
    with remarks().status("reading decisions and labels"):
        try:
            with replacing(out) as file:
                counts = dataset.write(
                    examples,
                    file,
                    label_delay_days=label_delay_days,
                    since=since.date().isoformat() if since else None,
                    until=until.date().isoformat() if until else None,
                )
        except OSError as error:
            raise CommandError(f"{out}: cannot be written: {error.strerror}") from error
    console().print(
        f"{out}: {sum(counts.values())} sales, "
        + ", ".join(f"{count} {label.name.lower()}" for label, count in counts.items())
    )
    for reason, count in left_out.items():
        console().print(f"left out: {count} {reason}")


@group.command()
def train(  # noqa: PLR0917 - a command's options
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="A training set of `payouts fraud export`."),
    ] = None,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Train on simulated, labelled history instead.")
    ] = False,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write the model.")] = Path(
        "model.json"
    ),
    test_days: Annotated[
        int, typer.Option(min=1, max=365, help="With --from: the last days, kept out for the test.")
    ] = 14,
    calibration_days: Annotated[
        int, typer.Option(min=1, max=365, help="With --from: days before, that set scores right.")
    ] = 7,
    seed: Annotated[int, typer.Option(help="With --simulated: the same seed, the same model.")] = 1,
    events: Annotated[
        int, typer.Option(min=1_000, help="With --simulated: events in each history.")
    ] = 20_000,
) -> None:
    """Train a fraud model on your own sales, or on simulated ones, and test it on later ones.

    The model is a JSON file, and reading it runs no code. Set PAYOUTS_MODEL_CHALLENGER to it to
    see how it does, PAYOUTS_MODEL to use it.
    """
    if (source is None) != simulated:
        raise BadUse("a model is trained --from FILE, or --simulated")
    _directory_of(out)
    with remarks().status("training"):
        try:
            if source is None:
                _train_simulated(out, seed, events)
            else:
                _train_from(source, out, test_days, calibration_days)
        except ValueError as error:
            raise CommandError(f"no model from that history: {error}") from error
        except OSError as error:
            raise CommandError(f"{out}: cannot be written: {error.strerror}") from error


def _train_simulated(out: Path, seed: int, events: int) -> None:
    from streams.training import train as train_model

    report = train_model(seed=seed, events=events, out=out)
    console().print(f"{out}  {report.digest}")
    console().print(
        f"trained on {report.sales_trained} sales, tested on {report.sales_tested}: average "
        f"precision {report.average_precision}, AUC {report.auc}, {report.recall:.1%} of the "
        f"frauds caught with 1 % of genuine sales held"
    )
    for pattern, recall in sorted(report.recall_by_pattern.items()):
        console().print(f"  {pattern:<24} {recall:.1%}")


def _train_from(source: Path, out: Path, test_days: int, calibration_days: int) -> None:
    from streams.fraud.dataset import DatasetUnreadable
    from streams.fraud.learning import learn

    try:
        learnt = learn(source, out, test_days=test_days, calibration_days=calibration_days)
    except DatasetUnreadable as error:
        raise BadUse(str(error)) from error
    console().print(f"{out}  {learnt.digest}")
    console().print(
        f"trained on {learnt.trained} sales, calibrated on {learnt.calibrated}; tested on the last "
        f"{test_days} days:"
    )
    _show({"before calibration": learnt.raw, "model": learnt.tested}, {})


@group.command()
def promote(  # noqa: PLR0917 - a command's options
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The model that is to decide.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="A training set; without it the topics."),
    ] = None,
    label_delay_days: DelayOption = 120,
    review_cost: Annotated[
        float,
        typer.Option(
            min=0.01, metavar="UNITS", help="What holding a sale costs, in units of about a euro."
        ),
    ] = 5.0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also if it is no better.")] = False,
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who decides; else the user's name.")
    ] = None,
) -> None:
    """Compare a model with the one in use on sales whose labels came, and put it in its place.

    Workers take it within seconds, without a restart. The change goes into a log beside the file.
    """
    from models.scorer import ModelUnreadable
    from streams.fraud import champion
    from streams.settings import DEFAULTS, load_settings, variable

    settings = load_settings()
    if settings.model == DEFAULTS / "model.json":
        raise BadUse(f"set {variable('model')} to a file of your own; the packaged one stays")
    try:
        text, challenger = champion.load(file)
    except ModelUnreadable as error:
        raise CommandError(str(error)) from error
    try:
        current: Any = champion.load(settings.model)
    except ModelUnreadable as error:
        if not force:
            raise CommandError(f"the model in use: {error}; --force replaces it") from error
        current = None
    compared, objections = None, ["there is no model in use to compare it with"]
    if current is not None:
        if current[1].digest == challenger.digest:
            raise CommandError(f"{file} is the model in use")
        compared, objections = _compared(
            current[1], challenger, _data(settings, source, label_delay_days), review_cost
        )
    _confirm(objections, settings.model, yes=yes, force=force)
    try:
        log = champion.promote(
            settings.model, current, text, compared,
            by=by or getpass.getuser(), at_ms=time.time_ns() // 1_000_000, forced=objections,
        )  # fmt: skip
    except OSError as error:
        raise CommandError(f"{settings.model}: cannot be written: {error.strerror}") from error
    console().print(f"{settings.model} is {challenger.digest[:12]} now; written down in {log}")


def _compared(
    current: Any, challenger: Any, data: Dataset | str, review_cost: float
) -> tuple[Comparison | None, list[str]]:
    from streams.fraud.champion import compare

    if isinstance(data, str):
        return None, [data]
    try:
        found = compare(current, challenger, data, review_cost)
    except ValueError as error:
        return None, [str(error)]
    names = {
        f"in use, {found.champion.digest[:12]}": found.champion,
        f"challenger, {found.challenger.digest[:12]}": found.challenger,
    }
    _show(
        {name: judged.measures for name, judged in names.items()},
        {"cost a sale": {name: f"{judged.cost:.4f}" for name, judged in names.items()}},
    )
    if found.shadow:
        console().print(f"{found.shadow} sales were scored by the challenger when they came")
    return found, found.objections


def _confirm(objections: list[str], path: Path, *, yes: bool, force: bool) -> None:
    if objections and not force:
        raise CommandError(f"not promoted: {'; '.join(objections)}; --force does it all the same")
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError("not promoted: nobody to ask here; --yes does it")
    typer.confirm(f"Write it to {path}?", abort=True)


def _data(settings: Settings, source: Path | None, delay_days: int) -> Dataset | str:
    """What to compare by; a line if there is nothing."""
    from streams.fraud.dataset import DatasetUnreadable, collected, header, read

    if source is not None:
        try:
            return read(source)
        except DatasetUnreadable as error:
            raise BadUse(str(error)) from error
    lines = (each.line().encode() for each in _examples(delay_days, Counter(), settings=settings))
    with remarks().status("reading decisions and labels"):
        try:
            return collected(line for part in ([header().encode()], lines) for line in part)
        except ValueError as error:
            return str(error)


def _examples(
    delay_days: int,
    left_out: Counter[str],
    *,
    since_ms: int = 0,
    until_ms: int | None = None,
    settings: Settings | None = None,
) -> Iterator[Example]:
    """What the topics tell; a missing topic or broker ends the command in one line."""
    from streams.fraud.export import decisions, exported, known_labels
    from streams.reading import TopicUnreadable
    from streams.settings import load_settings

    client = (settings or load_settings()).kafka_client()
    try:
        yield from exported(
            decisions(client), known_labels(client),
            now_ms=time.time_ns() // 1_000_000, label_delay_ms=delay_days * _DAY_MS,
            since_ms=since_ms, until_ms=until_ms, left_out=left_out,
        )  # fmt: skip
    except TopicUnreadable as error:
        raise CommandError(str(error)) from error


def _show(several: dict[str, Measures], more: dict[str, dict[str, str]]) -> None:
    from rich.table import Table

    table = Table("", *several)
    words = {
        "sales": "sales", "frauds": "frauds", "average_precision": "average precision",
        "auc": "AUC", "brier": "Brier score", "calibration_error": "calibration error",
        "recall": "frauds caught at 1 % false positives",
    }  # fmt: skip
    for name, word in words.items():
        figures = [getattr(each, name) for each in several.values()]
        table.add_row(word, *(f"{f:.4f}" if isinstance(f, float) else str(f) for f in figures))
    for word, row in more.items():
        table.add_row(word, *(row[name] for name in several))
    console().print(table)


def _directory_of(out: Path) -> None:
    if not out.parent.is_dir():
        raise BadUse(f"{out}: there is no directory {out.parent}")


def _ms(day: datetime | None) -> int | None:
    return None if day is None else round(day.replace(tzinfo=UTC).timestamp() * 1000)
