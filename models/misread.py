"""Misread bytes: the reason for which what should be an event, or a request, is refused."""

from __future__ import annotations

from pydantic_core import ErrorDetails

from models.refusals import Reason, Refused

_REASONS = {
    "missing": Reason.MISSING_FIELD,
    "union_tag_not_found": Reason.MISSING_FIELD,
    "unknown_currency": Reason.UNKNOWN_CURRENCY,
    "unknown_payout": Reason.UNKNOWN_PAYOUT,
    "lines_conflict": Reason.LINES_CONFLICT,
    "unknown_line": Reason.UNKNOWN_LINE,
}
_AMOUNT_REASONS = {
    "greater_than": Reason.AMOUNT_NEGATIVE,
    "greater_than_equal": Reason.AMOUNT_NEGATIVE,
    "less_than_equal": Reason.AMOUNT_TOO_LARGE,
    "int_parsing_size": Reason.AMOUNT_TOO_LARGE,
}
_RATES = frozenset({"numerator", "denominator"})


def refusal_of(value: bytes, error: ErrorDetails) -> Refused:  # noqa: PLR0911 - a table of cases
    """Why bytes are not what they should be, from what pydantic says of them."""
    kind = error["type"]
    field = _field(error["loc"])
    detail = f"{field}: {error['msg']}"
    if kind == "json_invalid":
        try:
            value.decode()
        except UnicodeDecodeError:
            return Refused(Reason.NOT_UTF8, "the message is not UTF-8")
        return Refused(Reason.NOT_JSON, error["msg"])
    if kind == "union_tag_invalid":
        # Pydantic's words repeat what stood there, whole.
        return Refused(Reason.UNKNOWN_TYPE, f"type: expected {error['ctx']['expected_tags']}")
    if field == "type" and kind == "literal_error":
        return Refused(Reason.UNKNOWN_TYPE, detail)
    if field == "version":
        return Refused(Reason.UNKNOWN_VERSION, detail)
    if field.endswith(".percent") and kind in {"greater_than_equal", "less_than_equal"}:
        return Refused(Reason.PERCENT_OUT_OF_RANGE, detail)
    if field.endswith("_minor") and kind != "missing":
        return Refused(_AMOUNT_REASONS.get(kind, Reason.AMOUNT_NOT_INTEGER), detail)
    if field.endswith("_at") and kind != "missing":
        wrong = kind == "datetime_type"
        return Refused(Reason.WRONG_TYPE if wrong else Reason.DATE_OUT_OF_RANGE, detail)
    if field in _RATES and kind == "greater_than":
        return Refused(Reason.RATE_NOT_POSITIVE, detail)
    if kind in _REASONS:
        return Refused(_REASONS[kind], detail)
    return Refused(Reason.WRONG_TYPE if kind.endswith("_type") else Reason.INVALID_FIELD, detail)


def _field(location: tuple[int | str, ...]) -> str:
    """Where an error is, as a path, without a mapping's wrong key: that may be anything."""
    if location and location[-1] == _KEY:
        location = location[:-2]
    return ".".join(str(part) for part in location if not _is_tag(part)) or "the message"


_KEY = "[key]"
"""How pydantic ends the location of a mapping's wrong key."""

_TAGS_OF_LINES = frozenset({"count", "each"})


def _is_tag(part: int | str) -> bool:
    """Whether a location's part is a union's tag, which the sender never wrote as a field.

    A type of events has a dot, a field has none.
    """
    return part in _TAGS_OF_LINES or "." in str(part)
