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
from aiohttp import web

from models.events import PayoutReported, decode
from models.payouts import PayoutState
from rails.paypal.rail import paypal_rail
from rails.rail import Instruction
from rails.registry import open_verifiers
from rails.sandbox.behaviours import UNCLAIMED_MS
from rails.sandbox.server import Sandbox, serve
from rails.webhooks import webhook_app

ROOT = Path(__file__).resolve().parents[3]


def _instruction(behaviour: str = "") -> Instruction:
    return Instruction(
        payout_id=str(uuid.uuid4()),
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
            assert not sandbox.paypal.funded
            assert await _post(url, b'{"revoke_tokens": true}') == 204
            assert sandbox.clock.ahead_ms == 1_000
            for wrong in (b"", b"[]", b'{"advance_ms": -1}', b'{"advance_ms": "1"}'):
                assert await _post(url, wrong) == 400

    async def test_health(self) -> None:
        async with await serve() as sandbox:
            assert await _get(f"{sandbox.url}/healthz") == (200, "ok")


class Company:
    """The receiver of webhooks, as the product runs it."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []
        self.results: list[str] = []
        self.url = ""
        self.runner: web.AppRunner | None = None
        self.verifiers: dict[str, Any] = {}

    async def start(self) -> None:
        app = webhook_app(
            self.verifiers,
            self._publish,
            self._seller_of,
            count=lambda _rail, result: self.results.append(result),
        )
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/webhooks/paypal"

    async def _publish(self, *, topic: str, key: bytes, value: bytes) -> None:
        assert (topic, key) == ("rail.updates", b"seller-1")
        now_ms = time.time_ns() // 1_000_000
        event = decode(topic, value, now_ms=now_ms, retention_ms=60_000)
        assert isinstance(event, PayoutReported)
        self.reports.append(json.loads(value))

    async def _seller_of(self, _payout_id: str) -> str | None:
        return "seller-1"

    async def until(self, results: int, within_s: int = 5) -> None:
        for _ in range(within_s * 50):
            if len(self.results) >= results:
                break
            await asyncio.sleep(0.02)


async def test_webhooks_from_end_to_end() -> None:
    company = Company()
    await company.start()
    async with await serve(settle_delay_ms=20, webhook_url=company.url) as sandbox:
        settings = sandbox.rail_settings()
        company.verifiers.update(open_verifiers({"paypal": settings}))
        rail = paypal_rail(settings)
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
        # Nine published and one forged.
        await company.until(10)
        got: dict[str, list[str]] = {payout_id: [] for payout_id in expected}
        for report in company.reports:
            got[report["payout_id"]].append(report["state"])
        assert got == expected
        assert company.results.count("signature_refused") == 1
        assert company.results.count("published") == len(company.reports) == 9
        for report in company.reports:
            assert report["seller_id"] == "seller-1"
            assert "anna" not in json.dumps(report)
        await rail.close()
    assert company.runner is not None
    await company.runner.cleanup()


async def test_a_cancellation_is_reported_and_nothing_after_it() -> None:
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, what: errors.append(what))
    company = Company()
    await company.start()
    async with await serve(settle_delay_ms=0, webhook_url=company.url) as sandbox:
        settings = sandbox.rail_settings()
        company.verifiers.update(open_verifiers({"paypal": settings}))
        rail = paypal_rail(settings)
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
    assert company.runner is not None
    await company.runner.cleanup()


async def test_a_webhook_nobody_takes_is_tried_again_then_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rails.sandbox.hooks.TRY_AGAIN_MS", 10)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        async with await serve(settle_delay_ms=0, webhook_url=url) as sandbox:
            rail = paypal_rail(sandbox.rail_settings())
            await rail.submit(_instruction())
            await rail.close()
            assert sandbox.hooks is not None
            for _ in range(250):
                if sandbox.hooks.dropped:
                    break
                await asyncio.sleep(0.02)
            assert (sandbox.hooks.dropped, sandbox.hooks.sent) == (1, 0)


async def test_webhooks_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rails.sandbox.hooks.WAITING_MAX", 2)
    async with await serve(settle_delay_ms=60_000, webhook_url="http://127.0.0.1:1/") as sandbox:
        rail = paypal_rail(sandbox.rail_settings())
        for _ in range(5):
            await rail.submit(_instruction())
        await rail.close()
        assert sandbox.hooks is not None
        assert sandbox.hooks.dropped == 3


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
