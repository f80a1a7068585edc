"""Marqeta as a rail: a load of a prepaid card, under a token that is ours."""

from __future__ import annotations

from collections.abc import Callable

from models.payouts import FailureCategory
from rails.answers import code
from rails.http import CallFailed, submit_by
from rails.marqeta import mapping
from rails.marqeta.capabilities import MARQETA
from rails.marqeta.client import MarqetaClient
from rails.marqeta.mapping import TOKEN_TOO_LONG
from rails.marqeta.settings import MarqetaSettings
from rails.rail import (
    Capabilities,
    Instruction,
    Outcome,
    failed,
    not_shown,
    refused,
    unknown,
    wall_clock_ms,
)


class MarqetaRail:
    """The Rail protocol over Marqeta's GPA orders."""

    capabilities: Capabilities = MARQETA

    def __init__(
        self,
        client: MarqetaClient,
        *,
        funding_source: str,
        now_ms: Callable[[], int],
        name: str = "marqeta",
    ) -> None:
        """Take a client, the funding source that pays, and a wall clock in milliseconds."""
        self.name = name
        self._client = client
        self._funding_source = funding_source
        self._now_ms = now_ms

    async def submit(self, instruction: Instruction) -> Outcome:
        """Create the order. Under its token a repeat gets the first one's answer."""
        refusal = mapping.destination_refusal(instruction.destination)
        if refusal is None:
            refusal = self.capabilities.refusal(instruction.currency, instruction.amount_minor)
        if refusal is not None:
            return refused(refusal, repeat=False)
        return await self._submit(instruction, repeat=False)

    async def enquire(self, instruction: Instruction) -> Outcome:
        """Read the order by its token; where there is none, repeat under the token.

        That there is none does not prove that none is on its way.
        """
        found = await self._find(instruction)
        if found is not None:
            return found
        lapsed = self.capabilities.guard_lapsed(instruction.first_submitted_ms, self._now_ms())
        if lapsed is not None:
            return unknown(lapsed)
        return await self._submit(instruction, repeat=True)

    async def cancel(self, instruction: Instruction) -> Outcome:
        """Marqeta stops no order; it only takes money from the card again. Where it stands."""
        return await self._find(instruction) or unknown("order_not_found")

    async def close(self) -> None:
        """Close connections."""
        await self._client.close()

    async def _submit(self, instruction: Instruction, *, repeat: bool) -> Outcome:
        token = mapping.token_of(instruction.attempt_id)
        if token is None:
            return failed(FailureCategory.RECIPIENT, TOKEN_TOO_LONG)
        return await submit_by(
            lambda: mapping.request_body(instruction, token, self._funding_source),
            self._client.create,
            lambda it: mapping.submitted(instruction, it.status, it.body, repeat=repeat),
            repeat=repeat,
        )

    async def _find(self, instruction: Instruction) -> Outcome | None:
        """What the order says; None if Marqeta has none and never told us of one."""
        reference = instruction.provider_ref
        token = mapping.token_of(instruction.attempt_id)
        if token is None:
            return unknown(TOKEN_TOO_LONG)
        if reference is not None and reference != token:
            return unknown("reference_mismatch", reference)
        try:
            answer = await self._client.show(token)
        except CallFailed as error:
            return unknown(code(error.reason), reference)
        if answer.status == 200:
            return mapping.order_read(instruction, answer.body)
        if answer.status == 404 and reference is None:
            return None
        return not_shown(answer.status, reference)


def marqeta_rail(
    settings: MarqetaSettings,
    name: str = "marqeta",
    *,
    now_ms: Callable[[], int] = wall_clock_ms,
) -> MarqetaRail:
    """The rail of one card program. Connects at the first call."""
    return MarqetaRail(
        MarqetaClient(settings), funding_source=settings.funding_source, now_ms=now_ms, name=name
    )
