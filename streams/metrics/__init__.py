"""What the worker counts and times, in Prometheus terms.

``definitions`` says which metrics there are; ``recorder`` holds the verbs the code calls, once a
batch. Rules: one prefix, base units, ``_total`` on counters, no label per seller, payout or event.
"""

from streams.metrics.definitions import age_word
from streams.metrics.recorder import Call, Metrics

__all__ = ["Call", "Metrics", "age_word"]
