"""Whether a message is valid by the standard: by its schema where a package has it whole, and by
every rule of it as pyiso20022 holds them.

Its classes are made from the schemas themselves and carry their rules as metadata, but the parser
looks at few of them. Checked here: which elements and attributes there are and in what order, which
have to be there and how often, exactly one of each choice, lengths, patterns, digits and bounds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, files
from typing import Any
from xml.etree.ElementTree import Element

import pytest
import xmlschema
from defusedxml.ElementTree import fromstring
from xsdata.formats.dataclass.serializers import XmlSerializer

from rails.iso20022.reports import NAMESPACE, XML


class Invalid(ValueError):
    """A message breaks a rule of its schema; says which, and where."""


def name_of(data: bytes) -> str:
    """The name and version of a message, such as ``pacs.008.001.08``; "" for what is none."""
    found = re.search(rb'xmlns="' + NAMESPACE.encode() + rb'([a-z]{4}(?:\.\d+){3})"', data)
    return found[1].decode() if found else ""


WHOLE = {
    "pacs.008.001.08": "pacs008",
    "pain.001.001.09": "pain001",
    "camt.053.001.08": "camt053",
    "camt.054.001.08": "camt053",
}
"""Messages whose schema ships whole, and the package that it is in."""


@cache
def schema(name: str) -> xmlschema.XMLSchema:
    """The standard's schema of a message, out of a package of schemas."""
    try:
        found = files(WHOLE[name]) or []
    except PackageNotFoundError:
        if os.environ.get("CI"):
            raise
        pytest.skip("no schemas here: make them come with `make test`")
    path = next(each.locate() for each in found if each.name == f"{name}.xsd")
    return xmlschema.XMLSchema(str(path))


def check(data: bytes) -> None:
    """Raise Invalid, or an error of xsdata's or xmlschema's, unless a message is valid."""
    if name_of(data) in WHOLE:
        schema(name_of(data)).validate(data.decode())
    module = name_of(data).replace(".", "_")
    root = fromstring(data, forbid_dtd=True)
    order = _tags(root)  # the parser empties what it has read
    document = XML.parse(root, import_module(f"pyiso20022.{module[:4]}.{module}.{module}").Document)
    for broken in _broken(document, "Document"):
        raise Invalid(broken)
    # The parser takes elements in any order; written again they stand in the schema's.
    if _tags(fromstring(XmlSerializer().render(document))) != order:
        raise Invalid("the elements are not in the schema's order")


def _tags(root: Element) -> list[str]:
    return [element.tag for element in root.iter()]


def _broken(holder: Any, path: str) -> Iterator[str]:
    """The rules that an element breaks, and those that are in it."""
    if type(holder).__name__.endswith("Choice"):
        chosen = [one.name for one in fields(holder) if getattr(holder, one.name) not in (None, [])]
        if len(chosen) != 1:
            yield f"{path}: one has to be chosen, and there is {chosen}"
    for one in fields(holder):
        value = getattr(holder, one.name)
        where = f"{path}/{one.metadata.get('name', '')}"
        values = value if isinstance(value, list) else [] if value is None else [value]
        yield from _miscounted(one, len(values), where)
        for each in values:
            if is_dataclass(each):
                yield from _broken(each, where)
            else:
                yield from _breaks(each, one.metadata, where)


def _miscounted(one: Field[Any], count: int, where: str) -> Iterator[str]:
    rules = one.metadata
    if count < rules.get("min_occurs", int(rules.get("required", False))):
        yield f"{where} has to be there"
    if count > rules.get("max_occurs", count):
        yield f"{where} is there too often"


def _breaks(value: Any, rules: Mapping[str, Any], where: str) -> Iterator[str]:
    text = str(value.value if isinstance(value, Enum) else value)
    if not rules.get("min_length", 0) <= len(text) <= rules.get("max_length", len(text)):
        yield f"{where}: {text!r} is too short or too long"
    if "pattern" in rules and not re.fullmatch(rules["pattern"], text):
        yield f"{where}: {text!r} is not as {rules['pattern']}"
    if isinstance(value, Decimal):
        yield from _figures(value, rules, where)


def _figures(value: Decimal, rules: Mapping[str, Any], where: str) -> Iterator[str]:
    _, digits, exponent = value.normalize().as_tuple()
    fraction = max(0, -int(exponent))
    whole = max(0, len(digits) + int(exponent))
    if fraction > rules.get("fraction_digits", fraction):
        yield f"{where}: {value} has too many decimals"
    if whole + fraction > rules.get("total_digits", whole + fraction):
        yield f"{where}: {value} has too many digits"
    if not rules.get("min_inclusive", value) <= value <= rules.get("max_inclusive", value):
        yield f"{where}: {value} is out of bounds"
