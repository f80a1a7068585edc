"""Inspection: which rails can pay to a destination, and why none can."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from models.events import PayoutMethod, SellerUpdated
from models.sellers import Method
from rails.adyen.settings import AdyenSettings
from rails.destination import Seal
from rails.expiry import expires_ms
from rails.inspection import OTHER_KIND, UNREADABLE, Inspector
from rails.marqeta.settings import MarqetaSettings
from rails.marqeta_push.settings import PushSettings
from rails.paypal.settings import PayPalSettings
from rails.registry import refusals

SEAL = Seal({"k": bytes(range(32))})
OTHER_SEAL = Seal({"other": bytes(range(32))})
SAME_NAME_SEAL = Seal({"k": bytes(range(1, 33))})
RAILS = {"paypal": PayPalSettings(), "adyen": AdyenSettings(), "adyen_us": AdyenSettings()}
INSPECTOR = Inspector(SEAL, refusals(RAILS))

EMAIL = "anna@example.com"


def account(kind: str, **fields: str) -> str:
    return json.dumps({"kind": kind, "holder": "Anna Muster", **fields})


def card(expires: str, number: str = "4111 1111 1111 1111") -> str:
    return account("card", number=number, expires=expires)


def instrument(expires: str) -> str:
    return json.dumps({"kind": "marqeta_card", "token": "card-1", "expires": expires})


IBAN = account("iban", iban="DE89370400440532013000")
WRONG_IBAN = account("iban", iban="DE88370400440532013000")


def sealed(destination: str, rail: str | None = None, seal: Seal = SEAL) -> PayoutMethod:
    return PayoutMethod(rail=rail, destination=seal.seal("s-1", destination))


def inspect(destination: str, rail: str | None = None) -> Method:
    method = sealed(destination, rail)
    found = INSPECTOR.inspect("s-1", method)
    assert found.destination == method.destination
    assert found.disabled is None
    return found


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


class TestRails:
    @pytest.mark.parametrize(
        ("destination", "rails"),
        [
            (EMAIL, ("paypal",)),
            ("+4917612345678", ("paypal",)),
            (IBAN, ("adyen", "adyen_us")),
            (account("us", routing="011000138", account="123456789"), ("adyen", "adyen_us")),
            (card("12/2099"), ("adyen", "adyen_us")),
        ],
    )
    def test_without_a_rail_all_that_take_the_destination_in_their_order(
        self, destination: str, rails: tuple[str, ...]
    ) -> None:
        found = inspect(destination)
        assert (found.rails, found.refused) == (rails, None)

    @pytest.mark.parametrize(
        ("destination", "rail"), [(EMAIL, "paypal"), (IBAN, "adyen"), (IBAN, "adyen_us")]
    )
    def test_a_rail_that_is_named_is_the_only_one(self, destination: str, rail: str) -> None:
        found = inspect(destination, rail)
        assert (found.rails, found.refused) == ((rail,), None)

    def test_nothing_opened_is_kept(self) -> None:
        for destination in (EMAIL, IBAN, WRONG_IBAN, card("12/2099")):
            shown = repr(inspect(destination)) + repr(vars(INSPECTOR))
            assert "anna" not in shown.lower()
            assert "37040044" not in shown
            assert "4111" not in shown


class TestRefused:
    @pytest.mark.parametrize(
        ("destination", "rail", "reason"),
        [
            (EMAIL, "adyen", OTHER_KIND),
            (IBAN, "paypal", OTHER_KIND),
            (WRONG_IBAN, "adyen", "iban_check_digits_invalid"),
            (WRONG_IBAN, "paypal", OTHER_KIND),
            (card("12/2099", "4111111111111112"), "adyen", "card_check_digit_invalid"),
            (card("13/2099"), "adyen", "card_expiry_invalid"),
            ("nowhere", "paypal", OTHER_KIND),
            (EMAIL, "pigeon", "rail_unknown"),
            (IBAN, "pigeon", "rail_unknown"),
        ],
    )
    def test_by_the_rail_that_is_named(self, destination: str, rail: str, reason: str) -> None:
        found = inspect(destination, rail)
        assert (found.rails, found.refused) == ((rail,), reason)

    @pytest.mark.parametrize(
        ("destination", "reason"),
        [
            ("nowhere", OTHER_KIND),
            # The word of the rail whose kind it is, not of the one that takes no accounts at all.
            (WRONG_IBAN, "iban_check_digits_invalid"),
            (card("00/2099"), "card_expiry_invalid"),
            (account("iban"), OTHER_KIND),
        ],
    )
    def test_by_all_of_them(self, destination: str, reason: str) -> None:
        found = inspect(destination)
        assert (found.rails, found.refused) == (("paypal", "adyen", "adyen_us"), reason)

    def test_the_same_reason_whatever_the_order_of_the_rails(self) -> None:
        checks = {"a": lambda _: "zip_invalid", "b": lambda _: "bic_invalid", "c": lambda _: None}
        one, other = sealed(EMAIL), ["b", "a"]
        of_two = {rail: checks[rail] for rail in ("a", "b")}
        turned = {rail: checks[rail] for rail in other}
        reasons = {Inspector(SEAL, asked).inspect("s-1", one).refused for asked in (of_two, turned)}
        assert len(reasons) == 1
        assert Inspector(SEAL, checks).inspect("s-1", one).rails == ("c",)

    def test_where_there_is_no_rail_at_all(self) -> None:
        found = Inspector(SEAL, {}).inspect("s-1", sealed(EMAIL))
        assert (found.rails, found.refused) == ((), OTHER_KIND)


class TestUnreadable:
    @pytest.mark.parametrize("seal", [OTHER_SEAL, SAME_NAME_SEAL])
    @pytest.mark.parametrize(
        ("rail", "rails"),
        [
            ("paypal", ("paypal",)),
            ("pigeon", ("pigeon",)),
            (None, ("paypal", "adyen", "adyen_us")),
        ],
    )
    def test_sealed_with_another_key(
        self, seal: Seal, rail: str | None, rails: tuple[str, ...]
    ) -> None:
        found = INSPECTOR.inspect("s-1", sealed(EMAIL, rail, seal))
        assert (found.rails, found.refused, found.until_ms) == (rails, UNREADABLE, 0)

    def test_sealed_for_another_seller(self) -> None:
        assert INSPECTOR.inspect("s-2", sealed(EMAIL)).refused == UNREADABLE

    @pytest.mark.parametrize(
        "text", ["v1.k.AAAAAAAA", "v1.k.A.A.A.A.A", "v1.~~~~~~~~", "v1.k=.AAAAA"]
    )
    def test_no_sealed_text(self, text: str) -> None:
        assert INSPECTOR.inspect("s-1", PayoutMethod(destination=text)).refused == UNREADABLE


class TestExpiry:
    @pytest.mark.parametrize(
        ("expires", "until"),
        [
            ("01/2027", "2027-02-01T12:00:00+00:00"),
            ("11/2026", "2026-12-01T12:00:00+00:00"),
            ("12/2026", "2027-01-01T12:00:00+00:00"),
            ("02/2028", "2028-03-01T12:00:00+00:00"),
            ("12/2099", "2100-01-01T12:00:00+00:00"),
        ],
    )
    def test_a_card_is_good_to_the_end_of_its_month_wherever_that_ends_last(
        self, expires: str, until: str
    ) -> None:
        assert expires_ms(card(expires)) == ms(until)
        assert inspect(card(expires)).until_ms == ms(until)

    def test_its_last_moment_is_good_and_the_next_is_not(self) -> None:
        found = inspect(card("12/2026"), "adyen")
        end = ms("2026-12-31T23:59:59.999-12:00")
        assert found.refusal(end) is None
        assert found.refusal(end + 1) == "destination_expired"

    def test_an_expired_card_can_be_kept_and_not_paid(self) -> None:
        found = inspect(card("01/2020"))
        assert found.refusal(ms("2026-11-25T00:00:00+00:00")) == "destination_expired"

    def test_a_card_behind_a_token_is_no_better(self) -> None:
        rails = refusals({"marqeta": MarqetaSettings(), "marqeta_push": PushSettings()})
        inspector = Inspector(SEAL, rails, lambda: ms("2026-12-31T23:59:59-12:00"))
        for expires, refused in (("12/2026", None), ("11/2026", "destination_expired")):
            found = inspector.inspect("s-1", sealed(instrument(expires)))
            assert found.refused == refused
            assert found.until_ms == expires_ms(card(expires))
            assert refused or found.rails == ("marqeta_push",)


class TestProfile:
    @staticmethod
    def event(**more: Any) -> SellerUpdated:
        return SellerUpdated.model_validate(
            {
                "id": "e-1",
                "occurred_at": "2026-11-24T10:00:00Z",
                "seller_id": "s-1",
                "country": "DE",
                **more,
            }
        )

    def test_without_a_preference_there_is_no_method(self) -> None:
        assert INSPECTOR.methods(self.event()) == []

    def test_all_methods_in_her_order_each_by_itself(self) -> None:
        first, *others = (
            sealed(IBAN, "paypal"),
            sealed(EMAIL),
            sealed(EMAIL, "paypal", OTHER_SEAL),
            sealed(IBAN, "adyen_us"),
        )
        preference = {
            **first.model_dump(),
            "others": [other.model_dump() for other in others],
        }
        methods = INSPECTOR.methods(self.event(payout=preference))
        assert [one.destination for one in methods] == [one.destination for one in (first, *others)]
        assert [(one.rails, one.refused) for one in methods] == [
            (("paypal",), OTHER_KIND),
            (("paypal",), None),
            (("paypal",), UNREADABLE),
            (("adyen_us",), None),
        ]
