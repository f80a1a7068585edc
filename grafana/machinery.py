"""What whoever runs it wants to know: streams, rails, ledger. A panel that needs trouble to have a
series reads 0 without it."""

from __future__ import annotations

from grafana.board import Board, figure, lines, quantiles, stacked
from grafana.queries import MINOR, RATE, hourly, most, or_zero, rate, total

STREAMS = Board(
    "payouts-streams",
    "Streams",
    "How much the workers take, how far behind they are, and where the time goes.",
    (
        (
            "Throughput and lag",
            (
                stacked(
                    "Messages by topic",
                    "Handled and acknowledged, a second.",
                    (rate("payouts_consumed_messages_total", "topic"), "{{topic}}"),
                    unit="ops",
                ),
                lines(
                    "Lag in seconds",
                    "Age of the oldest message not handled, of the topic's worst partition.",
                    (most("payouts_consumer_lag_seconds", "topic"), "{{topic}}"),
                    unit="s",
                ),
                lines(
                    "Lag in messages",
                    "Of all partitions of a topic.",
                    (total("payouts_consumer_lag_messages", "topic"), "{{topic}}"),
                ),
                lines(
                    "Not committed for",
                    "Since when something is done and not committed, of the worst partition.",
                    (most("payouts_uncommitted_seconds", "topic"), "{{topic}}"),
                    unit="s",
                ),
            ),
        ),
        (
            "Stages",
            (
                quantiles(
                    "Stages of a batch, p95",
                    "Where the time of a batch goes.",
                    "payouts_stage_seconds",
                    "stage",
                ),
                quantiles(
                    "Batch until acknowledged, p95",
                    "From when an agent takes it.",
                    "payouts_batch_seconds",
                    "topic",
                ),
                lines(
                    "Events in a batch",
                    "On average.",
                    (
                        f"{rate('payouts_batch_events_sum', 'topic')}"
                        f" / {rate('payouts_batch_events_count', 'topic')}",
                        "{{topic}}",
                    ),
                ),
                lines(
                    "Messages in the inbox",
                    "Fetched, and waiting or in hand.",
                    (total("payouts_inbox_messages", "topic"), "{{topic}}"),
                ),
            ),
        ),
        (
            "Group",
            (
                lines(
                    "Partitions by worker",
                    "Assigned to each.",
                    (total("payouts_assigned_partitions", "instance"), "{{instance}}"),
                ),
                lines(
                    "Rebalances an hour",
                    "Changes of the assignment.",
                    (hourly("payouts_rebalances_total", "change"), "{{change}}"),
                ),
                lines(
                    "Commits",
                    "A second, and those that the broker did not take.",
                    (rate("payouts_commits_total", "result"), "{{result}}"),
                    unit="ops",
                ),
                lines(
                    "Trouble an hour",
                    "Calls repeated because a server was silent, inboxes that were full, and "
                    "batches that ended after their partition had gone.",
                    (hourly("payouts_retries_total", "server"), "{{server}} silent"),
                    ("3600 * sum(rate(payouts_pauses_total{$where}[$__rate_interval]))", "paused"),
                    (
                        "3600 * sum(rate(payouts_late_acknowledgements_total{$where}"
                        "[$__rate_interval]))",
                        "too late",
                    ),
                ),
                lines(
                    "CPU by process",
                    "Cores.",
                    (rate("process_cpu_seconds_total", "instance"), "{{instance}}"),
                ),
                lines(
                    "Memory by process",
                    "Resident.",
                    (total("process_resident_memory_bytes", "instance"), "{{instance}}"),
                    unit="bytes",
                ),
            ),
        ),
    ),
)

RAILS = Board(
    "payouts-rails",
    "Rails",
    "What the providers answer, how fast, and what is stuck there.",
    (
        (
            "Answers",
            (
                lines(
                    "Success",
                    "Share of a rail's last calls that went well, as routes see it.",
                    ("min by (rail) (payouts_rail_success_ratio{$where})", "{{rail}}"),
                    unit="percentunit",
                ),
                lines(
                    "Breaker open or paused",
                    "1 while payouts are kept from a rail.",
                    (most("payouts_rail_closed", "rail"), "{{rail}}"),
                    unit="none",
                ),
                stacked(
                    "Submissions by answer",
                    "A second.",
                    (
                        rate("payouts_rail_outcomes_total", "outcome", ',call="submit"'),
                        "{{outcome}}",
                    ),
                    unit="ops",
                ),
                lines(
                    "Errors an hour, by category",
                    "What failed: the rail's trouble, the destination, the recipient, our funds; "
                    "and what was not answered.",
                    (
                        hourly(
                            "payouts_rail_outcomes_total",
                            "rail, outcome",
                            ',outcome=~"retryable|method|recipient|treasury|unknown"',
                        ),
                        "{{rail}} {{outcome}}",
                    ),
                ),
            ),
        ),
        (
            "Latency",
            (
                quantiles(
                    "Submission, p95",
                    "All requests of a submission together.",
                    "payouts_rail_call_seconds",
                    "rail",
                    where=',call="submit"',
                ),
                quantiles(
                    "Enquiry, p95",
                    "All requests of an enquiry together.",
                    "payouts_rail_call_seconds",
                    "rail",
                    where=',call="enquire"',
                ),
            ),
        ),
        (
            "Waiting and stuck",
            (
                lines(
                    "Waiting for their turn",
                    "Reserved payouts, for a rail's pace or a free place.",
                    (total("payouts_rail_queue_payouts", "rail"), "{{rail}}"),
                ),
                lines(
                    "First of them for",
                    "How long the first has waited.",
                    (most("payouts_rail_queue_oldest_seconds", "rail"), "{{rail}}"),
                    unit="s",
                ),
                lines(
                    "Not answered",
                    "Payouts that are unknown, by rail and age.",
                    (
                        or_zero(total("payouts_in_flight", "rail, age", ',state="unknown"')),
                        "{{rail}} {{age}}",
                    ),
                ),
                lines(
                    "Overdue by state",
                    "In a state for longer than it may last.",
                    (total("payouts_payout_overdue", "state"), "{{state}}"),
                ),
                lines(
                    "Webhooks",
                    "Calls of providers by what came of them, a second.",
                    (rate("payouts_webhooks_total", "rail, result"), "{{rail}} {{result}}"),
                    unit="ops",
                ),
                lines(
                    "Contradicted",
                    "Said to be paid by an attempt that its rail had proven dead; in all.",
                    (total("payouts_contradicted_total", "rail"), "{{rail}}"),
                ),
            ),
        ),
    ),
)

HEALTH = Board(
    "payouts-health",
    "Ledger & health",
    "Whether the books balance, what is on its way to Kafka, and how Redis is.",
    (
        (
            "Now",
            (
                figure(
                    "Imbalance",
                    "By how much entries miss zero; anything but 0 is a defect.",
                    "max(payouts_ledger_imbalance_minor_units{$where})",
                ),
                figure("Processes", "That answer.", 'sum(up{$where})'),
                figure(
                    "Healing",
                    "Partitions whose wallets are being healed.",
                    "sum(payouts_healing_partitions{$where})",
                ),
                figure(
                    "Oldest in an outbox",
                    "Booked and not published for.",
                    "max(payouts_outbox_age_seconds{$where})",
                    unit="s",
                ),
            ),
        ),
        (
            "Ledger",
            (
                lines(
                    "Outboxes",
                    "Booked entries not known to be published.",
                    ("sum(payouts_outbox_entries{$where})", "entries"),
                ),
                lines(
                    "Entries added up",
                    "A second: all of them up to 50 of each process.",
                    (f"sum(rate(payouts_ledger_checked_entries_total{{$where}}{RATE}))", "entries"),
                    unit="ops",
                ),
                lines(
                    "House accounts",
                    f"What each is at. {MINOR}",
                    (
                        total("payouts_house_balance_minor_units", "account, currency"),
                        "{{account}} {{currency}}",
                    ),
                ),
                lines(
                    "Healed an hour",
                    "Entries that were redone in Redis, or published again.",
                    (hourly("payouts_heal_entries_total", "work"), "{{work}}"),
                ),
                lines(
                    "Partitions healed",
                    "And failed to be; in all.",
                    (total("payouts_heals_total", "result"), "{{result}}"),
                ),
                lines(
                    "Time to heal, on average",
                    "Since the processes began.",
                    (
                        "sum(payouts_heal_seconds_sum{$where})"
                        " / sum(payouts_heal_seconds_count{$where})",
                        "seconds",
                    ),
                    unit="s",
                ),
            ),
        ),
        (
            "Redis, notices, API",
            (
                lines(
                    "Memory of Redis",
                    "Used, and allowed (0: no bound).",
                    (most("payouts_redis_memory_bytes", "node"), "{{node}}"),
                    (most("payouts_redis_memory_max_bytes", "node"), "{{node}} at most"),
                    unit="bytes",
                ),
                lines(
                    "Notices",
                    "To the company, by what became of a try, a second.",
                    (rate("payouts_notices_total", "result"), "{{result}}"),
                    unit="ops",
                ),
                lines(
                    "Notices kept",
                    "Until the company's endpoint takes them.",
                    (or_zero("sum(payouts_notices_pending{$where})"), "notices"),
                ),
                lines(
                    "Requests to the API",
                    "By status, a second.",
                    (or_zero(rate("payouts_api_requests_total", "status")), "{{status}}"),
                    unit="ops",
                ),
                lines(
                    "Requests to the API, p95",
                    "From headers to answer.",
                    (
                        or_zero(
                            "histogram_quantile(0.95, "
                            f"{rate('payouts_api_request_seconds_bucket', 'le, endpoint')})"
                        ),
                        "{{endpoint}}",
                    ),
                    unit="s",
                ),
                lines(
                    "Versions",
                    "Processes by the version that they run.",
                    ("count by (version) (payouts_build_info{$where})", "{{version}}"),
                ),
            ),
        ),
    ),
)  # fmt: skip
