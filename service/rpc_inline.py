"""Choices on grpc's own thread: no queue, no hand-over, no waiting for a thread to wake.

grpc's sync server hands every call to a pool before its message is there; the pool's thread then asks for the
message and sleeps until grpc's thread wakes it. That is two switches of threads a call, a third of an empty call's
cost (docs/performance.md). A choice waits for nothing, so it may run where the message arrives. grpc has no public
way to say so: this stands in for the pool that grpc finds at a behaviour, and uses three of grpc's private functions.
Where they are not as we know them `available` says no, and choices get a pool as everything else has.

What waits, waits inside grpc's core, which takes a bounded number of calls and refuses the rest.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from concurrent import futures
from typing import Any

from grpc import _server as private

from service.interceptors import Pool

_RESPOND = (
    "rpc_event", "state", "behavior", "argument_thunk", "request_deserializer", "response_serializer",
)  # fmt: skip
_core: Any = getattr(private, "cygrpc", None)  # the stubs do not know it
_ABORT = ("state", "call", "code", "details")
_NO_MESSAGE = b"exactly one request message is needed"
_RECEIVE = ("state", "call", "request_deserializer")


def available() -> bool:
    """Whether this grpc is built as `Inline` needs it."""
    try:
        respond = tuple(inspect.signature(private._unary_response_in_pool).parameters)  # noqa: SLF001
        receive = tuple(inspect.signature(private._receive_message).parameters)  # noqa: SLF001
        operation = _core.ReceiveMessageOperation
        abort = tuple(inspect.signature(private._abort).parameters)  # noqa: SLF001
        marks = private._RECEIVE_MESSAGE_TOKEN, private._CLOSED  # noqa: SLF001
    except (AttributeError, ValueError):
        return False
    known = (respond, receive, abort) == (_RESPOND, _RECEIVE, _ABORT)
    return known and callable(operation) and all(isinstance(mark, str) for mark in marks)


class Inline(Pool):
    """Stands in for a pool of threads; only for unary behaviours that never wait."""

    def __init__(self, name: str) -> None:
        super().__init__(name, 1, 0)  # its thread is never started
        self._begun: futures.Future[None] = futures.Future()
        self._begun.set_result(None)

    def submit(self, call: Callable[..., Any], /, *given: Any, **named: Any) -> futures.Future[Any]:
        """Ask for the call's message; the behaviour runs when it is there. `call` is grpc's: run(respond, event, ...)."""
        respond, event, state, behaviour, _, deserializer, serializer = given
        receive = private._receive_message(state, event.call, deserializer)  # noqa: SLF001

        def arrived(received: Any) -> Any:
            done = receive(received)
            request, state.request = state.request, None
            if request is not None:
                call(respond, event, state, behaviour, lambda: request, deserializer, serializer)
            elif state.client is private._CLOSED and not state.statused:  # noqa: SLF001
                with state.condition:  # as grpc answers a call that ends without a message
                    private._abort(state, event.call, _core.StatusCode.unimplemented, _NO_MESSAGE)  # noqa: SLF001
            return done

        # grpc holds the state's lock here, and its events come one by one on this same thread.
        event.call.start_server_batch((_core.ReceiveMessageOperation(0),), arrived)
        state.due.add(private._RECEIVE_MESSAGE_TOKEN)  # noqa: SLF001
        return self._begun


def choices(threads: int, waiting: int) -> Pool:
    """The pool of choices: `threads` of their own, or with 0 none where grpc allows it."""
    if threads == 0 and available():
        return Inline("choices")
    return Pool("choices", threads or 4, waiting)
