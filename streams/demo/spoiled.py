"""Bad messages: one of every way in which a producer gets it wrong, with the reason it is due."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from models.events import EVENT_BYTES_MAX
from models.money import MINOR_MAX
from models.refusals import Reason


@dataclass(frozen=True, slots=True)
class Good:
    """The parts of a valid sale to spoil: ids and the time as written."""

    id: str
    seller_id: str
    occurred_at: str
    currency: str
    amount_minor: int


def _sale(good: Good, **changed: str) -> bytes:
    """The sale as JSON, fields replaced by raw JSON text; an empty text leaves the field out."""
    fields = {
        "id": f'"{good.id}"',
        "type": '"sale.completed"',
        "version": "1",
        "occurred_at": f'"{good.occurred_at}"',
        "seller_id": f'"{good.seller_id}"',
        "sale_id": f'"bad-{good.id}"',
        "currency": f'"{good.currency}"',
        "amount_minor": str(good.amount_minor),
        **changed,
    }
    return ("{" + ",".join(f'"{k}":{v}' for k, v in fields.items() if v) + "}").encode()


WAYS: tuple[tuple[Reason, Callable[[Good], bytes]], ...] = (
    (Reason.NOT_JSON, lambda good: _sale(good)[:-9]),
    (Reason.WRONG_TYPE, lambda good: _sale(good, currency="978")),
    (Reason.UNKNOWN_CURRENCY, lambda good: _sale(good, currency='"ZZZ"')),
    (Reason.AMOUNT_NEGATIVE, lambda good: _sale(good, amount_minor=str(-good.amount_minor - 1))),
    (Reason.AMOUNT_TOO_LARGE, lambda good: _sale(good, amount_minor=str(MINOR_MAX + 1))),
    (Reason.AMOUNT_NOT_INTEGER, lambda good: _sale(good, amount_minor=f"{good.amount_minor}.5")),
    (Reason.UNKNOWN_VERSION, lambda good: _sale(good, version="9")),
    (Reason.UNKNOWN_TYPE, lambda good: _sale(good, type='"sale.imagined"')),
    (Reason.NOT_UTF8, lambda good: _sale(good).replace(b"bad-", b"\xff\xfe--")),
    (Reason.DATE_OUT_OF_RANGE, lambda good: _sale(good, occurred_at='"1987-01-01T00:00:00Z"')),
    (Reason.DATE_OUT_OF_RANGE, lambda good: _sale(good, occurred_at='"2999-01-01T00:00:00Z"')),
    (Reason.MISSING_FIELD, lambda good: _sale(good, currency="")),
    (Reason.TOO_LARGE, lambda good: _sale(good, reason=f'"{"x" * EVENT_BYTES_MAX}"')),
    (Reason.EMPTY, lambda good: b""),
)
"""Every way to spoil a message that its own bytes give away, and the reason it is refused for.

An id used again with another body takes an earlier message, so the company does that itself.
"""
