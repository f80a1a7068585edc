"""Logs: one line an entry, JSON or text, without secrets and without personal data.

Beside the message an entry carries fields: ``log.info("booked", extra={"payout": payout_id})``.
An entry about an event or a payout names it so: ``event``, ``payout``, ``seller`` (as
:func:`seller_hash`, never her id), ``rail``, and ``topic``, ``partition`` and ``offset`` of a
message. A test holds every call to that.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Literal, TextIO

MASK = "***"

MESSAGE_CHARS_MAX = 8_192
"""Longest message and longest field, in characters; the rest is cut."""

_SECRET_NAME = re.compile(
    r"passw|secret|token|api[_-]?key|authorization|cookie|destination|seal_keys|private|iban|pan$",
    re.IGNORECASE,
)
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # user:password@ in an address
    (re.compile(r"(?<=://)[^\s/@]*@"), MASK + "@"),
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]+", re.IGNORECASE), r"\1 " + MASK),
    # name=value, name: value and "name": "value" of what is called a secret; as with the next
    # rule, no run of characters is gone through twice: text of any kind may come to be logged
    (
        re.compile(
            r"""((?:passw(?:or)?d|passphrase|secret|token|authorization
            |(?:api|seal|explore|account|webhook)[_-]?keys?)[\w.-]*+
            ["']?\s*[=:]\s*)(?:"[^"]*"|'[^']*'|(?!Bearer|Basic)[^\s,;&)}\]]+)""",
            re.IGNORECASE | re.VERBOSE,
        ),
        r"\1" + MASK,
    ),
    # an e-mail address; those that hang together by what may be in a name are masked as one
    (
        re.compile(
            r"(?<![\w.+-])[\w.+-]++@[\w-]+(?:\.[\w-]+)+(?:[.+-][\w.+-]*+@[\w-]+(?:\.[\w-]+)+)*"
        ),
        MASK + "@" + MASK,
    ),
    # an IBAN, printed in groups or not
    (
        re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b"),
        MASK,
    ),
    # a card or account number; guarded against matching inside of a UUID
    (
        re.compile(
            r"(?<![\w-])(?:\d{4}[ -]\d{4}[ -]\d{4}[ -]\d{1,7}|\d{4}[ -]\d{6}[ -]\d{5}|\d{12,34})"
            r"(?![\w-])"
        ),
        MASK,
    ),
)

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def mask(text: str) -> str:
    """The text without what looks like a secret, an e-mail address, an IBAN or a card number."""
    text = text[:MESSAGE_CHARS_MAX]
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


@lru_cache(maxsize=16_384)
def seller_hash(seller_id: str) -> str:
    """Twelve hexadecimal digits that stand for a seller in logs: the same seller, the same ones."""
    return blake2b(seller_id.encode(), digest_size=6, person=b"payouts-log").hexdigest()


class MaskFilter(logging.Filter):
    """Masks message, fields and traceback of every record that passes, from whatever library."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask in place; let everything through."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            # A wrong format string in a library must not cost the entry, nor print its arguments.
            message = str(record.msg)
        record.msg, record.args = mask(message), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = mask(record.exc_text)
        for name in record.__dict__.keys() - _STANDARD:
            record.__dict__[name] = _masked_field(name, record.__dict__[name])
        return True


def _masked_field(name: str, value: Any) -> Any:
    if _SECRET_NAME.search(name):
        return MASK
    if value is None or isinstance(value, bool | int | float):
        return value
    return mask(str(value))


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {
        name: value
        for name, value in record.__dict__.items()
        if name not in _STANDARD and not name.startswith("_")
    }


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at, level, logger, message, the fields, exception and error.

    ``at`` is of RFC 3339, in UTC; ``exception`` is the class of one and ``error`` its traceback.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line. A field that JSON cannot hold is written as its text."""
        entry = {
            "at": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info and record.exc_info[0] is not None:
            entry["exception"] = record.exc_info[0].__qualname__
        if record.exc_text:
            entry["error"] = record.exc_text
        return json.dumps(entry, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """For people: time, level, logger, message, fields as name=value, traceback below."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback if there is one."""
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        message = " ".join(record.getMessage().splitlines())
        line = f"{_time(record)} {record.levelname:<7} {record.name}: {message}{fields}"
        return f"{line}\n{record.exc_text}" if record.exc_text else line


Form = Literal["auto", "json", "text"]


def setup_logging(form: Form, level: str = "INFO", stream: TextIO | None = None) -> logging.Handler:
    """Send all logs of the process, masked, to `stream` (stderr), and return the handler.

    ``auto``: text where the stream is a terminal, and so read by a person; else JSON.
    """
    stream = stream or sys.stderr
    if form == "auto":
        form = "text" if stream.isatty() else "json"
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    handler.addFilter(MaskFilter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    # Faust tells of every service it starts and stops: of use to nobody who runs a worker.
    for chatty in ("faust", "mode"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    logging.captureWarnings(capture=True)
    return handler
