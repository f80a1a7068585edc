"""Marks: numbers that states keep in place of the names of sellers, customers and cards.

A mark is the name's CRC-32 (ISO 3309, as in gzip), or what is left of it in 16 bits. Two names may
share one, so what marks tell is advice. 0 is nobody's.

Compiled modules (:mod:`models.compiled`) do not call this one, but ``marks.pxd``, which does the
same in C.
"""

from __future__ import annotations

from functools import lru_cache
from zlib import crc32

MARK16_MAX = 65_535
"""The largest mark of 16 bits."""

_KEPT = 65_536  # names whose marks are kept at hand


@lru_cache(maxsize=_KEPT)
def mark16(name: str) -> int:
    """A mark from 1 to :data:`MARK16_MAX`."""
    return crc32(name.encode()) % MARK16_MAX + 1


@lru_cache(maxsize=_KEPT)
def mark32(name: str) -> int:
    """A mark from 1 to 2^32 - 1."""
    return crc32(name.encode()) or 1
