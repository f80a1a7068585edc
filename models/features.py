"""Features: what a sale looks like against what is known of its seller, card, device and customer.

One definition serves training and serving. What is known of an entity is a *state*, a short ASCII
text that is stored, read back and handed to :func:`observe` again. That text is the definition:
within a batch states travel as text as well, so a vector does not depend on how the events were
cut into batches, and the history a model is trained on goes the same way.

A state holds exponentially decayed counters (half-lives 1 h, 24 h and 7 d), a running mean and
variance of the log amount with a prior, the last time, a seller's first day, and for cards,
devices and customers the last four distinct sellers, a card's last customer and a customer's last
card, as 16-bit marks. A card's state goes on with what it usually pays (:mod:`models.spending`), a
customer's with what is usually bought (:mod:`models.buying`), a seller's with how she conducts
herself (:mod:`models.conduct`). Labels, which come days after their sale, are kept apart
(:mod:`models.labelled`): sales read that state, and only :func:`learn` changes it, so that neither
overwrites what the other found out. A state is a packed struct, in base64 of 100 characters for a
seller, 92 for a card, 44 for a device, 56 for a customer and 36 for the labels of a card or a
device, whatever the history. A state that cannot be read (cut, tampered with, of another format)
counts as absent: the entity starts afresh, and no vector ever holds a NaN or an infinity.

Times are kept in whole seconds. An event that comes late, older than the last one seen, counts as
if it came at that last time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

from models import buying, conduct, labelled, packing, spending, units
from models.buying import BUYING_FEATURES, NO_BUYING, Buying
from models.conduct import CONDUCT_FEATURES, NEW, Conduct
from models.decay import DAY_S, FIGURE_MAX, NEVER, PER_DAY, PER_HOUR, PER_WEEK
from models.events import SaleCompleted, SaleReturned
from models.labelled import UNLABELLED
from models.packing import UNREADABLE, Selling, Use
from models.spending import NO_SPENDING, SPENDING_FEATURES, Spending, SpendingFigures
from models.verdicts import subject, taught

STATE_CHARS_MAX = 100
"""Length of the longest state, in characters. An event needs five at most."""

CUSTOMER_FEATURES = (
    "customer_1h",
    "customer_24h",
    "customer_7d",
    "customer_other_sellers",
    "customer_new_sellers",
    "customer_other_card",
    *BUYING_FEATURES,
)
"""Those of a vector's numbers that tell of the customer, where a sale names one."""

FEATURES = (
    "amount",
    "amount_against_own",
    "sales_1h",
    "sales_24h",
    "burst_1h",
    "volume_burst_24h",
    "returns_ratio",
    "tenure",
    "experience",
    "since_last_sale",
    "payout_just_changed",
    "foreign",
    "card_1h",
    "card_24h",
    "card_other_sellers",
    "card_new_sellers",
    "card_share",
    "card_other_customer",
    "card_7d",
    *SPENDING_FEATURES,
    "card_fraud_last",
    "card_genuine_last",
    "card_frauds_28d",
    "device_1h",
    "device_other_sellers",
    "device_new_sellers",
    "device_new_to_seller",
    "device_7d",
    "device_fraud_run",
    "device_fraud_first",
    "device_fraud_last",
    "device_genuine_last",
    "device_frauds_28d",
    "device_fraud_share",
    *CUSTOMER_FEATURES,
    *CONDUCT_FEATURES,
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


_MARKS = 65_535  # who used a card is kept as a mark of 1 to 65,535; two people may share one
_COUNT_MAX = 60_000  # fits the state's 16 bits
_SPREAD_MAX = 1e3  # nor a mean or variance of log amounts beyond this

_HOURS_A_WEEK = 168.0
_DAYS_A_WEEK = 7.0

# Before a seller's first sales her amounts are taken to be spread as sales at large are: about 55
# reference units, a factor of 2.7 either way, with the weight of five sales. After 200 sales the
# mean follows the recent ones.
_MEAN = 4.0
_VARIANCE = 1.0
_PRIOR_SALES = 5
_SALES_MAX = 200
_SURPRISE_MAX = 8.0  # standard deviations
_LEARN_MAX = 3.0  # a fraud must not teach the mean that it is usual
_VOLUME = 50.0  # reference units; keeps ratios of small volumes calm
_VARIANCE_MIN = 0.01  # a seller of one fixed price still has some spread
_GAP_MIN = 1440.0  # minutes since the last sale, when there was none

_FORMAT = 2

_STATES = (packing.SELLER, packing.CARD, packing.DEVICE, packing.CUSTOMER)
if max(each.size for each in _STATES) // 3 * 4 != STATE_CHARS_MAX:
    raise RuntimeError("the longest state is not as long as stated")

_Known = tuple[int, Selling, Conduct]
_CardFigures = tuple[float, float, float, float, float, float, float]
_DeviceFigures = tuple[float, float, float, float, float]
_CustomerFigures = tuple[
    float, float, float, float, float, float, float, float, float, float
]  # what CUSTOMER_FEATURES name


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
    states: Mapping[str, str | None],
    event: SaleCompleted | SaleReturned,
    profile: Profile | None,
    *,
    at_ms: int | None = None,
) -> tuple[list[float] | None, dict[str, str]]:
    """The vector of a sale (None for a return), and the states that it changed.

    ``states`` holds what is known before the event, by the keys of :func:`entities`; one that is
    missing or None is new. Put the changed states into it before observing the next event.
    ``at_ms`` is the event's time where the caller has it at hand. The vector does not count the
    event itself.
    """
    if at_ms is None:
        at_ms = event.occurred_ms
    at = at_ms // 1000
    seller = event.seller_id
    key = "s:" + seller
    x = units.reference(event.amount_minor, event.currency)
    passed, selling, ways = _seller(states.get(key), at)
    form, last, first, n, mean, variance, c1, c24, c7, s24, s7, r7 = selling
    if event.type == "sale.returned":
        return None, {
            key: packing.seller_text(
                (form, last, first, n, mean, variance, c1, c24, c7, s24, s7, r7 + x), ways
            )
        }

    level = math.log(1.0 + x)
    spread = math.sqrt(variance + _VARIANCE_MIN)
    surprise = _within((level - mean) / spread, _SURPRISE_MAX)
    tenure, changed, foreign = _standing(event, profile, at, first)
    row = [
        level,
        surprise,
        math.log(1.0 + c1),
        math.log(1.0 + c24),
        math.log((c1 + 1.0) / (c7 / _HOURS_A_WEEK + 1.0)),
        math.log((s24 + x + _VOLUME) / (s7 / _DAYS_A_WEEK + _VOLUME)),
        r7 / (r7 + s7 + _VOLUME),
        tenure,
        math.log(1.0 + n),
        math.log(1.0 + (passed / 60.0 if n else _GAP_MIN)),
        changed,
        foreign,
    ]
    mean, variance = _learnt(surprise, spread, n, mean, variance)
    n = n + 1 if n < _COUNT_MAX else n
    updates = {key: ""}  # hers is written below: the seller's comes first

    card, device, customer = event.instrument_ref, event.device_ref, event.customer_ref
    mark, paid_with, beside, stranger = _mark(seller), 0, _NOBODY, False
    if card is None:
        row += _NO_CARD
    else:
        paid_with = _mark(card)
        buyer = 0 if customer is None else _mark(customer)
        of_card, spent, beside, text = _card(states.get("i:" + card), at, mark, buyer, c7, x)
        updates["i:" + card] = text
        row += of_card
        row += spent
        stranger = spent[0] == 0.0  # no payment before this one
        row += _told(states.get("li:" + card), at)[2:5]
    if device is None:
        row += _NO_DEVICE
    else:
        of_device, around, text = _device(states.get("d:" + device), at, mark)
        updates["d:" + device] = text
        beside += around
        row += of_device
        row += _told(states.get("ld:" + device), at)
    if customer is None:
        row += _NO_CUSTOMER
    else:
        of_customer, text = _customer(states.get("c:" + customer), at, mark, paid_with, x)
        updates["c:" + customer] = text
        row += of_customer
    of_conduct, ways = conduct.conduct(
        ways, at, x, s7, customer == seller, paid_with, stranger, beside
    )
    row += of_conduct
    c1, c24, c7, s24, s7 = c1 + 1.0, c24 + 1.0, c7 + 1.0, s24 + x, s7 + x
    updates[key] = packing.seller_text(
        (form, last, first, n, mean, variance, c1, c24, c7, s24, s7, r7), ways
    )
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

# A sale that names no card, device or customer looks like one with a card, device or customer seen
# for the first time: what is not known neither accuses nor clears.
_NO_CARD = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, *NO_SPENDING, *UNLABELLED[2:5])
_NO_DEVICE = (0.0, 0.0, 0.0, 0.0, 0.0, *UNLABELLED)
_NO_CUSTOMER = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, *NO_BUYING)


def _card(  # noqa: PLR0917 - called for each sale
    text: str | None, at: int, seller: int, customer: int, seller_sales: float, amount: float
) -> tuple[_CardFigures, SpendingFigures, tuple[int, int, int], str]:
    """A card's figures before a payment, those of its spending, other sellers on it after it, and
    the state as text.
    """
    use, before = _card_state(text, at)
    used, t1, t24, t7, fresh, others, _, changed, passed, week = _use(use, at, seller, customer)
    spent, after = spending.spend(before, used[1], passed, week, amount, t7)
    share = t7 / (seller_sales + 1.0)
    figures = (
        math.log(1.0 + t1),
        math.log(1.0 + t24),
        others,
        math.log(1.0 + fresh),
        share if share < 1.0 else 1.0,
        changed,
        math.log(1.0 + t7),
    )
    return figures, spent, (used[8], used[9], used[10]), packing.card_text(used, after)


def _device(
    text: str | None, at: int, seller: int
) -> tuple[_DeviceFigures, tuple[int, int, int], str]:
    """The same of a device."""
    used, t1, _, t7, fresh, others, new, _, _, _ = _use(_device_state(text, at), at, seller, 0)
    figures = (math.log(1.0 + t1), others, math.log(1.0 + fresh), new, math.log(1.0 + t7))
    return figures, (used[8], used[9], used[10]), packing.device_text(used)


def _customer(
    text: str | None, at: int, seller: int, card: int, amount: float
) -> tuple[_CustomerFigures, str]:
    """A customer's figures before a purchase with a card, and the state after it as text."""
    use, before = _customer_state(text, at)
    used, t1, t24, t7, fresh, others, _, changed, passed, week = _use(use, at, seller, card)
    bought, after = buying.buy(before, passed, week, amount, t7)
    experience, pause, against_own, spent = bought
    figures = (
        math.log(1.0 + t1),
        math.log(1.0 + t24),
        math.log(1.0 + t7),
        others,
        math.log(1.0 + fresh),
        changed,
        experience,
        pause,
        against_own,
        spent,
    )
    return figures, packing.customer_text(used, after)


@lru_cache(maxsize=65_536)
def _mark(name: str) -> int:
    return crc32(name.encode()) % _MARKS + 1


def _told(text: str | None, at: int) -> tuple[float, float, float, float, float, float]:
    """What labels told of a card or a device."""
    return UNLABELLED if text is None else labelled.known(text, at)


def _within(value: float, bound: float) -> float:
    return value if -bound <= value <= bound else math.copysign(bound, value)


def _learnt(
    surprise: float, spread: float, n: int, mean: float, variance: float
) -> tuple[float, float]:
    """A seller's mean and variance after a sale, of whose surprise they take only a part."""
    weight = (n if n < _SALES_MAX else _SALES_MAX) + _PRIOR_SALES
    step = _within(surprise, _LEARN_MAX) * spread
    mean += step / weight
    return mean, variance + (step * step - variance) / weight


def _standing(
    event: SaleCompleted, profile: Profile | None, at: int, first: int
) -> tuple[float, float, float]:
    """Tenure, how lately the payout destination changed, and whether the sale is foreign."""
    days = at / DAY_S - first
    changed = foreign = 0.0
    if profile is not None:
        joined_ms, changed_ms = profile.joined_ms, profile.payout_changed_ms
        sold_in, lives_in = event.country, profile.country
        if joined_ms is not None:
            days = (at - joined_ms / 1000) / DAY_S
        if changed_ms is not None:
            since = at - changed_ms / 1000
            changed = math.exp(since * PER_DAY) if since > 0 else 1.0
        if sold_in != lives_in and sold_in and lives_in:
            foreign = 1.0
    return math.log(1.0 + days) if days > 0 else 0.0, changed, foreign


def _seller(text: str | None, at: int) -> _Known:
    """How long it took until second ``at``, and a seller's figures decayed to it."""
    if text is None:
        return _fresh_seller(at)
    try:
        selling, ways = packing.read_seller(text)
    except UNREADABLE:
        return _fresh_seller(at)
    form, last, first, n, mean, variance, c1, c24, c7, s24, s7, r7 = selling
    # A slower counter never holds less than a faster one. The comparisons also refuse NaN,
    # infinities, and whatever else was never written here.
    if not (
        form == _FORMAT
        and 0.0 <= c1 <= c24 <= c7 <= FIGURE_MAX
        and 0.0 <= s24 <= s7 <= FIGURE_MAX
        and 0.0 <= r7 <= FIGURE_MAX
        and 0.0 <= variance <= _SPREAD_MAX
        and 0.0 <= mean <= _SPREAD_MAX
        and 0.0 <= ways[1] <= FIGURE_MAX
        and 0.0 <= ways[2] <= FIGURE_MAX
        and 0.0 <= ways[3] <= FIGURE_MAX
        and 0.0 <= ways[4] <= FIGURE_MAX
    ):
        return _fresh_seller(at)
    passed = at - last
    if passed <= 0:
        return 0, selling, ways
    day, week = math.exp(passed * PER_DAY), math.exp(passed * PER_WEEK)
    c1 *= math.exp(passed * PER_HOUR)
    c24 *= day
    c7 *= week
    s24 *= day
    s7 *= week
    r7 *= week
    return passed, (form, at, first, n, mean, variance, c1, c24, c7, s24, s7, r7), ways


def _fresh_seller(at: int) -> _Known:
    day = at // DAY_S
    return 0, (_FORMAT, at, day, 0, _MEAN, _VARIANCE, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), NEW


def _use(
    use: Use, at: int, seller: int, beside: int
) -> tuple[Use, float, float, float, float, float, float, float, int, float]:
    """A card's, a device's or a customer's figures before a sale by ``seller``, and itself after.

    The figures: sales decayed by 1 h, 24 h and 7 d, arrivals of new sellers decayed by 7 d, other
    sellers among the last four, 1.0 if it is known but new to this seller, 1.0 if another than
    ``beside`` (a card's customer, a customer's card) was on it last, seconds since the sale before
    and what of a figure is left by then that decays by 7 d. All come as marks, 0 for none.
    """
    _, last, t1, t24, t7, fresh, known, a, b, c, d = use
    passed, week = at - last, 1.0
    if passed > 0:
        last = at
        week = math.exp(passed * PER_WEEK)
        t1 *= math.exp(passed * PER_HOUR)
        t24 *= math.exp(passed * PER_DAY)
        t7 *= week
        fresh *= week
    else:
        passed = 0
    # The last four distinct sellers, the latest first; 0 is an empty place.
    new = 0.0
    if seller == a:
        others = (1.0 if b else 0.0) + (1.0 if c else 0.0) + (1.0 if d else 0.0)
    else:
        others = 1.0 + (1.0 if c else 0.0) + (1.0 if d else 0.0)
        if seller == b:
            a, b = b, a
        elif seller == c:
            a, b, c = c, a, b
        elif seller == d:
            a, b, c, d = d, a, b, c
        else:
            new = 1.0 if a else 0.0
            others = new + (others if b else 0.0)
            a, b, c, d = seller, a, b, c
    used = (_FORMAT, last, t1 + 1.0, t24 + 1.0, t7 + 1.0, fresh + new, beside, a, b, c, d)
    other = 1.0 if known and beside and known != beside else 0.0
    return used, t1, t24, t7, fresh, others, new, other, passed, week


def _unused(at: int) -> Use:
    return _FORMAT, at, 0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0


def _device_state(text: str | None, at: int) -> Use:
    if text is not None:
        try:
            use = packing.read_device(text)
        except UNREADABLE:
            return _unused(at)
        if _is_sound(use):
            return use
    return _unused(at)


def _card_state(text: str | None, at: int) -> tuple[Use, Spending]:
    if text is not None:
        try:
            use, spent = packing.read_card(text)
        except UNREADABLE:
            return _unused(at), spending.no_spending(at)
        if _is_sound(use) and spending.is_sound(spent, use[1]):
            return use, spent
    return _unused(at), spending.no_spending(at)


def _customer_state(text: str | None, at: int) -> tuple[Use, Buying]:
    if text is not None:
        try:
            use, bought = packing.read_customer(text)
        except UNREADABLE:
            return _unused(at), buying.NEW
        if _is_sound(use) and buying.is_sound(bought):
            return use, bought
    return _unused(at), buying.NEW


def _is_sound(use: Use) -> bool:
    form, _, t1, t24, t7, fresh, _, _, _, _, _ = use
    return form == _FORMAT and 0.0 <= t1 <= t24 <= t7 <= FIGURE_MAX and 0.0 <= fresh <= t7
