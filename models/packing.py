"""Packing: what is known of a seller, a card, a device or a customer as text, and back.

A state is a packed struct in base64, so it is as long whatever the history. Reading one does not
tell whether it is sound: who reads it looks.

Compiled modules (:mod:`models.compiled`) do not call this one, but ``packing.pxd``, which does the
same in C to a state that looks as if it was written here, and leaves every other to this module.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from struct import Struct
from struct import error as StructError

from models.buying import BUYING_FORMAT, Buying
from models.conduct import CONDUCT_FORMAT, Conduct
from models.spending import SPENDING_FORMAT, Spending

UNREADABLE = (ValueError, StructError)
"""What reading raises on a text that was cut, or never was a state."""

Selling = tuple[int, int, int, int, float, float, float, float, float, float, float, float]
"""Of a seller: format, last second, first day, sales, then the figures."""

Use = tuple[int, int, float, float, float, float, int, int, int, int, int]
"""Of a card, a device or a customer: format, last second, the figures, who or what was on it last,
and four sellers. Of a card that is a customer, of a customer a card."""

Labels = tuple[int, float, float, int, int, int, int]
"""What labels told: last second; frauds, genuine; last genuine, run's first, last fraud; run."""

SELLER = Struct("<BIHH8f" + CONDUCT_FORMAT)
CARD = Struct("<BI4f5H" + SPENDING_FORMAT + "xx")
DEVICE = Struct("<BI4f5Hxx")
CUSTOMER = Struct("<BI4f5H" + BUYING_FORMAT + "x")
LABELS = Struct("<Iff3IHx")

if any(each.size % 3 for each in (SELLER, CARD, DEVICE, CUSTOMER, LABELS)):
    raise RuntimeError("a state would need padding")

_pack_seller, _unpack_seller = SELLER.pack, SELLER.unpack
_pack_card, _unpack_card = CARD.pack, CARD.unpack
_pack_device, _unpack_device = DEVICE.pack, DEVICE.unpack
_pack_customer, _unpack_customer = CUSTOMER.pack, CUSTOMER.unpack
_pack_labels, _unpack_labels = LABELS.pack, LABELS.unpack


def seller_text(selling: Selling, ways: Conduct) -> str:
    """A seller and her conduct as text."""
    return b2a_base64(_pack_seller(*selling, *ways), newline=False).decode()


def read_seller(text: str) -> tuple[Selling, Conduct]:
    """A seller and her conduct. Raises :data:`UNREADABLE`, as all that read do."""
    state = _unpack_seller(a2b_base64(text))
    return state[:12], state[12:]


def card_text(use: Use, spent: Spending) -> str:
    """A card and its spending as text."""
    return b2a_base64(_pack_card(*use, *spent), newline=False).decode()


def read_card(text: str) -> tuple[Use, Spending]:
    """A card and its spending."""
    state = _unpack_card(a2b_base64(text))
    return state[:11], state[11:]


def device_text(use: Use) -> str:
    """A device as text."""
    return b2a_base64(_pack_device(*use), newline=False).decode()


def read_device(text: str) -> Use:
    """A device."""
    return _unpack_device(a2b_base64(text))


def customer_text(use: Use, bought: Buying) -> str:
    """A customer and what was bought as text."""
    return b2a_base64(_pack_customer(*use, *bought), newline=False).decode()


def read_customer(text: str) -> tuple[Use, Buying]:
    """A customer and what was bought."""
    state = _unpack_customer(a2b_base64(text))
    return state[:11], state[11:]


def labels_text(labels: Labels) -> str:
    """What labels told of a card or a device, as text."""
    return b2a_base64(_pack_labels(*labels), newline=False).decode()


def read_labels(text: str) -> Labels:
    """What labels told of a card or a device."""
    return _unpack_labels(a2b_base64(text))
