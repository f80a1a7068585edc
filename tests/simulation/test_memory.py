"""Redis in memory is as the real one: the same replies and the same keys, for random histories."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest
import redis
from redis.exceptions import ResponseError

from streams.wallets.library import library
from tests.simulation.memory import MemoryRedis
from tests.streams.wallets.test_sequences import Life

LIVES = 90
STEPS = 40
DOCUMENTS = 400
COMMANDS = 1_500

CJSON = """#!lua name=documents
redis.register_function('documents_again', function(keys, args)
  return cjson.encode(cjson.decode(args[1]))
end)
redis.register_function('documents_run', function(keys, args)
  local fine, reply = pcall(redis.call, unpack(args))
  return fine and reply or (type(reply) == 'table' and reply.err or tostring(reply))
end)
"""


def present_ms() -> int:
    """The wall clock: the real server forgets by it."""
    return time.time_ns() // 1_000_000


@pytest.fixture
def client(redis_url: str) -> Any:
    """A client of a real server that is empty but for the functions."""
    connection = redis.Redis.from_url(redis_url)
    connection.flushall()
    connection.function_flush()
    connection.function_load(library().source)
    connection.function_load(CJSON)
    yield connection
    connection.flushall()
    connection.function_flush()
    connection.close()


class Both:
    """A client of two servers at once, which must not differ."""

    def __init__(self, real: redis.Redis, memory: MemoryRedis) -> None:
        self.real = real
        self.memory = memory
        self.calls = 0

    def fcall(self, name: str, keys: int, key: str, *args: Any) -> Any:
        """Call a function on both."""
        self.calls += 1
        found = answer(self.real.fcall, name, keys, key, *args)
        expected = answer(self.memory.fcall, name, key, *args)
        assert canonical(found) == canonical(expected)
        assert not isinstance(found, tuple), found
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def answer(ask: Any, *args: Any) -> Any:
    """A reply, or the kind and text of an error."""
    try:
        return ask(*args)
    except ResponseError as error:
        return (type(error), str(error))


def canonical(value: Any) -> Any:
    """A value with all JSON in it decoded: the order of members and postings is Lua's affair."""
    if isinstance(value, (bytes, str)) and value[:1] in {b"{", b"[", "{", "["}:
        try:
            return canonical(json.loads(value))
        except ValueError:
            return value
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    if isinstance(value, dict):
        decoded = {key: canonical(item) for key, item in value.items()}
        if "postings" in decoded:
            decoded["postings"] = sorted(decoded["postings"])
        return decoded
    return value.encode() if isinstance(value, str) else value


def real_keys(real: redis.Redis) -> dict[bytes, Any]:
    """Every key of a real server, in a form to compare."""

    def run(*command: Any) -> Any:
        return real.fcall("documents_run", 1, "k", *command)

    return {key: value_of(run, key) for key in real.scan_iter()}


def memory_keys(memory: MemoryRedis) -> dict[bytes, Any]:
    """The same of the one in memory."""
    return {key: value_of(memory.command, key) for key in memory.all_keys()}


def value_of(command: Any, key: bytes) -> Any:
    """Type, value and time of expiry of a key, as functions see them."""
    kind = command("TYPE", key)
    found: Any
    if kind == b"hash":
        flat = command("HGETALL", key)
        found = dict(zip(flat[::2], flat[1::2], strict=True))
        # The server process that a shard was opened on: there are two.
        found.pop(b"run", None)
    elif kind == b"list":
        found = command("LRANGE", key, "0", "-1")
    elif kind == b"zset":
        found = command("ZRANGEBYSCORE", key, "-inf", "+inf", "WITHSCORES")
    elif kind == b"stream":
        found = command("XRANGE", key, "-", "+")
    else:
        found = command("GET", key)
    return kind, canonical(found), int(command("PEXPIRETIME", key))


@pytest.mark.timeout(120)
def test_random_lives_of_sellers_leave_the_same_replies_and_keys(client: redis.Redis) -> None:
    first = random.randrange(2**24)
    memory = MemoryRedis(present_ms)
    memory.load(library().source)
    both = Both(client, memory)
    for seed in range(first, first + LIVES):
        life = Life(both, seed)  # type: ignore[arg-type]
        try:
            for _ in range(STEPS):
                life.step()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    assert both.calls > LIVES * STEPS / 2
    assert real_keys(client) == memory_keys(memory)


def test_json_passes_both_alike(client: redis.Redis) -> None:
    memory = MemoryRedis(present_ms)
    memory.load(CJSON)
    dice = random.Random(4)
    for _ in range(DOCUMENTS):
        text = json.dumps(document(dice, 4), ensure_ascii=dice.random() < 0.5)
        found = answer(client.fcall, "documents_again", 1, "k", text)
        again = answer(memory.fcall, "documents_again", "k", text)
        assert canonical(again) == canonical(found), text
        if isinstance(found, bytes) and b"{" not in found:
            assert again == found


def document(dice: random.Random, depth: int) -> Any:
    """A random JSON value, and some that are awkward."""
    kind = dice.randrange(10 if depth else 7)
    if kind < 3:
        return dice.choice(
            ["", "a", 'quo"te', "back\\slash", "sla/sh", "tab\tnew\n", "\x00\x1f\x7f", "é€😀", "{"]
        )
    if kind < 5:
        return dice.choice(
            [0, -1, 7, 10**13 + 1, 99_999_999_999_999, 123_456_789_012_345, 2**53, 0.5, -2.25, 1e-7]
        )
    if kind < 7:
        return dice.choice([True, False, None, [], {}])
    if kind < 9:
        return {f"k{n}": document(dice, depth - 1) for n in range(dice.randrange(5))}
    return [document(dice, depth - 1) for _ in range(dice.randrange(5))]


def test_single_commands_answer_alike(client: redis.Redis) -> None:
    memory = MemoryRedis(present_ms)
    memory.load(CJSON)
    dice = random.Random(5)
    for number in range(COMMANDS):
        command = random_command(dice, number)
        found = answer(client.fcall, "documents_run", 1, "k", *command)
        expected = answer(memory.fcall, "documents_run", "k", *command)
        if command[0] == "HGETALL":
            found, expected = [
                sorted(zip(x[::2], x[1::2], strict=True)) if isinstance(x, list) else x
                for x in (found, expected)
            ]
        assert expected == found, command
    assert real_keys(client) == memory_keys(memory)


def random_command(dice: random.Random, number: int) -> list[str]:
    """One of the commands that the functions use, often on a key of another type."""
    key = dice.choice("shlzx") + dice.choice("12")
    field, value = dice.choice("abc"), str(dice.choice((0, 1, -5, 70)))
    later = str(present_ms() + 3_600_000)
    return list(
        dice.choice(
            [
                ("GET", key), ("MGET", key, "s1", "none"), ("SET", key, value),
                ("SET", key, value, "PXAT", later), ("DEL", key), ("EXISTS", key),
                ("SET", key, value, "NX"), ("HGET", key, field), ("HMGET", key, field, "zz"),
                ("HGETALL", key), ("HSET", key, field, value), ("HSETNX", key, field, value),
                ("HINCRBY", key, field, value), ("HDEL", key, field), ("RPUSH", key, value),
                ("HSET", key, field, value, "b"), ("LLEN", key), ("LRANGE", key, "0", "-1"),
                ("LRANGE", key, "-2", "5"), ("LPOS", key, value),
                ("ZADD", key, value, field),
                ("ZADD", key, "NX", value, field), ("ZREM", key, field), ("ZSCORE", key, field),
                ("ZRANGEBYSCORE", key, "-inf", value, "WITHSCORES", "LIMIT", "1", "2"),
                ("ZRANGEBYSCORE", key, "-inf", "+inf"),
                ("XADD", key, f"{number + 1}-0", "f", value),
                ("XADD", key, "1-0", "f", value), ("XDEL", key, f"{max(1, number - 3)}-0"),
                ("XLEN", key), ("XRANGE", key, "-", "+", "COUNT", "2"),
                ("XRANGE", key, f"{max(1, number - 40)}-0", "+"), ("TYPE", key),
                ("INCRBY", "s1", value), ("PEXPIRETIME", key),
            ]
        )
    )  # fmt: skip
