"""What the fuzzer found, one test a find: each failed once."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
import redis

from models.events import decode
from models.ids import shard_of_payout
from models.money import BALANCE_MAX
from models.refusals import Reason, Refused
from models.shards import SHARDS
from rails.certificates import parsed
from rails.paypal.webhooks import CERT_PREFIXES, PayPalVerifier
from rails.webhooks import WebhookRefused
from streams.deadletters import Filter, Place, PlaceInvalid, letter_of, newest
from streams.demo.embedded import EmbeddedBroker
from streams.engine import RawMessage
from streams.wallets.library import library
from tests.fuzz.grammar import Fields, Grammar, encoded
from tests.fuzz.line import Judge, Line, lapse
from tests.fuzz.mutations import PERSONAL
from tests.fuzz.readers import Message, signer
from tests.streams.wallets.harness import Shard

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp()) * 1000


def refusal(topic: str, **fields: Any) -> Refused:
    """Why an event is refused."""
    common = {"id": "e", "version": 1, "occurred_at": "2026-11-23T09:00:00Z", "seller_id": "S"}
    value = json.dumps({**common, **fields}).encode()
    with pytest.raises(Refused) as caught:
        decode(topic, value, now_ms=NOW_MS, retention_ms=90 * 86_400_000)
    return caught.value


class TestDecoding:
    @pytest.mark.parametrize("payout_id", ["p-1", "zz", "-1", "1_", "0", "FF", "ff", "40-x"])
    def test_a_report_of_what_is_no_payout_is_refused(self, payout_id: str) -> None:
        """It named a shard that does not exist, or none at all, and the worker ended."""
        report = {"type": "payout.reported", "payout_id": payout_id, "rail": "paypal"}
        refused = refusal("rail.updates", **report, state="settled")
        assert refused.reason is Reason.UNKNOWN_PAYOUT
        assert payout_id not in refused.detail

    def test_the_shard_of_a_payout_exists(self) -> None:
        assert shard_of_payout(f"{SHARDS - 1:02x}-1") == SHARDS - 1
        with pytest.raises(ValueError, match="payout"):
            shard_of_payout(f"{SHARDS:02x}-1")

    @pytest.mark.parametrize("kind", ["x" * 60_000, *PERSONAL])
    def test_an_unknown_type_is_not_repeated(self, kind: str) -> None:
        """All of it stood in the refusal, 60,000 characters too."""
        refused = refusal("sales", type=kind)
        assert refused.reason is Reason.UNKNOWN_TYPE
        assert refused.detail == "type: expected 'sale.completed', 'sale.returned'"

    @pytest.mark.parametrize("value", PERSONAL)
    def test_a_wrong_currency_or_zone_is_not_repeated(self, value: str) -> None:
        sale = {"type": "sale.completed", "sale_id": "s", "amount_minor": 1}
        for said in (value, value[:3]):
            refused = refusal("sales", **sale, currency=said)
            assert said not in refused.detail
        refused = refusal("sellers", type="seller.updated", country="DE", zone=value)
        assert value not in refused.detail

    @pytest.mark.parametrize("held", ["yes", 1, "false"])
    def test_what_is_no_boolean_is_not_taken_for_one(self, held: object) -> None:
        source = {"sale_id": "s", "seller_id": "S", "level": 1, "base_minor": 1, "held": held}
        earned = {"type": "commission.earned", "commission_id": "c", "amount_minor": 1}
        refused = refusal("commissions", **earned, currency="EUR", source=source)
        assert refused.reason is Reason.WRONG_TYPE


class TestDeadLetters:
    def test_a_time_without_an_offset_can_be_compared(self) -> None:
        """Neither `--since` nor the sorting could, and the command ended with a traceback."""
        naive: Any = Message((("at", b"2026-11-23T00:00:00"),))
        aware: Any = Message((("at", b"2026-11-22T00:00:00Z"),))
        letters = [letter_of(naive), letter_of(aware)]
        assert newest(iter(letters), Filter(), 2) == letters[::-1]
        assert Filter(since=datetime(2026, 11, 22, 12, tzinfo=UTC)).takes(letters[0])

    @pytest.mark.parametrize("offset", ["9" * 5_000, "\u0661"])
    def test_an_offset_that_is_no_number_of_kafka_is_no_place(self, offset: str) -> None:
        """5,000 digits were more than Python reads."""
        with pytest.raises(PlaceInvalid):
            Place.parse(f"sales:0:{offset}")


class TestWebhooks:
    @pytest.mark.parametrize(
        ("sent_at", "reason"),
        [
            ("2026-11-23\udce912:00:00+00:00", "time_unreadable"),
            ("2026-11-23\u00fc12:00:00+00:00", "time_unreadable"),
            ("0001-01-01T00:00:00+23:59", "time_refused"),
            ("9999-12-31T23:59:59-23:59", "time_refused"),
        ],
    )
    async def test_a_time_that_cannot_be_signed_or_counted(self, sent_at: str, reason: str) -> None:
        """Anyone who may call the webhook could make it answer 500."""
        url = CERT_PREFIXES[0] + signer().cert_name
        verifier = PayPalVerifier("WH-1", now_s=lambda: NOW_MS // 1000)
        verifier._certs.keep(url, parsed(signer().pem()))
        headers = signer().headers(url, "WH-1", b"{}", NOW)
        headers["PAYPAL-TRANSMISSION-TIME"] = sent_at
        with pytest.raises(WebhookRefused, match=reason):
            await verifier.verify(headers, b"{}")


class TestLine:
    async def test_large_returns_that_wait_make_entries_that_a_broker_takes(
        self, redis_url: str
    ) -> None:
        """Twenty were more than is ever sent in one message, so the worker ended for ever."""
        now_ms = time.time_ns() // 1_000_000
        grammar = Grammar(Random(1), now_ms, timedelta(days=90))
        with redis.Redis.from_url(redis_url) as client, EmbeddedBroker() as broker:
            client.flushall()
            async with Line(broker.bootstrap, redis_url, now_ms) as line:
                judge = Judge(line)
                for offset in range(20):
                    # Each of these is seven bytes in an entry, where the return stands as text.
                    odd: Fields = [("note", '"' + "\x7f" * 64_000 + '"')]
                    value = encoded(grammar.early_return() + odd).encode()
                    message = RawMessage("sales", 0, offset, b"S-0", value, now_ms)
                    await line.take([message])
                    judge.batch([message])
                await lapse(line)
                judge.lapsed()
            client.flushall()

    async def test_the_commission_of_an_old_sale_is_not_too_old(self, redis_url: str) -> None:
        """The sale was just young enough; her sponsor's share was a dead letter a moment later."""
        now_ms = time.time_ns() // 1_000_000
        with redis.Redis.from_url(redis_url) as client, EmbeddedBroker() as broker:
            client.flushall()
            async with Line(broker.bootstrap, redis_url, now_ms) as line:
                judge = Judge(line)
                old = datetime.fromtimestamp(now_ms / 1000, UTC) - timedelta(days=90, seconds=-1)
                sale = line.sale("S-0", 10_000, "s-1") | {"occurred_at": old.isoformat()}
                for offset, (topic, event) in enumerate(
                    [
                        ("sellers", line.seller("S-0", sponsor_id="S-1")),
                        ("sellers", line.seller("S-1")),
                        ("sales", sale),
                    ]
                ):
                    value = json.dumps(event).encode()
                    message = RawMessage(topic, 0, offset, None, value, now_ms)
                    await line.take([message])
                    judge.batch([message])
                [(key, commission)] = judge.own["commissions"]
                line.clock.now_ms += 5_000
                message = RawMessage("commissions", 0, 0, key, commission, now_ms)
                await line.take([message])
                judge.batch([message])
            client.flushall()
        assert judge.counts["commissions", "effect"] == 1

    async def test_what_is_no_command_is_left_alone(self, redis_url: str) -> None:
        """Anything but a command ended the worker, and the one after it."""
        now_ms = time.time_ns() // 1_000_000
        command: dict[str, Any] = {
            "v": 1, "type": "payout.command", "payout_id": "01-5e", "seller_id": "S-1",
            "rail": "paypal", "currency": "EUR", "amount_minor": 500, "fee_minor": 0,
            "destination": "v1.test.AAAAAAAA", "cause": "e", "caused_ms": 1, "reserved_ms": 1,
        }  # fmt: skip
        values: list[bytes | None] = [None, b"", b"null", b"[]", b"{}", b"\xff", b"9" * 5_000]
        values += [json.dumps(command | {"payout_id": odd}).encode() for odd in ("p-1", "ff", 7)]
        values += [json.dumps({**command, name: []}).encode() for name in command]
        values.append(json.dumps(command).encode())
        with redis.Redis.from_url(redis_url) as client, EmbeddedBroker() as broker:
            client.flushall()
            async with Line(broker.bootstrap, redis_url, now_ms) as line:
                line.agents["payouts.commands"] = line.cashier  # type: ignore[assignment]
                await line.take(
                    [
                        RawMessage("payouts.commands", 0, offset, None, value, now_ms)
                        for offset, value in enumerate(values)
                    ]
                )
                assert not line.sent
            client.flushall()

    def test_an_account_of_the_house_stays_exact(self, redis_url: str) -> None:
        """Beyond 2**53 Lua rounds: the balances in the journal were no longer its entries' sum."""
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
            client.function_load(library().source, replace=True)
            shard = Shard(client)
            client.hset(shard.key("h"), "commissions:EUR", str(-BALANCE_MAX))
            assert shard.one(shard.sale(2)) == "refused:balance_too_large"
            client.flushall()
