"""Pieces of PromQL that the dashboards are made of. ``where``: more of the selection."""

from __future__ import annotations

RATE = "[$__rate_interval]"


def rate(metric: str, by: str, where: str = "") -> str:
    """How fast a counter rises, a second."""
    return f"sum by ({by}) (rate({metric}{{$where{where}}}{RATE}))"


def hourly(metric: str, by: str, where: str = "") -> str:
    """The same, an hour."""
    return f"3600 * {rate(metric, by, where)}"


def total(metric: str, by: str, where: str = "") -> str:
    """A gauge, summed over processes."""
    return f"sum by ({by}) ({metric}{{$where{where}}})"


def most(metric: str, by: str, where: str = "") -> str:
    """A gauge, where it is highest."""
    return f"max by ({by}) ({metric}{{$where{where}}})"


def or_zero(query: str) -> str:
    """0 where there is no series."""
    return f"{query} or vector(0)"


MINOR = "In minor units of the currency."
