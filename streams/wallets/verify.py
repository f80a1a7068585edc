"""Verify: proof that wallets, journal, topics and the rails' books agree.

Each rule looks at the evidence and names what breaks it. A rule knows nothing of the others, and
none trusts a figure that the booking function computed: all is derived from the journal again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from models.debts import by_age, day_of
from models.ledger import DEBT, LINES, REINVESTED, SETTLED, WRITE_OFF, Fold
from models.payouts import IN_FLIGHT, PAID, PayoutState
from models.releases import PENDING
from models.resolutions import RESOLVED
from models.reviews import HELD, LABEL
from models.shards import shard_of
from models.suspects import EXPLORED, PARTIAL, REJECTED
from streams.settings import Settings
from streams.topics import TOPICS
from streams.wallets import aside
from streams.wallets.evidence import Commanded, Evidence, EvidenceMissing, gather
from streams.wallets.railbooks import Execution

__all__ = ["RULES", "Check", "EvidenceMissing", "Rule", "Verdict", "judge", "verify"]

GRACE_MS = 60_000
"""How long something may be on its way in a system that runs."""

EXAMPLES_MAX = 3
"""Problems that a check's detail names; the rest is counted."""

PROBLEMS_MAX = 100_000
"""Problems of one rule that are counted."""

_RETENTION_MS = {topic.name: topic.retention_ms for topic in TOPICS}


class Check(NamedTuple):
    """One rule's result. ``detail``: what was looked at, or what is wrong."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """All rules' results, and the fold of the journal that they were judged by."""

    ok: bool
    checks: tuple[Check, ...]
    fold: Fold


class Rule(NamedTuple):
    """A rule: its name, what breaks it, and what it looks at if nothing does."""

    name: str
    problems: Callable[[Evidence], Iterable[str]]
    looks_at: Callable[[Evidence], str]


def verify(settings: Settings, *, whole: bool = False) -> Verdict:
    """Check everything. Blocking.

    On a running system what is on its way is left out; ``whole`` is for one that has come to
    rest: then nothing may be on its way any more, and every message there must have its effect.
    Raises :class:`EvidenceMissing` if broker, Redis or a topic cannot be read.
    """
    return judge(gather(settings, whole=whole))


def judge(evidence: Evidence) -> Verdict:
    """Apply the rules."""
    checks = tuple(_checked(rule, evidence) for rule in RULES)
    return Verdict(all(check.ok for check in checks), checks, evidence.journal.fold)


def _checked(rule: Rule, evidence: Evidence) -> Check:
    problems = list(islice(rule.problems(evidence), PROBLEMS_MAX))
    if not problems:
        return Check(rule.name, True, rule.looks_at(evidence))
    text = "; ".join(problems[:EXAMPLES_MAX])
    rest = len(problems) - EXAMPLES_MAX
    return Check(rule.name, False, f"{text}; and {rest} more" if rest > 0 else text)


def _violations(*invariants: str) -> Callable[[Evidence], Iterator[str]]:
    return lambda evidence: evidence.violations(*invariants)


def unbalanced(evidence: Evidence) -> Iterator[str]:
    """Entries, and currencies over all accounts, that do not sum to zero."""
    yield from evidence.violations("postings sum to zero")
    totals: dict[str, int] = defaultdict(int)
    for (_, currency), minor in evidence.journal.fold.balances.items():
        totals[currency] += minor
    for currency, total in totals.items():
        if total:
            yield f"all accounts together are at {total} {currency}"


def broken_sequence(evidence: Evidence) -> Iterator[str]:
    """Gaps in the journal, entries in two versions, and shards that are not where it is."""
    yield from evidence.journal.twice
    fold, last = evidence.journal.fold, evidence.journal.last
    for shard, seq in evidence.journal.gaps:
        yield f"shard {shard}: entry {seq} is missing"
    for shard, state in evidence.shards.items():
        folded = fold.seqs.get(shard, 0)
        if folded < state.seq:
            yield f"shard {shard}: Redis is at {state.seq}, the journal goes to {folded}"
        if last.get(shard, 0) > evidence.seqs_after[shard]:
            yield (
                f"shard {shard}: the journal has entry {last[shard]}, Redis is at "
                f"{evidence.seqs_after[shard]}"
            )
        if evidence.whole and evidence.seqs_after[shard] != state.seq:
            yield f"shard {shard} is still being booked to"


def wallets_apart(evidence: Evidence) -> Iterator[str]:
    """Accounts, of sellers and of the house, on which Redis and the journal differ."""
    fold = evidence.journal.fold
    found: dict[tuple[str, str], int] = defaultdict(int)
    moving = set()
    for shard, state in evidence.shards.items():
        if not state.steady:
            moving.add(shard)
        for key, minor in state.balances.items():
            found[key] += minor
    if moving:
        # The house's accounts are sums over shards, so one that moves spoils them all.
        if evidence.whole:
            yield f"{len(moving)} shards changed while they were read"
        return
    for key in found.keys() | fold.balances.keys():
        redis, journal = found.get(key, 0), fold.balances.get(key, 0)
        if redis != journal:
            account, currency = key
            yield f"{account}: Redis {redis} {currency}, journal {journal} {currency}"


def lots_apart(evidence: Evidence) -> Iterator[str]:
    """Sellers whose lots do not sum to their credit."""
    for _, state in evidence.steady():
        credit = {
            (account.rpartition("/")[0], currency): minor
            for (account, currency), minor in state.balances.items()
            if account.endswith("/credit")
        }
        lots: Counter[tuple[str, str]] = Counter()
        for (seller, currency, _), minor in state.lots.items():
            lots[seller, currency] += minor
        for key in credit.keys() | lots.keys():
            if credit.get(key, 0) != lots[key]:
                seller, currency = key
                yield (
                    f"{seller}: lots of {lots[key]} {currency}, credit of "
                    f"{credit.get(key, 0)} {currency}"
                )


def lots_otherwise(evidence: Evidence) -> Iterator[str]:
    """Lots of which Redis and the journal have another amount left, and ones that do not add up."""
    yield from evidence.violations("lots add up")
    fold = evidence.journal.fold
    found = {key: left for _, state in evidence.steady() for key, left in state.lots.items()}
    steady = {shard for shard, _ in evidence.steady()}
    left = {key: places["left"] for key, places in fold.lots.items()}
    for key in found.keys() | left.keys():
        if found.get(key, 0) != left.get(key, 0) and shard_of(key[0]) in steady:
            yield (
                f"lot {key[2]} of {key[0]}: {found.get(key, 0)} left in Redis, "
                f"{left.get(key, 0)} in the journal"
            )


def reinvested_apart(evidence: Evidence) -> Iterator[str]:
    """Reinvested earnings that are the house's, or that expire, or other credit than they were.

    What became credit, and no return took, is left in Redis, authorised or spent.
    """
    yield from evidence.violations(REINVESTED)
    fold = evidence.journal.fold
    steady = dict(evidence.steady())
    found: Counter[tuple[str, str]] = Counter()
    for key in fold.own_lots:
        state, places = steady.get(shard_of(key[0])), fold.lots[key]
        left = places["left"] if state is None else state.lots.get(key, 0)
        found[key[:2]] += left + places["authorised"] + places["spent"]
    for of in found.keys() | fold.reinvested.keys():
        if found[of] != fold.reinvested.get(of, 0):
            yield (
                f"{of[0]}: {fold.reinvested.get(of, 0)} {of[1]} of earnings are reinvested, "
                f"credit of it {found[of]} {of[1]}"
            )


def settled_otherwise(evidence: Evidence) -> Iterator[str]:
    """Undone grants of which something stands as spent, or of which Redis has it otherwise."""
    yield from evidence.violations(SETTLED)
    names = ("recovered", "forgiven")
    for shard, state in evidence.steady():
        known = {
            (seller, lot): (places["recovered"], places["forgiven"])
            for (seller, _, lot), places in evidence.journal.fold.lots.items()
            if shard_of(seller) == shard and any(places[name] for name in names)
        }
        for key in state.settled.keys() | known.keys():
            if state.settled.get(key) != known.get(key):
                yield (
                    f"lot {key[1]} of {key[0]}: {state.settled.get(key)} recovered and forgiven in "
                    f"Redis, {known.get(key)} in the journal"
                )


def earnings_apart(evidence: Evidence) -> Iterator[str]:
    """Sellers whose accounts, payouts, purchases and conversions are not what they earned."""
    fold = evidence.journal.fold
    has: dict[tuple[str, str], int] = defaultdict(int)
    for _, state in evidence.shards.items():
        if not state.steady:
            return
        for (account, currency), minor in state.balances.items():
            seller, _, name = account.rpartition("/")
            if seller and name not in {"credit", "authorised"}:
                has[seller, currency] += minor
    for key, minor in fold.paid_out.items():
        has[key] += minor
    for key, minor in fold.purchased.items():
        has[key] += minor
    for key, minor in fold.reinvested.items():
        has[key] += minor
    for key, minor in fold.conversions.given.items():
        has[key] += minor
    for key, minor in fold.bonuses.items():
        has[key] -= minor
    for key, minor in fold.written_off.items():
        has[key] -= minor
    for key in has.keys() | fold.earned.keys():
        if has.get(key, 0) != fold.earned.get(key, 0):
            seller, currency = key
            yield (
                f"{seller}: has and was paid {has.get(key, 0)} {currency}, earned "
                f"{fold.earned.get(key, 0)} {currency}"
            )


def debts_apart(evidence: Evidence) -> Iterator[str]:
    """Debts that are older or younger in Redis than in the journal, or not what is owed."""
    fold, today = evidence.journal.fold, day_of(evidence.now_ms)
    for shard, state in evidence.steady():
        owed = {key: -state.balances.get((f"{key[0]}/debt", key[1]), 0) for key in state.owed}
        for (account, currency), minor in state.balances.items():
            seller, _, name = account.rpartition("/")
            if seller and name == "debt" and minor:
                owed[seller, currency] = -minor
        known = {key for key in fold.owed if shard_of(key[0]) == shard}
        for key in owed.keys() | known:
            there = by_age(state.owed.get(key, ()), today)
            journal = by_age(fold.owed.get(key, ()), today)
            if there != journal or sum(there.values()) != owed.get(key, 0):
                told = f"{_ages(there)} in Redis, {_ages(journal)} in the journal"
                yield f"{key[0]} owes {owed.get(key, 0)} {key[1]}: {told}"


def _ages(ages: Mapping[str, int]) -> str:
    return ", ".join(f"{minor} of {age} days" for age, minor in ages.items() if minor) or "nothing"


def budgets_overspent(evidence: Evidence) -> Iterator[str]:
    """Campaigns that cost more than their budget."""
    yield from evidence.violations("no budget is overspent")
    # Shards are read one after another, so that only at rest all of them stand at one moment.
    yield from evidence.journal.fold.budgets.overspent(at_rest=evidence.whole)


def events_astray(evidence: Evidence) -> Iterator[str]:
    """Messages without an effect or with more than one."""
    yield from evidence.violations("every event has one effect")
    yield from evidence.doubled
    for text in evidence.unaccounted:
        yield f"{text} had no effect and is no dead letter"


def commissions_lost(evidence: Evidence) -> Iterator[str]:
    """Commissions sent up the tree that nobody was credited with."""
    journal = evidence.journal
    refused = {letter.id for letters in evidence.letters.values() for letter in letters}
    for emitted in journal.fold.pending - refused:
        young = evidence.now_ms - journal.emitted.get(emitted, 0) < GRACE_MS
        sent = emitted in evidence.commissions
        # One that is in the topic, and not booked, is the business of the rule above.
        if evidence.whole or not (sent or young):
            yield f"{emitted} was {'not booked' if sent else 'never sent'}"


def decisions_apart(evidence: Evidence) -> Iterator[str]:
    """Sales whose tier in the journal was not decided by any decision that was published.

    A decision may stand beside the one that counts: of a booking that Redis lost, and that was
    made again.
    """
    oldest = evidence.now_ms - _RETENTION_MS["decisions"]
    for event, (tier, source, at_ms) in evidence.journal.tiers.items():
        if at_ms < oldest or not _acknowledged(evidence, source):
            continue
        decided = {each.split()[0] for each in evidence.decisions.get(event, ())}
        if tier not in decided:
            told = " and ".join(sorted(decided)) or "not published"
            yield f"{event} was booked as {tier}, the decision is {told}"


def _acknowledged(evidence: Evidence, source: tuple[str, int, int]) -> bool:
    topic, partition, offset = source
    return evidence.whole or offset < evidence.committed.get((topic, partition), 0)


def outboxes_stuck(evidence: Evidence) -> Iterator[str]:
    """Shards whose messages have not been published for a minute."""
    for shard, state in evidence.shards.items():
        if state.outbox_first is None:
            continue
        at_ms = evidence.journal.times.get((shard, state.outbox_first))
        if at_ms is None:
            yield f"shard {shard}: entry {state.outbox_first} is not in the journal"
        elif evidence.now_ms - at_ms > GRACE_MS:
            age_s = (evidence.now_ms - at_ms) // 1000
            yield f"shard {shard}: {state.outbox} entries, the first {age_s} s old"


def commands_apart(evidence: Evidence) -> Iterator[str]:
    """Reservations without their command, and payouts that a rail got without a reservation.

    A command without a reservation is no order: one may stand there of a booking that Redis lost.
    """
    reservations = evidence.journal.reservations
    oldest = evidence.now_ms - _RETENTION_MS["payouts.commands"]
    for payout, commands in evidence.commands.items():
        reserved = reservations.get(payout)
        if reserved is not None and Commanded(*reserved[:5]) not in commands:
            yield f"{payout} was commanded otherwise than reserved"
    for payout, reserved in reservations.items():
        young = not evidence.whole and evidence.now_ms - reserved.at_ms < GRACE_MS
        if payout not in evidence.commands and not young and reserved.at_ms > oldest:
            yield f"{payout} was reserved and never commanded"
    for payout in evidence.journal.changed.keys() - reservations.keys():
        yield f"{payout} was handed to a rail and never reserved"


def payouts_apart(evidence: Evidence) -> Iterator[str]:
    """Payouts that stand otherwise in Redis than in the journal."""
    journalled = evidence.journal.fold.payouts
    for _, state in evidence.steady():
        for payout, found in state.payouts.items():
            known = journalled.get(payout)
            if known is None or known[0] != found:
                yield f"{payout} is {found} in Redis, {known[0] if known else 'not'} in the journal"


def payouts_forgotten(evidence: Evidence) -> Iterator[str]:
    """Payouts under way that nobody is going to ask their rail about."""
    for _, state in evidence.steady():
        for payout, found in state.payouts.items():
            if found in IN_FLIGHT and payout not in state.asked:
                yield f"{payout} is {found}, and there is no time to ask about it"


def books_apart(evidence: Evidence) -> Iterator[str]:
    """Payouts on which ledger and rail differ: paid twice, paid and unknown, settled and not."""
    yield from evidence.compared.failed
    for payout, row in evidence.books.items():
        yield from _row_apart(evidence, payout, row)
    for payout, (state, rail, *_) in evidence.journal.fold.payouts.items():
        if PayoutState(state) not in PAID or payout in evidence.books:
            continue
        if rail not in evidence.compared.read:
            continue
        if not _fresh(evidence, payout):
            yield f"{payout} is {state}, the rail does not know it"


def _fresh(evidence: Evidence, payout: str) -> bool:
    """Whether a payout changed so lately that the rail's books were read before."""
    changed_ms = evidence.journal.changed.get(payout, 0)
    return not evidence.whole and evidence.now_ms - changed_ms < GRACE_MS


def _row_apart(evidence: Evidence, payout: str, row: Execution) -> Iterator[str]:
    if row.paid_times > 1:
        yield f"{payout} was paid {row.paid_times} times"
    known = evidence.journal.fold.payouts.get(payout)
    reserved = evidence.journal.reservations.get(payout)
    if known is None or reserved is None:
        if row.paid_minor:
            yield f"{payout} was paid at the rail, the ledger does not know it"
        return
    if (row.currency, row.amount_minor) != (reserved.currency, reserved.amount_minor):
        yield (
            f"{payout}: {row.amount_minor} {row.currency} at the rail, "
            f"{reserved.amount_minor} {reserved.currency} in the ledger"
        )
    state, rail = PayoutState(known[0]), known[1]
    on_its_way = not evidence.whole
    if row.paid_minor and state not in PAID and not (on_its_way and state in IN_FLIGHT):
        yield f"{payout} was paid at the rail, the ledger has it {state}"
    if row.paid_minor and state in PAID and row.rail != rail:
        yield f"{payout} was paid over {row.rail}, the ledger has it over {rail}"
    # A row may be of an earlier attempt, when the last one's rail shows no books.
    unpaid = not row.paid_minor and rail in evidence.compared.read
    returning = on_its_way and row.paid_times > 0
    if unpaid and state in PAID and not (returning or _fresh(evidence, payout)):
        yield f"{payout} is {state}, the rail has not paid it"


def _entries(evidence: Evidence) -> str:
    return f"{evidence.journal.fold.entries:,} entries"


def _accounts(evidence: Evidence) -> str:
    moving = len(evidence.shards) - sum(1 for _ in evidence.steady())
    if moving:
        return f"not compared: {moving} shards changed while they were read"
    return f"{sum(len(state.balances) for state in evidence.shards.values()):,} accounts"


def _messages(evidence: Evidence) -> str:
    later = f", {evidence.behind:,} not taken yet" if evidence.behind else ""
    return (
        f"{evidence.inbound:,} messages, {len(evidence.letters):,} of them dead letters or "
        f"lapsed{later}"
    )


def _payouts(evidence: Evidence) -> str:
    return f"{sum(len(state.payouts) for state in evidence.shards.values()):,} payouts"


def _lots(evidence: Evidence) -> str:
    return f"{len(evidence.journal.fold.lots):,} lots"


def _settled(evidence: Evidence) -> str:
    settled = evidence.journal.fold.settled
    told = ", ".join(f"{minor:,} {currency} {how}" for (how, currency), minor in settled.items())
    return told or "nothing was spent of one"


def _debts(evidence: Evidence) -> str:
    return f"{len(evidence.journal.fold.owed):,} debts"


def _written_off(evidence: Evidence) -> str:
    return f"{evidence.journal.fold.kinds['debt.written_off']:,} entries"


def _reinvested(evidence: Evidence) -> str:
    return f"{len(evidence.journal.fold.own_lots):,} lots"


def _books(evidence: Evidence) -> str:
    parts = []
    if evidence.compared.read:
        parts.append(f"{len(evidence.books):,} payouts at {', '.join(evidence.compared.read)}")
    if evidence.compared.absent:
        told = ", ".join(f"{rail} ({why})" for rail, why in evidence.compared.absent.items())
        parts.append(f"not compared: {told}")
    return "; ".join(parts)


RULES: tuple[Rule, ...] = (
    Rule("postings sum to zero", unbalanced, _entries),
    Rule(
        "balances follow from the entries before them",
        _violations("balances follow from the entries before"),
        _entries,
    ),
    Rule("the journal has no gaps and ends where Redis does", broken_sequence, _entries),
    Rule("wallets equal the journal", wallets_apart, _accounts),
    Rule("no account is beyond zero", _violations("no account beyond zero"), _accounts),
    Rule("lots sum to the credit", lots_apart, _accounts),
    Rule("lots are as the journal has them", lots_otherwise, _lots),
    Rule("what is reinvested stays the seller's, as credit", reinvested_apart, _reinvested),
    Rule(LINES, _violations(LINES), lambda evidence: f"{len(evidence.journal.fold.sold):,} lines"),
    Rule(SETTLED, settled_otherwise, _settled),
    Rule("purchases are as the journal has them", aside.purchases_apart, aside.count_purchases),
    Rule("every authorisation ends", aside.purchases_forgotten, aside.count_purchases),
    Rule("quotes are used once, as the journal has them", aside.quotes_apart, aside.count_quotes),
    Rule("every quote ends", aside.quotes_forgotten, aside.count_quotes),
    Rule("discounts are as the journal has them", aside.discounts_apart, aside.count_discounts),
    Rule("what sellers have and were paid is what they earned", earnings_apart, _accounts),
    Rule(DEBT, _violations(DEBT), _debts),
    Rule(WRITE_OFF, _violations(WRITE_OFF), _written_off),
    Rule("debt is as old as the journal has it", debts_apart, _debts),
    Rule(PENDING, aside.pending_apart, aside.count_pending),
    Rule("every pending earning is released", aside.pending_forgotten, aside.count_pending),
    Rule(HELD, aside.held_apart, aside.count_held),
    Rule(
        LABEL,
        _violations(LABEL),
        lambda evidence: f"{evidence.journal.fold.reviews.verdicts.total():,} labels",
    ),
    Rule(
        PARTIAL,
        _violations(PARTIAL),
        lambda evidence: f"{evidence.journal.fold.suspects.partial:,} partial earnings",
    ),
    Rule(
        EXPLORED,
        _violations(EXPLORED),
        lambda evidence: f"{evidence.journal.fold.suspects.explored:,} sales let through",
    ),
    Rule(
        REJECTED,
        _violations(REJECTED),
        lambda evidence: f"{evidence.journal.fold.suspects.rejected:,} rejected sales",
    ),
    Rule("every message has one effect or one dead letter", events_astray, _messages),
    Rule(
        "every commission sent up the tree was booked",
        commissions_lost,
        lambda evidence: f"{len(evidence.journal.emitted):,} commissions",
    ),
    Rule(
        "each sale's tier is its published decision",
        decisions_apart,
        lambda evidence: f"{len(evidence.journal.tiers):,} sales",
    ),
    Rule(
        "a threshold's grant is active at most once",
        _violations("a threshold fires once", "only a grant is undone"),
        lambda evidence: f"{evidence.journal.fold.credits['granted']:,} grants",
    ),
    Rule(
        "no budget is overspent",
        budgets_overspent,
        lambda evidence: f"{len(evidence.journal.fold.budgets.whole):,} budgets",
    ),
    Rule(
        "outboxes are empty or fresh",
        outboxes_stuck,
        lambda evidence: f"{sum(s.outbox for s in evidence.shards.values()):,} entries",
    ),
    Rule(
        "every payout was reserved, commanded, and then handed over",
        commands_apart,
        lambda evidence: f"{len(evidence.journal.reservations):,} payouts",
    ),
    Rule(
        "payouts in Redis are as the journal has them",
        payouts_apart,
        _payouts,
    ),
    Rule(
        "every payout under way is asked about",
        payouts_forgotten,
        _payouts,
    ),
    Rule(
        RESOLVED,
        _violations(RESOLVED),
        lambda evidence: f"{len(evidence.journal.fold.resolutions.resolved):,} resolved",
    ),
    Rule("payouts agree with the rail's books", books_apart, _books),
)
"""The rules, in the order in which they are told."""
