"""What PayPal Payouts carries."""

from __future__ import annotations

from types import MappingProxyType

from models.money import exponent
from rails.amounts import steps
from rails.rail import Capabilities

# Largest single transfer per currency, in whole units. PayPal publishes them per account;
# these are the common ones and stay below any account's higher limit.
_WHOLE_MAX = {
    "AUD": 12_500,
    "CAD": 12_500,
    "CHF": 13_000,
    "CZK": 240_000,
    "DKK": 60_000,
    "EUR": 8_000,
    "GBP": 5_500,
    "HKD": 80_000,
    "HUF": 2_000_000,
    "ILS": 40_000,
    "JPY": 1_000_000,
    "MXN": 110_000,
    "NOK": 70_000,
    "NZD": 15_000,
    "PHP": 500_000,
    "PLN": 32_000,
    "SEK": 80_000,
    "SGD": 16_000,
    "THB": 360_000,
    "TWD": 330_000,
    "USD": 10_000,
}

PAYPAL = Capabilities(
    kind="wallet",
    currencies=frozenset(_WHOLE_MAX),
    destinations=frozenset({"email", "phone", "paypal_id"}),
    countries_excluded=frozenset({"CU", "IR", "KP", "SY"}),
    amount_minor_max=MappingProxyType(
        {code: whole * 10 ** exponent(code) for code, whole in _WHOLE_MAX.items()}
    ),
    amount_minor_step=MappingProxyType(steps("paypal")),
    settle_seconds_typical=60,
    can_cancel=True,
    can_report_by_webhook=True,
    enquires_by_ref_only=True,
    guard_days=30,
    requests_per_minute_max=400,
)
