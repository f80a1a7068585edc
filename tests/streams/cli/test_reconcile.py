"""`payouts reconcile`: sales are paid in the sandbox, its statement is held against the ledger."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import redis
from click.testing import Result
from confluent_kafka import Producer
from typer.testing import CliRunner

from models.shards import SHARDS
from rails.paypal.rail import paypal_rail
from rails.paypal.statement import COLUMNS
from rails.sandbox.server import Sandbox, serve
from streams.cli import app
from streams.wallets.library import library
from tests.rails.statements import text
from tests.streams.wallets.harness import Company, Shard

DAY_MS = 86_400_000


def wait_for(sandbox: Sandbox, payout_id: str, status: str) -> None:
    """Set the sandbox's clock ahead until a payout has a status; each takes its own time."""
    for _ in range(40):
        rows = {row["payout_id"]: row for row in sandbox.books.rows(sandbox.clock.now_ms())}
        if rows[payout_id]["status"] == status:
            return
        sandbox.clock.ahead_ms += DAY_MS // 8
    pytest.fail(f"never {status}")


async def ask(company: Company) -> None:
    """The rail is asked about what is due, until nothing follows from it."""
    await company.work()
    company.clock.now_ms += DAY_MS + 60_000
    await company.janitor.once()
    while await company.work():
        pass


def report(payout_id: str, seller: str, state: str, reference: str | None = None) -> dict[str, Any]:
    """What a webhook of the provider becomes."""
    return {
        "id": f"report-{payout_id}", "type": "payout.reported", "version": 1,
        "seller_id": seller, "payout_id": payout_id, "rail": "paypal", "state": state,
        "occurred_at": "2026-11-24T08:00:00Z", **({"provider_ref": reference} if reference else {}),
    }  # fmt: skip


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with await serve(settle_delay_ms=DAY_MS) as served:
        yield served


@pytest.fixture
async def company(
    own_broker: str, redis_url: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Company]:
    """Anna and Eve are paid; Bea's payout came back, Carl's account is closed."""
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    client.function_load(library().source, replace=True)
    monkeypatch.setenv("PAYOUTS_KAFKA_BROKERS", own_broker)
    monkeypatch.setenv("PAYOUTS_REDIS_URL", "redis://127.0.0.1:1/0")  # Redis is not asked
    rail = paypal_rail(sandbox.rail_settings())
    async with Company(own_broker, redis_url, rails={"paypal": rail}) as made:
        await made.wallets.heal(range(SHARDS))
        for seller, receiver in (
            ("anna", "anna@example.com"),
            ("eve", "eve@example.com"),
            ("bea", "returned+bea@example.com"),
            ("carl", "closed+carl@example.com"),
        ):
            made.publish("sellers", made.seller(seller, receiver=receiver))
        await made.work()
        for number, seller in enumerate(("anna", "eve", "bea", "carl")):
            made.publish("sales", made.sale(seller, 4_000 + number, f"s{number}"))
        while await made.work():
            pass
        bea = Shard(client, "bea").only_payout()
        wait_for(sandbox, bea, "SUCCESS")
        await ask(made)
        # PayPal says that the money of Bea came back, and is asked.
        wait_for(sandbox, bea, "RETURNED")
        made.publish("rail.updates", report(bea, "bea", "returned"))
        await ask(made)
        yield made
    await rail.close()
    client.flushall()
    client.close()


@pytest.fixture
async def statement(company: Company, sandbox: Sandbox, tmp_path: Path) -> Path:
    """The sandbox's own statement."""
    file = tmp_path / "statement.csv"
    url = sandbox.url + "/sandbox/statement?rail=paypal"
    file.write_bytes(await asyncio.to_thread(lambda: urlopen(url).read()))
    return file


async def run(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["reconcile", *words])


async def reconciled(statement: Path, *words: str) -> tuple[int, dict]:
    result = await run("--rail", "paypal", "--statement", str(statement), "--json", "-", *words)
    return result.exit_code, json.loads(result.stdout)


def altered(statement: Path, old: str, new: str, count: int = 1) -> Path:
    text = statement.read_text()
    assert old in text
    statement.write_text(text.replace(old, new, count))
    return statement


def rows(statement: Path, kind: str = "payout") -> list[str]:
    return [line for line in statement.read_text().splitlines() if f",{kind}," in line]


def kinds(told: dict) -> list[str]:
    return [each["kind"] for each in told["breaks"]]


async def test_a_true_statement_has_no_breaks(statement: Path, company: Company) -> None:
    result = await run("--rail", "paypal", "--statement", str(statement))
    assert result.exit_code == 0, result.output
    assert "3 payouts match" in result.stdout
    code, told = await reconciled(statement)
    assert (code, told["ok"], told["matched"], told["lines"]) == (0, True, 3, 4)
    [total] = told["clearing"]
    assert total["ledger_minor"] == total["statement_minor"] > 0
    assert (told["since"], told["until"]) == (None, None)
    # Bea's came back, Carl's never left.
    assert len(rows(statement)) == 3
    assert len(rows(statement, "return")) == 1


async def test_nobody_is_named(statement: Path) -> None:
    missing = rows(statement)[0]
    result = await run("--rail", "paypal", "--statement", str(altered(statement, missing, "")))
    assert result.exit_code == 1
    for word in ("anna", "bea", "example"):
        assert word not in result.output
        assert word not in missing


async def test_a_line_that_the_ledger_does_not_know(statement: Path) -> None:
    strange = "0a1b2c3d-0000-5000-8000-000000000001"
    with statement.open("a") as out:
        out.write(f"X-1,2026-11-24T08:00:00Z,payout,paypal,X,{strange},EUR,-5.00\n")
    code, told = await reconciled(statement)
    assert (code, kinds(told)) == (1, ["not_in_ledger"])
    assert told["breaks"][0]["payout_id"] == strange
    assert told["breaks"][0]["place"] == "line 6"
    assert told["clearing"][0]["difference_minor"] == -500


async def test_a_line_that_is_missing(statement: Path) -> None:
    missing = rows(statement)[0]
    code, told = await reconciled(altered(statement, missing + "\n", ""))
    assert (code, kinds(told)) == (1, ["not_on_statement"])
    assert told["breaks"][0]["payout_id"] in missing
    result = await run("--rail", "paypal", "--statement", str(statement))
    assert result.exit_code == 1
    assert "settled in the ledger" in result.stdout
    assert "1 breaks" in result.stderr
    assert "no period is known" in result.stderr


@pytest.mark.parametrize(("old", "new"), [(",EUR,-", ",EUR,-1"), (",EUR,-", ",USD,-")])
async def test_another_amount_or_currency(statement: Path, old: str, new: str) -> None:
    code, told = await reconciled(altered(statement, old, new))
    assert (code, kinds(told)) == (1, ["amount_differs"])


async def test_a_payout_that_left_twice(statement: Path) -> None:
    again = "AGAIN-1" + rows(statement)[0][rows(statement)[0].index(",") :]
    with statement.open("a") as out:
        out.write(again + "\n")
    code, told = await reconciled(statement)
    assert (code, kinds(told)) == (1, ["paid_twice"])


async def test_a_return_that_is_missing(statement: Path) -> None:
    [line] = rows(statement, "return")
    code, told = await reconciled(altered(statement, line + "\n", ""))
    assert (code, kinds(told)) == (1, ["not_on_statement"])
    assert told["breaks"][0]["detail"] == "returned in the ledger"


async def test_a_return_that_the_ledger_does_not_know(statement: Path) -> None:
    paid = next(
        row for row in rows(statement) if row.split(",")[5] not in rows(statement, "return")[0]
    )
    back = paid.replace("-1,", "-2,", 1).replace(",payout,", ",return,").replace(",EUR,-", ",EUR,")
    with statement.open("a") as out:
        out.write(back + "\n")
    code, told = await reconciled(statement)
    assert (code, kinds(told)) == (1, ["state_differs"])
    assert told["breaks"][0]["detail"] == "came back, the ledger has it settled"


async def test_money_of_a_failed_payout_that_left(
    statement: Path, company: Company, redis_url: str
) -> None:
    client = redis.Redis.from_url(redis_url)
    [failed] = [
        payout for payout in Shard(client, "carl").payouts().values() if payout["state"] == "failed"
    ]
    client.close()
    minor = failed["amount_minor"]
    with statement.open("a") as out:
        out.write(
            f"C-1,2026-11-24T08:00:00Z,payout,paypal,C,{failed['payout_id']},EUR,"
            f"-{minor // 100}.{minor % 100:02d}\n"
        )
    code, told = await reconciled(statement)
    assert (code, kinds(told)) == (1, ["state_differs"])
    assert told["breaks"][0]["detail"] == "left, the ledger has it failed"


async def test_a_payout_in_flight_that_left(
    statement: Path, company: Company, sandbox: Sandbox, redis_url: str
) -> None:
    company.publish("sellers", company.seller("dora", receiver="dora@example.com"))
    await company.work()
    company.publish("sales", company.sale("dora", 4_009, "s9"))
    while await company.work():
        pass
    client = redis.Redis.from_url(redis_url)
    payout = Shard(client, "dora").payouts()[Shard(client, "dora").only_payout()]
    client.close()
    minor = payout["amount_minor"]
    with statement.open("a") as out:
        out.write(
            f"D-1,2026-11-24T08:00:00Z,payout,paypal,D,{payout['payout_id']},EUR,"
            f"-{minor // 100}.{minor % 100:02d}\n"
        )
    code, told = await reconciled(statement)
    assert (code, kinds(told)) == (1, ["state_differs"])
    assert told["breaks"][0]["detail"] == f"left, the ledger has it {payout['state']}"
    assert told["in_flight"] == 1


async def test_a_command_without_an_entry(statement: Path, company: Company) -> None:
    command = {
        "v": 1, "type": "payout.command", "payout_id": "0a1b2c3d-0000-5000-8000-000000000001",
        "seller_id": "anna", "rail": "paypal", "currency": "EUR", "amount_minor": 700,
        "fee_minor": 0, "destination": "v1.x", "attempt": 0, "route": [],
        "cause": "c", "caused_ms": 1, "reserved_ms": 1,
    }  # fmt: skip
    producer = Producer({"bootstrap.servers": company.settings.kafka_brokers})
    producer.produce("payouts.commands", json.dumps(command).encode(), b"anna")
    assert producer.flush(10) == 0
    code, told = await reconciled(statement)
    assert (code, kinds(told)) == (1, ["command_without_entry"])
    assert told["breaks"][0]["age"] == "over 30 days"


async def test_a_reference_that_the_provider_reported(statement: Path, company: Company) -> None:
    line = rows(statement)[0].split(",")
    company.publish(
        "rail.updates",
        report(line[5], "anna", "settled", line[4]),
        b"no report",
    )  # fmt: skip
    code, told = await reconciled(altered(statement, line[5], "unknown"))
    assert (code, kinds(told)) == (0, [])


async def test_a_period(statement: Path) -> None:
    code, told = await reconciled(statement, "--until", "2020-12-31")
    assert (code, told["lines"], told["matched"]) == (0, 0, 0)
    assert told["until"] == "2021-01-01T00:00:00Z"
    code, told = await reconciled(altered(statement, rows(statement)[0] + "\n", ""), "--since",
                                  "2030-01-01")  # fmt: skip
    assert (code, told["ok"]) == (0, True)


def as_settlement_report(statement: Path) -> str:
    """What moved, as PayPal's Settlement Report has it."""
    columns = '"CH",' + ",".join(f'"{name}"' for name in COLUMNS)
    body = []
    for row in csv.DictReader(statement.read_text().splitlines()):
        code, sign = ("T0001", "DR") if row["kind"] == "payout" else ("T1114", "CR")
        at = row["booked_at"].replace("-", "/").replace("T", " ").replace("Z", " +0000")
        cents = row["amount"].lstrip("-").replace(".", "")
        cells = (row["transaction_id"], "", row["reference"], code, at, at, sign, cents,
                 row["currency"], "", "0", "", row["attempt_id"])  # fmt: skip
        body.append('"SB",' + ",".join(f'"{cell}"' for cell in cells))
    period = '"SH",2026/01/01 00:00:00 +0000,2035/12/31 23:59:59 +0000,"ACCOUNT",""'
    rows = ['"RH",x', '"FH",1', period, columns, *body, f'"SC",{len(body)}', f'"FF",{len(body)}']
    return "\n".join(rows) + "\n"


def as_camt(statement: Path) -> str:
    """What moved, as a bank shows it: the payouts in one entry, each return in its own."""
    rows = list(csv.DictReader(statement.read_text().splitlines()))
    head, rest = text("camt.xml").split("<FrToDt>")
    status = "<Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>2026-11-24</Dt></BookgDt>"
    code = "<BkTxCd><Prtry><Cd>X</Cd></Prtry></BkTxCd>"

    def entry(rows: list[dict[str, str]], side: str, extra: str = "") -> str:
        total = sum(Decimal(row["amount"].lstrip("-")) for row in rows)
        details = "".join(
            f"<TxDtls><Refs><EndToEndId>{row['attempt_id'].replace('-', '')}</EndToEndId></Refs>"
            f'<Amt Ccy="EUR">{row["amount"].lstrip("-")}</Amt><CdtDbtInd>{side}</CdtDbtInd>'
            f"{extra}</TxDtls>"
            for row in rows
        )
        return (
            f'<Ntry><Amt Ccy="EUR">{total}</Amt><CdtDbtInd>{side}</CdtDbtInd>{status}{code}'
            f"<NtryDtls>{details}</NtryDtls></Ntry>"
        )

    returned = "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>"
    account = rest[rest.index("<Acct>") : rest.index("<Ntry>")]
    entries = [entry([row for row in rows if row["kind"] == "payout"], "DBIT")]
    entries += [entry([row], "CRDT", returned) for row in rows if row["kind"] == "return"]
    return head + account + "".join(entries) + "</Stmt></BkToCstmrStmt></Document>"


@pytest.mark.parametrize("form", [as_settlement_report, as_camt])
async def test_another_format_of_the_same_statement(
    form: Callable[[Path], str], statement: Path, tmp_path: Path
) -> None:
    file = tmp_path / "other"
    file.write_text(form(statement))
    code, told = await reconciled(file)
    assert (code, told["matched"]) == (0, 3), told
    assert told["clearing"][0]["difference_minor"] == 0
    # One payout less, and it is missed.
    file.write_text(form(altered(statement, rows(statement)[0] + "\n", "")))
    code, told = await reconciled(file)
    assert (code, kinds(told)) == (1, ["not_on_statement"])


def overlapping(statement: Path, other: Path) -> Path:
    """Cut a statement in two, of which both have its second line."""
    lines = statement.read_text().splitlines(keepends=True)
    other.write_text("".join([lines[0], *lines[2:]]))
    statement.write_text("".join(lines[:3]))
    return other


async def test_a_statement_of_two_files(statement: Path, tmp_path: Path) -> None:
    other = overlapping(statement, tmp_path / "second.csv")
    code, told = await reconciled(statement, "--statement", str(other))
    assert (code, told["lines"]) == (0, 4)
    assert told["statements"] == ["statement.csv", "second.csv"]


class TestUnusable:
    """Nothing of these gets as far as Kafka."""

    @pytest.fixture(autouse=True)
    def nobody_listens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PAYOUTS_KAFKA_BROKERS", "127.0.0.1:1")

    async def told(self, file: Path, *words: str) -> str:
        result = await run("--rail", "paypal", "--statement", str(file), *words)
        assert result.exit_code == 2, result.output
        assert result.stderr.count("\n") == 1
        return result.stderr

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "s.csv: the file is empty"),
            ("a,b\n", "s.csv: no statement that is known; say which of camt, paypal, adyen"),
            ("<a/>", "s.csv: line 1: the message is"),
            ("<a>", "s.csv: line 1: "),
            ('"RH",1\n', "s.csv: no file footer"),
            ("attempt_id\n", "s.csv: line 1: no column 'transaction_id'"),
        ],
    )
    async def test_a_file(self, text: str, words: str, tmp_path: Path) -> None:
        file = tmp_path / "s.csv"
        file.write_text(text)
        assert words in await self.told(file)

    async def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        assert "No such file" in await self.told(tmp_path / "s.csv")
        assert "cannot read" in await self.told(tmp_path)

    async def test_words(self, tmp_path: Path) -> None:
        file = tmp_path / "s.csv"
        file.write_text("a")
        assert "no format 'mt940'; there are camt" in await self.told(file, "--format", "mt940")
        assert "--since is a date" in await self.told(file, "--since", "yesterday")


async def test_a_rail_that_nobody_knows(statement: Path) -> None:
    result = await run("--rail", "giro", "--statement", str(statement))
    assert result.exit_code == 2
    assert "no rail 'giro'; there are adyen" in result.stderr


async def test_a_period_that_ends_before_it_begins(statement: Path) -> None:
    words = ("--since", "2026-12-01", "--until", "2026-11-01")
    result = await run("--rail", "paypal", "--statement", str(statement), *words)
    assert result.exit_code == 2
    assert "ends before it begins" in result.stderr
