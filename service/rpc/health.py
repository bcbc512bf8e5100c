"""grpc.health.v1.Health: checks, and watches that are told of every change.

The servicer of grpc_health sends to its watchers under the lock that grpc's serving thread takes when one of them goes
away. The two can then wait for each other, and with that thread stops every call but those of the fast path. Here nothing is
sent under a lock that grpc's thread takes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.errors import NotFoundError

Response: Any = health_pb2.HealthCheckResponse  # the package has no types
Send = Callable[[Any], None]


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # as above
    """Statuses by name, and who wants to hear of them."""

    def __init__(self) -> None:
        self._sending = threading.Lock()  # whoever sends holds it, so that what was last is told last
        self._lock = threading.Lock()  # held for moments only, by grpc's serving thread too
        self._statuses: dict[str, int] = {}
        self._watchers: dict[str, set[Send]] = {}

    def set(self, service: str, status: int) -> None:
        """Change a status, and tell those who watch it."""
        with self._sending:
            with self._lock:
                self._statuses[service] = status
                watchers = tuple(self._watchers.get(service, ()))
            for send in watchers:
                send(Response(status=status))

    def end(self) -> None:
        """The server stops: say so under every name."""
        for service in tuple(self._statuses):
            self.set(service, Response.NOT_SERVING)

    def Check(self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext) -> Any:
        """The status now."""
        status = self._statuses.get(request.service)
        if status is None:
            raise NotFoundError("service", f"{request.service!r} is not served here")
        return Response(status=status)

    def Watch(self, request: health_pb2.HealthCheckRequest, context: Any, send: Send) -> None:
        """The status now and whenever it changes; holds no thread, as grpc passes `send`."""
        service = request.service

        def forget() -> None:
            with self._lock:
                self._watchers.get(service, set()).discard(send)

        with self._sending:
            with self._lock:
                status = self._statuses.get(service, Response.SERVICE_UNKNOWN)
                self._watchers.setdefault(service, set()).add(send)
            if context.add_callback(forget):
                send(Response(status=status))
            else:  # it is gone already
                forget()

    Watch.experimental_non_blocking = True  # type: ignore[attr-defined]
