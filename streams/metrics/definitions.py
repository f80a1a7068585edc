"""Which metrics there are: name, help, labels and their values, buckets."""

from __future__ import annotations

import platform
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Info, ProcessCollector

from models.compiled import form
from models.verdicts import Verdict
from streams.metrics.engine import EngineCollector
from streams.metrics.kinds import PREFIX, Maker

STAGES = ("decode", "look", "score", "book", "publish")
"""What a batch passes through, in order."""

NOTICE_RESULTS = ("delivered", "retried", "given_up", "gone", "overflow", "unreadable")
"""What becomes of a try to tell the company; all but the first two leave a dead letter."""

CALLS = ("submit", "enquire", "cancel")
"""What rails are called for."""

AGES_S = (("0-1m", 60.0), ("1m-10m", 600.0), ("10m-1h", 3_600.0), ("1h-1d", 86_400.0))
"""Ages of payouts under way: the word, and below how many seconds."""

AGE_OLDER = "1d+"


def age_word(age_s: float) -> str:
    """The label of an age."""
    return next((word for word, below_s in AGES_S if age_s < below_s), AGE_OLDER)


SCORE_BOUNDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9)
"""Where the bins of fraud scores end; the last one ends at 1."""

SCORE_BINS = (*map(str, SCORE_BOUNDS), "1.0")
"""The bins' names: how far each goes."""

STAGE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
LATENCY_BUCKETS_S = (
    *(0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1),
    *(0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0),
)
CALL_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
BATCH_BUCKETS = (1, 2, 5, 10, 25, 50, 100, 200, 350, 500, 1_000, 5_000)
HEAL_BUCKETS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0)

_RAIL = "a configured rail"
_STATE = "a [payout's state](money.md#states)"
_CURRENCY = "ISO 4217 code"
_VERDICT = ", ".join(f"`{each}`" for each in Verdict)


class Definitions:
    """All metrics of one process, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        make = Maker(registry)
        self._of_process(make)
        self._of_events(make)
        self._of_engine(make)
        self._of_money(make)
        self._of_fraud(make)
        self._of_payouts(make)
        self._of_rails(make)
        self._of_ledger(make)
        self._of_notices(make)
        self._of_api(make)
        self.described = tuple(make.described)

    def _of_process(self, make: Maker) -> None:
        make.section("Process")
        text = "The version that runs; always 1."
        make.describe(
            "build_info", "info", text,
            version="the product's",
            python="Python's",
            features="`compiled` or `python`: [how they are computed](fraud.md#compiled)",
        )  # fmt: skip
        build = Info(f"{PREFIX}_build", text, registry=make.registry)
        build.info(
            {
                "version": version("payout-streams"),
                "python": platform.python_version(),
                "features": form(),
            }
        )
        ProcessCollector(registry=make.registry)

    def _of_events(self, make: Maker) -> None:
        make.section("Events and stages")
        self.events = make.counter(
            "events_total", "Events taken, by what became of them.",
            topic="an inbound topic",
            outcome="`booked`, `duplicate`, `stale`, `waiting`, `refused`, `ignored`",
        )  # fmt: skip
        self.dead_letters = make.counter(
            "dead_letters_total", "Events refused.", reason="[reasons](events.md#dead-letters)"
        )
        self.waiting = make.gauge(
            "waiting_events", "Early events that wait for what they depend on.",
            kind="`sales`, `returns`",
        )  # fmt: skip
        self.batch_events = make.histogram(
            "batch_events", "Events in a batch.", BATCH_BUCKETS, topic="an inbound topic"
        )
        self.batch_seconds = make.histogram(
            "batch_seconds", "From when an agent takes a batch until it is acknowledged.",
            LATENCY_BUCKETS_S, topic="any topic that an agent reads",
        )  # fmt: skip
        self.stage = make.histogram(
            "stage_seconds", "Time a batch spends in a stage.", STAGE_BUCKETS_S,
            stage=", ".join(f"`{stage}`" for stage in STAGES),
        )  # fmt: skip
        self.sale_to_command = make.histogram(
            "sale_to_command_seconds",
            "From a sale's arrival in Kafka to its payout command in Kafka.",
            LATENCY_BUCKETS_S,
        )
        self.timers = make.counter(
            "timers_total", "Timers carried out: windows, waits, ends, enquiries.",
            kind="`booking`, `rail`",
        )  # fmt: skip
        self.retries = make.counter(
            "retries_total", "Calls repeated because a server did not answer.",
            server="`redis`, `kafka`",
        )  # fmt: skip

    def _of_engine(self, make: Maker) -> None:
        make.section("Engine")
        self.rebalances = make.counter(
            "rebalances_total", "Changes of the partitions assigned here.",
            change="`assigned`, `revoked`",
        )  # fmt: skip
        self.engine = EngineCollector(make)

    def _of_money(self, make: Maker) -> None:
        make.section("Money")
        self.booked = make.counter(
            "booked_minor_units_total", "Money booked to sellers, in minor units of the currency.",
            currency=_CURRENCY, direction="`earned` by sales, `commission`, `reinvested`",
        )  # fmt: skip
        self.rail_money = make.counter(
            "rail_minor_units_total", "Money over rails, as the ledger has it, in minor units.",
            rail=_RAIL, currency=_CURRENCY, direction="`paid`, `came_back`",
        )  # fmt: skip
        self.house = make.gauge(
            "house_balance_minor_units",
            "What the house's accounts are at, of the shards of this worker; below zero is given.",
            account="a [house account](money.md#accounts)", currency=_CURRENCY,
        )  # fmt: skip
        self.debt = make.gauge(
            "debt_minor_units",
            "What sellers owe, of the shards of this worker, by how many days they have owed it.",
            currency=_CURRENCY, age="in days, as in `payouts exposure`",
        )  # fmt: skip
        self.spendback = make.counter(
            "spendback_credits_total", "Grants of campaigns made, taken back and refused.",
            outcome="`granted`, `unfired`, `refused`",
        )  # fmt: skip
        self.settled = make.counter(
            "spendback_settled_minor_units_total",
            "Credit that was spent before a return undid its grant, by what became of it.",
            currency=_CURRENCY, outcome="`recovered`, `forgiven`",
        )  # fmt: skip
        self.conversions = make.counter(
            "conversions_total",
            "Quotes by events, quotes used by events, and quotes whose time was over.",
            step="`quoted`, `converted`, `expired`",
        )
        self.pending = make.gauge(
            "pending_minor_units",
            "Earnings that are released later, of the shards of this worker.",
            currency=_CURRENCY,
        )
        self.rate_observed = make.gauge(
            "rate_observed_timestamp_seconds",
            "When the newest rate of a pair that this worker took was observed.",
            source=_CURRENCY, target=_CURRENCY,
        )  # fmt: skip

    def _of_fraud(self, make: Maker) -> None:
        make.section("Fraud")
        self.decisions = make.counter(
            "decisions_total", "Fraud decisions.", tier="`instant`, `partial`, `hold`, `reject`"
        )
        self.scores = make.counter(
            "fraud_scores_total",
            "Sales scored, by the bin of the score. Drift is told from how the bins are filled.",
            bin="how far the bin goes: " + ", ".join(f"`{each}`" for each in SCORE_BINS),
        )
        self.review_earnings = make.gauge(
            "review_earnings", "Earnings that are held for review, of the shards of this worker."
        )
        self.review_oldest = make.gauge(
            "review_oldest_seconds", "How long the first of them has been held; 0 for none."
        )
        self.labels = make.counter(
            "fraud_labels_total", "Labels of sales, by the verdict.", verdict=_VERDICT
        )
        self.label_money = make.counter(
            "fraud_label_minor_units_total",
            "What labels found, in minor units: forfeited, or gone: of frauds with their sellers"
            " or paid when the label came.",
            currency=_CURRENCY, outcome="`forfeited`, `gone`",
        )  # fmt: skip
        self.fraud_rules = make.counter(
            "fraud_rules_total", "Sales that a rule of the policy fits.",
            rule="a rule's reason, as the policy names it",
        )  # fmt: skip
        self.explored = make.counter(
            "fraud_explored_minor_units_total",
            "Earnings that would have been held and that chance chose to let through, in minor "
            "units; what goes beyond the day's most is held all the same.",
            currency=_CURRENCY,
        )
        self.scorer_up = make.gauge(
            "scorer_up", "1 if the fraud model scores, 0 if payouts fall back to a small cap."
        )
        role = "`champion`, which decides, `challenger`, in its shadow"
        self.model = make.gauge(
            "fraud_model", "1 for each model in use.",
            role=role, digest="the first 12 characters of the model's digest",
        )  # fmt: skip
        self.model_refused = make.gauge(
            "fraud_model_refused",
            "1 while a model's file cannot be used; the model before it stays.", role=role,
        )  # fmt: skip
        self.model_swaps = make.counter(
            "fraud_model_swaps_total", "Models that took the place of another one.", role=role
        )
        self.psi = make.gauge(
            "fraud_psi",
            "How far the last 65,536 sales are from those the model was trained on: population "
            "stability index. Not there before 8,192.",
            feature="a feature of the model, or `score`",
        )

    def _of_payouts(self, make: Maker) -> None:
        make.section("Payouts")
        self.payouts = make.counter(
            "payout_transitions_total", "Payouts that entered a state.", rail=_RAIL, state=_STATE
        )
        self.in_flight = make.gauge(
            "in_flight",
            "Payouts under way, of the shards of this worker, as its last walk found them.",
            rail=_RAIL, state=_STATE,
            age=", ".join(f"`{word}`" for word, _ in AGES_S) + f", `{AGE_OLDER}`",
        )  # fmt: skip
        self.overdue = make.gauge(
            "payout_overdue", "Payouts under way for longer than their state may last.",
            state=_STATE,
        )  # fmt: skip
        self.oldest = make.gauge(
            "payout_oldest_seconds", "Age of the oldest payout in a state, 0 for none.",
            state=_STATE,
        )  # fmt: skip
        self.contradicted = make.counter(
            "contradicted_total",
            "Payouts said to be paid after a proof, or a person's word, that they were not; or not"
            " to be after a person's word that they were.",
            rail=_RAIL,
        )

    def _of_rails(self, make: Maker) -> None:
        make.section("Rails")
        self.rail_outcomes = make.counter(
            "rail_outcomes_total",
            "Calls to rails, by what they said: a category if the payout failed, else its state.",
            rail=_RAIL, call=", ".join(f"`{call}`" for call in CALLS),
            outcome="a state, or [a category](money.md#states)",
        )  # fmt: skip
        self.rail_seconds = make.histogram(
            "rail_call_seconds", "Time a call to a rail takes, all its requests together.",
            CALL_BUCKETS_S, rail=_RAIL, call=", ".join(f"`{call}`" for call in CALLS),
        )  # fmt: skip
        self.rail_closed = make.gauge(
            "rail_closed", "1 while payouts are kept from a rail: breaker open, or paused.",
            rail=_RAIL,
        )  # fmt: skip
        self.rail_success = make.gauge(
            "rail_success_ratio", "Share of a rail's last calls that went well, as routes see it.",
            rail=_RAIL,
        )  # fmt: skip
        self.rail_queue = make.gauge(
            "rail_queue_payouts",
            "Reserved payouts that wait for their turn: for a rail's pace, or a free place.",
            rail=_RAIL,
        )
        self.rail_queue_oldest = make.gauge(
            "rail_queue_oldest_seconds",
            "How long the first of them has waited; 0 when there is none.",
            rail=_RAIL,
        )
        self.webhooks = make.counter(
            "webhooks_total", "Calls of providers, by what came of them.",
            rail=_RAIL, result="a word of the receiver's",
        )  # fmt: skip

    def _of_ledger(self, make: Maker) -> None:
        make.section("Ledger and Redis")
        self.outbox_age = make.gauge(
            "outbox_age_seconds", "Age of the oldest booked entry not yet published."
        )
        self.outbox_entries = make.gauge(
            "outbox_entries", "Booked entries not yet known to be published."
        )
        self.checked = make.counter(
            "ledger_checked_entries_total",
            "Entries whose postings were added up here: all of them up to 50 a second.",
        )
        self.imbalance = make.gauge(
            "ledger_imbalance_minor_units",
            "By how much the postings of entries that were added up miss zero; anything but 0 is "
            "a defect.",
            currency=f"{_CURRENCY}; empty while nothing is amiss",
        )
        self.heal = make.histogram(
            "heal_seconds", "Time to bring a partition's wallets up to the journal.", HEAL_BUCKETS_S
        )
        self.heal_entries = make.counter(
            "heal_entries_total", "Entries that healing redid in Redis, or published again.",
            work="`redone`, `republished`",
        )  # fmt: skip
        self.redis_memory = make.gauge(
            "redis_memory_bytes", "Memory that Redis uses; in a Cluster of each primary.",
            node="host:port",
        )  # fmt: skip
        self.redis_memory_max = make.gauge(
            "redis_memory_max_bytes", "Memory that Redis may use (maxmemory), 0 for no bound.",
            node="host:port",
        )  # fmt: skip

    def _of_notices(self, make: Maker) -> None:
        make.section("Notices")
        self.notices = make.counter(
            "notices_total", "Notices to the company, by what became of a try.",
            result=", ".join(f"`{result}`" for result in NOTICE_RESULTS),
        )  # fmt: skip
        self.notices_pending = make.gauge(
            "notices_pending",
            "Notices that are kept for the company, of the shards of this worker.",
        )
        self.notices_oldest = make.gauge(
            "notices_oldest_seconds", "Age of the oldest of them; 0 when there is none."
        )
        self.notices_gone = make.gauge(
            "notices_endpoint_gone", "1 once the company's endpoint wants no more: it answered 410."
        )

    def _of_api(self, make: Maker) -> None:
        make.section("API")
        self.requests = make.counter(
            "api_requests_total", "Requests to the HTTP API, by what was answered.",
            endpoint="an operation of [the API](api.md)", status="HTTP status",
        )  # fmt: skip
        self.request_seconds = make.histogram(
            "api_request_seconds", "From a request's headers to its answer.", LATENCY_BUCKETS_S,
            endpoint="an operation of [the API](api.md)",
        )  # fmt: skip
