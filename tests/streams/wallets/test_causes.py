"""What follows from a booking counts only if the booking does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest
import redis
from typer.testing import CliRunner

from models.causes import CAUSE, Cause, read_cause
from models.shards import SHARDS, shard_of
from streams.cli import app
from streams.deadletters import read
from streams.engine import Outgoing
from streams.engine.errors import DeliveryFailed
from streams.wallets.causes import void
from streams.wallets.journal import LEDGER
from streams.wallets.rebuild import rebuild
from streams.wallets.server import meta_key
from streams.wallets.store import Worth
from streams.wallets.verify import verify
from tests.streams.wallets.harness import TERMS, Company

POLICY = (
    TERMS
    + """instant: [instant]
fraud:
  hold_score: 0.999
  unscored_cap: {EUR: 100000}
"""
)
REJECTING = POLICY + "  rules: [{reason: stolen, tier: reject, cards: [tok-1]}]\n"


class Dying(Company):
    """A company whose worker dies when it has published what follows from a sale, and not yet the
    sale's own entry."""

    dying = False

    async def send(self, messages: Sequence[Outgoing]) -> Mapping[tuple[str, int], int]:
        """Publish, until it dies."""
        if self.dying and any(m.topic == LEDGER and b'"sale.completed"' in (m.value or b"")
                              for m in messages):  # fmt: skip
            raise DeliveryFailed(len(messages), len(messages), "died")
        return await super().send(messages)


async def lost_sale(company: Dying, client: redis.Redis) -> None:
    """A sale of Anna's, below Ben, that sent its commission up and was lost with Redis."""
    await company.wallets.heal(range(SHARDS))
    for seller in (company.seller("ben"), company.seller("anna", sponsor_id="ben")):
        company.publish("sellers", seller)
    await company.work()
    company.dying = True
    company.publish("sales", company.sale("anna", 4_000, "s-1", instrument_ref="tok-1"))
    with pytest.raises(DeliveryFailed):
        await company.work()
    client.flushall()
    await asyncio.to_thread(rebuild, company.settings)


async def earned(company: Company) -> dict[str, int]:
    """What the journal says that each seller earned; every rule of verify holds."""
    verdict = await asyncio.to_thread(verify, company.settings, whole=True)
    assert verdict.ok, [check for check in verdict.checks if not check.ok]
    return {seller: minor for (seller, _), minor in verdict.fold.earned.items() if minor}


async def test_a_sale_that_comes_to_something_else_takes_its_commission_with_it(
    own_broker: str, redis_url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Dying(own_broker, redis_url, policy=POLICY) as first:
        await lost_sale(first, client)
        [commission] = [m for m in first.sent if m.topic == "commissions"]
        assert _placed(commission)[1] == 2
    async with Company(own_broker, redis_url, policy=REJECTING) as second:
        await second.work()
        assert await earned(second) == {}
        [letter] = list(read(second.settings.kafka_client()))
        assert (letter.reason, letter.source.topic) == ("cause_void", "commissions")
        assert letter.value == commission.value
        monkeypatch.setenv("PAYOUTS_KAFKA_BROKERS", own_broker)
        result = CliRunner().invoke(app, ["dead-letters", "replay", "--topic", "commissions", "-y"])
        assert result.exit_code == 1
        assert "1 cause_void left out" in result.output
        assert await second.work() == 0


async def test_a_sale_that_comes_to_the_same_sends_it_again_and_it_counts_once(
    own_broker: str, redis_url: str, client: redis.Redis
) -> None:
    async with Dying(own_broker, redis_url, policy=POLICY) as first:
        await lost_sale(first, client)
    async with Company(own_broker, redis_url, policy=POLICY) as second:
        await second.work()
        found = await earned(second)
        assert set(found) == {"anna", "ben"}
        letters = [letter.reason for letter in read(second.settings.kafka_client())]
        assert letters == ["cause_void"]


async def test_what_an_entry_is_worth(own_broker: str, redis_url: str, client: redis.Redis) -> None:
    async with Company(own_broker, redis_url, policy=POLICY) as company:
        await company.wallets.heal(range(SHARDS))
        company.publish("sellers", company.seller("anna"))
        await company.work()
        shard = shard_of("anna")
        at = (await company.store.stand({shard: (0, 0)}))[shard]
        assert at.seq == 1
        there = Cause(shard, at.epoch, 1)

        async def worth(*causes: Cause) -> list[Worth]:
            return await company.store.worths(causes)

        assert await worth(there) == [Worth.SAFE]
        assert await worth(there._replace(seq=2)) == [Worth.UNHEALED]
        assert await worth(there._replace(epoch=at.epoch + 1)) == [Worth.UNHEALED]
        # An entry in front of it is still in the outbox: its booker has not published it.
        client.delete(f"{{s{shard}}}:o")
        client.xadd(f"{{s{shard}}}:o", {"ledger\tanna": b"x"}, id="1-0")
        assert await worth(there) == [Worth.WAITS]
        client.delete(f"{{s{shard}}}:o")

        # One that nobody has: the shard is healed, and then it is known that there never was one.
        phantom = there._replace(seq=9)
        assert await void(company.wallets, {there, phantom}) == {phantom}
        assert await worth(there, phantom) == [Worth.SAFE, Worth.VOID]
        client.hset(meta_key(shard), "ended", "")
        assert await worth(there) == [Worth.FORGOTTEN]
        assert await void(company.wallets, {there}) == frozenset()
        # Nor does one hold anybody up that no heal can explain.
        made_up = Cause(shard, 10**14, 1)
        assert await void(company.wallets, {made_up}) == {made_up}


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (b"3.17.5", Cause(3, 17, 5)),
        (b"64.17.5", None),
        (b"3.17", None),
        (b"", None),
        (None, None),
        (b"3.17.5 ", None),
        (b"3.1e3.5", None),
        (b"\xff", None),
    ],
)
def test_a_header_names_an_entry_or_nothing(value: bytes | None, cause: Cause | None) -> None:
    assert read_cause(value) == cause
    if cause is not None:
        assert cause.text() == value


def _placed(message: Outgoing) -> tuple[int, int]:
    [value] = [value for name, value in message.headers or () if name == CAUSE]
    cause = read_cause(value)
    assert cause is not None
    assert cause.shard == shard_of("anna")
    return cause.epoch, cause.seq
