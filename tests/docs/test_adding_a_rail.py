"""What `docs/adding-a-rail.md` names is there."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding-a-rail.md").read_text(encoding="utf-8")
TEMPLATE = ROOT / "rails" / "_template"


def rows(title: str) -> list[list[str]]:
    """The cells of the one table below a header row that begins with a word."""
    [table] = re.findall(rf"^\| {title} \|.*\n\|[- |]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]


def test_every_file_it_names_is_there() -> None:
    named = re.findall(r"`((?:rails|tests|streams|docs)/[\w/.]+)`", PAGE)
    assert len(named) > 15
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_file_of_the_template_is_named() -> None:
    files = {path.name for path in TEMPLATE.iterdir() if path.suffix in {".py", ".md"}}
    named = {row[0].strip("`").rpartition("/")[2] for row in rows("file")}
    assert named == files - {"__init__.py"}


@pytest.mark.parametrize("row", rows("module"), ids=lambda row: row[0])
def test_a_shared_module_has_what_is_to_be_taken_from_it(row: list[str]) -> None:
    module = importlib.import_module(row[0].strip("`").removesuffix(".py").replace("/", "."))
    names = re.findall(r"`(\w+)`", row[1])
    assert names
    assert [name for name in names if not hasattr(module, name)] == []


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("rails._template.mapping", ["SUBMIT_REFUSALS", "LASTING", "request_body"]),
        ("rails.rail:Capabilities", ["guard_days", "enquires_by_ref_only"]),
        ("rails.settings:RailSettings", ["exists_by", "needs", "webhooks_by"]),
        ("rails.sandbox.provider:Provider", ["take", "tell", "book_once", "rail_fields"]),
        ("rails.registry", ["PROVIDERS", "Provider"]),
        ("rails.sandbox.server", ["PROVIDERS"]),
        ("tests.rails.contract", ["RailContract"]),
    ],
)
def test_a_name_in_the_text_is_there(module: str, names: list[str]) -> None:
    path, _, inner = module.partition(":")
    holder = importlib.import_module(path)
    holder = getattr(holder, inner) if inner else holder
    for name in names:
        assert hasattr(holder, name), name
        assert name in PAGE


def test_the_line_is_the_one_that_the_tests_register() -> None:
    [line] = re.findall(r'^"template": (Provider\(.*?\)),$', PAGE, re.MULTILINE | re.DOTALL)
    source = (ROOT / "tests/rails/template/test_rail.py").read_text(encoding="utf-8")
    [registered] = re.findall(r"registry\.(Provider\(.*?^\))", source, re.MULTILINE | re.DOTALL)
    assert line.split() == registered.split()
