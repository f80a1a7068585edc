"""Visa Direct as a rail: one push, never a second, and two ways of asking what became of it."""

from __future__ import annotations

from collections.abc import Callable

from rails.answers import code
from rails.expiry import expired
from rails.http import CallFailed, submit_by
from rails.rail import Capabilities, Instruction, Outcome, refused, unknown, wall_clock_ms
from rails.visa import mapping
from rails.visa.capabilities import VISA
from rails.visa.client import VisaClient
from rails.visa.settings import VisaSettings


class VisaRail:
    """The Rail protocol over Visa Direct's push funds transactions."""

    capabilities: Capabilities = VISA

    def __init__(
        self,
        client: VisaClient,
        settings: VisaSettings,
        *,
        now_ms: Callable[[], int],
        name: str = "visa",
    ) -> None:
        """Take a client, the originator's settings, and a wall clock in milliseconds."""
        self.name = name
        self._client = client
        self._settings = settings
        self._now_ms = now_ms

    async def submit(self, instruction: Instruction) -> Outcome:
        """Push. Visa has no guard that surely holds, so this is never done again."""
        if (refusal := self._refusal(instruction)) is not None:
            return refused(refusal, repeat=False)
        return await submit_by(
            lambda: mapping.request_body(instruction, self._settings, self._now_ms()),
            lambda data: self._client.push(data, instruction.attempt_id),
            lambda it: mapping.submitted(it.status, it.body),
            repeat=False,
        )

    async def enquire(self, instruction: Instruction) -> Outcome:
        """Read the push under its statusIdentifier, which Visa keeps for a day, and its records.

        It never pushes. That Visa has no record does not prove that nothing was executed.
        """
        reference = instruction.provider_ref
        status = mapping.status_of(reference)
        if status is None:
            if reference is not None and mapping.transaction_of(reference) is None:
                return unknown("reference_mismatch", reference)
            return await self._recorded(instruction, reference) or unknown("not_found", reference)
        told = await self._told(status, reference)
        if told is None:  # the day is over
            return await self._recorded(instruction, None) or unknown("not_found", reference)
        if not mapping.is_final(told):
            return told
        known = mapping.transaction_of(told.provider_ref)
        return mapping.agreed(told, await self._recorded(instruction, known))

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

    async def _told(self, status: str, reference: str | None) -> Outcome | None:
        """What Visa says under a statusIdentifier; None once it is forgotten."""
        try:
            answer = await self._client.status(status)
        except CallFailed as error:
            return unknown(code(error.reason), reference)
        if answer.status in {200, 202}:
            return mapping.push_read(answer.status, answer.body, reference)
        return None if answer.status == 404 else unknown(f"http_{answer.status}", reference)

    async def _recorded(self, instruction: Instruction, transaction: str | None) -> Outcome | None:
        """What the records say; None if there are none."""
        fields = mapping.query_of(instruction.attempt_id, self._settings, transaction)
        try:
            answer = await self._client.query(fields)
        except CallFailed as error:
            return unknown(code(error.reason), instruction.provider_ref)
        if answer.status == 404:
            return None
        if answer.status != 200:
            return unknown(f"http_{answer.status}", instruction.provider_ref)
        return mapping.query_read(instruction, answer.body)


def visa_rail(
    settings: VisaSettings,
    name: str = "visa",
    *,
    now_ms: Callable[[], int] = wall_clock_ms,
) -> VisaRail:
    """The rail of one originator. Connects at the first call."""
    return VisaRail(VisaClient(settings), settings, now_ms=now_ms, name=name)
