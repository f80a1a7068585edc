"""Verdicts: what somebody says of a sale days after it, and of which card and device that tells.

Pure. What a label needs of its sale by then, and nothing else knows any more, is the sale's
*subject*: card, device, and whether the amount was high for the card, as one short text.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum


class Verdict(StrEnum):
    """What is known of a sale."""

    CHARGEBACK = "chargeback"  # the customer's bank took the money back
    CONFIRMED = "confirmed"  # somebody looked, and it is a fraud
    CLEARED = "cleared"  # somebody looked, and it is genuine

    @property
    def fraud(self) -> bool:
        """Whether the sale was a fraud."""
        return self is not Verdict.CLEARED


def subject(card: str | None, device: str | None, *, high: bool) -> str | None:
    """The subject of a sale; None if it names neither card nor device.

    Card and device are references of decoded events: there is no slash in them.
    """
    if card is None and device is None:
        return None
    return f"{card or ''}/{device or ''}" + "/h" * high


def taught(of: str, *, fraud: bool) -> Iterator[str]:
    """The keys of the states that a label of a sale with this subject changes.

    A fraud of an amount that is high for its card speaks against the card and not against the
    device: that card was stolen elsewhere. Any other label speaks of both.
    """
    card, device, *high = of.split("/")
    if card:
        yield "li:" + card
    if device and not (fraud and card and high):
        yield "ld:" + device
