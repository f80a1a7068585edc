"""Packing: what is known of a seller, a card, an account and so on as text, and back.

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

Team = tuple[int, int, float, float]
"""Of an upline's team: format, last second; sold, returned."""

Account = tuple[int, int, int, int, int, int, int, int, int]
"""Of an account: format, then the sellers, 0 for an empty place."""

SELLERS_MAX = 8
"""Sellers that are kept of an account, the latest ones."""

SELLER = Struct("<BIHH8f" + CONDUCT_FORMAT)
CARD = Struct("<BI4f5H" + SPENDING_FORMAT + "xx")
BOUGHT = Struct("<BI4f5H" + BUYING_FORMAT + "x")
LABELS = Struct("<Iff3IHx")
ACCOUNT = Struct(f"<B{SELLERS_MAX}I")
TEAM = Struct("<BIffxx")

if any(each.size % 3 for each in (SELLER, CARD, BOUGHT, LABELS, ACCOUNT, TEAM)):
    raise RuntimeError("a state would need padding")

_pack_seller, _unpack_seller = SELLER.pack, SELLER.unpack
_pack_card, _unpack_card = CARD.pack, CARD.unpack
_pack_bought, _unpack_bought = BOUGHT.pack, BOUGHT.unpack
_pack_labels, _unpack_labels = LABELS.pack, LABELS.unpack
_pack_account, _unpack_account = ACCOUNT.pack, ACCOUNT.unpack
_pack_team, _unpack_team = TEAM.pack, TEAM.unpack


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


def bought_text(use: Use, bought: Buying) -> str:
    """A device or a customer and what was bought as text."""
    return b2a_base64(_pack_bought(*use, *bought), newline=False).decode()


def read_bought(text: str) -> tuple[Use, Buying]:
    """A device or a customer and what was bought."""
    state = _unpack_bought(a2b_base64(text))
    return state[:11], state[11:]


def labels_text(labels: Labels) -> str:
    """What labels told of a card or a device, as text."""
    return b2a_base64(_pack_labels(*labels), newline=False).decode()


def read_labels(text: str) -> Labels:
    """What labels told of a card or a device."""
    return _unpack_labels(a2b_base64(text))


def account_text(account: Account) -> str:
    """An account as text."""
    return b2a_base64(_pack_account(*account), newline=False).decode()


def read_account(text: str) -> Account:
    """An account."""
    return _unpack_account(a2b_base64(text))


def team_text(team: Team) -> str:
    """A team as text."""
    return b2a_base64(_pack_team(*team), newline=False).decode()


def read_team(text: str) -> Team:
    """A team."""
    return _unpack_team(a2b_base64(text))
