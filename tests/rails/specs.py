"""Providers' OpenAPI documents, for checking what we send and what the sandbox answers.

They are of version 3, or of version 2, which was Swagger. They lie beside the repository and may be
missing; then only the recorded facts are used.
"""

import json
import re
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator, Draft202012Validator

SPECS = Path(__file__).resolve().parents[3] / "shared" / "specs"
ADYEN = "adyen-transfers-v4.json"
ADYEN_WEBHOOKS = "adyen-transfer-webhooks-v4.json"
CIRCLE = "circle-payouts.json"
MARQETA = "marqeta-swagger.json"
PAYPAL = "paypal-payouts-v1.json"

# What a duplicate is answered with is not in PayPal's document; a third party recorded it. What is
# wrong with which field is not in Circle's document, but in its guide to errors.
UNDOCUMENTED = {"link", "errors"}


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


def schemas(name: str) -> dict[str, Any]:
    """The document's schemas by name, wherever its version of OpenAPI has them."""
    whole = document(name)
    found: dict[str, Any] = (
        whole["definitions"] if "swagger" in whole else whole["components"]["schemas"]
    )
    return found


def problems(name: str, schema: dict[str, Any], body: object) -> list[str]:
    """What is wrong with a body: broken rules, and names the schema does not have."""
    whole = document(name)
    root = {
        **schema,
        **{part: whole[part] for part in ("components", "definitions") if part in whole},
    }
    # Swagger's schemas are of JSON Schema's fourth draft, whose bounds are exclusive or not.
    validator = Draft4Validator if "swagger" in whole else Draft202012Validator
    found = [error.message for error in validator(root).iter_errors(body)]
    return [*found, *_strangers(name, schema, body, "")]


def resolved(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A schema, or what it refers to."""
    while "$ref" in schema:
        schema = schemas(name)[schema["$ref"].rpartition("/")[2]]
    return schema


def _strangers(name: str, schema: dict[str, Any], body: object, at: str) -> list[str]:
    """The documents allow any extra property, which would hide a misspelt one."""
    schema = resolved(name, schema)
    if isinstance(body, dict) and "properties" in schema:
        known = schema["properties"]
        found = [f"{at}/{key} is not in the document" for key in {*body} - {*known} - UNDOCUMENTED]
        for key in {*body} & {*known}:
            found += _strangers(name, known[key], body[key], f"{at}/{key}")
        return found
    if isinstance(body, list) and "items" in schema:
        return [p for one in body for p in _strangers(name, schema["items"], one, at + "[]")]
    return []


def _numbers(name: str, schema: dict[str, Any], body: object) -> object:
    """A body with numbers where the client has left their texts, so that none is rounded."""
    schema = resolved(name, schema)
    known = schema.get("properties", {})
    if isinstance(body, dict):
        return {k: _numbers(name, known[k], v) if k in known else v for k, v in body.items()}
    if isinstance(body, str) and schema.get("type") == "number":
        return Decimal(body)
    return body


def request_problems(name: str, method: str, path: str, body: object) -> list[str]:
    asked = operation(name, method, path)
    content = asked.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema")
    for parameter in asked.get("parameters", ()):
        schema = parameter["schema"] if parameter.get("in") == "body" else schema
    return problems(name, schema, body) if schema else ["the document has no body here"]


def answer_problems(name: str, method: str, path: str, status: int, body: object) -> list[str]:
    answers = operation(name, method, path)["responses"]
    answer = answers.get(str(status)) or answers["default"]
    if "$ref" in answer:
        answer = document(name)["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    content = answer if "swagger" in document(name) else answer["content"]["application/json"]
    if "schema" not in content:
        return []
    return problems(name, content["schema"], _numbers(name, content["schema"], body))
