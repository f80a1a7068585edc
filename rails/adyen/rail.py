"""Adyen Transfers as a rail: the attempt's id as idempotency key and as reference."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from rails.accounts import DestinationInvalid, read_account
from rails.adyen import mapping
from rails.adyen.capabilities import ADYEN
from rails.adyen.client import AdyenClient
from rails.adyen.settings import AdyenSettings
from rails.answers import code
from rails.expiry import expired
from rails.http import CallFailed, repeat_by, show_by, submit_by
from rails.rail import Capabilities, Instruction, Outcome, refused, unknown, wall_clock_ms

DAY_MS = 86_400_000


class AdyenRail:
    """The Rail protocol over Adyen Transfers v4."""

    capabilities: Capabilities = ADYEN

    def __init__(
        self,
        client: AdyenClient,
        *,
        balance_account: str,
        now_ms: Callable[[], int],
        name: str = "adyen",
    ) -> None:
        """Take a client, the balance account that pays, and a wall clock in milliseconds."""
        self.name = name
        self._client = client
        self._balance_account = balance_account
        self._now_ms = now_ms

    async def submit(self, instruction: Instruction) -> Outcome:
        """Create the transfer. Under its key a repeat gets the first one's answer."""
        return await self._submit(instruction, repeat=False)

    async def enquire(self, instruction: Instruction) -> Outcome:
        """Read the transfer; without its id find it by our reference, else repeat under the key.

        That it is not found does not prove that it is not on its way.
        """
        if instruction.provider_ref is not None:
            return await self._read(instruction, instruction.provider_ref)
        first_ms = instruction.first_submitted_ms
        if first_ms is None:
            return unknown("no_submission_time")
        found = await self._find(instruction, first_ms)
        if found is not None:
            return found
        return await repeat_by(
            self.capabilities.guard_lapsed(first_ms, self._now_ms()),
            partial(self._submit, instruction, repeat=True),
            partial(self._read, instruction),
        )

    async def cancel(self, instruction: Instruction) -> Outcome:
        """Adyen stops only what waits for an approval, and ours never do: where it stands."""
        if instruction.provider_ref is None:
            return unknown("no_reference")
        return await self._read(instruction, instruction.provider_ref)

    async def close(self) -> None:
        """Close connections."""
        await self._client.close()

    async def _submit(self, instruction: Instruction, *, repeat: bool) -> Outcome:
        if not repeat and (refusal := self._refusal(instruction)) is not None:
            return refused(refusal, repeat=False)
        return await submit_by(
            lambda: mapping.request_body(instruction, self._balance_account),
            lambda data: self._client.create(data, instruction.attempt_id),
            lambda it: mapping.submitted(instruction, it.status, it.body, repeat=repeat),
            repeat=repeat,
        )

    def _refusal(self, instruction: Instruction) -> str | None:
        """Why the payout is refused on our side, as a machine code."""
        try:
            account = read_account(instruction.destination)
        except DestinationInvalid as error:
            return str(error)
        if expired(instruction.destination, self._now_ms()):
            return "card_expired"
        return self.capabilities.refusal(
            instruction.currency, instruction.amount_minor, account.country
        )

    async def _find(self, instruction: Instruction, first_ms: int) -> Outcome | None:
        since, until = first_ms - DAY_MS, self._now_ms() + DAY_MS
        try:
            answer = await self._client.find(instruction.attempt_id, _moment(since), _moment(until))
        except CallFailed as error:
            return unknown(code(error.reason))
        return mapping.found(instruction, answer.status, answer.body)

    async def _read(self, instruction: Instruction, reference: str) -> Outcome:
        return await show_by(
            self._client.show(reference),
            reference,
            lambda body: mapping.transfer_read(instruction, body),
        )


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def adyen_rail(
    settings: AdyenSettings,
    name: str = "adyen",
    *,
    now_ms: Callable[[], int] = wall_clock_ms,
) -> AdyenRail:
    """The rail of one balance account. Connects at the first call."""
    return AdyenRail(
        AdyenClient(settings), balance_account=settings.balance_account, now_ms=now_ms, name=name
    )
