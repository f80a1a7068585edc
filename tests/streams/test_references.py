"""References are advice: without Redis none is kept, and who asks is told to come again."""

import logging

import pytest

from streams.references import References
from streams.wallets.server import RedisGone, RedisServer
from streams.wallets.store import Store


async def test_an_outage_loses_a_reference_and_no_payout(caplog: pytest.LogCaptureFixture) -> None:
    store = Store(RedisServer("redis://127.0.0.1:1/0"))
    references = References(store)
    with caplog.at_level(logging.WARNING):
        await references.keep("circle", "b8627ae8", "01-5e")
    assert "not kept" in caplog.text
    with pytest.raises(RedisGone):
        await references.attempt_of("circle", "b8627ae8")
    await store.close()
