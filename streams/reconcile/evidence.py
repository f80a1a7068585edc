"""What the topics say of payouts: the ledger, the commands, and what providers reported.

Redis is not asked: the journal is the truth, and a statement is often older than what Redis keeps.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from typing import cast

from confluent_kafka import KafkaException
from pydantic_core import from_json

from models.ledger import Entry
from models.payouts import ATTEMPTS_MAX, PAID, PayoutState
from models.timeline import Timeline
from rails.rail import attempt_id_for
from rails.registry import PROVIDERS
from streams.reconcile.match import Booked, Commanded, Sides
from streams.settings import Settings
from streams.topics import TOPICS
from streams.wallets.evidence import EvidenceMissing, Topics, commands_in
from streams.wallets.journal import LEDGER, Journaled, JournalUnreadable, head

_COMMANDS_KEPT_MS = next(t.retention_ms for t in TOPICS if t.name == "payouts.commands")

_PAYOUT = b'"payout":['


def read_sides(settings: Settings) -> Sides:
    """Read the topics. Blocking. Raises EvidenceMissing."""
    now_ms = time.time_ns() // 1_000_000
    topics = Topics(settings.kafka_client())
    try:
        # The commands first: what one of them caused is then in the ledger.
        commanded = read_commands(topics)
        reported = read_references(topics)
        booked = read_ledger(topics)
    except KafkaException as error:
        raise EvidenceMissing(f"cannot read from the broker: {error.args[0].str()}") from error
    references = {**reported, **keys_shown(booked)}
    return Sides(booked, commanded, references, now_ms - _COMMANDS_KEPT_MS)


def keys_shown(booked: Mapping[str, Booked]) -> dict[str, frozenset[str]]:
    """The payouts of providers that are told a key in place of our id, by those of all attempts."""
    keys: dict[str, frozenset[str]] = {}
    for payout_id, each in booked.items():
        told_as = PROVIDERS[each.rail].told_as if each.rail in PROVIDERS else None
        if told_as is not None:
            for attempt in range(ATTEMPTS_MAX):
                keys[told_as(attempt_id_for(payout_id, attempt))] = frozenset({payout_id})
    return keys


def read_ledger(topics: Topics) -> dict[str, Booked]:
    """Every payout as the entries that count have it."""
    payouts: dict[str, Booked] = {}
    timelines: dict[int, Timeline[Journaled]] = defaultdict(Timeline)
    for message in topics.read(LEDGER):
        value, offset = message.value() or b"", cast(int, message.offset())
        try:
            entry = Journaled(offset, *head(value), value)
            for each in timelines[entry.shard].take(entry, offset):
                if _PAYOUT in each.value:
                    _book(payouts, Entry.parse(each.value))
        except (JournalUnreadable, TypeError, ValueError, KeyError) as error:
            where = f"ledger:{message.partition()}:{offset}"
            raise EvidenceMissing(f"{where} cannot be followed: {error}") from error
    return payouts


def _book(payouts: dict[str, Booked], entry: Entry) -> None:
    if entry.payout is None:
        return
    payout_id, word, rail, amount_minor, _ = entry.payout
    state = PayoutState(word)
    booked = payouts.get(payout_id)
    if booked is None:
        # A payout begins with its reservation.
        currency = next(p.currency for p in entry.postings if p.account.endswith("/in_flight"))
        booked = Booked(payout_id, rail, currency, amount_minor, state, entry.at_ms)
        payouts[payout_id] = booked
    booked.rail, booked.state = rail, state
    cleared_minor = sum(p.minor for p in entry.postings if p.account == f"/clearing:{rail}")
    if cleared_minor > 0 and state in PAID:
        booked.out_ms, booked.out_minor = entry.at_ms, cleared_minor
    elif cleared_minor < 0:
        booked.back_ms, booked.back_minor = entry.at_ms, -cleared_minor


def read_commands(topics: Topics) -> dict[str, Commanded]:
    """The command of each payout; of two, which only a lost Redis leaves, the later one."""
    commands: dict[str, Commanded] = {}
    for body in commands_in(topics):
        commands[body["payout_id"]] = Commanded(
            body["rail"], body["currency"], body["amount_minor"], body["reserved_ms"]
        )
    return commands


def read_references(topics: Topics) -> Mapping[str, frozenset[str]]:
    """Which payouts the references stand for that providers reported."""
    references: dict[str, set[str]] = defaultdict(set)
    for message in topics.read("rail.updates"):
        try:
            body = from_json(message.value() or b"")
            reference, payout_id = body["provider_ref"], body["payout_id"]
        except (ValueError, KeyError, TypeError):
            # Others may write to this topic; what is no report is a dead letter.
            continue
        if isinstance(reference, str) and isinstance(payout_id, str):
            references[reference].add(payout_id)
    return {reference: frozenset(payouts) for reference, payouts in references.items()}
