"""The chart, linted and rendered by Helm 3 and Helm 4; every object held against schemas."""

import itertools
import json
import os
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import SecretStr
from typer.testing import CliRunner

from streams.cli import app
from streams.settings import (
    Settings,
    load_settings,
    setting_names,
    unknown_variables,
    variable,
)
from streams.topics import ALL_TOPICS
from streams.worker import ROLE_TOPICS
from tests.helm import tools
from tests.helm.chart import (
    CHART,
    ROOT,
    TOPICS,
    VALUES,
    Kubernetes,
    Object,
    kinds,
    named,
    pods,
    render,
    run,
    topics,
)
from tests.helm.custom_resources import SCHEMAS

OLD, NEW = tools.LAYERS
MINIMAL, PRODUCTION = (
    Path(__file__).parent / "values" / f"{name}.yaml" for name in ("minimal", "production")
)
each_file = pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)

# What they name without the chart making it.
SECRET_FILE = "secret of the test"


@pytest.fixture(autouse=True, scope="module")
def _helm() -> None:
    reason = tools.missing()
    if reason is not None:
        # As for the servers: in CI a skip would hide every test.
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


def container(spec: Object) -> Object:
    (only,) = spec["spec"]["containers"]
    return only  # type: ignore[no-any-return]


@each_file
@pytest.mark.parametrize("version", tools.LAYERS)
def test_lint_finds_nothing(version: str, values: Path) -> None:
    ended = run(version, "lint", "--strict", "-f", values, CHART)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "WARNING" not in ended.stdout


@each_file
def test_both_helms_make_the_same(values: Path) -> None:
    old, new = ({named(each): each for each in render(v, values)} for v in (OLD, NEW))
    assert old == new


@pytest.fixture(scope="module", params=["1.30.0", "1.37.0"])
def kubernetes(request: pytest.FixtureRequest) -> Kubernetes:
    """The oldest version that the chart takes, and the newest."""
    return Kubernetes(request.param)


@each_file
def test_kubernetes_takes_every_object(kubernetes: Kubernetes, values: Path) -> None:
    objects = render(NEW, values)
    assert len({named(each) for each in objects}) == len(objects)
    for each in objects:
        if (each["apiVersion"], each["kind"]) not in SCHEMAS:
            assert not kubernetes.complaints(each), named(each)


def test_a_misspelt_field_would_be_found(kubernetes: Kubernetes) -> None:
    broken = json.loads(json.dumps(kinds(render(NEW, MINIMAL), "Deployment")[0]))
    broken["spec"]["template"]["spec"]["terminationGraceSeconds"] = 50
    assert any("terminationGraceSeconds" in each for each in kubernetes.complaints(broken))


@each_file
def test_operators_take_theirs(values: Path) -> None:
    for each in render(NEW, values):
        if schema := SCHEMAS.get((each["apiVersion"], each["kind"])):
            jsonschema.validate(each, schema)


def test_every_kind_of_object_is_among_them() -> None:
    found = {each["kind"] for values in VALUES for each in render(NEW, values)}
    assert found >= {kind for _, kind in SCHEMAS} | {
        "ConfigMap", "CronJob", "Deployment", "HorizontalPodAutoscaler", "Ingress", "Job",
        "NetworkPolicy", "Pod", "PodDisruptionBudget", "Service",
    }  # fmt: skip


@each_file
def test_pods_have_no_rights(values: Path) -> None:
    for name, pod in pods(render(NEW, values)):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert container(pod)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert "memory" in container(pod)["resources"]["limits"], name


def variables(pod: Object, objects: tuple[Object, ...]) -> dict[str, str]:
    """A container's environment, its ConfigMap resolved."""
    maps = {each["metadata"]["name"]: each["data"] for each in kinds(objects, "ConfigMap")}
    found: dict[str, str] = {}
    for source in container(pod).get("envFrom", []):
        found |= maps[source["configMapRef"]["name"]]
    return found | {each["name"]: each["value"] for each in container(pod).get("env", [])}


def secret_files(pod: Object) -> set[str]:
    """The files that the chart itself names in the directory of secrets."""
    (volume,) = (each for each in pod["spec"]["volumes"] if each["name"] == "secrets")
    sources = (each["secret"].get("items", []) for each in volume["projected"]["sources"])
    return {item["path"] for item in itertools.chain(*sources)}


@each_file
def test_the_product_takes_the_settings(
    values: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    objects = render(NEW, values)
    for name, pod in pods(objects):
        environment = variables(pod, objects)
        assert not unknown_variables(environment), name
        files = secret_files(pod)
        assert not unknown_variables(dict.fromkeys(files, "")), name
        for file in files:
            (tmp_path / file).write_text(SECRET_FILE)
        with monkeypatch.context() as patch:
            for key, value in environment.items():
                patch.setenv(key, value)
            patch.setenv("PAYOUTS_SECRETS_DIR", str(tmp_path))
            settings = load_settings()
        for file in files:
            value = getattr(settings, file.removeprefix("PAYOUTS_").lower())
            told = value.get_secret_value() if isinstance(value, SecretStr) else value
            assert told == SECRET_FILE, f"{name}: {file}"
        for file in files:
            (tmp_path / file).unlink()


@each_file
def test_lag_is_that_of_the_groups_and_topics(values: Path) -> None:
    objects = render(NEW, values)
    roles: dict[str, Settings] = {}
    for name, pod in pods(objects):
        environment = variables(pod, objects)
        if "PAYOUTS_ROLES" in environment:
            fields = {k.removeprefix("PAYOUTS_").lower(): v for k, v in environment.items()}
            wanted = {"roles", "group_id", "partitions"}
            settings = Settings(**{k: v for k, v in fields.items() if k in wanted})  # type: ignore[arg-type]
            roles[name.removeprefix("Deployment ")] = settings
    for each in kinds(objects, "ScaledObject"):
        settings = roles[each["spec"]["scaleTargetRef"]["name"]]
        triggers = [trigger["metadata"] for trigger in each["spec"]["triggers"]]
        assert {trigger["consumerGroup"] for trigger in triggers} == {settings.group}
        (role,) = settings.roles
        assert tuple(trigger["topic"] for trigger in triggers) == ROLE_TOPICS[role]
        assert each["spec"]["maxReplicaCount"] <= settings.partitions


@each_file
def test_every_role_is_somebodys(values: Path) -> None:
    objects = render(NEW, values)
    environments = [variables(pod, objects) for _, pod in pods(objects)]
    roles = [each["PAYOUTS_ROLES"] for each in environments if "PAYOUTS_ROLES" in each]
    assert {"book", "pay"} <= set(roles)
    assert len(set(roles)) == len(roles)


@each_file
def test_commands_are_the_products(values: Path) -> None:
    for name, pod in pods(render(NEW, values)):
        result = CliRunner().invoke(app, [*container(pod)["args"], "--help"])
        assert result.exit_code == 0, name


@pytest.mark.parametrize("drain_s", [20, 300])
def test_a_stop_is_given_more_time_than_a_drain(drain_s: int) -> None:
    objects = render(NEW, PRODUCTION, f"drainTimeoutSeconds={drain_s}")
    deployments = kinds(objects, "Deployment")
    assert len(deployments) == 5
    for each in deployments:
        pod = each["spec"]["template"]
        assert variables(pod, objects)["PAYOUTS_DRAIN_TIMEOUT_S"] == str(drain_s)
        pause_s = 5 if "lifecycle" in container(pod) else 0
        assert pod["spec"]["terminationGracePeriodSeconds"] >= drain_s + pause_s + 20


@each_file
def test_what_is_named_is_there(values: Path) -> None:
    objects = render(NEW, values)
    maps = {each["metadata"]["name"] for each in kinds(objects, "ConfigMap")} | {"company-rules"}
    for name, pod in pods(objects):
        volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
        mounts = [each["name"] for each in container(pod)["volumeMounts"]]
        assert sorted(mounts) == sorted(volumes), name
        assert {e["configMap"]["name"] for e in volumes.values() if "configMap" in e} <= maps
        ports = {each["name"] for each in container(pod).get("ports", [])}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if probe in container(pod):
                assert container(pod)[probe]["httpGet"]["port"] in ports, name


@each_file
def test_whatever_selects_selects_something(values: Path) -> None:
    objects = render(NEW, values)
    labels = [pod["metadata"]["labels"] for _, pod in pods(objects)]
    labels += [each["metadata"]["labels"] for each in kinds(objects, "Service")]
    deployments = {each["metadata"]["name"] for each in kinds(objects, "Deployment")}
    for each in objects:
        spec: dict[str, Any] = each.get("spec", {})
        selector = spec.get("podSelector", spec.get("selector", {}))
        wanted = selector.get("matchLabels", selector).items()
        jobs = {"snapshot", "topics"}
        if dict(wanted).get("app.kubernetes.io/component") not in jobs:
            assert any(wanted <= have.items() for have in labels), named(each)
        if "scaleTargetRef" in spec:
            assert spec["scaleTargetRef"]["name"] in deployments, named(each)


def test_workers_reach_nothing_but_kafka_redis_and_names() -> None:
    objects = render(NEW, MINIMAL, "api.enabled=true", "api.keysSecret=k")
    policies = {
        each["metadata"]["labels"]["app.kubernetes.io/component"]: each["spec"]["egress"]
        for each in kinds(objects, "NetworkPolicy")
    }
    ports = {
        name: {port["port"] for rule in rules for port in rule["ports"]}
        for name, rules in policies.items()
    }
    inside = {53, 9092, 6379}
    assert ports["worker"] == ports["api"] == ports["snapshot"] == inside
    assert ports["executor"] == ports["webhooks"] == inside | {443}


def test_who_traces_reaches_the_collector() -> None:
    changes = ["settings.PAYOUTS_TRACES_RATIO=0.05", "settings.PAYOUTS_TRACES_URL=http://c:4318"]
    objects = render(NEW, MINIMAL, *changes)
    for each in kinds(objects, "NetworkPolicy"):
        assert 4318 in {port["port"] for rule in each["spec"]["egress"] for port in rule["ports"]}
    values = [text for each in kinds(objects, "ConfigMap") for text in each["data"].items()]
    assert ("PAYOUTS_TRACES_RATIO", "0.05") in values


def test_another_setting_is_another_checksum() -> None:
    def sums(*changes: str) -> set[str]:
        return {
            json.dumps(each["spec"]["template"]["metadata"]["annotations"])
            for each in kinds(render(NEW, MINIMAL, *changes), "Deployment")
        }

    assert len(sums()) == 1
    assert sums("settings.PAYOUTS_BATCH_MAX=400") != sums()
    assert sums("config.plan=x") != sums()
    assert sums("worker.replicas=3") == sums()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["workers.replicas=3"], "workers"),
        (["kafka.brokers="], "brokers"),
        (["kafka.brokers=kafka"], "brokers"),
        (["kafka.partitions=12"], "partitions"),
        (["redis.url=redis://user:secret@valkey:6379/0"], "url"),
        (["secrets=null"], "secrets"),
        (["settings.PAYOUTS_SEAL_KEYS=x"], "PAYOUTS_SEAL_KEYS"),
        (["settings.PAYOUTS_ROLES=pay"], "the chart sets it itself"),
        (["settings.PAYOUTS_REDIS_URL=redis://other"], "the chart sets it itself"),
        (["worker.replicas=17"], "more than kafka.partitions"),
        (["worker.autoscaling.type=keda", "worker.autoscaling.maxReplicas=17"], "more than kafka"),
        (["worker.autoscaling.type=hpa", "worker.autoscaling.maxReplicas=1"], "below minReplicas"),
        (["webhooks.autoscaling.type=keda"], "type"),
        (["kafka.securityProtocol=SASL_SSL"], "kafka.sasl.existingSecret"),
        (["kafka.securityProtocol=SASL_SSL", "kafka.sasl.existingSecret=k"], "kafka.sasl.username"),
        (["api.enabled=true"], "api.keysSecret"),
        (["notices.enabled=true", "notices.url=http://erp"], "url"),
        (["topics.manage=strimzi"], "topics.strimzi.cluster"),
        (["webhooks.ingress.enabled=true"], "webhooks.ingress.host"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
@pytest.mark.parametrize("version", tools.LAYERS)
def test_values_that_cannot_be_meant_are_refused(
    version: str, changes: list[str], told: str
) -> None:
    words = [word for change in changes for word in ("--set", change)]
    ended = run(version, "template", "payouts", CHART, "-f", MINIMAL, *words)
    assert ended.returncode != 0
    assert told in ended.stderr


def test_no_secret_is_taken_as_a_plain_setting() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    names = schema["properties"]["settings"]["propertyNames"]
    for name in setting_names():
        secret = "SecretStr" in str(Settings.model_fields[name].annotation)
        taken = jsonschema.Draft7Validator(names).is_valid(variable(name))
        assert taken is not secret, f"{variable(name)}: change the pattern in values.schema.json"


def test_the_schema_knows_every_value_and_refuses_others() -> None:
    def compare(schema: Object, values: Object, path: str) -> None:
        schema = schema if "$ref" not in schema else definitions[schema["$ref"].split("/")[-1]]
        if "properties" not in schema:
            return
        assert schema["additionalProperties"] is False, path
        assert set(schema["properties"]) - {"global"} == set(values), path
        for name, value in values.items():
            if isinstance(value, dict):
                compare(schema["properties"][name], value, f"{path}.{name}")

    whole = json.loads((CHART / "values.schema.json").read_text())
    definitions = whole["definitions"]
    compare(whole, yaml.safe_load((CHART / "values.yaml").read_text()), "")


def test_topics_for_strimzi_are_those_of_the_command() -> None:
    assert TOPICS.read_text() == topics(), "run `make chart`"
    made = kinds(render(NEW, PRODUCTION), "KafkaTopic")
    assert [each["metadata"]["name"] for each in made] == [topic.name for topic in ALL_TOPICS]
    for each in made:
        assert each["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        assert each["spec"]["config"]["min.insync.replicas"] == "2"


def test_alerts_and_dashboards_are_those_of_the_repository() -> None:
    ours = {path.name: path.read_text() for path in (ROOT / "grafana/dashboards").glob("*.json")}
    files = {path.name: path.read_text() for path in (CHART / "files/dashboards").glob("*.json")}
    assert files == ours, "run `make chart`"
    alerts = (ROOT / "prometheus" / "alerts.yml").read_text()
    assert (CHART / "files" / "alerts.yml").read_text() == alerts, "run `make chart`"
    (rules,) = kinds(render(NEW, PRODUCTION), "PrometheusRule")
    assert rules["spec"] == yaml.safe_load(alerts)


def test_a_dashboard_comes_as_it_is(tmp_path: Path) -> None:
    chart = shutil.copytree(CHART, tmp_path / CHART.name)
    dashboard = '{"title": "Sales & {{ seller }}", "uid": "a-b"}\n'
    (chart / "files/dashboards").mkdir(exist_ok=True)
    (chart / "files/dashboards/a_b.json").write_text(dashboard)
    maps = kinds(render(NEW, PRODUCTION, chart=chart), "ConfigMap")
    (found,) = (each for each in maps if each["metadata"]["name"].endswith("-dashboard-a-b"))
    assert json.loads(found["data"]["a_b.json"]) == json.loads(dashboard)
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_versions_are_the_products() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == project["version"]


def test_it_packs_whole(tmp_path: Path) -> None:
    ended = run(NEW, "package", CHART, "--destination", tmp_path)
    assert ended.returncode == 0, ended.stderr
    (packed,) = tmp_path.glob("payout-streams-*.tgz")
    objects = render(NEW, PRODUCTION, chart=packed)
    assert objects == render(NEW, PRODUCTION)


def test_the_binaries_are_what_they_are_called() -> None:
    for version in tools.LAYERS:
        assert re.search(rf"v{version}\b", run(version, "version", "--short").stdout)
