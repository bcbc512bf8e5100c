"""One unary method on a completion queue and a thread of its own, beside everything else of grpc's server.

grpc's sync server spends three quarters of an empty call's CPU in Python: a lock and a condition a call, a context
manager, a hand-over to a pool, four events. Its core needs three events and one batch of operations. So a method
that never waits is registered with the core under its path and answered here, from the bytes of the request to the
bytes of the answer; port, connections, TLS, limits and shutdown stay grpc's (docs/performance.md has the figures).

grpc has no public way to say so: this uses `grpc._cython.cygrpc` as grpc/_server.py does, and reaches for the server's
core object. Where they are not as tested `available` says no, and the method gets a pool as everything else.

What waits is bounded: more than so many calls whose turn has not come, and the next is refused before it is read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter, sleep
from typing import Any

import grpc
import structlog
from grpc import _server as private

from service.process.fast_path import obstacle
from service.rpc.status import Ending
from service.telemetry.faults import Faults

_core: Any = getattr(private, "cygrpc", None)  # the stubs do not know it

Metadata = tuple[tuple[str, str | bytes], ...]
# (request, metadata, deadline as time.time(), time.perf_counter() when it came) -> the answer's bytes, or how the call
# ends without one.
Answer = Callable[[bytes, Metadata, float, float], bytes | Ending]

UNTESTED = "1.86"  # the first grpcio that this was not tested with; pyproject.toml says the same
_NAMES = (
    "CompletionQueue", "ReceiveMessageOperation", "ReceiveCloseOnServerOperation", "SendInitialMetadataOperation",
    "SendMessageOperation", "SendStatusFromServerOperation",
)  # fmt: skip
_METHODS = ("register_method", "register_completion_queue", "request_registered_call")
# Calls that the core may hand over before it is asked for more. When the server stops, these are answered still; what
# the core holds beyond them is cancelled.
_AHEAD = 64
_PAUSE_S = 0.05  # before the core is asked again, where it refused
_NO_MESSAGE = Ending(grpc.StatusCode.UNIMPLEMENTED, "exactly one request message is needed")
_FAULT = Ending(grpc.StatusCode.INTERNAL, "internal error")


def available(server: grpc.Server) -> bool:
    """Whether this grpc is built as a FastUnary needs it. Where it is not, one line of the log says why."""
    core = getattr(getattr(server, "_state", None), "server", None)
    why = obstacle("grpcio", UNTESTED, ((_core, _NAMES), (core, _METHODS)))
    if why:
        structlog.get_logger("lever.fast_path").warning(
            "Select is answered by grpc's own threads, at about twice the cost", reason=why
        )
    return not why


class FastUnary:
    """Make it before the server starts; `start` after that. It ends when the server has stopped."""

    def __init__(
        self,
        server: grpc.Server,
        path: str,
        answer: Answer,
        waiting: int,
        full: Callable[[], Ending],
        faults: Faults,
    ) -> None:
        """`full` gives the end of a call that comes while more than `waiting` wait; `faults` hears of our own."""
        core: Any = server._state.server  # type: ignore[attr-defined]  # noqa: SLF001  # see above
        self._queue = _core.CompletionQueue()
        self._method = path
        self._answer = answer
        self._asked = 0  # calls that the core was asked for and has not given
        self._open = 0  # calls that it gave and that are not over
        self._queued = 0  # of these, whose turn has not come
        self._ending = False
        self._most, self._full, self._faults = waiting, full, faults
        self._request = core.request_registered_call
        core.register_method(path)
        core.register_completion_queue(self._queue)
        self._thread = threading.Thread(target=self._run, name="lever-choices", daemon=True)

    def start(self) -> None:
        """Take calls."""
        self._ask()
        self._thread.start()

    def _ask(self) -> None:
        """Ask the core for calls, until it has been asked for enough. What it refuses is asked for again later."""
        try:
            while self._asked < _AHEAD and not self._ending:
                self._request(self._queue, self._queue, self._method, self._come)
                self._asked += 1
        except ValueError:  # the server shuts down
            self._ending = True
        except Exception as error:  # noqa: BLE001 - no fault may end the only thread, here and below
            self._faults.note(error)

    def _run(self) -> None:
        """Each event's tag is what to do with it. Ends when the server gave back what it was asked for."""
        poll = self._queue.poll
        while self._asked or self._open or not self._ending:
            if not (self._asked or self._open):  # the core refused every time
                sleep(_PAUSE_S)
                self._ask()
                continue
            try:
                event = poll()
                event.tag(event)
            except Exception as error:  # noqa: BLE001
                self._faults.note(error)
                sleep(_PAUSE_S)  # should it be for good
            event = None  # as grpc does: the core counts what is still referred to
        self._queue.shutdown()

    def _come(self, event: Any) -> None:
        """A call came, or the server shuts down."""
        self._asked -= 1
        if not event.success:
            self._ending = True
            return
        self._ask()
        self._open += 1
        call = event.call
        try:
            self._take(call, event)
        except Exception as error:  # noqa: BLE001
            self._fail(call, error)

    def _take(self, call: Any, event: Any) -> None:
        """Ask for the call's message, and answer once it is here; or refuse the call."""
        begun, metadata, deadline = perf_counter(), event.invocation_metadata, event.call_details.deadline
        if self._queued > self._most:
            self._send(call, self._full())
            return

        def arrived(event: Any) -> None:
            self._queued -= 1
            try:
                message = event.batch_operations[0].message()
                self._send(call, _NO_MESSAGE if message is None else self._answer(message, metadata, deadline, begun))
            except Exception as error:  # noqa: BLE001
                self._fail(call, error)

        call.start_server_batch((_core.ReceiveMessageOperation(0),), arrived)
        self._queued += 1

    def _send(self, call: Any, made: bytes | Ending) -> None:
        """Everything at once; its event comes when the call is over."""
        if isinstance(made, bytes):
            message: tuple[Any, ...] = (_core.SendMessageOperation(made, 0),)
            status = _core.SendStatusFromServerOperation(None, 0, b"", 0)
        else:
            message, code = (), made.code.value[0]
            status = _core.SendStatusFromServerOperation(made.trailing_metadata, code, made.details.encode(), 0)
        start = _core.SendInitialMetadataOperation(None, 0)
        # The last step: where it or anything before it raises, nothing was sent and no event will come.
        call.start_server_batch((start, *message, status, _core.ReceiveCloseOnServerOperation(0)), self._over)

    def _fail(self, call: Any, error: Exception) -> None:
        """A fault of ours: this call gets INTERNAL, and nothing else changes."""
        self._faults.note(error)
        try:
            self._send(call, _FAULT)
        except Exception as again:  # noqa: BLE001
            self._faults.note(again)
            self._open -= 1  # the core cancels it when nobody refers to it any more

    def _over(self, event: Any) -> None:
        self._open -= 1
