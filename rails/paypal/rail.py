"""PayPal Payouts as a rail: one item a batch, the attempt's id as the guard against a second."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from models.payouts import PayoutState
from rails.answers import code
from rails.http import CallFailed, repeat_by, submit_by
from rails.paypal import mapping
from rails.paypal.capabilities import PAYPAL
from rails.paypal.client import PayPalClient
from rails.paypal.settings import PayPalSettings
from rails.rail import Capabilities, Instruction, Outcome, refused, unknown, wall_clock_ms


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
            return await self._stands(instruction, instruction.provider_ref)
        return await repeat_by(
            self.capabilities.guard_lapsed(instruction.first_submitted_ms, self._now_ms()),
            partial(self._submit, instruction, repeat=True),
            partial(self._stands, instruction),
        )

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
            return unknown(code(error.reason), reference)
        outcome = mapping.cancelled(instruction, reference, answer.status, answer.body)
        # Refused: most likely claimed in the meantime. Its status tells.
        return outcome or await self._stands(instruction, reference)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _stands(self, instruction: Instruction, reference: str) -> Outcome:
        return (await self._read(instruction, reference)).outcome

    async def _submit(self, instruction: Instruction, *, repeat: bool) -> Outcome:
        if not repeat:
            # Limits may have changed since a first submission, and PayPal decides about a repeat.
            refusal = self.capabilities.refusal(instruction.currency, instruction.amount_minor)
            if refusal is not None:
                return refused(refusal, repeat=False)
        return await submit_by(
            lambda: mapping.request_body(instruction, self._email_subject),
            self._client.create_batch,
            lambda it: mapping.submitted(instruction, it.status, it.body, repeat=repeat),
            repeat=repeat,
            categories=mapping.NOT_SENT,
        )

    async def _read(self, instruction: Instruction, reference: str) -> mapping.BatchRead:
        try:
            answer = await self._client.show_batch(reference)
        except CallFailed as error:
            return mapping.BatchRead(unknown(code(error.reason), reference))
        return mapping.batch_read(instruction, reference, answer.status, answer.body)


def paypal_rail(
    settings: PayPalSettings,
    name: str = "paypal",
    *,
    now_ms: Callable[[], int] = wall_clock_ms,
) -> PayPalRail:
    """The rail of one PayPal account. Connects at the first call."""
    return PayPalRail(
        PayPalClient(settings), now_ms=now_ms, email_subject=settings.email_subject, name=name
    )
