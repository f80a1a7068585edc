"""The grammar: valid events of every type, as raw JSON fields that mutations can take apart.

What is drawn hangs together: returns name sales that were drawn before, reports name payouts that
were reserved, ids come again. Everything follows from the random source alone.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import TypeVar

from models.events import TOPICS
from models.money import MINOR_MAX
from models.payouts import ATTEMPTS_MAX, FailureCategory, PayoutState
from models.shards import shard_of
from tests.simulation.client import sealed

T = TypeVar("T")

Field = tuple[str, "str | list[Field]"]
"""A name, and its value as raw JSON text or as the fields of an object."""

Fields = list[Field]

CURRENCIES = ("EUR", "USD", "GBP", "JPY", "BHD", "BRL", "KWD", "CLP", "UYW", "XOF", "CAD")
ZONES = ("UTC", "Europe/Berlin", "Pacific/Kiritimati", "America/St_Johns", "Asia/Kathmandu")
SELLERS = (
    *(f"S-{number}" for number in (*range(12), 140, 141, 149)),
    *("a", "-", ".", ":", "_", "0", "a:b", "x" * 64, "..", "S-1:EUR", "w:S-1", "S-1.S-2"),
)
"""Plain sellers, some of them of one shard, and ones whose ids look like parts of a key."""

_NEIGHBOURS = {
    seller: [other for other in SELLERS if shard_of(other) == shard_of(seller)]
    for seller in SELLERS
}

_AMOUNTS = (0, 1, 2, 99, 499, 500, 2_000, 49_999, 50_000, 300_000, MINOR_MAX - 1, MINOR_MAX)
_DAY = timedelta(days=1)
_LINES = ("1", "2", "tea", "r:s:1", "x" * 64)
"""Ids of lines of a sale."""


def text(value: object) -> str:
    """A value as raw JSON."""
    return json.dumps(value)


def encoded(fields: Fields) -> str:
    """The JSON object that the fields make; names stand in it as they are."""
    return (
        "{" + ",".join(f'"{k}":{v if isinstance(v, str) else encoded(v)}' for k, v in fields) + "}"
    )


class Grammar:
    """Draws valid events. ``now_ms`` is the worker's clock, ``retention`` how old one may be."""

    def __init__(self, random: Random, now_ms: int, retention: timedelta) -> None:
        self.random = random
        self._now = datetime.fromtimestamp(now_ms / 1000, UTC)
        self._retention = retention
        self._number = 0
        self._ids: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=20))
        self._sales: deque[tuple[str, str, str, int]] = deque(maxlen=200)
        self._lines: dict[str, tuple[str, ...]] = {}
        self._commissions: deque[tuple[str, str, str, int]] = deque(maxlen=100)
        self.payouts: deque[str] = deque(maxlen=100)
        """Payouts that were reserved: whoever books puts them here."""
        self._kinds: dict[str, Callable[[], Fields]] = {
            "sale.completed": self._sale,
            "sale.returned": self._return,
            "commission.earned": self._commission,
            "commission.reversed": self._reversal,
            "debt.written_off": self._write_off,
            "payout.resolved": self._resolution,
            "commission.labelled": self._commission_label,
            "fraud.labelled": self._label,
            "fraud.taught": self._lesson,
            "seller.updated": self._profile,
            "credit.redeemed": self._redemption,
            "purchase.authorised": self._authorisation,
            "purchase.captured": self._capture,
            "purchase.voided": self._purchase,
            "purchase.refunded": self._capture,
            "earnings.reinvested": self._reinvestment,
            "conversion.quoted": self._quote,
            "conversion.made": self._convert,
            "rate.quoted": self._rate,
            "payout.reported": self._report,
        }

    def draw(self, topic: str) -> Fields:
        """A valid event of the topic; its type is one of its fields."""
        kind = self.random.choice(TOPICS[topic]).model_fields["type"].default
        self.seller = self.random.choice(SELLERS)
        body = self._kinds[kind]()
        common: Fields = [
            ("id", text(self._id())),
            ("type", text(kind)),
            ("version", "1"),
            ("occurred_at", text(self._moment())),
            ("seller_id", text(self.seller)),
        ]
        return common + body

    def _chance(self, share: float) -> bool:
        return self.random.random() < share

    def _id(self) -> str:
        mine = self._ids[self.seller]
        if mine and self._chance(0.03):
            return self.random.choice(mine)
        mine.append(self._new("e"))
        return mine[-1]

    def _new(self, stem: str) -> str:
        self._number += 1
        return f"{stem}-{self._number}"

    def _moment(self) -> str:
        ages = (timedelta(), timedelta(minutes=-9), _DAY, 40 * _DAY, self._retention - _DAY)
        age = self.random.choice(ages[:1] * 6 + ages)
        age += timedelta(milliseconds=self.random.randrange(60_000))
        minutes = self.random.choice((0, 0, 0, 60, -210, 345, 840, -720, 1439, -1439))
        at = (self._now - age).astimezone(timezone(timedelta(minutes=minutes)))
        # Of one length whatever the clock: what is drawn next hangs on how long this is.
        return at.isoformat(timespec="microseconds")

    def _amount(self, least: int = 0) -> int:
        if self._chance(0.2):
            return max(least, self.random.choice(_AMOUNTS))
        return self.random.randrange(1, 60_000)

    def _maybe(self, name: str, *values: object) -> Fields:
        return [(name, text(self.random.choice(values)))] if self._chance(0.5) else []

    def _money(self, currency: str, amount: int) -> Fields:
        return [("currency", text(currency)), ("amount_minor", text(amount))]

    def _sale(self) -> Fields:
        sale, currency, amount = self._new("s"), self._currency(), self._amount()
        self._sales.append((sale, self.seller, currency, amount))
        cards = (f"card-{self.random.randrange(30)}", "s:S-1", "x" * 64)
        return [
            ("sale_id", text(sale)),
            *self._money(currency, amount),
            *self._maybe("customer_ref", f"c-{self.random.randrange(30)}", None),
            *self._maybe("instrument_ref", *cards),
            *self._maybe("device_ref", "till-1", "till-2", None),
            *self._maybe("country", "DE", "US", "ZZ"),
            *(self._named_lines(sale, amount) or self._maybe("lines", 0, 1, 100_000)),
        ]

    def _named_lines(self, sale: str, amount: int) -> Fields:
        """Up to three lines with ids, which come to the sale or to less; none for most sales."""
        if not amount or self._chance(0.6):
            return []
        names = self.random.sample(_LINES, self.random.randint(1, 3))
        each = amount // len(names)
        drawn = [name for name in names if self._chance(0.9)] if each else []
        self._lines[sale] = tuple(drawn)
        raw = [encoded([("line_id", text(name)), ("amount_minor", text(each))]) for name in drawn]
        return [("lines", f"[{','.join(raw)}]")]

    def _line_of(self, sale: str) -> Fields:
        """Mostly a line that the sale has, now and then one that it has not."""
        known = self._lines.get(sale, ())
        if not known:
            return self._maybe("line_id", *_LINES, None, None) if self._chance(0.2) else []
        return [("line_id", text(self.random.choice((*known * 4, *_LINES))))]

    def _currency(self) -> str:
        return self.random.choice(CURRENCIES[:4] * 3 + CURRENCIES)

    def _earlier(self, known: deque[tuple[str, str, str, int]]) -> tuple[str, str, int]:
        """An earlier sale or commission, now and then with something about it that is wrong."""
        ref, self.seller, currency, amount = self.random.choice(known)
        if self._chance(0.1):
            currency = self._currency()
        if self._chance(0.2):
            self.seller = self.random.choice(_NEIGHBOURS[self.seller])
        return ref, currency, amount

    def _return(self) -> Fields:
        if self._chance(0.1):
            self.seller = self.random.choice(SELLERS[:2])
            return [("sale_id", text("early")), *self._money("EUR", 1)]
        if self._sales and self._chance(0.7):
            sale, currency, amount = self._earlier(self._sales)
            part = self.random.randrange(1, max(2, amount + amount // 10 + 2))
            named: Fields = [("sale_id", text(sale)), *self._line_of(sale)]
        else:
            currency, part = self._currency(), self._amount(1)
            named = self._maybe("sale_id", self._new("early"), None)
        part = min(part, MINOR_MAX)
        return [*named, *self._money(currency, part), *self._maybe("reason", "", "torn", "ü\u0000")]

    def early_return(self) -> Fields:
        """A return that waits for a sale that never comes, as several others do."""
        self.seller = self.random.choice(SELLERS[:2])
        return [
            *(("id", text(self._id())), ("type", text("sale.returned"))),
            *(("occurred_at", text(self._moment())), ("seller_id", text(self.seller))),
            *(("sale_id", text("early")), *self._money("EUR", 1)),
        ]

    def _source(self) -> Fields:
        if not self._chance(0.5):
            return self._maybe("source", None)
        return [
            (
                "source",
                [
                    ("sale_id", text(self._new("s"))),
                    ("seller_id", text(self.random.choice(SELLERS))),
                    ("level", text(self.random.choice((1, 2, 3, 4, 64)))),
                    ("base_minor", text(self._amount())),
                    *self._maybe("held", True, False),
                ],
            )
        ]

    def _commission(self) -> Fields:
        commission, currency, amount = self._new("c"), self._currency(), self._amount()
        self._commissions.append((commission, self.seller, currency, amount))
        return [
            ("commission_id", text(commission)),
            *self._money(currency, amount),
            *self._source(),
        ]

    def _reversal(self) -> Fields:
        if self._commissions and self._chance(0.6):
            commission, currency, amount = self._earlier(self._commissions)
            named: Fields = [("commission_id", text(commission))]
        else:
            currency, amount = self._currency(), self._amount()
            named = self._maybe("commission_id", self._new("c"), None)
        return [*named, *self._money(currency, amount), *self._source()]

    def _verdict(self) -> Fields:
        verdict = self.random.choice(("chargeback", "confirmed", "cleared"))
        by = self.random.choice(("Eva Klein", "acquirer", self.seller))
        return [("verdict", text(verdict)), ("by", text(by)), ("reason", text("called her"))]

    def _label(self) -> Fields:
        named = self._earlier(self._sales)[0] if self._sales else self._new("s")
        return [("sale_id", text(named)), *self._verdict()]

    def _commission_label(self) -> Fields:
        named = self._earlier(self._commissions)[0] if self._commissions else self._new("c")
        source: Fields = [
            *(("sale_id", text(self._new("s"))), ("seller_id", text(self.seller))),
            *(("level", text(1)), ("base_minor", text(self._amount()))),
        ]
        return [("commission_id", text(named)), *self._verdict(), ("source", source)]

    def _lesson(self) -> Fields:
        entity = self.random.choice(("li:card", "ld:till", "li:" + "x" * 64))
        sold_at_ms = self.random.choice((0, 2**31, 2**32 * 1000 - 1, 1_795_500_000_000))
        fraud = self.random.choice((True, False))
        return [("entity", text(entity)), ("sold_at_ms", text(sold_at_ms)), ("fraud", text(fraud))]

    def _write_off(self) -> Fields:
        names = [("by", text("Eva Klein")), ("reason", text("hardship"))]
        return [*self._money(self._currency(), self._amount() or 1), *names]

    def _resolution(self) -> Fields:
        known = tuple(self.payouts) or ("00d2c4aa-9e7f-5a3b-8c1d-0f9e8d7c6b5a",)
        return [
            ("payout_id", text(self.random.choice(known))),
            ("attempt", text(self.random.choice((0, 0, 1, 7)))),
            ("outcome", text(self.random.choice(("settled", "returned", "failed")))),
            *self._money(self._currency(), self._amount() or 1),
            *(("by", text("Eva Klein")), ("reason", text("called"))),
            *self._maybe("reference", "B-7", None),
        ]

    def _profile(self) -> Fields:
        moments = ("2024-02-29T00:00:00-03:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z")
        fields: Fields = [
            ("country", text(self.random.choice(("DE", "BR", "ZZ")))),
            *self._maybe("zone", *ZONES),
            *self._maybe("status", "active", "active", "suspended"),
            *self._maybe("sponsor_id", self.seller, *SELLERS, None),
            *self._maybe("joined_at", *moments, None),
        ]
        if self._chance(0.6):
            payout = [*self._method(), *self._maybe("changed_at", *moments, None)]
            if self._chance(0.2):
                others = [encoded(self._method()) for _ in range(self.random.randint(0, 4))]
                payout.append(("others", f"[{','.join(others)}]"))
            fields.append(("payout", payout))
        if self._chance(0.4):
            fields.append(("reinvest", self._preferences()))
        return fields

    def _preferences(self) -> Fields:
        """What of her earnings becomes credit, in up to three currencies."""
        currencies = sorted({self._currency() for _ in range(3)})
        return [
            (
                currency,
                [
                    ("percent", text(self.random.choice((0, 1, 33, 50, 100)))),
                    ("keep_minor", text(self.random.choice((0, 1, 1_000, MINOR_MAX)))),
                ],
            )
            for currency in currencies
        ]

    def _method(self) -> Fields:
        """A way to be paid: mostly an address that can be, sealed for this seller."""
        odd = ("v1.test.AAAAAAAA", "v1." + "~" * 1024, "v1.ab=_-.ab")
        good = sealed(self.seller, f"{self.seller}@example.com").replace(".sim.", ".test.")
        destination = good if self._chance(0.7) else self.random.choice(odd)
        rails = ("paypal", "paypal", "paypal", "stripe", None)
        return [("destination", text(destination)), *self._maybe("rail", *rails)]

    def _redemption(self) -> Fields:
        money = self._money(self._currency(), self.random.choice((1, 100, 1_000, MINOR_MAX)))
        return [*money, ("order_ref", text("o-1"))]

    def _reinvestment(self) -> Fields:
        money = self._money(self._currency(), self.random.choice((1, 100, 1_000, MINOR_MAX)))
        return money if self._chance(0.7) else money[:1]

    def _authorisation(self) -> Fields:
        groups = self.random.choice(("[]", '[{"group":"tea","amount_minor":1}]'))
        flags = [(name, self.random.choice(("true", "false"))) for name in ("partial", "discounts")]
        return [*self._purchase(), *self._redemption(), ("lines", groups), *flags]

    def _purchase(self) -> Fields:
        return [("authorisation_id", text(f"a-{self.random.randrange(8)}"))]

    def _capture(self) -> Fields:
        money = self._money(self._currency(), self.random.choice((1, 100, 1_000, MINOR_MAX)))
        return [*self._purchase(), *money]

    def _quote(self) -> Fields:
        side = self.random.choice(("source_minor", "target_minor"))
        return [
            ("quote_id", text(f"q-{self.random.randrange(8)}")),
            ("source_currency", text(self._currency())),
            ("target_currency", text(self._currency())),
            (side, text(self._amount(1))),
        ]

    def _convert(self) -> Fields:
        return [("quote_id", text(f"q-{self.random.randrange(8)}"))]

    def _rate(self) -> Fields:
        source, target = self._currency(), self._currency()
        self.seller = f"{source}-{target}"
        return [
            ("source_currency", text(source)),
            ("target_currency", text(target)),
            ("numerator", text(self.random.choice((9, 10, 11, 10**15)))),
            ("denominator", text(self.random.choice((9, 10, 11, 10**15)))),
            ("expires_at", text(self._moment())),
        ]

    def _report(self) -> Fields:
        odd = ("p-1", "zz-none", "0", "ff", "3f" + "0" * 34, "-1", "0x", "fe:", "+1", "1_")
        known = list(self.payouts)
        payout = self.random.choice(known) if known and self._chance(0.8) else None
        return [
            ("payout_id", text(payout or self.random.choice(odd))),
            ("rail", text("paypal")),
            ("state", text(self.random.choice(list(PayoutState)).value)),
            *self._maybe("provider_ref", "B-1", "", 'ref "x" \\', None),
            *self._maybe("category", *(c.value for c in FailureCategory), None),
            *self._maybe("reason", "RECEIVER_UNREGISTERED", "", None),
            *self._maybe("attempt", 0, 0, 0, 1, ATTEMPTS_MAX, -1),
        ]
