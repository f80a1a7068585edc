"""Units: what an amount comes to in reference units, about a euro each. A feature, never money."""

from __future__ import annotations

from models.money import exponent

# Units of a currency that buy about what one euro buys, so that a yen and a euro amount can be
# compared. Rounded on purpose and fixed: a changed figure changes vectors, so it needs a new
# model. A currency that is not listed counts one unit as one euro.
_UNITS = {
    "AED": 4.0,
    "ARS": 1500.0,
    "AUD": 1.7,
    "BRL": 6.0,
    "CAD": 1.5,
    "CHF": 0.95,
    "CLP": 1000.0,
    "CNY": 8.0,
    "COP": 4500.0,
    "CZK": 25.0,
    "DKK": 7.5,
    "EGP": 55.0,
    "EUR": 1.0,
    "GBP": 0.85,
    "HKD": 8.5,
    "HUF": 400.0,
    "IDR": 18000.0,
    "ILS": 4.0,
    "INR": 95.0,
    "JPY": 160.0,
    "KES": 140.0,
    "KRW": 1500.0,
    "MXN": 20.0,
    "MYR": 5.0,
    "NGN": 1700.0,
    "NOK": 11.5,
    "NZD": 1.9,
    "PEN": 4.0,
    "PHP": 65.0,
    "PKR": 310.0,
    "PLN": 4.3,
    "RON": 5.0,
    "SAR": 4.0,
    "SEK": 11.5,
    "SGD": 1.5,
    "THB": 38.0,
    "TRY": 40.0,
    "TWD": 35.0,
    "UAH": 45.0,
    "USD": 1.1,
    "VND": 28000.0,
    "ZAR": 20.0,
}

_AMOUNT_MAX = 1e7  # a larger sale looks like this one

_scales: dict[str, float] = {}


def reference(amount_minor: int, currency: str) -> float:
    """An amount in reference units. Raises KeyError for a currency that is unknown."""
    scale = _scales.get(currency)
    if scale is None:
        scale = 1.0 / (_UNITS.get(currency, 1.0) * 10.0 ** exponent(currency))
        _scales[currency] = scale
    amount = amount_minor * scale
    return amount if amount < _AMOUNT_MAX else _AMOUNT_MAX
