"""Files: written once and whole, taken in once, kept, and nothing lost by a crash between steps."""

import contextlib
import multiprocessing
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from rails.iso20022 import exchange as module
from rails.iso20022.exchange import FILES_A_ROUND_MAX, Exchange, NotSent
from rails.iso20022.mapping import Payment
from rails.iso20022.reports import MESSAGE_BYTES_MAX
from tests.rails.iso20022.test_reports import pacs002, pacs004, transaction

ID = "2a" + "0" * 30
PAYMENT = Payment(ID, "2a-attempt", 1050, "EUR")
SETTLED = pacs002(transaction("ACSC"))


class Crash(BaseException):
    """The process dies here."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("outbox", "inbox"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def exchange(root: Path) -> Exchange:
    return opened(root)


def opened(root: Path) -> Exchange:
    return Exchange(root / "outbox", root / "inbox", root / "archive")


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def words(exchange: Exchange, payment_id: str = ID) -> list[str]:
    return sorted(report.word for report in exchange.reports(payment_id).values())


def test_a_payment_goes_out_once(exchange: Exchange, root: Path) -> None:
    assert exchange.order(PAYMENT, b"<one/>")
    assert not exchange.order(PAYMENT, b"<two/>")
    (sent,) = files(root / "outbox")
    assert (sent.name, sent.read_bytes()) == (f"{ID}.xml", b"<one/>")
    # The bank has taken it: still nothing goes out again, from no process.
    sent.unlink()
    assert not opened(root).order(PAYMENT, b"<one/>")
    assert files(root / "outbox") == []
    assert exchange.payment(ID) == PAYMENT
    assert (root / "archive" / "payments" / "2a" / ID / "order.xml").read_bytes() == b"<one/>"


def _ordered(root: Path, at: int) -> bool:
    return opened(root).order(PAYMENT, str(at).encode())


def test_of_many_processes_and_threads_one_sends(root: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        sent = list(pool.map(lambda at: _ordered(root, at), range(64)))
    with multiprocessing.get_context("spawn").Pool(3) as processes:
        sent += processes.starmap(_ordered, [(root, at) for at in range(12)])
    assert sum(sent) == 1
    assert len(files(root / "outbox")) == 1


def test_only_we_can_read_the_archive(exchange: Exchange, root: Path) -> None:
    exchange.order(PAYMENT, b"<one/>")
    for path in (root / "archive").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    (sent,) = files(root / "outbox")
    assert stat.S_IMODE(sent.stat().st_mode) & 0o027 == 0


def test_an_outbox_that_is_not_there_sends_nothing(exchange: Exchange, root: Path) -> None:
    (root / "outbox").rmdir()
    with pytest.raises(NotSent):
        exchange.order(PAYMENT, b"<one/>")
    with pytest.raises(OSError):
        exchange.ask(PAYMENT, "Q1", b"<ask/>")


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_disk_that_fails_before_the_bank_could_see_it_sent_nothing(
    exchange: Exchange, root: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, call, full)
    with pytest.raises(NotSent):
        exchange.order(PAYMENT, b"<one/>")
    assert files(root / "outbox") == []


def test_a_rename_that_fails_says_nothing(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unclear(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "rename", unclear)
    with pytest.raises(OSError) as raised:
        exchange.order(PAYMENT, b"<one/>")
    assert not isinstance(raised.value, NotSent)


def test_died_after_the_guard_it_is_not_sent_later(
    exchange: Exchange, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Exchange, "_send", lambda *_: (_ for _ in ()).throw(Crash()))
        with pytest.raises(Crash):
            exchange.order(PAYMENT, b"<one/>")
    assert not exchange.order(PAYMENT, b"<one/>")
    assert files(root / "outbox") == []


def test_a_report_is_filed_kept_and_marked(exchange: Exchange, root: Path) -> None:
    exchange.order(PAYMENT, b"<one/>")
    (root / "inbox" / "a.xml").write_bytes(SETTLED)
    assert exchange.take() == {"reported": 1}
    assert words(exchange) == ["ACSC"]
    digest = sha256(SETTLED).hexdigest()
    assert (root / "archive/received" / digest[:2] / f"{digest}.xml").read_bytes() == SETTLED
    assert files(root / "inbox") == []
    ((payment_id, name),) = exchange.unpublished()
    assert payment_id == ID
    exchange.published(payment_id, name)
    assert list(exchange.unpublished()) == []
    # The same file again: known, and nobody is told again.
    (root / "inbox" / "b.xml").write_bytes(SETTLED)
    assert exchange.take() == {"reported": 1}
    assert words(exchange) == ["ACSC"]
    assert list(exchange.unpublished()) == []


@pytest.mark.parametrize("name", [".hidden.xml", "a.xml.tmp", "a.PART", "a.xml.filepart"])
def test_what_is_not_whole_is_left(exchange: Exchange, root: Path, name: str) -> None:
    exchange.order(PAYMENT, b"<one/>")
    (root / "inbox" / name).write_bytes(SETTLED)
    assert exchange.take() == {}
    (root / "inbox" / name).rename(root / "inbox" / "whole.xml")
    assert exchange.take() == {"reported": 1}


def test_what_is_no_file_is_left(exchange: Exchange, root: Path) -> None:
    secret = root / "secret.xml"
    secret.write_bytes(SETTLED)
    (root / "inbox" / "link.xml").symlink_to(secret)
    (root / "inbox" / "folder.xml").mkdir()
    os.mkfifo(root / "inbox" / "pipe.xml")
    assert exchange.take() == {}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<html/>", "not_iso20022"),
        (SETTLED[:-9], "not_xml"),
        (b" " * (MESSAGE_BYTES_MAX + 1), "too_large"),
        (b'<!DOCTYPE d SYSTEM "file:///etc/passwd"><d/>', "dtd_or_entity"),
    ],
    ids=["html", "cut", "huge", "dtd"],
)
def test_a_bad_file_is_kept_apart_with_its_reason(
    exchange: Exchange, root: Path, caplog: pytest.LogCaptureFixture, data: bytes, reason: str
) -> None:
    (root / "inbox" / "Anna Secret.xml").write_bytes(data)
    (root / "inbox" / "good.xml").write_bytes(SETTLED)
    assert exchange.take() == {f"refused_{reason}": 1, "not_ours": 1}
    assert all(
        stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in (root / "archive").rglob("*")
    )
    kept, why = sorted(
        files(root / "archive" / "refused"), key=lambda path: path.suffix, reverse=True
    )
    assert kept.read_bytes() == data
    assert why.read_text() == f"{reason}\n"
    assert reason in caplog.text
    assert "Secret" not in caplog.text
    assert files(root / "inbox") == []


def test_a_report_of_somebody_elses_payment_is_kept_and_no_more(
    exchange: Exchange, root: Path
) -> None:
    (root / "inbox" / "a.xml").write_bytes(SETTLED)
    assert exchange.take() == {"not_ours": 1}
    assert len(files(root / "archive" / "received")) == 1
    assert exchange.reports(ID) == {}
    assert exchange.payment(ID) is None


STEPS = ["read_reports", "_folder", "_written", "_synced", "_copied"]


@pytest.mark.parametrize("number", range(12))
@pytest.mark.parametrize("step", STEPS)
def test_a_crash_between_any_two_steps_loses_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    """The process dies at the so-manieth call of a step; another one goes on."""
    opened(root).order(PAYMENT, b"<one/>")
    (root / "inbox" / "a.xml").write_bytes(SETTLED)
    (root / "inbox" / "b.xml").write_bytes(pacs004())
    (root / "inbox" / "c.xml").write_bytes(b"<html/>")
    calls = iter(range(1000))
    real = getattr(module, step)

    def dying(*args: object) -> object:
        if next(calls) == number:
            raise Crash
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(module, step, dying)
        with contextlib.suppress(Crash):
            opened(root).take()
    other = opened(root)
    other.take()
    assert words(other) == ["ACSC", "returned"]
    assert len(list(other.unpublished())) == 2
    assert len(files(root / "archive" / "received")) == 2
    assert [path.suffix for path in files(root / "archive" / "refused")] == [".reason", ".xml"]
    assert files(root / "inbox") == []
    assert not [path for path in files(root / "archive") if not path.name.startswith(".")
                and path.stat().st_size == 0 and path.parent.name != "unpublished"]  # fmt: skip


def test_many_readers_file_each_report_once(root: Path) -> None:
    opened(root).order(PAYMENT, b"<one/>")
    for at in range(200):
        data = pacs002(transaction("ACSP")).replace(b"M1", f"M{at}".encode())
        (root / "inbox" / f"{at}.xml").write_bytes(data)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: opened(root).take(), range(16)))
    assert len(opened(root).reports(ID)) == 200
    assert len(files(root / "archive" / "received")) == 200
    assert files(root / "inbox") == []


def test_a_round_is_bounded(exchange: Exchange, root: Path) -> None:
    for at in range(FILES_A_ROUND_MAX + 5):
        (root / "inbox" / f"{at}.xml").write_bytes(b"<a/>")
    assert exchange.take() == {"refused_not_iso20022": FILES_A_ROUND_MAX}
    assert exchange.take() == {"refused_not_iso20022": 5}


def test_a_file_that_cannot_be_read_holds_up_no_other(
    exchange: Exchange,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    exchange.order(PAYMENT, b"<one/>")
    (root / "inbox" / "a.xml").write_bytes(b"<a/>")
    (root / "inbox" / "b.xml").write_bytes(SETTLED)
    real = module._read

    def reading(path: Path) -> bytes:
        data = real(path)
        if data == b"<a/>":
            raise PermissionError(13, "Permission denied")
        return data

    monkeypatch.setattr(module, "_read", reading)
    assert exchange.take() == {"left": 1, "reported": 1}
    assert exchange.take() == {"left": 1}
    assert words(exchange) == ["ACSC"]
    assert caplog.text.count("is left, PermissionError") == 1
    monkeypatch.undo()
    assert exchange.take() == {"refused_not_iso20022": 1}


def test_an_inbox_that_is_not_there_is_said(exchange: Exchange, root: Path) -> None:
    (root / "inbox").rmdir()
    with pytest.raises(FileNotFoundError):
        exchange.take()
