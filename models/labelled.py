"""What became known of the sales on a card or a device: frauds, and sales that were genuine.

A label comes days or months after its sale, so what is known of an entity is a state of its own,
which labels change and sales only read. It holds known frauds and genuine sales as counters that
decay with a half-life of 28 days by the time of the sale, the time of the last of each, and the
*run*: how many frauds are known since the last genuine sale, and when the first of them was.
A till that was tampered with shows as a run that nothing genuine interrupts.
"""

from __future__ import annotations

import math

from models import packing
from models.decay import DAY_S, FIGURE_MAX, NEVER, PER_MONTH
from models.packing import UNREADABLE, Labels

LABELLED_CHARS = 36
"""Length of a state, in base64."""

UNLABELLED = (0.0, NEVER, NEVER, NEVER, 0.0, 0.0)
"""The figures of an entity that no label concerns."""

if 4 * packing.LABELS.size != 3 * LABELLED_CHARS:
    raise RuntimeError("a state is not as long as stated")

_RUN_MAX = 60_000  # fits the state's 16 bits
_FRESH: Labels = (0, 0.0, 0.0, 0, 0, 0, 0)

_Figures = tuple[float, float, float, float, float, float]


def known(text: str, at: int) -> _Figures:
    """What is known in second ``at``.

    Frauds in the run; days since its first, since the last fraud, since the last genuine sale;
    frauds, decayed; each as the logarithm of one plus the figure. The last figure is the share of
    frauds in all that is known, with one genuine sale assumed.
    """
    last, frauds, genuine, genuine_last, first, fraud_last, run = _state(text)
    if not last:
        return UNLABELLED
    if at > last:
        faded = math.exp((at - last) * PER_MONTH)
        frauds *= faded
        genuine *= faded
    return (
        math.log(1.0 + run),
        _days(at, first) if run else NEVER,
        _days(at, fraud_last),
        _days(at, genuine_last),
        math.log(1.0 + frauds),
        frauds / (frauds + genuine + 1.0),
    )


def labelled(text: str | None, at: int, *, fraud: bool) -> str:
    """The state after a label of a sale that took place in second ``at``.

    Labels may come in any order: one of an earlier sale counts with the weight it has by now.
    """
    state = _FRESH if text is None else _state(text)
    last, frauds, genuine, genuine_last, first, fraud_last, run = state
    weight = 1.0
    if at >= last:
        faded = math.exp((at - last) * PER_MONTH) if last else 1.0
        frauds *= faded
        genuine *= faded
        last = at
    else:
        weight = math.exp((last - at) * PER_MONTH)
    if fraud:
        frauds += weight
        fraud_last = max(fraud_last, at)
        if at > genuine_last:
            first = min(first, at) if run else at
            run = run + 1 if run < _RUN_MAX else run
    else:
        genuine += weight
        if at > genuine_last:
            genuine_last = at
            # What is known of frauds after it goes on with the last one, and begins there.
            run, first = (1, fraud_last) if at < fraud_last and run else (0, 0)
    return packing.labels_text((last, frauds, genuine, genuine_last, first, fraud_last, run))


def _days(at: int, since: int) -> float:
    if not since:
        return NEVER
    return math.log(1.0 + (at - since) / DAY_S) if at > since else 0.0


def _state(text: str) -> Labels:
    try:
        state = packing.read_labels(text)
    except UNREADABLE:
        return _FRESH
    last, frauds, genuine, genuine_last, first, fraud_last, _ = state
    # The comparisons also refuse a NaN and infinities.
    if (
        0.0 <= frauds <= FIGURE_MAX
        and 0.0 <= genuine <= FIGURE_MAX
        and first <= fraud_last <= last
        and genuine_last <= last
    ):
        return state
    return _FRESH
