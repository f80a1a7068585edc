"""Random lives of sellers, booked by the Lua and by a plain second ledger: always the same."""

import os
import random
from typing import Any

import pytest
import redis

from models import fx
from models.fx import Rate, Wanted
from models.ledger import Entry, Fold
from models.policy import FxPolicy
from tests.streams.wallets.__main__ import main
from tests.streams.wallets.harness import ACCOUNTS, PAY, Shard, campaign
from tests.streams.wallets.reference import AFTER, DOLLARS, PAY_MAX, Ledger, Wants

SEQUENCES = 320
STEPS = 60
LIFE = 5_000
GRACES = (0, 0, 3_000)
TIERS = [(1, 8_000, 300), (2, 20_000, 700), (3, 60_000, 1_500)]
CAMPAIGN = campaign(expires_ms=LIFE, EUR=[(tier, at, credit, 0, 0) for tier, at, credit in TIERS])
RATE = Rate("r", "EUR", "USD", DOLLARS.numerator, DOLLARS.denominator, 0, 2**50)
FX = FxPolicy(markup=1, quote_seconds=1)
WAITS: dict[str, Any] = {
    "waiting": True, "sale": "x", "origin": "anna", "level": 0, "held": False, "occurred_at": "x",
}  # fmt: skip


class Steady(Shard):
    """A shard that nobody heals: which epoch it is in is asked once."""

    known: int | None = None

    def epoch(self) -> int:
        """The epoch."""
        self.known = super().epoch() if self.known is None else self.known
        return self.known


class Life:
    """One sequence: each step goes to both ledgers, which must agree on outcome and balances."""

    def __init__(self, client: redis.Redis, seed: int) -> None:
        self.dice = random.Random(seed)
        self.seller = f"seller-{seed}"
        self.shard = Steady(client, self.seller, [CAMPAIGN])
        self.shard._ids = seed * 1_000_000
        # Sequences share shards: each reads a partition of its own.
        self.partition = seed % 2**31
        self.ledger = Ledger(
            TIERS, LIFE, known=self.dice.random() < 0.7,
            share_bp=self.dice.choice((10_000, 10_000, 5_000, 3_333, 0)),
            spent_is_debt=self.dice.random() < 0.5,
        )  # fmt: skip
        self.shard.debt_bp = self.ledger.share_bp
        self.shard.spent_is_debt = self.ledger.spent_is_debt
        self.rev = 1 if self.ledger.known else 0
        self.fold = Fold()
        self.names: list[str] = []
        self.parts: dict[str, int] = {}
        self.wants = Wants(0, 0, 0, 0)
        if self.ledger.known:
            self.book(self.event("profile", "seller.updated", rev=0, profile="{}", release=[]))

    def event(self, op: str, kind: str, **fields: Any) -> dict[str, Any]:
        return self.shard.event(op, kind, partition=self.partition) | fields

    def book(self, operation: dict[str, Any]) -> str:
        outcome = self.shard.one(operation)
        for raw in self.shard.raw:
            entry = Entry.parse(raw)
            self.fold.apply(entry)
        return outcome

    def step(self) -> tuple[str, str]:
        """Do something; the outcomes by both."""
        self.shard.now_ms += self.dice.choice((1, 1, 50, 900))
        moves = [self.sell] * 4 + [self.bring_back] * 4 + [self.move] * 5
        moves += [self.resolve] * 2 + [self.redeem, self.expire, self.take, self.release]
        moves += [self.reinvest] + [self.clear] * 2
        moves += [self.authorise] * 3 + [self.capture] * 3 + [self.refund] * 2 + [self.void]
        moves += [self.quote] * 2 + [self.convert] * 2 + [self.pay_out]
        if not self.ledger.known:
            moves.append(self.meet)
        return self.dice.choice(moves)()

    def sell(self) -> tuple[str, str]:
        waits_for_return = [name for name in self.ledger.early if name not in self.ledger.sales]
        if waits_for_return and self.dice.random() < 0.5:
            name = self.dice.choice(waits_for_return)
        elif self.names and self.dice.random() < 0.05:
            name = self.dice.choice(self.names)
        else:
            name = f"{self.seller}-{len(self.names)}"
            self.names.append(name)
        base = self.dice.choice((4_000, 10_000, 33_333, 999, 0, 7))
        amount = base * self.dice.choice((25, 10, 33)) // 100
        tier = self.dice.choice(("instant", "partial", "partial", "hold", "reject"))
        share = self.dice.choice((1, 2_500, 3_333, 5_000, 9_999)) if tier == "partial" else 10_000
        if tier == "reject":
            amount = 0
        elif tier == "partial" and not self.ledger.known:
            tier = "hold"  # as the rules have it
        pays = self.dice.random() < 0.6
        fields: dict[str, Any] = {
            "record": "s:" + name, "currency": "EUR", "base": base, "amount": amount, "tier": tier,
            "occurred": self.shard.now_ms, "counts": [[1, "p", 0]], "rev": self.rev,
        }  # fmt: skip
        schedule = None
        if tier == "reject":
            fields["counts"] = []
        elif not self.ledger.known:
            fields |= {**WAITS, "counts": []}
        elif tier in {"instant", "partial"}:
            fields |= {"share": share} if tier == "partial" else {}
            fields["reinvest"] = self.terms()
            schedule = self.schedule()
            if schedule is not None:
                fields["schedule"] = [*schedule, "return_window"]
            if pays:
                fields["pay"] = {**PAY, "max": PAY_MAX}
        event = self.event("earn", "sale.completed", **fields)
        now = self.shard.now_ms
        expected = self.ledger.sell(
            event["id"], name, base, amount, tier, now,
            pay=pays, wants=self.wants, schedule=schedule, share=share,
        )  # fmt: skip
        return self.book(event), expected

    def terms(self) -> list[int]:
        """What she wants reinvested from now on, as a preference has it."""
        self.wants = Wants(
            self.dice.choice((0, 33, 50, 100)), self.dice.choice((0, 300)),
            self.dice.choice((0, 500)), self.dice.choice((0, 1)),
        )  # fmt: skip
        return [self.wants.percent, self.wants.keep, self.wants.bonus, self.wants.days]

    def schedule(self) -> tuple[int, int] | None:
        """Which share of an earning is pending, and until when."""
        if self.dice.random() < 0.4:
            return None
        share = self.dice.choice((1, 1_000, 3_333, 9_999, 10_000))
        return share, self.shard.now_ms + self.dice.choice((-1, 0, 1, 500, 5_000))

    def release(self) -> tuple[str, str]:
        """Everything whose time has come."""
        pays = self.dice.random() < 0.6
        for rest, timer in self.due("rel"):
            seller, currency, record = rest.split("/")
            if seller == self.seller:
                more: dict[str, Any] = {"reinvest": self.terms(), "currency": currency}
                if pays:
                    more["pay"] = {**PAY, "max": PAY_MAX}
                operation = {**timer, "op": "release", "record": record, **more}
                assert self.book(operation) == "booked"
                assert self.book({**operation, "id": self.shard.id()}) == "ignored:gone"
                name, now = record.removeprefix("s:"), self.shard.now_ms
                self.ledger.release(name, self.wants, now, pay=pays)
        return "booked", "booked"

    def reinvest(self) -> tuple[str, str]:
        bonus = self.terms()[2:]
        amount = self.dice.choice((None, 1, 500, 2_000))
        fields = {} if amount is None else {"amount": amount}
        booked = self.book(self.event("reinvest", "earnings.reinvested", currency="EUR",
                                      bonus=bonus, **fields))  # fmt: skip
        return booked, self.ledger.reinvest(amount, self.wants, self.shard.now_ms)

    def bring_back(self) -> tuple[str, str]:
        if self.names and self.dice.random() < 0.85:
            name = self.dice.choice(self.names)
        else:  # ahead of its sale
            name = f"{self.seller}-{len(self.names)}"
            self.names.append(name)
        part = self.dice.choice((1, 2, 500, 3_333, 4_000, 33_333))
        booked = self.book(self.event("reverse", "sale.returned", record="s:" + name, base=part,
                                      currency="EUR", raw="{}", headers="{}"))  # fmt: skip
        return booked, self.ledger.bring_back(name, part)

    def take(self) -> tuple[str, str]:
        amount = self.dice.choice((1, 250, 5_000))
        booked = self.book(self.event("take", "sale.returned", currency="EUR", base=amount,
                                      amount=amount, occurred=self.shard.now_ms, counts=[],
                                      rev=self.rev))  # fmt: skip
        return booked, self.ledger.take(amount)

    def meet(self) -> tuple[str, str]:
        key = self.shard.key(f"q:{self.seller}")
        count = int(self.shard.client.llen(key))  # type: ignore[arg-type]
        schedule = self.schedule()
        release: list[dict[str, Any]]
        release = [{"counts": [[1, "p", 0]], "reinvest": self.terms()}] * count
        if schedule is not None:
            release = [{**each, "schedule": [*schedule, "new"]} for each in release]
        self.rev = 1
        event = self.event("profile", "seller.updated", rev=0, profile="{}", release=release)
        self.ledger.meet(event["id"], self.wants, self.shard.now_ms, schedule)
        return self.book(event), "booked"

    def clear(self) -> tuple[str, str]:
        """A label that says that a sale is genuine: mostly of the one that is held, and of which
        most was reinvested, so that what is released comes as its third part."""
        sales = self.ledger.sales
        if not sales:
            return self.sell()
        name = max(sales, key=lambda name: (sales[name].held > 0, len(sales[name].kept)))
        if self.dice.random() < 0.2:
            name = self.dice.choice(list(sales))
        pays, schedule = self.dice.random() < 0.6, self.schedule()
        release: dict[str, Any] = {"counts": [], "reinvest": self.terms()}
        if schedule is not None:
            release["schedule"] = [*schedule, "cleared"]
        if pays:
            release["pay"] = {**PAY, "max": PAY_MAX}
        known = {"rev": self.rev, **({"release": release} if self.ledger.known else {})}
        booked = self.book(self.event(
            "label", "fraud.labelled", record="s:" + name, verdict="cleared", by="Eva Klein",
            reason="called her", found=True, **known,
        ))  # fmt: skip
        now = self.shard.now_ms
        expected = self.ledger.clear(name, self.wants, now, schedule, pay=pays)
        if self.dice.random() < 0.5:
            self.shard.now_ms += 5_000
            self.release()
        return booked, expected

    def move(self) -> tuple[str, str]:
        payouts = list(self.fold.payouts)
        if not payouts:
            return self.sell()
        number = self.dice.randrange(len(payouts))
        state = self.dice.choice(sorted(AFTER["submitted"] | {"submitted"}))
        booked = self.book(self.shard.transit(payouts[number], state))
        return booked, self.ledger.move(number, state)

    def resolve(self) -> tuple[str, str]:
        payouts = list(self.fold.payouts)
        if not payouts:
            return self.sell()
        unknown = [n for n, one in enumerate(self.ledger.payouts) if one.state == "unknown"]
        number = self.dice.choice(unknown or range(len(payouts)))
        state, by = self.dice.choice(("settled", "returned", "failed")), self.dice.choice("ab")
        booked = self.book(self.event(
            "resolve", "payout.resolved", payout=payouts[number], attempt=0, state=state,
            currency="EUR", amount=self.fold.payouts[payouts[number]][2], by=by, why="called",
            said=self.shard.now_ms, quiet_ms=-1_000_000_000,
        ))  # fmt: skip
        return booked, self.ledger.resolve(number, state, by)

    def redeem(self) -> tuple[str, str]:
        amount = self.dice.choice((1, 200, 900))
        booked = self.book(self.event("redeem", "credit.redeemed", currency="EUR", amount=amount))
        return booked, self.ledger.redeem(amount, self.shard.now_ms)

    def expire(self) -> tuple[str, str]:
        grace = self.dice.choice(GRACES)
        for rest, timer in self.due("auth"):
            seller, _, name = rest.partition("/")
            if seller == self.seller:
                ends = {"op": "unauthorise", "authorisation": name, "grace_ms": grace}
                assert self.book({**timer, **ends}) == "booked"
        self.ledger.end(self.shard.now_ms, grace)
        for rest, timer in self.due("quote"):
            seller, _, name = rest.partition("/")
            if seller == self.seller:
                assert self.book({**timer, "op": "unquote", "quote": name}) == "booked"
        self.ledger.end_quotes(self.shard.now_ms)
        for rest, timer in self.due("lot"):
            seller, _, lot = rest.rpartition(":")
            if seller == self.seller:
                assert self.book({**timer, "op": "expire", "lot": lot}) == "booked"
        self.ledger.expire(self.shard.now_ms)
        return "booked", "booked"

    def due(self, wanted: str) -> list[tuple[str, dict[str, Any]]]:
        """Timers of a kind that are due: what they are of, and the operation they lead to."""
        found: Any = self.shard.client.zrangebyscore(
            self.shard.key("t"), "-inf", self.shard.now_ms, withscores=True
        )
        timers = []
        for timer, at in found:
            kind, _, rest = timer.decode().partition(":")
            if kind == wanted:
                base = {"id": self.shard.id(), "seller": self.seller, "timer": timer.decode()}
                timers.append((rest, {**base, "due": int(at)}))
        return timers

    def authorise(self) -> tuple[str, str]:
        amount = self.dice.choice((1, 250, 700, 2_000, 5_000))
        name = f"p{len(self.ledger.purchases)}"
        if self.ledger.purchases and self.dice.random() < 0.05:
            name = "p0"
        partial, good = self.dice.random() < 0.3, self.dice.choice((50, 900, 9_000))
        booked = self.book(self.event(
            "authorise", "purchase.authorised", authorisation=name, currency="EUR", amount=amount,
            good_ms=good, from_available=True, discounts=True, partial=partial,
        ))  # fmt: skip
        now = self.shard.now_ms
        return booked, self.ledger.authorise(name, amount, now + good, now, partial=partial)

    def purchase(self) -> tuple[str, int, int]:
        """A purchase that is there, or one that is not; an amount, and a grace."""
        name = f"p{self.dice.randrange(len(self.ledger.purchases) + 1)}"
        found = self.ledger.purchases.get(name)
        whole = found.open if found and found.open else 300
        return name, self.dice.choice((1, 100, whole)), self.dice.choice(GRACES)

    def capture(self) -> tuple[str, str]:
        name, amount, grace = self.purchase()
        final, now = self.dice.random() < 0.3, self.shard.now_ms
        booked = self.book(self.event(
            "capture", "purchase.captured", authorisation=name, currency="EUR", amount=amount,
            final=final, grace_ms=grace, occurred=now,
        ))  # fmt: skip
        return booked, self.ledger.capture(name, amount, now, grace, final=final)

    def void(self) -> tuple[str, str]:
        name, _, grace = self.purchase()
        booked = self.book(self.event("void", "purchase.voided", authorisation=name,
                                      grace_ms=grace))  # fmt: skip
        return booked, self.ledger.void(name, self.shard.now_ms, grace)

    def refund(self) -> tuple[str, str]:
        name, amount, grace = self.purchase()
        booked = self.book(self.event("refund", "purchase.refunded", authorisation=name,
                                      currency="EUR", amount=amount, grace_ms=grace))  # fmt: skip
        return booked, self.ledger.refund(name, amount, self.shard.now_ms, grace)

    def quote(self) -> tuple[str, str]:
        """For what is sold or bought, of the rate or its inverse."""
        name = f"q{len(self.ledger.quotes)}"
        if self.ledger.quotes and self.dice.random() < 0.05:
            name = "q0"
        rate = RATE if self.dice.random() < 0.6 else RATE.inverse()
        minor = self.dice.choice((1, 99, 700, 2_001))
        side = (minor, None) if self.dice.random() < 0.6 else (None, minor)
        made = fx.quote("", self.seller, name, Wanted(rate.source, rate.target, *side), rate,
                        policy=FX) | {"good_until": 2**50}  # fmt: skip
        booked = self.book({**made, **self.event("quote", "conversion.quoted")})
        now = self.shard.now_ms
        return booked, self.ledger.quote(name, rate.source, *side, now, FX.quote_ms)

    def quoted(self) -> str:
        """A quote of the last ones, or one that is not there."""
        last = len(self.ledger.quotes)
        return f"q{self.dice.randint(max(last - 3, 0), last)}"

    def convert(self) -> tuple[str, str]:
        name = self.quoted()
        booked = self.book(self.event("convert", "conversion.made", quote=name))
        return booked, self.ledger.exchange(name, self.shard.now_ms)

    def pay_out(self) -> tuple[str, str]:
        """As a request would, but that its answer is no more than a word."""
        if not self.ledger.known:
            return self.sell()
        name = self.quoted() if self.dice.random() < 0.8 else None
        fields = {} if name is None else {"quote": name}
        booked = self.book(self.event(
            "request", "payout.requested", currency="EUR", rev=self.rev,
            pay={**PAY, "max": PAY_MAX}, **fields,
        ))  # fmt: skip
        return booked, self.ledger.pay_out(name, self.shard.now_ms)

    def check(self) -> None:
        """Both ledgers and the journal's fold agree, and no rule of the accounts is broken."""
        wallet: Any = self.shard.client.hgetall(self.shard.key(f"w:{self.seller}"))
        balances = tuple(int(wallet.get(f"EUR:{name}".encode(), 0)) for name in ACCOUNTS)
        assert balances == self.ledger.balances()
        others = ("EUR:authorised", "EUR:quoted", "USD:available", "USD:quoted")
        assert [int(wallet.get(name.encode(), 0)) for name in others] == [
            self.ledger.authorised(), self.ledger.quoted("EUR"),
            self.ledger.dollars, self.ledger.quoted("USD"),
        ]  # fmt: skip
        pending = self.fold.balances[f"{self.seller}/pending", "EUR"]
        assert pending == self.ledger.pending()
        assert pending == sum(lot.left for lot in self.fold.releases.lots.values())
        available, held, in_flight, _, debt = balances
        whole = self.ledger.share_bp == 10_000
        assert not (whole and available and debt), "debt is paid before anything is available"
        # House accounts are the shard's, in which other sequences book.
        violations = [v for v in self.fold.violations if not v.detail.startswith("/")]
        assert violations == []
        folded = self.fold.balances
        assert balances == tuple(
            folded[f"{self.seller}/{name}", "EUR"]
            for name in ("available", "held", "in_flight", "credit", "debt")
        )
        earned = self.fold.earned[self.seller, "EUR"]
        paid = self.fold.paid_out[self.seller, "EUR"]
        purchased = self.fold.purchased[self.seller, "EUR"]
        reinvested = self.fold.reinvested[self.seller, "EUR"]
        given = self.fold.conversions.given
        euros = given[self.seller, "EUR"] + self.ledger.quoted("EUR")
        has = available + held + pending + in_flight + debt + euros
        assert has + paid + purchased + reinvested == earned
        dollars = self.ledger.dollars + self.ledger.quoted("USD")
        assert given[self.seller, "USD"] == -dollars
        assert self.fold.balances[f"{self.seller}/authorised", "EUR"] == self.ledger.authorised()
        assert [s for s, *_ in self.fold.payouts.values()] == [
            payout.state for payout in self.ledger.payouts
        ]


def live(client: redis.Redis, seed: int, steps: int = STEPS) -> None:
    """Go through one sequence. Raises AssertionError where the ledgers part ways."""
    life = Life(client, seed)
    trail: list[tuple[str, str]] = []
    try:
        for _ in range(steps):
            trail.append(life.step())
            assert trail[-1][0] == trail[-1][1]
            life.check()
    except AssertionError as error:
        raise AssertionError(f"SEED={seed}, step {len(trail)}: {error}") from error


@pytest.mark.timeout(90)
def test_both_ledgers_agree_at_every_step(client: redis.Redis) -> None:
    first = int(os.environ.get("SEED", random.randrange(2**24)))
    for seed in range(first, first + SEQUENCES):
        live(client, seed)


def test_as_many_as_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--sequences", "3", "--seed", "7", "--operations", "9"]) == 0
    assert "3 sequences of 9 operations, seeds 7 to 9: equal" in capsys.readouterr().out


def test_the_second_ledger_can_fail(client: redis.Redis) -> None:
    """It is no mirror of the first: another fee, and the sequences part ways."""
    for seed in range(40):
        life = Life(client, seed)
        for _ in range(STEPS):
            life.step()
            if life.ledger.payouts:
                life.ledger.payouts[0].fee += 1
                life.ledger.in_flight += 1
                with pytest.raises(AssertionError):
                    life.check()
                return
    raise AssertionError("no sequence paid anything")
