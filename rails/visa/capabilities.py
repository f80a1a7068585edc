"""What Visa Direct carries: pushes to cards.

The bounds are general knowledge; an originator's own are in its contract with Visa.
"""

from __future__ import annotations

from types import MappingProxyType

from models.money import exponent
from rails.amounts import steps
from rails.rail import Capabilities

# Largest single push per currency, in whole units: 50,000 USD, and what is below that elsewhere.
_WHOLE_MAX = {
    "AUD": 50_000,
    "BHD": 15_000,
    "CAD": 50_000,
    "EUR": 40_000,
    "GBP": 35_000,
    "JPY": 5_000_000,
    "KWD": 15_000,
    "USD": 50_000,
}

VISA = Capabilities(
    kind="card",
    currencies=frozenset(_WHOLE_MAX),
    destinations=frozenset({"card"}),
    countries_excluded=frozenset({"CU", "IR", "KP", "SY"}),
    amount_minor_max=MappingProxyType(
        {code: whole * 10 ** exponent(code) for code, whole in _WHOLE_MAX.items()}
    ),
    amount_minor_step=MappingProxyType(steps("visa")),
    settle_seconds_typical=30,
)
"""No guard: nothing is ever submitted twice."""
