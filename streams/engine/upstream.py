"""The parts of Faust and mode that the engine replaces or leans on, each with its fingerprint.

The engine overrides private methods and counts on what others do. A release that changes one of
them must be read before it is taken: `changed()` names it, and the test suite fails.
"""

import hashlib
import importlib
import inspect
from functools import reduce
from importlib.metadata import version
from typing import Any

PINNED_VERSIONS: dict[str, str] = {
    "faust-streaming": "0.15.3",
    "mode-streaming": "0.7.1",
}

#: "module:qualified name" → the first 16 hex digits of the SHA-256 of its source text.
PINNED_SOURCES: dict[str, str] = {
    "faust.agents.agent:Agent._execute_actor": "c750b828d2bda93e",
    "faust.agents.agent:Agent.actor_from_stream": "f1fe9361f5460611",
    "faust.agents.agent:Agent.on_stop": "aa6a7463a907344c",
    "faust.agents.agent:Agent.stream": "31d17bc213150cf3",
    "faust.agents.manager:AgentManager.on_rebalance": "2b7b8f8ea4bcca90",
    "faust.agents.manager:AgentManager.stop": "712b15cb14993a3e",
    "faust.agents.manager:AgentManager.wait_until_agents_started": "18666df9a858a035",
    "faust.app.base:App._create_directories": "a9f571c3b04abec3",
    "faust.app.base:App._new_consumer": "bff6ccd646b71ea9",
    "faust.app.base:App._new_producer": "e7e1814e715d8b30",
    "faust.app.base:App._new_transport": "42db531312dd776f",
    "faust.app.base:App._on_agent_error": "bdd12f286de64429",
    "faust.app.base:App._stop_consumer": "55854a5de12c3f52",
    "faust.app.base:App._update_assignment": "39d9f315c1228325",
    "faust.app.base:App._wait_for_table_recovery_completed": "690e6aca2b9dd8a9",
    "faust.app.base:App.agent": "ae1d2b662569c68b",
    "faust.app.base:App.on_start": "480d70c6c72d042d",
    "faust.app.base:App.on_started": "c03627f2dc44a1dd",
    "faust.app.base:App.on_stop": "bfe5a933defb2324",
    "faust.app.base:App.start_client": "63354ebe94a749bd",
    "faust.app.base:App.stream": "e4b852f34a006209",
    "faust.app.base:BootStrategy.server": "97e47ea1dec34b55",
    "faust.streams:Stream.__aiter__": "e815c0e831f1d2cc",
    "faust.streams:Stream.__init__": "8a6dea3405cd68e6",
    "faust.topics:Topic.publish_message": "4ce1cbc353047a36",
    "faust.transport.base:Transport.__init__": "cfa0f03f4af26ddb",
    "faust.transport.conductor:Conductor._subscriber": "2a79085834048049",
    "faust.transport.conductor:Conductor._update_indices": "619b3247b96ac7d5",
    "faust.worker:Worker.__init__": "25a4d782432f0968",
    "faust.worker:Worker.on_first_start": "acd1c71f20c4a392",
    "faust.worker:Worker.on_startup_finished": "60faa1ca4af75221",
    "mode.services:Service._actually_start": "def664241401b666",
    "mode.services:Service.crash": "14980000465df0af",
    "mode.services:Service.stop": "e17cd2b6bd01e861",
    "mode.supervisors:ForfeitOneForOneSupervisor.restart_services": "e7ff448f087df849",
    "mode.worker:Worker.default_on_first_start": "09c96afd65d5d27a",
    "mode.worker:Worker.install_signal_handlers": "5cb3d584d58fd7cd",
    "mode.worker:Worker.on_started": "980abe7a0cbcc3b0",
}


def fingerprint(name: str) -> str:
    """The fingerprint of "module:qualified name" as it is installed; "missing" if it is gone."""
    module, _, path = name.partition(":")
    try:
        found = reduce(inspect.getattr_static, path.split("."), importlib.import_module(module))
    except AttributeError:
        return "missing"
    source = inspect.getsource(_function(found))
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def changed() -> list[str]:
    """What differs from what the engine was written against, in words; empty when nothing does."""
    versions = [
        f"{package} is {version(package)}, the engine was written against {pinned}"
        for package, pinned in PINNED_VERSIONS.items()
        if version(package) != pinned
    ]
    sources = [
        f"{name} has changed: {found} instead of {pinned}"
        for name, pinned in PINNED_SOURCES.items()
        if (found := fingerprint(name)) != pinned
    ]
    return versions + sources


def _function(found: Any) -> Any:
    # Properties and service tasks wrap the function whose source counts.
    for attribute in ("fget", "fun"):
        found = getattr(found, attribute, found)
    return inspect.unwrap(found)
