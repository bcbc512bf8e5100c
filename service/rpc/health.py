"""grpc.health.v1.Health: statuses by name. Watches are those of watches.py; here nothing is sent to anybody."""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.errors import NotFoundError

Response: Any = health_pb2.HealthCheckResponse  # the package has no types


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
