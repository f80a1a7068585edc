"""Where commands write: results to stdout, progress and remarks to stderr."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console


PIPE_COLUMNS = 160
"""Columns that a result may take where there is no terminal."""


@cache
def console() -> Console:
    """The console for results. Text is taken literally unless a call asks for markup."""
    from rich.console import Console

    # Into a file or a pipe nothing is cut for want of columns.
    width = None if sys.stdout.isatty() else PIPE_COLUMNS
    return Console(markup=False, highlight=False, soft_wrap=True, width=width)


@cache
def remarks() -> Console:
    """The console for progress and remarks, on stderr."""
    from rich.console import Console

    return Console(stderr=True, markup=False, highlight=False, soft_wrap=True)


def print_page(text: str, to: Path | None) -> None:
    """A page as it is, to stdout or into a file. Raises BadUse if the file cannot be written."""
    from streams.cli.errors import BadUse

    if to is None:
        sys.stdout.write(text)
        return
    try:
        to.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadUse(f"{to}: cannot be written: {error.strerror}") from error
