"""Accounts: which sellers are paid to one and the same bank account, wallet or card.

Made-up sellers sell on many tills and cards, and are paid to one account. Who an account is paid
for is kept under a fingerprint of it (:mod:`rails.fingerprint`), as the last sellers who sold
something and name it, as 32-bit marks: a text of 44 characters, whatever the history. Like what is
known of cards and devices it is advice: a text that cannot be read counts as absent.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Mapping
from functools import lru_cache
from struct import Struct
from struct import error as StructError
from zlib import crc32

SELLERS_MAX = 8
"""Sellers that are kept of an account, the latest ones."""

_FORMAT = 1
_STATE = Struct(f"<B{SELLERS_MAX}I")  # format; marks, the latest first, 0 for an empty place


def account_key(fingerprint: str) -> str:
    """The key of an account's state."""
    return "b:" + fingerprint


def paid_to(
    states: Mapping[str, str | None], accounts: Iterable[str], seller_id: str
) -> tuple[int, dict[str, str]]:
    """How many other sellers are paid to one of a seller's accounts, and the states after her sale.

    ``accounts`` are the keys of the states. The number is that of the account with most, from 0 to
    :data:`SELLERS_MAX`.
    """
    mark = _mark(seller_id)
    most = 0
    updates = {}
    for key in accounts:
        others = [each for each in _marks(states.get(key)) if each != mark]
        most = max(most, len(others))
        kept = (mark, *others)[:SELLERS_MAX]
        packed = _STATE.pack(_FORMAT, *kept, *(0,) * (SELLERS_MAX - len(kept)))
        updates[key] = b2a_base64(packed, newline=False).decode()
    return most, updates


def _marks(text: str | None) -> list[int]:
    if text is None:
        return []
    try:
        form, *marks = _STATE.unpack(a2b_base64(text))
    except (ValueError, StructError):
        return []
    return [mark for mark in dict.fromkeys(marks) if mark] if form == _FORMAT else []


@lru_cache(maxsize=65_536)
def _mark(seller_id: str) -> int:
    return crc32(seller_id.encode()) or 1
