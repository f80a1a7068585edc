"""Providers' OpenAPI documents, for checking what we send and what the sandbox answers.

The documents lie beside the repository and may be missing; then only the recorded facts are used.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

SPECS = Path(__file__).resolve().parents[3] / "shared" / "specs"
PAYPAL = "paypal-payouts-v1.json"

# What a duplicate is answered with is not in PayPal's document; a third party recorded it.
UNDOCUMENTED = {"link"}


def available(name: str) -> bool:
    return (SPECS / name).is_file()


def needs(name: str) -> pytest.MarkDecorator:
    reason = f"the provider's document {name} is not beside the repository (../shared/specs)"
    return pytest.mark.skipif(not available(name), reason=reason)


@cache
def document(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SPECS / name).read_text(encoding="utf-8-sig"))
    return found


def operation(name: str, method: str, path: str) -> dict[str, Any]:
    """The operation of a concrete path; KeyError if the document has none."""
    for template, methods in document(name)["paths"].items():
        if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path):
            found: dict[str, Any] = methods[method.lower()]
            return found
    raise KeyError(f"{method} {path}")


def problems(name: str, schema: dict[str, Any], body: object) -> list[str]:
    """What is wrong with a body: broken rules, and names the schema does not have."""
    root = {**schema, "components": document(name)["components"]}
    found = [error.message for error in Draft202012Validator(root).iter_errors(body)]
    return [*found, *_strangers(name, schema, body, "")]


def _strangers(name: str, schema: dict[str, Any], body: object, at: str) -> list[str]:
    """The documents allow any extra property, which would hide a misspelt one."""
    while "$ref" in schema:
        schema = document(name)["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if isinstance(body, dict) and "properties" in schema:
        known = schema["properties"]
        found = [f"{at}/{key} is not in the document" for key in {*body} - {*known} - UNDOCUMENTED]
        for key in {*body} & {*known}:
            found += _strangers(name, known[key], body[key], f"{at}/{key}")
        return found
    if isinstance(body, list) and "items" in schema:
        return [p for one in body for p in _strangers(name, schema["items"], one, at + "[]")]
    return []


def request_problems(name: str, method: str, path: str, body: object) -> list[str]:
    content = operation(name, method, path).get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema")
    return problems(name, schema, body) if schema else []


def answer_problems(name: str, method: str, path: str, status: int, body: object) -> list[str]:
    answers = operation(name, method, path)["responses"]
    answer = answers.get(str(status)) or answers["default"]
    return problems(name, answer["content"]["application/json"]["schema"], body)
