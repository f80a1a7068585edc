"""`payouts webhooks`, on a real broker."""

from __future__ import annotations

import asyncio

import pytest
from typer.testing import CliRunner

from streams.cli import app
from streams.settings import load_settings
from streams.wallets.rebuild import Sender
from streams.webhooks import kept
from tests.streams.wallets.harness import SEAL_KEYS

BODY = b'{"event_type":"PAYMENT.PAYOUTS-ITEM.SUCCEEDED"}'


@pytest.fixture
def calls(own_broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYOUTS_KAFKA_BROKERS", own_broker)
    monkeypatch.setenv("PAYOUTS_SEAL_KEYS", SEAL_KEYS)
    settings = load_settings()
    messages = [
        kept("paypal", {"X-Number": str(number)}, BODY, settings.seal(), 1_790_000_000_000 + number)
        for number in range(3)
    ]
    asyncio.run(Sender(settings.kafka_client()).send(messages))


def test_lists_the_newest_and_shows_one_as_it_came(calls: None) -> None:
    listed = CliRunner().invoke(app, ["webhooks", "list", "--rail", "paypal", "--limit", "2"])
    assert listed.exit_code == 0
    lines = [line.split() for line in listed.stdout.splitlines()]
    assert [(at[-5:], rail) for at, _, rail in lines] == [
        (".001Z", "paypal"),
        (".002Z", "paypal"),
    ]
    shown = CliRunner().invoke(app, ["webhooks", "show", lines[-1][1]])
    assert shown.stdout.encode() == b"x-number: 2\n\n" + BODY + b"\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["list", "--rail", "nobody"], "there is no rail 'nobody'"),
        (["show", "webhooks"], "not topic:partition:offset"),
        (["show", "webhooks:0:99999"], "there is no call at webhooks:0:99999"),
    ],
)
def test_says_in_a_line_what_is_wrong(calls: None, arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(app, ["webhooks", *arguments])
    assert result.exit_code != 0
    assert says in result.stderr
    assert len(result.stderr.splitlines()) <= 2


def test_a_key_that_is_not_there_is_named(calls: None, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = CliRunner().invoke(app, ["webhooks", "list"])
    monkeypatch.setenv("PAYOUTS_SEAL_KEYS", "other:" + "B" * 43 + "=")
    result = CliRunner().invoke(app, ["webhooks", "show", listed.stdout.split()[1]])
    assert result.exit_code == 1
    assert "no key 'test'" in result.stderr
