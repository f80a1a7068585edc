"""The tally, entry by entry."""

from typing import Any

from models.ledger import Entry, Posting
from models.quotes import Quote
from streams.demo.tally import Tally


def entry(kind: str, *postings: tuple[str, int, int], **fields: Any) -> Entry:
    made = tuple(Posting(account, "EUR", minor, after) for account, minor, after in postings)
    return Entry(0, 1, kind, "e", "anna", 0, made, **fields)


def lot(before: str, after: str, minor: int) -> tuple[str, str, str, str, int]:
    return ("l", "EUR", before, after, minor)


def tally(*entries: Entry) -> Tally:
    made = Tally()
    for one in entries:
        made.take(one)
    return made


def test_credit_is_where_its_lots_went() -> None:
    found = tally(
        entry("sale.completed", lots=(lot("granted", "left", 100), lot("reinvested", "left", 50))),
        entry("earnings.reinvested", lots=(lot("reinvested", "left", 30),)),
        entry("purchase.authorised", lots=(lot("left", "authorised", 90),)),
        entry("purchase.captured", lots=(lot("authorised", "spent", 60),)),
        entry("purchase.expired", lots=(lot("authorised", "left", 30),)),
        entry("purchase.refunded", lots=(lot("spent", "left", 20),)),
        entry("sale.returned", lots=(lot("spent", "forgiven", 10), lot("left", "reversed", 5))),
        entry("lot.expired", lots=(lot("left", "expired", 7),)),
    )
    credit = {word: minor for (word, _), minor in found.credit.items()}
    assert credit == {
        "granted": 100, "reinvested": 80, "spent": 40, "undone": 5, "expired": 7, "left": 128,
    }  # fmt: skip
    assert found.counts == {
        "reinvested.standing": 1, "reinvested.once": 1, "purchase.authorised": 1,
        "purchase.captured": 1, "purchase.expired": 1, "purchase.refunded": 1,
    }  # fmt: skip


def test_debt_is_taken_worked_off_repaid_or_written_off() -> None:
    worked = ((10_000, 40, 0, 40, 100, 40),)
    found = tally(
        entry("sale.returned", ("anna/debt", -100, -100)),
        entry("sale.completed", ("anna/debt", 40, -60), worked=worked),
        entry("payout.returned", ("anna/debt", 20, -40)),
        entry("debt.written_off", ("anna/debt", 30, -10), written_off=("Eva", "gone")),
        entry("sale.returned", ("bert/debt", -5, -5)),
        entry("sale.completed", ("bert/debt", 5, 0), worked=worked),
    )
    assert {word: minor for (word, _), minor in found.debt.items()} == {
        "taken": 105, "worked": 45, "repaid": 20, "written": 30, "owed": 10,
    }  # fmt: skip
    assert (len(found.debtors), found.owing()) == (2, 1)
    assert found.json()["debtors"] == {"ever": 2, "still": 1}


def test_conversions_are_told_by_pair() -> None:
    quote = Quote("q", "quoted", "BRL", "USD", 1_000, 170, 1, 0, "r", 17, 100, 100, 0)
    found = tally(
        entry("conversion.quoted", quote=quote),
        entry("conversion.made", quote=quote._replace(step="converted")),
        entry("conversion.expired", quote=quote._replace(id="p", step="expired")),
    )
    assert found.counts == {"quote.quoted": 1, "quote.converted": 1, "quote.expired": 1}
    assert found.json()["converted"] == [
        {"source": "BRL", "target": "USD", "made": 1, "sold_minor": 1_000, "bought_minor": 170}
    ]


def test_what_was_refused_counts_for_nothing() -> None:
    found = tally(entry("purchase.captured", refused="insufficient_funds"))
    assert found == Tally()
