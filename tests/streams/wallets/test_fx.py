"""Conversions, through a real Redis: what each takes and gives, and what is refused."""

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from models import fx
from models.fx import Rate, Wanted
from models.ledger import Entry, Fold
from models.movements import words_of
from models.policy import FxPolicy
from models.refusals import Reason
from models.shards import SHARDS
from streams.wallets.rebuild import rebuild
from streams.wallets.server import RedisServer
from streams.wallets.verify import verify
from tests.streams.wallets.harness import PAY, Company, Shard
from tests.streams.wallets.test_rebuild import keys

MINUTE_MS = 60_000


class Desk:
    """Anna, with 10,000 EUR cents available, and a desk that exchanges at 1.0842 less 1 %."""

    def __init__(self, client: redis.Redis, **policy: Any) -> None:
        self.shard = Shard(client)
        self.policy = FxPolicy(**policy)
        self.fold = Fold()
        now = self.shard.now_ms
        self.rate = Rate("r-1", "EUR", "USD", 10_842, 10_000, now, now + 10 * MINUTE_MS)
        profile = {"profile": '{"status":"active"}', "release": [], "rev": 0}
        assert self.do(self.shard.event("profile", "seller.updated", **profile)) == "booked"
        assert self.do(self.shard.sale(10_000, rev=1)) == "booked"

    def do(self, operation: dict[str, Any]) -> str:
        """Book, and follow the journal."""
        outcome = self.shard.one(operation)
        for raw in self.shard.raw:
            self.fold.apply(Entry.parse(raw))
        return outcome

    def event(self, operation: dict[str, Any]) -> dict[str, Any]:
        """An operation as an event led to it."""
        sourced = self.shard.event(operation["op"], operation["kind"])
        return {**sourced, **operation, "id": sourced["id"]}

    def quote(
        self, sold: int | None = None, name: str = "q", *, bought: int | None = None, **fields: Any
    ) -> dict[str, Any]:
        rate = fields.get("rate", self.rate)
        pair = (rate.source, rate.target) if rate else ("EUR", "USD")
        wanted = Wanted(*pair, sold, bought)
        return self.event(fx.quote("", "anna", name, wanted, rate, policy=self.policy))

    def convert(self, name: str = "q") -> dict[str, Any]:
        return self.event(fx.convert("", "anna", name))

    def payout(self, name: str = "q", currency: str = "USD", **pay: Any) -> dict[str, Any]:
        """All that is available is to be paid out, and what a quote buys with it."""
        return self.event({"op": "request", "kind": "payout.requested", "seller": "anna", "rev": 1,
                           "currency": currency, "quote": name, "pay": {**PAY, **pay}})  # fmt: skip

    def end(self, name: str = "q") -> str:
        """The quote's time is over."""
        timer = f"quote:anna/{name}"
        due = int(self.shard.client.zscore(self.shard.key("t"), timer))  # type: ignore[arg-type]
        self.shard.now_ms = max(self.shard.now_ms, due)
        return self.do({"op": "unquote", "id": f"{timer}:{due}", "seller": "anna", "due": due,
                        "quote": name, "timer": timer})  # fmt: skip

    def has(self, currency: str = "EUR") -> tuple[int, int, int]:
        """available, quoted, debt; and nothing in the journal contradicts them."""
        assert self.fold.violations == []
        stored: Any = self.shard.client.hgetall(self.shard.key("w:anna"))
        names = ("available", "quoted", "debt")
        found = tuple(int(stored.get(f"{currency}:{n}".encode(), 0)) for n in names)
        return found[0], found[1], found[2]

    def house(self) -> dict[str, int]:
        stored: Any = self.shard.client.hgetall(self.shard.key("h"))
        return {k.decode(): int(v) for k, v in stored.items() if k.startswith(b"fx")}

    def timers(self) -> set[str]:
        timers: Any = self.shard.client.zrange(self.shard.key("t"), 0, -1)
        return {timer.decode() for timer in timers}


@pytest.fixture
def anna(client: redis.Redis) -> Desk:
    return Desk(client)


class TestQuote:
    def test_reserves_what_is_sold(self, anna: Desk) -> None:
        assert anna.do(anna.quote(4_000)) == "booked"
        assert anna.has() == (6_000, 4_000, 0)
        assert anna.timers() == {"quote:anna/q"}
        [entry] = anna.shard.entries
        assert entry["quote"] == {
            "id": "q", "step": "quoted", "source": "EUR", "target": "USD", "sold": 4_000,
            "bought": 4_293, "markup": 43, "rounding": 0, "rate": "r-1", "numerator": 10_842,
            "denominator": 10_000, "markup_bp": 100, "expires": anna.shard.now_ms + MINUTE_MS,
        }  # fmt: skip

    def test_of_what_is_bought_reserves_the_least_that_buys_it(self, anna: Desk) -> None:
        assert anna.do(anna.quote(bought=4_293)) == "booked"
        assert anna.has() == (6_000, 4_000, 0)

    def test_all_that_is_available(self, anna: Desk) -> None:
        assert anna.do(anna.quote(10_000)) == "booked"
        assert anna.has() == (0, 10_000, 0)

    def test_a_return_does_not_touch_what_is_reserved(self, anna: Desk) -> None:
        sale = anna.shard.sale(1_000, rev=1)
        anna.do(sale)
        anna.do(anna.quote(11_000))
        assert anna.do(anna.shard.return_of(sale, 4_000)) == "booked"
        assert anna.has() == (0, 11_000, -1_000)

    def test_a_large_rate_is_kept_exactly(self, anna: Desk) -> None:
        rate = anna.rate._replace(numerator=10**15 - 1, denominator=10**15 - 3)
        assert anna.do(anna.quote(100, rate=rate)) == "booked"
        assert anna.do(anna.convert()) == "booked"
        assert anna.has("USD")[0] == 99
        [quote] = anna.fold.conversions.quotes.values()
        assert (quote.numerator, quote.denominator) == (10**15 - 1, 10**15 - 3)


class TestConvert:
    def test_each_currency_sums_to_zero(self, anna: Desk) -> None:
        anna.do(anna.quote(10_000))
        assert anna.do(anna.convert()) == "booked"
        assert anna.has() == (0, 0, 0)
        assert anna.has("USD") == (10_733, 0, 0)
        assert anna.house() == {
            "fx:EUR": 10_000, "fx:USD": -10_842, "fx:markup:USD": 108, "fx:rounding:USD": 1,
        }  # fmt: skip
        # What came is looked at for a payout, and the quote waits for nothing more.
        assert anna.timers() == {"pay:anna:USD"}

    def test_pays_debt_in_that_currency_first(self, anna: Desk) -> None:
        sale = anna.shard.sale(5_000, rev=1, currency="USD")
        anna.do(sale)
        anna.do(anna.event(fx.quote(
            "", "anna", "back", Wanted("USD", "EUR", 5_000, None), anna.rate.inverse(),
            policy=anna.policy,
        )))  # fmt: skip
        anna.do(anna.convert("back"))
        anna.do(anna.shard.return_of(sale, 20_000))
        assert anna.has("USD") == (0, 0, -5_000)
        # By whole, whatever share of earnings works debt off; and it is owed since no day any more.
        assert anna.shard.client.hkeys(anna.shard.key("D")) == [b"USD:anna"]
        anna.do(anna.quote(10_000))
        anna.do(anna.convert())
        assert anna.has("USD") == (5_733, 0, 0)
        assert anna.shard.client.hkeys(anna.shard.key("D")) == []
        assert not anna.fold.owed

    def test_there_and_back_leaves_the_markup_with_the_house(self, anna: Desk) -> None:
        anna.do(anna.quote(10_000))
        anna.do(anna.convert())
        anna.do(anna.quote(10_733, "back", rate=anna.rate.inverse()))
        anna.do(anna.convert("back"))
        assert anna.has("USD") == (0, 0, 0)
        assert anna.has() == (9_800, 0, 0)

    @pytest.mark.parametrize(
        ("target", "rate", "sold", "bought"),
        [
            ("JPY", (16_213, 100), 1_000, 1_605),
            ("BHD", (4_089, 10_000), 10_000, 40_481),
            ("USD", (10_842, 10_000), 1, 1),
        ],
    )
    def test_exponents_differ(
        self, anna: Desk, target: str, rate: tuple[int, int], sold: int, bought: int
    ) -> None:
        quoted = anna.rate._replace(target=target, numerator=rate[0], denominator=rate[1])
        anna.do(anna.quote(sold, rate=quoted))
        assert anna.do(anna.convert()) == "booked"
        assert anna.has(target)[0] == bought
        assert anna.has()[0] == 10_000 - sold

    def test_to_the_last_millisecond(self, anna: Desk) -> None:
        anna.do(anna.quote(1_000))
        anna.shard.now_ms += MINUTE_MS - 1
        assert anna.do(anna.convert()) == "booked"

    def test_what_is_converted_is_paid_out(self, anna: Desk) -> None:
        anna.do(anna.quote(10_000))
        anna.do(anna.convert())
        sweep = {"op": "sweep", "id": "s", "seller": "anna", "currency": "USD", "rev": 1,
                 "pay": PAY, "timer": "pay:anna:USD", "due": anna.shard.now_ms}  # fmt: skip
        assert anna.do(sweep) == "booked"
        assert anna.shard.balances("USD")[:3] == (0, 0, 10_733)
        assert anna.has("USD") == (0, 0, 0)


class TestPayout:
    """One that names a quote: exchanged and reserved in one entry."""

    def test_takes_what_is_bought_and_what_is_there(self, anna: Desk) -> None:
        anna.do(anna.shard.sale(500, rev=1, currency="USD"))
        anna.do(anna.quote(4_000))
        assert anna.do(anna.payout()) == "booked"
        assert anna.has() == (6_000, 0, 0)
        assert anna.has("USD") == (0, 0, 0)
        assert anna.shard.balances("USD")[2] == 500 + 4_293
        assert anna.house() == {"fx:EUR": 4_000, "fx:USD": -4_336, "fx:markup:USD": 43}
        assert anna.timers() == set()
        [quote] = anna.fold.conversions.quotes.values()
        assert quote.step == "converted"
        [(state, _, principal, fee)] = anna.fold.payouts.values()
        assert (state, principal + fee) == ("reserved", 4_793)
        [raw] = anna.shard.raw
        words = words_of(Entry.parse(raw))
        assert words.startswith("Payout asked for: 40.00 EUR for 42.93 USD; payout of 4")

    def test_pays_debt_in_its_currency_first(self, anna: Desk) -> None:
        sale = anna.shard.sale(5_000, rev=1, currency="USD")
        anna.do(sale)
        anna.do(anna.quote(5_000, "back", rate=anna.rate.inverse()))
        anna.do(anna.convert("back"))
        anna.do(anna.shard.return_of(sale, 20_000))
        anna.do(anna.quote(10_000))
        assert anna.do(anna.payout()) == "booked"
        assert anna.has("USD") == (0, 0, 0)
        assert anna.shard.balances("USD")[2] == 5_733
        assert not anna.fold.owed

    @pytest.mark.parametrize(
        ("reason", "currency", "pay"),
        [
            (Reason.CURRENCY_MISMATCH, "EUR", {}),
            (Reason.AMOUNT_BELOW_MINIMUM, "USD", {"min": 10_734}),
            (Reason.RAILS_CLOSED, "USD", {"later": 1_000}),
        ],
    )
    def test_that_is_not_made_leaves_the_quote_as_it_is(
        self, anna: Desk, reason: Reason, currency: str, pay: dict[str, Any]
    ) -> None:
        anna.do(anna.quote(10_000))
        assert anna.do(anna.payout(currency=currency, **pay)) == f"refused:{reason}"
        assert (anna.has(), anna.has("USD")) == ((0, 10_000, 0), (0, 0, 0))
        assert anna.timers() == {"quote:anna/q"}
        assert anna.do(anna.payout()) == "booked"

    def test_a_request_is_answered_with_both_wallets(self, anna: Desk) -> None:
        anna.do(anna.quote(10_000))
        event = anna.payout()
        asked = {key: event[key] for key in event.keys() - {"topic", "partition", "offset"}}
        asked |= {"id": "req", "hash": "a" * 16}
        first = anna.do(asked)
        told = json.loads(first.partition(":")[2])
        assert (told["in_flight"], told["also"]["quoted"]) == (10_733, 0)
        assert told["payout"][3] + told["payout"][4] == 10_733
        assert anna.do(asked) == f"repeat:{first}"


class TestExpiry:
    def test_gives_the_reservation_back(self, anna: Desk) -> None:
        anna.do(anna.quote(4_000))
        assert anna.end() == "booked"
        assert anna.has() == (10_000, 0, 0)
        assert anna.timers() == {"pay:anna:EUR"}
        assert anna.house() == {}

    def test_pays_debt_that_arose_meanwhile(self, anna: Desk) -> None:
        sale = anna.shard.sale(500, rev=1)
        anna.do(sale)
        anna.do(anna.quote(10_500))
        anna.do(anna.shard.return_of(sale, 2_000))
        assert anna.end() == "booked"
        assert anna.has() == (10_000, 0, 0)

    def test_of_one_that_was_used_meanwhile_does_nothing(self, anna: Desk) -> None:
        anna.do(anna.quote(4_000))
        timer = {"op": "unquote", "id": "t", "seller": "anna", "quote": "q",
                 "timer": "quote:anna/q", "due": anna.shard.now_ms + MINUTE_MS}  # fmt: skip
        anna.do(anna.convert())
        anna.shard.now_ms += MINUTE_MS
        assert anna.do(timer) == "ignored:gone"


def _quoted(anna: Desk) -> Desk:
    assert anna.do(anna.quote(4_000)) == "booked"
    return anna


def _used(anna: Desk) -> Desk:
    assert _quoted(anna).do(anna.convert()) == "booked"
    return anna


def _late(anna: Desk) -> Desk:
    _quoted(anna).shard.now_ms += MINUTE_MS
    return anna


def _ended(anna: Desk) -> Desk:
    assert _quoted(anna).end() == "booked"
    return anna


def _suspended(anna: Desk) -> Desk:
    profile = {"profile": '{"status":"suspended"}', "release": [], "rev": 1}
    assert anna.do(anna.shard.event("profile", "seller.updated", **profile)) == "booked"
    return anna


def _of_berta(anna: Desk) -> dict[str, Any]:
    # A seller of the same shard, without a profile.
    return {**anna.quote(1), "seller": "nobody"}


def _stale(anna: Desk) -> dict[str, Any]:
    operation = anna.quote(1_000)
    anna.shard.now_ms += 10 * MINUTE_MS
    return operation


R = Reason
REFUSALS: list[tuple[Reason, Callable[[Desk], dict[str, Any]]]] = [
    (R.UNKNOWN_SELLER, _of_berta),
    (R.SELLER_SUSPENDED, lambda anna: _suspended(anna).quote(1_000)),
    (R.QUOTE_REUSED, lambda anna: _quoted(anna).quote(1_000)),
    (R.QUOTE_REUSED, lambda anna: _ended(anna).quote(1_000)),
    (R.RATE_UNKNOWN, lambda anna: anna.quote(1_000, rate=None)),
    (R.CONVERSION_TOO_SMALL, lambda anna: anna.quote(1, rate=anna.rate._replace(numerator=1))),
    (R.AMOUNT_TOO_LARGE, lambda anna: anna.quote(10**12)),
    (R.RATE_EXPIRED, _stale),
    (R.INSUFFICIENT_AVAILABLE, lambda anna: anna.quote(10_001)),
    (R.INSUFFICIENT_AVAILABLE, lambda anna: _quoted(anna).quote(6_001, "other")),
    (R.QUOTE_UNKNOWN, lambda anna: anna.convert("none")),
    (R.QUOTE_USED, lambda anna: _used(anna).convert()),
    (R.QUOTE_EXPIRED, lambda anna: _late(anna).convert()),
    (R.QUOTE_EXPIRED, lambda anna: _ended(anna).convert()),
    (R.QUOTE_UNKNOWN, lambda anna: anna.payout("none")),
    (R.QUOTE_USED, lambda anna: _used(anna).payout()),
    (R.QUOTE_EXPIRED, lambda anna: _late(anna).payout()),
]


class TestRefusals:
    @pytest.mark.parametrize(("reason", "given"), REFUSALS)
    def test_changes_no_money(
        self, anna: Desk, reason: Reason, given: Callable[[Desk], dict[str, Any]]
    ) -> None:
        operation = given(anna)
        before = anna.shard.dump()
        assert anna.do(operation) == f"refused:{reason}"
        after = anna.shard.dump()
        differ = {k for k in before.keys() | after.keys() if before.get(k) != after.get(k)}
        names = {key.decode().partition(":")[2].partition(":")[0] for key in differ}
        assert names == {"m", "o", "u"}

    def test_a_repeat_changes_nothing_and_another_body_is_refused(self, anna: Desk) -> None:
        steps: list[Callable[[], dict[str, Any]]] = [lambda: anna.quote(500), anna.convert]
        for step in steps:
            made = step()
            assert anna.do(made) == "booked"
            before = anna.has(), anna.has("USD")
            again = {**made, "offset": made["offset"] + 1_000}
            anna.shard._offset += 1_001
            assert anna.do(again) == "repeat"
            other = {**again, "offset": again["offset"] + 1, "hash": "f" * 16}
            assert anna.do(other) == "refused:id_reused"
            anna.shard._offset += 2
            assert (anna.has(), anna.has("USD")) == before

    def test_a_balance_that_cannot_be_exact_is_refused_whole(self, anna: Desk) -> None:
        _quoted(anna)
        anna.shard.client.hset(anna.shard.key("w:anna"), "USD:available", 2**53 - 1)
        before = anna.shard.client.hgetall(anna.shard.key("w:anna"))
        assert anna.shard.one(anna.convert()) == "refused:balance_too_large"
        assert anna.shard.client.hgetall(anna.shard.key("w:anna")) == before


class TestRequests:
    def test_are_answered_with_the_quote_and_both_wallets(self, anna: Desk) -> None:
        asked = {**fx.quote("req-1", "anna", "q", Wanted("EUR", "USD", 10_000, None), anna.rate,
                            policy=anna.policy), "hash": "a" * 16}  # fmt: skip
        word, _, text = anna.do(asked).partition(":")
        told = json.loads(text)
        assert (word, told["available"], told["quoted"]) == ("booked", 0, 10_000)
        assert told["quote"]["bought"] == 10_733
        assert anna.do(asked) == f"repeat:{word}:{text}"
        used = {**fx.convert("req-2", "anna", "q"), "hash": "b" * 16}
        first = anna.do(used)
        told = json.loads(first.partition(":")[2])
        assert (told["quoted"], told["also"]["available"]) == (0, 10_733)
        assert told["quote"]["step"] == "converted"
        assert anna.do(used) == f"repeat:{first}"
        again = {**fx.convert("req-3", "anna", "q"), "hash": "b" * 16}
        assert anna.do(again) == anna.do(again).removeprefix("repeat:") == "refused:quote_used"


class TestRate:
    def keep(self, anna: Desk, numerator: int, at_ms: int = 0, denominator: int = 10_000) -> str:
        rate = anna.rate._replace(
            numerator=numerator, denominator=denominator, observed_ms=anna.rate.observed_ms + at_ms
        )
        return anna.do(anna.event(fx.keep_rate("", rate, anna.policy)))

    def kept(self, anna: Desk) -> int:
        stored: Any = anna.shard.client.get(anna.shard.key("f:EUR-USD"))
        return Rate.parse(stored).numerator

    def test_takes_the_place_of_the_one_before(self, anna: Desk) -> None:
        assert self.keep(anna, 10_842) == self.keep(anna, 10_900, 1) == "booked"
        assert self.kept(anna) == 10_900

    def test_an_older_one_changes_nothing(self, anna: Desk) -> None:
        self.keep(anna, 10_842)
        assert self.keep(anna, 10_900, -1) == "booked"
        assert self.kept(anna) == 10_842
        assert anna.shard.entries[0]["kind"] == "rate.quoted.outdated"

    @pytest.mark.parametrize(
        ("numerator", "denominator", "taken"),
        [
            *((108_419, 10_000, True), (108_420, 10_000, False)),
            *((1_085, 10_000, True), (1_084, 10_000, False)),
            *((10_842, 1_001, True), (10_842, 1_000, False)),
        ],
    )
    def test_one_that_jumps_is_refused(
        self, anna: Desk, numerator: int, denominator: int, taken: bool
    ) -> None:
        self.keep(anna, 10_842)
        outcome = self.keep(anna, numerator, 1, denominator)
        assert outcome == ("booked" if taken else "refused:rate_implausible")
        assert self.kept(anna) == (numerator if taken else 10_842)


@pytest.fixture
async def company(own_broker: str, redis_url: str, client: redis.Redis) -> Any:
    async with Company(own_broker, redis_url) as made:
        await made.wallets.heal(range(SHARDS))
        yield made


def quoted_rate(company: Company, **fields: Any) -> dict[str, Any]:
    source, target = fields.pop("pair", ("EUR", "USD"))
    expires = datetime.fromtimestamp(company.clock.now_ms / 1000 + 600, UTC).isoformat()
    return company.event(
        "rate.quoted", f"{source}-{target}", source_currency=source, target_currency=target,
        expires_at=expires, **{"numerator": 10_842, "denominator": 10_000, **fields},
    )  # fmt: skip


async def exchanged(company: Company) -> None:
    """Quotes in every state, one of them made from the inverse of its pair's rate."""
    company.publish("sellers", company.seller("anna"))
    yen = quoted_rate(company, pair=("EUR", "JPY"), numerator=1_621_300)
    company.publish("rates", quoted_rate(company), yen)
    await company.work()
    company.publish("sales", *(company.sale("anna", 7_900, f"s{n}") for n in range(3)))
    await company.work()

    def quote(name: str, target: str = "USD", source: str = "EUR", **side: int) -> dict[str, Any]:
        return company.event(
            "conversion.quoted", "anna", quote_id=name, source_currency=source,
            target_currency=target, **side,
        )  # fmt: skip

    def convert(name: str) -> dict[str, Any]:
        return company.event("conversion.made", "anna", quote_id=name)

    again = convert("used")
    company.publish(
        "redemptions",
        quote("open", source_minor=1_000),
        quote("used", source_minor=1_001), again, again, convert("used"),
        quote("yen", "JPY", target_minor=333), convert("yen"),
        quote("back", "EUR", "JPY", source_minor=111), convert("back"),
        quote("francs", "CHF", source_minor=1_000),
        quote("dear", source_minor=10**9),
        quote("small", "EUR", "JPY", source_minor=0),
    )  # fmt: skip
    await company.work()


class TestACompany:
    async def test_verify_and_rebuild_hold(self, company: Company, client: redis.Redis) -> None:
        await exchanged(company)
        verdict = await asyncio.to_thread(verify, company.settings, whole=True)
        assert verdict.ok, [check for check in verdict.checks if not check.ok]
        steps = {name: quote.step for (_, name), quote in verdict.fold.conversions.quotes.items()}
        converted = dict.fromkeys(("used", "yen", "back"), "converted")
        assert steps == {"open": "quoted", **converted}
        before = keys(client)
        assert {"c", "f"} <= {key.split(":")[1] for key in before}
        client.flushall()
        await asyncio.to_thread(rebuild, company.settings)
        assert keys(client) == before

    async def test_a_batchs_rates_are_read_in_one_round_trip(
        self, company: Company, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trips: list[int] = []
        call = RedisServer.call

        async def counted(server: RedisServer, calls: Sequence[Any], **how: bool) -> list[Any]:
            trips.extend([len(calls)] if calls[0][0] == "find" else [])
            return await call(server, calls, **how)

        monkeypatch.setattr(RedisServer, "call", counted)
        await exchanged(company)
        # Of four pairs, each told in its own direction or in the other.
        assert trips == [2 * 4]
        wanted = [("EUR", "JPY"), ("JPY", "EUR"), ("EUR", "CHF")]
        found = await company.wallets.rates(wanted)
        yen = found["EUR", "JPY"]
        assert yen is not None
        assert (yen.source, yen.numerator) == ("EUR", 1_621_300)
        assert found == {wanted[0]: yen, wanted[1]: yen.inverse(), wanted[2]: None}
        assert trips == [2 * 4, 2 * 3]
        assert await company.wallets.rates([]) == {}
        assert trips == [2 * 4, 2 * 3]

    async def test_what_differs_is_found(self, company: Company, client: redis.Redis) -> None:
        await exchanged(company)

        async def broken() -> set[str]:
            verdict = await asyncio.to_thread(verify, company.settings, whole=True)
            return {check.name for check in verdict.checks if not check.ok}

        [prefix] = {key.decode().partition(":")[0] for key in client.scan_iter("*:c:anna/open")}
        name = f"{prefix}:c:anna/open"
        stored: Any = client.get(name)
        client.set(name, json.dumps({**json.loads(stored), "bought": 1}))
        assert await broken() == {"quotes are used once, as the journal has them"}
        client.delete(name)
        assert await broken() == {"quotes are used once, as the journal has them"}
        client.set(name, stored)
        client.zrem(f"{prefix}:t", "quote:anna/open")
        assert await broken() == {"every quote ends"}
        client.zadd(f"{prefix}:t", {"quote:anna/open": json.loads(stored)["expires"]})
        assert await broken() == set()

    async def test_the_janitor_ends_what_nobody_used(self, company: Company) -> None:
        await exchanged(company)
        company.clock.now_ms += MINUTE_MS
        await company.janitor.once()
        verdict = await asyncio.to_thread(verify, company.settings, whole=True)
        assert verdict.ok, [check for check in verdict.checks if not check.ok]
        assert verdict.fold.conversions.quotes["anna", "open"].step == "expired"

    async def test_a_rate_that_cannot_be_is_a_dead_letter(self, company: Company) -> None:
        company.publish("rates", quoted_rate(company))
        await company.work()
        company.publish(
            "rates",
            quoted_rate(company, numerator=0), quoted_rate(company, denominator=-1),
            quoted_rate(company, numerator=108_420), quoted_rate(company, pair=("EUR", "EUR")),
        )  # fmt: skip
        await company.work()
        letters = [
            dict(m.headers or ())["reason"] for m in company.sent if m.topic == "dead-letters"
        ]
        assert sorted(letters) == [
            b"invalid_field", b"rate_implausible", b"rate_not_positive", b"rate_not_positive",
        ]  # fmt: skip
        rate = await company.wallets.rate("USD", "EUR")
        assert rate is not None
        assert (rate.source, rate.numerator) == ("USD", 10_000)
        assert await company.wallets.rate("EUR", "GBP") is None


class TestTheJournal:
    """The rule that judges it, on a journal that somebody else wrote."""

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"bought": 10_734}, "is not what its rate gives"),
            ({"numerator": 10_843}, "went to"),
            ({"step": "quoted"}, "went to"),
            ({"expires": 1}, "was used when it had expired"),
        ],
    )
    def test_a_conversion_that_its_quote_does_not_explain(
        self, anna: Desk, change: dict[str, Any], told: str
    ) -> None:
        anna.do(anna.quote(10_000))
        anna.shard.one(anna.convert())
        [entry] = anna.shard.entries
        anna.fold.apply(
            Entry.parse(json.dumps({**entry, "quote": {**entry["quote"], **change}}).encode())
        )
        assert any(told in violation.detail for violation in anna.fold.violations)

    def test_money_on_the_accounts_of_conversions_without_one(self, anna: Desk) -> None:
        anna.do(anna.quote(10_000))
        anna.shard.one(anna.convert())
        [entry] = anna.shard.entries
        del entry["quote"]
        anna.fold.apply(Entry.parse(json.dumps(entry).encode()))
        assert {violation.invariant for violation in anna.fold.violations} == {
            "a quote is used once, at its rate"
        }

    def test_a_quote_that_is_used_twice(self, anna: Desk) -> None:
        anna.do(anna.quote(4_000))
        anna.do(anna.quote(4_000, "other"))
        anna.do(anna.convert())
        [entry] = anna.shard.entries
        twice = {**entry, "seq": entry["seq"] + 1, "id": "again"}
        anna.fold.apply(Entry.parse(json.dumps(twice).encode()))
        assert any("went to" in violation.detail for violation in anna.fold.violations)
