"""Every call that logs: an entry about an event or a payout names it by fields, and no seller."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import rails
import streams

VERBS = {"debug", "info", "warning", "error", "exception", "critical", "log"}

FIELDS = {
    *("event", "payout", "seller", "rail", "notice", "reason"),
    *("topic", "partition", "offset"),
}
"""What an entry's fields are called, so that one query finds all of an event."""

MADE_BY = {"log_fields", "_fields"}
"""Functions that make the fields of an entry; what they return is read like the call's own."""

ATTRIBUTES = {"place", "fields"}
"""Of a message and of a dead letter: the fields of an entry about it."""

NOT_OURS_TO_RUN = ("streams/demo/", "streams/faults/", "rails/sandbox/", "streams/cli/")
"""Tools beside the product: what they write is for the person who started them."""

OF_THE_PROCESS = {
    "streams/worker.py": {
        *("no fraud model", "metrics at", "webhooks at port", "no rule on"),
        "features and decisions run",
    },
    "streams/agents/notices.py": {"notices wait for Redis"},
    "streams/agents/sales.py": {
        *("news of cards, devices and customers are lost", "nothing is let through by chance"),
    },
    "streams/fraud/serving.py": {"%s: a model that cannot be used", "%s: model %s is used now"},
    "streams/api/process.py": {
        *("metrics at", "the API ends", "API at", "stopping", "the keys were read again"),
        *("the keys stay as they were", "%s"),
    },
    "streams/api/site.py": {"%s failed"},
    "streams/engine/app.py": {"%s", "agent %s raised"},
    "streams/engine/consumer.py": {
        *("the consumer did not leave", "the event loop did not let go", "healing failed"),
        *("batches in hand did not finish", "the hook for released partitions failed"),
    },
    "streams/engine/library_log.py": {""},
    "streams/engine/poll.py": {
        *(
            "the poll thread failed",
            "closing the consumer failed",
            "broker: ",
            "assigned ",
            "lost ",
        ),
        *("committed offsets unknown", "revoked ", "commit not taken"),
    },
    "streams/engine/producer.py": {"%d produced messages were not acknowledged", "broker: "},
    "streams/engine/watchdog.py": {"ending the process"},
    "streams/engine/worker.py": {
        *("the worker did not start", "the worker crashed", "stopping: %s", "%s: stopping"),
    },
    "streams/notices/sender.py": {"notices wait for Redis", "the company's endpoint"},
    "streams/soundings.py": {"Redis does not say"},
    "streams/wallets/healing.py": {"%d shards begin at the snapshot"},
    "streams/wallets/wallets.py": {"healed %d shards", "Redis: %s; trying again"},
    "rails/iso20022/exchange.py": {"a file of the bank"},
}
"""Entries about the process, a server or a file, that concern no single event or payout: by module,
how their messages begin. Whoever adds one here says that no event and no payout is in its hands."""


class Call(NamedTuple):
    """A call that logs: where, its message, and what it has as fields."""

    module: str
    line: int
    message: str
    extra: ast.expr | None
    arguments: list[ast.expr]


def calls() -> Iterator[Call]:
    root = Path(streams.__file__).parents[1]
    for package in (streams, rails):
        for path in sorted(Path(str(package.__file__)).parent.rglob("*.py")):
            module = str(path.relative_to(root))
            if module.startswith(NOT_OURS_TO_RUN):
                continue
            yield from _of(module, ast.parse(path.read_text(encoding="utf-8")))


def _of(module: str, tree: ast.AST) -> Iterator[Call]:
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        named = {
            target.id: node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(function):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            on = node.func.value
            name = getattr(on, "id", None) or getattr(on, "attr", "")
            if node.func.attr not in VERBS or name not in {"log", "logger", "_logger"}:
                continue
            said = node.args[1:] if node.func.attr == "log" else node.args
            text = said[0] if said else None
            message = text.value if isinstance(text, ast.Constant) else ""
            extra = next((each.value for each in node.keywords if each.arg == "extra"), None)
            if isinstance(extra, ast.Name) and extra.id in named:
                extra = named[extra.id]
            yield Call(module, node.lineno, str(message), extra, list(said[1:]))


def _wrong(call: Call) -> str | None:
    """What is wrong with a call, as the one who wrote it should hear it."""
    if any("seller" in ast.unparse(each) for each in call.arguments):
        return 'names a seller in its message; write extra={"seller": seller_hash(...)}'
    if call.extra is None:
        known = OF_THE_PROCESS.get(call.module, set())
        if any(call.message.startswith(each) for each in known):
            return None
        return "has no fields; add event, payout or the message's place as extra"
    return _wrong_fields(call.extra)


def _wrong_fields(extra: ast.expr) -> str | None:
    made = isinstance(extra, ast.Call) and getattr(extra.func, "id", "") in MADE_BY
    if made or (isinstance(extra, ast.Attribute) and extra.attr in ATTRIBUTES):
        return None
    if not isinstance(extra, ast.Dict):
        return "has fields that cannot be checked; write a literal"
    for key, value in zip(extra.keys, extra.values, strict=True):
        name = key.value if isinstance(key, ast.Constant) else None
        if name not in FIELDS:
            return f"has a field {name!r}; use one of {sorted(FIELDS)}"
        if name == "seller" and not ast.unparse(value).startswith("seller_hash("):
            return "has a seller's id; write seller_hash(...)"
    return None


def test_every_entry_about_an_event_or_a_payout_names_it() -> None:
    found = list(calls())
    assert len(found) > 40
    wrong = [f"{c.module}:{c.line} {w}" for c in found if (w := _wrong(c)) is not None]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("logger.warning('booked %s', event.id)", "no fields"),
        ("logger.warning('of %s', event.seller_id, extra=m.place)", "names a seller"),
        ("logger.info('x', extra={'seller': event.seller_id})", "seller's id"),
        ("logger.info('x', extra={'event_id': event.id})", "a field 'event_id'"),
        ("logger.info('x', extra=anything())", "cannot be checked"),
    ],
)
def test_the_check_finds_what_it_is_for(code: str, word: str) -> None:
    (call,) = _of("streams/x.py", ast.parse(f"def f():\n    {code}\n"))
    assert word in (_wrong(call) or "")
