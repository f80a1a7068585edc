"""The categories of failure by their letters, as the connectors' tables write them."""

from __future__ import annotations

from models.payouts import FailureCategory

R = FailureCategory.RETRYABLE
M = FailureCategory.METHOD
P = FailureCategory.RECIPIENT
T = FailureCategory.TREASURY
