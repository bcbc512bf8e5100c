"""What stands around every handler: who may call it, its pool, its counters, and errors turned into status codes.

Handlers are wrapped once, when they are registered. A grpc.ServerInterceptor would be asked for a handler at every
call, and a behaviour it wraps loses its `experimental_thread_pool` (grpc/_server.py reads that attribute from the
behaviour itself), so that every call would land in one pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from time import perf_counter, time
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import grpc
import structlog

from service.errors import ExhaustedError, LeverError
from service.process.pool import Pool
from service.rpc import admission
from service.rpc.pools import Gate
from service.rpc.requests.reading import MALFORMED, malformed, reader
from service.rpc.status import Ending, request_id
from service.rpc.streams import Streams
from service.rpc.unary.calls import MESSAGE_S, Call, Metadata, Method
from service.serving.group_commit import Answers, GroupCommit, Late, Waiting
from service.serving.rewarder import Event
from service.telemetry.metrics import Metrics, Rpc

if TYPE_CHECKING:
    from service.rpc.unary.fast_unary import FastUnary

Unary = Callable[[Any, grpc.ServicerContext], Any]  # what answers one message
Streaming = Callable[[Iterator[Any], grpc.ServicerContext], Iterator[Any]]  # what answers a stream of them
Sending = Callable[[Iterator[Any], grpc.ServicerContext, Callable[[Any], None]], None]  # the same, as grpc calls it
Handler = grpc.RpcMethodHandler  # of any request and response

T = TypeVar("T")


RETRY_S = 0.1  # a full pool is worked off sooner than this


class Gone(Exception):  # noqa: N818  # nobody's error
    """The caller hung up while the call waited for a thread."""


_GONE = Ending(grpc.StatusCode.CANCELLED, "the caller went away")
_LATE = Ending(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the work began")


@dataclass(frozen=True, slots=True)
class Told:
    """What stands for grpc's context where a call has none: its metadata."""

    metadata: Metadata

    def invocation_metadata(self) -> Metadata:
        """As the caller sent it."""
        return self.metadata


@dataclass(frozen=True, slots=True)
class Single:
    """A method of one event: how the event is read from the request, and the response made of what became of it."""

    read: Callable[[Any], Event]
    respond: Callable[[Answers], Any]  # raises what the call is to end with


class Guard:
    """Wraps behaviours; one for a server."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._log = structlog.get_logger("lever.rpc")

    def wrap(self, service: str, method: str, handler: Handler[Any, Any], pool: Pool, gate: Gate) -> Handler[Any, Any]:
        """A unary handler with everything around it, to run in `pool`, refused while `gate` is shut."""
        rpc = Rpc(self._metrics, "unary", service, method)
        behaviour = self._unary(_given(handler.unary_unary), rpc, gate, pool)
        return _handler(grpc.unary_unary_rpc_method_handler, behaviour, handler, pool)

    def wrap_stream(
        self, service: str, method: str, handler: Handler[Any, Any], pool: Pool, gate: Gate, streams: Streams
    ) -> Handler[Any, Any]:
        """The same for a handler of a stream, which is one of `streams`; or of one message and a stream of answers.

        The latter are bytes. On the wire that is a stream too, and as one its message is waited for within bounds.
        """
        many = handler.unary_stream
        rpc = Rpc(self._metrics, "bidi_stream" if many is None else "server_stream", service, method)
        streams.refused = self.shedding(pool.name)
        answers = _given(handler.stream_stream) if many is None else _answering(many)
        behaviour = self._stream(answers, rpc, gate, streams)
        return _handler(grpc.stream_stream_rpc_method_handler, behaviour, handler, pool, encoded=many is not None)

    def direct(
        self, service: str, method: str, handler: Handler[Any, Any], admit: admission.Admit, gate: Gate, pool: Pool,
        *, at_once: bool = False, message_s: float = MESSAGE_S,
    ) -> Method:  # fmt: skip
        """The handler with everything around it, from bytes to bytes, for a FastUnary. `at_once`: not in `pool`."""
        rpc = Rpc(self._metrics, "unary", service, method)
        behaviour: Callable[[Any, Any], Any] = _given(handler.unary_unary)
        start, end = rpc.start, rpc.end
        decode, encode = (
            reader(_given(handler.request_deserializer), at_once=at_once),
            _given(handler.response_serializer),
        )

        def answer(data: bytes, metadata: Metadata, deadline: float, begun: float) -> bytes | Ending:
            start()
            try:
                if deadline < time():
                    raise Late  # noqa: TRY301  # on the hot path
                request = decode(data)
                if request is MALFORMED:
                    raise malformed()  # noqa: TRY301  # as above
                made: bytes = encode(behaviour(request, None if at_once else Told(metadata)))
            except Exception as error:  # noqa: BLE001  # as for every other call
                ending = self._ending(error, metadata)
                end(perf_counter() - begun, ending.code.name)
                return ending
            end(perf_counter() - begun)
            return made

        enter, full = self._entrance(rpc, admit, gate), self.turned_away(pool)
        return Method(f"/{service}/{method}", enter, answer, full, None if at_once else pool, message_s)

    def grouped(
        self, service: str, method: str, handler: Handler[Any, Any], admit: admission.Admit, gate: Gate, pool: Pool,
        single: Single, group: GroupCommit,
    ) -> Method:  # fmt: skip
        """The same for a method of one event, which is counted in a group; `pool` is where it would run without."""
        rpc = Rpc(self._metrics, "unary", service, method)
        start, end = rpc.start, rpc.end
        decode, encode = reader(_given(handler.request_deserializer), at_once=True), _given(handler.response_serializer)
        read, respond, put = single.read, single.respond, group.put

        def take(queue: FastUnary, call: Call, data: bytes) -> None:
            start()

            def done(answers: Answers) -> None:
                made: bytes | Ending
                try:
                    made, code = encode(respond(answers)), None
                except Exception as error:  # noqa: BLE001  # as for every other call
                    made = self._ending(error, call.metadata)
                    code = made.code.name
                end(perf_counter() - call.begun, code)
                queue.tell(call, made)

            try:
                request = decode(data)
                if request is MALFORMED:
                    raise malformed()  # noqa: TRY301  # as above
                event = read(request)
            except Exception as error:  # noqa: BLE001  # as above
                done(error)
            else:
                put(Waiting((event,), call.deadline, done))

        return Method(
            f"/{service}/{method}", self._entrance(rpc, admit, gate), lambda *_: _LATE, self.turned_away(pool),
            take=take, crowded=lambda: group.full,
        )  # fmt: skip

    def _entrance(self, rpc: Rpc, admit: admission.Admit, gate: Gate) -> Callable[[Metadata], Ending | None]:
        """How a call ends that is not let in: for want of a key, or as the gate is shut."""
        denied = self._metrics.denied.hit

        def enter(metadata: Metadata) -> Ending | None:
            stranger = admit(metadata)
            if stranger is not None:
                denied((stranger.code.name,))
                return stranger
            if gate.open:
                return None
            rpc.start()
            ending = Ending.of(gate.shut())
            rpc.end(0.0, ending.code.name)
            return ending

        return enter

    def shed(self, busy: Pool) -> Handler[Any, Any]:
        """A handler for when `busy` is full."""
        return admission.refusal(_overloaded(busy), self.shedding(busy.name))

    def turned_away(self, busy: Pool) -> Callable[[], Ending]:
        """The same for a FastUnary."""
        count, ending = self.shedding(busy.name), Ending.of(_overloaded(busy))

        def told() -> Ending:
            count()
            return ending

        return told

    def shedding(self, pool: str) -> Callable[[], None]:
        """What counts a refusal; its series is there before the first one, as a rate needs."""
        hit, key = self._metrics.shed.hit, (pool,)
        self._metrics.shed.add(key, 0)
        return lambda: hit(key)

    def unknown(self) -> Handler[Any, Any]:
        """A handler for callers without a good key."""
        hit = self._metrics.denied.hit
        return admission.refusal(admission.unknown(), lambda: hit(("UNAUTHENTICATED",)))

    def denied(self, scope: str) -> Handler[Any, Any]:
        """A handler for callers whose key lacks the scope."""
        hit = self._metrics.denied.hit
        return admission.refusal(admission.denied(scope), lambda: hit(("PERMISSION_DENIED",)))

    def _unary(self, behaviour: Unary, rpc: Rpc, gate: Gate, pool: Pool) -> Unary:
        start, end, queued = rpc.start, rpc.end, pool.queued

        def call(request: Any, context: grpc.ServicerContext) -> Any:
            begun = perf_counter()
            start()
            try:
                if not gate.open:
                    gate.check()
                if request is MALFORMED:
                    raise malformed()  # noqa: TRY301  # as above
                if not context.time_remaining():  # infinite where the caller set no deadline
                    raise Late  # noqa: TRY301  # on the hot path
                # Takes a lock: only where calls wait is it worth asking whether anyone still wants this one.
                if queued():
                    _still_wanted(context)
                response = behaviour(request, context)
            except Exception as error:  # noqa: BLE001  # whatever it is, the caller gets a status and nothing else
                self._fail(error, context, rpc, begun)
            end(perf_counter() - begun)
            return response

        return call

    def _stream(self, behaviour: Streaming, rpc: Rpc, gate: Gate, streams: Streams) -> Sending:
        def call(requests: Any, context: grpc.ServicerContext, send: Callable[[Any], None]) -> None:
            begun = perf_counter()
            rpc.start()
            try:
                gate.check()
                with streams.opened(requests, context, send) as stream:
                    for answer in behaviour(_decoded(stream), context):
                        send(answer)
                        stream.sent()
            except Exception as error:  # noqa: BLE001  # as above
                self._fail(error, context, rpc, begun)
            rpc.end(perf_counter() - begun)
            stream.close()

        call.experimental_non_blocking = True  # type: ignore[attr-defined]  # makes grpc pass `send`
        return call

    def _fail(self, error: Exception, context: grpc.ServicerContext, rpc: Rpc, begun: float) -> NoReturn:
        """End the call with the error's status."""
        ending = self._ending(error, context.invocation_metadata())
        rpc.end(perf_counter() - begun, ending.code.name)
        context.abort_with_status(ending)
        raise AssertionError("abort raises")  # for those who read types

    def _ending(self, error: Exception, metadata: Any) -> Ending:
        if isinstance(error, Gone | grpc.RpcError):  # grpc raises the latter where the caller cancelled
            return _GONE
        if isinstance(error, Late):
            return _LATE
        if isinstance(error, LeverError):
            return Ending.of(error)
        name = request_id(metadata)
        return Ending.of(self.incident(error, name), name)

    def incident(self, error: Exception, name: str = "") -> LeverError:
        """A fault of ours: its story goes to the log, the name it is found by there to the caller."""
        name = name or request_id(())
        self._log.error("incident", request_id=name, exc_info=error)
        return LeverError(f"internal error, incident {name}")


def _overloaded(busy: Pool) -> ExhaustedError:
    return ExhaustedError(f"overloaded: too many calls wait for {busy.name}", "OVERLOADED", RETRY_S)


def _still_wanted(context: grpc.ServicerContext) -> None:
    if not context.is_active():
        raise Gone


def _decoded(requests: Iterable[Any]) -> Iterator[Any]:
    for request in requests:
        if request is MALFORMED:
            raise malformed()
        yield request


def _answering(behaviour: Callable[[Any, grpc.ServicerContext], Any]) -> Streaming:
    """A behaviour with one message and many answers, as one of a stream; it stops when nobody reads any more."""

    def answers(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        request = next(requests, MALFORMED)
        if request is MALFORMED:
            raise malformed()
        with closing(behaviour(request, context)) as made:
            for answer in made:
                yield answer
                _still_wanted(context)

    return answers


def _given(behaviour: T | None) -> T:
    if behaviour is None:
        message = "a handler lacks what its kind has"
        raise TypeError(message)
    return behaviour


def _handler(
    make: Any, behaviour: Any, like: Handler[Any, Any], pool: Pool, *, encoded: bool = False
) -> Handler[Any, Any]:
    """`encoded`: the behaviour's answers are bytes already."""
    behaviour.experimental_thread_pool = pool  # where grpc looks for it
    encode = None if encoded else like.response_serializer
    handler: Handler[Any, Any] = make(behaviour, reader(_given(like.request_deserializer)), encode)
    return handler
