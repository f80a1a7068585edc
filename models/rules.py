"""Rules: from an event and what is known of its seller to the operation that books it.

Pure. What depends on a balance is decided where the balance is, inside Redis; everything else is
decided here and carried in the operation, with the revision of the profile it was decided upon.
An operation is a dict, ready for JSON; the keys stand in the Redis functions of the wallets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from models.campaigns import Campaigns, period_of, running, steps
from models.decisions import Tier
from models.events import (
    CommissionEarned,
    CommissionReversed,
    CreditRedeemed,
    PayoutReported,
    SaleCompleted,
    SaleReturned,
    SellerUpdated,
)
from models.ids import derived, shard_of_payout
from models.payouts import RETRY_AFTER_MS, FailureCategory, PayoutState, enquire_after_ms
from models.plan import CommissionPlan
from models.policy import PayoutPolicy
from models.sellers import Seller, stored_profile

Operation = dict[str, Any]


class Rules:
    """The company's plan, policy and campaigns, applied to events."""

    def __init__(
        self,
        plan: CommissionPlan,
        policy: PayoutPolicy,
        campaigns: Campaigns,
        *,
        retention_ms: int,
        amount_steps: Mapping[tuple[str, str], int] | None = None,
    ) -> None:
        """``amount_steps``: per (rail, currency), what a payout must be a multiple of, if not 1."""
        self.plan = plan
        self.policy = policy
        self.campaigns = campaigns.campaigns
        self._retention_ms = retention_ms
        self._steps = amount_steps or {}
        self._terms: dict[tuple[str, str], Operation | None] = {}

    def context(self) -> list[dict[str, Any]]:
        """The campaigns as the booking function is told of them."""
        return [
            {
                "id": campaign.id,
                "metric": campaign.metric,
                "expires_ms": campaign.expires_ms,
                "steps": {
                    currency: [list(step) for step in found]
                    for currency, found in campaign.steps_by_currency.items()
                },
            }
            for campaign in self.campaigns
        ]

    def sale(
        self, event: SaleCompleted, seller: Seller | None, amount_minor: int, tier: Tier
    ) -> Operation:
        """A sale credits its seller with ``amount_minor``; ``tier`` as if her profile were known."""
        return self._earn(
            event, "s:" + event.sale_id, event.amount_minor, amount_minor, seller, tier,
            event.sale_id, event.seller_id, 0,
        )  # fmt: skip

    def commission(self, event: CommissionEarned, seller: Seller | None, tier: Tier) -> Operation:
        """A commission credits its seller, and the next one up if it came from a sale."""
        source = event.source
        record = "c:" + event.commission_id
        if source is None:
            amount = event.amount_minor
            return self._earn(event, record, amount, amount, seller, tier, "", "", -1)
        return self._earn(
            event, record, source.base_minor, event.amount_minor, seller, tier,
            source.sale_id, source.seller_id, source.level,
        )  # fmt: skip

    def sale_return(self, event: SaleReturned, seller: Seller | None) -> Operation:
        """A return takes back what its sale earned; without a receipt, what a sale would earn."""
        if event.sale_id is not None:
            return self._reverse(event, "s:" + event.sale_id, event.amount_minor)
        amount = self.plan.retail(event.amount_minor, event.currency)
        return self._take(event, event.amount_minor, amount, seller, event.id, event.seller_id, 0)

    def reversal(self, event: CommissionReversed, seller: Seller | None) -> Operation:
        """A commission is taken back, in proportion to its base where it came from a sale."""
        source = event.source
        base = event.amount_minor if source is None else source.base_minor
        if event.commission_id is not None:
            return self._reverse(event, "c:" + event.commission_id, base)
        if source is None:
            return self._take(event, base, base, seller, "", "", -1)
        amount = self.plan.upline(base, event.currency, source.level) or 0
        return self._take(
            event, base, amount, seller, source.sale_id, source.seller_id, source.level
        )

    def profile(
        self, event: SellerUpdated, before: Seller | None, after: Seller, waiting: Sequence[bytes]
    ) -> Operation:
        """A profile replaces the one before and releases what waited for it."""
        return {
            "op": "profile",
            "id": event.id,
            "seller": event.seller_id,
            "kind": event.type,
            "rev": before.rev if before else 0,
            "profile": stored_profile(event, before),
            "release": [self._release(from_json(item), after) for item in waiting],
        }

    def outdated(self, event: SellerUpdated, before: Seller) -> Operation:
        """An older profile than the one there is changes nothing."""
        return {
            "op": "skip",
            "id": event.id,
            "seller": event.seller_id,
            "kind": event.type,
            "rev": before.rev,
        }

    def redemption(self, event: CreditRedeemed) -> Operation:
        """Credit is spent on the company's products."""
        return {
            "op": "redeem",
            "id": event.id,
            "seller": event.seller_id,
            "kind": event.type,
            "currency": event.currency,
            "amount": event.amount_minor,
        }

    def report(self, event: PayoutReported) -> Operation:
        """What a rail says of a payout."""
        operation = transition(
            event.id, event.payout_id, event.state,
            provider_ref=event.provider_ref, category=event.category, reason=event.reason,
        )  # fmt: skip
        operation["kind"] = event.type
        return operation

    def pay(self, seller: Seller | None, currency: str) -> Operation | None:
        """On which terms a seller is paid a currency at once; None if she is not."""
        if seller is None or not seller.payable or seller.rail is None:
            return None
        key = (seller.rail, currency)
        if key not in self._terms:
            self._terms[key] = self._laid_out(*key)
        terms = self._terms[key]
        return None if terms is None else {**terms, "destination": seller.destination}

    def _laid_out(self, rail: str, currency: str) -> Operation | None:
        terms = self.policy.terms(currency, rail)
        if terms is None or Tier.INSTANT not in self.policy.instant:
            return None
        return {
            "rail": terms.rail,
            "min": terms.min_minor,
            "max": terms.max_minor,
            "fixed": terms.fixed_minor,
            "bp": terms.fee_bp,
            "cap": terms.fee_cap_minor,
            "seller_pays": terms.seller_pays,
            "window": terms.window_ms,
            "step": self._steps.get((rail, currency), 1),
        }

    def _earn(
        self,
        event: SaleCompleted | CommissionEarned,
        record: str,
        base_minor: int,
        amount_minor: int,
        seller: Seller | None,
        tier: Tier,
        sale_id: str,
        origin: str,
        level: int,
    ) -> Operation:
        """``level``: 0 for a sale, 1 and up for a commission of a sale, -1 for another one."""
        occurred_ms = event.occurred_ms
        operation: Operation = {
            "op": "earn",
            "id": event.id,
            "seller": event.seller_id,
            "kind": event.type,
            "record": record,
            "currency": event.currency,
            "base": base_minor,
            "amount": amount_minor,
            "tier": tier.value,
            "occurred": occurred_ms,
            "rev": seller.rev if seller else 0,
        }
        if seller is None:
            operation |= {
                "waiting": True,
                "sale": sale_id,
                "origin": origin,
                "level": level,
                "occurred_at": event.occurred_at.isoformat(),
                "counts": (),
            }
            return operation
        operation["counts"] = self._counts(event.currency, occurred_ms, seller.zone, level)
        up = self._up(seller, event.currency, base_minor, sale_id, origin, level)
        if up is not None:
            up["occurred_at"] = event.occurred_at.isoformat()
            operation["up"] = up
        if tier is Tier.INSTANT and (pay := self.pay(seller, event.currency)) is not None:
            operation["pay"] = pay
        return operation

    def _reverse(
        self, event: SaleReturned | CommissionReversed, record: str, base_minor: int
    ) -> Operation:
        return {
            "op": "reverse",
            "id": event.id,
            "seller": event.seller_id,
            "kind": event.type,
            "record": record,
            "currency": event.currency,
            "base": base_minor,
        }

    def _take(
        self,
        event: SaleReturned | CommissionReversed,
        base_minor: int,
        amount_minor: int,
        seller: Seller | None,
        sale_id: str,
        origin: str,
        level: int,
    ) -> Operation:
        operation: Operation = {
            "op": "take",
            "id": event.id,
            "seller": event.seller_id,
            "kind": event.type,
            "currency": event.currency,
            "base": base_minor,
            "amount": amount_minor,
            "occurred": event.occurred_ms,
            "occurred_at": event.occurred_at.isoformat(),
            "rev": seller.rev if seller else 0,
            "counts": (),
        }
        if seller is None:
            operation |= {"waiting": True, "sale": sale_id, "origin": origin, "level": level}
            return operation
        operation["counts"] = self._counts(event.currency, event.occurred_ms, seller.zone, level)
        up = self._up(seller, event.currency, base_minor, sale_id, origin, level)
        if up is not None:
            # No commission was recorded for it, so there is none to name.
            del up["commission"]
            operation["up"] = {**up, "occurred_at": operation["occurred_at"]}
        return operation

    def _release(self, item: Mapping[str, Any], seller: Seller) -> Operation:
        """What takes effect, now that the profile is there, of one earning or return that waited."""
        currency, level = item["currency"], item["level"]
        release: Operation = {
            "counts": self._counts(currency, item["occurred"], seller.zone, level)
        }
        up = self._up(seller, currency, item["base"], item["sale"], item["origin"], level)
        if up is not None:
            if item.get("take"):
                del up["commission"]
            release["up"] = {**up, "occurred_at": item["occurred_at"]}
        if (pay := self.pay(seller, currency)) is not None:
            release["pay"] = pay
        return release

    def _counts(self, currency: str, occurred_ms: int, zone: str, level: int) -> list[list[Any]]:
        """In which campaigns and periods an event counts: ``[index from 1, period, forget at]``."""
        counts: list[list[Any]] = []
        for index, campaign in enumerate(self.campaigns, 1):
            if level != 0 and campaign.metric != "earnings":
                continue
            if not running(campaign, occurred_ms) or not steps(campaign, currency):
                continue
            period = period_of(campaign, occurred_ms, zone)
            forget = period.end_ms + self._retention_ms if period.end_ms else 0
            counts.append([index, period.id, forget])
        return counts

    def _up(
        self, seller: Seller, currency: str, base_minor: int, sale_id: str, origin: str, level: int
    ) -> Operation | None:
        """What the next seller up earns of a sale; None at the top of the tree or of the plan."""
        if level < 0 or seller.sponsor_id is None or base_minor == 0:
            return None
        amount = self.plan.upline(base_minor, currency, level + 1)
        if amount is None:
            return None
        return {
            "to": seller.sponsor_id,
            "commission": derived(f"{origin}/{sale_id}/{level + 1}"),
            "sale": sale_id,
            "origin": origin,
            "level": level + 1,
            "amount": amount,
        }


def transition(
    operation_id: str,
    payout_id: str,
    state: PayoutState,
    *,
    asked: int = 0,
    provider_ref: str | None = None,
    category: FailureCategory | None = None,
    reason: str | None = None,
) -> Operation:
    """A payout goes to a state, or stays in it and is asked about again later."""
    operation: Operation = {
        "op": "transit",
        "id": operation_id,
        "shard": shard_of_payout(payout_id),
        "payout": payout_id,
        "state": state.value,
    }
    if provider_ref is not None:
        operation["provider_ref"] = provider_ref
    if category is not None:
        operation["category"] = category.value
        if category is FailureCategory.RETRYABLE:
            operation["retry_ms"] = RETRY_AFTER_MS
    if reason is not None:
        operation["reason"] = reason
    if wait := enquire_after_ms(state, asked):
        operation["ask_ms"] = wait
    return operation
