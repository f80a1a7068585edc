"""The chart, rendered by Helm, and what Kubernetes' own schemas say of an object.

Run as a module, by `make chart`, it writes the chart's list of topics.
"""

import json
import subprocess
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from streams.topics import ALL_TOPICS
from tests.helm import tools

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "payout-streams"
VALUES = sorted((Path(__file__).parent / "values").glob("*.yaml"))

TOPICS = CHART / "files" / "topics.yaml"

Object = dict[str, Any]


def run(version: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Helm, with what it says."""
    return subprocess.run(
        [tools.helm(version), *words], capture_output=True, text=True, check=False, timeout=60
    )


@cache
def render(version: str, values: Path, *changes: str, chart: Path = CHART) -> tuple[Object, ...]:
    """The objects of a release `payouts` in `money`, hooks and tests among them.

    `changes` are as Helm's `--set` takes them.
    """
    words = [word for change in changes for word in ("--set", change)]
    ended = run(version, "template", "payouts", chart, "-n", "money", "-f", values, *words)
    assert ended.returncode == 0, ended.stderr
    return tuple(each for each in yaml.safe_load_all(ended.stdout) if each)


def named(each: Object) -> str:
    """An object's kind and name."""
    return f"{each['kind']} {each['metadata']['name']}"


def kinds(objects: tuple[Object, ...], *wanted: str) -> list[Object]:
    """The objects of some kinds."""
    return [each for each in objects if each["kind"] in wanted]


def pods(objects: tuple[Object, ...]) -> Iterator[tuple[str, Object]]:
    """Everything that becomes a pod: what it comes from, and its metadata and spec."""
    for each in objects:
        if each["kind"] == "Pod":
            yield named(each), each
        elif each["kind"] in {"Deployment", "Job"}:
            yield named(each), each["spec"]["template"]
        elif each["kind"] == "CronJob":
            yield named(each), each["spec"]["jobTemplate"]["spec"]["template"]


def topics() -> str:
    """The product's topics, as the chart has them for Strimzi."""
    rows = [{"name": topic.name, "config": topic.config()} for topic in ALL_TOPICS]
    head = "# What `payouts topics create` makes, for Strimzi: `make chart` writes it.\n"
    return head + yaml.safe_dump(rows, sort_keys=False)


class Kubernetes:
    """The schemas of one version, which refuse unknown fields."""

    def __init__(self, version: str) -> None:
        self._folder = f"kubernetes_validate/kubernetes-json-schema/v{version}-local-strict"
        self._file = zipfile.ZipFile(tools.SCHEMAS)
        definitions = Resource(self._read("_definitions.json"), DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource(
            "/api/_definitions.json", definitions
        )

    def _read(self, name: str) -> Any:
        return json.loads(self._file.read(f"{self._folder}/{name}"))

    @cache  # noqa: B019 - there are two of them, for as long as the tests run
    def _validator(self, api: str, kind: str) -> jsonschema.Draft202012Validator:
        group, _, version = api.rpartition("/")
        words = [kind, *filter(None, [group.split(".")[0]]), version]
        schema = self._read("-".join(words).lower() + ".json")
        return jsonschema.Draft202012Validator(schema, registry=self._registry)

    def complaints(self, each: Object) -> list[str]:
        """What is wrong with an object. KeyError for a kind that there is not."""
        validator = self._validator(each["apiVersion"], each["kind"])
        return [
            f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(each)
        ]


if __name__ == "__main__":
    TOPICS.write_text(topics())
