"""Compose and image, as far as they can be checked without Docker; `test_docker` has the rest.

`compose-spec.json` is the Compose specification's own schema (Apache-2.0), as Docker Compose uses.
"""

import base64
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from rails.destination import Seal
from rails.sandbox.server import PROVIDERS
from streams.api.keys import KeyRing, Scope
from streams.cli import app
from streams.settings import ROLES, Settings, load_settings, unknown_variables

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"[a-z0-9./-]+:v?\d+\.\d+\.\d+[a-z0-9.-]*(@sha256:[0-9a-f]{64})?")

compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
services: dict[str, dict[str, Any]] = compose["services"]
(image,) = {each["image"] for each in services.values() if "build" in each}
ours = {name: each for name, each in services.items() if each["image"] == image}
serving = [name for name, each in ours.items() if each["command"][0] in {"worker", "api"}]


def environment(service: dict[str, Any]) -> dict[str, str]:
    """A service's environment with the defaults of `${NAME:-default}` filled in."""
    given = service.get("environment") or {}
    return {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value)) for name, value in given.items()}


def test_it_is_valid_compose() -> None:
    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text())
    jsonschema.validate(compose, schema)


@pytest.mark.parametrize("name", services)
def test_images_are_pinned(name: str) -> None:
    assert PINNED.fullmatch(services[name]["image"]), services[name]["image"]


def test_the_dockerfile_builds_on_pinned_images_and_ends_without_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert len(bases) == 2
    assert all(PINNED.fullmatch(base) for base in bases), bases
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users[-1].split(":")[0] not in {"root", "0"}
    assert any("--require-hashes" in line for line in lines)


def test_what_the_dockerfile_copies_reaches_the_builder() -> None:
    sent = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert source in sent, f"{source} is not in .dockerignore's list"


@pytest.mark.parametrize("name", services)
def test_every_variable_of_ours_is_a_setting(name: str) -> None:
    variables = environment(services[name])
    mine = {key for key in variables if key.startswith("PAYOUTS_")}
    assert not unknown_variables(variables)
    assert bool(mine) == (name in ours)


@pytest.mark.parametrize("name", ours)
def test_the_settings_are_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in environment(ours[name]).items():
        monkeypatch.setenv(key, value)
    settings = load_settings()
    assert isinstance(settings, Settings)
    settings.rail("paypal")
    Seal.parse(settings.seal_keys.get_secret_value())


def test_the_example_key_says_that_it_is_one() -> None:
    key = environment(ours["worker"])["PAYOUTS_SEAL_KEYS"].partition(":")[2]
    assert b"example" in base64.b64decode(key)


@pytest.mark.parametrize("name", serving)
def test_who_serves_knows_the_sandbox(name: str) -> None:
    variables = environment(services[name])
    for field, value in PROVIDERS["paypal"].rail_fields("http://sandbox:8700").items():
        assert variables[f"PAYOUTS_PAYPAL_{field.upper()}"].lower() == str(value).lower(), field


def test_ports_are_on_this_host_only() -> None:
    for name, service in services.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name}: {port}"


def volumes(service: dict[str, Any]) -> dict[str, str]:
    """What is mounted from where, with the defaults of `${NAME:-default}` filled in."""
    given = (
        f"{each['source']}:{each['target']}{':ro' if each['read_only'] else ''}"
        if isinstance(each, dict)
        else each
        for each in service.get("volumes", [])
    )
    filled = (re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", each) for each in given)
    return {each.split(":")[0]: each.partition(":")[2] for each in filled}


def test_volumes_are_named_and_declared() -> None:
    used = {volume for each in services.values() for volume in volumes(each)}
    files = {volume for volume in used if volume.startswith("./")}
    assert used - files == set(compose["volumes"])
    for each in services.values():
        for volume, target in volumes(each).items():
            if volume in files:
                assert (ROOT / volume).exists(), volume
                assert target.endswith(":ro"), volume


def test_who_is_waited_for_can_say_that_it_is_well() -> None:
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other], f"{name} waits for {other}"
            else:
                assert services[other]["restart"] == "no", f"{name} waits for {other}'s end"


@pytest.mark.parametrize("name", serving)
def test_who_serves_is_given_time_to_stop(name: str) -> None:
    drain_s = int(environment(services[name])["PAYOUTS_DRAIN_TIMEOUT_S"])
    assert int(services[name]["stop_grace_period"].removesuffix("s")) >= drain_s + 20


def test_the_roles_are_shared_out() -> None:
    roles = [environment(each).get("PAYOUTS_ROLES") for each in ours.values()]
    # Notices have somewhere to go to only where a company is.
    assert sorted(filter(None, roles)) == sorted(set(ROLES) - {"notices"})


def test_the_example_key_of_the_api_is_one() -> None:
    ((folder, mounted),) = volumes(services["api"]).items()
    file = ROOT / folder / "api-keys.yaml"
    read = environment(services["api"])["PAYOUTS_API_KEYS"]
    assert read == f"{mounted.removesuffix(':ro')}/{file.name}"
    (token,) = re.findall(r"pk_[0-9a-f]{12}_\S{43}", file.read_text())
    key = KeyRing(file).find(f"Bearer {token}")
    assert key is not None
    assert set(key.scopes) == set(Scope)
    assert "example" in token


def test_our_containers_have_no_rights() -> None:
    for name, service in services.items():
        if name in ours or name in {"prometheus", "grafana"}:
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name


@pytest.mark.parametrize("name", ours)
def test_every_command_is_one_of_ours(name: str) -> None:
    words = ours[name]["command"]
    path = words[:2] if words[0] == "topics" else words[:1]
    result = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    for word in words:
        if word.startswith("--"):
            assert word in result.stdout


def test_redis_loses_nothing() -> None:
    words = services["valkey"]["command"]
    told = dict(zip(words[1::2], words[2::2], strict=True))
    assert told["--maxmemory-policy"] == "noeviction"
    assert (told["--appendonly"], told["--appendfsync"]) == ("yes", "everysec")


def test_prometheus_looks_at_all_who_serve() -> None:
    config = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    assert set(found["names"]) == set(serving)
    for name in serving:
        variables = environment(services[name])
        assert variables["PAYOUTS_METRICS_PORT"] == str(found["port"])
        assert variables["PAYOUTS_METRICS_HOST"] == "0.0.0.0"
    mounted = volumes(services["prometheus"])
    for file in config["rule_files"]:
        assert mounted[f"./prometheus/{file}"] == f"/etc/prometheus/{file}:ro"


def test_compose_and_chart_give_metrics_the_same_labels() -> None:
    (job,) = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    chart = yaml.safe_load((ROOT / "helm" / "payout-streams" / "Chart.yaml").read_text())
    assert job["job_name"] == chart["name"]
    monitoring = (ROOT / "helm" / "payout-streams" / "templates" / "monitoring.yaml").read_text()
    (label,) = (each["target_label"] for each in job["relabel_configs"])
    assert f"targetLabel: {label}" in monitoring


def test_grafana_finds_prometheus_and_the_dashboards() -> None:
    provisioning = ROOT / "grafana" / "provisioning"
    mounted = volumes(services["grafana"])
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    assert source["uid"] == "prometheus"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "payouts.yml").read_text())[
        "providers"
    ]
    assert mounted["./grafana/dashboards"] == provider["options"]["path"] + ":ro"
