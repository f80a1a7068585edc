"""Where commands write: results to stdout, progress and remarks to stderr."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@cache
def console() -> Console:
    """The console for results. Text is taken literally unless a call asks for markup."""
    from rich.console import Console

    return Console(markup=False, highlight=False, soft_wrap=True)


@cache
def remarks() -> Console:
    """The console for progress and remarks, on stderr."""
    from rich.console import Console

    return Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
