"""Providers' calls are kept whole, readable with the keys only."""

from __future__ import annotations

import asyncio

import pytest

from rails.destination import KeyUnknown, Seal, SealBroken
from streams.settings import load_settings
from streams.wallets.rebuild import Sender
from streams.webhooks import RawCall, kept, read
from tests.streams.wallets.harness import SEAL_KEYS

NOW_MS = 1_790_000_000_000
BODY = b'{"receiver":"anna@example.com","note":"\xff"}'
HEADERS = {"PayPal-Transmission-Sig": "c2ln", "Authorization": "Basic c2VjcmV0"}


def keep(own_broker: str, rail: str = "paypal") -> RawCall:
    """A call that was kept, read back from the topic."""
    settings = load_settings(kafka_brokers=own_broker, seal_keys=SEAL_KEYS)
    message = kept(rail, HEADERS, BODY, settings.seal(), NOW_MS)
    asyncio.run(Sender(settings.kafka_client()).send([message]))
    *_, found = read(settings.kafka_client(), rail)
    return found


def test_a_call_is_read_back_as_it_came_but_for_the_callers_secret(own_broker: str) -> None:
    call = keep(own_broker)
    assert (call.rail, call.at) == ("paypal", "2026-09-21T14:13:20.000Z")
    headers, body = call.open(Seal.parse(SEAL_KEYS))
    assert headers == {"paypal-transmission-sig": "c2ln"}
    assert body.encode("utf-8", errors="surrogateescape") == BODY
    assert b"anna" not in call.sealed
    assert "anna" not in repr(call)


def test_it_opens_with_its_key_and_as_its_rails_only(own_broker: str) -> None:
    call = keep(own_broker, "adyen")
    with pytest.raises(KeyUnknown, match="'test'"):
        call.open(Seal.parse("other:" + "B" * 43 + "="))
    moved = RawCall(call.place, "paypal", call.at, call.sealed)
    with pytest.raises(SealBroken):
        moved.open(Seal.parse(SEAL_KEYS))


@pytest.mark.parametrize("sealed", [b"", b"v1", b"v1.k", b"v2.test.a", b"v1.test.", b"v1.te st.a"])
def test_what_is_not_sealed_does_not_open(sealed: bytes) -> None:
    with pytest.raises((SealBroken, KeyUnknown)):
        Seal.parse(SEAL_KEYS).open_bytes("paypal", sealed)
