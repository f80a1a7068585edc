"""What the template's provider carries."""

from __future__ import annotations

from types import MappingProxyType

from rails.rail import Capabilities

TEMPLATE = Capabilities(
    kind="wallet",
    currencies=frozenset({"EUR", "USD"}),
    destinations=frozenset({"email"}),
    amount_minor_max=MappingProxyType({"EUR": 1_000_000, "USD": 1_000_000}),
    settle_seconds_typical=60,
    can_report_by_webhook=True,
    enquires_by_ref_only=True,
    guard_days=30,
)
