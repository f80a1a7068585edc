"""The public contract as documents: a JSON Schema for each topic, and one AsyncAPI document.

All of it is made from the models; ``docs/schemas`` holds the result, and a test keeps it current.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from models import events, published

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ASYNCAPI = "asyncapi.json"
DEAD_LETTERS = "dead-letters"

_KEY = {
    "type": "string",
    "description": "seller_id; partition = (murmur2(key) & 0x7fffffff) % partitions, as Java's"
    " default partitioner has it",
}

SUMMARIES = {
    "sales": "Sales and returns, from the points of sale.",
    "commissions": "Commissions, of an outside plan engine and the product's own; write-offs; what"
    " became of payouts that stay unknown.",
    "sellers": "Sellers' profiles, whole; compacted.",
    "redemptions": "Spendback credit spent on the company's products, and purchases at a till.",
    "rates": "A treasury's exchange rates.",
    "fraud.labels": "What became known of sales: chargebacks, frauds, and genuine ones.",
    "rail.updates": "What rails report of payouts: webhooks and enquiries, verified.",
    "ledger": "The journal: every change of every balance.",
    "payouts.commands": "Payouts to execute; the money is reserved.",
    "payouts.updates": "What became of payouts.",
    "spendback.credits": "Spendback credit granted and taken back.",
    "decisions": "Why a sale was paid at once or held.",
    DEAD_LETTERS: "Refused messages, untouched, with the reason in their headers.",
}
"""What each topic carries, in one line."""

Models = Sequence[type[BaseModel]]


class _Plain(GenerateJsonSchema):
    """JSON Schema without a made-up title for each field."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def documents() -> dict[str, str]:
    """All documents: file name → text, ending in a newline."""
    carried: dict[str, Models] = {**events.TOPICS, **published.TOPICS}
    made = {f"{topic}.json": _topic(topic, models) for topic, models in carried.items()}
    made[f"{DEAD_LETTERS}.headers.json"] = _topic(DEAD_LETTERS, [published.DeadLetterHeaders])
    made[ASYNCAPI] = _asyncapi(carried)
    return {
        name: json.dumps(made[name], indent=2, ensure_ascii=False) + "\n" for name in sorted(made)
    }


def _topic(topic: str, models: Models) -> dict[str, Any]:
    """The JSON Schema of what a topic carries."""
    definitions = _definitions(models, "#/$defs/{model}")
    references = [{"$ref": f"#/$defs/{model.__name__}"} for model in models]
    return {
        "$schema": DIALECT,
        "title": topic,
        "description": SUMMARIES[topic],
        **(references[0] if len(references) == 1 else {"oneOf": references}),
        "$defs": definitions,
    }


def _definitions(models: Models, reference: str) -> dict[str, Any]:
    _, schema = models_json_schema(
        [(model, "validation") for model in models],
        ref_template=reference,
        schema_generator=_Plain,
    )
    definitions: dict[str, Any] = schema["$defs"]
    for model in models:
        definition = definitions[model.__name__]
        # Decoding fills in a missing type and version where there is one choice; whoever writes
        # an event is asked for both.
        named = [name for name in ("type", "version") if name in definition["properties"]]
        definition["required"] = sorted({*definition["required"], *named})
    return dict(sorted(definitions.items()))


def _asyncapi(carried: dict[str, Models]) -> dict[str, Any]:
    every = [model for models in carried.values() for model in models]
    every.append(published.DeadLetterHeaders)
    messages = {_name(model): _message(model) for models in carried.values() for model in models}
    messages[DEAD_LETTERS] = {
        "name": DEAD_LETTERS,
        "summary": SUMMARIES[DEAD_LETTERS],
        "contentType": "application/octet-stream",
        "headers": {"$ref": "#/components/schemas/DeadLetterHeaders"},
        "bindings": {"kafka": {"key": _KEY, "bindingVersion": "0.5.0"}},
    }
    named = {topic: [_name(model) for model in models] for topic, models in carried.items()}
    named[DEAD_LETTERS] = [DEAD_LETTERS]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "payout-streams",
            "version": "1",
            "description": "Events of instant payouts for direct-selling companies. Amounts are"
            " integer minor units of an ISO 4217 currency.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic: _channel(topic, names) for topic, names in named.items()},
        "operations": dict(_operation(topic, names) for topic, names in named.items()),
        "components": {
            "messages": messages,
            "schemas": _draft_7(_definitions(every, "#/components/schemas/{model}")),
        },
    }


def _name(model: type[BaseModel]) -> str:
    """The message's name: its type, or where it has none, its model's name."""
    field = model.model_fields.get("type")
    if field is None:
        return model.__name__
    return str(field.default if not field.is_required() else field.annotation.__args__[0])  # type: ignore[union-attr]


def _message(model: type[BaseModel]) -> dict[str, Any]:
    return {
        "name": _name(model),
        "summary": (model.__doc__ or "").split("\n\n")[0].replace("\n", " "),
        "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
        "bindings": {"kafka": {"key": _KEY, "bindingVersion": "0.5.0"}},
    }


def _channel(topic: str, names: Sequence[str]) -> dict[str, Any]:
    return {
        "address": topic,
        "description": SUMMARIES[topic],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {"kafka": {"topic": topic, "bindingVersion": "0.5.0"}},
    }


def _operation(topic: str, names: Sequence[str]) -> tuple[str, dict[str, Any]]:
    action = "receive" if topic in events.TOPICS else "send"
    return f"{action}.{topic}", {
        "action": action,
        "channel": {"$ref": f"#/channels/{topic}"},
        "messages": [{"$ref": f"#/channels/{topic}/messages/{name}"} for name in names],
    }


def _draft_7(schema: Any) -> Any:
    """The same schema in AsyncAPI's default dialect, where a tuple's items have another name."""
    if isinstance(schema, dict):
        return {
            "items" if name == "prefixItems" else name: _draft_7(part)
            for name, part in schema.items()
        }
    return [_draft_7(part) for part in schema] if isinstance(schema, list) else schema
