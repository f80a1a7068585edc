"""Marqeta's push to card as a rail: one disbursement, never a second, found by our own token."""

from __future__ import annotations

from collections.abc import Callable

from models.payouts import FailureCategory
from rails.expiry import expired
from rails.http import show_by, submit_by
from rails.marqeta.mapping import TOKEN_TOO_LONG, token_of
from rails.marqeta_push import mapping
from rails.marqeta_push.capabilities import MARQETA_PUSH
from rails.marqeta_push.client import PushClient
from rails.marqeta_push.settings import PushSettings
from rails.rail import (
    Capabilities,
    Instruction,
    Outcome,
    failed,
    refused,
    unknown,
    wall_clock_ms,
)


class PushRail:
    """The Rail protocol over Marqeta's push-to-card disbursements."""

    capabilities: Capabilities = MARQETA_PUSH

    def __init__(
        self, client: PushClient, *, now_ms: Callable[[], int], name: str = "marqeta_push"
    ) -> None:
        """Take a client and a wall clock in milliseconds."""
        self.name = name
        self._client = client
        self._now_ms = now_ms

    async def submit(self, instruction: Instruction) -> Outcome:
        """Disburse. Marqeta's document promises no guard, so this is never done again."""
        if (refusal := self._refusal(instruction)) is not None:
            return refused(refusal, repeat=False)
        token = token_of(instruction.attempt_id)
        if token is None:
            return failed(FailureCategory.RECIPIENT, TOKEN_TOO_LONG)
        return await submit_by(
            lambda: mapping.request_body(instruction, token),
            self._client.disburse,
            lambda it: mapping.submitted(instruction, it.status, it.body),
            repeat=False,
        )

    async def enquire(self, instruction: Instruction) -> Outcome:
        """Read the disbursement by its token. It never disburses.

        That Marqeta has none does not prove that none is on its way, however long ago it was sent.
        """
        reference = instruction.provider_ref
        token = token_of(instruction.attempt_id)
        if token is None:
            return unknown(TOKEN_TOO_LONG)
        if reference not in {None, token}:
            return unknown("reference_mismatch", reference)
        return await show_by(
            self._client.show(token),
            reference,
            lambda body: mapping.disbursement_read(instruction, body),
        )

    async def cancel(self, instruction: Instruction) -> Outcome:
        """A push cannot be stopped: where it stands."""
        return await self.enquire(instruction)

    async def close(self) -> None:
        """Close connections."""
        await self._client.close()

    def _refusal(self, instruction: Instruction) -> str | None:
        """Why the payout is refused on our side, as a machine code."""
        refusal = mapping.destination_refusal(instruction.destination)
        if refusal is not None:
            return refusal
        if expired(instruction.destination, self._now_ms()):
            return "card_expired"
        return self.capabilities.refusal(instruction.currency, instruction.amount_minor)


def push_rail(
    settings: PushSettings,
    name: str = "marqeta_push",
    *,
    now_ms: Callable[[], int] = wall_clock_ms,
) -> PushRail:
    """The rail of one program. Connects at the first call."""
    return PushRail(PushClient(settings), now_ms=now_ms, name=name)
