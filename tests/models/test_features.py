"""Features: states round trip, vectors do not hang on batching, and nothing makes a NaN."""

from __future__ import annotations

import random
import struct
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from math import isfinite, log, log1p

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import units
from models.events import SaleCompleted, SaleReturned
from models.features import (
    FEATURES,
    NOTHING,
    STATE_CHARS_MAX,
    Profile,
    entities,
    learn,
    observe,
)
from models.money import MINOR_MAX

START_MS = 1_790_000_000_000
DAY_MS = 86_400_000
HOUR_MS = 3_600_000


def sale(
    at_ms: int = START_MS,
    amount_minor: int = 5_000,
    *,
    seller: str = "anna",
    currency: str = "EUR",
    card: str | None = None,
    device: str | None = None,
    customer: str | None = None,
    country: str | None = None,
) -> SaleCompleted:
    return SaleCompleted(
        id="e",
        occurred_at=datetime.fromtimestamp(at_ms / 1000, UTC),
        seller_id=seller,
        sale_id="x",
        currency=currency,
        amount_minor=amount_minor,
        instrument_ref=card,
        device_ref=device,
        customer_ref=customer,
        country=country,
    )


def returned(at_ms: int = START_MS, amount_minor: int = 5_000) -> SaleReturned:
    return SaleReturned(
        id="r",
        occurred_at=datetime.fromtimestamp(at_ms / 1000, UTC),
        seller_id="anna",
        sale_id="x",
        currency="EUR",
        amount_minor=amount_minor,
    )


def play(
    events: Sequence[SaleCompleted | SaleReturned],
    profile: Profile | None = None,
    known: dict[str, str | None] | None = None,
) -> tuple[list[dict[str, float]], dict[str, str | None]]:
    states = dict(known or {})
    named = []
    for event in events:
        row, updates = observe(states, event, profile)
        states.update(updates)
        if row is not None:
            named.append(dict(zip(FEATURES, row, strict=True)))
    return named, states


def history(seed: int, length: int) -> list[SaleCompleted | SaleReturned]:
    rng = random.Random(seed)
    at_ms = START_MS
    events: list[SaleCompleted | SaleReturned] = []
    for _ in range(length):
        at_ms += rng.choice((0, 1, 900, 60_000, DAY_MS)) - rng.choice((0, 0, 5_000))
        if rng.random() < 0.1:
            events.append(returned(at_ms, rng.randrange(1, 9_000)))
        else:
            events.append(
                sale(
                    at_ms,
                    rng.randrange(20_000),
                    seller=rng.choice(("anna", "bo", "cy", "di", "ed", "flo")),
                    currency=rng.choice(("EUR", "JPY", "BHD")),
                    card=rng.choice((None, "c1", "c2")),
                    device=rng.choice((None, "d1", "d2")),
                    customer=rng.choice((None, "k1", "k2")),
                )
            )
    return events


KEYS = ("s:anna", "i:c", "li:c", "d:d", "ld:d", "c:k")
"""What a sale needs that names a card, a device and a customer."""

EVENTS = [sale(card="c", device="d", customer="k"), sale(card="c"), sale(customer="k"), returned()]


def seller_state(at: int, figures: Sequence[float]) -> str:
    """A seller's state as it is stored, of three sales and no conduct worth telling."""
    conduct = (at, 0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0, 0)
    return packed("<BIHH8fI4f5HI", 2, at, at // 86_400, 3, *figures, *conduct)


def card_state(at: int, figures: Sequence[float]) -> str:
    """A card's state as it is stored: four figures of its use, usual and spent of its spending."""
    use = (2, at, *figures[:4], 0, 5, 6, 0, 0)
    spending = (at // 86_400, 3, *figures[4:], 1.0, 2.0, 0, 0, 0, 0)
    return packed("<BI4f5HHH4f4Ixx", *use, *spending)


def packed(form: str, *values: float) -> str:
    """Values as a state's text."""
    return b64encode(struct.pack(form, *values)).decode()


class TestEntities:
    def test_the_seller_comes_first(self) -> None:
        assert entities(sale(card="c", device="d", customer="k")) == KEYS

    def test_what_is_not_named_is_left_out(self) -> None:
        assert entities(sale()) == ("s:anna",)
        assert entities(sale(device="d")) == ("s:anna", "d:d", "ld:d")
        assert entities(sale(customer="k")) == ("s:anna", "c:k")

    def test_a_return_concerns_its_seller(self) -> None:
        assert entities(returned()) == ("s:anna",)

    @pytest.mark.parametrize("event", EVENTS)
    def test_observing_changes_the_states_of_all_entities_but_not_what_labels_told(
        self, event: SaleCompleted | SaleReturned
    ) -> None:
        _, updates = observe({}, event, None)
        assert set(updates) == {key for key in entities(event) if not key.startswith("l")}


class TestBatching:
    @pytest.mark.parametrize("size", [1, 7, 100, 500])
    def test_vectors_do_not_hang_on_how_events_are_cut_into_batches(self, size: int) -> None:
        events = history(3, 500)
        whole, end = play(events)
        store: dict[str, str] = {}
        rows = []
        for k in range(0, len(events), size):
            batch = events[k : k + size]
            # As the stream does: read what the batch needs, keep it at hand, write it back.
            states: dict[str, str | None] = {
                key: store.get(key) for event in batch for key in entities(event)
            }
            for event in batch:
                row, updates = observe(states, event, None)
                states.update(updates)
                store.update(updates)
                if row is not None:
                    rows.append(dict(zip(FEATURES, row, strict=True)))
        assert rows == whole
        assert store == end

    def test_the_time_may_be_given(self) -> None:
        event = sale(card="c")
        assert observe({}, event, None) == observe({}, event, None, at_ms=event.occurred_ms)

    def test_a_vector_does_not_count_its_own_sale(self) -> None:
        first, second = play([sale(), sale()])[0]
        assert first["sales_1h"] == 0
        assert second["sales_1h"] > 0


class TestLabels:
    def told(self, amount_minor: int, *, fraud: bool, card: str | None = "c") -> dict[str, float]:
        """The vector of a sale after the label of one of ``amount_minor`` the day before."""
        hours = range(20)
        _, states = play([sale(START_MS + k * HOUR_MS, card="c", device="d") for k in hours])
        sold = sale(START_MS + DAY_MS, amount_minor, card=card, device="d")
        row, updates = observe(states, sold, None)
        assert row is not None
        states.update(updates)
        states.update(learn(states, sold, row, fraud=fraud))
        [*_, named] = play([sale(START_MS + 2 * DAY_MS, card="c", device="d")], None, states)[0]
        return named

    def test_a_fraud_of_a_usual_amount_speaks_against_card_and_device(self) -> None:
        named = self.told(5_000, fraud=True)
        assert named["card_frauds_28d"] > 0
        assert named["device_fraud_run"] == log1p(1)
        assert named["device_fraud_first"] == named["card_fraud_last"] == log1p(1)

    def test_a_fraud_of_a_high_amount_speaks_against_the_card_alone(self) -> None:
        named = self.told(50_000, fraud=True)
        assert named["card_frauds_28d"] > 0
        assert named["device_frauds_28d"] == 0
        assert named["device_genuine_last"] == NOTHING["device_genuine_last"]

    def test_without_a_card_it_speaks_against_the_device(self) -> None:
        assert self.told(50_000, fraud=True, card=None)["device_frauds_28d"] > 0

    def test_a_genuine_sale_is_known_of_both(self) -> None:
        named = self.told(50_000, fraud=False)
        assert named["card_genuine_last"] == named["device_genuine_last"] == log1p(1)

    def test_where_there_is_nothing_to_tell_the_features_say_so(self) -> None:
        for event in (sale(), sale(card="c", device="d", customer="k")):
            [named] = play([event])[0]
            assert {name: named[name] for name in NOTHING} == NOTHING


refs = st.sampled_from([None, "a", "b", "c", "d", "e", "f"])
sales = st.builds(
    sale,
    at_ms=st.integers(946_684_800_000, 4_000_000_000_000),
    amount_minor=st.sampled_from([0, 1, 5_000, MINOR_MAX]),
    seller=st.sampled_from(["a", "b", "c", "d", "e", "f"]),
    currency=st.sampled_from(["EUR", "JPY", "BHD", "VND", "XOF"]),
    card=refs,
    device=refs,
    customer=refs,
    country=st.sampled_from([None, "DE", "US"]),
)
returns = st.builds(
    returned,
    at_ms=st.integers(946_684_800_000, 4_000_000_000_000),
    amount_minor=st.sampled_from([1, MINOR_MAX]),
)
profiles = st.none() | st.builds(
    Profile,
    country=st.sampled_from([None, "DE"]),
    joined_ms=st.none() | st.integers(0, 4_000_000_000_000),
    payout_changed_ms=st.none() | st.integers(0, 4_000_000_000_000),
    accounts=st.sampled_from([(), ("b:1",), ("b:1", "b:2")]),
    upline=st.none() | st.sampled_from(["u:1", "u:2"]),
)


class TestBounds:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(sales | returns, profiles), max_size=12))
    def test_states_stay_small_and_vectors_finite(
        self, items: list[tuple[SaleCompleted | SaleReturned, Profile | None]]
    ) -> None:
        states: dict[str, str | None] = {}
        sold: Counter[str] = Counter()
        for event, profile in items:
            row, updates = observe(states, event, profile)
            states.update(updates)
            assert all(t.isascii() and len(t) <= STATE_CHARS_MAX <= 160 for t in updates.values())
            if row is not None:
                assert all(isfinite(x) for x in row)
                # Her sales are still known: what was written was read, not taken for damaged.
                assert row[FEATURES.index("experience")] == log(1 + sold[event.seller_id])
                sold[event.seller_id] += 1

    @settings(max_examples=100, deadline=None)
    @given(
        st.text(max_size=100)
        | st.binary(min_size=31, max_size=75).map(bytes.hex)
        | st.binary(min_size=75, max_size=75).map(lambda raw: b64encode(raw).decode())
    )
    def test_any_text_for_a_state_gives_a_finite_vector(self, text: str) -> None:
        profile = Profile(accounts=("b:1",), upline="u:1")
        states: dict[str, str | None] = dict.fromkeys((*KEYS, *profile.around), text)
        row, _ = observe(states, sale(card="c", device="d", customer="k"), profile)
        assert row is not None
        assert all(isfinite(x) for x in row)
        assert observe(states, returned(), profile)[0] is None

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 3e38])
    @pytest.mark.parametrize("place", range(8))
    def test_a_seller_with_an_impossible_figure_starts_afresh(
        self, place: int, value: float
    ) -> None:
        figures = [4.0, 1.0, 1.0, 2.0, 3.0, 50.0, 90.0, 0.0]
        at = START_MS // 1000
        good = seller_state(at, figures)
        known, _ = observe({"s:anna": good}, sale(), None)
        figures[place] = value
        bad = seller_state(at, figures)
        fresh, _ = observe({}, sale(), None)
        assert observe({"s:anna": bad}, sale(), None)[0] == fresh
        assert known != fresh

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 3e38])
    @pytest.mark.parametrize("place", range(6))
    def test_a_card_with_an_impossible_figure_starts_afresh(self, place: int, value: float) -> None:
        figures = [1.0, 2.0, 3.0, 1.0, 20.0, 5.0]
        at = START_MS // 1000
        good = card_state(at, figures)
        figures[place] = value
        bad = card_state(at, figures)
        fresh, _ = observe({}, sale(card="c"), None)
        assert observe({"i:c": bad}, sale(card="c"), None)[0] == fresh
        assert observe({"i:c": good}, sale(card="c"), None)[0] != fresh

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 3e38])
    @pytest.mark.parametrize("place", range(6))
    @pytest.mark.parametrize("named", ["customer", "device"])
    def test_a_customer_or_a_device_with_an_impossible_figure_starts_afresh(
        self, named: str, place: int, value: float
    ) -> None:
        event, key = sale(**{named: "k"}), f"{named[0]}:k"
        figures = [1.0, 2.0, 3.0, 1.0, 20.0, 5.0]
        at = START_MS // 1000

        def state() -> str:
            use = (2, at, *figures[:4], 0, 5, 6, 0, 0)
            return packed("<BI4f5HHffx", *use, 3, *figures[4:])

        good = state()
        figures[place] = value
        fresh, _ = observe({}, event, None)
        assert observe({key: state()}, event, None)[0] == fresh
        assert observe({key: good}, event, None)[0] != fresh

    def test_another_format_counts_as_absent(self) -> None:
        text = observe({}, sale(), None)[1]["s:anna"]
        other = b64encode(b"\x03" + b64decode(text)[1:]).decode()
        fresh, _ = observe({}, sale(), None)
        assert observe({"s:anna": text}, sale(), None)[0] != fresh
        assert observe({"s:anna": other}, sale(), None)[0] == fresh


class TestSeller:
    def test_counts_halve_in_their_half_life(self) -> None:
        rows, _ = play([sale(), sale(START_MS + HOUR_MS)])
        assert rows[1]["sales_1h"] == pytest.approx(0.405465, abs=1e-5)  # ln 1.5

    def test_a_late_event_counts_as_at_the_last_time(self) -> None:
        late = play([sale(), sale(START_MS + HOUR_MS), sale()])
        on_time = play([sale(), sale(START_MS + HOUR_MS), sale(START_MS + HOUR_MS)])
        assert late[1] == on_time[1]

    def test_an_amount_above_her_own_stands_out(self) -> None:
        usual = [sale(START_MS + k * HOUR_MS, 5_000) for k in range(20)]
        row = play([*usual, sale(START_MS + DAY_MS, 50_000)])[0][-1]
        assert row["amount_against_own"] > 3

    def test_one_large_sale_does_not_teach_that_large_is_usual(self) -> None:
        usual = [sale(START_MS + k * HOUR_MS, 5_000) for k in range(20)]
        large = [sale(START_MS + DAY_MS, 900_000), sale(START_MS + DAY_MS, 900_000)]
        rows = play([*usual, *large])[0]
        assert rows[-1]["amount_against_own"] > 4

    def test_currencies_are_comparable(self) -> None:
        assert units.reference(8_000, "JPY") == pytest.approx(50)
        assert units.reference(5_000, "EUR") == pytest.approx(50)
        with pytest.raises(KeyError):
            units.reference(1, "XAU")

    def test_returns_raise_the_ratio(self) -> None:
        rows, _ = play([sale(), returned(), sale()])
        assert rows[0]["returns_ratio"] == 0
        assert rows[1]["returns_ratio"] == pytest.approx(50 / 150)

    def test_a_changed_destination_shows_and_fades(self) -> None:
        profile = Profile(payout_changed_ms=START_MS)
        at_once, day_later = play([sale(), sale(START_MS + DAY_MS)], profile)[0]
        assert at_once["payout_just_changed"] == 1
        assert day_later["payout_just_changed"] == pytest.approx(0.5)
        assert play([sale()], Profile())[0][0]["payout_just_changed"] == 0

    def test_foreign_needs_both_countries(self) -> None:
        abroad = sale(country="US")
        assert play([abroad], Profile(country="DE"))[0][0]["foreign"] == 1
        assert play([abroad], Profile(country="US"))[0][0]["foreign"] == 0
        assert play([abroad], Profile())[0][0]["foreign"] == 0
        assert play([sale()], Profile(country="DE"))[0][0]["foreign"] == 0

    def test_tenure_comes_from_the_profile_or_the_first_day_seen(self) -> None:
        late = sale(START_MS + 30 * DAY_MS)
        joined = Profile(joined_ms=START_MS - 70 * DAY_MS)
        known, imputed = play([sale(), late], joined)[0][1], play([sale(), late])[0][1]
        assert known["tenure"] > imputed["tenure"] > 3


class TestAround:
    """Those whom a seller's profile names."""

    def test_the_account_with_most_others_counts(self) -> None:
        busy, both = Profile(accounts=("b:busy",)), Profile(accounts=("b:quiet", "b:busy"))
        _, states = play([sale(seller="ben"), sale(seller="cleo")], busy)
        _, states = play([sale(seller="dora")], Profile(accounts=("b:quiet",)), states)
        [row], states = play([sale()], both, states)
        assert row["account_sellers"] == 2
        assert play([sale(seller="ben")], busy, states)[0][0]["account_sellers"] == 2

    def test_what_a_team_sends_back_shows_with_all_who_have_its_upline(self) -> None:
        team = Profile(upline="u:up")
        events = [sale(amount_minor=100_000), returned(amount_minor=50_000), sale(seller="ben")]
        rows, states = play(events, team)
        assert rows[0]["upline_returns"] == 0
        assert rows[-1]["upline_returns"] == pytest.approx(500 / 1_500)
        [other], _ = play([sale(seller="eve")], Profile(upline="u:another"), states)
        assert other["upline_returns"] == 0

    @pytest.mark.parametrize("profile", [None, Profile()])
    def test_where_a_profile_names_nobody_nothing_is_told_and_nothing_kept(
        self, profile: Profile | None
    ) -> None:
        [row], states = play([sale(), returned()], profile)
        assert row["account_sellers"] == row["upline_returns"] == 0
        assert list(states) == ["s:anna"]


class TestCardsAndDevices:
    def test_an_amount_above_what_a_device_sells_for_stands_out(self) -> None:
        usual = [sale(START_MS + k * HOUR_MS, seller=f"s{k}", device="d") for k in range(20)]
        row = play([*usual, sale(START_MS + DAY_MS, 50_000, seller="new", device="d")])[0][-1]
        assert row["device_amount_against_own"] == pytest.approx(log(10), abs=0.1)
        assert row["device_experience"] == log1p(20)
        assert row["device_last"] == pytest.approx(log1p(5 / 24))

    def test_other_sellers_are_counted_to_four(self) -> None:
        events = [sale(seller=name, card="c") for name in "abcdefg"]
        others = [row["card_other_sellers"] for row in play(events)[0]]
        assert others == [0, 1, 2, 3, 4, 4, 4]

    def test_a_seller_is_not_other_to_herself(self) -> None:
        events = [sale(seller=name, card="c") for name in "abcdabcd"]
        others = [row["card_other_sellers"] for row in play(events)[0]]
        assert others == [0, 1, 2, 3, 3, 3, 3, 3]

    def test_a_new_seller_on_a_known_device(self) -> None:
        events = [sale(seller=name, device="d") for name in "aabba"]
        new = [row["device_new_to_seller"] for row in play(events)[0]]
        assert new == [0, 0, 1, 0, 0]

    def test_another_customer_on_a_known_card(self) -> None:
        events = [sale(card="c", customer=name) for name in ("k", "k", "l", None, "m")]
        other = [row["card_other_customer"] for row in play(events)[0]]
        assert other == [0, 0, 1, 0, 0]

    def test_one_card_that_pays_everything(self) -> None:
        own = play([sale(card="own") for _ in range(20)])[0][-1]["card_share"]
        many = play([sale(card=f"c{k}") for k in range(20)])[0][-1]["card_share"]
        assert own > 0.9
        assert many == 0

    def test_tests_of_cards_show_on_the_device(self) -> None:
        rows, _ = play([sale(card=f"c{k}", device="d") for k in range(20)])
        counts = [row["device_1h"] for row in rows]
        assert all(later > earlier for earlier, later in pairwise(counts))


class TestCustomers:
    def test_other_sellers_are_counted_to_four(self) -> None:
        events = [sale(seller=name, customer="k") for name in "abcdefg"]
        others = [row["customer_other_sellers"] for row in play(events)[0]]
        assert others == [0, 1, 2, 3, 4, 4, 4]

    def test_another_card_than_before(self) -> None:
        events = [sale(customer="k", card=card) for card in ("c", "c", "e", None, "c")]
        other = [row["customer_other_card"] for row in play(events)[0]]
        assert other == [0, 0, 1, 0, 0]

    def test_what_is_usual_goes_with_the_customer_whatever_card_pays(self) -> None:
        usual = [sale(START_MS + k * HOUR_MS, 1_000, customer="k", card=f"c{k}") for k in range(20)]
        rows, _ = play([*usual, sale(START_MS + DAY_MS, 50_000, customer="k", card="new")])
        assert rows[-1]["customer_amount_against_own"] > 2.5
        assert rows[-1]["customer_experience"] == log1p(20)
        assert rows[-1]["card_experience"] == 0
        counts = [row["customer_7d"] for row in rows]
        assert all(later > earlier for earlier, later in pairwise(counts[:20]))

    def test_a_sale_that_names_none_looks_like_a_first_purchase_of_a_usual_amount(self) -> None:
        [nobody], [somebody] = play([sale(0, 5_500)])[0], play([sale(0, 5_500, customer="k")])[0]
        assert nobody == somebody


class TestConduct:
    def test_a_seller_who_is_her_own_customer(self) -> None:
        events = [sale(customer="anna", card="own"), sale(customer="kim", card="c")]
        assert [row["own_purchase"] for row in play(events)[0]] == [1, 0]

    def test_her_card_is_known_by_such_a_sale_under_whatever_name_it_comes_later(self) -> None:
        later = sale(START_MS + HOUR_MS, customer="kim", card="own")
        assert play([later])[0][0]["own_purchase"] == 0
        rows, _ = play([sale(customer="anna", card="own"), later])
        assert rows[1]["own_purchase"] == 1
        # Another seller's purchases with it say nothing of her.
        [*_, other] = play([sale(customer="anna", card="own"), sale(seller="bo", card="own")])[0]
        assert other["own_purchase"] == 0

    def test_her_share_of_what_she_sold(self) -> None:
        [_, row] = play([sale(customer="anna"), sale(START_MS + 1_000)])[0]
        assert row["own_share"] == pytest.approx(50 / 100, abs=1e-4)

    def test_sales_of_one_amount_count_until_one_differs_and_fade(self) -> None:
        rows, _ = play([sale(amount_minor=minor) for minor in (5_000, 5_100, 5_000, 9_000)])
        alike = [row["amounts_alike_1h"] for row in rows]
        assert alike[:3] == pytest.approx([0, log1p(1), log1p(2)])
        assert alike[3] == pytest.approx(log1p(2))
        rows, _ = play([sale(), sale(), sale(START_MS + HOUR_MS, 9_000)])
        assert rows[2]["amounts_alike_1h"] == pytest.approx(log1p(0.5), abs=1e-4)

    def test_a_return_between_does_not_stop_the_fading(self) -> None:
        between = returned(START_MS + HOUR_MS - 1_000)
        plain = play([sale(), sale(), sale(START_MS + HOUR_MS, 9_000)])[0][-1]
        after = play([sale(), sale(), between, sale(START_MS + HOUR_MS, 9_000)])[0][-1]
        assert after["amounts_alike_1h"] == plain["amounts_alike_1h"]

    def test_cards_that_nobody_saw(self) -> None:
        events = [sale(card=name) for name in ("a", "b", "a", "c")] + [sale()]
        strangers = [row["strangers_1h"] for row in play(events)[0]]
        assert strangers == pytest.approx([0, log1p(1), log1p(2), log1p(2), log1p(3)])

    def test_those_who_share_her_cards_and_devices_and_whom_she_met_before(self) -> None:
        events = [
            sale(seller="bo", card="c"),
            sale(seller="cy", device="d"),
            sale(card="c"),  # with bo
            sale(device="d"),  # with cy, and still linked to bo
            sale(START_MS + DAY_MS, card="own"),  # with neither
            sale(START_MS + 9 * DAY_MS, card="own"),  # long after
        ]
        linked = [row["linked_sellers"] for row in play(events)[0]]
        assert linked == pytest.approx([0, 0, log1p(1), log1p(2), log1p(2), 0])

    def test_how_many_are_linked_is_bounded(self) -> None:
        names = [f"s{k}" for k in range(40)]
        events = [
            sale(seller=name, card=f"c{k // 5}", device=f"d{k % 7}") for k, name in enumerate(names)
        ]
        assert max(row["linked_sellers"] for row in play(events * 3)[0]) <= log1p(10)

    def test_the_end_of_the_month(self) -> None:
        eve = round(datetime(2026, 2, 28, 22, tzinfo=UTC).timestamp() * 1000)
        rows, _ = play([sale(eve), sale(eve + 2 * HOUR_MS)])
        assert [row["period_left"] for row in rows] == pytest.approx([log1p(2), log1p(31 * 24)])

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
    @pytest.mark.parametrize("place", range(4))
    def test_a_conduct_with_an_impossible_figure_starts_afresh(
        self, place: int, value: float
    ) -> None:
        usual = [sale(customer="anna", card="own"), sale(card="c")]
        _, states = play(usual)
        text = states["s:anna"]
        assert text is not None
        raw = bytearray(b64decode(text))
        raw[45 + 4 * place : 49 + 4 * place] = struct.pack("<f", value)
        bad = b64encode(raw).decode()
        [row] = play([sale(card="own")], None, {"s:anna": bad})[0]
        assert all(isfinite(figure) for figure in row.values())
        assert row["own_purchase"] == 0
        assert play([sale(card="own")], None, {"s:anna": text})[0][0]["own_purchase"] == 1
