"""Routing: over which rail a payout goes first, where it goes next, and that this ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import load
from models.features import Profile
from models.payouts import ATTEMPTS_MAX, RETRIES, WAIT_JITTER_BP, FailureCategory, PayoutState
from models.policy import PayoutPolicy, Terms
from models.sellers import Method, Seller
from rails.breaker import CALLS_MIN, OPEN_MS_MIN
from rails.gate import open_gates
from rails.rail import Capabilities, Outcome, failed, unknown
from rails.routing import KEPT_MS, Next, Router, cost
from tests.rails.idle import IdleRail, capabilities
from tests.rails.virtual import Clock

F = FailureCategory
NOW_MS = 1_790_000_000_000
HOUR_MS = 3_600_000

POLICY = """\
currencies:
  EUR: {min: 200, max: 500000}
  HUF: {min: 100, max: 9000000}
  JPY: {min: 100, max: 900000}
window_seconds: 90
fee_bearer: seller
rails:
  cheap:
    currencies: [EUR, HUF, JPY]
  dear:
    currencies: [EUR, JPY]
    fee:
      EUR: {fixed: 100}
      JPY: {fixed: 100}
    limits:
      EUR: {min: 1000, max: 2000}
    day_max: {EUR: 6000}
  twin:
    currencies: [EUR]
  absent:
    currencies: [EUR]
fraud:
  hold_score: 0.35
"""

RAILS = {
    "cheap": capabilities(
        "EUR",
        "HUF",
        "USD",
        amount_minor_min={"EUR": 300},
        amount_minor_max={"EUR": 400_000},
        amount_minor_step={"HUF": 100},
    ),
    "dear": capabilities("EUR", "JPY"),
    "twin": capabilities("EUR"),
    "unnamed": capabilities("EUR"),
}


def seller(*methods: Method, suspended: bool = False) -> Seller:
    return Seller(
        "s-1", 1, "DE", "UTC", suspended, None, 0, methods, Profile("DE", None, None, suspended)
    )


def method(destination: str, *rails: str, **more: Any) -> Method:
    return Method(destination, rails, **more)


@dataclass
class World:
    """A router, and its rails as they fare."""

    policy: str = POLICY
    rails: Mapping[str, Capabilities] = field(default_factory=lambda: RAILS)
    draw: float = 0.5

    def __post_init__(self) -> None:
        self.clock = Clock(NOW_MS)
        rails = {name: IdleRail(name, of_it) for name, of_it in self.rails.items()}
        self.gates = open_gates(rails, {}, lambda: self.clock() / 1000)
        policy = load(self.policy, PayoutPolicy, "policy.yaml")
        self.router = Router(policy, self.gates, self.clock, lambda: self.draw)

    def record(self, rail: str, *outcomes: Outcome) -> None:
        for outcome in outcomes:
            self.gates[rail].breaker.record(outcome)

    def open(self, *rails: str) -> None:
        """Their breakers."""
        for rail in rails:
            self.record(rail, *[unknown("no_answer")] * CALLS_MIN)

    def pause(self, rail: str) -> None:
        self.record(rail, failed(F.TREASURY, "no_funds"))


@pytest.fixture
def world() -> World:
    return World()


def rails_of(pay: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    assert pay is not None
    return [(one["rail"], one["destination"]) for one in (pay, *pay.get("others", ()))]


def payout(rail: str, destination: str, attempt: int = 0, **more: Any) -> dict[str, Any]:
    """One as Redis holds it."""
    return {
        "payout_id": "00-1",
        "seller_id": "s-1",
        "rail": rail,
        "destination": destination,
        "currency": "EUR",
        "amount_minor": 1_500,
        "attempt": attempt,
        **more,
    }


class TestOrder:
    def test_the_sellers_own_order_comes_first(self, world: World) -> None:
        dear_first = seller(method("d1", "dear"), method("d2", "cheap"))
        assert rails_of(world.router.pay(dear_first, "EUR")) == [("dear", "d1"), ("cheap", "d2")]

    def test_within_a_method_the_cheaper_rail_comes_first(self, world: World) -> None:
        both = seller(method("d1", "dear", "cheap"), method("d2", "dear"))
        assert rails_of(world.router.pay(both, "EUR")) == [
            ("cheap", "d1"),
            ("dear", "d1"),
            ("dear", "d2"),
        ]

    @pytest.mark.parametrize("rails", [("cheap", "twin"), ("twin", "cheap")])
    def test_among_equals_the_order_of_the_rails_stays(
        self, world: World, rails: tuple[str, ...]
    ) -> None:
        pay = world.router.pay(seller(method("d1", *rails)), "EUR")
        assert [rail for rail, _ in rails_of(pay)] == list(rails)

    def test_a_rail_that_fails_more_comes_later(self, world: World) -> None:
        twins = seller(method("d1", "cheap", "twin"))
        good, bad = Outcome(PayoutState.ACCEPTED), unknown("no_answer")
        world.record("cheap", *[good, good, good, bad] * 3)
        world.record("twin", *[good] * 12)
        pay = world.router.pay(twins, "EUR")
        assert [rail for rail, _ in rails_of(pay)] == ["twin", "cheap"]
        world.record("cheap", *[good] * 50)
        world.record("twin", *[good, good, good, bad] * 20)
        world.clock.move(KEPT_MS)
        pay = world.router.pay(twins, "EUR")
        assert [rail for rail, _ in rails_of(pay)] == ["cheap", "twin"]

    def test_a_slow_rail_comes_later(self) -> None:
        rails = {
            "cheap": capabilities("EUR", settle_seconds_typical=86_400),
            "twin": capabilities("EUR", settle_seconds_typical=10),
        }
        pay = World(rails=rails).router.pay(seller(method("d1", "cheap", "twin")), "EUR")
        assert [rail for rail, _ in rails_of(pay)] == ["twin", "cheap"]

    def test_the_choice_says_why(self, world: World) -> None:
        pay = world.router.pay(seller(method("d1", "cheap"), method("d2", "cheap", "dear")), "EUR")
        assert pay is not None
        assert pay["why"] == "method_1"
        assert [one["why"].partition("_")[0] for one in pay["others"]] == ["cost", "cost"]

    def test_costs_are_the_fee_the_wait_and_the_failures(self) -> None:
        terms = Terms("r", "EUR", 1, 10**6, 10, 150, 0, 0)
        an_hour = capabilities("EUR", settle_seconds_typical=3_600)
        at_once = replace(an_hour, settle_seconds_typical=0)
        # 100.00 EUR: 1.60 EUR; an hour is 5 bp, so 0.05 EUR; each failure 200 bp, so 2.00 EUR.
        assert cost(terms, at_once, 10_000, 10_000) == 160 * 10_000
        assert cost(terms, an_hour, 10_000, 10_000) == 165 * 10_000
        assert cost(terms, at_once, 9_900, 10_000) == 162 * 10_000
        assert cost(terms, at_once, 0, 10_000) == 360 * 10_000

    @given(st.integers(0, 9_999), st.integers(0, 10**6), st.integers(1, 10**6))
    def test_a_rail_that_does_better_never_costs_more(
        self, success_bp: int, seconds: int, nominal_minor: int
    ) -> None:
        terms = Terms("r", "EUR", 1, 10**6, 10, 150, 60, 0)
        slow = capabilities("EUR", settle_seconds_typical=seconds + 1)
        quick = replace(slow, settle_seconds_typical=seconds)
        price = cost(terms, slow, success_bp, nominal_minor)
        assert cost(terms, slow, success_bp + 1, nominal_minor) <= price
        assert cost(terms, quick, success_bp, nominal_minor) <= price


class TestTerms:
    def test_are_those_of_the_policy_as_far_as_the_rail_carries(self, world: World) -> None:
        pay = world.router.pay(seller(method("d1", "cheap")), "EUR")
        assert pay == {
            "rail": "cheap",
            "destination": "d1",
            "min": 300,
            "max": 400_000,
            "fixed": 0,
            "bp": 0,
            "cap": 0,
            "seller_pays": True,
            "step": 1,
            "why": "method_1",
            "window": 90_000,
        }

    def test_of_a_rail_with_narrower_limits_and_a_limit_of_the_day(self, world: World) -> None:
        pay = world.router.pay(seller(method("d1", "dear")), "EUR")
        assert pay is not None
        assert (pay["min"], pay["max"], pay["day_max"], pay["fixed"]) == (1_000, 2_000, 6_000, 100)

    def test_a_rail_that_takes_fewer_decimals_says_its_step(self, world: World) -> None:
        pay = world.router.pay(seller(method("d1", "cheap")), "HUF")
        assert pay is not None
        assert pay["step"] == 100

    @pytest.mark.parametrize(
        ("rail", "currency"),
        [
            ("cheap", "JPY"),  # the rail does not carry it
            ("cheap", "USD"),  # the policy does not
            ("unnamed", "EUR"),  # the policy does not know the rail
            ("absent", "EUR"),  # the settings do not
            ("never_heard_of", "EUR"),
        ],
    )
    def test_none_where_policy_and_rail_do_not_agree(
        self, world: World, rail: str, currency: str
    ) -> None:
        assert world.router.pay(seller(method("d1", rail)), currency) is None

    def test_none_where_the_limits_of_policy_and_rail_do_not_meet(self) -> None:
        rails = {"dear": capabilities("EUR", amount_minor_min={"EUR": 2_001})}
        assert World(rails=rails).router.pay(seller(method("d1", "dear")), "EUR") is None

    def test_a_currency_without_decimals_can_be_compared(self) -> None:
        rails = {"cheap": capabilities("JPY"), "dear": capabilities("JPY")}
        pay = World(rails=rails).router.pay(seller(method("d1", "dear", "cheap")), "JPY")
        assert [rail for rail, _ in rails_of(pay)] == ["cheap", "dear"]


class TestNotPaid:
    @pytest.mark.parametrize(
        "whom",
        [
            None,
            seller(),
            seller(method("d1", "cheap"), suspended=True),
            seller(method("d1", "cheap", refused="iban_invalid")),
            seller(method("d1", "cheap", disabled="account_closed")),
            seller(method("d1", "cheap", until_ms=NOW_MS)),
            seller(method("d1", refused="destination_invalid")),
        ],
    )
    def test_at_all(self, world: World, whom: Seller | None) -> None:
        assert world.router.pay(whom, "EUR") is None

    def test_when_the_policy_stops_instant_payouts(self) -> None:
        world = World(POLICY.replace("fraud:", "instant: []\nfraud:"))
        assert world.router.pay(seller(method("d1", "cheap")), "EUR") is None
        world.open("cheap")
        world.clock.move(KEPT_MS)
        assert world.router.pay(seller(method("d1", "cheap")), "EUR") is None

    def test_yet_while_all_rails_are_shut(self, world: World) -> None:
        whom = seller(method("d1", "cheap"), method("d2", "dear"))
        world.open("cheap")
        world.pause("dear")
        assert world.router.pay(whom, "EUR") == {"later": OPEN_MS_MIN}
        world.clock.move(OPEN_MS_MIN)
        assert rails_of(world.router.pay(whom, "EUR")) == [("cheap", "d1")]

    @pytest.mark.parametrize(
        "never",
        [
            {"disabled": "account_closed"},
            {"refused": "iban_invalid"},
            {"until_ms": NOW_MS - 1},
        ],
    )
    def test_later_either_where_only_the_rail_of_a_dead_method_is_shut(
        self, world: World, never: dict[str, Any]
    ) -> None:
        world.open("cheap")
        assert world.router.pay(seller(method("d1", "cheap", **never)), "EUR") is None

    def test_later_either_where_the_shut_rail_does_not_carry_the_currency(
        self, world: World
    ) -> None:
        world.open("cheap")
        assert world.router.pay(seller(method("d1", "cheap")), "JPY") is None


class TestPassed:
    def test_what_is_passed_over_says_why(self, world: World) -> None:
        world.open("twin")
        whom = seller(
            method("d1", "cheap", disabled="account_closed"),
            method("d2", "dear", "cheap", until_ms=NOW_MS),
            method("d3", refused="destination_invalid"),
            method("d4", "unnamed", "twin", "dear", until_ms=NOW_MS + 1),
        )
        pay = world.router.pay(whom, "EUR")
        assert rails_of(pay) == [("dear", "d4")]
        assert pay is not None
        assert pay["passed"] == [
            "cheap:account_closed",
            "dear:destination_expired",
            "cheap:destination_expired",
            "none:destination_invalid",
            "unnamed:not_in_policy",
            "twin:breaker_open",
        ]

    def test_a_paused_rail_is_passed_as_one(self, world: World) -> None:
        world.pause("cheap")
        pay = world.router.pay(seller(method("d1", "cheap", "dear")), "EUR")
        assert pay is not None
        assert (pay["rail"], pay["passed"]) == ("dear", ["cheap:rail_paused"])

    def test_nothing_is_said_where_nothing_was_passed(self, world: World) -> None:
        pay = world.router.pay(seller(method("d1", "cheap", "dear")), "EUR")
        assert pay is not None
        assert "passed" not in pay


class TestKept:
    WHOM = seller(method("d1", "cheap"), method("d2", "dear"))

    def test_what_was_found_is_kept_for_a_second(self, world: World) -> None:
        first = world.router.pay(self.WHOM, "EUR")
        world.open("cheap")
        world.clock.move(KEPT_MS - 1)
        assert world.router.pay(self.WHOM, "EUR") == first
        world.clock.move(1)
        assert rails_of(world.router.pay(self.WHOM, "EUR")) == [("dear", "d2")]

    def test_a_clock_set_back_ends_it(self, world: World) -> None:
        world.router.pay(self.WHOM, "EUR")
        world.clock.move(-HOUR_MS)
        world.pause("cheap")
        assert rails_of(world.router.pay(self.WHOM, "EUR")) == [("dear", "d2")]

    def test_a_profile_that_changed_is_seen_at_once(self, world: World) -> None:
        world.router.pay(self.WHOM, "EUR")
        assert rails_of(world.router.pay(seller(method("d3", "twin")), "EUR")) == [("twin", "d3")]
        first, second = self.WHOM.methods
        closed = seller(first, second._replace(disabled="account_closed"))
        assert rails_of(world.router.pay(closed, "EUR")) == [("cheap", "d1")]
        assert world.router.pay(replace(self.WHOM, suspended=True), "EUR") is None
        assert rails_of(world.router.pay(self.WHOM, "EUR"))[0] == ("cheap", "d1")

    def test_currencies_are_apart(self, world: World) -> None:
        assert rails_of(world.router.pay(self.WHOM, "EUR"))[0] == ("cheap", "d1")
        assert rails_of(world.router.pay(self.WHOM, "JPY")) == [("dear", "d2")]
        assert rails_of(world.router.pay(self.WHOM, "EUR"))[0] == ("cheap", "d1")

    def test_sellers_with_destinations_of_their_own_are_apart(self, world: World) -> None:
        for name in ("d7", "d8", "d7"):
            assert rails_of(world.router.pay(seller(method(name, "cheap")), "EUR")) == [
                ("cheap", name)
            ]


class TestNext:
    BOTH = seller(method("d1", "cheap", "dear"), method("d2", "twin"))

    @pytest.mark.parametrize("category", [F.RETRYABLE, F.TREASURY])
    def test_another_rail_to_the_same_destination_comes_first(
        self, world: World, category: FailureCategory
    ) -> None:
        after = world.router.next(self.BOTH, payout("cheap", "d1"), category)
        assert after == Next("dear", "d1", 0, f"after_{category.value}", 6_000)

    def test_a_wrong_destination_is_left_for_another_one(self, world: World) -> None:
        after = world.router.next(self.BOTH, payout("cheap", "d1"), F.METHOD)
        assert after == Next("twin", "d2", 0, "after_method", 0)

    def test_a_wrong_destination_without_another_is_the_end(self, world: World) -> None:
        one = seller(method("d1", "cheap", "dear", "twin"))
        assert world.router.next(one, payout("cheap", "d1"), F.METHOD) is None

    @pytest.mark.parametrize("attempt", range(ATTEMPTS_MAX))
    def test_a_recipient_who_may_not_be_paid_is_the_end(self, world: World, attempt: int) -> None:
        assert world.router.next(self.BOTH, payout("cheap", "d1", attempt), F.RECIPIENT) is None

    @pytest.mark.parametrize("category", list(F))
    def test_a_suspended_seller_is_the_end(self, world: World, category: FailureCategory) -> None:
        suspended = replace(self.BOTH, suspended=True)
        assert world.router.next(suspended, payout("cheap", "d1"), category) is None

    def test_no_route_is_taken_twice(self, world: World) -> None:
        tried = [["cheap", "d1"], ["twin", "d2"]]
        after = world.router.next(self.BOTH, payout("dear", "d1", 2, tried=tried), F.RETRYABLE)
        assert after == Next("dear", "d1", 300_000, "again_after_retryable", 0)

    @pytest.mark.parametrize(("amount_minor", "rail"), [(999, "twin"), (1_000, "dear")])
    def test_only_a_rail_that_carries_the_amount_is_taken(
        self, world: World, amount_minor: int, rail: str
    ) -> None:
        one = payout("cheap", "d1", amount_minor=amount_minor)
        after = world.router.next(self.BOTH, one, F.RETRYABLE)
        assert after is not None
        assert after.rail == rail

    @pytest.mark.parametrize(("amount_minor", "rail"), [(2_000, "dear"), (2_001, "twin")])
    def test_nor_one_that_it_is_too_much_for(
        self, world: World, amount_minor: int, rail: str
    ) -> None:
        one = payout("cheap", "d1", amount_minor=amount_minor)
        after = world.router.next(self.BOTH, one, F.RETRYABLE)
        assert after is not None
        assert after.rail == rail

    def test_nor_one_that_cannot_write_it(self) -> None:
        rails = {
            "cheap": capabilities("EUR"),
            "twin": capabilities("EUR", amount_minor_step={"EUR": 100}),
        }
        world = World(rails=rails)
        whom = seller(method("d1", "cheap", "twin"))
        odd = world.router.next(whom, payout("cheap", "d1", amount_minor=1_501), F.RETRYABLE)
        even = world.router.next(whom, payout("cheap", "d1", amount_minor=1_500), F.RETRYABLE)
        assert odd is not None
        assert even is not None
        assert (odd.rail, even.rail) == ("cheap", "twin")

    def test_a_shut_rail_is_passed_over(self, world: World) -> None:
        world.open("dear")
        after = world.router.next(self.BOTH, payout("cheap", "d1"), F.RETRYABLE)
        assert after is not None
        assert after.rail == "twin"

    @pytest.mark.parametrize("category", [F.RETRYABLE, F.TREASURY])
    def test_without_another_the_same_rail_is_tried_after_its_waits(
        self, world: World, category: FailureCategory
    ) -> None:
        one = seller(method("d1", "cheap"))
        waits = []
        for attempt in range(ATTEMPTS_MAX):
            after = world.router.next(one, payout("cheap", "d1", attempt), category)
            if after is None:
                break
            assert after[:2] == ("cheap", "d1")
            waits.append(after.wait_ms)
        assert tuple(waits) == RETRIES[category].waits_ms

    def test_waits_are_drawn(self, world: World) -> None:
        one = seller(method("d1", "cheap"))
        waits = set()
        for world.draw in (0.0, 0.25, 0.5, 0.999):
            after = world.router.next(one, payout("cheap", "d1"), F.RETRYABLE)
            assert after is not None
            waits.add(after.wait_ms)
        assert len(waits) == 4
        assert min(waits) == 4_000

    @pytest.mark.parametrize("category", list(F))
    def test_the_last_attempt_is_the_last(self, world: World, category: FailureCategory) -> None:
        last = payout("cheap", "d1", ATTEMPTS_MAX - 1)
        assert world.router.next(self.BOTH, last, category) is None


class TestElsewhere:
    BOTH = seller(method("d1", "cheap", "dear"), method("d2", "twin", "cheap"))

    def test_a_payout_whose_rail_is_not_used_goes_over_another(self, world: World) -> None:
        world.open("cheap")
        after = world.router.elsewhere(self.BOTH, payout("cheap", "d1"))
        assert after == Next("dear", "d1", 0, "rail_not_used", 6_000)

    def test_never_over_the_same_rail(self, world: World) -> None:
        assert world.router.elsewhere(seller(method("d2", "cheap")), payout("cheap", "d1")) is None

    def test_only_over_one_that_carries_the_amount(self, world: World) -> None:
        after = world.router.elsewhere(self.BOTH, payout("cheap", "d1", amount_minor=500))
        assert after is not None
        assert after.rail == "twin"

    def test_not_for_a_suspended_seller(self, world: World) -> None:
        suspended = replace(self.BOTH, suspended=True)
        assert world.router.elsewhere(suspended, payout("cheap", "d1")) is None

    def test_not_beyond_the_last_attempt(self, world: World) -> None:
        last = payout("cheap", "d1", ATTEMPTS_MAX - 1)
        assert world.router.elsewhere(self.BOTH, last) is None

    def test_not_to_and_fro_between_rails_whose_probes_are_all_out(self, world: World) -> None:
        whom = seller(method("d1", "cheap", "twin"))
        world.open("cheap", "twin")
        world.clock.move(OPEN_MS_MIN)
        one = payout("cheap", "d1")
        seen = []
        while (after := world.router.elsewhere(whom, one)) is not None:
            seen.append(after.rail)
            one = rerouted(one, after)
        assert seen == ["twin"]

    def test_not_back_over_a_route_that_it_has_tried(self, world: World) -> None:
        one = payout("twin", "d2", 1, tried=[["cheap", "d1"]])
        after = world.router.elsewhere(seller(method("d1", "cheap"), method("d2", "twin")), one)
        assert after is None


def rerouted(one: dict[str, Any], after: Next) -> dict[str, Any]:
    """A payout as the wallets keep it for its next attempt."""
    return {
        **one,
        "tried": [*one.get("tried", []), [one["rail"], one["destination"]]],
        "rail": after.rail,
        "destination": after.destination,
        "attempt": one["attempt"] + 1,
    }


def without(whom: Seller, destination: str) -> Seller:
    """Her, with a destination that was refused for good, as the wallets disable it."""
    return replace(
        whom,
        methods=tuple(
            one._replace(disabled="refused") if one.destination == destination else one
            for one in whom.methods
        ),
    )


NAMES = ("cheap", "dear", "twin", "fourth", "fifth")
WIDE = World(
    "currencies: {EUR: {min: 1, max: 9999}}\nfee_bearer: company\nrails:\n"
    + "".join(f"  {name}: {{currencies: [EUR]}}\n" for name in NAMES)
    + "fraud: {hold_score: 0.35}\n",
    {name: capabilities("EUR") for name in NAMES},
)
METHODS = st.lists(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True), min_size=1, max_size=4
).map(lambda some: tuple(Method(f"d{at}", tuple(rails)) for at, rails in enumerate(some)))


@settings(max_examples=400, deadline=None)
@given(
    METHODS,
    st.one_of(
        st.lists(st.sampled_from(F), min_size=ATTEMPTS_MAX + 2, max_size=ATTEMPTS_MAX + 2),
        st.sampled_from(F).map(lambda one: [one] * (ATTEMPTS_MAX + 2)),
    ),
    st.floats(0, 1, exclude_max=True),
)
def test_every_chain_of_failures_ends_and_goes_nowhere_twice(
    methods: tuple[Method, ...], categories: list[FailureCategory], draw: float
) -> None:
    WIDE.draw = draw
    whom = seller(*methods)
    routes = {(rail, one.destination) for one in methods for rail in one.rails}
    one = payout(methods[0].rails[0], "d0")
    refused: set[str] = set()
    submitted = 1
    for category in categories:
        if category is F.METHOD:
            refused.add(one["destination"])
            whom = without(whom, one["destination"])
        after = WIDE.router.next(whom, one, category)
        if after is None:
            break
        submitted += 1
        here, there = (one["rail"], one["destination"]), (after.rail, after.destination)
        been = {here, *map(tuple, one.get("tried", []))}
        assert there in routes
        assert category is not F.RECIPIENT
        assert after.destination not in refused
        if after.wait_ms == 0:
            assert there not in been
        else:
            assert there == here
            assert {route for route in routes - been if route[1] not in refused} == set()
            longest = max(RETRIES[category].waits_ms)
            assert after.wait_ms <= longest * (10_000 + WAIT_JITTER_BP) // 10_000
        one = rerouted(one, after)
    else:
        pytest.fail("it never ended")
    assert submitted <= ATTEMPTS_MAX


@settings(max_examples=200, deadline=None)
@given(
    METHODS,
    st.lists(
        st.one_of(st.none(), st.sampled_from(F)),
        min_size=ATTEMPTS_MAX + 1,
        max_size=ATTEMPTS_MAX + 1,
    ),
)
def test_failures_and_rails_that_are_not_used_together_come_to_an_end_as_well(
    methods: tuple[Method, ...], events: list[FailureCategory | None]
) -> None:
    """None: the rail's gate was shut."""
    whom, one = seller(*methods), payout(methods[0].rails[0], "d0")
    for event in events:
        if event is F.METHOD:
            whom = without(whom, one["destination"])
        if event is None:
            after = WIDE.router.elsewhere(whom, one)
            assert after is None or after.rail != one["rail"]
        else:
            after = WIDE.router.next(whom, one, event)
        if after is None and event is not None:
            return
        if after is not None:
            one = rerouted(one, after)
            assert one["attempt"] < ATTEMPTS_MAX
