"""The formats of statements, and which one a file is in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from rails.adyen.statement import read_adyen
from rails.paypal.statement import read_paypal
from rails.sandbox.statement import read_sandbox
from rails.statement import Line, Statement, StatementUnusable

HEAD_BYTES = 4096
"""What of a file is looked at to tell its format."""


def _camt(source: BinaryIO) -> Statement:
    # The message classes take a quarter of a second, which only a bank's statement is to wait for.
    from rails.camt import read_camt  # noqa: PLC0415

    return read_camt(source)


FORMATS: Mapping[str, Callable[[BinaryIO], Statement]] = MappingProxyType(
    {
        "camt": _camt,
        "paypal": read_paypal,
        "adyen": read_adyen,
        "sandbox": read_sandbox,
    }
)
"""Readers by the name of their format."""

_MARKS: tuple[tuple[bytes, str], ...] = (
    (b"Transfer Id", "adyen"),
    (b"attempt_id", "sandbox"),
)


def format_of(head: bytes) -> str:
    """The format that a file begins like. Raises StatementUnusable if it is none that is read."""
    begins = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if begins.startswith((b"PK", b"\x1f\x8b")):
        raise StatementUnusable("a packed file; unpack it first")
    if begins.startswith(b"<"):
        return "camt"
    if begins.replace(b'"', b"").startswith((b"RH,", b"FH,", b"SH,")):
        return "paypal"
    line = begins.partition(b"\n")[0]
    found = next((name for mark, name in _MARKS if mark in line), None)
    if found is None:
        raise StatementUnusable(
            f"no statement that is known; say which of {', '.join(FORMATS)} it is with --format"
        )
    return found


def read_statement(path: Path, name: str | None = None) -> Statement:
    """The statement in a file, in the format of a name or that it begins like.

    Raises StatementUnusable, with the file's name in front, and OSError.
    """
    try:
        with path.open("rb") as source:
            head = source.read(HEAD_BYTES)
            source.seek(0)
            if not head.strip():
                raise StatementUnusable("the file is empty")
            return FORMATS[name or format_of(head)](source)
    except StatementUnusable as error:
        raise StatementUnusable(f"{path.name}: {error}") from error


def merged(statements: Sequence[tuple[str, Statement]]) -> Statement:
    """Several statements of one account as one; the names of their files go with the lines.

    A movement that two files show, by its reference at the provider, is taken once. Files without a
    period leave the whole without one.
    """
    if len(statements) == 1:
        return statements[0][1]
    since = [each.since_ms for _, each in statements]
    until = [each.until_ms for _, each in statements]
    return Statement(
        tuple(_once(statements)),
        sum(each.others for _, each in statements),
        None if None in since else min(ms for ms in since if ms is not None),
        None if None in until else max(ms for ms in until if ms is not None),
    )


def _once(statements: Sequence[tuple[str, Statement]]) -> Iterator[Line]:
    before: set[tuple[object, ...]] = set()
    for name, statement in statements:
        here: set[tuple[object, ...]] = set()
        for line in statement.lines:
            mark = (line.references[:1], line.kind, line.payout_id, line.at_ms, line.amount_minor)
            if not line.references or mark not in before:
                yield replace(line, place=f"{name} {line.place}")
            here.add(mark)
        # Within one file the same line twice is no overlap, and is left for a person to see.
        before |= here
