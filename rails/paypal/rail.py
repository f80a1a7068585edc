"""PayPal Payouts as a rail: one item a batch, the attempt's id as the guard against a second."""

from __future__ import annotations

import time
from collections.abc import Callable

from models.payouts import PayoutState
from rails.paypal import mapping
from rails.paypal.capabilities import PAYPAL
from rails.paypal.client import CallFailed, Fate, PayPalClient
from rails.rail import Capabilities, Instruction, Outcome, failed, unknown
from rails.settings import RailSettings

GUARD_MS = (PAYPAL.guard_days - 1) * 86_400_000
"""How long after the first submission a repeat is trusted to be refused: a day less than PayPal
promises, because the two clocks and the two meanings of "submitted" differ."""

CLOCKS_APART_MS_MAX = 300_000
"""A first submission further in the future than this means a clock that cannot be trusted."""


class PayPalRail:
    """The Rail protocol over PayPal Payouts v1."""

    capabilities: Capabilities = PAYPAL

    def __init__(
        self,
        client: PayPalClient,
        *,
        now_ms: Callable[[], int],
        email_subject: str,
        name: str = "paypal",
    ) -> None:
        """Take a client, a wall clock in milliseconds, and the subject of PayPal's e-mail."""
        self.name = name
        self._client = client
        self._now_ms = now_ms
        self._email_subject = email_subject

    async def submit(self, instruction: Instruction) -> Outcome:
        """Create the batch. A duplicate is adopted: it is this payout, submitted before."""
        return await self._submit(instruction, repeat=False)

    async def enquire(self, instruction: Instruction) -> Outcome:
        """Read the item; without a reference, repeat under the guard while it holds."""
        if instruction.provider_ref is not None:
            return (await self._read(instruction, instruction.provider_ref)).outcome
        first_ms = instruction.first_submitted_ms
        if first_ms is None:
            return unknown("no_submission_time")
        if not -CLOCKS_APART_MS_MAX <= self._now_ms() - first_ms < GUARD_MS:
            return unknown("guard_window_passed")
        outcome = await self._submit(instruction, repeat=True)
        if outcome.state is PayoutState.ACCEPTED and outcome.provider_ref is not None:
            return (await self._read(instruction, outcome.provider_ref)).outcome
        return outcome

    async def cancel(self, instruction: Instruction) -> Outcome:
        """Cancel an unclaimed item; any other is reported as it stands."""
        reference = instruction.provider_ref
        if reference is None:
            return unknown("no_reference")
        read = await self._read(instruction, reference)
        if read.outcome.state is not PayoutState.UNCLAIMED or read.item_id is None:
            return read.outcome
        try:
            answer = await self._client.cancel_item(read.item_id)
        except CallFailed as error:
            return unknown(mapping.code(error.reason), reference)
        outcome = mapping.cancelled(instruction, reference, answer.status, answer.body)
        # Refused: most likely claimed in the meantime. Its status tells.
        return outcome or (await self._read(instruction, reference)).outcome

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _submit(self, instruction: Instruction, *, repeat: bool) -> Outcome:
        if not repeat:
            # Limits may have changed since a first submission, and PayPal decides about a repeat.
            refusal = self.capabilities.refusal(instruction.currency, instruction.amount_minor)
            if refusal is not None:
                return _refused(refusal, repeat=False)
        try:
            body = mapping.request_body(instruction, self._email_subject)
        except mapping.DestinationInvalid:
            return _refused("destination_invalid", repeat=repeat)
        except (mapping.AmountInvalid, KeyError):
            return _refused("amount_not_representable", repeat=repeat)
        try:
            answer = await self._client.create_batch(body)
        except CallFailed as error:
            return _call_failed(error, repeat=repeat)
        return mapping.submitted(instruction, answer.status, answer.body, repeat=repeat)

    async def _read(self, instruction: Instruction, reference: str) -> mapping.BatchRead:
        try:
            answer = await self._client.show_batch(reference)
        except CallFailed as error:
            return mapping.BatchRead(unknown(mapping.code(error.reason), reference))
        return mapping.batch_read(instruction, reference, answer.status, answer.body)


def _refused(reason: str, *, repeat: bool) -> Outcome:
    """Refused on our side, before any request."""
    if repeat:
        # It may have left under rules that were changed since.
        return unknown(f"repeat_{reason}")
    return failed(mapping.REFUSED_HERE.get(reason, mapping.REFUSED_HERE_OTHERWISE), reason)


def _call_failed(error: CallFailed, *, repeat: bool) -> Outcome:
    """Only a request that provably was not sent is a failure, and only if it was the first."""
    reason = mapping.code(error.reason)
    if error.fate is not Fate.NOT_SENT or repeat:
        return unknown(reason)
    return failed(mapping.NOT_SENT.get(reason, mapping.NOT_SENT_OTHERWISE), reason)


def paypal_rail(
    settings: RailSettings,
    name: str = "paypal",
    *,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> PayPalRail:
    """The rail of one PayPal account. Connects at the first call."""
    return PayPalRail(
        PayPalClient(settings), now_ms=now_ms, email_subject=settings.email_subject, name=name
    )
