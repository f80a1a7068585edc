"""Routing: over which rails a seller may be paid, in which order, and why.

Her own order comes first: all routes of her first method, then those of the next. Within a method
the routes are ordered by what paying over them is expected to cost in all: the fee, the wait, and
the work that a failure makes. A rail that cannot carry the payout, that is paused or whose breaker
is open, is passed over; the reasons are kept with the choice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from models.decisions import Tier
from models.money import exponent
from models.payouts import ATTEMPTS_MAX, RETRIES, FailureCategory, retry_wait_ms
from models.policy import PayoutPolicy, Terms
from models.sellers import Method, Seller
from rails.gate import Gate
from rails.rail import Capabilities

NOMINAL_MAJOR = 100
"""The payout that routes are compared for, in major units of its currency."""

DELAY_BP_PER_HOUR = 5
"""What an hour's wait is taken to cost, in basis points of the payout."""

FAILURE_BP = 200
"""What a failed payout is taken to cost, in basis points of the payout."""

LATER_MS_MIN = 5_000
"""How soon at the earliest money that no route can carry just now is looked at again."""

KEPT_MS = 1_000
KEPT_MAX = 16_384
"""How long terms that were found are kept, and of how many sellers and currencies."""

CLOSED = frozenset({"breaker_open", "rail_paused"})
"""Reasons that will not last."""

Passed = list[tuple[str, str]]
"""Rails that were passed over, and why."""


class Route(NamedTuple):
    """A way for a payout: a rail to a sealed destination, on terms."""

    rail: str
    destination: str
    terms: Terms
    why: str


class Next(NamedTuple):
    """The next attempt of a payout that is proven not executed. ``wait_ms``: 0 for at once."""

    rail: str
    destination: str
    wait_ms: int
    why: str
    day_max_minor: int


def cost(terms: Terms, capabilities: Capabilities, success_bp: int, nominal_minor: int) -> int:
    """What paying ``nominal_minor`` over a route is expected to cost, in 1/10,000 minor units."""
    delay_bp = DELAY_BP_PER_HOUR * capabilities.settle_seconds_typical * 10_000 // 3_600
    failure_bp = FAILURE_BP * (10_000 - success_bp)
    return terms.fee(nominal_minor) * 10_000 + nominal_minor * (delay_bp + failure_bp) // 10_000


class Router:
    """Finds routes by the policy, what rails carry, and how they are."""

    def __init__(
        self,
        policy: PayoutPolicy,
        gates: Mapping[str, Gate],
        clock: Callable[[], int],
        draw: Callable[[], float] = random.random,
    ) -> None:
        """``clock`` in milliseconds; ``draw`` gives a number from 0 to below 1, for jitter."""
        self.policy = policy
        self._gates = gates
        self._clock = clock
        self._draw = draw
        self._terms: dict[tuple[str, str], Terms | None] = {}
        self._pays: dict[tuple[tuple[Method, ...], str], dict[str, Any] | None] = {}
        self._pays_until_ms = 0

    def pay(self, seller: Seller | None, currency: str) -> dict[str, Any] | None:
        """On which terms a seller is paid a currency at once, for the booking function.

        None if she is not; only ``later`` if no route is open now, but one may be soon. What is
        found is kept for :data:`KEPT_MS`: a rail that fails is caught at its gate as well.
        """
        if seller is None or seller.suspended or not seller.methods:
            return None
        now = self._clock()
        if not now < self._pays_until_ms <= now + KEPT_MS or len(self._pays) >= KEPT_MAX:
            self._pays.clear()
            self._pays_until_ms = now + KEPT_MS
        key = (seller.methods, currency)
        if key not in self._pays:
            self._pays[key] = self._pay(seller, currency)
        return self._pays[key]

    def _pay(self, seller: Seller, currency: str) -> dict[str, Any] | None:
        if Tier.INSTANT not in self.policy.instant:
            return None
        passed: Passed = []
        routes = list(self._routes(seller, currency, passed))
        if not routes:
            closed = [rail for rail, reason in passed if reason in CLOSED]
            waits = [self._gates[rail].breaker.wait_ms() for rail in closed]
            return {"later": max(LATER_MS_MIN, min(waits))} if waits else None
        first, *others = (self._laid_out(route) for route in routes)
        first["window"] = routes[0].terms.window_ms
        if passed:
            first["passed"] = [f"{rail}:{reason}" for rail, reason in passed]
        if others:
            first["others"] = others
        return first

    def next(
        self, seller: Seller, payout: Mapping[str, Any], category: FailureCategory
    ) -> Next | None:
        """The next attempt behind a proven failure; None if there is to be none.

        Amount and fee stay what they were: the fee that the seller was told is kept.
        """
        rail, destination = payout["rail"], payout["destination"]
        attempt = payout["attempt"]
        if seller.suspended:
            return None
        if RETRIES[category].elsewhere:

            def barred(route: Route) -> bool:
                dead = category is FailureCategory.METHOD and route.destination == destination
                return dead or (route.rail, route.destination) == (rail, destination)

            if (other := self._another(seller, payout, barred, f"after_{category}")) is not None:
                return other
        wait_ms = retry_wait_ms(category, attempt, self._draw())
        if wait_ms is None:
            return None
        return Next(rail, destination, wait_ms, f"again_after_{category}", 0)

    def elsewhere(self, seller: Seller, payout: Mapping[str, Any]) -> Next | None:
        """Another way for a payout that was never submitted, because its rail is not used now."""
        if seller.suspended:
            return None
        used = payout["rail"]
        return self._another(seller, payout, lambda route: route.rail == used, "rail_not_used")

    def _another(
        self, seller: Seller, payout: Mapping[str, Any], barred: Callable[[Route], bool], why: str
    ) -> Next | None:
        """The best open route for a payout that is not barred and was not tried, at once."""
        if payout["attempt"] + 1 >= ATTEMPTS_MAX:
            return None
        tried = set(map(tuple, payout.get("tried", ())))
        for route in self._routes(seller, payout["currency"], []):
            known = barred(route) or (route.rail, route.destination) in tried
            if not known and self._carries(route, payout["amount_minor"]):
                return Next(route.rail, route.destination, 0, why, route.terms.day_max_minor)
        return None

    def _routes(self, seller: Seller, currency: str, passed: Passed) -> Iterator[Route]:
        """Open routes, best first. ``passed`` takes the others."""
        now = self._clock()
        for number, method in enumerate(seller.methods):
            refusal = method.refusal(now)
            if refusal is not None:
                passed += [(rail, refusal) for rail in method.rails or ("none",)]
                continue
            yield from self._of_method(method, currency, number, passed)

    def _of_method(
        self, method: Method, currency: str, number: int, passed: Passed
    ) -> Iterator[Route]:
        nominal = int(NOMINAL_MAJOR * 10 ** exponent(currency))
        found: list[tuple[int, int, Route]] = []
        for at, rail in enumerate(method.rails):
            terms = self._terms_of(rail, currency)
            if terms is None:
                passed.append((rail, "not_in_policy"))
                continue
            gate = self._gates[rail]
            if (reason := gate.breaker.why_not()) is not None:
                passed.append((rail, reason))
                continue
            expected = cost(terms, gate.rail.capabilities, gate.breaker.success_bp(), nominal)
            why = f"method_{number + 1}" if len(method.rails) == 1 else f"cost_{expected}"
            found.append((expected, at, Route(rail, method.destination, terms, why)))
        for _, _, route in sorted(found, key=lambda one: one[:2]):
            yield route

    def _terms_of(self, rail: str, currency: str) -> Terms | None:
        """Policy's terms within what the rail can carry; None if either does not."""
        key = (rail, currency)
        if key not in self._terms:
            self._terms[key] = self._narrowed(self.policy.terms(currency, rail), rail, currency)
        return self._terms[key]

    def _narrowed(self, terms: Terms | None, rail: str, currency: str) -> Terms | None:
        if terms is None or rail not in self._gates:
            return None
        capabilities = self._gates[rail].rail.capabilities
        if currency not in capabilities.currencies:
            return None
        low = capabilities.amount_minor_min.get(currency, 1)
        high = capabilities.amount_minor_max.get(currency, terms.max_minor)
        narrowed = replace(
            terms, min_minor=max(terms.min_minor, low), max_minor=min(terms.max_minor, high)
        )
        return narrowed if narrowed.min_minor <= narrowed.max_minor else None

    def _carries(self, route: Route, amount_minor: int) -> bool:
        return (
            route.terms.min_minor <= amount_minor <= route.terms.max_minor
            and amount_minor % self._step(route) == 0
        )

    def _step(self, route: Route) -> int:
        steps = self._gates[route.rail].rail.capabilities.amount_minor_step
        return steps.get(route.terms.currency, 1)

    def _laid_out(self, route: Route) -> dict[str, Any]:
        terms = route.terms
        laid_out = {
            "rail": route.rail,
            "destination": route.destination,
            "min": terms.min_minor,
            "max": terms.max_minor,
            "fixed": terms.fixed_minor,
            "bp": terms.fee_bp,
            "cap": terms.fee_cap_minor,
            "seller_pays": terms.seller_pays,
            "step": self._step(route),
            "why": route.why,
        }
        if terms.day_max_minor:
            laid_out["day_max"] = terms.day_max_minor
        return laid_out
