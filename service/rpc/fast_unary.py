"""A lane: one unary method on a completion queue and a thread of its own, beside everything else of grpc's server.

grpc's sync server spends three quarters of an empty call's CPU in Python: a lock and a condition a call, a context
manager, a hand-over to a pool, four events. Its core needs three events and one batch of operations. So a method
that never waits is registered with the core under its path and answered here, from the bytes of the request to the
bytes of the answer; port, connections, TLS, limits and shutdown stay grpc's (docs/performance.md has the figures).

grpc has no public way to say so: this uses `grpc._cython.cygrpc` as grpc/_server.py does, and reaches for the server's
core object. Where they are not as we know them `available` says no, and the method gets a pool as everything else.

What waits is bounded: more than so many calls whose turn has not come, and the next is refused before it is read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

import grpc
import structlog
from grpc import _server as private

from service.rpc.status import Ending

_core: Any = getattr(private, "cygrpc", None)  # the stubs do not know it

Metadata = tuple[tuple[str, str | bytes], ...]
# (request, metadata, deadline as time.time(), time.perf_counter() when it came) -> the answer's bytes, or how the call
# ends without one. Never raises.
Answer = Callable[[bytes, Metadata, float, float], bytes | Ending]

_NAMES = (
    "CompletionQueue", "ReceiveMessageOperation", "ReceiveCloseOnServerOperation", "SendInitialMetadataOperation",
    "SendMessageOperation", "SendStatusFromServerOperation",
)  # fmt: skip
_METHODS = ("register_method", "register_completion_queue", "request_registered_call")
# Calls that the core may hand over before it is asked for more. When the server stops, these are answered still; what
# the core holds beyond them is cancelled.
_AHEAD = 64
_NO_MESSAGE = Ending(grpc.StatusCode.UNIMPLEMENTED, "exactly one request message is needed")
_FAULT = Ending(grpc.StatusCode.INTERNAL, "internal error")


def available(server: grpc.Server) -> bool:
    """Whether this grpc is built as a FastUnary needs it."""
    core = getattr(getattr(server, "_state", None), "server", None)
    return all(hasattr(_core, name) for name in _NAMES) and all(hasattr(core, name) for name in _METHODS)


class FastUnary:
    """Make it before the server starts; `start` after that. It ends when the server has stopped."""

    def __init__(
        self, server: grpc.Server, path: str, answer: Answer, waiting: int, full: Callable[[], Ending]
    ) -> None:
        """`full` gives the end of a call that comes while more than `waiting` wait."""
        core: Any = server._state.server  # type: ignore[attr-defined]  # noqa: SLF001  # see above
        self._queue = _core.CompletionQueue()
        self._method = path
        self._answer = answer
        self._calls = 0  # open ones, and those asked for
        self._queued = 0  # of these, whose turn has not come
        self._most, self._full = waiting, full
        self._log = structlog.get_logger("lever.lane")
        self._request = core.request_registered_call
        core.register_method(path)
        core.register_completion_queue(self._queue)
        self._thread = threading.Thread(target=self._run, name="lever-lane", daemon=True)

    def start(self) -> None:
        """Take calls."""
        for _ in range(_AHEAD):
            self._ask()
        self._thread.start()

    def _ask(self) -> None:
        """Ask the core for one more call."""
        try:
            self._request(self._queue, self._queue, self._method, self._come)
        except ValueError:  # the server shuts down
            return
        self._calls += 1

    def _run(self) -> None:
        """Each event's tag is what to do with it. Ends when the server gave back what it was asked for."""
        poll = self._queue.poll
        while self._calls:
            event = poll()
            event.tag(event)
            event = None  # as grpc does: the core counts what is still referred to
        self._queue.shutdown()

    def _come(self, event: Any) -> None:
        """A call came, or the server shuts down."""
        if not event.success:
            self._calls -= 1
            return
        self._ask()
        begun, call, metadata = perf_counter(), event.call, event.invocation_metadata
        if self._queued > self._most:
            self._send(call, self._full())
            return
        self._queued += 1
        answer, deadline = self._answer, event.call_details.deadline

        def arrived(event: Any) -> None:
            self._queued -= 1
            message = event.batch_operations[0].message()
            try:
                self._send(call, _NO_MESSAGE if message is None else answer(message, metadata, deadline, begun))
            except Exception:  # noqa: BLE001 - one call's fault must not end the only thread
                self._log.exception("a call could not be answered")
                self._send(call, _FAULT)

        call.start_server_batch((_core.ReceiveMessageOperation(0),), arrived)

    def _send(self, call: Any, made: bytes | Ending) -> None:
        """Everything at once; its event comes when the call is over."""
        if isinstance(made, bytes):
            message: tuple[Any, ...] = (_core.SendMessageOperation(made, 0),)
            status = _core.SendStatusFromServerOperation(None, 0, b"", 0)
        else:
            message, code = (), made.code.value[0]
            status = _core.SendStatusFromServerOperation(made.trailing_metadata, code, made.details.encode(), 0)
        start = _core.SendInitialMetadataOperation(None, 0)
        call.start_server_batch((start, *message, status, _core.ReceiveCloseOnServerOperation(0)), self._over)

    def _over(self, event: Any) -> None:
        self._calls -= 1
