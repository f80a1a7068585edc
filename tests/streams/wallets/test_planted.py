"""A run with personal data planted wherever a producer can put it: no log entry has any of it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from models.shards import SHARDS
from rails.registry import open_rails
from rails.sandbox.server import Sandbox, serve
from streams.logs import seller_hash, setup_logging
from tests.streams.wallets.harness import Company

SELLER = "planted-7f31"
NAME = "Annabella Geheimrat"
IBAN = "DE89370400440532013000"
EMAIL = "annabella.geheimrat@planted.example"
CARD = "4111111111111111"
KEY = "sk_live_planted0123456789"
PLANTED = (SELLER, "Annabella", "Geheimrat", IBAN, IBAN[4:], "planted.example", CARD, KEY)


class Raw(logging.Handler):
    """What our own calls hand over, before anything is masked."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(("streams", "rails")):
            shown = logging.Formatter().format(record)
            self.texts.append(f"{shown} {record.__dict__}")


@pytest.fixture
def raw() -> Raw:
    return Raw()


@pytest.fixture
def written(raw: Raw) -> Iterator[io.StringIO]:
    """Everything that the process logs, from DEBUG on, as a collector gets it."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    setup_logging("json", "DEBUG", stream := io.StringIO())
    root.handlers.insert(0, raw)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with await serve(settle_delay_ms=0) as served:
        yield served


@pytest.mark.usefixtures("client")
async def test_no_entry_has_personal_data(
    own_broker: str,
    redis_url: str,
    sandbox: Sandbox,
    written: io.StringIO,
    raw: Raw,
) -> None:
    rails = open_rails({"paypal": sandbox.rail_settings("paypal", timeout_s=0.5)})
    async with Company(own_broker, redis_url, rails=rails) as company:
        await company.wallets.heal(range(SHARDS))
        profile = {"name": NAME, "email": EMAIL, "iban": IBAN}
        joins = company.seller(SELLER, receiver=EMAIL, **profile)
        company.publish("sellers", joins)
        await company.work()
        good = company.sale(SELLER, 8_000, "s1", note=f"{NAME} paid with {CARD}")
        bad = [
            {**company.sale(SELLER, 100, "s2"), "currency": IBAN},
            {**company.sale(SELLER, 100, "s3"), "amount_minor": CARD},
            {**company.sale(SELLER, 100, "s4"), "type": EMAIL},
            {**company.sale(SELLER, 100, "s5"), "version": KEY},
            {**company.sale(SELLER, 100, "s6"), "occurred_at": NAME},
            # The same id with another body is refused only when it is booked.
            {**good, "amount_minor": 9_000},
        ]
        company.publish("sales", good, *bad, f"{NAME}, {IBAN}".encode(), key=SELLER)
        company.publish("redemptions", {**company.event(NAME, SELLER), "lot": IBAN})
        company.publish("payouts.commands", f'{{"payout_id":"{EMAIL}"}}'.encode(), key=SELLER)
        company.publish("rail.updates", f'{{"payout_id":"{EMAIL}"}}'.encode(), key=SELLER)
        while await company.work():
            company.clock.now_ms += 60_000
            await company.janitor.once()
        assert len([m for m in company.sent if m.topic == "dead-letters"]) >= 9
    for rail in rails.values():
        await rail.close()
    for what in PLANTED:
        assert what not in written.getvalue()
        # Masking is the second net: what is ours hands nothing over to it.
        assert not [text for text in raw.texts if what in text]
    entries = [json.loads(line) for line in written.getvalue().splitlines()]
    letters = [one for one in entries if "dead letters" in one["message"]]
    assert {one["topic"] for one in letters} >= {"sales", "redemptions"}
    assert all({"partition", "offset", "reason"} <= set(one) for one in letters)
    [again] = [one for one in letters if one["reason"] == "id_reused"]
    assert (again["event"], again["seller"]) == (good["id"], seller_hash(SELLER))
