"""What is traced: calls that one message answers, flushes, and what either asks of the store.

Everything here stands around what serves without it, and is put there only when traces are on: while they are off, the very
same functions serve as if this package did not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.rpc.status import Ending
from service.rpc.unary.calls import Call, Metadata, Method
from service.store.contract import Store
from service.store.counted import Counted
from service.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from service.rpc.unary.fast_unary import FastUnary

_W3C = TraceContextTextMapPropagator()
_OURS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}


def caller(metadata: Metadata) -> Context:
    """The trace that a caller is in, as its `traceparent` says; an empty one where it says none, or nothing that is one."""
    told = {name: text for name, text in metadata if name in _W3C.fields and isinstance(text, str)}
    return _W3C.extract(told, Context())


class Traces:
    """Puts spans around what it is given."""

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer

    def method(self, method: Method) -> Method:
        """The same method, each call of which is a span."""
        if method.gone is not None:
            return method  # a watch: it lasts as long as its caller likes
        path, answer, take = method.path.removeprefix("/"), method.answer, method.take
        begin = self.tracer.start_span
        service, _, name = path.partition("/")
        facts = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}

        def answered(data: bytes, metadata: Metadata, deadline: float, begun: float) -> bytes | Ending:
            span = begin(path, caller(metadata), SpanKind.SERVER, facts)
            with trace.use_span(span, end_on_exit=True):
                made = answer(data, metadata, deadline, begun)
                ended(span, made)
            return made

        def taken(queue: FastUnary, call: Call, data: bytes) -> None:
            assert take is not None
            span = begin(path, caller(call.metadata), SpanKind.SERVER, facts)
            take(_Telling(queue, span), call, data)  # type: ignore[arg-type]  # all that it asks of a queue

        return replace(method, answer=answered, take=None if take is None else taken)

    def flush(self, flush: Callable[[], bool], waiting: Callable[[], int]) -> Callable[[], bool]:
        """The same, in a span where something waits."""

        def flushed() -> bool:
            chunks = waiting()
            if not chunks:
                return flush()
            with self.tracer.start_as_current_span("flush", Context(), attributes={"lever.waiting": chunks}) as span:
                sent = flush()
                if not sent:
                    span.set_status(StatusCode.ERROR, "nobody is there")
                return sent

        return flushed

    def store(self, store: Store, metrics: Metrics) -> Counted:
        """Counted, each call of which but polls is a span too. What is asked for several callers at once is in no one's trace."""
        return _TracedStore(store, metrics, self.tracer)


def ended(span: Span, made: bytes | Ending) -> None:
    """Say how a call ended; what is the caller's own fault is no error of ours."""
    code = made.code if isinstance(made, Ending) else None
    span.set_attribute("rpc.grpc.status_code", int(code.value[0]) if code is not None else 0)
    if code is not None and code.name in _OURS:
        span.set_status(StatusCode.ERROR, code.name)


class _Telling:
    """The queue as a method sees it that answers later."""

    __slots__ = ("_queue", "_span")

    def __init__(self, queue: FastUnary, span: Span) -> None:
        self._queue, self._span = queue, span

    def tell(self, call: Call, made: bytes | Ending) -> None:
        """FastUnary.tell."""
        ended(self._span, made)
        self._span.end()
        self._queue.tell(call, made)


class _TracedStore(Counted):
    def __init__(self, store: Store, metrics: Metrics, tracer: Tracer) -> None:
        super().__init__(store, metrics)
        self._tracer = tracer

    @contextmanager
    def _counted(self, call: str) -> Iterator[None]:
        if call == "poll":
            with super()._counted(call):
                yield
            return
        with (
            self._tracer.start_as_current_span(
                f"store {call}", kind=SpanKind.CLIENT, attributes={"db.system": "redis"}
            ),
            super()._counted(call),
        ):
            yield
