"""What the world outside sends: a few sellers in few shards, so that their events collide.

Sales, returns before and behind their sale, profiles early, late or never; and in some histories
each, commissions, redemptions, purchases, reinvestments, write-offs, lines of sales, returns of
no sale, bad messages. Some of all comes twice. The script is made before the run: what each seller
must have earned follows from it alone.

Each kind of event has dice of its own, so that another kind leaves the histories without it as
they are.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from itertools import count, islice
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from models.ids import derived
from models.money import BASIS_POINTS
from models.shards import shard_of
from rails.destination import KEY_BYTES, NONCE_BYTES, Seal
from streams.demo.messages import Kind, Message
from tests.simulation.dice import Dice

KEY = bytes(KEY_BYTES)
HOMES = (1, 3, 2)
"""The shards that sellers live in: two of them in one partition."""

PAIR = ("EUR", "GIP")
"""What is exchanged. Its rate is kept in a shard of ``HOMES``, whichever way round it is told."""

QUOTE_S = 2.0
"""How long a quote is good, in seconds: as in company.yaml."""

DAY_MS = 86_400_000

CHAIN = 3
"""Sellers above one another, at most: as many as the plan pays."""


_PURCHASE_STEPS = (
    *("purchase.captured", "purchase.captured"),
    *("purchase.voided", "purchase.refunded", "purchase.refunded"),
)


_MIDS = (8_642, 8_701, 8_701, 9_100, 9_100, 0, 900_000)
"""Numerators of rates; the last two are none, or implausible behind the others."""


class DebtTerms(NamedTuple):
    """How the company of a history deals with what sellers owe."""

    share_bp: int = BASIS_POINTS
    """The share of an earning that pays debt."""
    spent_is_debt: bool = False
    """Whether credit that was spent, and whose grant is undone, is owed."""


class Expected(NamedTuple):
    """What is to be sent, and what is known of it beforehand."""

    messages: list[Message]
    sellers: list[str]
    debt: DebtTerms
    topics: set[str]
    """The topics that messages come over."""
    quotes: list[str]
    """Ids of the quotes that are asked for."""
    releasing: bool
    """Whether a share of some earnings is released later."""
    offering: bool
    """Whether campaigns give discounts, and bonuses on what is reinvested."""
    suspecting: bool
    """Whether sales are scored, and held in part, rejected or let through by chance."""
    impatient: bool
    """Whether what others have in front of a booking is published by whoever books."""


@cache
def seal() -> Seal:
    """What opens the destinations of the simulation."""
    return Seal({"sim": KEY})


@lru_cache(maxsize=4096)
def sealed(seller: str, destination: str) -> str:
    """A destination, sealed; the same every time, so that a history can be repeated."""
    nonce = derived(f"{seller}/{destination}")[:NONCE_BYTES].encode()
    body = AESGCM(KEY).encrypt(nonce, destination.encode(), seller.encode())
    text = base64.urlsafe_b64encode(nonce + body).rstrip(b"=").decode()
    return f"v1.sim.{text}"


@cache
def names(shard: int, many: int) -> tuple[str, ...]:
    """Names of sellers who live in a shard."""
    found: list[str] = []
    number = 0
    while len(found) < many:
        name = f"s{number}"
        if shard_of(name) == shard:
            found.append(name)
        number += 1
    return tuple(found)


@cache
def cards() -> tuple[str, ...]:
    """Cards of which labels are kept in a shard of ``HOMES``."""
    found = (f"card-{number}" for number in count())
    return tuple(islice((card for card in found if shard_of("li:" + card) in HOMES), 3))


def _preference(dice: Dice) -> dict[str, Any]:
    """How much of each earning becomes credit; none again, by a later profile."""
    percent, keep = dice.choice((1, 33, 50, 100)), dice.choice((0, 0, 300))
    return {"EUR": {"percent": percent, "keep_minor": keep}} if dice.chance(0.7) else {}


def _debt_terms(dice: Dice | None) -> DebtTerms:
    """In most histories earnings pay debt whole, and spent credit is forgiven."""
    if dice is None:
        return DebtTerms()
    return DebtTerms(dice.choice((BASIS_POINTS, 5_000, 3_333)), dice.chance(0.7))


def _lines(dice: Dice | None, amount: int) -> dict[str, int]:
    """A sale's lines, of its amount or less; none for some, and without dice."""
    if dice is None or amount < 2 or dice.chance(0.2):
        return {}
    half = amount // 2
    return {"a": half, "b": dice.choice((amount - half, half // 2))}


class Client:
    """Makes the script of one run."""

    def __init__(self, seed: int, start_ms: int, text: Callable[[int], str], span_s: float) -> None:
        """``span_s``: within how many seconds everything is sent; ``text`` writes a time."""
        self._seed = seed
        self._dice = Dice(seed)
        self._start_ms = start_ms
        self._text = text
        self._span_s = span_s
        self._ids = 0
        self._messages: list[Message] = []
        self._sellers: list[str] = []
        self._quotes: list[str] = []
        self._offering = self._only_in(0.1, "offers")
        self._preferring = self._only_in(0.2, "preferences") or self._offering
        self._itemising = self._only_in(0.15, "lines")
        self._releasing = self._only_in(0.15, "releases")
        self._suspecting = self._only_in(0.1, "suspicion")
        self._labelling = self._only_in(0.05, "labels") or self._suspecting
        self._debt = _debt_terms(self._only_in(0.2, "debt"))

    def script(self, sales: Sequence[tuple[int, float]]) -> Expected:
        """All that is sent, in the order of its time. ``sales``: how many, by weight."""
        dice = self._dice
        homes = HOMES[: dice.randint(2, 3)]
        sellers = [names(dice.choice(homes), 9)[at] for at in range(dice.randint(2, 3))]
        sponsors = {
            seller: sellers[at - 1] if at % CHAIN and dice.chance(0.8) else None
            for at, seller in enumerate(sellers)
        }
        self._sellers = sellers
        for seller in sellers:
            self._profiles(seller, sponsors[seller])
        for number in range(dice.one_of(sales)):
            self._sale(dice.choice(sellers), f"sale-{number}")
        for part, share, most in self._parts():
            self._dice = Dice(f"{self._seed} {part.__name__}")
            if self._dice.chance(share):
                for number in range(self._dice.randint(1, most)):
                    part(self._dice.choice(sellers), number)
        self._repeats()
        self._messages.sort(key=lambda message: message.at_ms)
        topics = {message.topic for message in self._messages}
        return Expected(
            self._messages,
            sellers,
            self._debt,
            topics,
            self._quotes,
            self._releasing is not None,
            self._offering is not None,
            self._suspecting is not None,
            self._only_in(0.2, "impatient") is not None,
        )

    def _only_in(self, share: float, part: str) -> Dice | None:
        """Dice of its own for what is in a share of the histories only; None in the others."""
        dice = Dice(f"{self._seed} {part}")
        return dice if dice.chance(share) else None

    def _parts(self) -> tuple[tuple[Callable[[str, int], None], float, int], ...]:
        """What is in some histories only, in which share of them, and how often at most."""
        return (
            (self._outside, 0.3, 2),
            (self._redeem, 0.4, 2),
            (self._purchase, 0.35, 2),
            (self._reinvest, 0.12, 1),
            (self._write_off, 0.15, 1),
            (self._undone, 0.1, 1),
            (self._exchange, 0.1, 1),
            (self._label, 0.0 if self._labelling is None else 0.7, 3),
            (self._offer, 0.0 if self._offering is None else 1.0, 1),
            (self._debtor, 0.0 if self._debt.share_bp == BASIS_POINTS else 0.7, 1),
            (self._return_of_no_sale, 0.3, 2),
            (self._bad, 0.35, 2),
        )

    def _at(self, after: float = 0.0) -> float:
        """A time within the span, in seconds."""
        return after + self._dice.random() * (self._span_s - after)

    def _late(self) -> float:
        """A time when most has been sent, in seconds."""
        return self._span_s / 2 + self._dice.random() * (self._span_s / 2 + 1.0)

    def _put(self, topic: str, at_s: float, event: dict[str, Any], kind: Kind = Kind.EVENT) -> None:
        self._ids += 1
        at_ms = self._start_ms + int(at_s * 1000)
        body = {"id": f"ev-{self._ids}", "version": 1, "occurred_at": self._text(at_ms), **event}
        value = json.dumps(body, separators=(",", ":")).encode()
        self._messages.append(
            Message(topic, body["seller_id"].encode(), value, at_ms, None, body["id"], kind)
        )

    def _profiles(self, seller: str, sponsor: str | None) -> None:
        """The first may come late or never; more may follow, with another destination or status."""
        dice = self._dice
        draw = dice.random()
        if draw < 0.06:
            return
        at = 0.0 if draw < 0.7 else self._at()
        for number in range(dice.one_of(((1, 6.0), (2, 3.0), (3, 1.0)))):
            event: dict[str, Any] = {"type": "seller.updated", "seller_id": seller, "country": "DE"}
            if sponsor is not None:
                event["sponsor_id"] = sponsor
            if dice.chance(0.12):
                event["status"] = "suspended"
            if self._preferring:
                event["reinvest"] = _preference(self._preferring)
            if self._releasing and self._releasing.chance(0.2):
                event["tier"] = "gold"
            if dice.chance(0.9):
                destination = sealed(seller, f"{seller}+{number}@example.com")
                event["payout"] = {"rail": "paypal", "destination": destination}
                others = dice.one_of(((0, 3.0), (1, 5.0), (2, 2.0)))
                event["payout"]["others"] = [
                    {"rail": rail, "destination": sealed(seller, f"{seller}-{rail}")}
                    for rail in (("bank",), ("bank", "paypal"))[others - 1][:others]
                ]
            self._put("sellers", at, event, Kind.PROFILE)
            at = self._at(at)

    def _sale(self, seller: str, sale: str) -> None:
        dice = self._dice
        amount = dice.choice((0, 399, 1_000, 2_600, 4_000, 7_999, 12_000, 20_000))
        at, days = self._at(), self._ids % 4
        occurred_ms = self._start_ms + int(at * 1000) - days * DAY_MS
        more = {}
        if self._releasing:
            # Some are released while the history goes on, the others when the clock is set ahead.
            occurred_ms += self._releasing.choice((1_000, 5_000, 30_000)) if days else 0
            country = self._releasing.choice(("DE", "AT", None))
            more = {"country": country} if country else {}
        lines = _lines(self._itemising, amount)
        groups = {"a": {"group": "shoes"}, "b": {}} if self._releasing else {"a": {}, "b": {}}
        named = {
            "lines": [
                {"line_id": line, "amount_minor": lines[line], **groups[line]} for line in lines
            ]
        }
        self._put("sales", at, {
            "type": "sale.completed", "seller_id": seller, "sale_id": sale, "currency": "EUR",
            "amount_minor": amount, "instrument_ref": self._card(dice.randint(1, 3)),
            "occurred_at": self._text(occurred_ms), **(named if lines else {}), **more,
        })  # fmt: skip
        left = amount
        for _ in range(dice.one_of(((0, 70.0), (1, 20.0), (2, 10.0)))):
            if left:
                part = left if dice.chance(0.4) else dice.randint(1, left)
                left -= part
                # Now and then ahead of its sale.
                back_s = self._at(0.0 if dice.chance(0.2) else at)
                self._return(seller, sale, part, back_s, line=self._line_of(lines, part))
        if amount and dice.chance(0.04):
            self._return(seller, sale, amount + 1, self._at(), Kind.BAD)
        if lines and self._itemising:
            self._too_much_of_a_line(seller, sale, amount, self._itemising)

    def _card(self, number: int) -> str:
        """What labels tell of a card is booked in its shard: then one that sellers live in."""
        return f"card-{number}" if self._labelling is None else cards()[number - 1]

    def _line_of(self, left: dict[str, int], part: int) -> str | None:
        """One of a sale's lines, now and then, that so much of can still come back."""
        able = [line for line in left if left[line] >= part]
        if self._itemising is None or not able or self._itemising.chance(0.3):
            return None
        line = self._itemising.choice(able)
        left[line] -= part
        return line

    def _too_much_of_a_line(self, seller: str, sale: str, amount: int, dice: Dice) -> None:
        """A return of more than a line was sold for, or of no line of the sale."""
        if dice.chance(0.4):
            line, part = dice.choice((("a", amount // 2 + 1), ("z", 1)))
            at_s = dice.random() * self._span_s
            self._return(seller, sale, part, at_s, Kind.BAD, line=line)

    def _return(
        self, seller: str, sale: str | None, amount: int, at_s: float, kind: Kind = Kind.EVENT,
        *, line: str | None = None,
    ) -> None:  # fmt: skip
        event = {"type": "sale.returned", "seller_id": seller, "currency": "EUR",
                 "amount_minor": amount}  # fmt: skip
        if sale is not None:
            event["sale_id"] = sale
        if line is not None:
            event["line_id"] = line
        self._put("sales", at_s, event, kind)

    def _return_of_no_sale(self, seller: str, _: int) -> None:
        self._return(seller, None, self._dice.choice((300, 2_000)), self._at())

    def _label(self, _: str, number: int) -> None:
        """Somebody says what a sale was; now and then twice, in two ways, or before it comes."""
        dice = self._dice
        sales = [json.loads(m.value) for m in self._messages if b'"sale.completed"' in m.value]
        if not sales:
            return
        sale = dice.choice(sales)
        for each in range(dice.choice((1, 1, 1, 2, 3))):
            self._put("fraud.labels", self._at() if dice.chance(0.3) else self._late(), {
                "id": f"label-{number}-{each}", "type": "fraud.labelled",
                "seller_id": sale["seller_id"], "sale_id": sale["sale_id"],
                "verdict": dice.choice(("cleared", "cleared", "confirmed", "chargeback")),
                "by": dice.choice(("eva", "eva", "acquirer", sale["seller_id"])), "reason": "told",
            })  # fmt: skip

    def _offer(self, seller: str, _: int) -> None:
        """A sale that a discount is given for, which is used; perhaps the sale comes back."""
        dice, sale, amount = self._dice, "offer", self._dice.choice((4_000, 12_000))
        self._put("sales", self._at() / 2, {
            "type": "sale.completed", "seller_id": seller, "currency": "EUR", "sale_id": sale,
            "amount_minor": amount,
        })  # fmt: skip
        # A discount waits for a slice of its budget, which takes until the janitor's next round.
        for each in range(dice.randint(0, 2)):
            self._purchase(seller, 30 + each, self._late() + 6 * dice.random())
        if dice.chance(0.5):
            self._return(seller, sale, amount, self._late() + 6 * dice.random())
        if dice.chance(0.3):
            self._put("sales", self._late(), {
                "type": "sale.completed", "seller_id": seller, "currency": "EUR",
                "sale_id": f"{sale}-again", "amount_minor": 2_700,
            })  # fmt: skip

    def _exchange(self, seller: str, number: int) -> None:
        """Rates, a little to exchange, quotes."""
        dice = self._dice
        for _ in range(dice.randint(1, 2)):
            self._rate()
        # Too little to be paid out, so that it is there.
        self._put("commissions", self._at() / 4, {
            "type": "commission.earned", "seller_id": seller, "currency": "EUR",
            "commission_id": f"exchange-{number}", "amount_minor": dice.choice((70, 150)),
        })  # fmt: skip
        for each in range(dice.randint(1, 3)):
            self._quote(seller, f"quote-{number}-{each}")

    def _quote(self, seller: str, quote: str) -> None:
        """Quoted, then used once, twice, too late or never; now and then more than there is."""
        dice, at = self._dice, self._late()
        self._quotes.append(quote)
        way = PAIR if dice.chance(0.8) else PAIR[::-1]
        side = dice.choice(("source_minor", "target_minor"))
        self._put("redemptions", at, {
            "type": "conversion.quoted", "seller_id": seller, "quote_id": quote,
            "source_currency": way[0], "target_currency": way[1],
            side: dice.choice((7, 20, 20, 40, 5_000)),
        })  # fmt: skip
        event = {"type": "conversion.made", "seller_id": seller, "quote_id": quote}
        for _ in range(dice.randint(0, 3)):
            late = dice.choice((0.0, 0.0, QUOTE_S))
            self._put("redemptions", at + late + dice.random() * QUOTE_S, event)

    def _rate(self) -> None:
        """A mid rate, told either way round; now and then one that is none, or of before."""
        dice, at = self._dice, self._at() / 2
        source, target = PAIR if dice.chance(0.8) else PAIR[::-1]
        observed_ms = self._start_ms + int(at * 1000) - dice.choice((0, 0, 3_000))
        self._put("rates", at, {
            "type": "rate.quoted", "seller_id": f"{source}-{target}", "source_currency": source,
            "target_currency": target, "numerator": dice.choice(_MIDS),
            "denominator": 10_000, "occurred_at": self._text(observed_ms),
            "expires_at": self._text(observed_ms + dice.choice((2_000, 30_000, 30_000))),
        })  # fmt: skip

    def _debtor(self, seller: str, _: int) -> None:
        """Who owes before she has earned pays by shares."""
        self._return(seller, None, self._dice.choice((2_000, 7_000)), self._at() / 3)

    def _outside(self, seller: str, number: int) -> None:
        commission = f"outside-{number}"
        amount = self._dice.choice((90, 700, 3_000))
        at = self._at()
        event = {"seller_id": seller, "commission_id": commission, "currency": "EUR"}
        self._put("commissions", at, {
            **event, "type": "commission.earned", "amount_minor": amount,
        })  # fmt: skip
        if self._dice.chance(0.4):
            part = self._dice.randint(1, amount)
            self._put("commissions", self._at(), {
                **event, "type": "commission.reversed", "amount_minor": part,
            })  # fmt: skip

    def _redeem(self, seller: str, _: int, at_s: float | None = None) -> None:
        self._put("redemptions", self._at() if at_s is None else at_s, {
            "type": "credit.redeemed", "seller_id": seller, "currency": "EUR",
            "amount_minor": self._dice.choice((50, 120, 400)), "order_ref": f"order-{self._ids}",
        })  # fmt: skip

    def _purchase(self, seller: str, number: int, at_s: float | None = None) -> None:
        """Authorised, then captured, voided and refunded, in any order and more than there is."""
        dice = self._dice
        amount = dice.choice((60, 150, 700))
        common = {"seller_id": seller, "authorisation_id": f"purchase-{number}"}
        at = self._at() if at_s is None else at_s
        self._put("redemptions", at, {
            **common, "type": "purchase.authorised", "currency": "EUR", "amount_minor": amount,
            "partial": dice.chance(0.5),
        })  # fmt: skip
        for _ in range(dice.randint(0, 4)):
            event: dict[str, Any] = {**common, "type": dice.choice(_PURCHASE_STEPS)}
            if event["type"] != "purchase.voided":
                event |= {"currency": "EUR", "amount_minor": dice.choice((20, 60, amount))}
            if event["type"] == "purchase.captured":
                event["final"] = dice.chance(0.3)
            self._put("redemptions", self._at(0.0 if dice.chance(0.1) else at), event)

    def _reinvest(self, seller: str, number: int) -> None:
        """Earnings become credit once: some of what is available, or all of it; some is spent."""
        event = {"type": "earnings.reinvested", "seller_id": seller, "currency": "EUR"}
        amount = {"amount_minor": self._dice.choice((7, 50, 400))}
        self._put("redemptions", self._late(), event | (amount if self._dice.chance(0.6) else {}))
        if self._dice.chance(0.7):
            spend = self._dice.choice((self._redeem, self._purchase))
            spend(self._dice.choice(self._sellers), number + 20, self._late())

    def _write_off(self, seller: str, _: int) -> None:
        """Somebody writes off a part of what a seller owes, or more than that."""
        returned = [m.key.decode() for m in self._messages if b'"sale.returned"' in m.value]
        self._put("commissions", self._late(), {
            "type": "debt.written_off", "seller_id": self._dice.choice(returned or [seller]),
            "currency": "EUR", "amount_minor": self._dice.choice((1, 100, 300, 10**9)),
            "by": "Eva Klein", "reason": "hardship",
        })  # fmt: skip

    def _undone(self, seller: str, number: int) -> None:
        """Credit is spent, then the sale that it was granted for comes back; others may come."""
        dice, sale = self._dice, f"undone-{number}"
        event = {"type": "sale.completed", "seller_id": seller, "currency": "EUR"}
        amount = dice.choice((3_000, 4_500, 16_000))
        self._put("sales", self._at() / 2, {**event, "sale_id": sale, "amount_minor": amount})
        for _ in range(dice.randint(1, 2)):
            dice.choice((self._redeem, self._purchase))(seller, number + 10)
        self._return(seller, sale, dice.choice((amount, amount - 10)), self._late())
        if dice.chance(0.5):
            again = {**event, "sale_id": f"{sale}-again", "amount_minor": 3_500}
            self._put("sales", self._late(), again)

    def _bad(self, seller: str, _: int) -> None:
        """What must end in the dead letters whenever it comes."""
        dice = self._dice
        at = self._at()
        value = dice.choice((b"", b"{", b"\xff", b'{"type":"sale.completed","id":"x"}', b"[]"))
        topic = dice.choice(("sales", "commissions", "sellers", "redemptions"))
        at_ms = self._start_ms + int(at * 1000)
        self._messages.append(
            Message(topic, seller.encode(), value, at_ms, None, f"bad-{self._ids}", Kind.BAD)
        )

    def _repeats(self) -> None:
        """Some come twice; some ids are used again with another body, behind the first."""
        dice = self._dice
        for message in list(self._messages):
            if message.kind is Kind.BAD or not dice.chance(0.12):
                continue
            at_ms = message.at_ms + int(dice.random() * 1500)
            value, kind = message.value, Kind.REPEAT
            if message.topic == "sales" and dice.chance(0.3):
                body = json.loads(value)
                value = json.dumps({**body, "amount_minor": body["amount_minor"] + 1}).encode()
                kind = Kind.BAD
                at_ms = max(at_ms, message.at_ms + 1)
            self._messages.append(
                Message(message.topic, message.key, value, at_ms, None, message.id, kind)
            )
