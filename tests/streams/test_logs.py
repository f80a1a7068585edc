"""Logs: structured, and without what must not be in them."""

import io
import json
import logging
import time
import uuid
from collections.abc import Iterator

import pytest

from streams.logs import MESSAGE_CHARS_MAX, mask, seller_hash, setup_logging

SECRETS = [
    ("mail to anna.meier+x@example.co.uk now", "anna.meier"),
    ("from a.b@x.example+anna.meier@y.example", "anna.meier"),
    ("my_secret_token_2=hunter2", "hunter2"),
    ("IBAN DE89370400440532013000 refused", "370400440532013000"),
    ("IBAN DE89 3704 0044 0532 0130 00 refused", "0532"),
    ("IBAN GB29NWBK60161331926819", "NWBK"),
    ("card 4111111111111111 declined", "4111111111111111"),
    ("card 4111-1111-1111-1111 declined", "1111-1111"),
    ("card 4111 1111 1111 1111.", "1111 1111"),
    ("amex 3782 822463 10005", "822463"),
    ("redis://default:hunter2@host:6379/0", "hunter2"),
    ("redis://:hunter2@host:6379/0", "hunter2"),
    ("Authorization: Bearer abc.def-123", "abc.def-123"),
    ("client_secret=hunter2&grant=x", "hunter2"),
    ("PAYOUTS_ACCOUNT_KEY=hunter2", "hunter2"),
    ("seal_keys: main:hunter2", "hunter2"),
    ("'explore-key': 'hunter2'", "hunter2"),
    ('{"access_token": "hunter2", "n": 1}', "hunter2"),
    ("password: 'hunter 2'", "hunter"),
    ("sasl.password=hunter2", "hunter2"),
    ("Proxy-Authorization: Basic aHVudGVyMg==", "aHVudGVyMg"),
]

HARMLESS = [
    "booked 1234 of EUR at 2026-11-23T22:00:40.123Z",
    f"payout {uuid.UUID(int=0x1234567890123456789012345678ABCD)}",
    "payout 12345678-1234-5678-1234-567812345678 settled",
    "sales[12]@4711 lag 99",
    "partition 3 offset 12345678901",
    "IN 12 batches, EU27 sellers",
    "seller 3f9a0c1b2d4e",
]


@pytest.mark.parametrize(("text", "hidden"), SECRETS)
def test_secrets_and_personal_data_are_masked(text: str, hidden: str) -> None:
    masked = mask(text)
    assert hidden not in masked
    assert "***" in masked


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_harmless_stays(text: str) -> None:
    assert mask(text) == text


def test_a_long_message_is_cut() -> None:
    assert len(mask("x" * 100_000)) == MESSAGE_CHARS_MAX


@pytest.mark.parametrize("part", ["x", "token", "a.", "a@b.c+", "1", "token = ", "AB12CDEF"])
def test_no_message_takes_long(part: str) -> None:
    began_s = time.thread_time()
    mask(part * MESSAGE_CHARS_MAX)
    # Milliseconds, but 0.3 s for names of nothing but secrets: each could begin the name.
    assert time.thread_time() - began_s < 1.5


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield io.StringIO()
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def test_json_lines_carry_fields(output: io.StringIO) -> None:
    setup_logging("json", "INFO", output)
    logging.getLogger("streams.x").info(
        "booked %d", 3, extra={"payout": "p1", "password": "hunter2", "note": "a@b.ch", "n": 1}
    )
    logging.getLogger("streams.x").debug("not this")
    entry = json.loads(output.getvalue())
    assert entry.pop("at").endswith("Z")
    assert entry == {
        "level": "info",
        "logger": "streams.x",
        "message": "booked 3",
        "payout": "p1",
        "password": "***",
        "note": "***@***",
        "n": 1,
    }


class Terminal(io.StringIO):
    """A stream that people look at."""

    def isatty(self) -> bool:
        return True


def test_a_person_reads_text_and_a_collector_json(output: io.StringIO) -> None:
    setup_logging("auto", "INFO", output)
    logging.getLogger("x").info("booked")
    assert json.loads(output.getvalue())["message"] == "booked"
    setup_logging("auto", "INFO", terminal := Terminal())
    logging.getLogger("x").info("booked")
    assert terminal.getvalue().endswith("INFO    x: booked\n")
    setup_logging("json", "INFO", terminal := Terminal())
    logging.getLogger("x").info("booked")
    assert json.loads(terminal.getvalue())["message"] == "booked"


def test_a_traceback_is_masked_and_stays_on_the_line(output: io.StringIO) -> None:
    setup_logging("json", "INFO", output)
    try:
        raise ValueError("card 4111111111111111")
    except ValueError:
        logging.getLogger("x").exception("failed")
    (line,) = output.getvalue().splitlines()
    assert "ValueError: card ***" in json.loads(line)["error"]
    assert json.loads(line)["exception"] == "ValueError"
    assert "4111111111111111" not in line


def test_arguments_of_other_libraries_are_masked(output: io.StringIO) -> None:
    setup_logging("text", "INFO", output)
    logging.getLogger("faust").warning("cannot reach %r", "redis://u:hunter2@h:1")
    assert "hunter2" not in output.getvalue()
    assert "cannot reach 'redis://***@h:1'" in output.getvalue()


def test_a_wrong_format_string_costs_nothing(output: io.StringIO) -> None:
    setup_logging("text", "INFO", output)
    logging.getLogger("x").info("%d items", "hunter2")
    assert "%d items" in output.getvalue()
    assert "hunter2" not in output.getvalue()


def test_text_is_one_line_an_entry(output: io.StringIO) -> None:
    setup_logging("text", "INFO", output)
    logging.getLogger("x").info("a\nb", extra={"topic": "sales"})
    (line,) = output.getvalue().splitlines()
    assert line.endswith("INFO    x: a b topic=sales")


def test_a_seller_is_a_stable_hash() -> None:
    assert seller_hash("seller-1") == seller_hash("seller-1")
    assert seller_hash("seller-1") != seller_hash("seller-2")
    assert len(seller_hash("seller-1")) == 12
