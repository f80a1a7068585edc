"""The API as an OpenAPI 3.1 document, made from the table of endpoints."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from models.refusals import Denied, Reason
from streams.api.endpoints import Endpoint
from streams.api.keys import Scope
from streams.api.problems import MEDIA_TYPE, TITLES, ProblemDetails
from streams.api.routes import ROUTES

OF_ALL = (
    *(Denied.UNAUTHENTICATED, Denied.SCOPE_MISSING, Denied.RATE_LIMITED, Denied.NOT_FOUND),
    *(Denied.BUSY, Denied.UNAVAILABLE, Denied.INTERNAL),
)
"""Codes that any request may be answered with."""

OF_BODIES = (
    *(Denied.MEDIA_TYPE_UNSUPPORTED, Denied.BODY_TIMED_OUT, Reason.EMPTY, Reason.NOT_UTF8),
    *(Reason.NOT_JSON, Reason.TOO_LARGE, Reason.MISSING_FIELD, Reason.WRONG_TYPE),
    *(Reason.INVALID_FIELD, Reason.UNKNOWN_CURRENCY, Reason.AMOUNT_NOT_INTEGER),
    *(Reason.AMOUNT_NEGATIVE, Reason.AMOUNT_TOO_LARGE, Reason.DATE_OUT_OF_RANGE),
    Reason.PERCENT_OUT_OF_RANGE,
)
"""Codes that one with a body may be."""

OF_QUERIES = (Reason.INVALID_FIELD,)
"""Codes that one with parameters behind its path may be."""

OF_KEYED = (
    *(Denied.KEY_MISSING, Denied.KEY_INVALID, Denied.IN_FLIGHT),
    *(Reason.ID_REUSED, Reason.BALANCE_TOO_LARGE),
)
"""Codes that one with an Idempotency-Key may be."""

_ID = {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$"}
_KEY = {"type": "string", "pattern": '^("[A-Za-z0-9._:-]{1,128}"|[A-Za-z0-9._:-]{1,128})$'}
_NAME = re.compile(r"{(\w+)}")
_REFERENCE = "#/components/schemas/{model}"


def codes_of(endpoint: Endpoint) -> list[Reason | Denied]:
    """Every code that an endpoint may answer with."""
    codes: list[Reason | Denied] = [*endpoint.refusals, *OF_ALL]
    codes += OF_BODIES if endpoint.body else ()
    codes += OF_QUERIES if endpoint.query else ()
    codes += OF_KEYED if endpoint.keyed else ()
    return list(dict.fromkeys(codes))


def document() -> str:
    """The document, as JSON that ends in a newline."""
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for one in ROUTES:
        paths[one.path][one.method.lower()] = _operation(one)
    paths["/healthz"] = {"get": _open("health", "Whether requests are taken", "application/json")}
    paths["/openapi.json"] = {"get": _open("openapi", "This document", "application/json")}
    models: list[tuple[type[BaseModel], Any]] = [
        *((one.answer, "serialization") for one in ROUTES),
        *((one.body, "validation") for one in ROUTES if one.body is not None),
        (ProblemDetails, "serialization"),
    ]
    return json.dumps(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "payout-streams",
                "version": "1",
                "description": "Balances, purchases, redemptions, payouts and history of a"
                " direct-selling company's sellers. Amounts are integer minor units of an ISO 4217"
                " currency.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "security": [{"key": []}],
            "paths": paths,
            "components": {
                "securitySchemes": {
                    "key": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "an API key; its scopes are " + ", ".join(Scope),
                    }
                },
                "schemas": _schemas(models),
            },
        },
        indent=2,
        ensure_ascii=False,
    ) + "\n"  # fmt: skip


def _schemas(models: Sequence[tuple[type[BaseModel], Any]]) -> dict[str, Any]:
    _, schema = models_json_schema(list(dict.fromkeys(models)), ref_template=_REFERENCE)
    return dict(sorted(schema["$defs"].items()))


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "description": f"Needs the scope `{endpoint.scope}`.",
        "parameters": _parameters(endpoint),
        "responses": _responses(endpoint),
    }
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": _content("application/json", endpoint.body),
        }
    return operation


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    names = _NAME.findall(endpoint.path)
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _ID} for name in names
    ]
    if endpoint.query is not None:
        for name, schema in endpoint.query.model_json_schema()["properties"].items():
            found.append({"name": name, "in": "query", "required": False, "schema": schema})
    if endpoint.keyed:
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": True,
                "description": "a string, such as a UUID, that is new for each request and the"
                " same in each repeat of it; good for one seller",
                "schema": _KEY,
            }
        )
    return found


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in codes_of(endpoint):
        by_status[int(TITLES[code][0])].append(code)
    responses: dict[str, Any] = {
        str(endpoint.status): {
            "description": endpoint.summary,
            "content": _content("application/json", endpoint.answer),
        }
    }
    for status in sorted(by_status):
        responses[str(status)] = {
            "description": ", ".join(f"`{code}`" for code in by_status[status]),
            "content": _content(MEDIA_TYPE, ProblemDetails),
        }
    return responses


def _content(media_type: str, model: type[BaseModel]) -> dict[str, Any]:
    return {media_type: {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}}}


def _open(name: str, summary: str, media_type: str) -> dict[str, Any]:
    """An operation that takes no key."""
    answer = {"description": summary, "content": {media_type: {"schema": {"type": "object"}}}}
    responses = {"200": answer, **({"503": answer} if name == "health" else {})}
    return {"operationId": name, "summary": summary, "security": [], "responses": responses}
