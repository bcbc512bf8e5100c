"""Unary methods on a completion queue and a thread of its own, beside everything else of grpc's server.

grpc's sync server spends three quarters of an empty call's CPU in Python, and gives a call a thread of its pool before the
call's message is here: whoever opens calls and sends nothing has the whole pool. Its core needs three events and one
batch of operations. So unary methods are registered with the core under their paths and answered here, from the bytes of
the request to the bytes of the answer; port, connections, TLS and shutdown stay grpc's (docs/performance.md has the
figures). What waits for nothing is answered by this thread; the rest goes to its pool once its message is here.

grpc has no public way to say so: this uses `grpc._cython.cygrpc` as grpc/_server.py does, and reaches for the server's
core object. Where they are not as tested `available` says no, and grpc's own threads answer.

What a caller leaves unfinished is bounded: who may not call is told so before anything is read; a message has a time in
which to come, shorter where many are missing; so has the caller for reading the answer. Only calls whose message is
here count as waiting. All bookkeeping is this thread's own, without locks.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter, sleep, time
from typing import Any

import grpc

from service.rpc.status import Ending
from service.rpc.unary import unfinished as limits
from service.rpc.unary.brake import Brake
from service.rpc.unary.calls import AHEAD, Asked, Call, Method
from service.rpc.unary.grpc_core import core, core_server
from service.rpc.unary.unfinished import NO_MESSAGE, TOO_MANY, Unfinished
from service.telemetry.faults import Faults

_LOW = AHEAD - 8  # the core is asked for more calls once there are fewer: for some at a time, which costs less
_PAUSE_S = 0.05  # before the core is asked again, where it refused
_SOON_S = 0.001  # while answers are owed, they are looked for so often at least
_TICK_S = 0.1  # how often unfinished calls are looked at
_TURNS = 64  # so many events are taken in for one answer, at the most, while some wait
_ROW = 16  # so many answers are sent in a row
_LINE = 64  # with so many in line, the core is asked for no more
_FAULT = Ending(grpc.StatusCode.INTERNAL, "internal error")


class FastUnary:
    """Make it before the server starts; `start` after that. It ends when the server has stopped.

    The tag of every event is a step and what the step is about: a tuple costs a third of a closure or a partial.
    """

    def __init__(
        self,
        server: grpc.Server,
        name: str,
        methods: Sequence[Method],
        waiting: int,
        faults: Faults,
        unfinished: Unfinished,
        brake: Brake,
        tick: Callable[[float], None] = lambda _: None,
    ) -> None:
        """More than `waiting` calls with their message here are refused; `tick` is called ten times a second."""
        inner = core_server(server)
        self._queue = core.CompletionQueue()
        self._asked = [Asked(method, self._come) for method in methods]
        self._open = 0  # calls that it gave and that are not over
        self._dropped: deque[Call] = deque()  # of these, those of which no event will tell
        self._ready: deque[tuple[Call, bytes]] = deque()  # their message is here, their turn has not come
        self._refused: deque[tuple[Call, Ending]] = deque()  # not let in; they hear it when nobody else waits
        self._told: deque[tuple[Call, bytes | Ending]] = deque()  # taken calls and their answers, to be sent
        self._owed: set[Call] = set()  # taken calls that are not over
        self._brake = brake
        self._nudge: Call | None = None  # a taken call that was ended elsewhere; its event is to come
        self._reading, self._writing = unfinished.reading, unfinished.writing
        self._ending = self._held = False  # the server shuts down; the core was not asked for more, as too many wait
        self._most, self._faults, self._unfinished, self._tick = waiting, faults, unfinished, tick
        self._due = self._wake = 0.0  # when unfinished calls are looked at next: by perf_counter(), and by time()
        self._request = inner.request_registered_call
        # Nothing in them is a call's own, so all calls that end well share them.
        self._no_metadata = core.SendInitialMetadataOperation(None, 0)
        self._all_well = core.SendStatusFromServerOperation(None, 0, b"", 0)
        for method in methods:
            inner.register_method(method.path)
        inner.register_completion_queue(self._queue)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Take calls."""
        self._ask_all()
        self._thread.start()

    def _ask(self, asked: Asked) -> None:
        """Ask the core for calls, until it has been asked for enough. What it refuses is asked for again later."""
        queue, path, tag = self._queue, asked.method.path, asked.tag
        try:
            while asked.count < AHEAD and not self._ending:
                self._request(queue, queue, path, tag)
                asked.count += 1
        except ValueError:  # the server shuts down
            self._ending = True
        except Exception as error:  # noqa: BLE001 - no fault may end the only thread, here and below
            self._faults.note(error)

    def _ask_all(self) -> None:
        self._held = False
        for asked in self._asked:
            self._ask(asked)

    def _run(self) -> None:
        """Take event after event. Ends when the server gave back what it was asked for."""
        poll, ready, refused, told, turns = self._queue.poll, self._ready, self._refused, self._told, 0
        brake, kept = self._brake, self._brake.kept
        while self._open or not self._ending or any(asked.count for asked in self._asked):
            try:
                event = poll(0.0 if ready or refused else time() + _SOON_S if self._owed or kept else self._wake)
                while told and (one := self._next_told()):
                    self._end_told(*one)
                tag = event.tag
                if tag is None:
                    self._nudge = None
                else:
                    step, about = tag
                    step(about, event)
                turns = turns + 1 if ready else 0
                if ready and (tag is None or turns == _TURNS):
                    turns = 0
                    self._answer_some()
                    if self._held and len(ready) < _LINE:
                        self._ask_all()
                elif tag is None and refused:
                    for _ in range(min(_ROW, len(refused))):
                        self._end_told(*refused.popleft())
                elif tag is None and (now := perf_counter()) > self._due:
                    self._look(now)
                if kept and tag is None:
                    brake.let_go(_LINE - len(ready))
            except Exception as error:  # noqa: BLE001
                self._faults.note(error)
                sleep(_PAUSE_S)  # should it be for good
            event = tag = about = None  # as grpc does: the core counts what is still referred to
        self._queue.shutdown()

    def _look(self, now: float) -> None:
        """Look after what is unfinished, and ask for what the core refused."""
        self._due, self._wake = now + _TICK_S, time() + _TICK_S
        self._ask_all()
        while self._dropped:
            self._owed.discard(call := self._dropped.popleft())
            self.less(call)
        for call, ending in self._unfinished.late(now):
            self.end(call, ending)
        for call in self._unfinished.unread(now):
            call.core.cancel()
        self._brake.look(now)
        self._tick(now)

    def _come(self, asked: Asked, event: Any) -> None:
        """A call came, or the server shuts down."""
        asked.count -= 1
        if not event.success:
            self._ending = True
            self._brake.end()
            return
        if asked.count < _LOW:
            self._held = len(self._ready) >= _LINE
            if not self._held:
                self._ask(asked)
        self._open += 1
        begun = perf_counter()
        if begun > self._due:
            self._look(begun)
        call = Call(event.call, asked.method, event.invocation_metadata, event.call_details.deadline, begun)
        try:
            self._take(call)
        except Exception as error:  # noqa: BLE001
            self._fail(call, error)

    def _take(self, call: Call) -> None:
        """Ask for the call's message; or refuse the call, before it is read."""
        method, reading = call.method, self._reading
        ending = method.admit(call.metadata)
        if ending is not None and len(self._refused) < limits.MOST:
            self._refused.append((call, ending))
            return
        if ending is None and self._crowded(method):
            ending = method.full()
        if ending is not None:
            self.end(call, ending)
            return
        if len(reading) >= limits.MOST:
            self.end(self._unfinished.oldest(), TOO_MANY)
        reading[call] = None
        if method.told_end:
            call.core.start_server_batch((core.ReceiveCloseOnServerOperation(0),), (self._closed, call))
            call.left += 1
        call.core.start_server_batch((core.ReceiveMessageOperation(0),), (self._arrived, call))
        call.left += 1

    def _crowded(self, method: Method) -> bool:
        if method.crowded is not None:
            return method.crowded()
        return len(self._ready) > self._most if method.pool is None else method.pool.full

    def _arrived(self, call: Call, event: Any) -> None:
        """The message is here: answer, or put it in line. No message: it never comes."""
        self._reading.pop(call, None)
        if call.ended:
            self.less(call)
            return
        call.left -= 1  # its answer is to come still
        method = call.method
        try:
            message = event.batch_operations[0].message()
            if message is None:
                if self._open > _ROW:  # the caller may have given up before
                    self._brake.judge((call,))
                self.end(call, NO_MESSAGE)
            elif method.pool is not None:
                self._hand_over(call, message)
            elif method.take is not None:
                if method.later:
                    self._owed.add(call)
                method.take(self, call, message)
            elif self._open == 1:
                self.end(call, method.answer(message, call.metadata, call.deadline, call.begun))
            # What else is here is taken in first. A call counts against its connection's bound until the event of its end
            # is: behind others' events its caller, who has the answer, would be refused the next.
            elif len(self._ready) > self._most:
                self.end(call, method.full())
            else:
                self._ready.append((call, message))
        except Exception as error:  # noqa: BLE001
            self._fail(call, error)

    def _hand_over(self, call: Call, message: bytes) -> None:
        pool = call.method.pool
        if pool is None or pool.full:
            self.end(call, call.method.full())
        else:
            pool.submit(self._work, call, message)

    def _work(self, call: Call, message: bytes) -> None:
        """On a thread of the pool."""
        if call.gone:
            self._dropped.append(call)
        else:
            self._end_told(call, self._made(call, message))

    def _answer_some(self) -> None:
        """Make answers, then send them all: between two that are made each would wake its caller, whose next call would wake
        the core's threads and this one for itself alone. All of a call would cost twice as much.
        """
        ready = self._ready
        row = [ready.popleft() for _ in range(min(_ROW, len(ready)))]
        if ready:
            self._brake.judge([call for call, _ in row])
        for call, made in [(call, self._made(call, message)) for call, message in row]:
            self._end_told(call, made)

    def _made(self, call: Call, message: bytes) -> bytes | Ending:
        try:
            return call.method.answer(message, call.metadata, call.deadline, call.begun)
        except Exception as error:  # noqa: BLE001
            self._faults.note(error)
            return _FAULT

    def tell(self, call: Call, made: bytes | Ending) -> None:
        """The answer of a call that was taken, from any thread; it goes with the next `send`."""
        self._told.append((call, made))

    def send(self) -> None:
        """Let what was told be sent, from any thread. Every operation of the core lets the interpreter go, so two threads that
        end calls would wake each other for each: this queue's own ends them, all but one, whose event wakes it. Should
        that not come, as the caller reads nothing, or just have come, it looks by itself (_SOON_S).
        """
        if self._nudge is None and (one := self._next_told()):
            self._nudge = one[0]
            self._end_told(*one)

    def _next_told(self) -> tuple[Call, bytes | Ending] | None:
        """None where the other thread took the last meanwhile."""
        try:
            return self._told.popleft()
        except IndexError:
            return None

    def _end_told(self, call: Call, made: bytes | Ending) -> None:
        try:
            self.end(call, made)
        except Exception as error:  # noqa: BLE001
            self._fail(call, error)

    def end(self, call: Call, made: bytes | Ending) -> None:
        """Everything at once; its event comes when the call is over."""
        call.ended = True
        if isinstance(made, bytes):
            operations: tuple[Any, ...] = (self._no_metadata, core.SendMessageOperation(made, 0), self._all_well)
        else:
            code = made.code.value[0]
            status = core.SendStatusFromServerOperation(made.trailing_metadata, code, made.details.encode(), 0)
            operations = (self._no_metadata, status)
        if not call.method.told_end:
            operations += (core.ReceiveCloseOnServerOperation(0),)
        call.sent = self._due
        self._writing[call] = None
        # The last step: where it or anything before it raises, nothing was sent and no event will come.
        call.core.start_server_batch(operations, (self._over, call))

    def _fail(self, call: Call, error: Exception) -> None:
        """A fault of ours: this call gets INTERNAL, and nothing else changes."""
        self._faults.note(error)
        try:
            self.end(call, _FAULT)
        except Exception as again:  # noqa: BLE001
            self._faults.note(again)
            self._dropped.append(call)  # the core cancels it when nobody refers to it any more

    def _over(self, call: Call, event: Any) -> None:
        self._writing.pop(call, None)
        self._owed.discard(call)
        if call is self._nudge:
            self._nudge = None
        if self._brake.on:
            self._brake.keep(call)
        call.left -= 1
        if not call.left:
            self._open -= 1

    def _closed(self, call: Call, event: Any) -> None:
        """The caller went away, or has the answer."""
        call.gone = event.batch_operations[0].cancelled()
        if call.method.gone is not None:
            call.method.gone(call)
        self.less(call)

    def less(self, call: Call) -> None:
        """One of a call's events came; after the last it is forgotten."""
        call.left -= 1
        if not call.left:
            self._open -= 1
