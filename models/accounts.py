"""Accounts: which sellers are paid to one and the same bank account, wallet or card.

Made-up sellers sell on many tills and cards, and are paid to one account. Who an account is paid
for is kept under a fingerprint of it (:mod:`rails.fingerprint`), as the last sellers who sold
something and name it, as 32-bit marks: a text of 44 characters, whatever the history. Like what is
known of cards and devices it is advice: a text that cannot be read counts as absent.
"""

from __future__ import annotations

from models import marks, packing
from models.packing import UNREADABLE, Account

_FORMAT = 1
_NOBODY: Account = (_FORMAT, 0, 0, 0, 0, 0, 0, 0, 0)


def account_key(fingerprint: str) -> str:
    """The key of an account's state."""
    return "b:" + fingerprint


def paid_to(text: str | None, seller_id: str) -> tuple[int, str]:
    """How many other sellers are paid to an account, before a sale of one, and the state after.

    ``text`` is the state before. The number is from 0 to :data:`models.packing.SELLERS_MAX`.
    """
    seller = marks.mark32(seller_id)
    _, a, b, c, d, e, f, g, h = _NOBODY if text is None else _state(text)
    # The latest first: those before her place move on by one, and without a place the last leaves.
    if seller == b:
        a, b = b, a
    elif seller == c:
        a, b, c = c, a, b
    elif seller == d:
        a, b, c, d = d, a, b, c
    elif seller == e:
        a, b, c, d, e = e, a, b, c, d
    elif seller == f:
        a, b, c, d, e, f = f, a, b, c, d, e
    elif seller == g:
        a, b, c, d, e, f, g = g, a, b, c, d, e, f
    others = (b > 0) + (c > 0) + (d > 0) + (e > 0) + (f > 0) + (g > 0) + (h > 0)
    if seller == h:
        a, b, c, d, e, f, g, h = h, a, b, c, d, e, f, g
    elif seller != a:
        others += a > 0
        a, b, c, d, e, f, g, h = seller, a, b, c, d, e, f, g
    return others, packing.account_text((_FORMAT, a, b, c, d, e, f, g, h))


def _state(text: str) -> Account:
    try:
        state = packing.read_account(text)
    except UNREADABLE:
        return _NOBODY
    return state if state[0] == _FORMAT else _NOBODY
