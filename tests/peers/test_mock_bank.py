"""The bank link talks to a bank that somebody else wrote: mock-bank, over two directories.

It speaks as a bank does to its customers: pain.001 in; pain.002, camt.054 and pacs.004 out.
"""

import asyncio
import json
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from mockbank.server import Config, make_server

from models.payouts import FailureCategory, PayoutState
from rails.iso20022.exchange import Exchange
from rails.iso20022.feed import ReportFeed
from rails.iso20022.messages import Debtor
from rails.iso20022.rail import Iso20022Rail
from rails.rail import Instruction, Outcome
from tests.rails.iso20022.test_feed import Broker

F = FailureCategory
S = PayoutState

NOW = datetime(2026, 11, 23, 16, 0, tzinfo=UTC)
"""A Monday, at the bank and here; past its cut-off, so that payments settle the next day."""

RICH, POOR = "NL41MOCK0000000001", "NL14MOCK0000000002"
ELSEWHERE, CLOSED, UNRESOLVED = (
    "NL30MOCK0000000005",
    "NL84MOCK0000000003",
    "NL57MOCK0000000004",
)


class Bank:
    """The other's bank, with what its operator can do."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("outbox", "inbox"):
            (root / name).mkdir()
        self.server = make_server(
            Config(
                port=0,
                quiet=True,
                clock=NOW.strftime("%Y-%m-%dT%H:%M"),
                drop_dir=str(root / "outbox"),
                pickup_dir=str(root / "inbox"),
                drop_settle_ms=0,
                drop_interval_ms=20,
            )
        )
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def call(self, method: str, path: str, body: object = None) -> Any:
        url = f"http://127.0.0.1:{self.server.server_address[1]}{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def behave(self, account: str, behaviour: str, **parameters: object) -> None:
        self.call(
            "PATCH",
            f"/_mock/accounts/{account}",
            {"behaviour": behaviour, "parameters": parameters},
        )

    def advance(self, days: int) -> None:
        self.call("POST", f"/_mock/advance?days={days}")

    def balance(self, account: str) -> int:
        return int(self.call("GET", f"/_mock/accounts/{account}")["balance"])

    def close(self) -> None:
        self.server.shutdown()
        if self.server.state.dropbox is not None:
            self.server.state.dropbox.stop()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Bank]:
    bank = Bank(tmp_path)
    yield bank
    bank.close()


class Company:
    """A rail from an account at that bank, and what the product hears."""

    def __init__(self, bank: Bank, iban: str = RICH) -> None:
        self.exchange = Exchange(bank.root / "outbox", bank.root / "inbox", bank.root / "archive")
        self.rail = Iso20022Rail(
            self.exchange,
            Debtor("Acme Ltd", iban, "MOCKNL2A"),
            form="pain.001",
            now_ms=lambda: int(NOW.timestamp() * 1000),
            timeout_ms=2_000,
            poll_ms=10,
        )
        self.broker = Broker()
        self.feed = ReportFeed(self.exchange, "bank")
        self.number = 0

    async def pay(self, iban: str = ELSEWHERE, minor: int = 1050) -> tuple[Instruction, Outcome]:
        self.number += 1
        destination = {"kind": "iban", "iban": iban, "holder": "Anna Müller"}
        instruction = Instruction(
            f"2a000000-0000-4000-8000-{self.number:012d}",
            minor,
            "EUR",
            json.dumps(destination),
            "seller-1",
            "Commission 11/2026",
        )
        outcome = await self.rail.submit(instruction)
        return replace(instruction, provider_ref=outcome.provider_ref), outcome

    async def hears(self) -> list[str]:
        await self.feed.round(self.broker.publish, self.broker.seller_of)
        return self.broker.states()


async def test_a_good_payment_settles_by_the_debit_on_our_account(bank: Bank) -> None:
    company, before = Company(bank), bank.balance("ACME")
    instruction, outcome = await company.pay()
    assert outcome.state is S.ACCEPTED
    await asyncio.to_thread(bank.advance, 1)
    assert (await company.rail.enquire(instruction)).state is S.SETTLED
    assert await company.hears() == ["settled", "settled"]
    assert before - bank.balance("ACME") == 1050


async def test_it_finds_nothing_to_say_about_our_order(bank: Bank) -> None:
    """Its own checks of a pain.001, which it holds against the published schema."""
    company = Company(bank)
    instruction, _ = await company.pay()
    (order,) = (bank.root / "archive").rglob("order.xml")
    url = f"http://127.0.0.1:{bank.server.server_address[1]}/_mock/validate"

    def validate() -> str:
        with urllib.request.urlopen(url, order.read_bytes(), timeout=10) as answer:
            return str(answer.read().decode())

    found = await asyncio.to_thread(validate)
    assert found.startswith("pain.001.001.09 ")
    assert "1 payment, 0 findings" in found
    assert instruction.provider_ref in found


@pytest.mark.parametrize(
    ("debtor", "creditor", "category", "reason"),
    [
        (RICH, CLOSED, F.METHOD, "ac04"),
        (RICH, UNRESOLVED, F.METHOD, "rc01"),
        (POOR, ELSEWHERE, F.TREASURY, "am04"),
    ],
    ids=["closed account", "bank not found", "missing funds"],
)
async def test_a_rejection_has_its_category(
    bank: Bank, debtor: str, creditor: str, category: F, reason: str
) -> None:
    company = Company(bank, debtor)
    _, outcome = await company.pay(creditor, 99_900)
    assert (outcome.state, outcome.category, outcome.reason) == (S.FAILED, category, reason)
    await asyncio.to_thread(bank.advance, 1)
    assert set(await company.hears()) == {"failed"}


async def test_a_return_days_later_reaches_the_product(bank: Bank) -> None:
    company, before = Company(bank), bank.balance("ACME")
    await asyncio.to_thread(bank.behave, "ACME", "return-later", days=3, reason="AC04")
    instruction, outcome = await company.pay()
    assert outcome.state is S.ACCEPTED
    await asyncio.to_thread(bank.advance, 1)
    assert (await company.hears())[-1] == "settled"
    await asyncio.to_thread(bank.advance, 7)
    assert (await company.hears())[-1] == "returned"
    returned = await company.rail.enquire(instruction)
    assert (returned.state, returned.reason) == (S.RETURNED, "ac04")
    assert bank.balance("ACME") == before


async def test_silence_is_unknown_until_the_debit_tells(bank: Bank) -> None:
    company = Company(bank)
    await asyncio.to_thread(bank.behave, "ACME", "silent")
    company.rail._timeout_ms = 200
    instruction, outcome = await company.pay()
    assert (outcome.state, outcome.reason) == (S.UNKNOWN, "no_status_report")
    assert (await company.rail.submit(instruction)).state is S.UNKNOWN
    assert (await company.rail.enquire(instruction)).state is S.UNKNOWN
    # It has decided and books, and says nothing of it: the notification of the debit does.
    await asyncio.to_thread(bank.advance, 1)
    assert (await company.rail.enquire(instruction)).state is S.SETTLED
    assert len(list((bank.root / "outbox" / "processed").glob("*.xml"))) == 1


async def test_a_file_rejected_as_a_whole_failed(bank: Bank) -> None:
    company = Company(bank)
    await asyncio.to_thread(bank.behave, "ACME", "reject-file")
    _, outcome = await company.pay()
    assert (outcome.state, outcome.category, outcome.reason) == (S.FAILED, F.RECIPIENT, "ff01")


async def test_a_duplicate_says_nothing_of_the_first(bank: Bank) -> None:
    """The archive was lost, against all advice: the bank's own guard holds, and we believe in
    nothing that it says of the second."""
    company = Company(bank)
    instruction, _ = await company.pay()
    await company.hears()
    (bank.root / "archive").rename(bank.root / "lost")
    company.rail._timeout_ms = 300
    outcome = await company.rail.submit(replace(instruction, provider_ref=None))
    assert outcome.state is S.UNKNOWN
    await asyncio.to_thread(bank.advance, 1)
    assert (await company.rail.enquire(instruction)).state is S.SETTLED
    assert bank.balance("ACME") == 12_500_000 - 1050


async def test_statements_are_kept_and_not_refused(bank: Bank) -> None:
    company = Company(bank)
    await company.pay()
    await asyncio.to_thread(bank.advance, 3)
    await company.hears()
    kept = [path.read_bytes() for path in (bank.root / "archive" / "received").rglob("*.xml")]
    assert any(b"camt.053" in data for data in kept)
    assert not (bank.root / "archive" / "refused").exists()
