"""Methods: the ways to pay a seller, when each is one, and how they are kept with her profile."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.events import SellerUpdated
from models.sellers import Method, Seller, read_seller, stored_profile

NOW_MS = 1_790_000_000_000


def updated(**more: Any) -> SellerUpdated:
    fields = {"id": "e-1", "occurred_at": "2026-11-24T10:00:00Z", "seller_id": "s-1"}
    return SellerUpdated.model_validate({**fields, "country": "DE", **more})


def kept(
    *methods: Method, before: Seller | None = None, event: SellerUpdated | None = None
) -> Seller:
    """A seller as she is read back."""
    rev = before.rev + 1 if before else 1
    profile = stored_profile(event or updated(), methods, before)
    return read_seller("s-1", f"{rev}|{profile}".encode())


class TestRefusal:
    def test_a_method_that_can_be_paid_has_none(self) -> None:
        assert Method("d", ("bank",)).refusal(NOW_MS) is None

    @pytest.mark.parametrize(
        ("until_ms", "refusal"),
        [
            (0, None),
            (NOW_MS + 1, None),
            (NOW_MS, "destination_expired"),
            (1, "destination_expired"),
        ],
    )
    def test_an_expired_one_is_refused_from_that_very_moment(
        self, until_ms: int, refusal: str | None
    ) -> None:
        assert Method("d", ("bank",), until_ms=until_ms).refusal(NOW_MS) == refusal

    def test_what_the_rail_said_comes_before_what_we_know(self) -> None:
        method = Method("d", ("bank",), "iban_invalid", "account_closed", 1)
        assert method.refusal(NOW_MS) == "account_closed"
        assert method._replace(disabled=None).refusal(NOW_MS) == "iban_invalid"
        assert method._replace(disabled=None, refused=None).refusal(NOW_MS) == "destination_expired"


METHODS = st.lists(
    st.builds(
        Method,
        st.text("abcdef", min_size=8, max_size=8),
        st.lists(st.sampled_from(["bank", "card", "wallet"]), max_size=3, unique=True).map(tuple),
        st.none() | st.sampled_from(["iban_invalid", "rail_unknown"]),
        st.none(),
        st.integers(0, 2**45),
        st.none() | st.text("abcdef", min_size=16, max_size=16),
    ),
    max_size=4,
)


class TestKept:
    @given(METHODS)
    def test_methods_come_back_as_they_were_in_their_order(self, methods: list[Method]) -> None:
        assert kept(*methods).methods == tuple(methods)

    def test_a_seller_without_a_method_has_none(self) -> None:
        assert kept().methods == ()
        assert "methods" not in json.loads(stored_profile(updated(), [], None))

    def test_what_is_not_there_takes_no_room(self) -> None:
        profile = json.loads(stored_profile(updated(), [Method("d1", ("bank",))], None))
        assert profile["methods"] == [{"destination": "d1", "rails": ["bank"]}]

    def test_the_revision_is_read(self) -> None:
        first = kept()
        assert (first.rev, kept(before=first).rev) == (1, 2)

    def test_the_change_of_her_preference_is_told_to_the_profile(self) -> None:
        payout = {"destination": "v1.k.AAAAAAAA", "changed_at": "1970-01-02T00:00:00.001+00:00"}
        seller = kept(event=updated(payout=payout))
        assert seller.profile.payout_changed_ms == 86_400_001

    def test_a_suspended_seller_keeps_her_methods(self) -> None:
        seller = kept(Method("d1", ("bank",)), event=updated(status="suspended"))
        assert seller.suspended
        assert seller.methods == (Method("d1", ("bank",)),)


def disabled(seller: Seller, destination: str, reason: str = "account_closed") -> Seller:
    """She, as the wallets keep her once a rail has refused a destination for good."""
    profile = json.loads(stored_profile(updated(), seller.methods, seller))
    for one in profile["methods"]:
        if one["destination"] == destination:
            one["disabled"] = reason
    return read_seller("s-1", f"{seller.rev + 1}|{json.dumps(profile)}".encode())


class TestDisabled:
    BOTH = (Method("d1", ("bank",)), Method("d2", ("wallet", "bank")))

    def test_it_is_read(self) -> None:
        assert disabled(kept(*self.BOTH), "d1").methods == (
            Method("d1", ("bank",), disabled="account_closed"),
            self.BOTH[1],
        )

    def test_a_profile_that_comes_again_does_not_enable_it(self) -> None:
        before = disabled(kept(*self.BOTH), "d1")
        assert kept(*self.BOTH, before=before).methods == before.methods
        twice = kept(*self.BOTH, before=kept(*self.BOTH, before=before))
        assert twice.methods == before.methods

    def test_it_stays_with_the_destination_wherever_in_the_order(self) -> None:
        before = disabled(kept(*self.BOTH), "d1")
        after = kept(*reversed(self.BOTH), before=before)
        assert [one.disabled for one in after.methods] == [None, "account_closed"]

    def test_another_rail_does_not_enable_it(self) -> None:
        before = disabled(kept(*self.BOTH), "d1")
        (after,) = kept(Method("d1", ("wallet",)), before=before).methods
        assert after.disabled == "account_closed"

    def test_a_new_destination_is_not_disabled(self) -> None:
        before = disabled(kept(*self.BOTH), "d1")
        (after,) = kept(Method("d3", ("bank",)), before=before).methods
        assert after.disabled is None

    def test_a_destination_named_twice_is_disabled_twice(self) -> None:
        twice = (Method("d1", ("bank",)), Method("d1", ("wallet",)))
        before = disabled(kept(*twice), "d1")
        after = kept(*twice, before=before)
        assert [one.disabled for one in after.methods] == ["account_closed"] * 2

    def test_a_destination_added_a_second_time_is_disabled_there_too(self) -> None:
        before = disabled(kept(Method("d1", ("bank",))), "d1")
        after = kept(Method("d1", ("wallet",)), Method("d1", ("bank",)), before=before)
        assert [one.disabled for one in after.methods] == ["account_closed"] * 2

    def test_only_what_was_kept_disables_not_what_comes(self) -> None:
        (after,) = kept(Method("d1", ("bank",), disabled="by_nobody")).methods
        assert after.disabled is None
