"""Features: what a sale looks like against what is known of its seller, card and device.

One definition serves training and serving. What is known of an entity is a *state*, a short ASCII
text that is stored, read back and handed to :func:`observe` again. That text is the definition:
within a batch states travel as text as well, so a vector does not depend on how the events were
cut into batches, and the history a model is trained on goes the same way.

A state holds exponentially decayed counters (half-lives 1 h, 24 h and 7 d), a running mean and
variance of the log amount with a prior, the last time, a seller's first day, and for cards and
devices the last four distinct sellers and the last customer, as 16-bit marks. A card's state goes
on with what it usually pays (:mod:`models.spending`), a seller's with how she conducts herself
(:mod:`models.conduct`). Labels, which come days after their sale,
are kept apart (:mod:`models.labelled`): sales read that state, and only :func:`learn` changes it,
so that neither overwrites what the other found out. A state is a packed struct, in base64 of 100
characters for a seller, 92 for a card, 44 for a device and 36 for the labels of
either, whatever the history. A state that cannot be read (cut, tampered with, of another format)
counts as absent: the entity starts afresh, and no vector ever holds a NaN or an infinity.

Times are kept in whole seconds. An event that comes late, older than the last one seen, counts as
if it came at that last time.
"""

from __future__ import annotations

from binascii import a2b_base64
from binascii import b2a_base64 as _text
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import copysign, exp, log, sqrt
from struct import Struct
from struct import error as StructError
from zlib import crc32

from models.conduct import CONDUCT_FEATURES, CONDUCT_FORMAT, NEW, Conduct, conduct
from models.decay import DAY_S, FIGURE_MAX, NEVER, PER_DAY, PER_HOUR, PER_WEEK
from models.events import SaleCompleted, SaleReturned
from models.labelled import UNLABELLED, known, labelled
from models.money import exponent
from models.spending import (
    NO_SPENDING,
    SPENDING_FEATURES,
    SPENDING_FORMAT,
    Spending,
    is_high,
    is_sound,
    no_spending,
    spend,
)
from models.verdicts import subject, taught

STATE_CHARS_MAX = 100
"""Length of the longest state, in characters. An event needs five at most."""

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


# Units of a currency that buy about what one euro buys, so that a yen and a euro amount can be
# compared. Rounded on purpose and fixed: a changed figure changes vectors, so it needs a new
# model. A currency that is not listed counts one unit as one euro.
_UNITS = {
    "AED": 4.0,
    "ARS": 1500.0,
    "AUD": 1.7,
    "BRL": 6.0,
    "CAD": 1.5,
    "CHF": 0.95,
    "CLP": 1000.0,
    "CNY": 8.0,
    "COP": 4500.0,
    "CZK": 25.0,
    "DKK": 7.5,
    "EGP": 55.0,
    "EUR": 1.0,
    "GBP": 0.85,
    "HKD": 8.5,
    "HUF": 400.0,
    "IDR": 18000.0,
    "ILS": 4.0,
    "INR": 95.0,
    "JPY": 160.0,
    "KES": 140.0,
    "KRW": 1500.0,
    "MXN": 20.0,
    "MYR": 5.0,
    "NGN": 1700.0,
    "NOK": 11.5,
    "NZD": 1.9,
    "PEN": 4.0,
    "PHP": 65.0,
    "PKR": 310.0,
    "PLN": 4.3,
    "RON": 5.0,
    "SAR": 4.0,
    "SEK": 11.5,
    "SGD": 1.5,
    "THB": 38.0,
    "TRY": 40.0,
    "TWD": 35.0,
    "UAH": 45.0,
    "USD": 1.1,
    "VND": 28000.0,
    "ZAR": 20.0,
}

_AMOUNT_MAX = 1e7  # reference units; a larger sale looks like this one
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
# Format, last s, first day, sales, then the figures; her conduct.
_SELLER = Struct("<BIHH8f" + CONDUCT_FORMAT)
# Format, last s, the figures, the last customer and four sellers; of a card its spending too.
_DEVICE = Struct("<BI4f5Hxx")
_CARD = Struct("<BI4f5H" + SPENDING_FORMAT + "xx")
_pack_seller, _unpack_seller = _SELLER.pack, _SELLER.unpack
_pack_device, _unpack_device = _DEVICE.pack, _DEVICE.unpack
_pack_card, _unpack_card = _CARD.pack, _CARD.unpack

_STRUCTS = (_SELLER, _CARD, _DEVICE)
if any(each.size % 3 for each in _STRUCTS):
    raise RuntimeError("a state would need padding")
if max(each.size for each in _STRUCTS) // 3 * 4 != STATE_CHARS_MAX:
    raise RuntimeError("the longest state is not as long as stated")

_Seller = tuple[
    float, int, int, int, float, float, float, float, float, float, float, float, Conduct
]
_Thing = tuple[int, int, float, float, float, float, int, int, int, int, int]

_scales: dict[str, float] = {}


def reference_amount(amount_minor: int, currency: str) -> float:
    """An amount in reference units, about a euro each: a feature, never money.

    Raises KeyError for a currency that is unknown.
    """
    scale = _scales.get(currency)
    if scale is None:
        scale = 1.0 / (_UNITS.get(currency, 1.0) * 10.0 ** exponent(currency))
        _scales[currency] = scale
    amount = amount_minor * scale
    return amount if amount < _AMOUNT_MAX else _AMOUNT_MAX


def entities(event: SaleCompleted | SaleReturned) -> tuple[str, ...]:
    """The keys of the states an event needs: its seller's first.

    Then those of card and device, if named, each followed by the key of what labels told of it.
    """
    seller = "s:" + event.seller_id
    if event.type == "sale.returned":
        return (seller,)
    card, device = event.instrument_ref, event.device_ref
    if card is not None:
        if device is not None:
            return (seller, "i:" + card, "li:" + card, "d:" + device, "ld:" + device)
        return (seller, "i:" + card, "li:" + card)
    if device is not None:
        return (seller, "d:" + device, "ld:" + device)
    return (seller,)


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
    x = reference_amount(event.amount_minor, event.currency)
    passed, last, first, n, mean, variance, c1, c24, c7, s24, s7, r7, ways = _seller(
        states.get(key), at
    )
    if event.type == "sale.returned":
        r7 += x
        packed = _pack_seller(
            _FORMAT, last, first, n, mean, variance, c1, c24, c7, s24, s7, r7, *ways
        )
        return None, {key: _text(packed, newline=False).decode()}

    level = log(1.0 + x)
    spread = sqrt(variance + _VARIANCE_MIN)
    surprise = (level - mean) / spread
    if not -_SURPRISE_MAX <= surprise <= _SURPRISE_MAX:
        surprise = copysign(_SURPRISE_MAX, surprise)
    tenure, changed, foreign = _standing(event, profile, at, first)
    row = [
        level,
        surprise,
        log(1.0 + c1),
        log(1.0 + c24),
        log((c1 + 1.0) / (c7 / _HOURS_A_WEEK + 1.0)),
        log((s24 + x + _VOLUME) / (s7 / _DAYS_A_WEEK + _VOLUME)),
        r7 / (r7 + s7 + _VOLUME),
        tenure,
        log(1.0 + n),
        log(1.0 + (passed / 60.0 if n else _GAP_MIN)),
        changed,
        foreign,
    ]
    mean, variance = _learnt(surprise, spread, n, mean, variance)
    n = n + 1 if n < _COUNT_MAX else n
    updates = {key: ""}  # hers is written below: the seller's comes first

    mark = _mark(seller)
    card, device, customer = event.instrument_ref, event.device_ref, event.customer_ref
    paid_with, others, stranger = 0, _NOBODY, False
    if card is None:
        row += _NO_CARD
    else:
        paid_with = _mark(card)
        buyer = 0 if customer is None else _mark(customer)
        figures, others, updates["i:" + card] = _card(
            states.get("i:" + card), at, mark, buyer, c7, x
        )
        stranger = not figures[_EXPERIENCE]
        row += figures
        told = states.get("li:" + card)
        row += _UNTOLD if told is None else known(told, at)[2:5]
    if device is None:
        row += _NO_DEVICE
    else:
        key_of_device = "d:" + device
        figures, beside, updates[key_of_device] = _device(states.get(key_of_device), at, mark)
        others += beside
        row += figures
        told = states.get("ld:" + device)
        row += UNLABELLED if told is None else known(told, at)
    figures, ways = conduct(ways, at, x, s7, customer == seller, paid_with, stranger, others)
    row += figures
    c1, c24, c7, s24, s7 = c1 + 1.0, c24 + 1.0, c7 + 1.0, s24 + x, s7 + x
    packed = _pack_seller(_FORMAT, last, first, n, mean, variance, c1, c24, c7, s24, s7, r7, *ways)
    updates[key] = _text(packed, newline=False).decode()
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
    return {key: labelled(states.get(key), at, fraud=fraud) for key in keys}


def subject_of(event: SaleCompleted, row: Sequence[float]) -> str | None:
    """What has to be kept of a sale for its label: see :mod:`models.verdicts`."""
    high = is_high(row[_AGAINST_OWN])
    return subject(event.instrument_ref, event.device_ref, high=high)


_AGAINST_OWN = FEATURES.index("card_amount_against_own")
_EXPERIENCE = FEATURES.index("card_experience") - FEATURES.index("card_1h")  # in a card's figures
_NOBODY: tuple[int, ...] = ()

_UNTOLD = UNLABELLED[2:5]  # what a card's labels come to when there are none

# A sale that names no card or device looks like one with a card or device seen for the first time:
# what is not known neither accuses nor clears.
_NO_CARD = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, *NO_SPENDING, *_UNTOLD)
_NO_DEVICE = (0.0, 0.0, 0.0, 0.0, 0.0, *UNLABELLED)


def _card(  # noqa: PLR0917 - called for each sale
    text: str | None, at: int, seller: int, customer: int, seller_sales: float, amount: float
) -> tuple[tuple[float, ...], tuple[int, ...], str]:
    """A card's figures before a payment, the marks of its other sellers, and its state after it."""
    state = None if text is None else _card_state(text)
    thing, spending = (_unused(at), no_spending(at)) if state is None else state
    t1, t24, t7, fresh, others, _, changed, passed, week, used = _use(thing, at, seller, customer)
    share = t7 / (seller_sales + 1.0)
    spent, spending = spend(spending, used[1], passed, week, amount, t7)
    return (
        (
            log(1.0 + t1),
            log(1.0 + t24),
            others,
            log(1.0 + fresh),
            share if share < 1.0 else 1.0,
            changed,
            log(1.0 + t7),
            *spent,
        ),
        used[8:],
        _text(_pack_card(*used, *spending), newline=False).decode(),
    )


def _device(
    text: str | None, at: int, seller: int
) -> tuple[tuple[float, ...], tuple[int, ...], str]:
    """The same of a device."""
    state = None if text is None else _device_state(text)
    t1, _, t7, fresh, others, new, _, _, _, used = _use(state or _unused(at), at, seller, 0)
    return (
        (log(1.0 + t1), others, log(1.0 + fresh), new, log(1.0 + t7)),
        used[8:],
        _text(_pack_device(*used), newline=False).decode(),
    )


@lru_cache(maxsize=65_536)
def _mark(name: str) -> int:
    return crc32(name.encode()) % _MARKS + 1


def _learnt(
    surprise: float, spread: float, n: int, mean: float, variance: float
) -> tuple[float, float]:
    """A seller's mean and variance after a sale, of whose surprise they take only a part."""
    weight = (n if n < _SALES_MAX else _SALES_MAX) + _PRIOR_SALES
    if not -_LEARN_MAX <= surprise <= _LEARN_MAX:
        surprise = copysign(_LEARN_MAX, surprise)
    step = surprise * spread
    mean += step / weight
    return mean, variance + (step * step - variance) / weight


def _standing(
    event: SaleCompleted, profile: Profile | None, at: int, first: int
) -> tuple[float, float, float]:
    """Tenure, how lately the payout destination changed, and whether the sale is foreign."""
    days = at / DAY_S - first
    changed = foreign = 0.0
    if profile is not None:
        if profile.joined_ms is not None:
            days = (at - profile.joined_ms / 1000) / DAY_S
        if profile.payout_changed_ms is not None:
            since = at - profile.payout_changed_ms / 1000
            changed = exp(since * PER_DAY) if since > 0 else 1.0
        if event.country != profile.country and event.country and profile.country:
            foreign = 1.0
    return log(1.0 + days) if days > 0 else 0.0, changed, foreign


def _seller(text: str | None, at: int) -> _Seller:
    """A seller's figures decayed to second ``at``; in place of the format, how long that took."""
    if text is None:
        return _fresh_seller(at)
    try:
        state = _unpack_seller(a2b_base64(text))
    except (ValueError, StructError):
        return _fresh_seller(at)
    form, last, first, n, mean, variance, c1, c24, c7, s24, s7, r7 = state[:12]
    ways: Conduct = state[12:]
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
        return 0, last, first, n, mean, variance, c1, c24, c7, s24, s7, r7, ways
    day, week = exp(passed * PER_DAY), exp(passed * PER_WEEK)
    c1 *= exp(passed * PER_HOUR)
    c24 *= day
    c7 *= week
    s24 *= day
    s7 *= week
    r7 *= week
    return passed, at, first, n, mean, variance, c1, c24, c7, s24, s7, r7, ways


def _fresh_seller(at: int) -> _Seller:
    return 0, at, at // DAY_S, 0, _MEAN, _VARIANCE, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, NEW


def _use(
    thing: _Thing, at: int, seller: int, customer: int
) -> tuple[float, float, float, float, float, float, float, int, float, _Thing]:
    """A card's or a device's figures before a sale by ``seller``, and itself after it.

    The figures: sales decayed by 1 h, 24 h and 7 d, arrivals of new sellers decayed by 7 d, other
    sellers among the last four, 1.0 if it is known but new to this seller, 1.0 if another customer
    used it last, seconds since the sale before and what of a figure is left by then that decays by
    7 d. Sellers and customers come as marks, 0 for none.
    """
    _, last, t1, t24, t7, fresh, known, a, b, c, d = thing
    passed, week = at - last, 1.0
    if passed > 0:
        last = at
        week = exp(passed * PER_WEEK)
        t1 *= exp(passed * PER_HOUR)
        t24 *= exp(passed * PER_DAY)
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
    used = (_FORMAT, last, t1 + 1.0, t24 + 1.0, t7 + 1.0, fresh + new, customer, a, b, c, d)
    other = 1.0 if known and customer and known != customer else 0.0
    return t1, t24, t7, fresh, others, new, other, passed, week, used


def _unused(at: int) -> _Thing:
    return _FORMAT, at, 0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0


def _device_state(text: str) -> _Thing | None:
    try:
        state: _Thing = _unpack_device(a2b_base64(text))
    except (ValueError, StructError):
        return None
    return state if _is_sound(state) else None


def _card_state(text: str) -> tuple[_Thing, Spending] | None:
    try:
        state = _unpack_card(a2b_base64(text))
    except (ValueError, StructError):
        return None
    thing: _Thing = state[:11]
    spending: Spending = state[11:]
    return (thing, spending) if _is_sound(thing) and is_sound(spending, thing[1]) else None


def _is_sound(thing: _Thing) -> bool:
    form, _, t1, t24, t7, fresh, _, _, _, _, _ = thing
    return form == _FORMAT and 0.0 <= t1 <= t24 <= t7 <= FIGURE_MAX and 0.0 <= fresh <= t7
