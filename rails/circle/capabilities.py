"""What Circle Mint carries: US dollars as USDC, to addresses of blockchains."""

from __future__ import annotations

from types import MappingProxyType

from rails.rail import Capabilities

GUARD_DAYS = 2
"""Circle promises that a request under one idempotency key executes once, and says nothing of how
long it keeps the key. Days are our own, careful choice; past them a person looks."""

CIRCLE = Capabilities(
    kind="crypto",
    currencies=frozenset({"USD"}),
    destinations=frozenset({"crypto"}),
    # General knowledge: comprehensive US sanctions, which bind Circle.
    countries_excluded=frozenset({"CU", "IR", "KP", "SY"}),
    # Our own bound: what is on a chain does not come back. Circle's document names none.
    amount_minor_max=MappingProxyType({"USD": 100_000_000}),
    # General knowledge: seconds on most chains, minutes on Ethereum with its confirmations.
    settle_seconds_typical=60,
    can_report_by_webhook=True,
    enquires_by_ref_only=True,
    reports_by_ref_only=True,
    guard_days=GUARD_DAYS,
)
