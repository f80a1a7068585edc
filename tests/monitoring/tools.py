"""Prometheus and promtool: those on the PATH, or Debian's in the cache, by `make prometheus`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

CACHE = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    / "payout-streams"
    / "prometheus"
)

TOOLS = ("prometheus", "promtool")

GOING_WITHOUT = "none"
"""What PROMETHEUS says where nobody could get it, and a person was told so."""


def tool(name: str) -> Path | None:
    """Where one of them is; None if it is nowhere."""
    cached = CACHE / "usr" / "bin" / name
    if cached.exists():
        return cached
    found = shutil.which(name)
    return Path(found) if found else None


def missing() -> str | None:
    """Why there is no Prometheus; None if there is."""
    if all(map(tool, TOOLS)):
        return None
    return "there is no Prometheus and promtool here; `make prometheus` gets them from Debian"


def get() -> None:
    """Unpack Debian's package into the cache, if there is none. Nothing is installed or started.

    Raises CalledProcessError, FileNotFoundError: there is no apt, or it cannot get the package.
    """
    if missing() is None:
        return
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE.parent, prefix=CACHE.name) as directory:
        # It downloads as a user of its own, who has to come in.
        Path(directory).chmod(0o777)
        download = ["apt-get", "download", "--quiet", "prometheus"]
        if subprocess.run(download, cwd=directory, check=False).returncode != 0:
            # An image without package lists; only root may get them.
            subprocess.run(["apt-get", "update", "--quiet"], check=True)
            subprocess.run(download, cwd=directory, check=True)
        (package,) = Path(directory).glob("*.deb")
        part = Path(directory) / "part"
        subprocess.run(["dpkg-deb", "--extract", str(package), str(part)], check=True)
        part.rename(CACHE)


if __name__ == "__main__":
    get()
