"""What Adyen Transfers carries: to bank accounts, and to cards."""

from __future__ import annotations

from types import MappingProxyType

from rails.rail import Capabilities

GUARD_DAYS = 7
"""Adyen keeps an idempotency key for at least seven days."""

INSTANT_MINOR_MAX = MappingProxyType(
    {"EUR": 10_000_000, "USD": 1_000_000_000, "GBP": 100_000_000, "CAD": 1_000_000}
)
"""Largest single payment we send at once: RTP and FedNow carry 10 million USD, Faster Payments 1
million GBP; for EUR 100,000, SEPA Instant's bound of old, and for CAD 10,000, Interac's."""

ADYEN = Capabilities(
    kind="bank",
    currencies=frozenset({"EUR", "USD", "GBP", "CAD"}),
    destinations=frozenset({"iban", "us", "uk", "ca", "card"}),
    countries_excluded=frozenset({"CU", "IR", "KP", "SY"}),
    amount_minor_max=INSTANT_MINOR_MAX,
    settle_seconds_typical=20,
    can_report_by_webhook=True,
    guard_days=GUARD_DAYS,
)
