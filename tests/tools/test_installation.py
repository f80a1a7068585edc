"""Make, locks and CI: an installation fetches nothing unlocked and needs only Python and make."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
project = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = {
    "demo.lock": ("demo", "fast", "statements", "traces"),
    "dev.lock": ("demo", "fast", "fraud", "statements", "traces", "test"),
}


def locked(name: str) -> dict[str, str]:
    """Package to the text of its entry."""
    text = (ROOT / "requirements" / name).read_text()
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)
    return {re.split(r"[=\[]", entry, maxsplit=1)[0]: entry for entry in entries if "==" in entry}


def named(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


@pytest.mark.parametrize(("lock", "extras"), LOCKS.items())
def test_every_dependency_is_locked_by_hash(lock: str, extras: tuple[str, ...]) -> None:
    entries = locked(lock)
    wanted = [*project["project"]["dependencies"]]
    for extra in extras:
        wanted += project["project"]["optional-dependencies"][extra]
    missing = {named(requirement) for requirement in wanted} - set(entries)
    assert not missing, f"run `make lock`: {missing}"
    unhashed = [name for name, entry in entries.items() if "--hash=sha256:" not in entry]
    assert not unhashed


@pytest.mark.parametrize("lock", LOCKS)
def test_what_builds_the_project_is_locked(lock: str) -> None:
    assert {"setuptools", "wheel"} <= set(locked(lock))


def test_both_locks_agree() -> None:
    demo, dev = locked("demo.lock"), locked("dev.lock")
    for name, entry in demo.items():
        first = entry.splitlines()[0]
        assert dev[name].splitlines()[0] == first, name


def test_what_compiles_is_locked_by_itself_and_nothing_that_runs_needs_it() -> None:
    entry = locked("compiled.lock")["cython"]
    assert "--hash=sha256:" in entry
    assert set(locked("compiled.lock")) == {"cython"}
    assert not {"cython"} & (set(locked("demo.lock")) | set(locked("dev.lock")))


def test_without_being_asked_nothing_is_compiled(tmp_path: Path) -> None:
    """`make setup` must not fail for lack of Cython or a compiler."""
    (tmp_path / "Cython").mkdir()
    (tmp_path / "Cython" / "__init__.py").touch()
    (tmp_path / "Cython" / "Build.py").write_text("raise RuntimeError('asked for Cython')\n")
    environment = {"PATH": "", "PYTHONPATH": str(tmp_path)}

    def build(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "setup.py", "--quiet", "build_ext", "--build-lib", str(tmp_path)],
            cwd=ROOT,
            env=environment | more,
            capture_output=True,
            text=True,
            check=False,
        )

    assert build().returncode == 0
    assert not list(tmp_path.rglob("*.so"))
    assert "asked for Cython" in build(PAYOUTS_COMPILED="1").stderr


def test_every_direct_dependency_is_explained() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text().lower()
    wanted = [*project["project"]["dependencies"]]
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    wanted += ["cython"]
    unexplained = [name for name in map(named, wanted) if name not in page]
    assert not unexplained


def make(directory: Path, *words: str, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/usr/bin/env", "-i", f"PATH={path}", f"HOME={directory}", "make", *words],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What `make setup` reads, and a PATH with make and a shell but no Python."""
    if shutil.which("make") is None:
        pytest.skip("no make here")
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("make", "sh", "rm", "touch", "sed", "expand"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    return tmp_path


def test_without_python_one_line_says_so(checkout: Path) -> None:
    ended = make(checkout, "setup", path=str(checkout / "tools"))
    assert ended.returncode != 0
    told = [line for line in ended.stderr.splitlines() if not line.startswith("make")]
    assert told == [
        "No Python >= 3.11 found: install one, or name it: make PYTHON=/path/to/python3"
    ]


def test_an_old_python_is_not_taken(checkout: Path) -> None:
    old = checkout / "tools" / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    ended = make(checkout, "setup", path=str(checkout / "tools"))
    assert "No Python >= 3.11 found" in ended.stderr


def test_a_second_setup_does_nothing(checkout: Path) -> None:
    venv = checkout / ".venv"
    venv.mkdir()
    for stamp in (".created", ".demo", ".dev"):
        (venv / stamp).touch()
    ended = make(checkout, "setup", path=str(checkout / "tools"))
    assert (ended.returncode, ended.stderr) == (0, "")
    os.utime(venv / ".demo", (0, 0))
    # Now the stamp is older than the lock, and the packages have to be installed.
    assert make(checkout, "setup", path=str(checkout / "tools")).returncode != 0


def test_help_lists_every_target(checkout: Path) -> None:
    told = make(checkout, path=str(checkout / "tools")).stdout
    for target in ("setup", "demo", "test", "lint", "types", "check", "bench", "lock", "clean"):
        assert f"  {target} " in told
    assert "  compiled " in told


def test_ci_runs_the_developers_targets() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text()
    assert "set -euo pipefail" in text
    for target in ("lint", "types", "simulate", "test-kafka", "uncompiled", "compiled", "test"):
        assert re.search(rf"\bmake {target}(?![\w-])", text), target
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
