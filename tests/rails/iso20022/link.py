"""The company's end of a bank link, as the tests set it up."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path

from models.payouts import FailureCategory
from rails.iso20022.exchange import Exchange
from rails.iso20022.messages import Debtor
from rails.iso20022.rail import Iso20022Rail
from rails.rail import Instruction, Rail
from rails.sandbox.server import Sandbox
from tests.rails.contract import FAILURES, REFUSALS, TIMEOUT_S, ContractConfig, plain_instruction

F = FailureCategory
IBAN = "DE89370400440532013000"
DEBTOR = Debtor("Muster GmbH", "DE75512108001245126199", "SANDDEFFXXX")


def directories(root: Path) -> tuple[Path, Path, Path]:
    return root / "outbox", root / "inbox", root / "archive"


def rail_at(root: Path, **changes: object) -> Iso20022Rail:
    timeout_ms = round(TIMEOUT_S * 1000)
    options: dict[str, object] = {"timeout_ms": timeout_ms, "ask_after_ms": 0, "poll_ms": 10}
    return Iso20022Rail(
        Exchange(*directories(root)),
        DEBTOR,
        now_ms=lambda: time.time_ns() // 1_000_000,
        **{**options, **changes},  # type: ignore[arg-type]
    )


async def _open(sandbox: Sandbox) -> Rail:
    assert sandbox.bank is not None
    return rail_at(sandbox.bank.outbox.parent)


def destination(behaviour: str = "", iban: str = IBAN) -> str:
    holder = f"{behaviour or 'plain'}+Anna Secret"
    return json.dumps({"kind": "iban", "iban": iban, "holder": holder})


CONFIG = ContractConfig(
    open=_open,
    destination=destination,
    invalid_destination="anna.secret@example.com",
    failures={**FAILURES, "limit": F.RECIPIENT},
    refusals=REFUSALS,
    returns=("returned", "refunded", "reversed"),
    provider="iso20022",
    claims=False,
    duplicates=False,
    unique=lambda: str(uuid.uuid4())[2:],
    found_by_id=True,
    repeats=False,
    connections=False,
)


def instruction(behaviour: str = "", **changes: object) -> Instruction:
    return plain_instruction(CONFIG, behaviour, **changes)
