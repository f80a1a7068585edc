"""The template's provider as a rail: the attempt's id as idempotency key and as reference."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rails._template import mapping
from rails._template.capabilities import TEMPLATE
from rails._template.client import TemplateClient
from rails._template.settings import TemplateSettings
from rails.http import repeat_by, show_by, submit_by
from rails.rail import Capabilities, Instruction, Outcome, refused, unknown, wall_clock_ms


class TemplateRail:
    """The Rail protocol over the template's API."""

    capabilities: Capabilities = TEMPLATE

    def __init__(
        self, client: TemplateClient, *, now_ms: Callable[[], int], name: str = "template"
    ) -> None:
        """Take a client and a wall clock in milliseconds."""
        self.name = name
        self._client = client
        self._now_ms = now_ms

    async def submit(self, instruction: Instruction) -> Outcome:
        """Create the payout. Under its key a repeat gets what the first one made."""
        carried = self.capabilities
        refusal = carried.refusal(instruction.currency, instruction.amount_minor)
        if refusal is not None:
            return refused(refusal, repeat=False)
        return await self._submit(instruction, repeat=False)

    async def enquire(self, instruction: Instruction) -> Outcome:
        """Read the payout; without its reference, repeat under the key while that surely holds."""
        if instruction.provider_ref is not None:
            return await self._read(instruction, instruction.provider_ref)
        return await repeat_by(
            self.capabilities.guard_lapsed(instruction.first_submitted_ms, self._now_ms()),
            partial(self._submit, instruction, repeat=True),
            partial(self._read, instruction),
        )

    async def cancel(self, instruction: Instruction) -> Outcome:
        """Nothing is cancelled here: where it stands."""
        if instruction.provider_ref is None:
            return unknown("no_reference")
        return await self._read(instruction, instruction.provider_ref)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _submit(self, instruction: Instruction, *, repeat: bool) -> Outcome:
        return await submit_by(
            lambda: mapping.request_body(instruction),
            lambda data: self._client.create(data, instruction.attempt_id),
            lambda it: mapping.submitted(instruction, it.status, it.body, repeat=repeat),
            repeat=repeat,
        )

    async def _read(self, instruction: Instruction, reference: str) -> Outcome:
        return await show_by(
            self._client.show(reference),
            reference,
            lambda body: mapping.payout_read(instruction, body),
        )


def template_rail(
    settings: TemplateSettings,
    name: str = "template",
    *,
    now_ms: Callable[[], int] = wall_clock_ms,
) -> TemplateRail:
    """The rail of one account. Connects at the first call."""
    return TemplateRail(TemplateClient(settings), now_ms=now_ms, name=name)
