"""What Marqeta pushes to cards that others have issued.

The largest amount is Marqeta's document's. That it is US dollars to cards of the US is general
knowledge; a program's own bounds are in its contract with Marqeta.
"""

from __future__ import annotations

from types import MappingProxyType

from rails.rail import Capabilities

PUSH_MINOR_MAX = 5_000_000
"""50,000 a disbursement."""

MARQETA_PUSH = Capabilities(
    kind="card",
    currencies=frozenset({"USD"}),
    destinations=frozenset({"marqeta_card"}),
    countries=frozenset({"US"}),
    amount_minor_max=MappingProxyType({"USD": PUSH_MINOR_MAX}),
    settle_seconds_typical=30,
)
"""No guard: nothing is ever submitted twice."""
