"""Rules of the house, read from the syntax tree: who may import what, how money is kept.

Each rule has a test that it finds what it is there to find.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("models", "rails", "streams")

MAY_IMPORT = {"models": {"models"}, "rails": {"models", "rails"}, "streams": set(OURS)}

DOES_IO = frozenset(
    {
        *("aiohttp", "aiokafka", "asyncio", "concurrent", "confluent_kafka", "faust", "ftplib"),
        *("glob", "http", "io", "logging", "mode", "multiprocessing", "os", "pathlib", "random"),
        *("redis", "requests", "secrets", "select", "selectors", "shutil", "signal", "smtplib"),
        *("socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time"),
        "urllib",
    }
)
"""Modules that models may not import: the outside world, the clock, chance."""

CLOCK = re.compile(r"\b(?:datetime|date|time)\.(?:now|utcnow|today|time|time_ns|monotonic)$")

MONEY = re.compile(r"minor|amount|balance|fee|principal|credit|debt|payout_total|threshold_minor")
"""Names of what holds money."""

NOT_MONEY = {
    "models/buying.py",
    "models/selling.py",
    "models/spending.py",
    "models/units.py",
    "models/usage.py",
    "models/usual.py",
    "streams/demo/company.py",
    "streams/demo/patterns.py",
    "streams/fraud/fdh.py",
}
"""Where an amount becomes a feature, a number for a model, or a made-up sale's is drawn at random:
the only places where a float may touch one."""

LINES_MAX = 600
"""Longest module, in lines. A ratchet: it goes down, not up."""

FUNCTION_LINES_MAX = 80
"""Longest function, in lines, its docstring included. A ratchet as well."""

LONG_FUNCTIONS = {
    # Longer, and by how much at most; nothing is to be added here.
    "models/features.py:observe": 90,
}


class Finding(NamedTuple):
    """Where a rule is broken, and what to do instead."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


Rule = Callable[[str, ast.Module], Iterator[Finding]]


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def import_direction(path: str, tree: ast.Module) -> Iterator[Finding]:
    package = path.split("/", maxsplit=1)[0]
    for line, name in imports(tree):
        top = name.split(".", maxsplit=1)[0]
        if name.startswith("."):
            yield Finding(path, line, "write the import from the package's name")
        elif top in OURS and top not in MAY_IMPORT[package]:
            yield Finding(path, line, f"{package} may not import {top}; pass what is needed in")
        elif top == "tests":
            yield Finding(path, line, "the product does not import its tests")


def purity(path: str, tree: ast.Module) -> Iterator[Finding]:
    if not path.startswith("models/"):
        return
    for line, name in imports(tree):
        if name.split(".", maxsplit=1)[0] in DOES_IO:
            yield Finding(path, line, f"models do no I/O: {name} belongs in rails or streams")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if CLOCK.search(called):
                yield Finding(path, node.lineno, f"models have no clock: take {called} as argument")
            elif called in {"open", "input", "exec", "eval", "__import__"}:
                yield Finding(path, node.lineno, f"models do no I/O: {called}")


def no_print(path: str, tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="print" | "breakpoint" as name)):
                yield Finding(path, node.lineno, f"no {name}: log it, or use the console")


def no_bare_except(path: str, tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield Finding(path, node.lineno, "name the exceptions")


def names_in(node: ast.AST) -> set[str]:
    named = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return named | {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}


def holds_money(node: ast.AST) -> bool:
    return any(MONEY.search(name.lower()) for name in names_in(node))


def no_float_near_money(path: str, tree: ast.Module) -> Iterator[Finding]:
    if path in NOT_MONEY:
        return
    instead = "keep money in integer minor units; models.money.share and ratio round exactly"
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="float"), args=args) if any(map(holds_money, args)):
                yield Finding(path, node.lineno, f"float() of money; {instead}")
            case ast.BinOp(op=ast.Div()) if holds_money(node):
                # Paths are joined with the same sign, and never named like money.
                yield Finding(path, node.lineno, f"true division of money; {instead}")
            case ast.BinOp() if holds_money(node) and any(
                isinstance(side, ast.Constant) and isinstance(side.value, float)
                for side in (node.left, node.right)
            ):
                yield Finding(path, node.lineno, f"money with a float; {instead}")
            case (
                ast.AnnAssign(target=target, annotation=kind) | ast.arg(arg=target, annotation=kind)
            ) if kind is not None:
                name = target if isinstance(target, str) else ast.unparse(target)
                if MONEY.search(name.lower()) and "float" in names_in(kind):
                    yield Finding(path, node.lineno, f"{name} as float; {instead}")


def lengths(path: str, tree: ast.Module) -> Iterator[Finding]:
    last = max((node.end_lineno or 0 for node in tree.body), default=0)
    if last > LINES_MAX:
        yield Finding(path, last, "the module is long: split it by what its parts are")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > LONG_FUNCTIONS.get(f"{path}:{node.name}", FUNCTION_LINES_MAX):
                yield Finding(path, node.lineno, f"{node.name} has {lines} lines: split it")


RULES: tuple[Rule, ...] = (
    import_direction,
    purity,
    no_print,
    no_bare_except,
    no_float_near_money,
    lengths,
)


def modules() -> list[Path]:
    return sorted(path for package in OURS for path in (ROOT / package).rglob("*.py"))


@pytest.fixture(scope="module")
def trees() -> Mapping[str, ast.Module]:
    """What all rules read, parsed once: path to syntax tree."""
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in modules()
    }


@pytest.mark.parametrize("rule", RULES, ids=[rule.__name__ for rule in RULES])
def test_the_product_keeps_the_rule(rule: Rule, trees: Mapping[str, ast.Module]) -> None:
    found = [str(one) for path, tree in trees.items() for one in rule(path, tree)]
    assert not found, "\n" + "\n".join(found)


def test_there_are_modules_to_look_at() -> None:
    assert len(modules()) > 20
    assert {path.relative_to(ROOT).parts[0] for path in modules()} == set(OURS)


@pytest.mark.parametrize(
    ("rule", "path", "code"),
    [
        (import_direction, "models/a.py", "from streams.wallets import store"),
        (import_direction, "models/a.py", "def f():\n    import rails.rail"),
        (import_direction, "rails/a.py", "import streams.settings"),
        (import_direction, "rails/a/b.py", "from . import c"),
        (import_direction, "streams/a.py", "from tests.conftest import Names"),
        (purity, "models/a.py", "import asyncio"),
        (purity, "models/a.py", "from pathlib import Path"),
        (purity, "models/a.py", "import confluent_kafka.admin"),
        (purity, "models/a.py", "now = datetime.now(UTC)"),
        (purity, "models/a.py", "now = dt.datetime.utcnow()"),
        (purity, "models/a.py", "open('x')"),
        (no_print, "streams/a.py", "print('x')"),
        (no_bare_except, "rails/a.py", "try:\n    f()\nexcept:\n    pass"),
        (no_float_near_money, "rails/a.py", "x = float(amount_minor)"),
        (no_float_near_money, "rails/a.py", "x = float(event.amount_minor + 1)"),
        (no_float_near_money, "rails/a.py", "x = payout.amount_minor / 100"),
        (no_float_near_money, "rails/a.py", "x = balance * 0.25"),
        (no_float_near_money, "rails/a.py", "x = 1.0 + fee"),
        (no_float_near_money, "rails/a.py", "balance: float = 0"),
        (no_float_near_money, "rails/a.py", "def f(amount: float | None): ..."),
        (lengths, "rails/a.py", "x = 1\n" * (LINES_MAX + 1)),
        (lengths, "rails/a.py", "def f():\n" + "    x = 1\n" * FUNCTION_LINES_MAX),
    ],
)
def test_a_rule_finds_what_it_is_for(rule: Rule, path: str, code: str) -> None:
    assert list(rule(path, ast.parse(code)))


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("models/a.py", "from models.money import share\nx = share(amount_minor, 250)"),
        ("models/a.py", "from datetime import datetime\nx = datetime.fromtimestamp(at_ms // 1000)"),
        ("rails/a.py", "from models.money import text\nimport aiohttp"),
        ("streams/a.py", "import asyncio\nimport rails.rail"),
        ("streams/a.py", "console().print('x')\nx = amount_minor // 100\ny = amount_minor * 2"),
        ("streams/a.py", "seconds: float = total_ms / 1000"),
        ("models/a.py", "try:\n    f()\nexcept ValueError:\n    pass"),
    ],
)
def test_what_is_right_passes(path: str, code: str) -> None:
    assert [found for rule in RULES for found in rule(path, ast.parse(code))] == []
