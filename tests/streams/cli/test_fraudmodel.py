"""`payouts fraud export|train|promote`: a model's life, and one line for all that cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from confluent_kafka import Producer
from typer.testing import CliRunner

from models.decisions import Decision, Standing, Tier
from models.scorer import Scorer, digest_of
from streams.cli import app
from streams.fraud.dataset import Label, read
from streams.fraud.learning import learn
from streams.topics import Topic, create_topics
from tests.streams.fraud.harness import DAY_MS, END_MS, artefact, examples, model, training_set
from tests.streams.wallets.harness import NOW_MS

runner = CliRunner()

Promote = Callable[..., Result]


def test_a_simulated_model_is_written_and_described(tmp_path: Path) -> None:
    out = tmp_path / "model.json"
    options = ["--simulated", "--out", str(out), "--events", "1000", "--seed", "3"]
    result = runner.invoke(app, ["fraud", "train", *options])
    assert result.exit_code == 0, result.output
    scorer = Scorer.load(out.read_text())
    assert scorer.digest in result.stdout
    assert "average precision" in result.stdout


def test_a_model_of_the_companys_own_sales(tmp_path: Path) -> None:
    source, out = training_set(tmp_path / "set", examples(3_000)), tmp_path / "model.json"
    result = runner.invoke(app, ["fraud", "train", "--from", str(source), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert Scorer.load(out.read_text()).digest in result.stdout
    assert "calibration error" in result.stdout


def test_a_training_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    few = training_set(tmp_path / "few", examples(30))
    out = tmp_path / "model.json"
    for options, code, words in (
        (["--simulated", "--out", str(tmp_path / "no" / "model")], 2, "there is no directory"),
        (["--out", str(out)], 2, "--from FILE, or --simulated"),
        (["--simulated", "--from", str(few), "--out", str(out)], 2, "or --simulated"),
        (["--from", str(few), "--out", str(out)], 1, "known frauds"),
        (["--from", str(tmp_path / "none"), "--out", str(out)], 2, "No such file"),
        (["--from", __file__, "--out", str(out)], 2, "no training set"),
    ):
        result = runner.invoke(app, ["fraud", "train", *options])
        assert (result.exit_code, words in result.stderr) == (code, True), result.output
        assert result.stderr.count("\n") == 1
    assert not out.exists()


@pytest.fixture
def champion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that takes every sale for genuine, or nearly."""
    file = tmp_path / "champion.json"
    file.write_text(model(shift=-30.0))
    monkeypatch.setenv("PAYOUTS_MODEL", str(file))
    return file


@pytest.fixture
def promote(tmp_path: Path, champion: Path) -> Promote:
    """The command, on the sales of a training set."""
    source = training_set(tmp_path / "set", examples(2_000))

    def invoke(text: str, *options: str) -> Result:
        file = tmp_path / "challenger.json"
        file.write_text(text)
        return runner.invoke(app, ["fraud", "promote", str(file), "--from", str(source), *options])

    return invoke


@pytest.fixture(scope="module")
def better(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that learnt from such sales."""
    folder = tmp_path_factory.mktemp("better")
    learn(training_set(folder / "set", examples(3_000, seed=2)), folder / "model")
    return (folder / "model").read_text()


def test_a_better_model_takes_over_and_the_log_says_so(
    promote: Promote, better: str, champion: Path
) -> None:
    before = champion.read_text()
    asked = promote(better)
    assert asked.exit_code == 1
    assert "nobody to ask here" in asked.stderr
    assert champion.read_text() == before
    result = promote(better, "--yes", "--by", "Ada")
    assert result.exit_code == 0, result.output
    for word in ("average precision", "cost a sale", "calibration error", "frauds"):
        assert word in result.stdout
    assert champion.read_text() == better
    log = [json.loads(line) for line in Path(f"{champion}.log").read_text().splitlines()]
    [line] = log
    assert (line["by"], line["forced"]) == ("Ada", [])
    assert line["from"] == json.loads(before)["digest"]
    assert line["to"] == json.loads(better)["digest"]
    assert line["compared"]["challenger"]["cost"] < line["compared"]["champion"]["cost"]
    # Only sales that it had not learnt from were compared.
    assert line["compared"]["since_ms"] >= END_MS - 15 * DAY_MS
    assert line["compared"]["challenger"]["measures"]["sales"] < 2_000 * 15 / 60
    former = champion.with_name(f"champion-{line['from'][:12]}.json")
    assert former.read_text() == before


def test_a_worse_one_is_refused_unless_forced(
    promote: Promote, better: str, champion: Path
) -> None:
    champion.write_text(better)
    worse = model(scale=-1.0)
    result = promote(worse, "--yes")
    assert result.exit_code == 1
    assert "its average precision is lower; it costs more" in result.stderr
    assert champion.read_text() == better
    assert not Path(f"{champion}.log").exists()
    assert promote(worse, "--yes", "--force").exit_code == 0
    assert champion.read_text() == worse
    line = json.loads(Path(f"{champion}.log").read_text())
    assert line["forced"] == ["its average precision is lower", "it costs more"]


def other_features() -> str:
    made = artefact()
    made["features"] = ["weather", *made["features"][1:]]
    return json.dumps({**made, "digest": digest_of(made)})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        (model().replace('"bound": ', '"bound": 1'), "digest does not fit"),
        (other_features(), "other features"),
        (model(shift=-30.0), "is the model in use"),
    ],
)
def test_one_that_cannot_score_is_never_written(
    promote: Promote, champion: Path, text: str, words: str
) -> None:
    before = champion.read_text()
    result = promote(text, "--yes", "--force")
    assert (result.exit_code, words in result.stderr) == (1, True), result.output
    assert champion.read_text() == before


def test_too_few_frauds_say_nothing(
    tmp_path: Path, promote: Promote, better: str, champion: Path
) -> None:
    some = [one for one in examples(2_000) if one.label is Label.GENUINE]
    training_set(tmp_path / "set", some)
    assert "both kinds are needed" in promote(better, "--yes").stderr
    frauds = [one for one in examples(2_000)[-300:] if one.label is Label.FRAUD][:5]
    training_set(tmp_path / "set", some + frauds)
    assert "only 5 known frauds" in promote(better, "--yes").stderr


def test_shadow_scores_that_cannot_be_derived_speak_against_it(
    tmp_path: Path, promote: Promote, better: str, champion: Path
) -> None:
    digest, scorer = json.loads(better)["digest"], Scorer.load(better)
    some = examples(2_000)
    some = [replace(one, challenger=(digest, float(scorer.score([one.vector])[0]))) for one in some]
    training_set(tmp_path / "set", some)
    assert "2000 sales were scored" in promote(better).stdout
    training_set(tmp_path / "set", [replace(some[0], challenger=(digest, 0.5)), *some[1:]])
    assert "1 of its shadow scores cannot be derived" in promote(better, "--yes").stderr


def test_the_packaged_model_stays(promote: Promote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAYOUTS_MODEL")
    result = promote(model(1.0), "--yes", "--force")
    assert (result.exit_code, "set PAYOUTS_MODEL" in result.stderr) == (2, True)


def test_a_file_that_cannot_be_written_is_in_the_log(
    promote: Promote, better: str, champion: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("streams.fraud.champion.replace", full)
    result = promote(better, "--yes")
    assert (result.exit_code, "No space left" in result.stderr) == (1, True)
    last = json.loads(Path(f"{champion}.log").read_text().splitlines()[-1])
    assert last["failed"] == "No space left on device"


def test_export_reads_the_topics(
    own_broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYOUTS_KAFKA_BROKERS", own_broker)
    out = tmp_path / "set"
    options = ["fraud", "export", "--out", str(out)]
    result = runner.invoke(app, options)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "payouts topics create" in result.stderr
    assert not out.exists()
    create_topics(own_broker, 2)
    create_topics(own_broker, 2, topics=[Topic("fraud.labels", -1)])
    [one] = examples(1)
    producer = Producer({"bootstrap.servers": own_broker, "log_level": 0})
    for number in range(4):
        decision = Decision(Tier.INSTANT, (), one.score).record(
            event_id=f"ev-{number}", seller_id="anna", topic="sales", partition=0, offset=number,
            vector=one.vector, model=one.model, sale_id=f"sale-{number}",
            amount_minor=500, currency="EUR", standing=Standing.ACTIVE, policy="p",
            at_ms=NOW_MS - (200 if number == 3 else 1) * DAY_MS,
        )  # fmt: skip
        producer.produce("decisions", decision, b"anna")
    for number, verdict in ((0, "cleared"), (0, "chargeback"), (1, "cleared")):
        told = {"type": "fraud.labelled", "seller_id": "anna", "sale_id": f"sale-{number}"}
        producer.produce("fraud.labels", json.dumps(told | {"verdict": verdict}), b"anna")
    assert producer.flush(10) == 0
    result = runner.invoke(app, options)
    assert result.exit_code == 0, result.output
    assert "4 sales, 1 unknown, 2 genuine, 1 fraud" in result.stdout
    assert sorted(read(out).labels.tolist()) == [-1, 0, 0, 1]
    result = runner.invoke(app, [*options, "--until", "2020-01-01"])
    assert "0 sales" in result.stdout
