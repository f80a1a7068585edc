"""The verdict over a history: the rules of ``payouts verify``, and what only a simulation knows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from models.money import BASIS_POINTS
from models.payouts import IN_FLIGHT, PayoutState, may_follow
from models.reinvestment import campaign_of
from streams.demo.oracle import expected
from streams.wallets import evidence, shardstate
from streams.wallets.evidence import Evidence
from streams.wallets.railbooks import Books
from streams.wallets.verify import judge
from tests.simulation.client import HOMES, cards
from tests.simulation.log import Log
from tests.simulation.memory import MemoryRedis
from tests.simulation.rail import NAMES

if TYPE_CHECKING:
    from tests.simulation.world import World

STEADY = 1_000
"""What a day of the campaign ``steady`` has to reach."""

MAY_RAISE = frozenset({"RedisGone", "EntriesVoid"})
"""What ends a process rightly; a supervisor starts it again."""


def cause_of(error: BaseException) -> BaseException:
    """The first error in groups of errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def may_raise(error: BaseException) -> bool:
    """Whether a process may end with this."""
    return type(error).__name__ in MAY_RAISE


def violations(world: World) -> list[str]:
    """Everything that is wrong at rest, as ``rule: detail``."""
    found = gathered(world)
    problems = [f"{check.name}: {check.detail}" for check in judge(found).checks if not check.ok]
    for rule in RULES:
        problems += [f"{rule.__doc__}: {text}" for text in rule(world, found)]
    return problems


def gathered(world: World) -> Evidence:
    """The evidence that the rules look at, from the simulated world."""
    topics: Any = _Topics(world.log)
    with patch.object(shardstate, "SHARDS", max(HOMES) + 1):
        shards = shardstate.read_shards(_Client(world.redis))
    journal = evidence.read_journal(topics, shards)
    letters = evidence.read_letters(topics)
    inbound = evidence._Inbound(journal, letters, dict(world.log.committed), True)
    parts = [inbound.read(topics, topic) for topic in evidence.CHECKED_TOPICS]
    return Evidence(
        whole=True,
        now_ms=world.now_ms(),
        committed=dict(world.log.committed),
        shards=shards,
        journal=journal,
        seqs_after={shard: state.seq for shard, state in shards.items()},
        letters=letters,
        decisions=evidence.read_decisions(topics),
        commands=evidence.read_commands(topics),
        inbound=sum(part.checked for part in parts),
        behind=sum(part.behind for part in parts),
        unaccounted=[text for part in parts for text in part.unaccounted],
        doubled=[text for part in parts for text in part.doubled],
        commissions=set().union(*(part.ids for part in parts)),
        books=world.bank.books(),
        compared=Books(read=list(NAMES)),
    )


def _earned(world: World, found: Evidence) -> Iterator[str]:
    """every seller earned what the script says"""
    messages = [
        message
        for message in world.script.messages
        if message.topic in {"sales", "commissions", "sellers"}
        and b'"debt.written_off"' not in message.value
        and not _is_rejected(world, message.value)
    ]
    want = {
        (seller, currency): minor
        for seller, by_currency in expected(messages, world.company.plan).items()
        for currency, minor in by_currency.items()
    }
    have = found.journal.fold.earned
    # What a label forfeits, a later return does not take again, and nobody above earns by it.
    less = bool(_forfeiting(found))
    for key in sorted(want.keys() | have.keys()):
        apart = have.get(key, 0) - want.get(key, 0)
        if apart > 0 or (apart and not less):
            yield f"{key[0]} earned {have.get(key, 0)} {key[1]}, expected {want.get(key, 0)}"


def _is_rejected(world: World, value: bytes) -> bool:
    """Whether a sale's card is on the blocklist of those histories that have one."""
    return world.script.suspecting and cards()[2].encode() in value


def _rejected(world: World) -> set[str]:
    """The sales by which nobody earns."""
    messages = [m.value for m in world.script.messages if _is_rejected(world, m.value)]
    return {json.loads(value)["sale_id"] for value in messages}


def _forfeiting(found: Evidence) -> set[str]:
    """Sellers of whom a label took an earning."""
    return {seller for seller, _ in found.journal.fold.reviews._forfeited}


def _volumes(world: World) -> tuple[Mapping[str, int], set[str]]:
    """What each seller has sold in all, net of returns; and who has a profile."""
    volume: dict[str, int] = defaultdict(int)
    profiles: set[str] = set()
    seen: set[str] = set()
    rejected = _rejected(world)
    for message in world.script.messages:
        if message.kind in {"bad", "repeat"}:
            continue
        event = json.loads(message.value)
        if event["id"] in seen or event.get("sale_id") in rejected:
            continue
        seen.add(event["id"])
        if event["type"] == "seller.updated":
            profiles.add(event["seller_id"])
        elif event["type"] == "sale.completed":
            volume[event["seller_id"]] += event["amount_minor"]
        elif event["type"] == "sale.returned":
            volume[event["seller_id"]] -= event["amount_minor"]
    return volume, profiles


def _granted(world: World, found: Evidence) -> Iterator[str]:
    """a threshold's grant is active exactly while its total is reached"""
    volume, profiles = _volumes(world)
    less = _forfeiting(found)
    active = {
        (seller, tier)
        for (seller, campaign, _, _, tier), lots in found.journal.fold.grants.items()
        if campaign == "volume-life" and lots
    }
    for seller in sorted({message.key.decode() for message in world.script.messages}):
        if seller in less:
            continue  # what was forfeited counts in no campaign any more
        for tier, threshold in ((1, 3_000), (2, 15_000)):
            want = seller in profiles and volume[seller] >= threshold
            if want != ((seller, tier) in active):
                state = "active" if not want else "missing"
                yield f"{seller} tier {tier} is {state} at {volume[seller]}"


def _steady(world: World, found: Evidence) -> Iterator[str]:
    """a streak's grant is active exactly while each of its days is reached"""
    sold: dict[tuple[str, date], int] = defaultdict(int)
    days: dict[str, date] = {}
    profiles, seen = set(), set()
    returns = []
    rejected, less = _rejected(world), _forfeiting(found)
    for message in world.script.messages:
        if message.kind in {"bad", "repeat"}:
            continue
        event = json.loads(message.value)
        if event["id"] in seen or event.get("sale_id") in rejected:
            continue
        seen.add(event["id"])
        seller, day = event["seller_id"], datetime.fromisoformat(event["occurred_at"]).date()
        if event["type"] == "seller.updated":
            profiles.add(seller)
        elif event["type"] == "sale.completed":
            sold[seller, day] += event["amount_minor"]
            days[event["sale_id"]] = day
        elif event["type"] == "sale.returned":
            returns.append((seller, event.get("sale_id"), day, event["amount_minor"]))
    for seller, sale, day, minor in returns:
        sold[seller, days[sale] if sale else day] -= minor
    active = {
        (seller, period)
        for (seller, campaign, period, _, _), lots in found.journal.fold.grants.items()
        if campaign == "steady" and lots
    }
    full = {at for at, minor in sold.items() if minor >= STEADY and at[0] in profiles}
    want = {(seller, str(day)) for seller, day in full if (seller, day - timedelta(days=1)) in full}
    for seller, period in sorted(want ^ active):
        if seller in less:
            continue
        yield f"{seller} {period} is {'missing' if (seller, period) in want else 'active'}"


def _affordable(world: World, found: Evidence) -> Iterator[str]:
    """what is granted fits into each campaign's budget"""
    cost: dict[str, int] = defaultdict(int)
    for (_, campaign, _, _, _), lots in found.journal.fold.grants.items():
        cost[campaign] += sum(lots.values())
    for (_, _, lot), places in found.journal.fold.lots.items():
        if (boost := campaign_of(lot)) is not None:
            cost[boost] += places.total() - places["reversed"]
    campaigns = world.company.campaigns
    for id_, budget in [
        (one.id, one.budget) for one in (*campaigns.campaigns, *campaigns.reinvest)
    ]:
        if budget and cost[id_] > budget["EUR"]:
            yield f"{id_} cost {cost[id_]}, its budget is {budget['EUR']}"


def _bonuses(world: World, found: Evidence) -> Iterator[str]:
    """sellers were given the bonuses that are granted, and no others"""
    want: dict[str, int] = defaultdict(int)
    for (seller, campaign, _, _, _), lots in found.journal.fold.grants.items():
        if campaign == "team-money":
            want[seller] += sum(lots.values())
    have = {seller: minor for (seller, _), minor in found.journal.fold.bonuses.items()}
    for seller in sorted(want.keys() | have.keys()):
        if want.get(seller, 0) != have.get(seller, 0):
            yield f"{seller} has {have.get(seller, 0)}, granted {want.get(seller, 0)}"


def _finished(world: World, found: Evidence) -> Iterator[str]:
    """no payout or purchase is left under way"""
    for payout, (state, *_) in found.journal.fold.payouts.items():
        if PayoutState(state) in IN_FLIGHT:
            yield f"{payout} is {state}"
    for shard in found.shards.values():
        for (account, currency), minor in shard.balances.items():
            if account.endswith(("/in_flight", "/authorised")) and minor:
                yield f"{account} has {minor} {currency}"


def _waiting(world: World, found: Evidence) -> Iterator[str]:
    """nothing waits for ever"""
    for key in world.redis.all_keys():
        if b"}:bw:" in key or b"}:gw:" in key:
            yield f"{key.decode()}: thresholds wait for a slice of a budget"
        if key.endswith(b"}:m"):
            for name in ("waiting", "parked"):
                count = world.redis.command("HGET", key, name)
                if count not in {None, b"0"}:
                    yield f"{key.decode()}: {int(count)} {name}"


def _answered(world: World, found: Evidence) -> Iterator[str]:
    """a request has the one effect that it is answered with"""
    fold = found.journal.fold
    for id_, answers in world.answers.items():
        if len(answers) > 1:
            yield f"{id_} was answered {' and '.join(sorted(answers))}"
            continue
        [answer] = answers
        booked = answer.startswith("booked:")
        if (id_ in fold.booked, id_ in fold.turned_down) != (booked, not booked):
            yield f"{id_} was answered {answer}, the journal has it otherwise"


def _owed(world: World, found: Evidence) -> Iterator[str]:
    """who owes has nothing that would have paid it"""
    if world.script.debt.share_bp != BASIS_POINTS:
        return
    for shard in found.shards.values():
        for (account, currency), minor in shard.balances.items():
            there = account.replace("/debt", "/available"), currency
            if account.endswith("/debt") and minor and shard.balances.get(there):
                yield f"{account} is {minor} {currency}, {shard.balances[there]} are available"


def _written_off(world: World, found: Evidence) -> Iterator[str]:
    """no other debt is written off than somebody asked for"""
    want: dict[tuple[str, str], int] = defaultdict(int)
    asked = {m.id: m.value for m in world.script.messages if b'"debt.written_off"' in m.value}
    for id_ in asked.keys() & found.journal.fold.booked:
        event = json.loads(asked[id_])
        want[event["seller_id"], event["currency"]] += event["amount_minor"]
    have = found.journal.fold.written_off
    for key in want.keys() | have.keys():
        if want.get(key, 0) != have.get(key, 0):
            yield f"{key[0]} owes {have.get(key, 0)} less, by name {want.get(key, 0)}"


def _resolved(world: World, found: Evidence) -> Iterator[str]:
    """a payout is what somebody else than its seller said it is, or what may follow that"""
    fold = found.journal.fold
    for event in world.person.said:
        if event["id"] not in fold.booked:
            continue
        payout, said = event["payout_id"], PayoutState(event["outcome"])
        state = PayoutState(fold.payouts[payout][0])
        if state is not said and not may_follow(said, state):
            yield f"{payout} is {state}, {event['by']} said {said}"
        if event["by"] == event["seller_id"]:
            yield f"{payout} is {said}, as its seller said"


def _reinvested(world: World, found: Evidence) -> Iterator[str]:
    """what returns left of the reinvested is there, if nothing is spent"""
    fold = found.journal.fold
    if not fold.own_lots:
        return
    spent = {seller for seller, _ in fold.purchases}
    asked = [message for message in world.script.messages if message.topic == "redemptions"]
    spent |= {m.key.decode() for m in asked if b'"credit.redeemed"' in m.value}
    spent |= {request.seller for request in world.requests}
    once = {m.key.decode() for m in asked if b'"earnings.reinvested"' in m.value}
    left: dict[str, int] = defaultdict(int)
    for key in world.redis.all_keys():
        if b"}:r:" in key:
            record = json.loads(world.redis.command("GET", key))
            # Of the five words of a part the first are what was made of it, and what came back.
            words = record.get("reinvested", [])
            left[record.get("seller", "")] += sum(words[::5]) - sum(words[1::5])
    for seller, currency, lot in fold.own_lots:
        there = fold.lots[seller, currency, lot]["left"]
        if seller not in spent | once and there != left[seller]:
            yield f"{seller} has {there} {currency}, her earnings' records say {left[seller]}"


def _ended(world: World, found: Evidence) -> Iterator[str]:
    """every quote comes to its end"""
    for (seller, id_), quote in found.journal.fold.conversions.quotes.items():
        if quote.step == "quoted":
            yield f"{id_} of {seller} is {quote.sold} {quote.source} for {quote.bought}"


def _quoted(world: World, found: Evidence) -> Iterator[str]:
    """a quote is at a rate that was told and not stale, for what was asked for"""
    events = [json.loads(m.value) for m in world.script.messages if m.topic == "rates"]
    rates = {event["id"]: event for event in events}
    asked = {
        (event["seller_id"], event["quote_id"]): event
        for message in world.script.messages
        if b'"conversion.quoted"' in message.value
        for event in [json.loads(message.value)]
    }
    policy = world.company.policy.fx
    for key, quote in found.journal.fold.conversions.quotes.items():
        rate = rates[quote.rate]
        told = rate["numerator"], rate["denominator"]
        if (quote.numerator, quote.denominator) not in {told, told[::-1]}:
            yield f"{key[1]} of {key[0]} is at {quote.numerator}/{quote.denominator}, not {told}"
        ends = (_ms(rate["expires_at"]), _ms(rate["occurred_at"]) + policy.rate_age_ms)
        if quote.expires - policy.quote_ms >= min(ends):
            yield f"{key[1]} of {key[0]} is at a stale rate"
        event = asked.get(key, {})
        wanted = event.get("source_minor", quote.sold), event.get("target_minor", quote.bought)
        if wanted != (quote.sold, quote.bought):
            yield f"{key[1]} of {key[0]} is {quote.sold} for {quote.bought}, asked for {event}"


def _released(world: World, found: Evidence) -> Iterator[str]:
    """what is pending comes to its end"""
    for (seller, name), lot in found.journal.fold.releases.lots.items():
        yield f"{lot.left} {lot.currency} of {name} of {seller} are pending until {lot.until_ms}"


def _offered(world: World, found: Evidence) -> Iterator[str]:
    """nobody has a discount whose threshold is not reached"""
    volume, profiles = _volumes(world)
    for (seller, campaign, _, _, tier), lots in found.journal.fold.grants.items():
        sold = volume.get(seller, 0) if seller in profiles else 0
        if campaign == "next-more" and lots and sold < (2_600, 12_000)[tier - 1]:
            yield f"{seller} has one of tier {tier} at {sold}"


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


RULES = (
    *(_earned, _granted, _steady, _affordable, _bonuses, _finished, _waiting, _answered),
    *(_owed, _written_off, _resolved, _reinvested, _ended, _quoted, _released, _offered),
)
"""What only a simulation knows: each yields what breaks its docstring."""


def apart(before: Mapping[bytes, Any], after: Mapping[bytes, Any]) -> Iterator[str]:
    """Keys that differ after they were made again from the journal."""
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield f"{key.decode()}: {before.get(key)} became {after.get(key)}"


def every_key(redis: MemoryRedis) -> dict[bytes, Any]:
    """Every key that the journal makes, with its value and when it expires."""
    found: dict[bytes, Any] = {}
    for key in redis.all_keys():
        kind = key.partition(b"}:")[2]
        if kind == b"o" or (kind.startswith(b"x:") and not kind.startswith(b"x:s:")):
            continue
        value = _value(redis, key)
        if kind == b"m":
            value = {name: each for name, each in value.items() if not _of_the_server(name)}
            if not value:
                continue  # nobody ever booked to it
        found[key] = (value, redis.command("PEXPIRETIME", key))
    return found


def _of_the_server(field: bytes) -> bool:
    """Whether a field of a shard is no matter of its sellers.

    A fence may be lower: it rises over repeats and what is ignored, which comes to nothing again.
    """
    return field.startswith(b"f:") or field in {
        *(b"epoch", b"run", b"ended", b"opened", b"journal", b"journaled", b"pending", b"shards"),
    }


def _value(redis: MemoryRedis, key: bytes) -> Any:
    kind = redis.command("TYPE", key)
    if kind == b"hash":
        flat = redis.command("HGETALL", key)
        return dict(zip(flat[::2], flat[1::2], strict=True))
    if kind == b"list":
        return redis.command("LRANGE", key, "0", "-1")
    if kind == b"zset":
        return redis.command("ZRANGEBYSCORE", key, "-inf", "+inf", "WITHSCORES")
    return redis.command("GET", key)


class _Topics:
    """The log, as :class:`streams.wallets.evidence.Topics` reads a broker's."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def read(self, topic: str, **_: Any) -> Iterator[_Message]:
        """Every message of a topic."""
        return (_Message(raw) for raw in self._log.topic(topic))


class _Message:
    """A message as librdkafka hands it out."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        if name == "headers":
            return lambda: list(self._raw.headers or ())
        value = getattr(self._raw, "timestamp_ms" if name == "timestamp" else name)
        return lambda: value


class _Client:
    """MemoryRedis with the methods of a redis-py client and its pipeline that are used."""

    def __init__(self, redis: MemoryRedis) -> None:
        self._redis = redis
        self._replies: list[Any] = []

    def pipeline(self, **_: Any) -> _Client:
        """Another that gathers replies."""
        return _Client(self._redis)

    def execute(self) -> list[Any]:
        """The replies gathered."""
        replies, self._replies = self._replies, []
        return replies

    def scan_iter(self, match: str, count: int) -> list[bytes]:
        """Every key: who asks looks at what it got."""
        return self._redis.all_keys()

    def hgetall(self, key: str | bytes) -> dict[bytes, bytes]:
        """A hash."""
        flat = self._redis.command("HGETALL", key)
        return self._keep(dict(zip(flat[::2], flat[1::2], strict=True)))

    def xrange(self, key: str | bytes, count: int) -> list[Any]:
        """The first entries of a stream."""
        return self._keep(self._redis.command("XRANGE", key, "-", "+", "COUNT", count))

    def __getattr__(self, name: str) -> Any:
        def command(*args: Any) -> Any:
            return self._keep(self._redis.command(name.upper(), *args))

        return command

    def _keep(self, reply: Any) -> Any:
        self._replies.append(reply)
        return reply
