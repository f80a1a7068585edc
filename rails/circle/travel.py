"""The travel rule: what has to be known of sender and wallet before tokens may leave.

Which rule applies follows from the Circle company that books the payout, not from where the
recipient lives (Circle Mint, "Travel rule compliance"). Amounts are in US dollar cents. The table
is what is checked before any request; Circle screens by rules of its own as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rails.addresses import CryptoAddress

IDENTITY_MISSING = "travel_rule_identity_missing"
CONTROL_UNPROVEN = "wallet_control_unproven"
HOSTING_UNKNOWN = "wallet_hosting_unknown"


@dataclass(frozen=True, slots=True)
class TravelRule:
    """``identity_from_minor``: from this amount on the sender's identity goes along.

    ``control_above_minor``: above this amount a wallet that its holder keeps herself needs proof
    that she controls it, so it has to be known whose keys they are; None where none is asked for.
    """

    identity_from_minor: int
    control_above_minor: int | None = None


EUR_1000_USD_MINOR = 90_000
"""EUR 1,000 in US dollar cents, on the safe side: the euro has been worth more than 0.95 dollar
at every daily rate of the ECB since 2003. No rate is looked up, so the rule cannot fail open."""

RULES: Mapping[str, TravelRule] = MappingProxyType(
    {
        # 31 CFR 1010.410(f); FinCEN FIN-2010-G004, answer 1: from $3,000. Circle asks for
        # `source.identities` of every payout to an address book from that amount.
        "US": TravelRule(identity_from_minor=300_000),
        # Regulation (EU) 2023/1113, article 14(1) and recital 30: whatever the amount. Article
        # 14(5), EBA/GL/2024/11: above EUR 1,000 to a self-hosted address, whether the originator
        # controls it. The originator here is the company and never does, so the proof asked for is
        # the beneficiary's: stricter than the letter, for a wallet of a third party.
        "EU": TravelRule(identity_from_minor=1, control_above_minor=EUR_1000_USD_MINOR),
    }
)
"""Rules by where the Circle company is that books the payouts. Circle's company in Singapore asks
for facts that its payout document has no fields for, so there is no row for it."""


def travel_refusal(
    rule: TravelRule, amount_minor: int, address: CryptoAddress, *, identified: bool
) -> str | None:
    """Why a payout may not leave, as a machine code; None if it may.

    ``identified``: the sender's name and address are known.
    """
    if amount_minor >= rule.identity_from_minor and not identified:
        return IDENTITY_MISSING
    bound = rule.control_above_minor
    if bound is None or amount_minor <= bound or address.hosted is True:
        return None
    if address.hosted is None:
        return HOSTING_UNKNOWN
    return None if address.control_proven else CONTROL_UNPROVEN


def takes_identity(rule: TravelRule, amount_minor: int) -> bool:
    """Whether the sender's identity goes along with an amount: no more is told than has to be."""
    return amount_minor >= rule.identity_from_minor
