"""Faust on librdkafka: agents are given whole batches and lose nothing they did not finish."""

from streams.engine.app import EngineApp, engine_app, until_assigned
from streams.engine.counters import EngineCounters, EngineSnapshot
from streams.engine.errors import (
    DeliveryFailed,
    EngineError,
    EngineFailed,
    EngineNotRunning,
    EngineRefusal,
    ExitCode,
    PayloadTooLarge,
)
from streams.engine.producer import EngineProducer, Outgoing
from streams.engine.settings import EngineSettings
from streams.engine.stream import Batch, BatchStream, RawMessage
from streams.engine.worker import run_worker, running

__all__ = [
    "Batch",
    "BatchStream",
    "DeliveryFailed",
    "EngineApp",
    "EngineCounters",
    "EngineError",
    "EngineFailed",
    "EngineNotRunning",
    "EngineProducer",
    "EngineRefusal",
    "EngineSettings",
    "EngineSnapshot",
    "ExitCode",
    "Outgoing",
    "PayloadTooLarge",
    "RawMessage",
    "engine_app",
    "run_worker",
    "running",
    "until_assigned",
]
