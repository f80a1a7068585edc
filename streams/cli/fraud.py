"""`payouts fraud`: how well frauds are found, by a public protocol and by pattern, and why a sale
was decided as it was."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli import accounts, patterns
from streams.cli.console import console, remarks
from streams.cli.errors import BadUse, CommandError, LineErrors

if TYPE_CHECKING:
    from models.scorer import Scorer
    from streams.fraud.evaluate import Tested
    from streams.fraud.explain import Derived, Found
    from streams.fraud.fdh import Transactions
    from streams.fraud.prequential import Fold

group = typer.Typer(
    cls=LineErrors,
    no_args_is_help=True,
    help="Why a sale is held, how well frauds are found, and the life of a model.",
)


class Dataset(StrEnum):
    """Which data, and so which protocol."""

    FDH = "fdh"  # the Fraud Detection Handbook's transactions


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group, name="fraud")


patterns.register(group)
accounts.register(group)


@group.command()
def evaluate(  # noqa: PLR0917 - a command's options
    dataset: Annotated[Dataset, typer.Option(help="Whose data and protocol.")],
    file: Annotated[Path, typer.Option(metavar="FILE", help="The transactions, in Parquet.")],
    starts: Annotated[
        list[datetime] | None,
        typer.Option(
            "--start",
            metavar="DATE",
            formats=["%Y-%m-%d"],
            help="First day of a fold's 7 days of training; its test begins 14 days later. May be "
            "repeated. Without it the folds test the file's last weeks.",
        ),
    ] = None,
    folds: Annotated[
        int, typer.Option(min=1, max=52, help="How many of the last weeks, without --start.")
    ] = 4,
    window: Annotated[
        int | None,
        typer.Option(
            min=7,
            metavar="DAYS",
            help="Days our model is trained on; without it all of the file but its first 14.",
        ),
    ] = None,
    baselines: Annotated[
        bool, typer.Option(help="The handbook's models and features beside ours.")
    ] = True,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all figures there.")
    ] = None,
) -> None:
    """Evaluate the stream's features by the prequential protocol of the Fraud Detection Handbook.

    Trained up to a day, tested on 7 days after a delay of 7 in which labels are not known, without
    customers whose fraud is known.
    """
    if json_file is not None and not json_file.parent.is_dir():
        raise BadUse(f"{json_file}: there is no directory {json_file.parent}")
    from streams.fraud.evaluate import evaluate as evaluated
    from streams.fraud.evaluate import report
    from streams.fraud.fdh import DataUnreadable, read
    from streams.fraud.trees import Choice

    choice = Choice(window_days=window)
    try:
        data = read(file)
        asked = _folds(data, starts, folds)
        with remarks().status("replaying the history, then training fold by fold"):
            tested = []
            for one in evaluated(data, asked, choice, baselines=baselines):
                tested.append(one)
                remarks().print(f"tested {one.fold.test_from} to {one.fold.test_until}")
    except DataUnreadable as error:
        raise BadUse(str(error)) from error
    except ValueError as error:
        raise CommandError(f"no figures from that history: {error}") from error
    figures = report(tested, choice)
    _show(tested, figures)
    if json_file is not None:
        try:
            json_file.write_text(json.dumps(figures, indent=2) + "\n", encoding="ascii")
        except OSError as error:
            raise CommandError(f"{json_file}: cannot be written: {error.strerror}") from error


@group.command()
def explain(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="Id of the sale's event.")],
    seller: Annotated[
        str | None,
        typer.Option(metavar="SELLER", help="Whose sale it is: only her partition is read."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The model; without it the configured one.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The policy; without it the configured one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object.")] = False,
) -> None:
    """Find a sale's decision, derive it again bit for bit, and say what spoke for and against it.

    Looks through all that the topic of decisions still holds. Exit code 1 if another score or
    decision is derived, or if it cannot be.
    """
    from streams.cli.config import Kind, load_config
    from streams.fraud import explain as explaining
    from streams.reading import TopicUnreadable
    from streams.settings import load_settings

    settings = load_settings()
    decided_by = load_config(Kind.POLICY, policy or settings.policy).fraud
    try:
        found = explaining.find(settings.kafka_client(), event, seller)
        scorer = _scorer(model or settings.model) if found.record.model is not None else None
        derived = explaining.derive(found.record, scorer, decided_by)
    except (explaining.Unexplained, TopicUnreadable) as error:
        raise CommandError(str(error)) from error
    apart = explaining.differences(found.record, derived)
    if as_json:
        typer.echo(json.dumps(_explained(found, derived, apart), ensure_ascii=False))
    else:
        _show_decision(found, derived)
    if apart:
        raise CommandError(f"another decision is derived of {event}: {'; '.join(apart)}")
    if derived.decision is None:
        shown = explaining.DIGEST_SHOWN
        raise CommandError(
            f"{event} was decided by policy {found.record.policy[:shown]}, the one at hand is "
            f"{decided_by.digest[:shown]}; name its file with --policy"
        )


def _scorer(path: Path) -> Scorer:
    from models.scorer import ModelUnreadable, Scorer

    try:
        return Scorer.load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise BadUse(f"{path}: cannot be read: {reason}") from error
    except ModelUnreadable as error:
        raise BadUse(f"{path}: {error}") from error


def _explained(found: Found, derived: Derived, apart: list[str]) -> dict[str, Any]:
    from dataclasses import asdict

    record = asdict(found.record)
    return {
        "found": {"partition": found.partition, "offset": found.offset,
                  "decisions": found.decisions, "looked_at": found.looked_at},
        "decision": record.pop("decision")._asdict(),
        **record,
        "derived": {
            "same": not apart and derived.decision is not None,
            "differences": apart,
            "decision": None if derived.decision is None else derived.decision._asdict(),
            "score": derived.score,
            "logit": derived.logit,
            "intercept": derived.intercept,
            "shares": [share._asdict() for share in derived.shares],
        },
    }  # fmt: skip


def _show_decision(found: Found, derived: Derived) -> None:
    from rich.table import Table

    from models.moments import rfc_3339
    from models.money import text

    record, decision = found.record, found.record.decision
    tier = decision.tier.value
    if decision.share_bp:
        tier += f", {decision.share_bp / 100:.2f} % paid at once"
    if decision.explored:
        tier += ", let through by chance"
    rows = {
        "event": f"{record.event_id} of {record.seller_id}, at {rfc_3339(record.at_ms)}, "
        f"{record.topic}:{record.partition}:{record.offset}",
        "decision": f"{tier}; decisions:{found.partition}:{found.offset}, "
        f"{found.decisions} of {found.looked_at:,} read",
        "reasons": ", ".join(decision.reasons) or "none",
        "earning": f"{text(record.amount_minor, record.currency)}, seller {record.standing}",
        "score": "none" if decision.score is None else repr(decision.score),
        "expected cost": "none" if decision.cost is None else f"{decision.cost:.2f} minor",
        "propensity": f"{decision.propensity:g}",
        "model": record.model or "none",
        "policy": record.policy,
    }
    for name, value in rows.items():
        console().print(f"[bold]{name:<14}[/]", end="", markup=True)
        console().print(value)
    if derived.score is None:
        return
    table = Table("share of the logit", "feature", "value", "", box=None, pad_edge=False)
    table.add_row(f"{derived.intercept:+.6f}", "intercept", "", "a sale of which nothing is said")
    for share in derived.shares:
        table.add_row(f"{share.share:+.6f}", share.feature, f"{share.value:.6g}", share.words)
    table.add_section()
    table.add_row(f"{derived.logit:+.6f}", "logit", "", f"score derived: {derived.score!r}")
    console().print(table)


def _folds(data: Transactions, starts: list[datetime] | None, count: int) -> list[Fold]:
    from streams.fraud.prequential import Fold, last_folds

    folds = [Fold(start.date()) for start in sorted(starts)] if starts else last_folds(data, count)
    for fold in folds:
        if not fold.within(data):
            raise BadUse(
                f"the file does not reach from {fold.start} to {fold.test_until}, as the fold does"
            )
    return folds


def _show(tested: list[Tested], figures: dict[str, Any]) -> None:
    from rich.table import Table

    from streams.fraud.prequential import Figures

    names = [one.name for one in fields(Figures)]
    table = Table("test", "model", *("AUC", "AP", "CP@100", "of perfect"))
    for one in tested:
        for model, reached in {"ours": one.model, **one.baselines}.items():
            table.add_row(
                f"{one.fold.test_from} to {one.fold.test_until}" if model == "ours" else "",
                model.replace("_", " "),
                *(f"{getattr(reached, name):.4f}" for name in names),
            )
    table.add_section()
    for model, summary in {"ours": figures, **figures["baselines"]}.items():
        table.add_row(
            "mean ± sd" if model == "ours" else "",
            model.replace("_", " "),
            *(f"{summary['mean'][name]:.4f} ± {summary['sd'][name]:.4f}" for name in names),
        )
    console().print(table)
