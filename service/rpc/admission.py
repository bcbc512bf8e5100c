"""Who is let in: by the API key in a call's metadata and the scope that a method takes. And how one is told who is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from service.errors import DeniedError, LeverError, UnauthenticatedError
from service.rpc.pools import Here
from service.rpc.status import Ending
from service.security.api_keys import HEADER, Access

Admit = Callable[[Any], Ending | None]  # by a call's metadata: how it ends where it is not let in


def admission(access: Access | None, scope: str) -> Admit:
    """What tells whether a call's metadata lets it in, as the dispatcher does; without `access` everybody is.

    How a call ends is made once: made for each, that was a third of what it costs to refuse one.
    """
    if access is None or not scope:
        return lambda _: None
    scopes, nobody, other = access.scopes, Ending.of(unknown()), Ending.of(denied(scope))

    def admit(metadata: Any) -> Ending | None:
        allowed = scopes(_authorization(metadata))
        if allowed is None:
            return nobody
        return None if scope in allowed else other

    return admit


def stranger(access: Access, scope: str, metadata: Any) -> LeverError | None:
    """Why the caller may not have what takes `scope`; None where it may."""
    scopes = access.scopes(_authorization(metadata))
    if scopes is None:
        return unknown()
    return None if scope in scopes else denied(scope)


def unknown() -> UnauthenticatedError:
    """For callers without a good key."""
    return UnauthenticatedError("an API key is needed, as the metadata `authorization: Bearer KEY`")


def denied(scope: str) -> DeniedError:
    """For callers whose key lacks the scope."""
    return DeniedError(f"this API key does not have the scope {scope!r}")


def refusal(error: LeverError, count: Callable[[], None]) -> grpc.RpcMethodHandler[Any, Any]:
    """A handler that answers every call with this error, cheaply.

    As a stream whatever the method is, for on the wire that is the same: so the request is never read, let alone
    decoded. And on grpc's thread: sending a status waits for nothing.
    """
    status = Ending.of(error)

    def call(requests: Any, context: grpc.ServicerContext, send: Callable[[Any], None]) -> None:
        count()
        context.abort_with_status(status)

    behaviour: Any = call
    behaviour.experimental_non_blocking = True
    behaviour.experimental_thread_pool = Here()
    handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(behaviour)
    return handler


def _authorization(metadata: Any) -> str | None:
    """The first `authorization` of a call's metadata."""
    for name, value in metadata:
        if name == HEADER:
            return str(value)
    return None
