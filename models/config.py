"""Configuration files: YAML into checked models, every mistake named with its file and line.

Only plain YAML is taken: no aliases, no tags, no duplicate keys, and of the scalars only ``null``,
``true``, ``false``, integers and plain decimals are anything but text (so the country ``NO`` stays
``NO``). A decimal becomes a :class:`~decimal.Decimal`; no float exists here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from models.money import BASIS_POINTS, MINOR_MAX, is_currency

CONFIG_CHARS_MAX = 262_144
"""Largest configuration file, in characters."""

DEPTH_MAX = 16
"""Deepest nesting of a configuration file."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration file; ``line`` counts from 1."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class ConfigError(ValueError):
    """A configuration file cannot be used. Holds every mistake found, by line."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class Section(BaseModel):
    """A part of a configuration file. What it does not know it refuses."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def wrong(message: str, *at: str | int) -> PydanticCustomError:
    """The error for a validator to raise; ``at`` leads from the checked part to the wrong one."""
    # The message is a template to pydantic; braces in it would be taken as places.
    return PydanticCustomError("config", "{message}", {"message": message, "at": at})


def _currency(code: str) -> str:
    if not is_currency(code):
        raise wrong(f"{code[:8]!r} is not an ISO 4217 currency")
    return code


def _minor(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(f"write an integer of minor units (cents), not {_shown(value)}")
    if not 0 <= value <= MINOR_MAX:
        raise wrong(f"{value} is not between 0 and {MINOR_MAX} minor units")
    return value


def _positive_minor(value: object) -> object:
    if value == 0:
        raise wrong("must be more than 0 minor units")
    return _minor(value)


_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,2})?) ?%?", re.ASCII)


def basis_points(value: object) -> int:
    """A percentage as it is written (``25``, ``2.5``, ``"2.5 %"``) in basis points, exactly.

    Raises a pydantic error for what is not one between 0 and 100 with at most two decimals.
    """
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise wrong(f"write a percentage such as 25 or 2.5, not {_shown(value)}")
    found = _PERCENT.fullmatch(str(value))
    if not found:
        raise wrong(f"{_shown(value)} is not a percentage with at most two decimals")
    points = int(Decimal(found[1]) * 100)
    if points > BASIS_POINTS:
        raise wrong(f"{_shown(value)} is more than 100 percent")
    return points


def probability(value: object) -> object:
    """A probability, written as a number with at most four decimals."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not 0 <= value <= 1:
        raise wrong("write a number from 0 to 1, such as 0.35")
    if Decimal(value) * BASIS_POINTS % 1:
        raise wrong(f"{value} has more than four decimals")
    return Decimal(value)


def _shown(value: object) -> str:
    kinds = {dict: "a mapping", list: "a list", type(None): "nothing"}
    kind = kinds.get(type(value))
    return kind or (str(value) if isinstance(value, Decimal) else repr(value))[:40]


CurrencyCode = Annotated[str, AfterValidator(_currency)]
Minor = Annotated[int, BeforeValidator(_minor)]
"""An amount in integer minor units, 0 or more."""
PositiveMinor = Annotated[int, BeforeValidator(_positive_minor)]
"""An amount in integer minor units, more than 0."""
Amounts = Mapping[CurrencyCode, PositiveMinor]
"""An amount per currency."""
BasisPoints = Annotated[int, BeforeValidator(basis_points)]
"""A rate, written as a percentage, held as integer basis points."""


M = TypeVar("M", bound=Section)


def load(text: str, model: type[M], name: str) -> M:
    """The configuration that a file's text holds; ``name`` is the file's name for messages.

    Raises :class:`ConfigError` with every mistake found.
    """
    root, value, lines = _read(text, name)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = []
        found = error.errors(include_url=False)
        places = [one["loc"] for one in found]
        for one in found:
            if one["type"] == "too_short" and any(_within(each, one["loc"]) for each in places):
                continue  # what is wrong inside was left out, and is told by itself
            loc = (*one["loc"], *one.get("ctx", {}).get("at", ()))
            path, line = _place(root, lines, loc)
            message = _WORDS.get(one["type"], one["msg"])
            message = f"{path}: {message}" if path else message
            problems.append(Problem(name, line, message))
        raise ConfigError(sorted(problems, key=lambda problem: problem.line)) from None


def _within(inner: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "model_type": "write a mapping",
    "dict_type": "write a mapping",
    "tuple_type": "write a list",
}


class _Loader(yaml.SafeLoader):
    """SafeLoader without aliases, with a bound on depth, and with few words that are not text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases are not taken", problem_mark=_mark(event))
        if self.depth >= DEPTH_MAX:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=_mark(event))
        if tag := getattr(event, "tag", None):
            # `!!bool yes` would be taken, and mean false.
            problem = f"the tag {tag[:40]!r} is not taken here"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=_mark(event))
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


_TAG = "tag:yaml.org,2002:"
for _kind, _pattern, _first in (
    ("null", r"null|~|", ["n", "~", ""]),
    ("bool", r"true|false", ["t", "f"]),
    ("int", r"-?(?:0|[1-9](?:_?[0-9]){0,20})", list("-0123456789")),
    ("float", r"-?[0-9]{1,20}\.[0-9]{1,20}", list("-0123456789")),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(rf"(?:{_pattern})\Z"), _first)


def _mark(event: Any) -> Any:
    return event.start_mark


_Lines = dict[int, dict[str | int, tuple[int, yaml.Node]]]


def _read(text: str, name: str) -> tuple[yaml.Node, Any, _Lines]:
    """The root node, its value, and for each collection where its parts lie."""
    if len(text) > CONFIG_CHARS_MAX:
        message = f"{len(text)} characters; at most {CONFIG_CHARS_MAX}"
        raise ConfigError([Problem(name, 1, message)])
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            raise ConfigError([Problem(name, 1, "the file is empty")])
        lines: _Lines = {}
        return root, _value(root, lines), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        message = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError([Problem(name, mark.line + 1 if mark else 1, message)]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError([Problem(name, line, f"not YAML: {error.reason}")]) from None


_SCALARS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "null": lambda _: None,
    "bool": "true".__eq__,
    "int": int,
    "float": Decimal,
}


def _value(node: yaml.Node, lines: _Lines) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, lines)
    if isinstance(node, yaml.SequenceNode):
        lines[id(node)] = {i: (item.start_mark.line + 1, item) for i, item in enumerate(node.value)}
        return [_value(item, lines) for item in node.value]
    return _SCALARS[node.tag.removeprefix(_TAG)](node.value)


def _mapping(node: yaml.MappingNode, lines: _Lines) -> dict[str, Any]:
    places: dict[str | int, tuple[int, yaml.Node]] = {}
    values = {}
    lines[id(node)] = places
    for key, item in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="a key must be text", problem_mark=key.start_mark)
        if key.value in places:
            first = places[key.value][0]
            raise yaml.MarkedYAMLError(
                problem=f"{key.value!r} stands here a second time, first in line {first}",
                problem_mark=key.start_mark,
            )
        places[key.value] = (key.start_mark.line + 1, item)
        values[key.value] = _value(item, lines)
    return values


def _place(root: yaml.Node, lines: _Lines, loc: tuple[int | str, ...]) -> tuple[str, int]:
    """Path and line of an error. Parts that are not in the file (a missing field, a form that a
    validator gave the value) name the nearest thing that is."""
    node, line, path = root, root.start_mark.line + 1, ""
    for i, part in enumerate(loc):
        found = lines.get(id(node), {}).get(part)
        if found is not None:
            line, node = found
        elif i < len(loc) - 1 or part == "[key]":
            continue
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path, line
