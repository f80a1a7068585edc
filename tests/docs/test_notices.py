"""What docs/notices.md shows is what a company gets, and its example verifies it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from pydantic import SecretStr
from pydantic_core import to_json

from models.notices import TRY_AFTER_MS, notice_of
from streams.notices.courier import Courier
from streams.notices.endpoint import Endpoint
from streams.notices.pending import PENDING_MAX
from tests.docs.test_pages import ROOT, block
from tests.streams.notices.harness import NEXT_SECRET, SECRET, update

PAGE = (ROOT / "docs" / "notices.md").read_text(encoding="utf-8")


def signed(body: bytes, secret: str) -> dict[str, str]:
    courier = Courier(Endpoint("https://company.example", [SecretStr(secret)], 1, 1))
    return courier.headers(json.loads(body)["id"], body, int(time.time() * 1000))


def test_the_example_takes_a_notice_once_and_refuses_a_forged_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NOTICES_SECRET", SECRET)
    names: dict[str, Any] = {}
    exec(compile(block("notices.md", "python"), "docs/notices.md", "exec"), names)
    body = to_json(notice_of(update()).event)
    assert names["take"](signed(body, SECRET), body) == 204
    assert names["take"](signed(body, SECRET), body) == 204
    assert capsys.readouterr().out.count("payout.settled") == 1
    assert names["take"](signed(body, NEXT_SECRET), body) == 401
    assert names["take"](signed(body, SECRET), body.replace(b"3206", b"9999")) == 401


def test_the_body_shown_is_of_the_shape_that_is_sent() -> None:
    shown = json.loads(block("notices.md", "json"))
    made = notice_of(update()).event
    assert list(shown) == list(made)
    assert list(shown["data"]) == list(made["data"])


def test_the_waits_are_those_of_the_code() -> None:
    units = {3_600_000: "h", 60_000: "min", 1_000: "s"}

    def words(ms: int) -> str:
        unit = next(each for each in units if ms >= each)
        return f"{ms // unit} {units[unit]}"

    *most, last = [words(ms) for ms in TRY_AFTER_MS[1:]]
    assert f"{', '.join(most)} and {last}" in PAGE.replace("\n", " ")
    assert f"{PENDING_MAX:,} notices a shard**, {PENDING_MAX * 64:,}" in PAGE
