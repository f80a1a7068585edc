"""The till, for a program that waits for the answer: book one operation, and tell what came of it.

A repeat under the same id and body is not booked again: it gets the authorisation as it stands now,
or, where it was refused, the same refusal.
"""

from __future__ import annotations

from typing import NamedTuple

from models.events import body_hash
from models.till import Authorised
from streams.wallets.store import Operation
from streams.wallets.wallets import Wallets


class Answer(NamedTuple):
    """What came of an operation of :mod:`models.till`."""

    outcome: str
    """``booked``, ``repeat`` (the same id and body) or ``refused:<reason>``."""
    authorised: Authorised | None
    """The authorisation behind it; None where it was refused."""


async def book(wallets: Wallets, operation: Operation, body: bytes) -> Answer:
    """Book one operation of a purchase. ``body``: the bytes that ask for it, to tell a repeat by.

    Returns when it counts for ever. Raises what :meth:`Wallets.post` raises.
    """
    asked = {**operation, "hash": body_hash(body)}
    [outcome] = await wallets.post([asked])
    word, _, first = outcome.partition(":")
    refusal = first if word == "repeat" else outcome
    if refusal.startswith("refused:"):
        return Answer(refusal, None)
    return Answer(word, await wallets.authorised(operation["seller"], operation["authorisation"]))
