"""The shards as Redis holds them, read for the rules of verify."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from models.debts import Owed, read_owed
from models.ledger import Purchase
from models.quotes import Quote
from models.releases import Pending, read_pending
from models.reviews import Held
from models.shards import SHARDS
from streams.wallets.store import meta_key

KEYS_MAX = 1_000
"""Keys read in one round trip."""

STEADY_TRIES_MAX = 5
"""How often shards that change while they are read are read again."""


@dataclass(slots=True)
class ShardState:
    """A shard as Redis holds it. Balances are by the ledger's account names, and currency."""

    seq: int = 0
    balances: dict[tuple[str, str], int] = field(default_factory=dict)
    lots: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """What is left of each lot, by seller, currency and lot."""
    settled: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """What was recovered and forgiven of undone grants, by seller and lot."""
    purchases: dict[tuple[str, str], Purchase] = field(default_factory=dict)
    """By seller and authorisation."""
    ending: set[tuple[str, str]] = field(default_factory=set)
    """Authorisations with a time at which they end."""
    discounts: set[tuple[str, str]] = field(default_factory=set)
    """Sellers' discounts that can be used."""
    owed: dict[tuple[str, str], Owed] = field(default_factory=dict)
    """Since when debt is owed, by seller and currency."""
    quotes: dict[tuple[str, str], Quote] = field(default_factory=dict)
    """By seller and quote."""
    quotes_ending: set[tuple[str, str]] = field(default_factory=set)
    """Quotes with a time at which they end."""
    pending: dict[tuple[str, str], Pending] = field(default_factory=dict)
    """What is pending of earnings, by seller and the name of the earning's record."""
    pending_sums: dict[str, int] = field(default_factory=dict)
    """The same in all of the shard, by currency."""
    held: dict[tuple[str, str], Held | None] = field(default_factory=dict)
    """What is held of earnings, by seller and the name of the earning's record; None if there is no
    such record."""
    releasing: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """When what is pending is released, by seller, currency and record, in ms."""
    payouts: dict[str, str] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    """Payouts with a time at which their rail is asked."""
    outbox: int = 0
    outbox_first: int | None = None
    steady: bool = False
    """Whether its seq was the same before and after it was read."""


def read_seqs(client: Any, shards: Iterable[int]) -> dict[int, int]:
    """The last seq of each shard in Redis."""
    pipe = client.pipeline(transaction=False)
    wanted = list(shards)
    for shard in wanted:
        pipe.hget(meta_key(shard), "seq")
    return {shard: int(seq or 0) for shard, seq in zip(wanted, pipe.execute(), strict=True)}


def read_shards(client: Any) -> dict[int, ShardState]:
    """All shards from Redis, standalone or Cluster."""
    shards: dict[int, ShardState] = {}
    wanted = list(range(SHARDS))
    for _ in range(STEADY_TRIES_MAX):
        before = read_seqs(client, wanted)
        shards |= {shard: ShardState(seq) for shard, seq in before.items()}
        _read_outboxes(client, shards, wanted)
        _read_keys(client, shards, frozenset(wanted))
        _read_held(client, shards, wanted)
        after = read_seqs(client, wanted)
        for shard in wanted:
            shards[shard].steady = before[shard] == after[shard]
        wanted = [shard for shard in wanted if not shards[shard].steady]
        if not wanted:
            break
    return shards


def _read_outboxes(client: Any, shards: Mapping[int, ShardState], wanted: Sequence[int]) -> None:
    pipe = client.pipeline(transaction=False)
    for shard in wanted:
        pipe.xlen(f"{{s{shard}}}:o")
        pipe.xrange(f"{{s{shard}}}:o", count=1)
        pipe.zrangebyscore(f"{{s{shard}}}:t", "-inf", "+inf")
        pipe.zrangebyscore(f"{{s{shard}}}:e", "-inf", "+inf")
    replies = pipe.execute()
    releasing: list[tuple[int, bytes]] = []
    for i, shard in enumerate(wanted):
        length, first, timers, asked = replies[4 * i : 4 * i + 4]
        shards[shard].outbox = int(length)
        if first:
            shards[shard].outbox_first = int(first[0][0].split(b"-")[0])
        shards[shard].ending = _named(timers, b"auth:")
        shards[shard].quotes_ending = _named(timers, b"quote:")
        releasing += [(shard, t) for t in timers if t.startswith(b"rel:")]
        shards[shard].asked = {payout.decode() for payout in asked}
    _read_releasing(client, shards, releasing)


def _read_releasing(
    client: Any, shards: Mapping[int, ShardState], timers: Sequence[tuple[int, bytes]]
) -> None:
    for first in range(0, len(timers), KEYS_MAX):
        some = timers[first : first + KEYS_MAX]
        pipe = client.pipeline(transaction=False)
        for shard, timer in some:
            pipe.zscore(f"{{s{shard}}}:t", timer)
        for (shard, timer), due in zip(some, pipe.execute(), strict=True):
            seller, currency, name = timer[4:].decode().split("/")
            if due is not None:
                shards[shard].releasing[seller, currency, name] = int(float(due))


def _read_held(client: Any, shards: Mapping[int, ShardState], wanted: Sequence[int]) -> None:
    pipe = client.pipeline(transaction=False)
    for shard in wanted:
        pipe.zrangebyscore(f"{{s{shard}}}:H", "-inf", "+inf")
    found = [
        (shard, member.decode())
        for shard, members in zip(wanted, pipe.execute(), strict=True)
        for member in members
    ]
    for first in range(0, len(found), KEYS_MAX):
        some = found[first : first + KEYS_MAX]
        pipe = client.pipeline(transaction=False)
        for shard, member in some:
            pipe.get(f"{{s{shard}}}:r:{member.partition('/')[2]}")
        for (shard, member), stored in zip(some, pipe.execute(), strict=True):
            seller, _, name = member.partition("/")
            record = from_json(stored) if stored else None
            held = record and Held(record["currency"], record["held"])
            shards[shard].held[seller, name] = held


def _named(timers: Iterable[bytes], kind: bytes) -> set[tuple[str, str]]:
    """Seller and name of timers ``<kind><seller>/<name>``."""
    return {
        (seller, name)
        for timer in timers
        if timer.startswith(kind)
        for seller, _, name in [timer.removeprefix(kind).decode().partition("/")]
    }


def _read_keys(client: Any, shards: Mapping[int, ShardState], wanted: frozenset[int]) -> None:
    keys: set[bytes] = set()
    # One walk through the key space for all shards; SCAN may return a key twice.
    for key in client.scan_iter(match="{s*}:[DLacghklwy]*", count=KEYS_MAX):
        shard, _, rest = key[2:].partition(b"}:")
        if shard.isdigit() and int(shard) in wanted and rest[:2] in _KINDS_READ:
            keys.add(key)
    ordered = sorted(keys)
    for first in range(0, len(ordered), KEYS_MAX):
        some = ordered[first : first + KEYS_MAX]
        pipe = client.pipeline(transaction=False)
        for key in some:
            _, kind, _ = _parts(key)
            if kind in {"a", "c", "y"}:
                pipe.get(key)
            else:
                pipe.hgetall(key)
        for key, value in zip(some, pipe.execute(), strict=True):
            if value:
                _take(shards, key, value)


_KINDS_READ = frozenset({b"D", b"L", b"L:", b"a:", b"c:", b"g:", b"h", b"k:", b"l:", b"w:", b"y:"})


def _purchase(stored: bytes) -> Purchase:
    raw = from_json(stored)
    names = ("currency", "amount", "captured", "refunded", "released")
    return Purchase(*(raw[name] for name in names))


def _parts(key: bytes) -> tuple[int, str, str]:
    """Shard, kind and name of a key ``{s<n>}:<kind>[:<name>]``."""
    shard, _, rest = key[2:].decode().partition("}:")
    kind, _, name = rest.partition(":")
    return int(shard), kind, name


def _take_settled(state: ShardState, name: str, value: Mapping[bytes, bytes]) -> None:
    for lot, text in value.items():
        recovered, _, forgiven = text.decode().partition(",")
        state.settled[name, lot.decode()] = (int(recovered), int(forgiven))


def _take_owed(state: ShardState, name: str, value: Mapping[bytes, bytes]) -> None:
    for raw, text in value.items():
        currency, _, seller = raw.decode().partition(":")
        state.owed[seller, currency] = read_owed(text.decode())


def _take_pending(state: ShardState, name: str, value: Mapping[bytes, bytes]) -> None:
    if name:
        lots = {record.decode(): read_pending(text.decode())[0] for record, text in value.items()}
        state.pending |= {(name, record): lot for record, lot in lots.items()}
    else:
        state.pending_sums = {currency.decode(): int(minor) for currency, minor in value.items()}


_KEPT = {"D": _take_owed, "L": _take_pending, "k": _take_settled}


def _take(shards: Mapping[int, ShardState], key: bytes, value: Any) -> None:
    shard, kind, name = _parts(key)
    state = shards[shard]
    if kind in _KEPT:
        _KEPT[kind](state, name, value)
    elif kind == "y":
        state.payouts[name] = from_json(value)["state"]
    elif kind == "l":
        for lot, text in value.items():
            currency, left, *_ = text.decode().split(",")
            state.lots[name, currency, lot.decode()] = int(left)
    elif kind == "a":
        seller, _, authorisation = name.partition("/")
        state.purchases[seller, authorisation] = _purchase(value)
    elif kind == "c":
        seller, _, quote = name.partition("/")
        state.quotes[seller, quote] = Quote(**from_json(value))
    elif kind == "g":
        state.discounts |= {(name, discount.decode()) for discount in value}
    else:
        for raw, minor in value.items():
            if kind == "h":
                account, _, currency = raw.decode().rpartition(":")
                state.balances["/" + account, currency] = int(minor)
            else:
                currency, _, account = raw.decode().partition(":")
                state.balances[f"{name}/{account}", currency] = int(minor)
