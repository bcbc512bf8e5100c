"""Which handler a call gets: its own, or one that refuses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc

from service.errors import UnauthenticatedError
from service.process.pool import Pool
from service.rpc.admission import stranger
from service.rpc.guard import Handler
from service.security.api_keys import Access


@dataclass(frozen=True, slots=True)
class Method:
    """A method and what stands in for it: `full` while too many wait for `pool`, `denied` for keys without `scope`.

    An empty scope is open to everybody.
    """

    handler: Handler[Any, Any]
    pool: Pool | None = None
    full: Handler[Any, Any] | None = None
    scope: str = ""
    denied: Handler[Any, Any] | None = None


class Dispatcher(grpc.GenericRpcHandler):
    """Finds a call's handler, or one that refuses it: for want of a key, or as too many wait for the handler's pool.

    Asked on grpc's own thread, once a call, before the call is queued: strangers take no place in any queue. grpc's
    maximum_concurrent_rpcs counts all calls together; here a slow store that fills the rewards' pool never costs a
    choice its place.
    """

    def __init__(self, access: Access | None, unknown: Handler[Any, Any]) -> None:
        """Without `access` nobody needs a key; `unknown` answers those who come without one."""
        self._access = access
        self._unknown = unknown
        self._methods: dict[str, Method] = {}

    def add(self, path: str, method: Method) -> None:
        """Serve `/service/method`."""
        self._methods[path] = method

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler[Any, Any] | None:
        """The handler for this call; None where there is no such method."""
        method = self._methods.get(handler_call_details.method)
        if method is None:
            return None
        if self._access is not None and method.scope:
            why = stranger(self._access, method.scope, handler_call_details.invocation_metadata)
            if why is not None:
                return self._unknown if isinstance(why, UnauthenticatedError) else method.denied
        return method.full if method.pool is not None and method.pool.full else method.handler
