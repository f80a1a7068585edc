"""The rail's own books: what a sandbox executed, to hold against the ledger."""

from __future__ import annotations

from typing import NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from pydantic_core import from_json

BOOKS_TIMEOUT_S = 30.0

_PROVIDER_HOST = "paypal.com"


class Execution(NamedTuple):
    """A payout in the rail's own books. ``paid_times``: executions that ever paid."""

    rail: str
    currency: str
    amount_minor: int
    paid_minor: int
    paid_times: int


class BooksAbsent(Exception):
    """The rail keeps no books that anyone could read."""


def read_books(base_url: str) -> dict[str, Execution]:
    """The rail's own books, if it is a sandbox that shows them.

    Raises :class:`BooksAbsent` for a real provider, OSError if nobody answers.
    """
    host = urlsplit(base_url).hostname or ""
    if host == _PROVIDER_HOST or host.endswith("." + _PROVIDER_HOST):
        raise BooksAbsent("the rail is the provider's own")
    url = base_url.rstrip("/") + "/sandbox/books?format=lines"
    books: dict[str, Execution] = {}
    # No proxy from the environment: the rail itself takes none either.
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(Request(url), timeout=BOOKS_TIMEOUT_S) as answer:  # noqa: S310 - http(s), by RailSettings
            rows = [from_json(line) for line in answer if line.strip()]
    except HTTPError as error:
        if error.code == 404:
            raise BooksAbsent("the rail shows none") from None
        raise
    for row in rows:
        books[row["payout_id"]] = Execution(
            row["rail"], row["currency"], row["amount_minor"], row["paid_minor"], row["paid_times"]
        )
    return books
