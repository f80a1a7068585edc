"""A bank link as a rail: a payment goes out as a file once, and what comes back is folded.

Silence is UNKNOWN and stays so until the bank says something; nothing is ever sent a second time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

from models.payouts import PAID, FailureCategory, PayoutState
from rails.accounts import read_account
from rails.iso20022 import mapping
from rails.iso20022.capabilities import ISO20022
from rails.iso20022.exchange import Exchange, NotSent
from rails.iso20022.mapping import Payment
from rails.iso20022.messages import Debtor, Form, payment_written, question_written
from rails.iso20022.settings import Iso20022Settings
from rails.rail import (
    Capabilities,
    Instruction,
    Outcome,
    failed,
    payout_of,
    refused,
    unknown,
    wall_clock_ms,
)

log = logging.getLogger(__name__)

ANSWER_MS_MAX = 7_000
"""SEPA Instant's hard limit for an answer; five seconds are the rule."""

ASK_AFTER_MS = 10_000
"""By then funds are there or released, so that from then on asking makes sense."""

POLL_MS = 100

_ENDED = frozenset({PayoutState.FAILED, PayoutState.RETURNED})


class Iso20022Rail:
    """The Rail protocol over files to a bank and from it."""

    capabilities: Capabilities = ISO20022

    def __init__(
        self,
        exchange: Exchange,
        debtor: Debtor,
        *,
        now_ms: Callable[[], int],
        form: Form = "pacs.008",
        timeout_ms: int = ANSWER_MS_MAX,
        ask_after_ms: int = ASK_AFTER_MS,
        poll_ms: int = POLL_MS,
        name: str = "iso20022",
    ) -> None:
        """``timeout_ms``: how long an answer is waited for; ``ask_after_ms``: how long after a
        submission the bank is asked about it, at the soonest."""
        self.name = name
        self._exchange = exchange
        self._debtor = debtor
        self._now_ms = now_ms
        self._form: Form = form
        self._timeout_ms = timeout_ms
        self._ask_after_ms = ask_after_ms
        self._poll_s = poll_ms / 1000
        self._reading = asyncio.Lock()
        self._read_at = float("-inf")

    async def submit(self, instruction: Instruction) -> Outcome:
        """Send the payment's file, unless one was sent before, and wait for a word of it."""
        refusal = self._refusal(instruction)
        if refusal is not None:
            return refused(refusal, repeat=False)
        payment = mapping.payment_of(instruction)
        data = payment_written(
            self._form,
            payment.id,
            instruction,
            read_account(instruction.destination),
            debtor=self._debtor,
            now=self._now(),
        )
        try:
            await asyncio.to_thread(self._exchange.order, payment, data)
        except NotSent as error:
            log.warning(
                "cannot write to the outbox: %s",
                error.strerror,
                extra={"rail": self.name, "payout": instruction.payout_id},
            )
            return failed(FailureCategory.RETRYABLE, "outbox_not_writable")
        except OSError:
            return unknown("outbox_unclear")
        return await self._heard(payment, set()) or unknown("no_status_report")

    async def enquire(self, instruction: Instruction) -> Outcome:
        """Read what came in; unless that is the end, ask the bank and wait for a word."""
        payment = mapping.payment_of(instruction)
        await self._read()
        if await self._is_another(payment, instruction):
            return unknown("reference_mismatch", instruction.provider_ref)
        known = await asyncio.to_thread(self._exchange.reports, payment.id)
        outcome = mapping.folded(payment, known.values())
        silence = unknown("no_status_report", instruction.provider_ref)
        if self._form == "pain.001" or self._too_soon(instruction):
            # A customer has no message to ask with: its bank reports by itself.
            return outcome or silence
        if outcome is None or outcome.state not in _ENDED:
            return await self._asked(payment, outcome, set(known)) or silence
        return outcome

    async def cancel(self, instruction: Instruction) -> Outcome:
        """A credit transfer that was sent cannot be stopped: where it stands."""
        return await self.enquire(instruction)

    async def close(self) -> None:
        """Nothing is held open."""

    def _refusal(self, instruction: Instruction) -> str | None:
        """Why the payout is refused on our side, as a machine code."""
        refusal = mapping.destination_refusal(instruction.destination)
        if refusal is not None:
            return refusal
        country = read_account(instruction.destination).country
        return self.capabilities.refusal(instruction.currency, instruction.amount_minor, country)

    def _too_soon(self, instruction: Instruction) -> bool:
        first_ms = instruction.first_submitted_ms
        return first_ms is not None and 0 <= self._now_ms() - first_ms < self._ask_after_ms

    async def _is_another(self, payment: Payment, instruction: Instruction) -> bool:
        """Whether what is asked about is not what was sent under the payment's id."""
        kept = await asyncio.to_thread(self._exchange.payment, payment.id)
        return instruction.provider_ref not in {None, payment.id} or kept not in {None, payment}

    async def _asked(
        self, payment: Payment, so_far: Outcome | None, known: set[str]
    ) -> Outcome | None:
        """What the bank says when it is asked; None of silence, unless it said before that the
        money left: that holds."""
        question_id = "Q" + uuid4().hex
        data = question_written(question_id, payment.id, self._form, self._debtor, self._now())
        try:
            await asyncio.to_thread(self._exchange.ask, payment, question_id, data)
        except OSError as error:
            log.warning(
                "cannot ask the bank: %s",
                type(error).__name__,
                extra={"rail": self.name, "payout": payout_of(payment.attempt_id)},
            )
            answer = None
        else:
            answer = await self._heard(payment, known)
        return so_far if answer is None and so_far and so_far.state in PAID else answer

    async def _heard(self, payment: Payment, known: set[str]) -> Outcome | None:
        """What the reports come to once one is there that was not known; None in silence."""
        until = time.monotonic() + self._timeout_ms / 1000
        while True:
            await self._read()
            reports = await asyncio.to_thread(self._exchange.reports, payment.id)
            outcome = mapping.folded(payment, reports.values()) if set(reports) - known else None
            if outcome is not None:
                return outcome
            if time.monotonic() >= until:
                return None
            await asyncio.sleep(self._poll_s)

    async def _read(self) -> None:
        """Take in what is in the inbox; of many who wait one reads for all."""
        asked = time.monotonic()
        async with self._reading:
            if self._read_at > asked:
                return
            started = time.monotonic()
            try:
                await asyncio.to_thread(self._exchange.take)
            except OSError as error:
                log.warning(
                    "cannot read the inbox: %s", type(error).__name__, extra={"rail": self.name}
                )
            self._read_at = started

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._now_ms() / 1000, UTC)


def iso20022_rail(
    settings: Iso20022Settings,
    name: str = "iso20022",
    *,
    now_ms: Callable[[], int] = wall_clock_ms,
) -> Iso20022Rail:
    """The rail of one account. Raises ValueError without directories."""
    return Iso20022Rail(
        Exchange(*settings.folders),
        settings.debtor,
        now_ms=now_ms,
        form=settings.message,
        timeout_ms=round(settings.timeout_s * 1000),
        ask_after_ms=round(settings.ask_after_s * 1000),
        name=name,
    )
