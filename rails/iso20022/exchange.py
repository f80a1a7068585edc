"""The directories through which files go to the bank and come from it, and what is kept of them.

``outbox`` is the bank's to empty, ``inbox`` the bank's to fill; ``archive`` is ours and grows:

- ``payments/<xx>/<id>/``: ``payment.json``, what is needed to match reports; ``order.xml``, what
  was sent, whose making is the guard against a second time; ``reports/``, a file a report;
- ``received/<xx>/<sha256>.xml``: every message as it came; ``refused/``: those that could not be
  read, each with a line that says why;
- ``unpublished/``: an empty file a report that the product has not been told of yet.

Everything appears under its name when it is whole, and each step may be done twice: a crash
between two of them loses nothing. Several processes may share the directories. All calls block.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from rails.iso20022.mapping import Payment
from rails.iso20022.reports import MESSAGE_BYTES_MAX, MessageRefused, Report, read_reports

log = logging.getLogger(__name__)

FILES_A_ROUND_MAX = 1_000
UNFINISHED = (".tmp", ".part", ".filepart")
"""Ends of names under which senders write what is not whole yet; hidden files are left too."""

OUTBOX_MODE = 0o640
"""Whoever carries files to the bank may be another user, of our group."""

TAKEN = ".taken"
"""Where a file of the inbox goes first, under a name of its own: who renames it has it."""


class NotSent(OSError):
    """A file did not go out, surely: nothing of it was visible to the bank."""


class Exchange:
    """Files to one bank and from it."""

    def __init__(self, outbox: Path, inbox: Path, archive: Path) -> None:
        """Take the directories. The bank's two have to exist: a missing one is a mount that is
        not there, and a file written under it would be lost."""
        self._outbox = outbox
        self._inbox = inbox
        self._archive = archive
        self._left: set[str] = set()

    def order(self, payment: Payment, data: bytes) -> bool:
        """Send a payment's message if none was ever sent under its id; whether it was sent now.

        Raises:
            NotSent: it did not go out, and never will under this id.
            OSError: it may have.
        """
        place = self._place(payment.id)
        try:
            self._must_be_there()
            self._note(place, payment)
            if not _made(place / "order.xml", data):
                return False
        except OSError as error:
            raise NotSent(error.errno, error.strerror or str(error)) from None
        self._send(payment.id, data)
        return True

    def ask(self, payment: Payment, question_id: str, data: bytes) -> None:
        """Send a question about a payment. Raises OSError."""
        self._note(self._place(payment.id), payment)
        self._must_be_there()
        self._send(question_id, data)

    def payment(self, payment_id: str) -> Payment | None:
        """What is kept of a payment; None if it never was one of ours."""
        try:
            raw = (self._place(payment_id) / "payment.json").read_bytes()
        except FileNotFoundError:
            return None
        return Payment(**json.loads(raw))

    def reports(self, payment_id: str) -> dict[str, Report]:
        """All that was said of a payment, by the name of the report."""
        folder = self._place(payment_id) / "reports"
        try:
            names = [name for name in os.listdir(folder) if name.endswith(".json")]  # noqa: PTH208
        except FileNotFoundError:
            return {}
        return {name: _report(folder / name) for name in sorted(names)}

    def take(self) -> Counter[str]:
        """Take in what is in the inbox, and what a process that died has left; how many files
        with which result. One that cannot be read or kept is left, and does not hold up others.

        Raises OSError when there is no inbox.
        """
        results: Counter[str] = Counter()
        taken = self._inbox / TAKEN
        if self._waiting():
            _folder(taken)
        for name in self._waiting()[:FILES_A_ROUND_MAX]:
            # Another process may have been quicker; its name for it is not ours.
            with contextlib.suppress(FileNotFoundError):
                os.rename(self._inbox / name, taken / uuid4().hex)  # noqa: PTH104
        for path in _files(taken):
            try:
                result = self._taken_in(path)
            except OSError as error:
                result = "left"
                self._complain(path.name, error)
            if result:
                results[result] += 1
        return results

    def _complain(self, name: str, error: OSError) -> None:
        """Say once of a file why it is left: it is tried again many times a second."""
        if name not in self._left:
            log.warning("a file of the bank is left, %s: %s", type(error).__name__, name)
        if len(self._left) >= FILES_A_ROUND_MAX:
            self._left.clear()
        self._left.add(name)

    def unpublished(self) -> Iterator[tuple[str, str]]:
        """Reports that the product has not been told of: the payment's id, the report's name."""
        for path in _files(self._archive / "unpublished"):
            payment_id, tilde, name = path.name.partition("~")
            if tilde:
                yield payment_id, name

    def published(self, payment_id: str, name: str) -> None:
        """The product has been told of a report."""
        (self._archive / "unpublished" / f"{payment_id}~{name}").unlink(missing_ok=True)

    def _place(self, payment_id: str) -> Path:
        return self._archive / "payments" / payment_id[:2] / payment_id

    def _note(self, place: Path, payment: Payment) -> None:
        _folder(place / "reports")
        _made(place / "payment.json", json.dumps(asdict(payment)).encode())

    def _must_be_there(self) -> None:
        if not self._outbox.is_dir():
            raise FileNotFoundError(f"no outbox at {self._outbox}")

    def _send(self, name: str, data: bytes) -> None:
        """Put a file into the outbox. Raises NotSent; OSError if it may be there all the same."""
        target = self._outbox / f"{name}.xml"
        part = self._outbox / f".{name}.tmp"
        if target.exists():
            raise FileExistsError(f"{target.name} waits in the outbox already")
        try:
            _written(part, data, OUTBOX_MODE)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            raise NotSent(error.errno, error.strerror or str(error)) from None
        # A network's file system may answer an error and have renamed it.
        part.rename(target)
        with contextlib.suppress(OSError):
            _synced(self._outbox)

    def _waiting(self) -> list[str]:
        """Whole files in the inbox. Raises OSError."""
        return sorted(
            entry.name
            for entry in os.scandir(self._inbox)
            if entry.is_file(follow_symlinks=False)
            and not entry.name.startswith(".")
            and not entry.name.lower().endswith(UNFINISHED)
        )

    def _taken_in(self, path: Path) -> str:
        """Keep a file, file its reports, and only then let go of it; what became of it."""
        try:
            data = _read(path)
        except FileNotFoundError:
            return ""  # another process has finished it
        except MessageRefused as refused:
            return self._refuse(path, path.name, str(refused))
        digest = sha256(data).hexdigest()
        try:
            reports = read_reports(data)
        except MessageRefused as refused:
            return self._refuse(path, digest, str(refused))
        kept = self._archive / "received" / digest[:2]
        _folder(kept)
        _made(kept / f"{digest}.xml", data)
        ours = sum(self._filed(report, f"{digest[:32]}-{at}") for at, report in enumerate(reports))
        path.unlink(missing_ok=True)
        return "reported" if ours else "not_ours"

    def _filed(self, report: Report, name: str) -> bool:
        """Whether a report is of a payment of ours; then it is kept and is to be published."""
        for payment_id in report.ids:
            place = self._place(payment_id)
            if (place / "payment.json").exists():
                # The mark first: a report that is kept and unmarked would never be told of.
                new = not (place / "reports" / f"{name}.json").exists()
                if new:
                    unpublished = self._archive / "unpublished"
                    _folder(unpublished)
                    _made(unpublished / f"{payment_id}~{name}.json", b"")
                _made(place / "reports" / f"{name}.json", json.dumps(asdict(report)).encode())
                return True
        return False

    def _refuse(self, path: Path, name: str, reason: str) -> str:
        refused = self._archive / "refused"
        _folder(refused)
        _made(refused / f"{name}.reason", f"{reason}\n".encode())
        # In pieces, as it may be huge; copied, as the inbox may be on another file system.
        try:
            _copied(path, refused / f"{name}.xml")
        except FileNotFoundError:
            return ""
        path.unlink(missing_ok=True)
        log.warning("a file of the bank was refused: %s; it is kept as refused/%s", reason, name)
        return f"refused_{reason}"


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.is_file())
    except FileNotFoundError:
        return []


def _folder(path: Path) -> None:
    """Make a folder that only we can read, and those above it, for good."""
    if path.is_dir():
        return
    if not path.parent.is_dir():
        _folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    _synced(path.parent)


def _made(path: Path, data: bytes) -> bool:
    """Make a file whole and for good, unless there is one by that name; whether it was made."""
    if path.exists():
        return False
    part = path.with_name(f".{uuid4().hex}.tmp")
    try:
        _written(part, data)
        os.link(part, path)
    except FileExistsError:
        return False
    finally:
        part.unlink(missing_ok=True)
    _synced(path.parent)
    return True


def _written(path: Path, data: bytes, mode: int = 0o600) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _synced(folder: Path) -> None:
    """Make the names in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes:
    """A file of bounded size. Raises MessageRefused, OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise MessageRefused("no_file")
        data = file.read(MESSAGE_BYTES_MAX + 1)
    if len(data) > MESSAGE_BYTES_MAX:
        raise MessageRefused("too_large")
    return data


def _copied(source: Path, target: Path) -> None:
    part = target.with_name(f".{uuid4().hex}.tmp")
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as read, part.open("xb") as write:
        part.chmod(0o600)
        while piece := read.read(1024 * 1024):
            write.write(piece)
        write.flush()
        os.fsync(write.fileno())
    part.replace(target)


def _report(path: Path) -> Report:
    raw = json.loads(path.read_bytes())
    return Report(**{**raw, "ids": tuple(raw["ids"])})
