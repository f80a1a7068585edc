"""A sheet as a PDF: A4 across, the table's head and the page's number on every page.

Drawn with reportlab, which the extra ``statements`` installs: without it this module cannot be
imported. Without a font file the text is in
Helvetica, which every reader has and which knows the letters of Western Europe.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from reportlab.pdfbase.pdfmetrics import registerFont, stringWidth
from reportlab.pdfbase.ttfonts import TTFError, TTFont
from reportlab.pdfgen.canvas import Canvas

from streams.statements.sheet import Cell, Column, Row, Sheet, Table

WIDTH, HEIGHT = 842, 595
"""A4 across, in points."""
MARGIN = 42
FOOT = 54
"""Where the rows end, in points from the lower edge."""

SIZE, SMALL, TITLE = 8, 6, 16
LEADING, LEADING_SMALL = 10, 8
PADDING = 3
GAP = 8
"""Between the texts of neighbouring columns."""

INK, GREY, RULE, SHADE = (0.1, 0.12, 0.16), (0.42, 0.45, 0.5), (0.8, 0.82, 0.85), (0.95, 0.96, 0.97)

_BUILT_IN = "cp1252"
"""What Helvetica knows of Unicode."""


class FontUnusable(Exception):
    """A font file that cannot be used; one line."""


class Face(NamedTuple):
    """The fonts to draw with."""

    regular: str
    strong: str
    built_in: bool


Ink = tuple[float, float, float]
Op = Callable[[Any], None]
Fitted = list[tuple[list[str], list[str]]]
"""Of each cell of a row its lines, and the smaller ones below them."""


@dataclass(frozen=True, slots=True)
class Words:
    """A line of text in its place: where it begins, or ends if it is set to the right."""

    x: int
    y: int
    text: str
    font: str
    size: int
    ink: Ink
    right: bool

    def __call__(self, canvas: Any) -> None:
        """Draw it."""
        canvas.setFont(self.font, self.size)
        canvas.setFillColorRGB(*self.ink)
        draw = canvas.drawRightString if self.right else canvas.drawString
        draw(self.x, self.y, self.text)


def draw(sheet: Sheet, *, font: Path | None = None) -> bytes:
    """The PDF. The same sheet gives the same bytes. Raises FontUnusable."""
    layout = _Layout(_face(font))
    layout.head(sheet)
    for table in sheet.tables:
        layout.table(table)
    if not sheet.tables:
        layout.note("Nothing moved, and nothing was there.")
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(WIDTH, HEIGHT), invariant=1, pageCompression=1)
    canvas.setTitle(f"{sheet.title}, {sheet.foot}")
    canvas.setProducer("payout-streams")
    layout.feet(sheet.foot)
    for page in layout.pages:
        for op in page:
            op(canvas)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def _face(font: Path | None) -> Face:
    if font is None:
        return Face("Helvetica", "Helvetica-Bold", True)

    name = f"file-{font.stem}"
    try:
        registerFont(TTFont(name, str(font)))
    except (TTFError, OSError, ValueError) as error:
        raise FontUnusable(f"{font} cannot be used as a TrueType font: {error}") from error
    return Face(name, name, False)


def lacking(text: str) -> str:
    """The letters of a text that the built-in font has not; it shows ``?`` in their places."""
    return "".join(sorted({letter for letter in text if _shown(letter, True) != letter}))


def _shown(text: str, built_in: bool) -> str:
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text.encode(_BUILT_IN, "replace").decode(_BUILT_IN) if built_in else text


class _Layout:
    """Puts things below one another, and on the next page what no longer fits."""

    def __init__(self, face: Face) -> None:
        self._face = face
        self.pages: list[list[Op]] = [[]]
        self._y = HEIGHT - MARGIN

    def head(self, sheet: Sheet) -> None:
        """The title and the facts."""
        self._y -= TITLE
        self._put(MARGIN, self._y, sheet.title, TITLE, strong=True)
        self._y -= 12
        for name, value in sheet.facts:
            self._y -= LEADING + 2
            self._put(MARGIN, self._y, name, SIZE, ink=GREY)
            self._put(MARGIN + 60, self._y, value, SIZE)
        self._y -= LEADING

    def note(self, text: str) -> None:
        """A line of text."""
        self._y -= 2 * LEADING
        self._put(MARGIN, self._y, text, SIZE)

    def table(self, table: Table) -> None:
        """A table, its head again on every page that it takes."""
        rows = [(row, self._fitted(row, table.columns)) for row in table.rows]
        heights = [_height(fitted) for _, fitted in rows]
        if self._y - (44 + heights[0]) < FOOT:
            self._turn()
        self._y -= 28
        self._put(MARGIN, self._y, table.heading, SIZE + 3, strong=True)
        self._y -= 6
        self._titles(table.columns)
        for (row, fitted), height in zip(rows, heights, strict=True):
            if self._y - height < FOOT:
                self._turn()
                self._y -= SIZE
                self._put(MARGIN, self._y, f"{table.heading}, continued", SIZE, ink=GREY)
                self._y -= 6
                self._titles(table.columns)
            self._row(row, fitted, table.columns, height)

    def feet(self, left: str) -> None:
        """What stands at the end of every page."""
        font = self._face.regular
        for number, page in enumerate(self.pages, 1):
            right = f"Page {number} of {len(self.pages)}"
            page.append(Words(MARGIN, 30, self._shown(left), font, SMALL + 1, GREY, False))
            page.append(Words(WIDTH - MARGIN, 30, right, font, SMALL + 1, GREY, True))

    def _turn(self) -> None:
        self.pages.append([])
        self._y = HEIGHT - MARGIN

    def _titles(self, columns: tuple[Column, ...]) -> None:
        height = LEADING + 2 * PADDING
        self._y -= height
        self.pages[-1].append(partial(_shade, y=self._y, height=height))
        for column, x, width in _places(columns):
            at = x + width if column.right else x
            self._put(at, self._y + 5, column.title, SIZE - 1, strong=True, right=column.right)

    def _row(self, row: Row, fitted: Fitted, columns: tuple[Column, ...], height: int) -> None:
        top = self._y - PADDING
        for (lines, below), (column, x, width) in zip(fitted, _places(columns), strict=True):
            at, y = x + width if column.right else x, top
            for line in lines:
                y -= LEADING
                self._put(at, y + 2, line, SIZE, strong=row.strong, right=column.right)
            for line in below:
                y -= LEADING_SMALL
                self._put(at, y + 2, line, SMALL, ink=GREY, right=column.right)
        self._y -= height
        self.pages[-1].append(partial(_rule, y=self._y))

    def _put(
        self,
        x: int,
        y: int,
        text: str,
        size: int,
        *,
        strong: bool = False,
        right: bool = False,
        ink: Ink = INK,
    ) -> None:
        font = self._face.strong if strong else self._face.regular
        shown = self._shown(text)
        if shown:
            self.pages[-1].append(Words(x, y, shown, font, size, ink, right))

    def _shown(self, text: str) -> str:
        return _shown(text, self._face.built_in)

    def _fitted(self, row: Row, columns: tuple[Column, ...]) -> Fitted:
        font = self._face.strong if row.strong else self._face.regular
        cells = zip(row.cells, _places(columns), strict=True)
        return [self._cell(cell, font, width) for cell, (_, _, width) in cells]

    def _cell(self, cell: Cell, font: str, width: int) -> tuple[list[str], list[str]]:
        below = _wrapped(self._shown(cell.below), self._face.regular, SMALL, width)
        return _wrapped(self._shown(cell.text), font, SIZE, width), below


def _height(fitted: Fitted) -> int:
    return 2 * PADDING + max(
        LEADING * len(lines) + LEADING_SMALL * len(below) for lines, below in fitted
    )


def _places(columns: tuple[Column, ...]) -> list[tuple[Column, int, int]]:
    """Each column with where its text begins and how wide it may be."""
    places, x = [], MARGIN
    for column in columns:
        width = (WIDTH - 2 * MARGIN) * column.share // 1000
        places.append((column, x + GAP // 2, width - GAP))
        x += width
    return places


def _wrapped(text: str, font: str, size: int, width: int) -> list[str]:
    """The text in lines that fit; a word that is too long is broken."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if stringWidth(longer, font, size) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        line = ""
        for letter in word:
            if line and stringWidth(line + letter, font, size) > width:
                lines.append(line)
                line = ""
            line += letter
    return [*lines, line] if line else lines


def _shade(canvas: Any, y: int, height: int) -> None:
    canvas.setFillColorRGB(*SHADE)
    canvas.rect(MARGIN, y, WIDTH - 2 * MARGIN, height, stroke=0, fill=1)


def _rule(canvas: Any, y: int) -> None:
    canvas.setStrokeColorRGB(*RULE)
    canvas.setLineWidth(0.4)
    canvas.line(MARGIN, y, WIDTH - MARGIN, y)
