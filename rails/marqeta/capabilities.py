"""What Marqeta carries: money onto the prepaid cards of one program.

The bounds are general knowledge; a program's own are in its contract with Marqeta.
"""

from __future__ import annotations

from types import MappingProxyType

from rails.rail import Capabilities

CURRENCIES = frozenset({"AUD", "CAD", "EUR", "GBP", "USD"})
"""Currencies of programs in the markets that Marqeta issues cards in; a program has one of them,
and Marqeta declines the rest."""

LOAD_MINOR_MAX = 1_000_000
"""10,000 a load: what prepaid programs commonly allow a day."""

GUARD_DAYS = 7
"""An order stays under its token, and nothing says for how long. It is found by an enquiry before
anything is repeated, so a week is more than enough."""

MARQETA = Capabilities(
    kind="prepaid",
    currencies=CURRENCIES,
    destinations=frozenset({"marqeta_user"}),
    countries_excluded=frozenset({"CU", "IR", "KP", "SY"}),
    amount_minor_max=MappingProxyType(dict.fromkeys(CURRENCIES, LOAD_MINOR_MAX)),
    settle_seconds_typical=2,
    can_report_by_webhook=True,
    guard_days=GUARD_DAYS,
)
