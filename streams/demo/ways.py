"""How sellers of the simulated company are paid: wallets, bank accounts, prepaid cards, USDC.

Most have one destination; many have a second and some a third, in an order of their own, so that a
payout whose first rail fails goes on over another. Some destinations make the rail sandbox
misbehave, by what they begin with.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from types import MappingProxyType
from typing import NamedTuple

from rails.accounts import IBAN_CHARS

PAYPAL = "paypal"
RAILS = (PAYPAL, "adyen", "marqeta", "circle")
"""The rails that the company pays over, by name."""

FAILING = ("trouble+", "denied+", "closed+")
"""What the first destination of a seller with several begins with, so that it is proven at once
that nothing was executed, and the payout goes on to the next."""

NOT_AT: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "unclaimed+": frozenset(RAILS) - {PAYPAL},
        # Of a sale abroad PayPal's may be the only rail: the payout would be tried for minutes.
        "trouble+": frozenset({PAYPAL}),
        # Circle refuses the entry of its address book. To a repeat, made because a crash left open
        # whether there was a first submission, that proves nothing: the payout would stay unknown.
        "denied+": frozenset({"circle"}),
        "closed+": frozenset({"circle"}),  # which calls it the recipient's fault: no other way
        # Circle's report names only Circle's own id. A Redis that a fault run has emptied does not
        # know it any more, and nobody asks about a payout that is settled.
        "returned+": frozenset({"circle"}),
    }
)
"""At which rails a behaviour would be another one."""

_BANKED = {
    (PAYPAL,): 40,
    ("adyen", PAYPAL): 28,
    (PAYPAL, "adyen"): 8,
    ("marqeta", PAYPAL): 10,
    ("adyen",): 8,
    ("marqeta", "adyen", PAYPAL): 6,
}
_ORDERS: Mapping[str, Mapping[tuple[str, ...], int]] = MappingProxyType(
    {
        "EUR": _BANKED,
        "GBP": _BANKED,
        "CAD": _BANKED,
        "USD": {**_BANKED, ("circle", PAYPAL): 14, ("circle", "adyen"): 6},
    }
)
"""Orders of rails and how often they are drawn, by the currency that a seller mostly earns."""

_ELSEWHERE: Mapping[tuple[str, ...], int] = MappingProxyType({(PAYPAL,): 1})


class Way(NamedTuple):
    """A destination, as plain text, and the rail that pays it."""

    rail: str
    destination: str


class Person(NamedTuple):
    """Whose ways are drawn. ``behaviour``: what the first destination begins with."""

    seller_id: str
    country: str
    currency: str
    activity: float
    behaviour: str


def drawn(seed: int, people: Iterable[Person]) -> dict[str, tuple[Way, ...]]:
    """The ways of each seller, by her id; the same for the same arguments."""
    rng = Random(f"{seed}:ways")
    everybody = list(people)
    orders = [_order(rng, one) for one in everybody]
    behaviours = [one.behaviour for one in everybody]
    several = [k for k, order in enumerate(orders) if len(order) > 1 and not behaviours[k]]
    # The busy ones, so that a short run has such a payout too.
    several.sort(key=lambda k: everybody[k].activity, reverse=True)
    failing: Counter[str] = Counter()
    for prefix in FAILING * max(1, len(everybody) // 180):
        able = [k for k in several if orders[k][0] not in NOT_AT.get(prefix, ())]
        if able:
            fewest = min(_turn(orders[k][0], failing) for k in able)
            able = [k for k in able if _turn(orders[k][0], failing) == fewest]
            picked = rng.choice(able[: max(3, len(able) // 3)])
            several.remove(picked)
            failing[orders[picked][0]] += 1
            behaviours[picked] = prefix
    return {
        one.seller_id: tuple(
            Way(rail, _MADE[rail](rng, one, behaviour if at == 0 else ""))
            for at, rail in enumerate(order)
        )
        for one, order, behaviour in zip(everybody, orders, behaviours, strict=True)
    }


def _turn(rail: str, failing: Mapping[str, int]) -> tuple[int, int]:
    """Whose turn it is to fail: the rail that does least, and can in the fewest ways."""
    return failing.get(rail, 0), sum(rail not in NOT_AT.get(prefix, ()) for prefix in FAILING)


def _order(rng: Random, one: Person) -> Sequence[str]:
    orders = _ORDERS.get(one.currency, _ELSEWHERE)
    barred = NOT_AT.get(one.behaviour, frozenset())
    shares = [0 if order[0] in barred else share for order, share in orders.items()]
    return rng.choices(list(orders), shares)[0]


def _mail(_: Random, one: Person, prefix: str) -> str:
    return f"{prefix}{one.seller_id}@example.com"


def _card_user(_: Random, one: Person, prefix: str) -> str:
    return f"{prefix}{one.seller_id}"


def _account(rng: Random, one: Person, prefix: str) -> str:
    """A bank account of her country; check digits are right, and the account is nobody's."""
    digits = f"{rng.randrange(10**10):010}"
    fields: dict[str, str]
    if one.country == "US":
        fields = {"kind": "us", "routing": "011000015", "account": digits}
    elif one.country == "GB":
        fields = {"kind": "uk", "sort_code": digits[:6], "account": digits[2:]}
    elif one.country == "CA":
        fields = {"kind": "ca", "institution": "003", "transit": digits[:5], "account": digits[3:]}
    else:
        fields = {"kind": "iban", "iban": _iban(one.country, digits)}
    return json.dumps({**fields, "holder": f"{prefix}{one.seller_id}"})


def _iban(country: str, digits: str) -> str:
    """An IBAN (ISO 13616) of zeros and some digits."""
    inner = digits.rjust(IBAN_CHARS[country] - 4, "0")
    number = "".join(str(int(char, 36)) for char in f"{inner}{country}00")
    return f"{country}{98 - int(number) % 97:02}{inner}"


def _chain_address(rng: Random, one: Person, prefix: str) -> str:
    address = {"kind": "crypto", "chain": "BASE", "address": f"0x{rng.getrandbits(160):040x}"}
    holder = {"holder": f"{prefix}{one.seller_id}", "country": one.country}
    return json.dumps({**address, **holder, "hosted": True})


_MADE: Mapping[str, Callable[[Random, Person, str], str]] = MappingProxyType(
    {PAYPAL: _mail, "adyen": _account, "marqeta": _card_user, "circle": _chain_address}
)
if tuple(_MADE) != RAILS:
    raise RuntimeError("every rail needs its destinations")
