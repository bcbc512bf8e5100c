"""The console as an ASGI application: the page and its files, and small JSON endpoints that make the calls of gRPC.

Who asks shows an API key as everywhere (`authorization: Bearer KEY`), where keys are asked for; there are no cookies, so no
other site can act in a visitor's name. Without keys nothing can be changed here.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog

from service.console.files import File, files, pack, tag
from service.console.reads import Asked, Reads
from service.console.refusals import faulted, lonely
from service.console.worker import FaultError, Worker
from service.console.writes import Writes
from service.errors import DeniedError, InvalidError, LeverError, NotFoundError, UnauthenticatedError
from service.http.messages import JSON, Receive, Reply, Scope, Send, refused
from service.security.api_keys import HEADER, Access
from service.telemetry.exposition import Exposition

ROOT, FILES, API = "/", "/console/", "/console/api/"
BODY_BYTES = 1 << 20
SECURITY = (
    (b"content-security-policy", (
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)  # fmt: skip

Handle = Callable[[Asked], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What answers under a name; `scope` is what a caller's key must allow, "" for none."""

    method: str
    handle: Handle
    scope: str = "read"


class Console:
    """The application. `local`: it is reached from this machine only. `mutual`: gRPC asks for clients' certificates."""

    def __init__(
        self, worker: str, exposition: Exposition, access: Access | None, *, local: bool = True, mutual: bool = False
    ) -> None:
        calls = Worker(worker)
        self._access = access
        self._local, self._mutual = local, mutual
        reads, writes = Reads(calls, exposition, access), Writes(calls)
        self._log = structlog.get_logger("lever.console")
        # By what stands after the API's root; `*` is the name of an experiment.
        self._endpoints = {
            ("session",): Endpoint("GET", reads.session, ""),
            ("health",): Endpoint("GET", reads.health),
            ("experiments",): Endpoint("GET", reads.experiments),
            ("explain",): Endpoint("POST", reads.explain),
            ("experiments", "*"): Endpoint("GET", reads.experiment),
            ("experiments", "*", "report"): Endpoint("GET", reads.report),
            ("experiments", "*", "timeline"): Endpoint("GET", reads.timeline),
            ("experiments", "*", "history"): Endpoint("GET", reads.history),
            ("experiments", "*", "state"): Endpoint("POST", writes.state, "admin"),
            ("experiments", "*", "exclude"): Endpoint("POST", writes.exclude, "admin"),
            ("experiments", "*", "include"): Endpoint("POST", writes.include, "admin"),
            ("apply",): Endpoint("POST", writes.apply, "admin"),
        }

    @staticmethod
    def takes(path: str) -> bool:
        """Whether a path is the console's."""
        return path == ROOT or path.startswith(FILES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path, headers = scope["path"], dict(scope["headers"])
        if path.startswith(API):
            reply = await self._answer(path[len(API) :], scope, headers, receive)
        else:
            reply = _file("index.html" if path == ROOT else path[len(FILES) :], scope["method"])
        await _send(reply, scope["method"], headers, send)

    async def _answer(self, path: str, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive) -> Reply:
        try:
            return await self._judged(path, scope, headers, receive)
        except FaultError as error:
            return faulted(error.fault)
        except LeverError as error:
            return refused(error)
        except Exception as error:  # noqa: BLE001  # whatever it is, the caller gets a status and nothing else
            name = secrets.token_hex(6)
            self._log.error("incident", request_id=name, exc_info=error)
            return refused(LeverError(f"internal error, incident {name}"))

    async def _judged(self, path: str, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive) -> Reply:
        endpoint, name = self._endpoint(path)
        if scope["method"] != endpoint.method and (scope["method"], endpoint.method) != ("HEAD", "GET"):
            wrong = refused(InvalidError.field("method", f"only {endpoint.method}"))
            return wrong._replace(status=405, headers=((b"allow", endpoint.method.encode()),))
        given = headers.get(HEADER.encode(), b"").decode("latin-1")
        if self._access is None:
            lonely(headers, local=self._local, mutual=self._mutual)
        else:
            with contextlib.suppress(LeverError):  # the workers tell of it
                self._access.refresh()
        self._admit(endpoint.scope, given)
        asked = Asked(name, scope["query_string"], await _body(receive), given)
        return Reply(200, await endpoint.handle(asked))

    def _endpoint(self, path: str) -> tuple[Endpoint, str]:
        """The endpoint of a path, and the name of an experiment in it."""
        parts = path.split("/")
        shape = tuple("*" if place == 1 else part for place, part in enumerate(parts))
        endpoint = self._endpoints.get(shape)
        if endpoint is None:
            raise NotFoundError("path", "no such path")
        return endpoint, parts[1] if len(parts) > 1 else ""

    def _admit(self, scope: str, header: str) -> None:
        """Raises UnauthenticatedError and DeniedError, before anything of a request is read."""
        if not scope:
            return
        if self._access is None:
            if scope != "read":
                raise DeniedError(
                    "without API keys the console only shows: serve with --keys-file, and use a key with the scope 'admin'"
                )
            return
        scopes = self._access.scopes(header)
        if scopes is None:
            raise UnauthenticatedError("an API key is needed, as the header `authorization: Bearer KEY`")
        if scope not in scopes:
            raise DeniedError(f"this API key does not have the scope {scope!r}")


def _file(path: str, method: str) -> Reply:
    found = files().get(path)
    if found is None:
        return Reply(404, b"not found\n", kind=b"text/plain; charset=utf-8")
    if method not in ("GET", "HEAD"):
        return Reply(405, b"only GET\n", ((b"allow", b"GET, HEAD"),), b"text/plain; charset=utf-8")
    return Reply(200, found.body, kind=found.kind)


async def _send(reply: Reply, method: str, headers: Mapping[bytes, bytes], send: Send) -> None:
    """With an ETag where it is right, packed where the client can read that."""
    file = await _as_file(reply)
    status, body = reply.status, file.body
    extra = [(b"cache-control", b"no-store" if reply.kind == JSON else b"no-cache"), (b"vary", b"accept-encoding")]
    if status == 200:
        extra.append((b"etag", file.etag))
        if file.etag in headers.get(b"if-none-match", b""):
            status, body = 304, b""
    if body and file.packed and b"gzip" in headers.get(b"accept-encoding", b""):
        body = file.packed
        extra.append((b"content-encoding", b"gzip"))
    if status != 304:
        extra += [(b"content-type", reply.kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*SECURITY, *extra, *reply.headers]})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


async def _as_file(reply: Reply) -> File:
    for file in files().values():
        if file.body is reply.body:
            return file
    return await asyncio.to_thread(lambda: File(reply.kind, reply.body, pack(reply.body, 5), tag(reply.body)))


async def _body(receive: Receive) -> bytes:
    """The whole body. InvalidError where it is too large or the client went away before its end."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise InvalidError.field("body", "ended early")
        parts.append(message.get("body", b""))
        if sum(map(len, parts)) > BODY_BYTES:
            raise InvalidError.field("body", f"is larger than {BODY_BYTES:,} bytes")
        if not message.get("more_body"):
            return b"".join(parts)
