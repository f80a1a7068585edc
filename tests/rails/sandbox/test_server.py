"""The sandbox as a server: its own paths, its webhooks, its start and its end."""

import asyncio
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from models.payouts import PayoutState
from rails.paypal.rail import paypal_rail
from rails.rail import Instruction
from rails.sandbox.behaviours import UNCLAIMED_MS
from rails.sandbox.server import Sandbox, serve
from tests.rails.company import Company

ROOT = Path(__file__).resolve().parents[3]


def _instruction(behaviour: str = "") -> Instruction:
    return Instruction(
        payout_id=f"2a{uuid.uuid4().hex}",
        amount_minor=1050,
        currency="EUR",
        destination=f"{behaviour or 'plain'}+anna@example.com",
        seller_ref="s-1",
    )


async def _get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def _post(url: str, data: bytes) -> int:
    async with aiohttp.ClientSession() as session, session.post(url, data=data) as response:
        return response.status


class TestConsole:
    async def _filled(self, sandbox: Sandbox, payouts: int) -> list[str]:
        rail = paypal_rail(sandbox.rail_settings())
        instructions = [_instruction() for _ in range(payouts)]
        await asyncio.gather(*(rail.submit(one) for one in instructions))
        await rail.close()
        return [one.payout_id for one in instructions]

    @pytest.mark.parametrize("payouts", [0, 1, 3])
    async def test_books_in_both_formats(
        self, payouts: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("rails.sandbox.server.ROWS_A_CHUNK", 2)
        async with await serve() as sandbox:
            ids = await self._filled(sandbox, payouts)
            _, text = await _get(f"{sandbox.url}/sandbox/books")
            rows = json.loads(text)["payouts"]
            assert [row["payout_id"] for row in rows] == ids
            _, lines = await _get(f"{sandbox.url}/sandbox/books?format=lines")
            assert [json.loads(line) for line in lines.splitlines() if line] == rows

    async def test_summary(self) -> None:
        async with await serve(settle_delay_ms=0) as sandbox:
            await self._filled(sandbox, 3)
            _, text = await _get(f"{sandbox.url}/sandbox/summary")
            summary = json.loads(text)
            assert (summary["payouts"], summary["executions"]) == (3, 3)
            assert summary["paid_more_than_once"] == 0
            assert summary["statuses"] == {"SUCCESS": 3}
            assert summary["paid_minor"] == {"EUR": 3150}
            assert summary["requests"]["create"] == 3

    async def test_control(self) -> None:
        async with await serve() as sandbox:
            url = f"{sandbox.url}/sandbox/control"
            assert await _post(url, b'{"advance_ms": 1000, "funded": false}') == 204
            assert sandbox.clock.ahead_ms == 1_000
            assert not sandbox.providers["paypal"].funded
            assert await _post(url, b'{"revoke_tokens": true}') == 204
            assert sandbox.clock.ahead_ms == 1_000

    @pytest.mark.parametrize(
        ("wish", "line"),
        [
            ("", "not a JSON object"),
            ("[]", "not a JSON object"),
            ({"befal": {}}, "unknown: befal; there are befall,"),
            ({"advance_ms": -1}, "advance_ms is a whole number from 0 to"),
            ({"advance_ms": "1"}, "advance_ms is a whole number from 0 to"),
            ({"advance_ms": True}, "advance_ms is a whole number from 0 to"),
            ({"funded": 1}, "funded is true or false"),
            ({"revoke_tokens": "no"}, "revoke_tokens is true or false"),
            ({"befall": ["slow"]}, "befall is an object"),
            ({"befall": {"pigeon": 1, "slow": 1}}, "befall names no behaviour: pigeon"),
            ({"befall": {"slow": -1}}, "befall slow is a whole number from 0"),
            ({"befall": {"slow": 1.0}}, "befall slow is a whole number from 0"),
            ({"befall": {"slow": True}}, "befall slow is a whole number from 0"),
            ({"befall": {"slow": 99_999, "garbage": 2}}, "100000 may wait to befall, 0 do already"),
            ({"befall": {"webhook-lost": 1}}, "without a webhook address there can be no"),
        ],
    )
    async def test_a_wish_that_cannot_be_is_refused_whole(self, wish: object, line: str) -> None:
        async with await serve() as sandbox, aiohttp.ClientSession() as session:
            if isinstance(wish, dict):
                wish = json.dumps({"advance_ms": 5, "funded": False, **wish})
            async with session.post(f"{sandbox.url}/sandbox/control", data=wish) as answer:
                text = await answer.text()
            assert (answer.status, text.count("\n")) == (400, 1)
            assert text.startswith(line)
            assert (sandbox.clock.ahead_ms, sandbox.providers["paypal"].funded) == (0, True)
            assert sandbox.providers["paypal"].befalls.waiting() == 0

    async def test_health(self) -> None:
        async with await serve() as sandbox:
            assert await _get(f"{sandbox.url}/healthz") == (200, "ok")


async def test_webhooks_from_end_to_end() -> None:
    async with (
        Company() as company,
        await serve(settle_delay_ms=20, webhook_urls={"paypal": company.url}) as sandbox,
    ):
        rail = paypal_rail(company.trust(sandbox))
        expected = {}
        for behaviour, states in {
            "": ["settled"],
            "returned": ["settled", "returned"],
            "closed": ["failed"],
            "unclaimed": ["unclaimed"],
            "onhold": ["accepted", "settled"],
            "webhook-lost": [],
            "webhook-forged": [],
            "webhook-twice": ["settled", "settled"],
            "novelty": [],
        }.items():
            instruction = _instruction(behaviour)
            assert (await rail.submit(instruction)).state is PayoutState.ACCEPTED
            expected[instruction.payout_id] = states
        # Nine published and two forged.
        await company.until(11)
        got: dict[str, list[str]] = {payout_id: [] for payout_id in expected}
        for report in company.reports:
            got[report["payout_id"]].append(report["state"])
        assert got == expected
        assert company.results.count("signature_refused") == 2
        assert company.results.count("published") == len(company.reports) == 9
        for report in company.reports:
            assert report["seller_id"] == "seller-1"
            assert "anna" not in json.dumps(report)
        await rail.close()


async def test_a_cancellation_is_reported_and_nothing_after_it() -> None:
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, what: errors.append(what))
    async with (
        Company() as company,
        await serve(settle_delay_ms=0, webhook_urls={"paypal": company.url}) as sandbox,
    ):
        rail = paypal_rail(company.trust(sandbox))
        instruction = _instruction("unclaimed")
        outcome = await rail.submit(instruction)
        await company.until(1)
        kept = replace(instruction, provider_ref=outcome.provider_ref)
        assert (await rail.cancel(kept)).state is PayoutState.CANCELLED
        await company.until(2)
        sandbox.clock.ahead_ms = UNCLAIMED_MS + 1_000
        await asyncio.sleep(0.15)
        assert [report["state"] for report in company.reports] == ["unclaimed", "cancelled"]
        await rail.close()
    gc.collect()
    assert errors == []


async def test_a_webhook_nobody_takes_is_tried_again_then_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rails.sandbox.hooks.TRY_AGAIN_MS", 10)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        async with await serve(settle_delay_ms=0, webhook_urls={"paypal": url}) as sandbox:
            rail = paypal_rail(sandbox.rail_settings())
            await rail.submit(_instruction())
            await rail.close()
            hooks = sandbox.providers["paypal"].hooks
            assert hooks is not None
            for _ in range(250):
                if hooks.dropped:
                    break
                await asyncio.sleep(0.02)
            assert (hooks.dropped, hooks.sent) == (1, 0)


async def test_webhooks_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rails.sandbox.hooks.WAITING_MAX", 2)
    async with await serve(
        settle_delay_ms=60_000, webhook_urls={"paypal": "http://127.0.0.1:1/"}
    ) as sandbox:
        rail = paypal_rail(sandbox.rail_settings())
        for _ in range(5):
            await rail.submit(_instruction())
        await rail.close()
        hooks = sandbox.providers["paypal"].hooks
        assert hooks is not None
        assert hooks.dropped == 3


async def test_a_taken_port_is_an_error_and_leaves_nothing_behind() -> None:
    async with await serve() as sandbox:
        port = int(sandbox.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            await serve(port=port)


async def test_closing_does_not_wait_for_silence() -> None:
    async with await serve() as sandbox:
        rail = paypal_rail(sandbox.rail_settings())
        silent = asyncio.create_task(rail.submit(_instruction("timeout-after")))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await sandbox.close()
        assert time.monotonic() - began < 3
        assert (await silent).state is PayoutState.UNKNOWN
        await rail.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_ends_in_peace(number: signal.Signals) -> None:
    code = (
        "from rails.sandbox.server import run_sandbox\n"
        "run_sandbox(port=0, on_ready=lambda url: __import__('sys').stdout.write(url + chr(10)) "
        "and __import__('sys').stdout.flush())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
        assert (process.returncode, errors) == (0, "")


async def test_webhooks_of_a_provider_that_is_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match="no provider 'pigeon'; there are adyen, "):
        await serve(webhook_urls={"pigeon": "http://127.0.0.1:1/"})
