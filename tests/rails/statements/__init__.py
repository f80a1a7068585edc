"""Statements in the providers' formats, made by hand from their documentation."""

from pathlib import Path

HERE = Path(__file__).parent


def text(name: str) -> str:
    """A statement's text."""
    return (HERE / name).read_text(encoding="utf-8")
