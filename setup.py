"""Extension modules, where they are asked for; all else about the package is in pyproject.toml.

``PAYOUTS_COMPILED=1`` compiles the modules that :mod:`models.compiled` names, with Cython and a C
compiler. Without it neither is needed.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

ROOT = Path(__file__).parent
BUILD = ROOT / "build" / "compiled"

# The same results to the last bit: no multiplication and addition in one rounding, as compilers for
# ARM have it by default, and no logarithm that the compiler works out instead of the C library.
C_FLAGS = ["-O2", "-ffp-contract=off", "-fno-builtin-log", "-fno-builtin-exp", "-w"]

FUTURE = "from __future__ import annotations\n"


def extensions() -> list[Extension]:
    """What is compiled: copies of the sources that know of what they were made."""
    from Cython.Build import cythonize  # noqa: PLC0415 - only this needs it

    if sys.byteorder != "little":
        raise SystemExit("states are little-endian: packing.pxd does not turn bytes round")
    sys.path.insert(0, str(ROOT))
    from models.compiled import MODULES, digest_of  # noqa: PLC0415

    package = BUILD / "models"
    package.mkdir(parents=True, exist_ok=True)
    for name in ["__init__.py", *(path.name for path in (ROOT / "models").glob("*.pxd"))]:
        (package / name).write_bytes((ROOT / "models" / name).read_bytes())
    for module in MODULES:
        source = (ROOT / "models" / f"{module}.py").read_text(encoding="utf-8")
        # On the same line, so that tracebacks tell the lines of the source.
        check = f'from models.compiled import check; check(__name__, "{digest_of(module)}")\n'
        if source.count(FUTURE) != 1:
            raise SystemExit(f"models/{module}.py: due is one {FUTURE!r}")
        source = source.replace(FUTURE, f"{FUTURE.rstrip()}; {check}")
        (package / f"{module}.py").write_text(source, encoding="utf-8")
    made = [
        Extension(
            f"models.{module}",
            [str((package / f"{module}.py").relative_to(ROOT))],
            extra_compile_args=C_FLAGS,
        )
        for module in MODULES
    ]
    # Types are in the .pxd alone: annotations are for mypy.
    directives = {"language_level": 3, "annotation_typing": False}
    found: list[Extension] = cythonize(
        made, include_path=[str(BUILD)], compiler_directives=directives, quiet=True
    )
    return found


setup(ext_modules=extensions() if os.environ.get("PAYOUTS_COMPILED") else [])
