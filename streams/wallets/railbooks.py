"""The rails' own books: what sandboxes executed, to hold against the ledger."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from pydantic_core import from_json

from rails.rail import attempt_id_for
from rails.registry import PROVIDERS
from rails.sandbox.server import PROVIDERS as SANDBOXES
from rails.settings import HttpSettings, RailSettings

BOOKS_TIMEOUT_S = 30.0


class Execution(NamedTuple):
    """A payout in the rails' own books. ``paid_times``: executions that ever paid.

    ``rail``: the one over which it stands paid, else the last that executed it.
    """

    rail: str
    currency: str
    amount_minor: int
    paid_minor: int
    paid_times: int

    def joined(self, later: Execution) -> Execution:
        """This and what was executed later under the same payout, as one."""
        told = self if self.paid_minor and not later.paid_minor else later
        return told._replace(
            paid_minor=self.paid_minor + later.paid_minor,
            paid_times=self.paid_times + later.paid_times,
        )


@dataclass(slots=True)
class Told:
    """What providers were told in place of attempts' ids, as the journal has the attempts."""

    payouts: dict[str, str] = field(default_factory=dict)
    """Payouts by the keys that stand for their attempts."""
    attempts: Counter[str] = field(default_factory=Counter)
    """How many attempts there were before a payout's last; none of most."""

    def note(self, payout_id: str, rail: str, *, again: bool) -> None:
        """A payout is reserved for a rail; ``again``: anew, for its next attempt."""
        if again:
            self.attempts[payout_id] += 1
        told_as = PROVIDERS[rail].told_as if rail in PROVIDERS else None
        if told_as is not None:
            key = told_as(attempt_id_for(payout_id, self.attempts[payout_id]))
            self.payouts[key] = payout_id


class BooksAbsent(Exception):
    """The rail keeps no books that anyone could read; why."""


@dataclass(slots=True)
class Books:
    """What could be read of the books of an installation's rails."""

    rows: list[tuple[str, Execution]] = field(default_factory=list)
    """Executions with the id that the provider was told: of a payout, or instead of one."""
    read: list[str] = field(default_factory=list)
    """Rails whose books these are."""
    absent: dict[str, str] = field(default_factory=dict)
    """Why a rail has no books that anyone could read, by its name."""
    failed: list[str] = field(default_factory=list)
    """Books that are there and cannot be read, and why."""

    def by_payout(self, told: Mapping[str, str]) -> dict[str, Execution]:
        """The executions by payout, all rails together; ``told``: payouts by the ids that stand
        for them at a provider which is told none of ours."""
        return joined((told.get(name, name), row) for name, row in self.rows)


def joined(rows: Iterable[tuple[str, Execution]]) -> dict[str, Execution]:
    """Executions by payout, those of one payout as one."""
    books: dict[str, Execution] = {}
    for payout_id, row in rows:
        before = books.get(payout_id)
        books[payout_id] = row if before is None else before.joined(row)
    return books


def read_books(rails: Mapping[str, RailSettings]) -> Books:
    """The books of all rails that are sandboxes which show them, each server's once. Blocking."""
    books = Books()
    servers: dict[str, list[str]] = defaultdict(list)
    for name, settings in rails.items():
        try:
            servers[sandbox_root(name, settings)].append(name)
        except BooksAbsent as absent:
            books.absent[name] = str(absent)
    for root, names in servers.items():
        try:
            books.rows += _rows(root)
        except BooksAbsent as absent:
            books.absent |= dict.fromkeys(names, str(absent))
        except (OSError, ValueError) as error:
            books.failed.append(f"the books of {', '.join(names)} cannot be read: {error}")
        else:
            books.read += names
    return books


def sandbox_root(name: str, settings: RailSettings) -> str:
    """Where the sandbox is that a rail talks to. Raises :class:`BooksAbsent` if it is none."""
    if not isinstance(settings, HttpSettings):
        raise BooksAbsent("the rail is no server")
    host = urlsplit(settings.root).hostname or ""
    default = urlsplit(str(type(settings).model_fields["base_url"].default)).hostname or ""
    # What the provider itself offers for tests is in its own domain as well.
    domain = ".".join(default.split(".")[-2:])
    if host == domain or host.endswith("." + domain):
        raise BooksAbsent("the rail is the provider's own")
    kind = SANDBOXES.get(name)
    return settings.root.removesuffix(str(kind.rail_fields("")["base_url"]) if kind else "")


def _rows(root: str) -> list[tuple[str, Execution]]:
    """All rows of a sandbox. Raises :class:`BooksAbsent`, OSError, ValueError."""
    # No proxy from the environment: the rail itself takes none either.
    opener = build_opener(ProxyHandler({}))
    url = root + "/sandbox/books?format=lines"
    try:
        with opener.open(Request(url), timeout=BOOKS_TIMEOUT_S) as answer:  # noqa: S310 - http(s), by HttpSettings
            rows = [from_json(line) for line in answer if line.strip()]
    except HTTPError as error:
        if error.code == 404:
            raise BooksAbsent("the rail shows none") from None
        raise
    return [
        (
            row["payout_id"],
            Execution(
                row["rail"],
                row["currency"],
                row["amount_minor"],
                row["paid_minor"],
                row["paid_times"],
            ),
        )
        for row in rows
    ]
