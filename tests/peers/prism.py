"""Stoplight's Prism: an HTTP server that holds requests against an OpenAPI document, and makes up
the answers from it. It shares nothing with us but the document."""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from streams.demo.process import free_port
from tests.rails import specs

MANIFEST = Path(__file__).with_name("package.json")
VERSION = json.loads(MANIFEST.read_text())["dependencies"]["@stoplight/prism-cli"]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "payout-streams"
COMMAND = CACHE / f"prism-{VERSION}" / "node_modules" / ".bin" / "prism"
READY_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 60.0


def missing(document: str) -> str | None:
    """Why there can be no Prism of a document; None if there can."""
    if shutil.which("node") is None:
        return "there is no node here"
    if not COMMAND.exists():
        return f"Prism {VERSION} is not in the cache; `make peers` gets it"
    if not specs.available(document):
        return f"the provider's document {document} is not beside the repository (../shared/specs)"
    return None


@contextmanager
def prism(document: str, directory: Path, *, strict: bool = True) -> Iterator[str]:
    """Prism of a document, until the end of the block: its address.

    ``strict``: it answers with an error of its own where a request or its own answer breaks the
    document. It tells of a broken request in either case.
    """
    plain = directory / document
    plain.write_text(json.dumps(specs.document(document)), encoding="utf-8")  # without a BOM
    port = free_port()
    told = directory / "prism.log"
    with told.open("wb") as log:
        words = [str(COMMAND), "mock", "--host", "127.0.0.1", "--port", str(port), str(plain)]
        child = subprocess.Popen(
            [*words, *(["--errors"] if strict else [])], stdout=log, stderr=log
        )
    try:
        until = time.monotonic() + READY_TIMEOUT_S
        while not _listens(port):
            if child.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"Prism does not start: {told.read_text()[-500:]}")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Exchange:
    """One request that was passed on, and what Prism made of it."""

    operation: tuple[str, str]
    """Method and the document's path."""
    prefer: str
    status: int
    body: Any
    violations: str
    """What Prism finds wrong with the request; empty if nothing."""


class Front:
    """Passes requests on to Prism unchanged, and says which of the documented answers is wanted.

    What is in no document, the fetching of a token, is answered here: `tokens` by path. `random`:
    whether answers are asked for that Prism fills at random as well.
    """

    def __init__(
        self, document: str, prism_url: str, tokens: dict[str, object], *, random: bool
    ) -> None:
        self.document = document
        self.exchanges: list[Exchange] = []
        self.round = 0
        self.url = ""
        self._prism_url = prism_url
        self._tokens = tokens
        self._answers = answers(document, random=random)

    def use(self, operations: set[tuple[str, str]]) -> None:
        """Say which operations are looked at; KeyError for one that is not in the document."""
        self._used = {operation for operation in operations if self._answers[operation]}

    @property
    def rounds(self) -> int:
        """As many as show every documented answer of every operation."""
        return max(len(self._answers[operation]) for operation in self._used)

    def wanted(self, operation: tuple[str, str]) -> list[str]:
        """The answers that are asked for, round by round."""
        return self._answers.get(operation, [])

    async def __aenter__(self) -> "Front":
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S), auto_decompress=False
        )
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._session.close()
        await self._runner.cleanup()

    async def _pass_on(self, request: web.Request) -> web.Response:
        if request.path in self._tokens:
            return web.json_response(self._tokens[request.path])
        operation = self._operation(request)
        wanted = self._answers.get(operation, [""])
        prefer = wanted[self.round % len(wanted)]
        headers = {name: value for name, value in request.headers.items() if name != "Host"}
        if prefer:
            headers["Prefer"] = prefer
        async with self._session.request(
            request.method,
            self._prism_url + request.path_qs,
            headers=headers,
            data=await request.read(),
        ) as answer:
            body = await answer.read()
            parsed = _parsed(body)
            found = _violations(answer.headers.get("sl-violations", ""), parsed)
            self.exchanges.append(Exchange(operation, prefer, answer.status, parsed, found))
            kind = answer.headers.get("Content-Type", "application/json")
            return web.Response(status=answer.status, body=body, headers={"Content-Type": kind})

    def _operation(self, request: web.Request) -> tuple[str, str]:
        for path in specs.document(self.document)["paths"]:
            if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", path), request.path):
                return request.method, path
        return request.method, request.path


def _violations(told: str, body: object) -> str:
    """What is told of the request: a header, cut where it is long, or Prism's own error."""
    error = json.dumps(body) if "stoplight.io/prism" in str(body) else ""
    return told if '"location":["request' in told else error[:1_000]


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return None


def answers(document: str, *, random: bool) -> dict[tuple[str, str], list[str]]:
    """What Prism can be asked to answer, by operation: each status, each example, at random."""
    found: dict[tuple[str, str], list[str]] = {}
    for path, methods in specs.document(document)["paths"].items():
        for method, operation in methods.items():
            if method in {"get", "post", "put", "delete"}:
                found[method.upper(), path] = [
                    wish
                    for wish in _answers(document, operation["responses"])
                    if random or "dynamic" not in wish
                ]
    return found


def _answers(document: str, responses: dict[str, Any]) -> Iterator[str]:
    for status, response in responses.items():
        if not status.isdecimal():
            continue
        name = response.get("$ref", "").rpartition("/")[2]
        whole = specs.document(document)["components"]["responses"][name] if name else response
        yield f"code={status}"
        yield f"code={status}, dynamic=true"
        for content in whole.get("content", {}).values():
            yield from (f"code={status}, example={name}" for name in content.get("examples", {}))
