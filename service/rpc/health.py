"""grpc.health.v1.Health: statuses by name, and those who watch them.

Watches live on the thread of a queue: no lock is taken and nothing waits for a watcher. One that does not read what it was
told is dropped; there are at most so many. One that was told nothing in between hears of what is now.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.errors import ExhaustedError, NotFoundError
from service.rpc.requests.reading import MALFORMED, malformed, reader
from service.rpc.status import Ending
from service.rpc.unary.calls import Call
from service.rpc.unary.grpc_core import core

if TYPE_CHECKING:
    from service.rpc.unary.fast_unary import FastUnary

Response: Any = health_pb2.HealthCheckResponse  # the package has no types
MOST = 256
PATIENCE_S = 5.0  # what a watcher was told is read by then

_FULL = Ending.of(ExhaustedError(f"{MOST} watches are open, which is the most", "TOO_MANY_WATCHES", 1.0))
_MALFORMED = Ending.of(malformed())
_read = reader(health_pb2.HealthCheckRequest.FromString, at_once=True)


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # as above
    """Setting a status is an assignment: it waits for nobody, and whoever answers or watches reads it."""

    def __init__(self) -> None:
        self._statuses: dict[str, int] = {}

    def set(self, service: str, status: int) -> None:
        """Change a status."""
        self._statuses[service] = status

    def end(self) -> None:
        """The server stops: say so under every name."""
        for service in tuple(self._statuses):
            self._statuses[service] = Response.NOT_SERVING

    def status(self, service: str) -> int:
        """The status now, as a watch has it."""
        status: int = self._statuses.get(service, Response.SERVICE_UNKNOWN)
        return status

    def Check(self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext) -> Any:
        """The status now."""
        status = self._statuses.get(request.service)
        if status is None:
            raise NotFoundError("service", f"{request.service!r} is not served here")
        return Response(status=status)

    def List(self, request: Any, context: grpc.ServicerContext) -> Any:
        """All statuses."""
        made: Any = health_pb2.HealthListResponse()
        for service, status in tuple(self._statuses.items()):
            made.statuses[service].status = status
        return made


class _Watch:
    """One watcher, and since when what it was told is under way (0: it has read it)."""

    __slots__ = ("service", "since", "told")

    def __init__(self, service: str) -> None:
        self.service = service
        self.told: int | None = None
        self.since = 0.0


class Watches:
    """All watchers of a server."""

    def __init__(self, status: Callable[[str], int], count: Callable[[], None]) -> None:
        """`status` of a service by name; `count` hears of watchers that are refused or dropped."""
        self._status = status
        self._count = count
        self._open: dict[Call, _Watch] = {}
        self._queue: FastUnary | None = None

    def take(self, queue: FastUnary, call: Call, message: bytes) -> None:
        """A watch begins: the status now."""
        self._queue = queue
        request = _read(message)
        if request is MALFORMED:
            queue.end(call, _MALFORMED)
            return
        if len(self._open) >= MOST:
            self._count()
            queue.end(call, _FULL)
            return
        call.left -= 1  # there is no answer that ends it
        watch = self._open[call] = _Watch(request.service)
        self._say(call, watch, perf_counter())

    def gone(self, call: Call) -> None:
        """The call is over."""
        self._open.pop(call, None)

    def tell(self, now: float) -> None:
        """Tell every watcher what changed; drop those who do not read."""
        for call, watch in list(self._open.items()):
            if not watch.since:
                if self._status(watch.service) != watch.told:
                    self._say(call, watch, now)
            elif now - watch.since > PATIENCE_S:
                del self._open[call]
                self._count()
                call.core.cancel()

    def _say(self, call: Call, watch: _Watch, now: float) -> None:
        status = self._status(watch.service)
        first = (core.SendInitialMetadataOperation(None, 0),) if watch.told is None else ()
        message: Any = health_pb2.HealthCheckResponse(status=status)
        operations = (*first, core.SendMessageOperation(message.SerializeToString(), 0))
        call.core.start_server_batch(operations, (self._said, (call, watch)))
        call.left += 1
        watch.told, watch.since = status, now

    def _said(self, told: tuple[Call, _Watch], event: Any) -> None:
        call, watch = told
        watch.since = 0.0
        if self._queue is not None:
            self._queue.less(call)
