"""The page `docs/metrics.md`, made from the definitions."""

from __future__ import annotations

from itertools import groupby

from prometheus_client import CollectorRegistry

from streams.metrics.definitions import Definitions
from streams.metrics.kinds import Described

_HEAD = """# Metrics

<!-- Made by `payouts metrics reference` from streams/metrics. -->

Each process of `payouts worker` and `payouts api` tells Prometheus what it counts, at `/metrics`
of `PAYOUTS_METRICS_PORT`, from a thread of its own. Names begin with `payouts_`, units are seconds,
bytes and minor units of a currency, counters end in `_total`. No label names a seller, a payout or
an event.

A gauge that a process has nothing to say about is not there: only a worker of role `book` has
`payouts_scorer_up`. What a worker tells of its shards is summed over workers. What seldom happens
reads 0 from the start. Beside these there are prometheus-client's `process_*`: CPU, memory, files.

[Alerts](operations.md#alerts) and [dashboards](dashboards.md) are made of them.
"""

_INTRODUCTIONS = {
    "Events and stages": "Stages are `decode` (bytes to events), `look` (profiles and feature "
    "states from Redis),\n`score` (features and model), `book` (Redis' functions) and `publish` "
    "(until the broker has it).",
    "Money": "Of `payouts_house_balance_minor_units` the rise in a time is what moved in it: "
    "`commissions`\nfalls by what was earned, `clearing:<rail>` rises by what was paid.",
}


def metrics_markdown() -> str:
    """The whole page, ending in a newline."""
    lines = [_HEAD]
    described = Definitions(CollectorRegistry()).described
    for title, some in groupby(described, key=lambda one: one.section):
        lines.append(f"## {title}\n")
        if title in _INTRODUCTIONS:
            lines.append(_INTRODUCTIONS[title] + "\n")
        lines += ["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |"]
        lines += [*map(_row, some), ""]
    return "\n".join(lines)


def _row(one: Described) -> str:
    labels = "<br>".join(f"`{name}`: {values}" for name, values in one.labels)
    return f"| `{one.name}` | {one.kind} | {labels} | {one.text} |"
