"""All dashboards, and the panels of which there are pictures."""

from __future__ import annotations

from grafana.board import Board, Panel
from grafana.business import FRAUD, PAYOUTS, SALES
from grafana.machinery import HEALTH, RAILS, STREAMS

BOARDS: tuple[Board, ...] = (PAYOUTS, SALES, FRAUD, STREAMS, RAILS, HEALTH)

PICTURED: tuple[Panel, ...] = tuple(
    next(panel for panel in board.panels if panel.title == title)
    for board, title in (
        (PAYOUTS, "Payouts by state"),
        (PAYOUTS, "Settled by rail"),
        (PAYOUTS, "From sale to command"),
        (SALES, "Booked an hour"),
        (FRAUD, "Decisions by tier"),
        (FRAUD, "Scores by bin"),
        (STREAMS, "Messages by topic"),
        (STREAMS, "Stages of a batch, p95"),
        (RAILS, "Submissions by answer"),
        (RAILS, "Submission, p95"),
        (HEALTH, "House accounts"),
        (HEALTH, "Memory of Redis"),
    )
)
"""Panels of which docs/ has pictures."""
