"""The site: takes a request in, says who may, reads it, has it done, and answers.

Every answer that is no success is a problem. Nothing of what was sent is repeated in one.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from models.fields import Id
from models.misread import refusal_of
from models.refusals import Denied, Reason
from streams.api.booking import Requested
from streams.api.document import document
from streams.api.endpoints import Call, Endpoint
from streams.api.keys import Key, KeyRing
from streams.api.limits import Limits
from streams.api.problems import PATH, TITLES, Problem, described
from streams.api.routes import ROUTES, Handle
from streams.health import Health
from streams.metrics import Metrics
from streams.wallets.store import RedisGone

logger = logging.getLogger(__name__)

IDEMPOTENCY_KEY = "Idempotency-Key"

_KEY = re.compile(r"\"([A-Za-z0-9._:-]{1,128})\"|([A-Za-z0-9._:-]{1,128})")
"""A string of RFC 9651, as the draft has it, of what a UUID or an order's number is made of; or
the same without its quotes, as many clients send it."""

_ID: TypeAdapter[str] = TypeAdapter(Id)

_OFTEN_FIRST = sorted(ROUTES, key=lambda one: not one.keyed)
"""Routes are tried one after the other, and what books is asked for most."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a request may take: bytes of its body, seconds for it, and how many may be under way."""

    body_bytes_max: int
    timeout_s: float
    concurrency: int


class Site:
    """The HTTP side of one process."""

    def __init__(
        self,
        handles: Mapping[str, Handle],
        keys: KeyRing,
        limits: Limits,
        bounds: Bounds,
        *,
        metrics: Metrics,
        health: Health,
    ) -> None:
        self._keys = keys
        self._limits = limits
        self._bounds = bounds
        self._metrics = metrics
        self._health = health
        self._under_way = 0
        self._document = document()
        self.app = Starlette(
            routes=[
                *(
                    Route(one.path, _Served(self, one, handles[one.name]), methods=[one.method])
                    for one in _OFTEN_FIRST
                ),
                Route("/openapi.json", self._openapi),
                Route("/healthz", self._healthz),
                Route(PATH + "{code}", self._problem),
            ],
            exception_handlers={HTTPException: _astray},
        )  # fmt: skip
        # A path with a slash too many is no other path.
        self.app.router.redirect_slashes = False

    async def answer(self, endpoint: Endpoint, handle: Handle, request: Request) -> Response:
        """What a request comes to; never raises."""
        began = perf_counter()
        self._under_way += 1
        try:
            response = await self._answer(endpoint, handle, request)
        finally:
            self._under_way -= 1
        self._metrics.requested(endpoint.name, response.status_code, perf_counter() - began)
        return response

    async def _answer(self, endpoint: Endpoint, handle: Handle, request: Request) -> Response:
        try:
            if self._under_way > self._bounds.concurrency:
                raise Problem(Denied.BUSY, retry_s=0.0)
            key = self._admitted(endpoint, request)
            call = await self._read(endpoint, key, request)
            answer = await handle(call)
        except Problem as problem:
            return problem.response()
        except RedisGone:
            return Problem(Denied.UNAVAILABLE, retry_s=1.0).response()
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it
        except Exception:
            logger.exception("%s failed", endpoint.name)
            return Problem(Denied.INTERNAL).response()
        return Response(
            answer.model_dump_json(exclude_none=True),
            endpoint.status,
            {"Cache-Control": "no-store"},
            "application/json",
        )

    def _admitted(self, endpoint: Endpoint, request: Request) -> Key:
        """Whose request it is. Raises Problem if it may not be made."""
        key = self._keys.find(request.headers.get("authorization", ""))
        if key is None:
            raise Problem(Denied.UNAUTHENTICATED)
        wait_s = self._limits.wait_s(key.id)
        if wait_s:
            raise Problem(Denied.RATE_LIMITED, retry_s=wait_s)
        if endpoint.scope not in key.scopes:
            raise Problem(Denied.SCOPE_MISSING, f"it needs the scope {endpoint.scope}")
        return key

    async def _read(self, endpoint: Endpoint, key: Key, request: Request) -> Call:
        """What is asked for. Raises Problem."""
        path = {name: _id(request, name) for name in request.path_params}
        query = None if endpoint.query is None else _asked_for(endpoint.query, request)
        idempotency_key = _idempotency_key(request) if endpoint.keyed else None
        body = None
        # The seller is in the request's id. What else it is about is bound to its key as well.
        about = [value for name, value in path.items() if name != "seller_id"]
        asked = "".join(f"{each}\n" for each in (endpoint.name, *about)).encode()
        if endpoint.body is not None:
            body = _parsed(endpoint.body, await self._body(request))
            # What is understood of it, not its bytes: a client may write the same JSON otherwise.
            asked += body.model_dump_json().encode()
        requested = None
        if idempotency_key is not None:
            requested = Requested(key.client, path["seller_id"], idempotency_key, asked)
        return Call(key, path, query, body, requested)

    async def _body(self, request: Request) -> bytes:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Problem(Denied.MEDIA_TYPE_UNSUPPORTED)
        most = self._bounds.body_bytes_max
        said = request.headers.get("content-length", "")
        body = bytearray()
        if said.isdigit() and int(said) > most:
            raise Problem(Reason.TOO_LARGE, f"at most {most} bytes")
        try:
            async with asyncio.timeout(self._bounds.timeout_s):
                while True:
                    part = await request.receive()
                    if part["type"] == "http.disconnect":
                        raise ClientDisconnect
                    body += part.get("body", b"")
                    if len(body) > most:
                        raise Problem(Reason.TOO_LARGE, f"at most {most} bytes")
                    if not part.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise Problem(Denied.BODY_TIMED_OUT) from None

    async def _openapi(self, request: Request) -> Response:
        return Response(self._document, media_type="application/json")

    async def _healthz(self, request: Request) -> Response:
        holds, details = self._health.ready()
        status = {"status": "ok" if holds else "failing", **details}
        return JSONResponse(status, 200 if holds else 503, {"Cache-Control": "no-store"})

    async def _problem(self, request: Request) -> Response:
        code = request.path_params["code"]
        for known in TITLES:
            if known == code:
                problem = described(known)
                return PlainTextResponse(f"{code}: {problem['title']} ({problem['status']})\n")
        return Problem(Denied.NOT_FOUND).response()


class _Served:
    """One endpoint, as ASGI: a function would be wrapped to catch what :meth:`Site.answer` never
    raises."""

    def __init__(self, site: Site, endpoint: Endpoint, handle: Handle) -> None:
        self._site = site
        self._endpoint = endpoint
        self._handle = handle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        response = await self._site.answer(self._endpoint, self._handle, request)
        await response(scope, receive, send)


def _id(request: Request, name: str) -> str:
    try:
        return _ID.validate_python(request.path_params[name])
    except ValidationError:
        raise Problem(Denied.NOT_FOUND, f"{name} cannot be one") from None


def _idempotency_key(request: Request) -> str:
    found = request.headers.getlist(IDEMPOTENCY_KEY)
    if not found:
        raise Problem(Denied.KEY_MISSING)
    match = _KEY.fullmatch(found[0].strip()) if len(found) == 1 else None
    if match is None:
        raise Problem(Denied.KEY_INVALID, "one string of 1 to 128 letters, digits, . _ : -")
    return str(match[1] or match[2])


def _asked_for(model: type[BaseModel], request: Request) -> BaseModel:
    pairs = request.query_params.multi_items()
    try:
        if len(dict(pairs)) < len(pairs):
            raise Problem(Reason.INVALID_FIELD, "a parameter comes twice")
        return model.model_validate_strings(dict(pairs))
    except ValidationError as error:
        refused = refusal_of(b"", error.errors(include_url=False, include_input=False)[0])
    raise Problem(refused.reason, refused.detail)


def _parsed(model: type[BaseModel], body: bytes) -> BaseModel:
    if not body:
        raise Problem(Reason.EMPTY)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        refused = refusal_of(body, error.errors(include_url=False, include_input=False)[0])
    raise Problem(refused.reason, refused.detail)


async def _astray(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    codes = {404: Denied.NOT_FOUND, 405: Denied.METHOD_NOT_ALLOWED}
    response = Problem(codes.get(status, Denied.INTERNAL)).response()
    if isinstance(error, HTTPException) and error.headers:
        response.headers.update(error.headers)
    return response
