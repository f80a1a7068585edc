"""Compiled modules: those that `make compiled` makes extension modules of, and whether they are.

They are written in Python, once, for training, evaluation and serving; what is compiled gives the
same results to the last bit, only sooner. Python takes an extension module where it finds one
beside the source. A compiled module says of which source it was made when it is imported, so that
none runs that is older than its source.
"""

from __future__ import annotations

from hashlib import blake2b
from importlib.machinery import ExtensionFileLoader
from importlib.util import find_spec
from pkgutil import get_data

MODULES = (
    "accounts",
    "around",
    "buying",
    "conduct",
    "decisions",
    "features",
    "labelled",
    "logits",
    "selling",
    "spending",
    "units",
    "uplines",
    "usage",
    "usual",
)
"""The modules that are compiled, by their names in this package."""

_TYPES = tuple(f"{name}.pxd" for name in (*MODULES, "marks", "packing"))

RUN = {"compiled": "compiled", "python": "in plain Python", "mixed": "partly compiled"}
"""What :func:`form` says, in words."""


def digest_of(module: str) -> str:
    """The digest of a module's source, and of all C types, which they share."""
    digest = blake2b(digest_size=16)
    for name in (f"{module}.py", *_TYPES):
        digest.update(get_data("models", name) or b"")
    return digest.hexdigest()


def check(name: str, digest: str) -> None:
    """Called by a compiled module: raises ImportError if its source is not what it was made of."""
    module = name.removeprefix("models.")
    if digest_of(module) != digest:
        raise ImportError(
            f"models/{module}.py or its types changed after it was compiled: `make compiled` "
            "compiles it again, `make uncompiled` goes without"
        )


def is_compiled(module: str) -> bool:
    """Whether a module of this package runs compiled."""
    spec = find_spec(f"models.{module}")
    return isinstance(spec and spec.loader, ExtensionFileLoader)


def form() -> str:
    """How features and decisions run here: ``compiled``, ``python``, or ``mixed``."""
    found = {is_compiled(module) for module in MODULES}
    if len(found) > 1:
        return "mixed"
    return "compiled" if found.pop() else "python"
