"""Circle Mint as a rail: an entry of the address book, then a payout under the attempt's key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from models.payouts import FailureCategory
from rails.accounts import DestinationInvalid
from rails.addresses import CryptoAddress, read_address
from rails.answers import at, code
from rails.circle import mapping
from rails.circle.capabilities import CIRCLE
from rails.circle.client import CircleClient
from rails.circle.mapping import Recipient
from rails.circle.settings import CircleSettings
from rails.circle.travel import RULES, TravelRule, takes_identity, travel_refusal
from rails.http import CallFailed, repeat_by, show_by, submit_by
from rails.rail import Capabilities, Instruction, Outcome, failed, refused, unknown, wall_clock_ms

RECIPIENT_ASKS = 3
RECIPIENT_PAUSE_S = 0.5
"""How often, and how far apart, a new entry is asked whether it can be paid. Circle mostly takes a
moment; what takes longer is left to another try."""


class NoRecipient(Exception):
    """There is no entry to pay to, and no payout was asked for. ``reason`` is a machine code."""

    def __init__(self, category: FailureCategory, reason: str) -> None:
        """Keep category and reason."""
        super().__init__(reason)
        self.category = category
        self.reason = reason


class CircleRail:
    """The Rail protocol over Circle Mint."""

    capabilities: Capabilities = CIRCLE

    def __init__(
        self,
        client: CircleClient,
        *,
        wallet_id: str,
        rule: TravelRule,
        identity: Mapping[str, object] | None,
        now_ms: Callable[[], int],
        name: str = "circle",
        recipient_timeout_s: float,
        recipient_pause_s: float = RECIPIENT_PAUSE_S,
    ) -> None:
        """Take a client, the wallet that pays, the travel rule that applies, the sender's identity
        in Circle's words, and a wall clock in milliseconds. ``recipient_timeout_s`` bounds all
        that is asked of the address book for one payout."""
        self.name = name
        self._client = client
        self._wallet_id = wallet_id
        self._rule = rule
        self._identity = identity
        self._now_ms = now_ms
        self._recipient_timeout_s = recipient_timeout_s
        self._recipient_pause_s = recipient_pause_s

    async def submit(self, instruction: Instruction) -> Outcome:
        """Create the payout. Under its key a repeat gets the first one's answer."""
        return await self._submit(instruction, repeat=False)

    async def enquire(self, instruction: Instruction) -> Outcome:
        """Read the payout; without its id repeat the submission under its key.

        Circle lists payouts by address, but another of the same amount to it looks the same: what
        is found there proves nothing.
        """
        if instruction.provider_ref is not None:
            return await self._read(instruction, instruction.provider_ref)
        return await repeat_by(
            self.capabilities.guard_lapsed(instruction.first_submitted_ms, self._now_ms()),
            partial(self._submit, instruction, repeat=True),
            partial(self._read, instruction),
        )

    async def cancel(self, instruction: Instruction) -> Outcome:
        """Circle cancels nothing: where it stands."""
        if instruction.provider_ref is None:
            return unknown("no_reference")
        return await self._read(instruction, instruction.provider_ref)

    async def close(self) -> None:
        """Close connections."""
        await self._client.close()

    async def _submit(self, instruction: Instruction, *, repeat: bool) -> Outcome:
        try:
            address = read_address(instruction.destination)
        except DestinationInvalid as error:
            return refused(str(error), repeat=repeat)
        refusal = self._refusal(instruction, address)
        if refusal is not None:
            # A repeat is refused too, as the first may never have arrived: it would execute now.
            return unknown(f"repeat_{refusal.reason}") if repeat else refusal
        try:
            recipient_id = await self._recipient(instruction, address)
        except NoRecipient as error:
            # The payout itself was not asked for now; a first one may have been.
            return unknown(error.reason) if repeat else failed(error.category, error.reason)
        told = takes_identity(self._rule, instruction.amount_minor)
        identity = self._identity if told else None
        return await submit_by(
            lambda: mapping.payout_body(instruction, recipient_id, self._wallet_id, identity),
            self._client.create,
            lambda it: mapping.submitted(instruction, it.status, it.body, repeat=repeat),
            repeat=repeat,
        )

    def _refusal(self, instruction: Instruction, address: CryptoAddress) -> Outcome | None:
        """The refusal of a payout on our side, before any request."""
        currency, amount_minor = instruction.currency, instruction.amount_minor
        reason = self.capabilities.refusal(currency, amount_minor, address.country)
        if reason is not None:
            return refused(reason, repeat=False)
        identified = self._identity is not None
        reason = travel_refusal(self._rule, amount_minor, address, identified=identified)
        return None if reason is None else failed(mapping.REFUSALS[reason], reason)

    async def _recipient(self, instruction: Instruction, address: CryptoAddress) -> str:
        """The id of the entry for an address, made where there is none. Raises NoRecipient."""
        try:
            async with asyncio.timeout(self._recipient_timeout_s):
                recipient = await self._found(address) or await self._made(instruction, address)
        except CallFailed as error:
            raise NoRecipient(FailureCategory.RETRYABLE, code(error.reason)) from None
        except TimeoutError:
            raise NoRecipient(FailureCategory.RETRYABLE, "recipient_timeout") from None
        if (refusal := recipient.refusal) is not None:
            raise NoRecipient(*refusal)
        return recipient.recipient_id

    async def _found(self, address: CryptoAddress) -> Recipient | None:
        """Raises CallFailed, NoRecipient."""
        answer = await self._client.find_recipients(address.chain, address.address)
        if answer.status != 200:
            raise NoRecipient(*mapping.recipient_refused(answer.status, answer.body))
        return mapping.found_recipient(address, answer.body)

    async def _made(self, instruction: Instruction, address: CryptoAddress) -> Recipient:
        """A new entry, as it stands after a moment. Raises CallFailed, NoRecipient."""
        answer = await self._client.create_recipient(mapping.recipient_body(instruction, address))
        recipient = mapping.recipient_read(address, answer.body)
        if answer.status not in {200, 201} or recipient is None:
            raise NoRecipient(*mapping.recipient_refused(answer.status, answer.body))
        for asked in range(RECIPIENT_ASKS):
            if recipient.status != "pending":
                break
            if asked:
                await asyncio.sleep(self._recipient_pause_s)
            answer = await self._client.show_recipient(recipient.recipient_id)
            recipient = mapping.recipient_read(address, answer.body) or recipient
        return recipient

    async def _read(self, instruction: Instruction, reference: str) -> Outcome:
        return await show_by(
            self._client.show(reference),
            reference,
            lambda body: mapping.payout_read(instruction, at(body, "data")),
        )


def circle_rail(
    settings: CircleSettings,
    name: str = "circle",
    *,
    now_ms: Callable[[], int] = wall_clock_ms,
) -> CircleRail:
    """The rail of one wallet. Connects at the first call."""
    return CircleRail(
        CircleClient(settings),
        wallet_id=settings.wallet_id,
        rule=RULES[settings.booked_in],
        identity=settings.identity,
        now_ms=now_ms,
        name=name,
        recipient_timeout_s=settings.timeout_s,
    )
