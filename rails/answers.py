"""Reading what a server answered, without trusting it: no function here raises on any JSON."""

from __future__ import annotations

import re

Json = object
"""What ``json.loads`` gives; narrowed where it is read."""

_CODE = re.compile(r"[^a-z0-9]+")
_WORD = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9_ -]{1,48}")


def at(value: Json, *path: str) -> Json:
    """The value at a path of keys; None where it does not exist or is not an object."""
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def entries(value: Json) -> list[Json]:
    """A list's items; none of what is no list."""
    return value if isinstance(value, list) else []


def word(value: Json) -> str:
    """A word without the blanks around it; empty if it is none."""
    return value.strip() if isinstance(value, str) else ""


def code(text: str) -> str:
    """A provider's word as a machine code in lower case. What is no word stays out: it might be
    an address or a sentence."""
    return _CODE.sub("_", text.lower()).strip("_") if _WORD.fullmatch(text) else "unreadable"
