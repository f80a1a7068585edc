"""Redis in memory: the real functions' Lua on Lua tables, with the faults a server can have.

Lua 5.1 runs the library's source unmodified (``memory.lua`` holds the commands that it calls). The
clock is the caller's. Replies are as redis-py gives them, errors as it raises them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Any

from lupa.lua51 import LuaRuntime, lua_type
from redis._parsers.base import BaseParser

_SOURCE = Path(__file__).with_name("memory.lua").read_bytes()


@cache
def _runtime() -> tuple[Any, Any]:
    """One Lua machine a process: to make one takes longer than to run a whole history on it."""
    lua = LuaRuntime(encoding=None, unpack_returned_tuples=True, register_eval=False)
    make = lua.execute(b"return function(source) return loadstring(source, '@memory.lua') end")
    return lua, make(_SOURCE)


@cache
def _chunk(source: str) -> Any:
    """A library's source, compiled. Its locals belong to each run of the chunk."""
    _, make = _runtime()
    return make(_sha1hex)[b"compile"](source.encode())


def _sha1hex(text: bytes) -> bytes:
    return sha1(text, usedforsecurity=False).hexdigest().encode()


class MemoryRedis:
    """A Redis server of one's own. ``now_ms``: its clock."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        _, make = _runtime()
        machine = make(_sha1hex)
        self._run = machine[b"run"]
        self._plain = machine[b"plain"]
        self._load = machine[b"load"]
        self._unload = machine[b"unload"]
        self._rewind = machine[b"rewind"]
        self._forget = machine[b"forget"]
        self._keys = machine[b"keys"]
        self._set = machine[b"set"]
        self._calls = machine[b"calls"]
        self._now_ms = now_ms
        self._starts = 0
        self._source: str | None = None
        self._started()

    @property
    def calls(self) -> int:
        """Calls so far that wrote something: what :meth:`rewind` counts in."""
        return int(self._calls())

    def load(self, source: str) -> None:
        """Load a library of functions, in the place of any before."""
        if source != self._source:
            self._source = source
            self._load(_chunk(source))

    def fcall(self, name: str, key: str, *args: str | bytes | int, read_only: bool = False) -> Any:
        """Call a function with one key. Raises ResponseError."""
        self._set(b"now", self._now_ms())
        return _reply(self._run(name.encode(), read_only, 1, key.encode(), *map(_bytes, args)))

    def command(self, name: str, *args: str | bytes | int) -> Any:
        """Any command that the functions use. Raises ResponseError."""
        self._set(b"now", self._now_ms())
        return _reply(self._plain(name.encode(), *map(_bytes, args)))

    def all_keys(self) -> list[bytes]:
        """Every key, in order."""
        self._set(b"now", self._now_ms())
        return list(self._keys().values())

    def refuse_writes(self, *, full: bool) -> None:
        """Whether memory is full, so that nothing is written (``noeviction``)."""
        self._set(b"oom", full)

    def restart(self) -> None:
        """Another process with the same data and functions."""
        self._started()
        if self._source is not None:
            self._load(_chunk(self._source))

    def rewind(self, calls: int) -> None:
        """Another process that lacks the last writing calls: a crash, or a promoted replica."""
        self._set(b"now", self._now_ms())
        self._rewind(calls)
        self.restart()

    def empty(self) -> None:
        """Delete every key, as FLUSHALL does: the process and its functions stay.

        Nothing of before comes back with a later rewind.
        """
        self._forget()

    def emptied(self) -> None:
        """Another process with nothing in it, no functions either."""
        self._forget()
        self._unload()
        self._source = None
        self._started()

    def _started(self) -> None:
        self._starts += 1
        self._set(b"run_id", _sha1hex(b"start %d" % self._starts))


def _bytes(value: str | bytes | int) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _reply(value: Any) -> Any:
    """A Lua value as redis-py would return it."""
    if isinstance(value, bytes) or value is None:
        return value
    if isinstance(value, bool):
        return 1 if value else None
    if isinstance(value, int | float):
        return int(value)
    if lua_type(value) != "table":
        raise TypeError(f"a function returned a {lua_type(value)}")
    if value[b"err"] is not None:
        raise BaseParser.parse_error(value[b"err"].decode())
    if value[b"ok"] is not None:
        return value[b"ok"]
    return [item if type(item) is bytes else _reply(item) for item in value.values()]
