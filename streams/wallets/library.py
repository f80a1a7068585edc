"""The Redis Functions library: the Lua files, tables from the models, and a digest as version.

The functions' names end in the digest of their source, so that workers of two versions can run
against one Redis while an upgrade rolls.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files

from models.payouts import PAID, RETRIES_FROM, TERMINAL, TRANSITIONS
from models.shards import SHARDS, key_of_shard

PARTS = (
    "shard", "budget", "discount", "spendback", "payout", "reinvest", "topup", "releases", "earn",
    "profile", "labels", "resolve", "credit", "debt", "till", "fx", "request", "book", "confirm",
    "outbox", "look", "find", "due", "observe", "stand", "suspend", "restore", "resume", "apply",
    "open", "shards", "ages", "debts", "house", "read", "enqueue", "claim", "conclude",
)  # fmt: skip
"""The Lua files, in the order in which they build on one another."""

SHARED = frozenset(PARTS[: PARTS.index("book")]) - {"labels", "resolve"} | {"restore", "enqueue"}
"""Those of which others use what they define. The names of the rest are theirs alone: Lua takes no
more than 200 in one scope."""


@dataclass(frozen=True, slots=True)
class Library:
    """The library's source, and its functions' names in Redis."""

    source: str
    name: str
    digest: str

    def function(self, verb: str) -> str:
        """The name under which Redis knows a function of this version."""
        return f"payouts_{verb}_{self.digest}"


@cache
def library() -> Library:
    """The library of this version of the product."""
    folder = files("streams.wallets") / "functions"
    parts = [_part((folder / f"{part}.lua").read_text(encoding="utf-8"), part) for part in PARTS]
    body = "\n".join([_tables(), *parts])
    digest = sha256(body.encode()).hexdigest()[:8]
    name = f"payouts_{digest}"
    head = (
        f"#!lua name={name}\n"
        f"local function FUNCTION(verb) return 'payouts_' .. verb .. '_{digest}' end\n"
    )
    return Library(head + body, name, digest)


def _part(text: str, name: str) -> str:
    return text if name in SHARED else f"do\n{text}end\n"


def _tables() -> str:
    """The payout states and the shards' own keys as Lua tables, so that there is one truth."""

    def as_set(states: frozenset[str]) -> str:
        return "{" + ", ".join(f"{state} = true" for state in sorted(states)) + "}"

    rows = ",\n".join(
        f"  {state} = {as_set(frozenset(after))}" for state, after in TRANSITIONS.items()
    )
    keys = ", ".join(f"'{key_of_shard(shard)}'" for shard in range(SHARDS))
    return (
        f"local TRANSITIONS = {{\n{rows}\n}}\n"
        f"local RETRIES_FROM = {as_set(frozenset(RETRIES_FROM))}\n"
        f"local TERMINAL = {as_set(frozenset(TERMINAL))}\n"
        f"local PAID = {as_set(frozenset(PAID))}\n"
        f"local SHARD_KEYS = {{{keys}}}\n"
    )
