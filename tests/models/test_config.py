"""Reading configuration: what is taken, and every mistake named with its file and line."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field

from models.config import (
    CONFIG_CHARS_MAX,
    Amounts,
    BasisPoints,
    ConfigError,
    Minor,
    Problem,
    Section,
    load,
    wrong,
)


class Anything(Section):
    """One field that takes whatever the file holds."""

    value: Any


class Rates(Section):
    rate: BasisPoints


class Money(Section):
    amount: Minor = 0
    amounts: Amounts = Field(default_factory=dict)


class Inner(Section):
    number: int = Field(strict=True)


class Outer(Section):
    inner: list[Inner]
    by_name: Mapping[str, Inner] = Field(default_factory=dict)


def value(text: str) -> Any:
    return load(f"value: {text}", Anything, "a.yaml").value


def problems(text: str, model: type[Section] = Anything) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        load(text, model, "a.yaml")
    return caught.value.problems


def lines(text: str, model: type[Section] = Anything) -> list[int]:
    return [problem.line for problem in problems(text, model)]


class TestScalars:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("12", 12),
            ("-3", -3),
            ("1_000_000", 1_000_000),
            ("0", 0),
            ("2.50", Decimal("2.50")),
            ("0.1", Decimal("0.1")),
            ("true", True),
            ("null", None),
            ("", None),
            ("text", "text"),
            ("'12'", "12"),
            # YAML 1.1 would make something else of each of these.
            ("NO", "NO"),
            ("yes", "yes"),
            ("on", "on"),
            ("010", "010"),
            ("0x10", "0x10"),
            ("1:30", "1:30"),
            ("1e3", "1e3"),
            (".inf", ".inf"),
            (".nan", ".nan"),
            ("2026-11-23", "2026-11-23"),
            ("=", "="),
            ("<<", "<<"),
            ("9" * 5000, "9" * 5000),
        ],
    )
    def test_plain_and_exact(self, text: str, expected: object) -> None:
        found = value(text)
        assert found == expected
        assert type(found) is type(expected)

    def test_collections(self) -> None:
        assert value("{a: [1, {b: null}], 2: x}") == {"a": [1, {"b": None}], "2": "x"}


class TestRates:
    @pytest.mark.parametrize(
        ("text", "points"),
        [
            ("25", 2500),
            ("2.5", 250),
            ("2.50", 250),
            ("0.01", 1),
            ("100", 10_000),
            ("100.00", 10_000),
            ("0", 0),
            ("'2.5 %'", 250),
            ("2.5%", 250),
            # As floats these three come out one basis point short.
            ("0.29", 29),
            ("1.15", 115),
            ("4.35", 435),
        ],
    )
    def test_basis_points_are_exact(self, text: str, points: int) -> None:
        found = load(f"rate: {text}", Rates, "a.yaml").rate
        assert found == points
        assert type(found) is int

    @pytest.mark.parametrize(
        "text",
        [
            *("2.555", "100.01", "101", "-1", "-0.5", "1e1", ".5", "5.", "1,5", "true", "null"),
            *("x", "[5]", "{a: 5}", "'5 % %'", "٥", "''", "9" * 30),
        ],
    )
    def test_refused(self, text: str) -> None:
        (problem,) = problems(f"\nrate: {text}", Rates)
        assert problem.line == 2
        assert problem.message.startswith("rate: ")


class TestMoney:
    @pytest.mark.parametrize("text", ["5.0", "5.00", "'5'", "true", "-1", "1000000000001", "1e3"])
    def test_only_integers_in_bounds(self, text: str) -> None:
        (problem,) = problems(f"amount: {text}", Money)
        assert "minor units" in problem.message

    def test_bounds_are_taken(self) -> None:
        assert load("amount: 1_000_000_000_000", Money, "a.yaml").amount == 10**12
        assert load("amount: 0", Money, "a.yaml").amount == 0

    def test_amounts_are_of_known_currencies_and_more_than_nothing(self) -> None:
        found = problems("amounts:\n  EUR: 5\n  ABC: 5\n  USD: 0\n  JPY: 2.5\n", Money)
        assert [str(problem) for problem in found] == [
            "a.yaml:3: amounts.ABC: 'ABC' is not an ISO 4217 currency",
            "a.yaml:4: amounts.USD: must be more than 0 minor units",
            "a.yaml:5: amounts.JPY: write an integer of minor units (cents), not 2.5",
        ]


class TestYaml:
    @pytest.mark.parametrize(
        ("text", "line", "words"),
        [
            ("", 1, "empty"),
            ("# nothing\n\n", 1, "empty"),
            ("value: 1\nvalue: 2", 2, "second time, first in line 1"),
            ("value:\n  a: 1\n  b: 2\n  a: 3", 4, "'a' stands here a second time"),
            ("value: &x 1\nother: *x", 2, "alias"),
            ("value:\n  - !!python/object/apply:os.system [ls]", 2, "tag"),
            ("value: !!binary aGk=", 1, "tag"),
            ("value: !!set {a}", 1, "tag"),
            ("value: !!int x", 1, "tag"),
            ("value: !!bool yes", 1, "tag"),
            ("value: !!float '1e999999'", 1, "tag"),
            ("!!map {value: 1}", 1, "tag"),
            ("value: !mine 3", 1, "tag"),
            ("value: 1\n? [a, b]\n: 2", 2, "key"),
            ("value: 1\n---\nvalue: 2", 2, "another document"),
            ("value: [1, 2", 1, "expected"),
            ("value: 1\n\tother: 2", 2, ""),
            ("value: 'open\n\nmore", 3, "quoted"),
            ("value: 1\nother: \x07", 2, "not YAML"),
            ("value: " + "[" * 50, 1, "deeply"),
            ("value: " + "\n- " * 2 + "- " * 50, 3, "deeply"),
            ("[" * 20_000, 1, "deeply"),
            ("a" * (CONFIG_CHARS_MAX + 1), 1, "characters"),
        ],
    )
    def test_refused_with_the_line(self, text: str, line: int, words: str) -> None:
        (problem,) = problems(text)
        assert problem.line == line, problem
        assert words in problem.message
        assert "\n" not in problem.message

    def test_many_aliases_cost_nothing(self) -> None:
        bomb = "a: &a [x, x]\n" + "".join(f"k{i}: [*a, *a, *a]\n" for i in range(1000))
        assert lines(bomb) == [2]

    def test_a_list_or_text_is_no_configuration(self) -> None:
        assert [str(p) for p in problems("- 1")] == ["a.yaml:1: write a mapping"]
        assert [str(p) for p in problems("text")] == ["a.yaml:1: write a mapping"]


class TestLines:
    def test_deep_in_lists_and_mappings(self) -> None:
        text = (
            "inner:\n  - number: 1\n  - number: x\nby_name:\n  a: {number: 1}\n  b:\n    number: y"
        )
        assert [str(problem) for problem in problems(text, Outer)] == [
            "a.yaml:3: inner[1].number: Input should be a valid integer",
            "a.yaml:7: by_name.b.number: Input should be a valid integer",
        ]

    def test_a_missing_field_is_named_where_it_belongs(self) -> None:
        text = "inner:\n  - number: 1\n\n  - {}\n"
        assert [str(problem) for problem in problems(text, Outer)] == [
            "a.yaml:4: inner[1].number: is missing"
        ]

    def test_problems_come_in_the_order_of_lines(self) -> None:
        text = "zzz: 1\ninner:\n  - number: x\naaa: 2\n"
        assert lines(text, Outer) == [1, 3, 4]

    def test_the_message_of_the_error_has_a_line_for_each(self) -> None:
        with pytest.raises(ConfigError) as caught:
            load("zzz: 1\ninner:\n  - number: x\n", Outer, "b.yaml")
        assert str(caught.value).splitlines() == [
            "b.yaml:1: zzz: is not known here",
            "b.yaml:3: inner[0].number: Input should be a valid integer",
        ]

    def test_braces_in_a_message_stay(self) -> None:
        assert wrong("{a} is {wrong}").message() == "{a} is {wrong}"


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.text(max_size=60)
    | st.text(alphabet="ab:-[]{}&*!|>'\"#%@,? \n\t0.19", max_size=60)
    | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1"))
)
def test_any_text_loads_or_names_its_problems(text: str) -> None:
    try:
        load(text, Anything, "a.yaml")
    except ConfigError as error:
        assert error.problems
        for problem in error.problems:
            assert 1 <= problem.line <= len(text.splitlines()) + 1
