"""A statement as a PDF: its words, its pages, and letters that the font has not."""

from __future__ import annotations

import base64
import re
import zlib
from pathlib import Path

import pytest

from models.ledger import Posting
from models.movements import Movement
from models.statement import Period, Statement
from streams.statements.pdf import FontUnusable, draw, lacking
from streams.statements.sheet import seller_sheet

_ESCAPED = re.compile(rb"\\(?:([0-7]{3})|(.))")


def _plain(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 8)]) if found[1] else found[2]


MADE_MS = 1_800_000_000_000


def pages(pdf: bytes) -> list[str]:
    """The text of each page, a line for each piece."""
    found = []
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL):
        drawn = zlib.decompress(base64.a85decode(stream.strip().removesuffix(b"~>")))
        pieces = re.findall(rb"\(((?:[^()\\]|\\.)*)\) Tj", drawn)
        found.append("\n".join(_ESCAPED.sub(_plain, piece).decode("cp1252") for piece in pieces))
    return found


def movements(count: int) -> list[Movement]:
    return [
        Movement(
            shard=3, seq=number, at_ms=MADE_MS, kind="sale.completed",
            words="Share of a sale of 50.00 EUR", reference="x" * 64, payout_id=None, rail=None,
            postings=(Posting("available", "EUR", 1_250, 1_250 * number),),
        )
        for number in range(1, count + 1)
    ]  # fmt: skip


def drawn(count: int, holder: str = "", font: Path | None = None) -> bytes:
    statement = Statement("anna", Period("2026-10", 0, 1, "UTC"), {}, movements(count))
    if count:
        statement.closing = {"EUR": {"available": 1_250 * count}}
    return draw(seller_sheet(statement, holder=holder, made_ms=MADE_MS), font=font)


def test_every_page_has_its_number_and_the_head_of_the_table() -> None:
    found = pages(drawn(100))
    assert len(found) > 5
    for number, page in enumerate(found, 1):
        assert f"Page {number} of {len(found)}" in page
        assert "Available" in page
    assert "Opening balance" in found[0]
    assert "1,250.00" in found[-1]
    assert sum(page.count("+12.50") for page in found) == 100


def test_the_same_statement_gives_the_same_bytes() -> None:
    assert drawn(3) == drawn(3)


def test_nothing_moved() -> None:
    [page] = pages(drawn(0))
    assert "Nothing moved, and nothing was there." in page


@pytest.mark.parametrize("holder", ["Zoë Müller", "Анна", "王小明", "آنا", "a\nb\x00c", "x" * 500])
def test_a_name_in_any_letters(holder: str) -> None:
    [page] = pages(drawn(1, holder))
    if not lacking(holder):
        assert holder in page
    else:
        assert "?" in page or "a b c" in page


def test_what_the_built_in_font_lacks_is_named() -> None:
    assert (lacking("Zoë €"), lacking("Анна")) == ("", "Аан")


def test_a_file_that_is_no_font(tmp_path: Path) -> None:
    file = tmp_path / "x.ttf"
    file.write_bytes(b"no font")
    for path in (file, tmp_path / "absent.ttf"):
        with pytest.raises(FontUnusable, match="cannot be used as a TrueType font"):
            drawn(1, font=path)
