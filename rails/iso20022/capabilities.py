"""What the bank link carries: euro credit transfers to accounts in the SEPA area."""

from __future__ import annotations

from types import MappingProxyType

from rails.rail import Capabilities

SEPA_COUNTRIES = frozenset(
    {
        "AD", "AL", "AT", "BE", "BG", "CH", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FO", "FR",
        "GB", "GI", "GL", "GR", "HR", "HU", "IE", "IS", "IT", "LI", "LT", "LU", "LV", "MC", "MD",
        "ME", "MK", "MT", "NL", "NO", "PL", "PT", "RO", "RS", "SE", "SI", "SK", "SM", "VA",
    }
)  # fmt: skip
"""Countries an IBAN of the SEPA schemes may begin with (EPC409-09, with those that joined to
2025). That a bank there takes part in the instant scheme is the bank's to say: AG03, AB07."""

AMOUNT_MINOR_MAX = 99_999_999_999
"""999,999,999.99 EUR, the largest amount a SEPA message can say. The instant scheme's own bound of
100,000 EUR fell in October 2025; a bank may still set one for its customer (AM02, AM21)."""

ISO20022 = Capabilities(
    kind="bank",
    currencies=frozenset({"EUR"}),
    destinations=frozenset({"iban"}),
    countries=SEPA_COUNTRIES,
    amount_minor_max=MappingProxyType({"EUR": AMOUNT_MINOR_MAX}),
    settle_seconds_typical=10,
    # No bank promises to stop a second message, and none is ever sent: the exchange writes once.
    guard_days=0,
)
