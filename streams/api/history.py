"""History over HTTP: what moved a seller's accounts, page by page, from the journal."""

from __future__ import annotations

import asyncio
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from models.refusals import Denied
from streams.api.endpoints import SELLER, AtMs, Body, Call, Endpoint, Minor
from streams.api.keys import Scope
from streams.api.problems import Problem
from streams.statements.history import LIMIT_DEFAULT, CursorInvalid, Page, history
from streams.statements.ledger import Ledger
from streams.wallets.journal import JournalUnreadable

LIMIT_MAX = 200
"""Movements of a page."""

MESSAGES_MAX = 10_000
"""Ledger messages that are read for one page, of all sellers on the partition: a page that takes
more ends early, so that no request holds up those beside it."""

READERS_MAX = 2
"""Pages that are read at once; more would only slow down what is booked."""

CURSOR_CHARS_MAX = 80


def _plain(value: object) -> object:
    """Digits only: an integer in Python may have a sign, spaces and underscores too."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("digits only")
    return value


class PageRequest(Body):
    """Which page of a history."""

    cursor: Annotated[str, Field(max_length=CURSOR_CHARS_MAX)] | None = Field(
        None, description="of the page in front of it; without it the first"
    )
    limit: Annotated[int, BeforeValidator(_plain), Field(ge=1, le=LIMIT_MAX)] = Field(
        LIMIT_DEFAULT, description="movements of the page, at most"
    )


class Posting(BaseModel):
    """What an entry moved on one of her accounts."""

    account: str
    currency: str
    amount_minor: Minor
    after_minor: Annotated[int, Field(description="what the account was at behind it")]


class Movement(BaseModel):
    """A journal entry that moved something on her accounts."""

    entry: str = Field(description="where the journal has it: shard and number")
    at_ms: AtMs
    kind: str
    reason: str = Field(description="the kind in words")
    reference: str = Field(description="the event or request, or what the product did by itself")
    payout_id: str | None = None
    rail: str | None = None
    postings: list[Posting]


class History(BaseModel):
    """A page of a seller's movements, oldest first. Nothing for one who is not known."""

    movements: list[Movement]
    cursor: str = Field(description="of the next page; opaque, and does not expire")
    more: bool = Field(
        description="whether there may be more by now; a page with more to come may be empty"
    )


HISTORY = (
    Endpoint("history", "GET", f"{SELLER}/history", Scope.HISTORY,
             "What moved a seller's accounts, oldest first", 200, History,
             query=PageRequest, refusals=(Denied.CURSOR_INVALID,)),
)  # fmt: skip
"""What can be asked of the journal."""


class Histories:
    """Reads the journal: one method an endpoint, under its name."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._readers = 0

    async def history(self, call: Call) -> BaseModel:
        """A page of a seller's history."""
        wanted: PageRequest = call.query
        if self._readers == READERS_MAX:
            raise Problem(Denied.BUSY, "other histories are being read", retry_s=0.0)
        self._readers += 1
        reading = asyncio.ensure_future(
            asyncio.to_thread(
                history,
                self._ledger,
                call.seller_id,
                after=wanted.cursor,
                limit=wanted.limit,
                messages_max=MESSAGES_MAX,
            )
        )
        # A thread cannot be given up: it counts until it is done, also if nobody waits for it.
        reading.add_done_callback(self._read)
        try:
            return _shown(await asyncio.shield(reading))
        except CursorInvalid:
            raise Problem(Denied.CURSOR_INVALID) from None
        except JournalUnreadable as error:
            raise Problem(Denied.UNAVAILABLE, retry_s=1.0) from error

    def _read(self, done: asyncio.Future[Page]) -> None:
        self._readers -= 1
        if not done.cancelled():
            done.exception()  # who asked is told, if it is still there


def _shown(page: Page) -> History:
    movements = [
        Movement(
            entry=f"{each.shard}/{each.seq}",
            at_ms=each.at_ms,
            kind=each.kind,
            reason=each.words,
            reference=each.reference,
            payout_id=each.payout_id,
            rail=each.rail,
            postings=[
                Posting(
                    account=posting.account,
                    currency=posting.currency,
                    amount_minor=posting.minor,
                    after_minor=posting.after,
                )
                for posting in each.postings
            ],
        )
        for each in page.movements
    ]
    return History(movements=movements, cursor=page.cursor, more=page.more)
