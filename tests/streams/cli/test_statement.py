"""`payouts statement` and `wallet show --at`, `wallet history`, on a real broker and Redis."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import Result
from typer.testing import CliRunner

from models.shards import SHARDS, shard_of
from streams.cli import app
from streams.wallets.library import library
from tests.streams.wallets.harness import Company

NOW = datetime.now(UTC)
LAST = (NOW.replace(day=1) - timedelta(days=1)).replace(day=20, hour=12, minute=0, second=0)
MONTH, THIS = f"{LAST:%Y-%m}", f"{NOW:%Y-%m}"


@pytest.fixture
async def company(
    own_broker: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Company]:
    """Anna sells last month and spends credit now; Eve sells now, and has no profile."""
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    client.function_load(library().source, replace=True)
    monkeypatch.setenv("PAYOUTS_KAFKA_BROKERS", own_broker)
    monkeypatch.setenv("PAYOUTS_REDIS_URL", redis_url)
    async with Company(own_broker, redis_url) as made:
        now_ms = made.clock.now_ms
        made.clock.now_ms = int(LAST.timestamp()) * 1000
        await made.wallets.heal(range(SHARDS))
        made.publish("sellers", made.seller("anna", receiver="anna@example.com"))
        await made.work()
        made.publish("sales", made.sale("anna", 4_000, "a"))
        await made.work()
        made.clock.now_ms = now_ms
        spent = made.event(
            "credit.redeemed", "anna", currency="EUR", amount_minor=400, order_ref="o1"
        )
        made.publish("redemptions", spent)
        made.publish("sales", made.sale("eve", 4_000, "b"))
        await made.work()
        yield made
    client.flushall()
    client.close()


async def run(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, list(words))


async def told(*words: str) -> Any:
    result = await run(*words)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def lines(*words: str) -> list[dict[str, str]]:
    result = await run(*words)
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout)))


class TestSeller:
    async def test_two_months_follow_from_one_another(self, company: Company) -> None:
        last = await told("statement", "anna", "--month", MONTH, "--format", "json")
        this = await told("statement", "anna", "--month", THIS, "--format", "json")
        assert (last["opening"], last["complete"], this["complete"]) == ({}, True, False)
        assert last["closing"] == this["opening"]
        assert last["closing"]["EUR"]["in_flight"] == 1_000
        assert this["closing"]["EUR"]["credit"] == 600
        [sale] = last["movements"]
        assert sale["reason"].startswith("Share of a sale of 40.00 EUR; payout of 9.")
        assert "over paypal reserved; store credit granted (first-sale)" in sale["reason"]
        assert [movement["reason"] for movement in this["movements"]] == ["Store credit spent"]

    async def test_closing_is_what_redis_holds(self, company: Company) -> None:
        this = await told("statement", "anna", "--month", THIS, "--format", "json")
        now = await told("wallet", "show", "anna", "--json")
        assert this["closing"] == now["accounts"]

    async def test_a_year_as_csv(self, company: Company) -> None:
        rows = await lines("statement", "anna", "--year", MONTH[:4])
        assert rows[0]["row"] == "opening"
        assert rows[0]["credit_after"] == "0.00"
        moved = [row for row in rows if row["row"] == "movement"]
        assert (moved[0]["in_flight"], moved[0]["credit"]) == ("10.00", "10.00")
        assert rows[-1]["row"] == "closing"
        assert rows[-1]["in_flight_after"] == "10.00"

    async def test_as_pdf(self, company: Company, tmp_path: Path) -> None:
        file = tmp_path / "anna.pdf"
        result = await run(
            "statement", "anna", "--month", MONTH, "--output", str(file), "--name", "Анна"
        )
        assert result.exit_code == 0, result.output
        assert file.read_bytes().startswith(b"%PDF-")
        assert "--font" in result.stderr

    async def test_never_where_she_is_paid_to(self, company: Company) -> None:
        for format_ in ("json", "csv"):
            result = await run("statement", "anna", "--month", MONTH, "--format", format_)
            assert "v1." not in result.stdout
            assert "example.com" not in result.stdout

    async def test_void_entries_are_not_on_it(self, company: Company) -> None:
        before = await told("statement", "anna", "--month", THIS, "--format", "json")
        shard = shard_of("anna")
        void = {
            "v": 1, "shard": shard, "seq": 4, "epoch": 0, "kind": "sale.completed", "id": "void",
            "seller": "anna", "at": company.clock.now_ms,
            "postings": [["anna/available", "EUR", 5, 5], ["/commissions", "EUR", -5, -5]],
            "writes": [],
        }  # fmt: skip
        company.publish("ledger", json.dumps(void, separators=(",", ":")).encode(), key="anna")
        after = await told("statement", "anna", "--month", THIS, "--format", "json")
        assert after["movements"] == before["movements"]
        assert (await told("wallet", "history", "anna", "--json"))["more"] is False

    async def test_a_journal_that_contradicts_itself_is_told(self, company: Company) -> None:
        page = await told("wallet", "history", "anna", "--json")
        _, seq, epoch, *_ = page["cursor"].split("-")
        wrong = {
            "v": 1, "shard": shard_of("anna"), "seq": int(seq) + 1, "epoch": int(epoch),
            "kind": "credit.redeemed", "id": "x", "seller": "anna", "at": company.clock.now_ms,
            "postings": [["anna/credit", "EUR", -5, 700], ["/sales", "EUR", 5, 405]],
            "writes": [],
        }  # fmt: skip
        company.publish("ledger", json.dumps(wrong, separators=(",", ":")).encode(), key="anna")
        result = await run("statement", "anna", "--month", THIS)
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert "the journal contradicts itself" in result.stderr


class TestCompany:
    async def test_by_account(self, company: Company) -> None:
        last = await told("statement", "--company", "--month", MONTH, "--format", "json")
        this = await told("statement", "--company", "--month", THIS, "--format", "json")
        closing = {line["account"]: line["closing_minor"] for line in last["accounts"]}
        assert closing["/commissions"] == -1_000
        assert closing["sellers:in_flight"] == 1_000
        assert sum(closing.values()) == 0
        opening = {line["account"]: line["opening_minor"] for line in this["accounts"]}
        assert {name: minor for name, minor in opening.items() if minor} == closing
        [sales] = [line for line in this["accounts"] if line["account"] == "/sales"]
        [spent] = sales["movements"]
        assert (spent["kind"], spent["entries"], spent["amount_minor"]) == (
            "credit.redeemed", 1, 400,
        )  # fmt: skip

    async def test_as_csv_and_pdf(self, company: Company, tmp_path: Path) -> None:
        rows = await lines("statement", "--company", "--year", MONTH[:4])
        assert {row["currency"] for row in rows} == {"EUR"}
        file = tmp_path / "company.pdf"
        result = await run("statement", "--company", "--month", MONTH, "--output", str(file))
        assert result.exit_code == 0, result.output
        assert file.read_bytes().startswith(b"%PDF-")


class TestPast:
    async def test_of_now_is_what_redis_tells(self, company: Company) -> None:
        at = datetime.now(UTC).isoformat()
        for seller in ("anna", "eve"):
            past = await told("wallet", "show", seller, "--at", at, "--json")
            assert past == await told("wallet", "show", seller, "--json")

    async def test_before_the_credit_was_spent(self, company: Company) -> None:
        at = (LAST + timedelta(days=1)).isoformat()
        past = await told("wallet", "show", "anna", "--at", at, "--json")
        assert past["accounts"]["EUR"]["credit"] == 1_000
        assert [lot["left_minor"] for lot in past["lots"]] == [1_000]
        assert [payout["state"] for payout in past["payouts"]] == ["reserved"]

    async def test_before_she_was_known(self, company: Company) -> None:
        result = await run("wallet", "show", "eve", "--at", LAST.isoformat())
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert "nothing was known of a seller 'eve'" in result.stderr


class TestHistory:
    async def test_page_by_page(self, company: Company) -> None:
        whole = await told("wallet", "history", "anna", "--json")
        first = await told("wallet", "history", "anna", "--limit", "1", "--json")
        then = await told("wallet", "history", "anna", "--after", first["cursor"], "--json")
        assert (first["more"], then["more"], whole["more"]) == (True, False, False)
        assert first["movements"] + then["movements"] == whole["movements"]
        assert len(whole["movements"]) == 2
        assert then["cursor"] == whole["cursor"]

    async def test_what_comes_later_is_behind_the_last_cursor(self, company: Company) -> None:
        page = await told("wallet", "history", "anna", "--json")
        again = await told("wallet", "history", "anna", "--after", page["cursor"], "--json")
        assert again == {"movements": [], "cursor": page["cursor"], "more": False}
        company.publish("sales", company.return_of("anna", 4_000, "a"))
        await company.work()
        later = await told("wallet", "history", "anna", "--after", page["cursor"], "--json")
        assert [movement["kind"] for movement in later["movements"]] == ["sale.returned"]

    async def test_for_people(self, company: Company) -> None:
        result = await run("wallet", "history", "anna")
        assert "Store credit spent" in result.stdout
        assert "-4.00" in result.stdout
        assert "--after" in result.stderr

    async def test_a_cursor_of_another_journal(self, company: Company) -> None:
        result = await run(
            "wallet", "history", "anna", "--after", f"{shard_of('anna')}-5-1-999999-0"
        )
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert "is of another journal" in result.stderr


class TestBadInput:
    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            ("statement nobody --month 2026-01", 1, "nothing is known of a seller 'nobody'"),
            ("wallet history nobody", 1, "nothing is known of a seller 'nobody'"),
            ("statement", 2, "of one SELLER, or with --company"),
            ("statement anna --company --month 2026-01", 2, "of one SELLER, or with --company"),
            ("statement anna", 2, "either --month"),
            ("statement anna --month 2026-01 --year 2026", 2, "either --month"),
            ("statement anna --month 2026-1", 2, "a month is written like 2026-10"),
            ("statement anna --year 26", 2, "a year is written like 2026"),
            ("statement anna --month 2098-01", 2, "2098-01 is in the future"),
            ("statement anna --month 2026-01 --zone Mars", 2, "no time zone 'Mars'"),
            ("statement anna --month 2026-01 --format xml", 2, "no format 'xml'"),
            ("statement anna --month 2026-01 --output x.txt", 2, "no format 'txt'"),
            ("statement anna --month 2026-01 --name Anna", 2, "are for a PDF, not for csv"),
            ("statement anna --month 2026-01 --output /no/x.csv", 1, "cannot write /no/x.csv"),
            ("wallet show anna --at 2098-01-01", 2, "is in the future"),
            ("wallet show anna --at yesterday", 2, "is a date or time such as"),
            ("wallet history anna --after x", 2, "is no cursor"),
            ("wallet history anna --after 0-5-1-9-0", 2, "is of another seller's history"),
        ],
    )
    async def test_is_one_line(self, company: Company, words: str, code: int, said: str) -> None:
        result = await run(*words.split())
        assert (result.exit_code, result.stderr.count("\n")) == (code, 1), result.output
        assert said in result.stderr

    async def test_without_the_package_that_draws(
        self, company: Company, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delitem(sys.modules, "streams.statements.pdf", raising=False)
        for name in [name for name in sys.modules if name.startswith("reportlab")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "reportlab", None)
        result = await run("statement", "anna", "--month", MONTH, "--output", "x.pdf")
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert "pip install 'payout-streams[statements]'" in result.stderr

    async def test_a_broker_that_is_gone(
        self, company: Company, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("streams.wallets.journal.SILENCE_MAX_S", 1.0)
        monkeypatch.setenv("PAYOUTS_KAFKA_BROKERS", "127.0.0.1:1")
        result = await run("statement", "anna", "--month", MONTH)
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert "cannot read the journal" in result.stderr
