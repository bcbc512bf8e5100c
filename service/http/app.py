"""The ASGI application of the web port: routes, keys, origins, sizes, counters; errors into statuses.

Choices are made right on the event loop: they wait for nothing and take microseconds. Batches of them run on threads that
give way. Events wait for the store: few in a group with others', many on a thread. Of both a bounded number, so that a slow
store is told of instead of hidden in a queue.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from time import perf_counter
from urllib.parse import parse_qs

import structlog

from service.errors import DeniedError, ExhaustedError, InvalidError, LeverError, UnauthenticatedError
from service.http.cors import Cors
from service.http.handlers import ofrep
from service.http.handlers.backend import Backend
from service.http.handlers.batches import Batches
from service.http.handlers.choices import Choices
from service.http.handlers.events import Batch, Collector, replied
from service.http.heads import Heads
from service.http.messages import Receive, Reply, Request, Scope, Send, refused
from service.http.openapi import document
from service.http.route import Route
from service.process.pool import Pool
from service.security.api_keys import SCOPES, Access, Key
from service.serving.group_commit import Answers, GroupCommit, Waiting
from service.serving.rewarder import RewardAnswer
from service.telemetry.faults import Faults
from service.telemetry.metrics import Metrics

FLAGS = "/ofrep/v1/evaluate/flags"
FLAG = FLAGS + "/"
MANY_BYTES = 2 << 20  # what bounded.py takes of any body
BATCHES = 8  # that wait for one of two threads
RETRY_S = 1.0
_ANYONE = Key("anyone", "", frozenset(SCOPES))


class TooLargeError(InvalidError):
    """The body is larger than the route takes."""


_POOL = ("web",)  # the label of `lever_shed_total`


class WebApp:
    """The ASGI application. `threads` run what waits for the store, with `waiting` more requests in line at most."""

    def __init__(
        self, backend: Backend, access: Access | None, metrics: Metrics, threads: int = 16, waiting: int = 256
    ) -> None:
        choices, flags, collector = Choices(backend), ofrep.Ofrep(backend), Collector(backend)
        self._access = access
        self._cors = Cors(access)
        events, batches = Pool("events", threads, waiting), Pool("batches", 2, BATCHES, patient=True)
        self._pools = (events, batches)
        self._count = metrics.http_requests.hit
        self._shed = metrics.shed.hit
        metrics.shed.add(_POOL, 0)  # a rate needs the series before its first refusal
        self.faults = Faults(metrics, "http")
        self.heads = Heads()
        self._log = structlog.get_logger("lever.web")
        self._group = GroupCommit(collector.count, waiting, self.faults.note)
        self._group.start()
        self._document = document()
        self._flag = Route("ofrep_flag", "POST", flags.single, "decide", fail=ofrep.failed)
        self._routes = {
            FLAGS: Route("ofrep_flags", "POST", flags.bulk, "decide", fail=ofrep.failed),
            "/v1/select": Route("select", "POST", choices.select, "decide"),
            "/v1/select-batch": Route(
                "select_batch", "POST", Batches(backend).select, "decide", MANY_BYTES, pool=batches
            ),
            "/v1/events": Route(
                "events", "POST", collector.collect, "reward", MANY_BYTES, pool=events, few=collector.few
            ),
            "/openapi.json": Route("openapi", "GET", lambda _: Reply(200, self._document)),
        }
        names = ("unknown", self._flag.name, *(route.name for route in self._routes.values()))
        self._seconds = {name: metrics.http_seconds.child((name,)) for name in names}
        self._well = {name: (name, "200") for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        begun = perf_counter()
        route, tail = self.route(scope["path"])
        if route is None:
            name, reply = "unknown", Reply(404, b'{"error":{"code":"NOT_FOUND","message":"no such path"}}')
        else:
            name, reply = route.name, await self._answer(route, tail, scope, receive)
        await _send(reply, send)
        self._count((name, str(reply.status)))
        self._seconds[name](perf_counter() - begun)

    def route(self, path: str) -> tuple[Route | None, str]:
        """The route of a path, and what the path has beyond it."""
        route = self._routes.get(path)
        if route is None and path.startswith(FLAG):
            return self._flag, path[len(FLAG) :]
        return route, ""

    def at_once(self, route: Route, tail: str, headers: Mapping[bytes, bytes], body: bytes | None) -> Reply:
        """Answer a request of the route's method that is here as a whole; `body` None: it was too large.

        For routes that do not wait. What fast_protocol.py calls instead of going through ASGI.
        """
        begun = perf_counter()
        origin = headers.get(b"origin")
        extra = () if origin is None else self._cors.readable(origin)
        try:
            key = self._key(route, headers, b"")
            if origin is not None:
                extra = self._cors.check(origin, key)
            if body is None:
                raise _too_large(route.limit)  # noqa: TRY301  # one way for all errors
            reply = route.handle(Request(tail, headers, body, key))
        except Exception as error:  # noqa: BLE001  # whatever it is, the caller gets a status and nothing else
            reply = self._refusal(route, tail, error)
        name = route.name
        self._count(self._well[name] if reply.status == 200 else (name, str(reply.status)))
        self._seconds[name](perf_counter() - begun)
        return reply._replace(headers=reply.headers + extra) if extra else reply

    def close(self) -> None:
        """End the threads."""
        self._group.stop()
        for pool in self._pools:
            pool.shutdown()

    async def _answer(self, route: Route, tail: str, scope: Scope, receive: Receive) -> Reply:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        origin = headers.get(b"origin")
        method = scope["method"]
        if method == "OPTIONS" and origin is not None:
            return self._cors.preflight(origin)
        if method != route.method and not (method == "HEAD" and route.method == "GET"):
            return _wrong_method(route)
        extra = () if origin is None else self._cors.readable(origin)
        try:
            key = self._key(route, headers, scope["query_string"])
            if origin is not None:
                extra = self._cors.check(origin, key)
            request = Request(tail, headers, await _body(receive, route.limit), key)
            reply = await self._waited(route, route.pool, request) if route.pool else route.handle(request)
        except Exception as error:  # noqa: BLE001  # as above
            reply = self._refusal(route, tail, error)
        if method == "HEAD":
            reply = reply._replace(body=b"")
        return reply._replace(headers=reply.headers + extra) if extra else reply

    def _key(self, route: Route, headers: Mapping[bytes, bytes], query: bytes) -> Key:
        """Who asks. Raises UnauthenticatedError, DeniedError."""
        if self._access is None or not route.scope:
            return _ANYONE
        key = self._access.find(_credential(headers))
        if key is None and b"key=" in query:
            given = parse_qs(query.decode("latin-1")).get("key", [""])[0]
            key = self._access.find(f"Bearer {given}")
            if key is not None and not key.public:
                raise DeniedError("only a public key may be in a URL: URLs end up in logs")
        if key is None:
            raise UnauthenticatedError("an API key is needed, as the header `authorization: Bearer KEY`")
        if route.scope not in key.scopes:
            raise DeniedError(f"this API key does not have the scope {route.scope!r}")
        return key

    async def _waited(self, route: Route, pool: Pool, request: Request) -> Reply:
        batch = route.few(request) if route.few is not None else None
        if batch is not None:
            return replied(batch, await self._in_group(batch))
        if pool.full:
            raise self._overloaded()
        return await asyncio.get_running_loop().run_in_executor(pool, route.handle, request)

    async def _in_group(self, batch: Batch) -> Sequence[RewardAnswer]:
        """What became of the events, once they were counted."""
        if not batch.events:
            return ()
        if self._group.full:
            raise self._overloaded()
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Answers] = loop.create_future()

        def done(answers: Answers) -> None:
            loop.call_soon_threadsafe(_tell, told, answers)

        self._group.put(Waiting([*batch.events.values()], float("inf"), done))
        answers = await told
        if isinstance(answers, Exception):
            raise answers
        return answers

    def _overloaded(self) -> ExhaustedError:
        self._shed(_POOL)
        return ExhaustedError("overloaded: too many requests wait", "OVERLOADED", RETRY_S)

    def _refusal(self, route: Route, tail: str, error: Exception) -> Reply:
        """An error as the route tells it. Of a fault of ours the story goes to the log, its number to the caller."""
        if isinstance(error, LeverError):
            return _failed(route, tail, error)
        name = secrets.token_hex(6)
        self._log.error("incident", request_id=name, exc_info=error)
        return _failed(route, tail, LeverError(f"internal error, incident {name}"))


def _tell(told: asyncio.Future[Answers], answers: Answers) -> None:
    if not told.done():  # whose request is gone
        told.set_result(answers)


def _credential(headers: Mapping[bytes, bytes]) -> str | None:
    """The `authorization` header, or what it would be where OFREP's other one is used."""
    given = headers.get(b"authorization")
    if given is not None:
        return given.decode("latin-1")
    given = headers.get(b"x-api-key")
    return None if given is None else f"Bearer {given.decode('latin-1')}"


async def _body(receive: Receive, limit: int) -> bytes:
    """The whole body. TooLargeError; what is left of it is not kept. InvalidError: the client went away before its end."""
    message = await receive()
    parts, size = [message.get("body", b"")], len(message.get("body", b""))
    while message.get("more_body") and size <= limit:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if message["type"] != "http.request":
        raise InvalidError.field("body", "ended early")
    if size > limit:
        raise _too_large(limit)
    return b"".join(parts)


def _too_large(limit: int) -> InvalidError:
    return TooLargeError.field("body", f"is larger than {limit:,} bytes")


def _failed(route: Route, tail: str, error: LeverError) -> Reply:
    if route.fail is refused:
        reply = refused(error)
        return reply._replace(status=413) if isinstance(error, TooLargeError) else reply
    return ofrep.failed(error, tail or None)


def _wrong_method(route: Route) -> Reply:
    error = InvalidError.field("method", f"only {route.method}")
    return _failed(route, "", error)._replace(status=405, headers=((b"allow", f"{route.method}, OPTIONS".encode()),))


async def _send(reply: Reply, send: Send) -> None:
    headers = [*reply.headers]
    if reply.kind:
        headers += [(b"content-type", reply.kind), (b"content-length", str(len(reply.body)).encode())]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
