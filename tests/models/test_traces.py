"""Traces: ids that follow from the event, and the W3C header."""

import pytest

from models.traces import Place, bound_of, is_sampled, trace_id_of

TRACE, SPAN = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7


def test_the_header_is_written_and_read() -> None:
    text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert Place.parse(text) == Place(TRACE, SPAN, sampled=True)
    assert Place(TRACE, SPAN, sampled=True).text() == text
    assert Place.parse(text[:-1] + "2") == Place(TRACE, SPAN, sampled=False)
    later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-09-what-comes"
    assert Place.parse(later) == Place(TRACE, SPAN, sampled=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
    ],
)
def test_what_is_no_header_is_none(text: str) -> None:
    assert Place.parse(text) is None


def test_the_trace_of_an_event_is_pinned() -> None:
    # Producers derive it as well: it is a contract.
    assert f"{trace_id_of('ev-1'):032x}" == "e133e75d7a337991487abd9c593be4c8"
    assert trace_id_of("ev-1") != trace_id_of("ev-2")


def test_the_ratio_is_kept() -> None:
    ids = [trace_id_of(f"ev-{i}") for i in range(20_000)]
    for ratio in (0.0, 0.01, 0.5, 1.0):
        share = sum(is_sampled(each, bound_of(ratio)) for each in ids) / len(ids)
        assert share == pytest.approx(ratio, abs=0.01)
    few = {each for each in ids if is_sampled(each, bound_of(0.01))}
    assert few <= {each for each in ids if is_sampled(each, bound_of(0.02))}
