"""Movements: what one journal entry did to a seller's accounts, and why, in words for people.

``WORDS`` has every kind of entry that the Redis functions can write, and is the one place where
they become words.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple

from models.ledger import MARKER, Entry, Posting
from models.money import text
from models.payouts import PayoutState
from models.reinvestment import BONUS_LOT, OWN_LOT
from models.verdicts import Verdict

WORDS: Mapping[str, str] = MappingProxyType(
    {
        "sale.completed": "Share of a sale{volume}",
        "sale.returned": "Share taken back for a return{volume}",
        "commission.earned": "Commission on a sale{volume} in the team",
        "commission.reversed": "Commission taken back for a return{volume} in the team",
        "earning.released": "Earnings released: the profile came",
        "pending.released": "Earnings released: their time came",
        "earning.cleared": "Earnings released: their sale is genuine",
        "earning.forfeited": "Earnings forfeited{verdict}",
        "fraud.labelled": "What is known of a sale noted{verdict}",
        "commission.labelled": "What is known of a sale in the team noted{verdict}",
        "fraud.taught": "What is known of a card or a device noted",
        "earning.lapsed": "Earnings stay held: no profile came",
        "return.released": "Return counted: the profile came",
        "return.lapsed": "Return given up: its sale never came",
        "payout.swept": "Payout of what has gathered",
        "payout.requested": "Payout asked for{exchange}",
        "payout.held": "Payout held back",
        "payout.reserved": "Payout{rail} reserved",
        "payout.submitted": "Payout handed over{rail}",
        "payout.unknown": "Payout{rail} not answered yet",
        "payout.accepted": "Payout taken{rail}",
        "payout.unclaimed": "Payout{rail} waits to be claimed",
        "payout.settled": "Payout{amount}{rail} left",
        "payout.delivered": "Payout{amount}{rail} delivered",
        "payout.returned": "Payout{amount}{rail} came back",
        "payout.cancelled": "Payout{amount}{rail} cancelled",
        "payout.failed": "Payout{amount}{rail} failed",
        "payout.rerouted": "Payout tried again{rail}",
        "payout.asked": "Payout{rail} asked about",
        "payout.hinted": "Payout{rail} reported to come back",
        "payout.resolved": "Payout's end told again",
        "budget.sliced": "Part of a campaign's budget handed out",
        "budget.topped_up": "Part of a campaign's budget received",
        "budget.returned": "Unused part of a campaign's budget given back",
        "budget.reclaimed": "Unused part of a campaign's budget received back",
        "threshold.settled": "Campaign's goal reached",
        "reinvestment.rewarded": "Campaign's bonus on what was reinvested",
        "debt.written_off": "Debt written off",
        "credit.redeemed": "Store credit spent",
        "credit.expired": "Store credit expired",
        "discount.expired": "Discount expired",
        "purchase.authorised": "Purchase authorised at the till",
        "purchase.captured": "Purchase paid",
        "purchase.voided": "Purchase called off",
        "purchase.expired": "Purchase not paid in time",
        "purchase.refunded": "Purchase paid back",
        "earnings.reinvested": "Earnings turned into store credit",
        "conversion.quoted": "Set aside to be exchanged{exchange}",
        "conversion.made": "Exchanged{exchange}",
        "conversion.expired": "Not exchanged in time",
        "rate.quoted": "Rate noted",
        "rate.quoted.outdated": "Older rate passed over",
        "seller.updated": "Profile changed",
        "seller.updated.outdated": "Older profile passed over",
        "event.refused": "Event refused",
        "request.refused": "Request refused",
        "timer.dropped": "Timer without its cause dropped",
        MARKER: "New epoch of the journal",
    }
)
"""A kind of entry in words. ``{volume}`` becomes the amount of the sale or return, ``{amount}``
what the payout brings to the seller, ``{rail}`` its rail, ``{exchange}`` what is sold for what,
``{verdict}`` what is known of the sale. Who says so stands in the entry alone.
What an entry has not is left out."""

ALSO: Mapping[str, str] = MappingProxyType(
    {
        "reserved": "payout{amount}{rail} reserved",
        "reinvested": "{reinvested} reinvested",
        "bonus": "bonus of {reinvested} on it",
        "held": "{pending} released from {until} on ({reason})",
        "partial": "{pending} of it under review",
        "unbonus": "bonus of {reinvested} on what was reinvested taken back",
        "granted": "{reward} granted ({campaigns})",
        "unfired": "{reward} taken back ({campaigns})",
        "recovered": "spent store credit owed",
        "resolved": "as the company was told by the provider",
        "fee": "fee {fee}",
    }
)
"""What an entry did beside its kind."""

_VERDICTS: Mapping[str, str] = MappingProxyType(
    {
        Verdict.CHARGEBACK: ": the customer's bank took the money back",
        Verdict.CONFIRMED: ": their sale is a fraud",
        Verdict.CLEARED: ": it is genuine",
    }
)
"""What is known of a sale, in words."""

_REWARDS: Mapping[str, str] = MappingProxyType({"/credit": "store credit", "/bonuses": "bonus"})
"""What campaigns reward with, by the account that it moves on."""


class Movement(NamedTuple):
    """An entry that moved something on a seller's accounts.

    ``postings`` have the seller's accounts by their own names, without hers. ``at_ms``: see
    :class:`streams.statements.ledger.ShardReading`.
    """

    shard: int
    seq: int
    at_ms: int
    kind: str
    words: str
    reference: str
    """The event, or what the product did by itself: the entry's id."""
    payout_id: str | None
    rail: str | None
    postings: tuple[Posting, ...]


def own_postings(entry: Entry) -> tuple[Posting, ...]:
    """An entry's postings on its seller's accounts, these by their own names."""
    if not entry.seller:
        return ()
    owner = entry.seller + "/"
    return tuple(
        posting._replace(account=posting.account.removeprefix(owner))
        for posting in entry.postings
        if posting.account.startswith(owner)
    )


def movement_of(entry: Entry, at_ms: int) -> Movement | None:
    """What an entry did to its seller's accounts; None if nothing."""
    postings = own_postings(entry)
    if not postings:
        return None
    payout_id, _, rail, *_ = entry.payout or (None, None, None)
    return Movement(
        shard=entry.shard,
        seq=entry.seq,
        at_ms=at_ms,
        kind=entry.kind,
        words=words_of(entry),
        reference=entry.id,
        payout_id=payout_id,
        rail=rail,
        postings=postings,
    )


def words_of(entry: Entry) -> str:
    """Why an entry moved what it did. A kind without words, of a later version, is its own."""
    told = [WORDS.get(entry.kind, entry.kind)]
    if entry.payout and entry.payout[1] == PayoutState.RESERVED and _posted(entry, "/in_flight"):
        told.append(ALSO["reserved"])
    told += _reinvested(entry)
    told += _held(entry)
    if entry.partial is not None and entry.volume is not None:
        held = text(entry.partial[2], entry.volume[0])
        told.append(ALSO["partial"].replace("{pending}", held))
    told += [ALSO[action] for action in ("granted", "unfired") if _campaigns(entry, action)]
    if any(place == "recovered" for _, _, _, place, _ in entry.lots):
        told.append(ALSO["recovered"])
    if entry.resolved is not None:
        told.append(ALSO["resolved"])
    told += [
        ALSO["fee"].replace("{fee}", text(posting.minor, posting.currency))
        for posting in entry.postings
        if posting.account == "/fees"
    ]
    return "; ".join(_filled(each, entry) for each in told)


def _filled(words: str, entry: Entry) -> str:
    volume = f" of {text(entry.volume[1], entry.volume[0])}" if entry.volume else ""
    rail = f" over {entry.payout[2]}" if entry.payout else ""
    amount = ""
    if entry.payout and entry.postings:
        amount = f" of {text(entry.payout[3], _currency(entry))}"
    action = next((a for a in ("granted", "unfired") if words == ALSO[a]), "")
    campaigns = ", ".join(_campaigns(entry, action))
    reward = " and ".join(words for name, words in _REWARDS.items() if _rewarded(entry, name))
    filled = words.replace("{volume}", volume).replace("{amount}", amount).replace("{rail}", rail)
    filled = filled.replace("{exchange}", _exchange(entry))
    filled = filled.replace("{verdict}", _VERDICTS[entry.label.verdict] if entry.label else "")
    return filled.replace("{campaigns}", campaigns).replace("{reward}", reward)


def _exchange(entry: Entry) -> str:
    quote = entry.quote
    if quote is None:
        return ""
    sold, bought = text(quote.sold, quote.source), text(quote.bought, quote.target)
    return f": {sold} for {bought}"


def _reinvested(entry: Entry) -> list[str]:
    """What an entry reinvested, and of the bonus on it granted or took back."""
    told = []
    for lot, currency, before, after, minor in entry.lots:
        bonus = lot.startswith(BONUS_LOT)
        word = "reinvested" if before == "reinvested" else ""
        word = "bonus" if bonus and before == "granted" else word
        word = "unbonus" if bonus and after == "reversed" else word
        if word:
            told.append(ALSO[word].replace("{reinvested}", text(minor, currency)))
    return told


def _held(entry: Entry) -> list[str]:
    """What an entry held back for later: how much, until which day (UTC), and why."""
    if entry.pending is None or entry.pending[2] != "held":
        return []
    _, currency, _, minor, _, until_ms, reason = entry.pending
    day = datetime.fromtimestamp(until_ms / 1000, UTC).date().isoformat()
    words = ALSO["held"].replace("{pending}", text(minor, currency)).replace("{until}", day)
    return [words.replace("{reason}", reason.replace("_", " "))]


def _rewarded(entry: Entry, account: str) -> bool:
    """Whether an entry moved a campaign's reward on an account: not what was reinvested."""
    if account == "/credit" and entry.lots:
        return not all(lot.startswith((OWN_LOT, BONUS_LOT)) for lot, *_ in entry.lots)
    return _posted(entry, account)


def _currency(entry: Entry) -> str:
    """The currency of an entry's payout: that of what is, or was, in flight."""
    moved = (p for p in entry.postings if p.account.endswith("/in_flight"))
    return next(moved, entry.postings[0]).currency


def _posted(entry: Entry, account: str) -> bool:
    return any(posting.account.endswith(account) for posting in entry.postings)


def _campaigns(entry: Entry, action: str) -> list[str]:
    """The campaigns whose reward an entry granted or took back, if it moved any."""
    if not any(_rewarded(entry, account) for account in _REWARDS):
        return []
    return sorted({campaign for word, _, campaign, *_ in entry.credits if word == action})
