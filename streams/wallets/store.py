"""The store: the wallets in Redis, one function call a shard. No decision is taken here.

A call for a shard that is not sound (another server process, lost writes, suspended) changes
nothing and raises :class:`Unhealed`; see :mod:`streams.wallets.healing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json
from redis.exceptions import ResponseError

from models.causes import Cause
from models.payouts import PayoutState
from models.shards import SHARDS
from streams.engine import Outgoing
from streams.wallets.server import Call, RedisGone, Server, meta_key

__all__ = ["RedisGone", "Store", "Unhealed", "meta_key"]

Operation = dict[str, Any]
"""One operation for the ``book`` function; what each takes stands in its Lua file."""

NOTHING: Mapping[int, int] = MappingProxyType({})

LEFTOVERS_MAX = 1_000
"""Outbox entries that are read in one call."""


class Unhealed(Exception):
    """Shards that are not what this process takes them for: they have to be healed first."""

    def __init__(self, shards: Sequence[int]) -> None:
        super().__init__(f"{len(shards)} shards have to be compared with the journal")
        self.shards = tuple(shards)


class Superseded(Exception):
    """A shard is not as its healer left it: another heals it, or Redis lost something again."""


class ShardMismatch(Exception):
    """Redis was filled by an installation with another number of shards."""


class OutboxEntry(NamedTuple):
    """What one journal entry wants published; the first message is the entry itself."""

    seq: int
    messages: list[Outgoing]


class Worth(StrEnum):
    """What entries that the broker has acknowledged are worth."""

    SAFE = "safe"
    """They, and all in front of them, are in the ledger and count for ever."""
    WAITS = "waits"
    """One in front of them is not known to be in the ledger."""
    VOID = "void"
    """The shard was healed without them: their events have to be taken again."""
    UNHEALED = "unhealed"
    """Nobody can say before the shard is healed."""
    FORGOTTEN = "forgotten"
    """Of an epoch that is over for so long that nobody knows. Only said of a cause."""


class Standing(NamedTuple):
    """How a shard stands in Redis."""

    sound: bool
    """Whether it may be booked to as it is."""
    seq: int
    epoch: int
    journal: int
    """Ledger offset from which on there may be something that is not in Redis."""
    journaled: int
    """The seq up to which everything is in front of that offset."""
    pending: str
    """The nonce of who heals it; empty if nobody does."""
    beat: int = 0
    """What that healer has restored; it moves as long as the healer lives."""


class Confirming(NamedTuple):
    """What is asked about entries of a shard: the epoch they were booked in, the shard's seq behind
    them, the last ledger offset that was acknowledged, and their seqs."""

    epoch: int
    upto: int
    offset: int
    seqs: Sequence[int]


class Booked(NamedTuple):
    """What ``book`` did to one shard."""

    seq: int
    outcomes: list[str]
    outbox: list[OutboxEntry]
    front: list[OutboxEntry]
    """What stood in the outbox before, if it was asked for and is not more than that."""


class Holdings(NamedTuple):
    """What one seller has, as Redis holds it, and how many of her events wait for her profile."""

    accounts: dict[bytes, bytes]
    lots: dict[bytes, bytes]
    profile: bytes | None
    waiting: int
    pending: dict[bytes, bytes]
    """What is pending of each of her earnings."""
    discounts: dict[bytes, bytes]


@dataclass(slots=True)
class Look:
    """What ``look`` read of one shard: stored profiles, feature states and waiting earnings."""

    profiles: dict[str, bytes]
    states: dict[str, str]
    waiting: dict[str, list[bytes]]


class Timers(StrEnum):
    """The timers of a shard, by what they lead to; the value is their key's name."""

    BOOKING = "t"
    """A payout window, the end of a lot, authorisation, discount, quote or wait, a release."""
    RAIL = "e"
    """Payouts that a rail is to be asked about, or that were not handed to it."""


class Due(NamedTuple):
    """A timer that is due, and the payout or profile it is about, as stored.

    A timer that leads to a rail is the id of its payout.
    """

    timer: str
    due_ms: int
    stored: bytes | None


class ShardStanding(NamedTuple):
    """What a shard has to do by now, and the age of its outbox."""

    seq: int
    timers: list[Due]
    outbox_length: int
    outbox_first: int | None
    """The seq of the oldest entry that may not be published."""
    waiting: int
    """Earnings and returns that wait for their seller's profile."""
    parked: int
    """Returns that wait for their sale."""
    pending: Mapping[str, int]
    """Earnings that are released later, by currency, in minor units."""
    held: int = 0
    """Earnings of which something is held for review."""
    held_since_ms: int | None = None
    """Since when the first of them is."""


class Page(NamedTuple):
    """A page of a walk through the payouts of a shard that are under way."""

    cursor: int
    """Where the walk goes on; 0 at its end."""
    payouts: list[tuple[PayoutState, int, str]]
    """The state of each, since when it is reserved, or at the rail, in ms since the epoch, and the
    rail."""


class Store:
    """The shards on a server, as the functions of :mod:`streams.wallets.library`."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def close(self) -> None:
        """Give the connections back."""
        await self._server.close()

    async def load(self) -> None:
        """Load the functions, and check the number of shards.

        Raises :class:`ShardMismatch`, :class:`RedisGone`.
        """
        await self._server.load()
        [found] = await self._call([("shards", 0, str(SHARDS))])
        if found != SHARDS:
            raise ShardMismatch(f"Redis holds {found} shards; this version works with {SHARDS}")

    async def book(
        self, batches: Mapping[int, tuple[Mapping[str, Any], bytes, Sequence[Operation]]]
    ) -> dict[int, Booked]:
        """Apply ``{shard: (context, terms JSON, operations)}``; of the shards that are sound.

        Raises :class:`RedisGone`.
        """
        calls: list[Call] = [
            ("book", shard, to_json(context), to_json(operations), terms)
            for shard, (context, terms, operations) in batches.items()
        ]
        replies = await self._server.call(calls, booking=True)
        booked: dict[int, Booked] = {}
        for shard, reply in zip(batches, replies, strict=True):
            if _is(reply, "UNHEALED"):
                continue
            seq, outcomes, *entries = _result(reply)
            outbox, front = ([_entry(each) for each in some] for some in entries)
            booked[shard] = Booked(int(seq), [_word(text) for text in outcomes], outbox, front)
        return booked

    async def confirm(self, asked: Mapping[int, Confirming]) -> dict[int, Worth]:
        """Entries are in the ledger: they leave the outboxes, and this is what they are worth.

        Raises :class:`RedisGone`.
        """
        replies = await self._call(
            [
                (
                    "confirm",
                    shard,
                    str(one.epoch),
                    str(one.upto),
                    str(one.offset),
                    *map(str, one.seqs),
                )
                for shard, one in asked.items()
            ]
        )
        return {s: Worth(str(r, "ascii")) for s, r in zip(asked, replies, strict=True)}

    async def worths(self, causes: Sequence[Cause]) -> list[Worth]:
        """What entries are worth from which something follows. Raises :class:`RedisGone`."""
        replies = await self._call(
            [("counts", one.shard, str(one.epoch), str(one.seq)) for one in causes], read_only=True
        )
        return [Worth(str(reply, "ascii")) for reply in replies]

    async def look(
        self, asks: Mapping[int, tuple[Sequence[str], Sequence[str]]], *, waiting: bool = False
    ) -> dict[int, Look]:
        """Read profiles and feature states: ``{shard: (sellers, entities)}``."""
        calls: list[Call] = []
        for shard, (sellers, entities) in asks.items():
            ask: dict[str, Any] = {"sellers": sellers, "states": entities}
            if waiting:
                ask["waiting"] = True
            calls.append(("look", shard, to_json(ask)))
        replies = await self._call(calls, read_only=True)
        looks: dict[int, Look] = {}
        for (shard, (sellers, entities)), reply in zip(asks.items(), replies, strict=True):
            profiles, states, lists = reply
            looks[shard] = Look(
                {s: p for s, p in zip(sellers, profiles, strict=False) if p is not None},
                {
                    e: str(v, "ascii")
                    for e, v in zip(entities, states, strict=False)
                    if v is not None
                },
                {s: items for s, items in zip(sellers, lists, strict=False) if items},
            )
        return looks

    async def observe(self, states: Mapping[int, Mapping[str, str]], ttl_ms: int) -> None:
        """Write the feature states of entities that are no sellers."""
        await self._call(
            [
                ("observe", shard, str(ttl_ms), *(p for pair in entities.items() for p in pair))
                for shard, entities in states.items()
            ]
        )

    async def due(
        self,
        shards: Sequence[int],
        which: Timers,
        now_ms: int,
        limit: int,
        passed_over: Mapping[int, int] = NOTHING,
    ) -> dict[int, ShardStanding]:
        """The first timers that are due in some shards, and how the shards stand.

        ``passed_over``: how many of the first of a shard are left out. Raises :class:`RedisGone`,
        :class:`Unhealed`.
        """
        calls: list[Call] = [
            ("due", shard, str(now_ms), str(limit), which, str(passed_over.get(shard, 0)))
            for shard in shards
        ]
        replies = await self._call(calls, read_only=True)
        standings: dict[int, ShardStanding] = {}
        for shard, reply in zip(shards, replies, strict=True):
            seq, flat, length, first, waiting, parked, later, held, since = reply
            timers = [
                Due(str(flat[i], "ascii"), int(float(flat[i + 1])), flat[i + 2])
                for i in range(0, len(flat), 3)
            ]
            first_seq = int(first.split(b"-")[0]) if first else None
            pending = {str(c, "ascii"): int(minor) for c, minor in _pairs(later).items()}
            standings[shard] = ShardStanding(
                int(seq), timers, int(length), first_seq, int(waiting), int(parked), pending,
                int(held), int(float(since)) if since else None,
            )  # fmt: skip
        return standings

    async def ages(self, cursors: Mapping[int, int], limit: int) -> dict[int, Page]:
        """A page of the payouts under way in each shard, from where its walk is.

        Raises :class:`RedisGone`, :class:`Unhealed`.
        """
        replies = await self._call(
            [("ages", shard, str(cursor), str(limit)) for shard, cursor in cursors.items()],
            read_only=True,
        )
        return {
            shard: Page(
                int(cursor),
                [
                    (PayoutState(str(flat[i], "ascii")), int(flat[i + 1]), flat[i + 2].decode())
                    for i in range(0, len(flat), 3)
                ],
            )
            for shard, (cursor, flat) in zip(cursors, replies, strict=True)
        }

    async def house(self, shards: Sequence[int]) -> dict[int, dict[str, int]]:
        """What the house's accounts are at in each shard, by ``<account>:<currency>``.

        Raises :class:`RedisGone`, :class:`Unhealed`.
        """
        replies = await self._call([("house", shard) for shard in shards], read_only=True)
        return {
            shard: {flat[i].decode(): int(flat[i + 1]) for i in range(0, len(flat), 2)}
            for shard, flat in zip(shards, replies, strict=True)
        }

    async def debts(
        self, cursors: Mapping[int, int], limit: int
    ) -> dict[int, tuple[int, dict[str, str]]]:
        """A page of the debts in each shard, from where its walk is: where that goes on, and what
        is owed since when by ``<currency>:<seller>``, as stored.

        Raises :class:`RedisGone`, :class:`Unhealed`.
        """
        replies = await self._call(
            [("debts", shard, str(cursor), str(limit)) for shard, cursor in cursors.items()],
            read_only=True,
        )
        return {
            shard: (
                int(cursor),
                {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)},
            )
            for shard, (cursor, flat) in zip(cursors, replies, strict=True)
        }

    async def payout(self, shard: int, payout_id: str) -> bytes | None:
        """A payout as stored, JSON; None if there is none.

        Raises :class:`RedisGone`, :class:`Unhealed`.
        """
        return await self._found(shard, f"y:{payout_id}")

    async def attempt_of(self, rail: str, reference: str) -> str | None:
        """The attempt's id behind a rail's reference; None if it is nobody's.

        Any shard may have it. Raises :class:`RedisGone`, :class:`Unhealed`.
        """
        name = f"i:{rail}:{reference}"
        calls: list[Call] = [("find", shard, name) for shard in range(SHARDS)]
        found = await self._call(calls, read_only=True)
        return next((str(each, "ascii") for each in found if each is not None), None)

    async def authorised(self, shard: int, seller_id: str, authorisation_id: str) -> bytes | None:
        """What a till has authorised, as stored, JSON; None if there is no such authorisation.

        Raises :class:`RedisGone`, :class:`Unhealed`.
        """
        return await self._found(shard, f"a:{seller_id}/{authorisation_id}")

    async def rates(self, wanted: Sequence[tuple[int, str]]) -> list[bytes | None]:
        """Latest rates as stored, JSON, by shard and name of the pair; None where there is none.

        Raises :class:`RedisGone`, :class:`Unhealed`.
        """
        return await self._find([(shard, f"f:{name}") for shard, name in wanted])

    async def records(self, wanted: Sequence[tuple[int, str]]) -> list[bytes | None]:
        """What sales and commissions earned, as stored, JSON, by shard and name of the record.

        Raises :class:`RedisGone`, :class:`Unhealed`.
        """
        return await self._find([(shard, f"r:{name}") for shard, name in wanted])

    async def _found(self, shard: int, name: str) -> bytes | None:
        [stored] = await self._find([(shard, name)])
        return stored

    async def _find(self, wanted: Iterable[tuple[int, str]]) -> list[bytes | None]:
        calls: list[Call] = [("find", shard, name) for shard, name in wanted]
        found = await self._call(calls, read_only=True)
        return [None if stored is None else bytes(stored) for stored in found]

    async def holdings(self, shard: int, seller_id: str) -> Holdings:
        """What one seller has.

        Raises :class:`RedisGone`, :class:`Unhealed`.
        """
        [reply] = await self._call([("read", shard, seller_id)], read_only=True)
        accounts, lots, profile, waiting, pending, discounts = reply
        return Holdings(
            _pairs(accounts), _pairs(lots), profile, int(waiting), _pairs(pending),
            _pairs(discounts),
        )  # fmt: skip

    async def leftovers(self, shards: Iterable[int]) -> dict[int, list[OutboxEntry]]:
        """What the shards' outboxes hold: what is not known to be in the ledger."""
        found: dict[int, list[OutboxEntry]] = {}
        firsts = dict.fromkeys(shards, 0)
        while firsts:
            replies = await self._call(
                [("outbox", s, str(first), str(LEFTOVERS_MAX)) for s, first in firsts.items()],
                read_only=True,
            )
            pages = {s: [_entry(raw) for raw in r] for s, r in zip(firsts, replies, strict=True)}
            for shard, page in pages.items():
                if page:
                    found.setdefault(shard, []).extend(page)
            full = {s: page for s, page in pages.items() if len(page) == LEFTOVERS_MAX}
            firsts = {shard: page[-1].seq + 1 for shard, page in full.items()}
        return found

    # Healing

    async def stand(self, known: Mapping[int, tuple[int, int]]) -> dict[int, Standing]:
        """How shards stand. ``{shard: (seq, epoch) that the caller has seen}``."""
        replies = await self._call(
            [("stand", shard, str(seq), str(epoch)) for shard, (seq, epoch) in known.items()],
            read_only=True,
        )
        return {
            shard: Standing(bool(sound), seq, epoch, journal, journaled, _text(pending), beat)
            for shard, (sound, seq, epoch, journal, journaled, pending, beat) in zip(
                known, replies, strict=True
            )
        }

    async def suspend(
        self, shards: Sequence[int], nonce: str, instead_of: Mapping[int, str]
    ) -> dict[int, Standing]:
        """Stop all booking to shards; those that were, as they stand now.

        ``instead_of``: the nonces of healers that are taken for dead.
        """
        replies = await self._call(
            [("suspend", shard, nonce, instead_of.get(shard, "")) for shard in shards]
        )
        return {
            shard: Standing(False, *reply[1:], nonce)  # type: ignore[call-arg]
            for shard, reply in zip(shards, replies, strict=True)
            if reply[0]
        }

    async def restore(
        self, shard: int, nonce: str, beat: int, keys: Sequence[tuple[bytes, int, bytes]]
    ) -> None:
        """Put keys of a snapshot into a shard that is being healed: ``(key without the shard's
        prefix, when it expires in ms or 0, value as DUMP gave it)``. ``beat``: how many such calls
        there were before. Raises :class:`Superseded`, also if Redis has lost one of them.
        """
        flat = [part for key, expires, value in keys for part in (key, str(expires), value)]
        await self._call([("restore", shard, nonce, str(beat), *flat)])

    async def resume(
        self, shard: int, nonce: str, beat: int, fields: Mapping[bytes, bytes]
    ) -> Standing:
        """Take a shard to be where its snapshot began. Raises :class:`Superseded`."""
        flat = [part for pair in fields.items() for part in pair]
        [reply] = await self._call([("resume", shard, nonce, str(beat), *flat)])
        return Standing(False, *reply, nonce)  # type: ignore[call-arg]

    async def apply(self, shard: int, entries: Sequence[bytes], redo: Redo) -> int:
        """Redo journal entries that the shard has not seen; its new seq.

        Raises :class:`Superseded`.
        """
        call = ("apply", shard, redo.nonce, str(redo.retention_ms), str(redo.journal),
                str(redo.epoch), *entries)  # fmt: skip
        [reply] = await self._call([call])
        return int(reply[0])

    async def open(
        self,
        openings: Mapping[int, tuple[int, int]],
        ended: Mapping[int, Sequence[tuple[int, int]]],
        nonce: str,
    ) -> None:
        """Let shards be booked to again: ``{shard: (epoch, last seq in front of its marker)}``.

        ``ended``: the epochs of each that the ledger was seen to end, with their last seqs.
        Raises :class:`Superseded`.
        """
        await self._call(
            [
                ("open", s, nonce, str(epoch), str(seq), ",".join(f"{e}:{n}" for e, n in ended[s]))
                for s, (epoch, seq) in openings.items()
            ]
        )

    async def _call(self, calls: Sequence[Call], *, read_only: bool = False) -> list[Any]:
        """Function calls in one round trip that have to go well."""
        replies = await self._server.call(calls, read_only=read_only)
        astray = [
            call[1] for call, reply in zip(calls, replies, strict=True) if _is(reply, "UNHEALED")
        ]
        if astray:
            raise Unhealed(astray)
        return [_result(reply) for reply in replies]


class Redo(NamedTuple):
    """How entries are redone: who heals, how long ids are kept, the ledger offset from which on
    everything later is, and the epoch that the ledger is in there."""

    nonce: str
    retention_ms: int
    journal: int
    epoch: int


def _is(reply: Any, word: str) -> bool:
    return isinstance(reply, ResponseError) and word in str(reply)


def _result(reply: Any) -> Any:
    """A reply that is no refusal. Raises what the refusal means."""
    if not isinstance(reply, Exception):
        return reply
    if any(_is(reply, word) for word in ("SUPERSEDED", "GAP", "APART")):
        raise Superseded(str(reply)) from reply
    raise reply


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _text(raw: bytes | None) -> str:
    return "" if raw is None else str(raw, "ascii")


def _word(text: bytes) -> str:
    return _WORDS.get(text) or str(text, "ascii")


_WORDS = {word.encode(): word for word in ("booked", "parked", "repeat", "stale", "retry")}


def _entry(raw: Sequence[Any]) -> OutboxEntry:
    seq, fields = raw
    return OutboxEntry(
        int(seq), [_message(fields[i], fields[i + 1]) for i in range(0, len(fields), 2)]
    )


def _message(field: bytes, value: bytes) -> Outgoing:
    """From the outbox's ``<topic>\\t<key>[\\t<headers>]`` and the message's body."""
    topic, _, key = field.partition(b"\t")
    name = _TOPICS.get(topic) or _TOPICS.setdefault(topic, topic.decode())
    if b"\t" not in key:
        return Outgoing(name, key, value)
    key, _, headers = key.partition(b"\t")
    pairs = from_json(headers).items()
    return Outgoing(name, key, value, [(header, text.encode()) for header, text in pairs])


_TOPICS: dict[bytes, str] = {}

Clock = Callable[[], int]
"""Milliseconds since the epoch."""
