"""librdkafka's log lines: the first of a kind at once, the rest as a number."""

import logging

import pytest

from streams.engine import EngineSettings
from streams.engine.library_log import LibraryLog

LINE = "%s [%s] %s"


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock, caplog: pytest.LogCaptureFixture) -> LibraryLog:
    caplog.set_level(logging.INFO)
    return LibraryLog(logging.getLogger("library"), clock_s=clock)


def refused(log: LibraryLog, port: int = 9092, facility: str = "FAIL") -> None:
    text = f"[thrd:127.0.0.1:{port}/1]: Connect failed (after {port % 7}ms in state CONNECT)"
    log.log(logging.ERROR, LINE, facility, "payouts#consumer-1", text)


def test_a_repeated_line_is_written_once_in_ten_seconds_and_the_rest_counted(
    log: LibraryLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(200):
        refused(log)
        clock.now_s += 0.049
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.ERROR
    clock.now_s += 1
    refused(log)
    assert caplog.messages[1].endswith("in state CONNECT) (and 199 like it)")
    clock.now_s += 10
    refused(log)
    assert caplog.messages[2].endswith("in state CONNECT)")


def test_another_broker_or_another_kind_is_heard(
    log: LibraryLog, caplog: pytest.LogCaptureFixture
) -> None:
    refused(log, 9092)
    refused(log, 9093)
    refused(log, 9093, "SESSTMOUT")
    refused(log, 9093)
    assert len(caplog.records) == 3


def test_a_client_of_librdkafka_takes_it(log: LibraryLog, caplog: pytest.LogCaptureFixture) -> None:
    from confluent_kafka import Producer

    from streams.demo.process import free_port

    settings = EngineSettings(brokers=f"127.0.0.1:{free_port()}", group_id="g")
    producer = Producer({**settings.producer(), "logger": log})
    for _ in range(15):
        producer.poll(0.1)
    fails = [message for message in caplog.messages if message.startswith("FAIL")]
    assert len(fails) == 1
    assert "Connection refused" in fails[0]
