"""Compose and image, as Docker Compose itself and hadolint read them. Neither needs an engine."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from streams.settings import unknown_variables
from tests.tools import docker
from tests.tools.test_compose import PINNED, ROOT, ours, services, serving

FILE = ROOT / "docker-compose.yml"
PROFILES = sorted({name for each in services.values() for name in each.get("profiles", [])})

OVERRIDDEN = {
    "PAYOUTS_SEAL_KEYS": "main:" + "A" * 43 + "=",
    "PAYOUTS_TRACES_RATIO": "0.01",
    "PAYOUTS_TRACES_URL": "http://collector:4318",
}

GO_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


@pytest.fixture(autouse=True, scope="module")
def _tools() -> None:
    reason = docker.missing()
    if reason is not None:
        # As for Helm: in CI a skip would hide every test.
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


def run(
    *words: str, file: Path = FILE, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Docker Compose with these variables and no others, nor those of an `.env`."""
    return subprocess.run(
        [docker.COMPOSE, "--env-file", os.devnull, "--file", file, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **(variables or {})},
    )


def config(*words: str, variables: dict[str, str] | None = None) -> dict[str, Any]:
    """What Docker Compose makes of the file, merged and filled in, without a warning."""
    ended = run(*words, "config", "--format", "json", variables=variables)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return json.loads(ended.stdout)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def everything() -> dict[str, Any]:
    """All profiles on, nothing set."""
    return config(*(word for name in PROFILES for word in ("--profile", name)))["services"]  # type: ignore[no-any-return]


def seconds(duration: str) -> int:
    found = GO_DURATION.fullmatch(duration)
    assert found is not None, duration
    hours, minutes, rest = (int(each or 0) for each in found.groups())
    return (hours * 60 + minutes) * 60 + rest


def test_without_a_profile_nothing_makes_traffic() -> None:
    assert PROFILES == ["traffic"]
    assert set(config()["services"]) == set(services) - {"simulator"}


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_adds_its_services(profile: str) -> None:
    added = {name for name, each in services.items() if profile in each.get("profiles", [])}
    assert set(config("--profile", profile)["services"]) == set(config()["services"]) | added


def test_everything_is_filled_in(everything: dict[str, Any]) -> None:
    for name, service in everything.items():
        assert "$" not in json.dumps(service), name
        empty = {key for key, value in (service.get("environment") or {}).items() if not value}
        # No collector; the ratio is 0.
        assert empty <= {"PAYOUTS_TRACES_URL"}, name
        assert not unknown_variables(service.get("environment") or {}), name
        assert PINNED.fullmatch(service["image"]), name


def test_one_service_builds_the_image_and_none_pulls_it(everything: dict[str, Any]) -> None:
    """Docker builds all services at once, and refuses the second image of one name."""
    ended = run("--profile", "traffic", "build", "--print")
    assert ended.returncode == 0, ended.stderr
    (target,) = json.loads(ended.stdout)["target"].values()
    assert target["tags"] == [everything["worker"]["image"]]
    for name in ours:
        assert everything[name]["pull_policy"] == "never", name


def test_every_variable_has_a_default_and_is_in_the_docs() -> None:
    header, *rows = run("config", "--variables").stdout.splitlines()
    assert header.split()[:2] == ["NAME", "REQUIRED"]
    assert {row.split()[1] for row in rows} == {"false"}
    names = {row.split()[0] for row in rows}
    assert names >= set(OVERRIDDEN)
    page = (ROOT / "docs" / "operations.md").read_text()
    assert not {name for name in names if f"`{name}" not in page}


def test_what_is_set_reaches_all_of_ours() -> None:
    told = config("--profile", "traffic", variables=OVERRIDDEN)["services"]
    for name in ours:
        assert OVERRIDDEN.items() <= told[name]["environment"].items(), name


def test_own_keys_of_the_api_are_mounted(tmp_path: Path) -> None:
    api = config(variables={"API_KEYS_FOLDER": str(tmp_path)})["services"]["api"]
    assert [each["source"] for each in api["volumes"]] == [str(tmp_path)]


def test_a_file_that_may_be_replaced_is_mounted_with_its_folder(
    everything: dict[str, Any],
) -> None:
    """Mounted alone, a file stays what it was. And a mistyped path is refused, not made."""
    (mount,) = everything["api"]["volumes"]
    assert Path(mount["source"]).is_dir()
    assert "create_host_path" not in mount["bind"]


def test_what_is_mounted_is_a_declared_volume_or_a_file_that_is_there(
    everything: dict[str, Any],
) -> None:
    declared = config()["volumes"]
    # The names under which they are backed up.
    assert {each["name"] for each in declared.values()} == {f"payouts_{name}" for name in declared}
    for name, service in everything.items():
        for mount in service.get("volumes", []):
            if mount["type"] == "bind":
                assert Path(mount["source"]).exists(), name
                assert mount["read_only"] is True, name
            else:
                assert mount["source"] in declared, name


def test_ports_are_on_this_host_only_and_differ(everything: dict[str, Any]) -> None:
    ports = [each for service in everything.values() for each in service.get("ports", [])]
    assert {each["host_ip"] for each in ports} == {"127.0.0.1"}
    published = [each["published"] for each in ports]
    assert len(published) == len(set(published)) > 0


@pytest.mark.parametrize("name", serving)
def test_who_serves_is_waited_for_at_start_and_at_stop(
    name: str, everything: dict[str, Any]
) -> None:
    service = everything[name]
    assert service["depends_on"]["topics"]["condition"] == "service_completed_successfully"
    for needed in ("kafka", "valkey"):
        assert service["depends_on"][needed]["condition"] == "service_healthy"
    check = service["healthcheck"]
    assert check["test"][0] == "CMD"
    assert seconds(check["timeout"]) > 3  # Longer than the probe's own, so that it can say why.
    drain_s = int(service["environment"]["PAYOUTS_DRAIN_TIMEOUT_S"])
    assert seconds(service["stop_grace_period"]) >= drain_s + 20
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]


def test_workers_can_be_more_than_one(everything: dict[str, Any]) -> None:
    assert not {"ports", "container_name"} & set(everything["worker"])


MISTAKES = {
    "unknown key": ("    command: [api]", "    comand: [api]", "comand"),
    "variable that must be set": ("PAYOUTS_SEAL_KEYS:-", "SEAL_KEYS:?", "SEAL_KEYS"),
    "variable that is not closed": ("PAYOUTS_TRACES_URL:-}", "TRACES_URL:-", "TRACES_URL"),
    "volume that is not declared": ('"valkey:/data"', '"walkey:/data"', "walkey"),
    "service that is not there": ("      sandbox: {", "      sandbags: {", "sandbags"),
    "condition that is none": ("condition: service_healthy", "condition: well", "condition"),
    "duration that is none": ("stop_grace_period: 60s", "stop_grace_period: soon", "soon"),
    "port that is none": ("127.0.0.1:8080:8080", "127.0.0.1:8080:http", "http"),
}


@pytest.mark.parametrize(("right", "wrong", "told"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told(tmp_path: Path, right: str, wrong: str, told: str) -> None:
    text = FILE.read_text()
    assert right in text
    file = tmp_path / "docker-compose.yml"
    file.write_text(text.replace(right, wrong, 1))
    ended = run("--profile", "traffic", "config", "--quiet", file=file)
    assert ended.returncode != 0
    assert told in ended.stderr


def test_a_variable_without_default_is_a_warning(tmp_path: Path) -> None:
    """So that a config without warnings says something."""
    file = tmp_path / "docker-compose.yml"
    file.write_text(FILE.read_text().replace("${PAYOUTS_TRACES_URL:-}", "${PAYOUTS_TRACES_URL}"))
    assert "PAYOUTS_TRACES_URL" in run("config", "--quiet", file=file).stderr


def lint(file: Path) -> subprocess.CompletedProcess[str]:
    """hadolint, which looks for a configuration where it runs and at home."""
    return subprocess.run(
        [docker.HADOLINT, "--no-color", file],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd=docker.CACHE,
        env={"HOME": "/nonexistent"},
    )


def test_the_dockerfile_has_no_known_mistake(tmp_path: Path) -> None:
    ended = lint(ROOT / "Dockerfile")
    assert (ended.returncode, ended.stdout) == (0, "")
    text = (ROOT / "Dockerfile").read_text()
    for right, wrong, rule in (
        ("WORKDIR /tmp", "WORKDIR tmp", "DL3000"),
        ("python:3.13.9-slim-bookworm\nRUN", "python:latest\nRUN", "DL3007"),
        ('ENTRYPOINT ["payouts"]', "ENTRYPOINT payouts", "DL3025"),
        ("USER 10001:10001", "USER root", "DL3002"),
    ):
        assert right in text
        file = tmp_path / "Dockerfile"
        file.write_text(text.replace(right, wrong))
        ended = lint(file)
        assert ended.returncode != 0
        assert rule in ended.stdout
