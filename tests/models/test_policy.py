"""The payout policy: terms by currency and rail, and the policies that are refused."""

from decimal import Decimal
from pathlib import Path

import pytest

from models.config import ConfigError, load
from models.policy import WINDOW_SECONDS_MAX, PayoutPolicy, Terms
from rails.paypal.capabilities import PAYPAL

GOOD = """\
currencies:
  EUR: {min: 500, max: 500000}
  JPY: {min: 100, max: 900}
  BHD: {min: 1, max: 1}
window_seconds: 90
fee_bearer: seller
rails:
  paypal:
    currencies: [EUR, JPY]
    fee:
      EUR: {fixed: 10, percent: 1.5, cap: 100}
  wire:
    currencies: [EUR]
fraud:
  hold_score: 0.35
  unscored_cap: {EUR: 2000}
"""


def policy(old: str = "", new: str = "") -> PayoutPolicy:
    assert old in GOOD
    return load(GOOD.replace(old, new, 1) if old else GOOD, PayoutPolicy, "policy.yaml")


def problem(old: str, new: str) -> str:
    with pytest.raises(ConfigError) as caught:
        policy(old, new)
    (only,) = caught.value.problems
    return str(only)


class TestTill:
    def test_may_be_left_out(self) -> None:
        till = policy().till
        assert (till.from_available, till.authorisation_ms) == (True, 7 * 86_400_000)
        assert (till.refund_grace_ms, till.release_grace_ms) == (0, 0)

    @pytest.mark.parametrize(
        "wrong", ["authorisation_hours: 0", "refund_grace_days: 366", "from_available: 1"]
    )
    def test_refuses_what_is_out_of_bounds(self, wrong: str) -> None:
        section = "till:\n  " + wrong + "\nfraud:\n"
        assert "till." in problem("fraud:\n", section)


class TestFx:
    def test_may_be_left_out(self) -> None:
        fx = policy().fx
        assert (fx.markup, fx.jump_factor) == (100, 10)
        assert (fx.quote_ms, fx.rate_age_ms) == (60_000, 3_600_000)

    def test_a_markup_is_a_percentage(self) -> None:
        assert policy("fraud:\n", "fx: {markup: 0.75}\nfraud:\n").fx.markup == 75

    @pytest.mark.parametrize(
        "wrong",
        [
            *("markup: 50.01", "markup: -1", "quote_seconds: 0", "quote_seconds: 3601"),
            *("rate_age_seconds_max: 0", "jump_factor: 1", "jump_factor: 1.5"),
        ],
    )
    def test_refuses_what_is_out_of_bounds(self, wrong: str) -> None:
        line = GOOD.count("\n", 0, GOOD.index("fraud:\n")) + 2
        found = problem("fraud:\n", "fx:\n  " + wrong + "\nfraud:\n")
        assert found.startswith(f"policy.yaml:{line}: fx.{wrong.partition(':')[0]}")


class TestTerms:
    def test_of_a_currency_and_rail(self) -> None:
        assert policy().terms("EUR", "paypal") == Terms(
            rail="paypal",
            currency="EUR",
            min_minor=500,
            max_minor=500_000,
            fixed_minor=10,
            fee_bp=150,
            fee_cap_minor=100,
            window_ms=90_000,
            seller_pays=True,
        )

    def test_without_a_fee(self) -> None:
        for currency, rail in (("JPY", "paypal"), ("EUR", "wire")):
            terms = policy().terms(currency, rail)
            assert terms is not None
            assert (terms.fixed_minor, terms.fee_bp, terms.fee_cap_minor) == (0, 0, 0)

    @pytest.mark.parametrize(
        ("currency", "rail"),
        [("BHD", "paypal"), ("JPY", "wire"), ("EUR", "none"), ("USD", "paypal"), ("", "")],
    )
    def test_none_where_the_policy_provides_none(self, currency: str, rail: str) -> None:
        assert policy().terms(currency, rail) is None

    def test_the_company_may_bear_the_fee(self) -> None:
        terms = policy("fee_bearer: seller", "fee_bearer: company").terms("EUR", "paypal")
        assert terms is not None
        assert not terms.seller_pays

    def test_the_window_is_nothing_unless_given(self) -> None:
        terms = policy("window_seconds: 90\n", "").terms("EUR", "wire")
        assert terms is not None
        assert terms.window_ms == 0

    def test_looking_up_makes_nothing_new(self) -> None:
        one = policy()
        assert one.terms("EUR", "paypal") is one.terms("EUR", "paypal")


class TestFraud:
    def test_scores_are_exact(self) -> None:
        fraud = policy().fraud
        assert fraud.hold_score == Decimal("0.35")
        assert fraud.hold_score_bp == 3500
        assert policy("0.35", "1").fraud.hold_score_bp == 10_000
        assert policy("0.35", "0.0001").fraud.hold_score_bp == 1

    def test_nothing_is_paid_unscored_in_a_currency_that_is_not_listed(self) -> None:
        assert policy().fraud.unscored_cap("EUR") == 2000
        assert policy().fraud.unscored_cap("USD") == 0

    def test_instant_payouts_can_be_stopped(self) -> None:
        assert policy().instant == ("instant",)
        assert policy("fraud:", "instant: []\nfraud:").instant == ()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("{min: 500,", "{min: 500001,", "2: currencies.EUR.min: the minimum 500001 is above the"),
        ("{min: 500,", "{min: 0,", "2: currencies.EUR.min: must be more than 0 minor units"),
        ("max: 900", "max: 9.5", "3: currencies.JPY.max: write an integer of minor units"),
        ("max: 900", "max: 900, most: 1", "3: currencies.JPY.most: is not known here"),
        ("BHD:", "BXX:", "4: currencies.BXX: 'BXX' is not an ISO 4217 currency"),
        ("window_seconds: 90", "window_seconds: 1.5", "5: window_seconds: "),
        ("window_seconds: 90", "window_seconds: -1", "5: window_seconds: "),
        (": 90\n", f": {WINDOW_SECONDS_MAX + 1}\n", "5: window_seconds: "),
        ("fee_bearer: seller", "fee_bearer: bank", "6: fee_bearer: "),
        ("fee_bearer: seller\n", "", "1: fee_bearer: is missing"),
        ("paypal:", "PayPal:", "8: rails.PayPal: "),
        ("[EUR, JPY]", "[EUR, USD]", "9: rails.paypal.currencies[1]: USD has no limits"),
        ("[EUR, JPY]", "[]", "9: rails.paypal.currencies: "),
        ("      EUR: {fixed", "      BHD: {fixed", "11: rails.paypal.fee.BHD: BHD is not one of"),
        (
            "cap: 100",
            "cap: 9",
            "11: rails.paypal.fee.EUR.cap: the cap 9 is below the fixed part 10",
        ),
        ("cap: 100", "cap: 0", "11: rails.paypal.fee.EUR.cap: must be more than 0"),
        ("1.5", "1.555", "11: rails.paypal.fee.EUR.percent: 1.555 is not a percentage"),
        ("0.35", "1.01", "15: fraud.hold_score: write a number from 0 to 1"),
        ("0.35", "35 %", "15: fraud.hold_score: write a number from 0 to 1"),
        ("0.35", "true", "15: fraud.hold_score: write a number from 0 to 1"),
        ("0.35", "0.35555", "15: fraud.hold_score: 0.35555 has more than four decimals"),
        ("{EUR: 2000}", "{EUR: 20.00}", "16: fraud.unscored_cap.EUR: write an integer"),
        ("fraud:", "instant: [hold]\nfraud:", "14: instant[0]: "),
        ("{EUR: 2000}", "{}\n  review_cost: {EUR: 0}", "17: fraud.review_cost.EUR: must be more"),
        ("{EUR: 2000}", "{}\n  wait_cost: 101", "17: fraud.wait_cost: 101 is more than 100"),
        ("{EUR: 2000}", "{}\n  partial_min: a", "17: fraud.partial_min: 'a' is not a percent"),
        (
            "{EUR: 2000}",
            "{}\n  explore:\n    share: 1\n    max: {EUR: 100}\n    day_max: {EUR: 6399}",
            "20: fraud.explore.day_max.EUR: 6399 on a day is less than 64 times the 100",
        ),
        (
            "{EUR: 2000}",
            "{}\n  explore:\n    share: 1\n    max: {EUR: 100}\n    day_max: {}",
            "19: fraud.explore.max.EUR: 0 on a day is less than 64 times the 100",
        ),
        ("{EUR: 2000}", "{}\n  rules:\n  - {reason: a}", "18: fraud.rules[0]: names no condition"),
        (
            "{EUR: 2000}",
            "{}\n  rules:\n  - {reason: a, cards: [c]}\n  - {reason: a, cards: [d]}",
            "19: fraud.rules[1].reason: a is another rule's reason",
        ),
        (
            "{EUR: 2000}",
            "{}\n  rules:\n  - reason: a\n    cards: [c]\n    tier: instant",
            "20: fraud.rules[0].tier: ",
        ),
        (
            "{EUR: 2000}",
            "{}\n  rules:\n  - reason: a\n    countrys: [DE]",
            "19: fraud.rules[0].countrys: is not known here",
        ),
    ],
)
def test_refused_with_the_line(old: str, new: str, expected: str) -> None:
    assert problem(old, new).startswith("policy.yaml:" + expected)


def test_the_digest_is_of_what_decides() -> None:
    fraud = policy().fraud
    assert fraud.digest == policy("fee_bearer: seller", "fee_bearer: company").fraud.digest
    assert fraud.digest == policy("{EUR: 2000}", "{EUR: 2000}\n  wait_cost: 0").fraud.digest
    assert fraud.digest != policy("{EUR: 2000}", "{EUR: 2001}").fraud.digest
    assert fraud.digest != policy("0.35", "0.36").fraud.digest
    rule = "{EUR: 2000}\n  rules: [{reason: a, cards: [c]}]"
    assert fraud.digest != policy("{EUR: 2000}", rule).fraud.digest


def test_the_shipped_policy_fits_its_rail() -> None:
    path = Path(__file__).parents[2] / "streams" / "defaults" / "policy.yaml"
    shipped = load(path.read_text(), PayoutPolicy, path.name)
    assert set(shipped.currencies) == {"EUR", "GBP", "USD", "JPY", "CAD", "BRL", "BHD"}
    for (currency, rail), terms in shipped.all_terms.items():
        assert rail == "paypal"
        for amount_minor in (terms.min_minor, terms.max_minor):
            assert PAYPAL.refusal(currency, amount_minor) is None
        fee = terms.fixed_minor + terms.min_minor * terms.fee_bp // 10_000
        assert fee < terms.min_minor
        assert 0 < shipped.fraud.unscored_cap(currency) < terms.max_minor
