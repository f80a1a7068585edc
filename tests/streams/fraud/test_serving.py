"""Serving: models change while sales go on, and none of it is felt."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from pathlib import Path

import pytest

from models.decisions import read_record
from models.ledger import Entry
from models.scorer import Scorer
from streams.agents.sales import Sales
from streams.fraud.artefact import replace
from streams.fraud.serving import Serving
from streams.metrics import Metrics
from streams.settings import load_settings
from streams.worker import Worker
from tests.streams.fraud.harness import model
from tests.streams.wallets.harness import SEAL_KEYS, Company


class Uses:
    """Stands for the agent: what it was given."""

    def __init__(self) -> None:
        self.champion: Scorer | None = None
        self.challenger: Scorer | None = None
        self.times = 0

    def __call__(self, champion: Scorer | None, challenger: Scorer | None) -> None:
        self.champion, self.challenger = champion, challenger
        self.times += 1


def digest(text: str) -> str:
    return str(json.loads(text)["digest"])


def refused(metrics: Metrics, role: str = "champion") -> float | None:
    return metrics.registry.get_sample_value("payouts_fraud_model_refused", {"role": role})


def swaps(metrics: Metrics, role: str = "champion") -> float | None:
    return metrics.registry.get_sample_value("payouts_fraud_model_swaps_total", {"role": role})


@pytest.fixture
def uses() -> Uses:
    return Uses()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


async def test_a_new_model_is_used_and_an_old_one_is_not_read_again(
    tmp_path: Path, uses: Uses, metrics: Metrics
) -> None:
    file = tmp_path / "model.json"
    file.write_text(model())
    serving = Serving(file, None, uses, metrics)
    serving.begin()
    assert uses.champion is not None
    await serving.look()
    assert uses.times == 1
    file.write_text(model(1.0))
    await serving.look()
    assert uses.champion.digest == digest(model(1.0))
    assert (uses.times, swaps(metrics), refused(metrics)) == (2, 1, 0)
    in_use = {"role": "champion", "digest": digest(model(1.0))[:12]}
    assert metrics.registry.get_sample_value("payouts_fraud_model", in_use) == 1


async def test_a_link_that_leads_elsewhere_is_noticed(
    tmp_path: Path, uses: Uses, metrics: Metrics
) -> None:
    """As Kubernetes changes a ConfigMap: a directory's link is turned, the file's stays."""
    for name, text in (("one", model()), ("two", model(1.0))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text(text)
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "model.json").symlink_to(Path("..data") / "model.json")
    serving = Serving(tmp_path / "model.json", None, uses, metrics)
    serving.begin()
    (tmp_path / "turned").symlink_to("two")
    (tmp_path / "turned").replace(tmp_path / "..data")
    await serving.look()
    assert uses.champion is not None
    assert uses.champion.digest == digest(model(1.0))


def errors(caplog: pytest.LogCaptureFixture) -> int:
    """How many errors were told."""
    return sum(record.levelno == logging.ERROR for record in caplog.records)


@pytest.mark.parametrize("bad", ["", "{", "half", "tampered", "no utf-8", "gone"])
async def test_one_that_cannot_be_used_leaves_the_one_before(
    tmp_path: Path, uses: Uses, metrics: Metrics, caplog: pytest.LogCaptureFixture, bad: str
) -> None:
    file = tmp_path / "model.json"
    file.write_text(model())
    serving = Serving(file, None, uses, metrics)
    serving.begin()
    text = model(1.0)
    if bad == "gone":
        file.unlink()
    elif bad == "no utf-8":
        file.write_bytes(b"\xff\xfe")
    else:
        changed = text.replace('"bound": ', '"bound": 1')
        file.write_text({"half": text[: len(text) // 2], "tampered": changed}.get(bad, bad))
    with caplog.at_level(logging.ERROR):
        await serving.look()
        await serving.look()
    assert errors(caplog) == 1  # told once, not every few seconds
    assert "the one before stays" in caplog.text
    assert refused(metrics) == 1
    assert uses.times == 1
    file.write_text(text)
    await serving.look()
    assert uses.champion is not None
    assert (uses.champion.digest, refused(metrics)) == (digest(text), 0)


async def test_without_a_model_at_the_start_one_that_comes_is_used(
    tmp_path: Path, uses: Uses, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "model.json"
    serving = Serving(file, tmp_path / "challenger.json", uses, metrics)
    serving.begin()
    assert (uses.champion, refused(metrics), refused(metrics, "challenger")) == (None, 1, 1)
    file.write_text(model())
    await serving.look()
    assert uses.champion is not None
    assert uses.challenger is None
    (tmp_path / "challenger.json").write_text(model(1.0))
    await serving.look()
    assert uses.challenger is not None
    # What is amiss of the one is not told again because something happened to the other.
    assert errors(caplog) == 2
    assert (swaps(metrics), swaps(metrics, "challenger")) == (0, 0)


def test_a_worker_that_books_scores_by_both_files(tmp_path: Path) -> None:
    file, beside = tmp_path / "model.json", tmp_path / "challenger.json"
    file.write_text(model())
    beside.write_text(model(1.0))
    settings = {"model": file, "model_challenger": beside, "seal_keys": SEAL_KEYS}
    metrics = Worker(load_settings(**settings)).metrics
    for role, text in (("champion", model()), ("challenger", model(1.0))):
        labels = {"role": role, "digest": digest(text)[:12]}
        assert metrics.registry.get_sample_value("payouts_fraud_model", labels) == 1
    metrics = Worker(load_settings(**settings, roles="pay")).metrics
    assert refused(metrics) is None


async def test_models_change_under_load_and_no_sale_is_lost_or_decided_by_two(
    own_broker: str, empty_redis: str, tmp_path: Path
) -> None:
    champions, challengers = [model(k / 7) for k in range(5)], [model(-k / 7) for k in range(5)]
    file, beside = tmp_path / "model.json", tmp_path / "challenger.json"
    replace(file, champions[0])
    replace(beside, challengers[0])
    sellers, rounds, each = [f"seller-{k}" for k in range(12)], 30, 40
    async with Company(own_broker, empty_redis) as company:
        agent = company.agents["sales"]
        assert isinstance(agent, Sales)
        serving = Serving(file, beside, agent.use, company.metrics)
        serving.begin()
        company.publish("sellers", *[company.seller(name) for name in sellers])
        await company.work()
        watching = asyncio.create_task(serving.run(every_s=0.002))
        sold = []
        for number in range(rounds):
            if number % 5 == 4:
                replace(file, champions[number // 5 % 5])
                replace(beside, challengers[number // 5 % 5])
            batch = [
                company.sale(sellers[k % 12], 900 + k, f"sale-{number}-{k}", device_ref=f"d{k % 5}")
                for k in range(each)
            ]
            company.publish("sales", *batch)
            sold += batch
            await company.work()
        watching.cancel()
        records = [read_record(sent[2] or b"") for sent in company.sent if sent[0] == "decisions"]
        entries = [Entry.parse(sent[2] or b"") for sent in company.sent if sent[0] == "ledger"]
    by_digest = {digest(text): Scorer.load(text) for text in (*champions, *challengers)}
    assert sorted(r.event_id for r in records) == sorted(event["id"] for event in sold)
    assert {r.event_id: r.sale_id for r in records} == {e["id"]: e["sale_id"] for e in sold}
    booked = Counter(entry.id for entry in entries if entry.kind == "sale.completed")
    assert booked == dict.fromkeys([event["id"] for event in sold], 1)
    for record in records:
        assert record.model is not None
        assert record.challenger is not None
        again = by_digest[record.model].score([record.vector])[0]
        assert again == record.decision.score  # bit for bit
        assert by_digest[record.challenger[0]].score([record.vector])[0] == record.challenger[1]
    assert len({r.model for r in records}) >= 3
    assert len({r.challenger[0] for r in records if r.challenger}) >= 3
