"""Decoding, driven by the JSON Schemas of the topics: what fits is taken, what is taken fits."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from models.events import TOPICS, decode
from models.refusals import Reason, Refused
from models.schema import documents
from tests.fuzz.mutations import MOMENTS, PERSONAL, TEXTS

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp()) * 1000
RETENTION_MS = 90 * 86_400_000
DETAIL_CHARS_MAX = 300

SCHEMAS: dict[str, dict[str, Any]] = {
    topic: json.loads(documents()[f"{topic}.json"]) for topic in TOPICS
}
MEANT = {
    Reason.UNKNOWN_CURRENCY,
    Reason.UNKNOWN_PAYOUT,
    Reason.DATE_OUT_OF_RANGE,
    Reason.PAST_RETENTION,
    Reason.LINES_CONFLICT,
    Reason.UNKNOWN_LINE,
}
"""Why an event may be refused that fits its schema: a schema has no list of zones or
payouts, and does not add up lines."""

many = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))

moments = st.datetimes(
    min_value=datetime(2026, 9, 1), max_value=datetime(2026, 11, 23), timezones=st.just(UTC)
).map(lambda at: at.isoformat())
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=80)
    | st.sampled_from(TEXTS + MOMENTS)
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def fitting(  # noqa: PLR0911 - a table of cases
    schema: dict[str, Any], root: dict[str, Any], name: str = ""
) -> st.SearchStrategy[Any]:
    """Values that fit a schema, as far as ours go."""
    if "$ref" in schema:
        return fitting(root["$defs"][schema["$ref"].rpartition("/")[2]], root, name)
    for one_of in ("oneOf", "anyOf"):
        if one_of in schema:
            return st.one_of(*(fitting(one, root, name) for one in schema[one_of]))
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "object":
        return _object(schema, root)
    if schema["type"] == "array":
        return st.lists(fitting(schema["items"], root, name), max_size=schema["maxItems"])
    if schema["type"] == "string":
        return _text(schema, name)
    if schema["type"] == "integer":
        least = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
        most = schema["maximum"] if "maximum" in schema else schema["exclusiveMaximum"] - 1
        return st.integers(least, most)
    return {"null": st.none(), "boolean": st.booleans()}[schema["type"]]


def _object(schema: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "properties" not in schema:
        each = fitting(schema["additionalProperties"], root)
        return st.dictionaries(_text(schema["propertyNames"], "currency"), each)
    parts = {n: fitting(s, root, n) for n, s in schema["properties"].items()}
    required = {n: parts.pop(n) for n in schema.get("required", ())}
    extra = st.dictionaries(st.text(min_size=1, max_size=6).map("x-".__add__), scalars, max_size=2)
    known = st.fixed_dictionaries(required, optional=parts)
    return st.builds(lambda ours, theirs: {**theirs, **ours}, known, extra)


def _text(schema: dict[str, Any], name: str) -> st.SearchStrategy[str]:
    if name.endswith("currency"):
        return st.sampled_from(["EUR", "JPY", "BHD"])
    if name == "zone":
        return st.sampled_from(["UTC", "Asia/Kathmandu"])
    if schema.get("format") == "date-time":
        return moments
    longest = schema.get("maxLength", 2_000)
    if "pattern" in schema:
        found = st.from_regex(schema["pattern"].removesuffix("$") + r"\Z")
        return found.filter(lambda text: len(text) <= longest)
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=longest)


def agreeing(body: dict[str, Any]) -> dict[str, Any]:
    """The same, its fields as they must be to one another: that is in no schema."""
    if "target_currency" not in body:
        return body
    source, target = body["source_currency"], body["target_currency"]
    if source == target:
        target = "BHD" if source == "EUR" else "EUR"
    body = {**body, "target_currency": target}
    if "denominator" in body:
        return {**body, "seller_id": f"{source}-{target}"}
    if (body.get("source_minor") is None) == (body.get("target_minor") is None):
        return {**body, "source_minor": 1, "target_minor": None}
    return body


EVENTS = {topic: fitting(schema, schema).map(agreeing) for topic, schema in SCHEMAS.items()}
VALIDATORS = {topic: Draft202012Validator(schema) for topic, schema in SCHEMAS.items()}


def taken(topic: str, value: bytes) -> BaseModel | Refused:
    """The event, or why there is none; anything else fails the test."""
    try:
        event: BaseModel = decode(topic, value, now_ms=NOW_MS, retention_ms=RETENTION_MS)
    except Refused as refused:
        assert isinstance(refused.reason, Reason)
        assert 0 < len(refused.detail) <= DETAIL_CHARS_MAX
        assert "\n" not in refused.detail
        assert not any(word in refused.detail for word in PERSONAL)
        return refused
    assert isinstance(event, TOPICS[topic])
    again = event.model_dump_json().encode()
    assert decode(topic, again, now_ms=NOW_MS, retention_ms=RETENTION_MS) == event
    return event


def written(body: Any) -> bytes:
    """As a producer writes it."""
    return json.dumps(body).encode()


def spoil(data: st.DataObject, body: dict[str, Any]) -> None:
    """Put anything, or nothing, in the place of a field at some depth."""
    while True:
        name = data.draw(st.sampled_from(sorted(body)))
        inner = body[name]
        if not isinstance(inner, dict) or not inner or data.draw(st.booleans()):
            break
        body = inner
    if data.draw(st.booleans()):
        body[name] = data.draw(anything)
    elif data.draw(st.booleans()):
        body[data.draw(st.text(max_size=8))] = body.pop(name)
    else:
        del body[name]


@pytest.mark.parametrize("topic", TOPICS)
class TestSchemas:
    @many
    @given(st.data())
    def test_what_fits_is_taken(self, topic: str, data: st.DataObject) -> None:
        body = data.draw(EVENTS[topic])
        VALIDATORS[topic].validate(body)
        found = taken(topic, written(body))
        assert not isinstance(found, Refused) or found.reason in MEANT, found

    @many
    @given(st.data())
    def test_what_is_taken_fits(self, topic: str, data: st.DataObject) -> None:
        body = data.draw(EVENTS[topic])
        for _ in range(data.draw(st.integers(1, 3))):
            if body:
                spoil(data, body)
        found = taken(topic, written(body))
        if not isinstance(found, Refused):
            # Type and version may be left out where there is one choice.
            whole = {"type": getattr(found, "type", None), "version": 1, **body}
            VALIDATORS[topic].validate(whole)
