"""Is everything there and set up as it must be? One finding a line, each with what to do.

Checks only read, except that a missing shard count and missing functions are left to the worker,
which writes them at its start.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from redis.exceptions import RedisClusterException

from models.campaigns import Campaigns
from models.compiled import RUN, form
from models.config import ConfigError, Section, load
from models.plan import CommissionPlan
from models.policy import PayoutPolicy
from models.scorer import ModelUnreadable, Scorer
from models.shards import SHARDS
from rails.destination import Seal, SealError
from rails.registry import PROVIDERS
from streams.connections import redis_client
from streams.settings import Settings, SettingsError, unknown_variables, variable
from streams.topics import ALL_TOPICS
from streams.wallets.library import library
from streams.wallets.store import meta_key

REDIS_MAJOR_MIN = 7
_TIMEOUT_S = 8.0


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; `advice` says what to do, empty when there is nothing to do."""

    status: Status
    what: str
    detail: str
    advice: str = ""


def _ok(what: str, detail: str) -> Finding:
    return Finding(Status.OK, what, detail)


def _warn(what: str, detail: str, advice: str) -> Finding:
    return Finding(Status.WARN, what, detail, advice)


def _fail(what: str, detail: str, advice: str) -> Finding:
    return Finding(Status.FAIL, what, detail, advice)


def examine(settings: Settings, environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """All findings, as they are made; never raises for what it looks at."""
    yield from _environment(environ)
    yield from _kafka(settings)
    yield from _redis(settings)
    yield from _files(settings)
    yield from _secrets(settings)


def _environment(environ: Mapping[str, str]) -> Iterator[Finding]:
    for name, meant in unknown_variables(environ):
        # One without a near match comes from Kubernetes more likely than from a slip.
        if meant is not None:
            yield _warn("environment", f"{name} is no setting", f"did you mean {meant}?")
    yield _ok("features", f"they and decisions run {RUN[form()]}")


def _kafka(settings: Settings) -> Iterator[Finding]:
    address = settings.kafka_brokers
    admin = AdminClient({**settings.kafka_client(), "log_level": 0})
    try:
        found = admin.list_topics(timeout=_TIMEOUT_S)
    except KafkaException as error:
        yield _fail(
            "kafka",
            f"{address}: {error.args[0].str()}",
            f"start the brokers, or set {variable('kafka_brokers')} (and the security settings)",
        )
        return
    yield _ok("kafka", f"{address}: {len(found.brokers)} broker(s)")
    counts = {
        name: len(topic.partitions) for name, topic in found.topics.items() if topic.error is None
    }
    missing = [topic.name for topic in ALL_TOPICS if topic.name not in counts]
    if missing:
        yield _fail("topics", f"missing: {', '.join(missing)}", "run `payouts topics create`")
    other = {
        topic.name: counts[topic.name]
        for topic in ALL_TOPICS
        if counts.get(topic.name, settings.partitions) != settings.partitions
    }
    if other:
        counted = ", ".join(f"{name} {count}" for name, count in other.items())
        yield _fail(
            "partitions",
            f"{counted}; wanted {settings.partitions}",
            f"set {variable('partitions')} to what the topics have; never add partitions to one",
        )
    if not missing and not other:
        yield _ok("topics", f"all {len(ALL_TOPICS)}, {settings.partitions} partitions each")


def _redis(settings: Settings) -> Iterator[Finding]:
    address = settings.redis_address
    try:
        client = redis_client(settings, _TIMEOUT_S)
        try:
            yield from _redis_findings(client, address)
        finally:
            client.close()
    except (redis.RedisError, RedisClusterException, OSError) as error:
        yield _fail(
            "redis",
            f"{address}: {' '.join(str(error).split()) or type(error).__name__}",
            f"start it, or set {variable('redis_url')}, {variable('redis_password')} and "
            f"{variable('redis_cluster')} to what it is",
        )


def _redis_findings(client: Any, address: str) -> Iterator[Finding]:
    nodes = _information(client)
    versions = sorted({_version(node) for node in nodes})
    server = f"{address}: {', '.join(versions)}"
    if len(nodes) > 1:
        server += f", {len(nodes)} nodes"
    if any(_major(version) < REDIS_MAJOR_MIN for version in versions):
        yield _fail("redis", server, f"use Redis or Valkey >= {REDIS_MAJOR_MIN}")
        return
    modes = {str(node.get("server_mode") or node.get("redis_mode")) for node in nodes}
    if "cluster" in modes and not isinstance(client, redis.RedisCluster):
        yield _fail("redis", f"{server} of a Cluster", f"set {variable('redis_cluster')}=true")
        return
    yield _ok("redis", server)
    policies = {str(node.get("maxmemory_policy", "unknown")) for node in nodes}
    if policies == {"noeviction"}:
        yield _ok("redis memory", "noeviction: a full Redis refuses writes and loses none")
    else:
        yield _fail(
            "redis memory",
            f"maxmemory-policy is {', '.join(sorted(policies))}: Redis would throw wallets away",
            "set maxmemory-policy noeviction on every node",
        )
    if all(int(node.get("aof_enabled", 0)) for node in nodes):
        yield _ok("redis persistence", "append-only file is on")
    else:
        yield _warn(
            "redis persistence",
            "append-only file is off: after a restart all is rebuilt from the journal first",
            "set appendonly yes and appendfsync everysec",
        )
    yield from _installation(client, meta_key(0))


def _information(client: Any) -> list[dict[str, Any]]:
    """What each node says of itself; one node unless it is a Cluster."""
    nodes: dict[str, dict[str, Any]] = {}
    everywhere = {"target_nodes": "all"} if isinstance(client, redis.RedisCluster) else {}
    for section in ("server", "memory", "persistence"):
        found = client.execute_command("INFO", section, **everywhere)
        by_node = found if everywhere else {"": found}
        for node, fields in by_node.items():
            nodes.setdefault(node, {}).update(fields)
    return list(nodes.values())


def _version(node: Mapping[str, Any]) -> str:
    name = str(node.get("server_name", "redis"))
    return f"{name} {node.get(f'{name}_version') or node.get('redis_version', '0')}"


def _major(version: str) -> int:
    return int(version.partition(" ")[2].partition(".")[0])


def _installation(client: Any, key: str) -> Iterator[Finding]:
    shards = client.hget(key, "shards")
    if shards is None:
        yield _warn("shards", "no wallets yet", "start a worker: it writes the shard count")
    elif int(shards) != SHARDS:
        yield _fail(
            "shards",
            f"Redis was filled with {int(shards)} shards, this version works with {SHARDS}",
            f"set {variable('redis_url')} to the Redis of this installation",
        )
    else:
        yield _ok("shards", str(SHARDS))
    name = library().name
    loaded = client.execute_command("FUNCTION", "LIST", "LIBRARYNAME", name)
    if isinstance(loaded, dict):
        loaded = [part for parts in loaded.values() for part in parts]
    if loaded:
        yield _ok("functions", f"{name} is loaded")
    else:
        yield _warn("functions", f"{name} is not loaded", "start a worker: it loads them")


def _files(settings: Settings) -> Iterator[Finding]:
    kinds: tuple[tuple[str, Path, type[Section]], ...] = (
        ("plan", settings.plan, CommissionPlan),
        ("policy", settings.policy, PayoutPolicy),
        ("campaigns", settings.campaigns, Campaigns),
    )
    for name, path, model in kinds:
        yield from _file(name, path, partial(load, model=model, name=str(path)))
    yield from _file("model", settings.model, Scorer.load)
    if settings.model_challenger is not None:
        yield from _file("model_challenger", settings.model_challenger, Scorer.load)


def _file(name: str, path: Path, read: Callable[[str], Any]) -> Iterator[Finding]:
    try:
        read(path.read_text(encoding="utf-8"))
    except ConfigError as error:
        first, further = error.problems[0], len(error.problems) - 1
        more = f" and {further} more" if further else ""
        yield _fail(name, f"{first}{more}", f"run `payouts config check {path}`")
    except ModelUnreadable as error:
        held = "; sales above the small cap would all be held" if name == "model" else ""
        yield _fail(
            name,
            f"{path}: {error}{held}",
            f"run `payouts fraud train --simulated --out FILE` and set {variable(name)}",
        )
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        yield _fail(name, f"{path}: {reason}", f"set {variable(name)} to a file that can be read")
    else:
        yield _ok(name, str(path))


def _secrets(settings: Settings) -> Iterator[Finding]:
    keys = settings.seal_keys.get_secret_value()
    if not keys:
        yield _warn(
            "seal keys",
            "none: destinations cannot be opened, so nothing is paid out",
            f"set {variable('seal_keys')} to id:base64key, the key 32 random bytes",
        )
    else:
        try:
            Seal.parse(keys)
        except SealError as error:
            yield _fail("seal keys", str(error), f"correct {variable('seal_keys')}")
        else:
            yield _ok("seal keys", "readable")
    yield from _notices(settings)
    yield from _rails(settings)
    yield from _policy_rails(settings)


def _notices(settings: Settings) -> Iterator[Finding]:
    """Nothing where the company takes no notices."""
    try:
        endpoint = settings.notices()
    except SettingsError as error:
        yield _fail("notices", str(error), "correct it")
        return
    if endpoint is None:
        return
    if "notices" in settings.roles:
        yield _ok("notices", endpoint.origin)
    else:
        yield _warn(
            "notices",
            f"{endpoint.origin}: this worker has no role `notices`",
            f"see that another has, or add it to {variable('roles')}",
        )


def _policy_rails(settings: Settings) -> Iterator[Finding]:
    """Rails that the policy pays over and nobody has set up: payouts there would wait for ever."""
    try:
        policy = load(
            settings.policy.read_text(encoding="utf-8"), PayoutPolicy, settings.policy.name
        )
        missing = sorted(set(policy.rails) - set(settings.rails()))
    except (ConfigError, OSError, SettingsError):
        return  # told of above
    for name in missing:
        yield _fail(
            name,
            f"{settings.policy.name} pays over it, and it is not set up",
            f"set {variable(f'{name}_{PROVIDERS[name].settings.exists_by}')}"
            if name in PROVIDERS
            else "take it out of the policy",
        )


def _rails(settings: Settings) -> Iterator[Finding]:
    """Nothing of a provider that is not set up."""
    return (_rail(settings, name) for name in PROVIDERS if settings.has_rail(name))


def _rail(settings: Settings, name: str) -> Finding:
    """Whether a rail has all that it needs, and its files are there."""
    try:
        rail = settings.rail(name)
    except SettingsError as error:
        return _fail(name, str(error), "correct it")
    for field in type(rail).model_fields:
        value = getattr(rail, field)
        if isinstance(value, Path) and not value.exists():
            named = variable(f"{name}_{field}")
            return _fail(name, f"{named}: {value} is not there", "create it, or set it to one")
    unset = [variable(f"{name}_{field}") for field in rail.needs if not rail.is_set(field)]
    if unset:
        return _warn(name, f"{rail.address}: not complete", f"set {', '.join(unset)}")
    return _ok(name, rail.address)
