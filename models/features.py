"""Features: what a sale looks like against what is known of its seller, card, device and customer.

One definition serves training and serving. What is known of an entity is a *state*, a short ASCII
text that is stored, read back and handed to :func:`observe` again. That text is the definition:
within a batch states travel as text as well, so a vector does not depend on how the events were
cut into batches, and the history a model is trained on goes the same way.

A state holds exponentially decayed counters (half-lives 1 h, 24 h and 7 d), the last time, and who
was there last, as marks: of a seller by :mod:`models.selling` and :mod:`models.conduct`, of a card,
a device and a customer by :mod:`models.usage`. Labels, which come days after their sale, are kept
apart (:mod:`models.labelled`): sales read that state, and only :func:`learn` changes it, so that
neither overwrites what the other found out. So are those around a seller, whom only her profile
names (:mod:`models.around`). A state is a packed struct, in base64 of 100 characters for a seller,
92 for a card, 56 for a device or a customer, 36 for the labels of a card or a device, 44 for an
account and 20 for an upline's team, whatever the history. A state that cannot be read (cut,
tampered with, of another format) counts as absent: the entity starts afresh, and no vector ever
holds a NaN or an infinity.

Times are kept in whole seconds. An event that comes late, older than the last one seen, counts as
if it came at that last time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models import around, conduct, labelled, marks, packing, selling, spending, units, usage
from models.around import AROUND_FEATURES
from models.conduct import CONDUCT_FEATURES
from models.decay import DAY_S, NEVER, PER_DAY
from models.events import SaleCompleted, SaleReturned
from models.labelled import UNLABELLED
from models.selling import SELLING_FEATURES
from models.usage import CARD_FEATURES, CUSTOMER_FEATURES, DEVICE_FEATURES
from models.verdicts import subject, taught

STATE_CHARS_MAX = 100
"""Length of the longest state, in characters. An event needs five at most."""

FEATURES = (
    *SELLING_FEATURES,
    *CARD_FEATURES,
    "card_fraud_last",
    "card_genuine_last",
    "card_frauds_28d",
    *DEVICE_FEATURES,
    "device_fraud_run",
    "device_fraud_first",
    "device_fraud_last",
    "device_genuine_last",
    "device_frauds_28d",
    "device_fraud_share",
    *CUSTOMER_FEATURES,
    *CONDUCT_FEATURES,
    *AROUND_FEATURES,
)
"""The names of a vector's numbers, in order.

Counts, times and amounts are natural logarithms of one plus the figure: sales decayed by the
half-life in the name, days of ``tenure``, minutes ``since_last_sale`` (or return), reference units
of ``amount``, days since the ``first`` and ``last`` (1,000 if never). Bursts are logarithms of the
recent rate over the week's. The rest are shares, flags of 0 or 1, and numbers of sellers.
"""


NOTHING = {
    "card_last": NEVER,
    "card_high_7d": 0.0,
    "card_high_28d": 0.0,
    "card_high_last": NEVER,
    "card_high_second": NEVER,
    "card_high_third": NEVER,
    "card_high_fourth": NEVER,
    "card_fraud_last": NEVER,
    "card_genuine_last": NEVER,
    "card_frauds_28d": 0.0,
    "device_last": NEVER,
    "device_fraud_run": 0.0,
    "device_fraud_first": NEVER,
    "device_fraud_last": NEVER,
    "device_genuine_last": NEVER,
    "device_frauds_28d": 0.0,
    "device_fraud_share": 0.0,
    "customer_last": NEVER,
}
"""What features that are mostly silent say when there is nothing to tell, by name. A model that
knows missing values may take it for one; a vector never holds a NaN."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What scoring needs to know of a seller's profile at the time of a sale."""

    country: str | None = None
    joined_ms: int | None = None
    payout_changed_ms: int | None = None
    """When the payout destination was last changed; None: never, as far as is known."""
    suspended: bool = False
    accounts: tuple[str, ...] = ()
    """The keys under which is kept who else is paid to her accounts (:mod:`models.accounts`)."""
    upline: str | None = None
    """The key of what is known of her upline's team (:mod:`models.uplines`)."""

    @property
    def around(self) -> tuple[str, ...]:
        """The keys of the states of those around her."""
        return self.accounts if self.upline is None else (*self.accounts, self.upline)


_STATES = (packing.SELLER, packing.CARD, packing.BOUGHT, packing.ACCOUNT)
if max(each.size for each in _STATES) // 3 * 4 != STATE_CHARS_MAX:
    raise RuntimeError("the longest state is not as long as stated")


def entities(event: SaleCompleted | SaleReturned) -> tuple[str, ...]:
    """The keys of the states an event needs: its seller's first.

    Then those of card, device and customer, as far as they are named; a card's and a device's are
    followed by the key of what labels told of it.
    """
    seller = "s:" + event.seller_id
    if event.type == "sale.returned":
        return (seller,)
    card, device, customer = event.instrument_ref, event.device_ref, event.customer_ref
    keys: tuple[str, ...] = (seller,)
    if card is not None:
        keys += ("i:" + card, "li:" + card)
    if device is not None:
        keys += ("d:" + device, "ld:" + device)
    if customer is not None:
        keys += ("c:" + customer,)
    return keys


def observe(
    states: dict[str, str | None],
    event: SaleCompleted | SaleReturned,
    profile: Profile | None,
    *,
    at_ms: int | None = None,
) -> tuple[list[float] | None, dict[str, str]]:
    """The vector of a sale (None for a return), and the states that it changed.

    ``states`` holds what is known before the event, by the keys of :func:`entities` and of
    :attr:`Profile.around`; one that is missing or None is new. Put the changed states into it
    before observing the next event.
    ``at_ms`` is the event's time where the caller has it at hand. The vector does not count the
    event itself.
    """
    at = (event.occurred_ms if at_ms is None else at_ms) // 1000
    named = event.__dict__  # an attribute of a pydantic model takes nearly twice as long
    seller = named["seller_id"]
    key = "s:" + seller
    x = units.reference(named["amount_minor"], named["currency"])
    passed, own, ways = selling.known(states.get(key), at)
    if named["type"] == "sale.returned":
        updates = {key: packing.seller_text(selling.returned(own, x), ways)}
        if profile is not None:
            around.came_back(states, updates, profile.upline, at, 0.0, x)
        return None, updates

    c7, s7 = own[8], own[10]  # this week's sales and volume, before this one
    of_seller, own = selling.sell(own, passed, x, _standing(named["country"], profile, at, own[2]))
    row = list(of_seller)
    updates = {key: ""}  # hers is written below: the seller's comes first

    card, device, customer = named["instrument_ref"], named["device_ref"], named["customer_ref"]
    mark, paid_with, beside, stranger = marks.mark16(seller), 0, _NOBODY, False
    if card is None:
        row += _NO_CARD
    else:
        paid_with = marks.mark16(card)
        buyer = 0 if customer is None else marks.mark16(customer)
        of_card, spent, beside, text = usage.card(states.get("i:" + card), at, mark, buyer, c7, x)
        updates["i:" + card] = text
        row += of_card
        row += spent
        stranger = spent[0] == 0.0  # no payment before this one
        row += _told(states.get("li:" + card), at)[2:5]
    if device is None:
        row += _NO_DEVICE
    else:
        of_device, on_device, text = usage.device(states.get("d:" + device), at, mark, x)
        updates["d:" + device] = text
        beside += on_device
        row += of_device
        row += _told(states.get("ld:" + device), at)
    if customer is None:
        row += _NO_CUSTOMER
    else:
        of_customer, text = usage.customer(states.get("c:" + customer), at, mark, paid_with, x)
        updates["c:" + customer] = text
        row += of_customer
    of_conduct, ways = conduct.conduct(
        ways, at, x, s7, customer == seller, paid_with, stranger, beside
    )
    row += of_conduct
    if profile is None:
        row += around.NOBODY
    else:
        row += (
            around.paid_to(states, updates, profile.accounts, seller),
            around.came_back(states, updates, profile.upline, at, x, 0.0),
        )
    updates[key] = packing.seller_text(own, ways)
    return row, updates


def learn(
    states: Mapping[str, str | None],
    event: SaleCompleted,
    row: Sequence[float],
    *,
    fraud: bool,
    at_ms: int | None = None,
) -> dict[str, str]:
    """The states that a sale's label changes.

    ``row`` is the sale's vector as it was decided upon. A fraud of an amount that is high for its
    card speaks against the card and not against the device; any other speaks against both.
    """
    of = subject_of(event, row)
    if of is None:
        return {}
    at = (event.occurred_ms if at_ms is None else at_ms) // 1000
    keys = taught(of, fraud=fraud)
    return {key: labelled.labelled(states.get(key), at, fraud=fraud) for key in keys}


def subject_of(event: SaleCompleted, row: Sequence[float]) -> str | None:
    """What has to be kept of a sale for its label: see :mod:`models.verdicts`."""
    high = spending.is_high(row[_AGAINST_OWN])
    return subject(event.instrument_ref, event.device_ref, high=high)


_AGAINST_OWN = FEATURES.index("card_amount_against_own")
_NOBODY: tuple[int, ...] = ()

_NO_CARD = (*usage.NO_CARD, *UNLABELLED[2:5])
_NO_DEVICE = (*usage.NO_DEVICE, *UNLABELLED)
_NO_CUSTOMER = usage.NO_CUSTOMER


def _told(text: str | None, at: int) -> tuple[float, float, float, float, float, float]:
    """What labels told of a card or a device."""
    return UNLABELLED if text is None else labelled.known(text, at)


def _standing(
    sold_in: str | None, profile: Profile | None, at: int, first: int
) -> tuple[float, float, float]:
    """Tenure, how lately the payout destination changed, and whether the sale is foreign."""
    days = at / DAY_S - first
    changed = foreign = 0.0
    if profile is not None:
        joined_ms, changed_ms = profile.joined_ms, profile.payout_changed_ms
        lives_in = profile.country
        if joined_ms is not None:
            days = (at - joined_ms / 1000) / DAY_S
        if changed_ms is not None:
            since = at - changed_ms / 1000
            changed = math.exp(since * PER_DAY) if since > 0 else 1.0
        if sold_in != lives_in and sold_in and lives_in:
            foreign = 1.0
    return math.log(1.0 + days) if days > 0 else 0.0, changed, foreign
