"""The load's disturbances: other order, but never another meaning."""

from __future__ import annotations

import random
import time
from collections import Counter
from itertools import islice

from models.refusals import Reason
from streams.demo.company import Company, day_window
from streams.demo.messages import Kind, Message
from streams.faults.load import reordered

START_MS, DENSITY = day_window(time.time_ns() // 1_000_000, 20_000)


def stretch(count: int = 12_000) -> list[Message]:
    company = Company(5, 60)
    return list(islice(company.events(20_000, start_ms=START_MS, rate=DENSITY), count))


def test_the_same_messages_in_another_order() -> None:
    before = stretch()
    after = reordered(before, random.Random(1))
    assert Counter(map(id, after)) == Counter(map(id, before))
    moved = sum(a is not b for a, b in zip(before, after, strict=True))
    assert moved > len(before) * 0.8
    assert after == reordered(before, random.Random(1))


def test_what_is_no_event_keeps_its_place() -> None:
    before = stretch()
    for a, b in zip(before, reordered(before, random.Random(1)), strict=True):
        assert a is b or (a.kind is Kind.EVENT and b.kind is Kind.EVENT)


def test_an_event_whose_id_is_used_again_stays_in_front_of_the_other() -> None:
    before = stretch()
    reused = {message.id for message in before if message.reason is Reason.ID_REUSED}
    assert reused
    after = reordered(before, random.Random(1))
    for event_id in reused:
        places = [m for m in after if m.id == event_id]
        was = [m for m in before if m.id == event_id]
        assert [id(m) for m in places] == [id(m) for m in was]
