"""Rules: from an event and what is known of its seller to the operation that books it.

Pure. What depends on a balance is decided where the balance is, inside Redis; everything else is
decided here and carried in the operation, with the revision of the profile it was decided upon.
An operation is a dict, ready for JSON; the keys stand in the Redis functions of the wallets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from pydantic_core import from_json

from models import fx, reinvestment, till
from models.campaigns import (
    Audience,
    Campaign,
    Campaigns,
    Period,
    near,
    period_of,
    running,
    steps,
)
from models.decisions import Tier
from models.events import (
    CommissionEarned,
    CommissionReversed,
    ConversionMade,
    ConversionQuoted,
    CreditRedeemed,
    DebtWrittenOff,
    EarningsReinvested,
    PayoutReported,
    RateQuoted,
    SaleCompleted,
    SaleReturned,
    SellerUpdated,
)
from models.ids import derived, shard_of_payout
from models.lineage import Lineage, lineage_of, sold_of, waiting
from models.payouts import (
    GIVES_BACK,
    RETRIES,
    FailureCategory,
    PayoutState,
    enquire_after_ms,
)
from models.plan import CommissionPlan
from models.policy import PayoutPolicy
from models.reinvestment import Boost
from models.schedules import Sold, schedule_terms
from models.sellers import Method, Seller, read_seller, stored_profile
from models.shards import shard_of

Operation = dict[str, Any]
Counts = Sequence[Sequence[Any]]

_QUARTER_MS = 15 * 60_000
_COUNTS_KEPT_MAX = 16_384


_METRICS = {"team_volume": "volume"}
"""Metrics that differ from another only in which events count."""


class _Standing(NamedTuple):
    """What of a seller audiences look at."""

    country: str
    tier: str | None
    tags: frozenset[str]


class Pay(Protocol):
    """Says on which terms a seller is paid a currency at once: :class:`rails.routing.Router`."""

    def __call__(self, seller: Seller | None, currency: str) -> Operation | None:
        """The terms, for the booking function; None if she is not paid."""
        ...


class Rules:
    """The company's plan, policy and campaigns, and its payouts' routes, applied to events."""

    def __init__(
        self,
        plan: CommissionPlan,
        policy: PayoutPolicy,
        campaigns: Campaigns,
        pay: Pay,
        *,
        retention_ms: int,
    ) -> None:
        self.plan = plan
        self.policy = policy
        self.campaigns = campaigns.campaigns
        self.pay = pay
        self._retention_ms = retention_ms
        self.boosts = campaigns.reinvest
        """Campaigns of which what sellers reinvest has a bonus."""
        self._by_id = campaigns.versions
        self._versions = tuple(self._by_id.values())
        self._firsts = any(each.metric == "first_sale" for each in self.campaigns)
        self._chooses = any(each.audience is not None for each in self.campaigns)
        self._known_counts: dict[tuple[str, str, int, int, _Standing | None], Counts] = {}
        self._turns = {at for campaign in self.campaigns for at in campaign.span_ms}

    def context(self) -> list[dict[str, Any]]:
        """The campaigns as the booking function is told of them."""
        return [
            {
                "id": campaign.id,
                "metric": _METRICS.get(campaign.metric, campaign.metric),
                "expires_ms": campaign.expires_ms,
                "steps": {
                    currency: [[part for part in step if part is not None] for step in found]
                    for currency, found in campaign.steps_by_currency.items()
                },
            }
            | ({"budget": dict(campaign.budget)} if campaign.budget else {})
            for campaign in self.campaigns
        ]

    def budget(self, campaign_id: str, currency: str) -> int:
        """What a campaign may cost by its latest version, in minor units; 0 if it is not known."""
        for boost in self.boosts:
            if boost.id == campaign_id:
                return boost.budget.get(currency, 0)
        versions = self._by_id.get(campaign_id)
        return self.campaigns[versions[0]].budget.get(currency, 0) if versions else 0

    def sale(  # noqa: PLR0917 - what one sale is booked by
        self,
        event: SaleCompleted,
        seller: Seller | None,
        amount_minor: int,
        tier: Tier,
        score: float | None = None,
        share_bp: int = 0,
    ) -> Operation:
        """A sale credits its seller. ``tier`` is the one it has once her profile is known.

        ``share_bp``: of a partial earning, what is not held, in basis points. One that waits for
        its profile is held whole. What those above earn of it is held with any of it.
        """
        if seller is None and tier is Tier.PARTIAL:
            tier = Tier.HOLD
        held, sold = tier is not Tier.INSTANT, None
        if self.policy.release:
            sold = sold_of(event, score)
        lineage = Lineage(event.sale_id, event.seller_id, 0, held, sold)
        amounts = (event.amount_minor, amount_minor)
        operation = self._earn(event, "s:" + event.sale_id, amounts, seller, tier, lineage)
        if tier is Tier.PARTIAL:
            operation["share"] = share_bp
            if Tier.PARTIAL not in self.policy.instant:
                operation.pop("pay", None)
        if isinstance(event.lines, tuple) and event.lines:
            operation["lines"] = {line.line_id: (line.amount_minor, 0) for line in event.lines}
        return operation

    def commission(self, event: CommissionEarned, seller: Seller | None, tier: Tier) -> Operation:
        """A commission credits its seller, and the next one up if it came from a sale."""
        source = event.source
        base = event.amount_minor if source is None else source.base_minor
        record = "c:" + event.commission_id
        amounts = (base, event.amount_minor)
        return self._earn(event, record, amounts, seller, tier, lineage_of(source))

    def sale_return(self, event: SaleReturned, seller: Seller | None) -> Operation:
        """A return takes back what its sale earned; without a receipt, what a sale would earn."""
        if event.sale_id is not None:
            operation = self._reverse(event, "s:" + event.sale_id, event.amount_minor)
            return operation | ({"line": event.line_id} if event.line_id is not None else {})
        amount = self.plan.retail(event.amount_minor, event.currency)
        lineage = Lineage(event.id, event.seller_id, 0)
        return self._take(event, (event.amount_minor, amount), seller, lineage)

    def reversal(self, event: CommissionReversed, seller: Seller | None) -> Operation:
        """A commission is taken back, in proportion to its base where it came from a sale."""
        source = event.source
        base = event.amount_minor if source is None else source.base_minor
        if event.commission_id is not None:
            return self._reverse(event, "c:" + event.commission_id, base)
        amount = base
        if source is not None:
            amount = self.plan.upline(base, event.currency, source.level) or 0
        return self._take(event, (base, amount), seller, lineage_of(source))

    def profile(
        self,
        event: SellerUpdated,
        methods: Sequence[Method],
        before: Seller | None,
        waiting: Sequence[bytes],
    ) -> Operation:
        """A profile replaces the one before and releases what waited for it.

        ``methods``: its ways to be paid, inspected. What is wrong with them the company is told.
        """
        rev = before.rev if before else 0
        profile = stored_profile(event, methods, before)
        after = read_seller(event.seller_id, f"{rev + 1}|{profile}".encode())
        refusals = [
            [(one.rails or ("none",))[0], one.refused] for one in methods if one.refused is not None
        ]
        return ({"refusals": refusals} if refusals else {}) | {
            "op": "profile",
            "id": event.id,
            "seller": event.seller_id,
            "kind": event.type,
            "rev": rev,
            "profile": profile,
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

    def purchase(self, event: till.PurchaseEvent) -> Operation:
        """A till asks to take a purchase from the wallet, or says what became of it."""
        return till.operation_of(event, self.policy.till)

    def write_off(self, event: DebtWrittenOff) -> Operation:
        """Debt is written off."""
        return {
            "op": "write_off",
            "id": event.id,
            "seller": event.seller_id,
            "kind": event.type,
            "currency": event.currency,
            "amount": event.amount_minor,
            "by": event.by,
            "reason": event.reason,
        }

    def reinvestment(self, event: EarningsReinvested, seller: Seller | None) -> Operation:
        """A seller turns what is available into credit. Without ``boosts`` no profile is needed."""
        boosts = self._boosts(event.currency, event.occurred_ms, seller) if seller else []
        operation = reinvestment.reinvest(
            event.id, event.seller_id, event.currency, event.amount_minor,
            policy=self.policy.reinvest, boosts=boosts,
        )  # fmt: skip
        return operation | ({"rev": seller.rev if seller else 0} if self.boosts else {})

    def _boosts(self, currency: str, occurred_ms: int, seller: Seller) -> list[Boost]:
        """The campaigns whose bonus she gets on what she reinvests of this time."""
        return [
            (each.id, each.bonus, each.bonus_days, each.budget.get(currency, 0))
            for each in self.boosts
            if running(each, occurred_ms)
            and (not each.budget or currency in each.budget)
            and (each.audience is None or _belongs(each.audience, seller))
        ]

    def rate(self, event: RateQuoted) -> Operation:
        """A treasury says what a currency is worth in another."""
        rate = fx.Rate(
            event.id, event.source_currency, event.target_currency, event.numerator,
            event.denominator, event.occurred_ms, event.expires_ms,
        )  # fmt: skip
        return fx.keep_rate(event.id, rate, self.policy.fx)

    def quoted(self, event: ConversionQuoted, rate: fx.Rate | None) -> Operation:
        """A seller wants money in another currency. ``rate``: the latest of the pair."""
        wanted = fx.Wanted(
            event.source_currency, event.target_currency, event.source_minor, event.target_minor
        )
        return fx.quote(
            event.id, event.seller_id, event.quote_id, wanted, rate, policy=self.policy.fx
        )

    def converted(self, event: ConversionMade) -> Operation:
        """What a quote is for is exchanged."""
        return fx.convert(event.id, event.seller_id, event.quote_id)

    def report(self, event: PayoutReported) -> Operation:
        """What a rail says of a payout.

        That money comes back is only a hint: reports may be late, out of order or wrong, so the
        rail is asked, and its own answer moves the money.
        """
        shard = _shard_of(event)
        operation: Operation
        if event.state in GIVES_BACK:
            operation = {
                "op": "ask",
                "id": event.id,
                "shard": shard,
                "payout": event.payout_id,
                "state": event.state.value,
                "attempt": event.attempt,
            }
        else:
            operation = transition(
                event.id, event.payout_id, event.state, shard=shard,
                provider_ref=event.provider_ref, category=event.category, reason=event.reason,
                attempt=event.attempt,
            )  # fmt: skip
        operation["kind"] = event.type
        return operation

    def _earn(  # noqa: PLR0917 - one call each from a sale and a commission
        self,
        event: SaleCompleted | CommissionEarned,
        record: str,
        amounts: tuple[int, int],
        seller: Seller | None,
        tier: Tier,
        lineage: Lineage,
    ) -> Operation:
        """``amounts``: what the earning is a share of, and the earning."""
        occurred_ms = event.occurred_ms
        operation: Operation = {
            "op": "earn",
            "id": event.id,
            "seller": event.seller_id,
            "kind": event.type,
            "record": record,
            "currency": event.currency,
            "base": amounts[0],
            "amount": amounts[1],
            "tier": tier.value,
            "occurred": occurred_ms,
            "rev": seller.rev if seller else 0,
        }
        if tier is Tier.REJECT:
            # A record of nothing, so that a return finds it: no campaign, nobody above, no wait.
            return operation | {"amount": 0, "counts": ()}
        if self._firsts and lineage.level == 0:
            operation["first"] = True
        if seller is None:
            return operation | waiting(event, lineage)
        operation["counts"] = self._counts(event.currency, occurred_ms, seller, lineage.level)
        up = self._up(seller, event.currency, amounts[0], lineage)
        if up is not None:
            up["occurred_at"] = event.occurred_at.isoformat()
            operation["up"] = up
        if tier is not Tier.HOLD:
            operation |= self._onward(seller, event.currency, occurred_ms)
            if self.policy.release:
                operation |= self._scheduled(seller, lineage.sold, occurred_ms)
        return operation

    def released(
        self, seller_id: str, seller: Seller | None, currency: str, record: str, due_ms: int
    ) -> Operation:
        """What was pending of an earning until then, by the name of its record, goes on."""
        operation: Operation = {
            "op": "release",
            "seller": seller_id,
            "currency": currency,
            "record": record,
            "rev": seller.rev if seller else 0,
        }
        return operation | (self._onward(seller, currency, due_ms) if seller else {})

    def _scheduled(self, seller: Seller, sold: Sold | None, occurred_ms: int) -> Operation:
        """Which share of an earning is pending for a while, if any."""
        terms = schedule_terms(
            self.policy.release, country=seller.country, tier=seller.tier, sold=sold,
            occurred_ms=occurred_ms,
        )  # fmt: skip
        return {} if terms is None else {"schedule": terms}

    def _onward(self, seller: Seller, currency: str, occurred_ms: int) -> Operation:
        """Where an earning goes on to: what of it is reinvested, and on which terms she is paid."""
        onward: Operation = {}
        standing = seller.reinvest.get(currency) if seller.reinvest else None
        if standing is not None and not seller.suspended:
            boosts = self._boosts(currency, occurred_ms, seller)
            onward["reinvest"] = reinvestment.standing_terms(standing, self.policy.reinvest, boosts)
        if (pay := self.pay(seller, currency)) is not None:
            onward["pay"] = pay
        return onward

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
        amounts: tuple[int, int],
        seller: Seller | None,
        lineage: Lineage,
    ) -> Operation:
        operation: Operation = {
            "op": "take",
            "id": event.id,
            "seller": event.seller_id,
            "kind": event.type,
            "currency": event.currency,
            "base": amounts[0],
            "amount": amounts[1],
            "occurred": event.occurred_ms,
            "rev": seller.rev if seller else 0,
        }
        if seller is None:
            return operation | waiting(event, lineage)
        operation["counts"] = self._counts(event.currency, event.occurred_ms, seller, lineage.level)
        up = self._up(seller, event.currency, amounts[0], lineage)
        if up is not None:
            # No commission was recorded for it, so there is none to name.
            del up["commission"]
            operation["up"] = {**up, "occurred_at": event.occurred_at.isoformat()}
        return operation

    def _release(self, item: Mapping[str, Any], seller: Seller) -> Operation:
        """What of a waiting earning or return takes effect, now that the profile is there."""
        if item.get("give"):
            return {}  # it follows its sale, which is released in front of it
        currency = item["currency"]
        sold = Sold.model_validate_json(item["sold"]) if item.get("sold") else None
        lineage = Lineage(item["sale"], item["origin"], item["level"], item["held"], sold)
        release: Operation = {
            "counts": self._counts(currency, item["occurred"], seller, lineage.level)
        }
        up = self._up(seller, currency, item["base"], lineage)
        if up is not None:
            if item.get("take"):
                del up["commission"]
            release["up"] = {**up, "occurred_at": item["occurred_at"]}
        release |= self._onward(seller, currency, item["occurred"])
        if self.policy.release and not item.get("take"):
            release |= self._scheduled(seller, sold, item["occurred"])
        return release

    def _counts(self, currency: str, occurred_ms: int, seller: Seller, level: int) -> Counts:
        """In which campaigns and periods an event counts: ``[index from 1, period, forget at]``.

        Kept for each quarter of an hour: nothing of it changes within one but where a campaign
        starts or ends, or a zone's day begins at an odd time.
        """
        who = _Standing(seller.country, seller.tier, seller.tags) if self._chooses else None
        key = (currency, seller.zone, level, occurred_ms // _QUARTER_MS, who)
        counts = self._known_counts.get(key)
        if counts is None:
            counts = self._counted(currency, occurred_ms, seller, level)
            first_ms = key[3] * _QUARTER_MS
            last_ms = first_ms + _QUARTER_MS - 1
            steady = not any(first_ms < at <= last_ms for at in self._turns) and (
                self._counted(currency, first_ms, seller, level)
                == self._counted(currency, last_ms, seller, level)
            )
            if steady:
                if len(self._known_counts) >= _COUNTS_KEPT_MAX:
                    self._known_counts.clear()
                self._known_counts[key] = counts
        return counts

    def _counted(self, currency: str, occurred_ms: int, seller: Seller, level: int) -> Counts:
        counts: list[list[Any]] = []
        for versions in self._versions:
            for index in versions:
                campaign = self.campaigns[index]
                period = period_of(campaign, occurred_ms, seller.zone)
                if (period.start_ms or 0) < campaign.effective_ms:
                    continue  # it began before this version
                if _counts_in(campaign, currency, occurred_ms, seller, level):
                    counts.append([index + 1, *self._kept(campaign, period, seller.zone)])
                break
        return counts

    def _kept(self, campaign: Campaign, period: Period, zone: str) -> list[Any]:
        """A period's id, when its total is forgotten, and of a streak the same of those near it."""
        if campaign.streak is None:
            forget = period.end_ms + self._retention_ms if period.end_ms else 0
            return [period.id, forget]
        row = near(campaign, period, zone)
        # A total matters for as long as a period that it is in a row with.
        far = (row[-1].end_ms or 0) - (period.end_ms or 0) + self._retention_ms
        listed = [[each.id, (each.end_ms or 0) + far] for each in row]
        return [period.id, (period.end_ms or 0) + far, listed]

    def _up(
        self, seller: Seller, currency: str, base_minor: int, lineage: Lineage
    ) -> Operation | None:
        """What the next seller up earns of a sale; None at the top of the tree or of the plan."""
        level = lineage.level + 1
        if level < 1 or seller.sponsor_id is None or base_minor == 0:
            return None
        amount = self.plan.upline(base_minor, currency, level)
        if amount is None:
            return None
        up: Operation = {
            "to": seller.sponsor_id,
            "commission": derived(f"{lineage.origin}/{lineage.sale_id}/{level}"),
            "sale": lineage.sale_id,
            "origin": lineage.origin,
            "level": level,
            "amount": amount,
        }
        if lineage.held:
            up["held"] = True
        if lineage.sold is not None and self.policy.release:
            up["sold"] = lineage.sold.text()
        return up


def _counts_in(
    campaign: Campaign, currency: str, occurred_ms: int, seller: Seller, level: int
) -> bool:
    """Whether an event of a seller, so many levels up from its sale, counts in a campaign."""
    audience = campaign.audience
    return (
        campaign.counts_level(level)
        and running(campaign, occurred_ms)
        and bool(steps(campaign, currency))
        and (audience is None or _belongs(audience, seller))
    )


def _belongs(audience: Audience, seller: Seller) -> bool:
    return audience.includes(seller.country, seller.tier, seller.tags)


def _shard_of(event: PayoutReported) -> int:
    """Where the payout of a report is, if it is anywhere."""
    try:
        return shard_of_payout(event.payout_id)
    except ValueError:
        return shard_of(event.seller_id)


def transition(
    operation_id: str,
    payout_id: str,
    state: PayoutState,
    *,
    provider_ref: str | None = None,
    category: FailureCategory | None = None,
    reason: str | None = None,
    shard: int | None = None,
    attempt: int = 0,
) -> Operation:
    """A payout goes to a state, in an attempt. ``shard``: where it is, if its id may be none."""
    operation: Operation = {
        "op": "transit",
        "id": operation_id,
        "shard": shard_of_payout(payout_id) if shard is None else shard,
        "payout": payout_id,
        "state": state.value,
        "attempt": attempt,
    }
    if provider_ref is not None:
        operation["provider_ref"] = provider_ref
    if category is not None:
        operation["category"] = category.value
        if RETRIES[category].again_ms:
            operation["retry_ms"] = RETRIES[category].again_ms
    if reason is not None:
        operation["reason"] = reason
    if wait := enquire_after_ms(state, 0):
        operation["ask_ms"] = wait
    return operation
