"""What the company wants to know: payouts, sales, fraud. A panel that needs trouble to have a
series reads 0 without it."""

from __future__ import annotations

from grafana.board import Board, figure, lines, quantiles, stacked
from grafana.queries import MINOR, RATE, hourly, most, or_zero, rate, total

PAYOUTS = Board(
    "payouts-payouts",
    "Payouts",
    "How much goes out, how fast, over which rail, and what does not end.",
    (
        (
            "Now",
            (
                figure(
                    "Settled a minute",
                    "Payouts that a rail says have left.",
                    "60 * sum(rate(payouts_payout_transitions_total"
                    f'{{$where,state=~"settled|delivered"}}{RATE}))',
                ),
                figure(
                    "From sale to command, p95",
                    "From a sale's arrival in Kafka to its payout command there.",
                    "histogram_quantile(0.95, sum by (le) "
                    f"(rate(payouts_sale_to_command_seconds_bucket{{$where}}{RATE})))",
                    unit="s",
                ),
                figure(
                    "Under way",
                    "Reserved, at a rail, or unclear.",
                    or_zero("sum(payouts_in_flight{$where})"),
                ),
                figure(
                    "Overdue",
                    "In a state for longer than it may last.",
                    "sum(payouts_payout_overdue{$where})",
                ),
            ),
        ),
        (
            "Volume and states",
            (
                stacked(
                    "Payouts by state",
                    "Payouts that entered a state, a second.",
                    (rate("payouts_payout_transitions_total", "state"), "{{state}}"),
                    unit="ops",
                ),
                stacked(
                    "Settled by rail",
                    "Payouts that left over each rail, a second.",
                    (
                        rate(
                            "payouts_payout_transitions_total",
                            "rail",
                            ',state=~"settled|delivered"',
                        ),
                        "{{rail}}",
                    ),
                    unit="ops",
                ),
                lines(
                    "Money paid an hour",
                    f"What left over rails, as the ledger has it. {MINOR}",
                    (
                        hourly(
                            "payouts_rail_minor_units_total",
                            "rail, currency",
                            ',direction="paid"',
                        ),
                        "{{rail}} {{currency}}",
                    ),
                ),
                lines(
                    "Money that came back an hour",
                    f"Returned after it had left. {MINOR}",
                    (
                        or_zero(
                            hourly(
                                "payouts_rail_minor_units_total",
                                "rail, currency",
                                ',direction="came_back"',
                            )
                        ),
                        "{{rail}} {{currency}}",
                    ),
                ),
            ),
        ),
        (
            "Latency and age",
            (
                quantiles(
                    "From sale to command",
                    "From a sale's arrival in Kafka to its payout command there.",
                    "payouts_sale_to_command_seconds",
                ),
                lines(
                    "Oldest by state",
                    "Age of the oldest payout in each state.",
                    (most("payouts_payout_oldest_seconds", "state"), "{{state}}"),
                    unit="s",
                ),
                stacked(
                    "Under way by age",
                    "As the last walk through them found them, once a minute.",
                    (or_zero(total("payouts_in_flight", "age")), "{{age}}"),
                ),
                stacked(
                    "Under way by rail and state",
                    "The same by rail and state.",
                    (or_zero(total("payouts_in_flight", "rail, state")), "{{rail}} {{state}}"),
                ),
            ),
        ),
    ),
)

SALES = Board(
    "payouts-sales",
    "Sales & spendback",
    "What comes in, what it earns, and what campaigns give.",
    (
        (
            "Events",
            (
                stacked(
                    "Events by topic",
                    "Events that were booked, a second.",
                    (rate("payouts_events_total", "topic", ',outcome="booked"'), "{{topic}}"),
                    unit="ops",
                ),
                stacked(
                    "Events that were not booked",
                    "Repeats, early ones that wait, and refused ones, a second.",
                    (
                        or_zero(
                            rate(
                                "payouts_events_total",
                                "outcome",
                                ',outcome=~"duplicate|stale|waiting|refused|ignored"',
                            )
                        ),
                        "{{outcome}}",
                    ),
                    unit="ops",
                ),
                lines(
                    "Dead letters an hour",
                    "Refused events by reason.",
                    (hourly("payouts_dead_letters_total", "reason"), "{{reason}}"),
                ),
                lines(
                    "Early events that wait",
                    "For a profile, or for their sale.",
                    (total("payouts_waiting_events", "kind"), "{{kind}}"),
                ),
            ),
        ),
        (
            "Money",
            (
                lines(
                    "Booked an hour",
                    f"Earned by sales and as commissions, and reinvested. {MINOR}",
                    (
                        hourly("payouts_booked_minor_units_total", "currency, direction"),
                        "{{direction}} {{currency}}",
                    ),
                ),
                lines(
                    "Released later",
                    f"Earnings with a time of release. {MINOR}",
                    (or_zero(total("payouts_pending_minor_units", "currency")), "{{currency}}"),
                ),
                lines(
                    "Debt by age",
                    f"What sellers owe, by days. {MINOR}",
                    (
                        or_zero(total("payouts_debt_minor_units", "currency, age")),
                        "{{currency}} {{age}}",
                    ),
                ),
                lines(
                    "Conversions an hour",
                    "Quotes made, used and expired.",
                    (hourly("payouts_conversions_total", "step"), "{{step}}"),
                ),
            ),
        ),
        (
            "Spendback",
            (
                stacked(
                    "Grants an hour",
                    "Made, taken back by returns, refused for lack of budget.",
                    (hourly("payouts_spendback_credits_total", "outcome"), "{{outcome}}"),
                ),
                lines(
                    "Credit given and not spent or expired",
                    f"What the account of spendback is at, turned round. {MINOR}",
                    (
                        "-" + total("payouts_house_balance_minor_units", "currency",
                                   ',account="spendback"'),
                        "{{currency}}",
                    ),
                ),
                lines(
                    "Spent credit of undone grants an hour",
                    f"Recovered or forgiven. {MINOR}",
                    (
                        or_zero(
                            hourly("payouts_spendback_settled_minor_units_total",
                                    "currency, outcome")
                        ),
                        "{{outcome}} {{currency}}",
                    ),
                ),
            ),
        ),
    ),
)  # fmt: skip

FRAUD = Board(
    "payouts-fraud",
    "Fraud",
    "How sales are scored and decided, and whether scores are what they were.",
    (
        (
            "Now",
            (
                figure("Scorer", "1 if every worker scores.", "min(payouts_scorer_up{$where})"),
                figure(
                    "Paid at once",
                    "Share of the decisions.",
                    f'sum(rate(payouts_decisions_total{{$where,tier="instant"}}{RATE}))'
                    f" / sum(rate(payouts_decisions_total{{$where}}{RATE}))",
                    unit="percentunit",
                ),
                figure(
                    "Sent to review a minute",
                    "Sales that are held.",
                    f'60 * sum(rate(payouts_decisions_total{{$where,tier="hold"}}{RATE}))',
                ),
                figure(
                    "Drift (PSI)",
                    "The last hour's scores against the last week's; above 0.25 it is another "
                    "population.",
                    "max(payouts:fraud_score_psi:1h{$where})",
                ),
            ),
        ),
        (
            "Decisions",
            (
                stacked(
                    "Decisions by tier",
                    "A second.",
                    (rate("payouts_decisions_total", "tier"), "{{tier}}"),
                    unit="ops",
                ),
                stacked(
                    "Review queue: what comes in an hour",
                    "Sales that are held, in whole or in part, until somebody or a time decides.",
                    (
                        hourly("payouts_decisions_total", "tier", ',tier=~"hold|partial"'),
                        "{{tier}}",
                    ),
                ),
                stacked(
                    "Rules that fit, an hour",
                    "Sales that the policy's blocklists, limits and cool-downs hold or reject.",
                    (hourly("payouts_fraud_rules_total", "rule"), "{{rule}}"),
                ),
                stacked(
                    "Let through by chance, an hour",
                    "In minor units: what learning may cost at most.",
                    (
                        hourly("payouts_fraud_explored_minor_units_total", "currency"),
                        "{{currency}}",
                    ),
                ),
            ),
        ),
        (
            "Review",
            (
                lines(
                    "Review queue",
                    "Earnings that are held until somebody decides.",
                    (or_zero("sum(payouts_review_earnings{$where})"), "earnings"),
                ),
                lines(
                    "Review queue: the oldest",
                    "How long the first of them has been held.",
                    (or_zero("max(payouts_review_oldest_seconds{$where})"), "held for"),
                    unit="s",
                ),
                stacked(
                    "Labels an hour",
                    "What became known of sales, by the verdict.",
                    (hourly("payouts_fraud_labels_total", "verdict"), "{{verdict}}"),
                ),
                lines(
                    "What frauds came to an hour",
                    f"Forfeited, or gone when the label came. {MINOR}",
                    (
                        or_zero(
                            hourly("payouts_fraud_label_minor_units_total", "currency, outcome")
                        ),
                        "{{outcome}} {{currency}}",
                    ),
                ),
            ),
        ),
        (
            "Scores",
            (
                stacked(
                    "Scores by bin",
                    "Sales a second, by how far the bin of their probability of fraud goes.",
                    (rate("payouts_fraud_scores_total", "bin"), "{{bin}}"),
                    unit="ops",
                ),
                lines(
                    "Share of each bin in the last hour",
                    "What drift is told from.",
                    (
                        "sum by (bin) (increase(payouts_fraud_scores_total{$where}[1h])) / scalar("
                        "sum(increase(payouts_fraud_scores_total{$where}[1h])))",
                        "{{bin}}",
                    ),
                    unit="percentunit",
                ),
                lines(
                    "Drift over time (PSI)",
                    "Population stability index of the last hour against the last week.",
                    ("max(payouts:fraud_score_psi:1h{$where})", "PSI"),
                    unit="none",
                ),
                lines(
                    "Drift by feature (PSI)",
                    "The last sales against those the model was trained on, where they differ: "
                    "above 0.25 it is another population.",
                    (or_zero("avg by (feature) (payouts_fraud_psi{$where}) > 0.1"), "{{feature}}"),
                    unit="none",
                ),
                lines(
                    "Models in use",
                    "Workers by model.",
                    (
                        "count by (role, digest) (payouts_fraud_model{$where})",
                        "{{role}} {{digest}}",
                    ),
                    unit="none",
                ),
                quantiles(
                    "Time to score a batch",
                    "Features and model.",
                    "payouts_stage_seconds",
                    where=',stage="score"',
                ),
            ),
        ),
    ),
)
