"""What stands around every handler: its pool, its counters, and errors turned into status codes.

Handlers are wrapped once, when they are registered. A grpc.ServerInterceptor would be asked for a handler at every
call, and a behaviour it wraps loses its `experimental_thread_pool` (grpc/_server.py reads that attribute from the
behaviour itself), so that every call would land in one pool.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NoReturn

import grpc
import structlog

from service import details
from service.errors import ExhaustedError, LeverError, UnavailableError
from service.metrics import Metrics, Rpc
from service.rpc_streams import Streams

Behaviour = Callable[..., Any]
Handler = grpc.RpcMethodHandler  # of any request and response


class Gone(Exception):  # noqa: N818  # nobody's error
    """The caller hung up while the call waited for a thread."""


class Pool(futures.ThreadPoolExecutor):
    """Threads for one kind of call, and how many calls may wait for one of them."""

    def __init__(self, name: str, threads: int, waiting: int) -> None:
        super().__init__(max_workers=threads, thread_name_prefix=name)
        self.name = name
        self.waiting = waiting
        self.queued = self._work_queue.qsize

    @property
    def full(self) -> bool:
        """Too many calls wait already."""
        return self.queued() > self.waiting


@dataclass(slots=True)
class Gate:
    """Whether calls that need the kernels and the snapshots are let in; `why` tells those who are not."""

    open: bool = False
    why: str = "starting"

    def check(self) -> None:
        """Raise UnavailableError while the gate is shut."""
        if not self.open:
            raise UnavailableError(f"not ready: {self.why}", "NOT_READY")


class Guard:
    """Wraps behaviours; one for a server."""

    def __init__(self, metrics: Metrics, streams: Streams) -> None:
        self._metrics = metrics
        self._streams = streams
        self._log = structlog.get_logger("lever.rpc")

    def wrap(self, service: str, method: str, handler: Handler[Any, Any], pool: Pool, gate: Gate) -> Handler[Any, Any]:
        """The handler with everything around it, to run in `pool`, refused while `gate` is shut."""
        behaviour: Any
        if handler.request_streaming:
            rpc = Rpc(self._metrics, "bidi_stream", service, method)
            behaviour = self._stream(_given(handler.stream_stream), rpc, gate)
            make: Any = grpc.stream_stream_rpc_method_handler
        else:
            rpc = Rpc(self._metrics, "unary", service, method)
            behaviour = self._unary(_given(handler.unary_unary), rpc, gate, pool)
            make = grpc.unary_unary_rpc_method_handler
        return _handler(make, behaviour, handler, pool)

    def refuse(self, handler: Handler[Any, Any], busy: Pool, refusals: Pool) -> Handler[Any, Any]:
        """A handler that answers RESOURCE_EXHAUSTED from the pool `refusals`, for when `busy` is full."""
        told = details.tell(ExhaustedError(f"overloaded: too many calls wait for {busy.name}", "OVERLOADED"))
        status = details.GrpcStatus(told)

        def call(request: Any, context: grpc.ServicerContext) -> None:
            self._metrics.shed.hit((busy.name,))
            context.abort_with_status(status)

        return _handler(grpc.unary_unary_rpc_method_handler, call, handler, refusals)

    def _unary(self, behaviour: Behaviour, rpc: Rpc, gate: Gate, pool: Pool) -> Behaviour:
        start, end, queued = rpc.start, rpc.end, pool.queued

        def call(request: Any, context: grpc.ServicerContext) -> Any:
            begun = perf_counter()
            start()
            try:
                if not gate.open:
                    gate.check()
                # Only where calls wait is it worth asking whether anyone still wants this one.
                if queued():
                    _still_wanted(context)
                response = behaviour(request, context)
            except Exception as error:  # noqa: BLE001  # whatever it is, the caller gets a status and nothing else
                self._fail(error, context, rpc, begun)
            end(perf_counter() - begun)
            return response

        return call

    def _stream(self, behaviour: Behaviour, rpc: Rpc, gate: Gate) -> Behaviour:
        def call(requests: Any, context: grpc.ServicerContext, send: Callable[[Any], None]) -> None:
            begun = perf_counter()
            rpc.start()
            try:
                gate.check()
                with self._streams.opened(requests, context, send) as stream:
                    for answer in behaviour(stream, context):
                        send(answer)
            except Exception as error:  # noqa: BLE001  # as above
                self._fail(error, context, rpc, begun)
            rpc.end(perf_counter() - begun)
            stream.close()

        call.experimental_non_blocking = True  # type: ignore[attr-defined]  # makes grpc pass `send`
        return call

    def _fail(self, error: Exception, context: grpc.ServicerContext, rpc: Rpc, begun: float) -> NoReturn:
        """End the call with the error's status."""
        if isinstance(error, Gone | grpc.RpcError):  # grpc raises the latter where the caller cancelled
            rpc.end(perf_counter() - begun, "CANCELLED")
            context.abort(grpc.StatusCode.CANCELLED, "the caller went away")
        told = details.tell(error if isinstance(error, LeverError) else self.incident(error))
        rpc.end(perf_counter() - begun, told.code.name)
        context.abort_with_status(details.GrpcStatus(told))
        raise AssertionError("abort raises")  # for those who read types

    def incident(self, error: Exception) -> LeverError:
        """A fault of ours: its story goes to the log, its number to the caller."""
        number = secrets.token_hex(6)
        self._log.error("incident", incident=number, exc_info=error)
        return LeverError(f"internal error, incident {number}")


class Doorman(grpc.GenericRpcHandler):
    """Finds a call's handler, or one that refuses it where too many wait for the handler's pool.

    Asked on grpc's own thread, once a call, before the call is queued. grpc's maximum_concurrent_rpcs counts all
    calls together; here a slow store that fills the rewards' pool never costs a choice its place.
    """

    def __init__(self) -> None:
        self._entries: dict[str, tuple[Handler[Any, Any], Pool | None, Handler[Any, Any] | None]] = {}

    def add(
        self, path: str, handler: Handler[Any, Any], pool: Pool | None = None, refusal: Handler[Any, Any] | None = None
    ) -> None:
        """Serve `/service/method` by `handler`, or by `refusal` while `pool` is full."""
        self._entries[path] = (handler, pool, refusal)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler[Any, Any] | None:
        """The handler for this call; None where there is no such method."""
        entry = self._entries.get(handler_call_details.method)
        if entry is None:
            return None
        handler, pool, refusal = entry
        return refusal if pool is not None and pool.full else handler


def _still_wanted(context: grpc.ServicerContext) -> None:
    if not context.is_active():
        raise Gone


def _given(behaviour: Behaviour | None) -> Behaviour:
    if behaviour is None:
        message = "only unary-unary and stream-stream methods are served"
        raise TypeError(message)
    return behaviour


def _handler(make: Any, behaviour: Any, like: Handler[Any, Any], pool: Pool) -> Handler[Any, Any]:
    behaviour.experimental_thread_pool = pool  # where grpc looks for it
    handler: Handler[Any, Any] = make(behaviour, like.request_deserializer, like.response_serializer)
    return handler
