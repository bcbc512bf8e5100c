"""uvicorn's protocol with bounds, for both HTTP ports: what a client leaves unfinished has a deadline, and sizes end.

uvicorn has none of these for httptools. A look once a second finds who is late; on the way of a request there are a few
assignments. A connection that is refused hears why, and is drained for a moment: closed at once, the kernel
would throw the answer away together with what was not read.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from service.process import descriptors

URL_BYTES = 8 << 10
HEADER_BYTES = 32 << 10
HEADERS = 100
BODY_BYTES = 2 << 20
HEAD_S = 10.0  # for the headers, from a request's first byte or a connection's beginning
PROGRESS_S = 10.0  # a body's next bytes
REQUEST_S = 60.0  # a whole request, however steadily it trickles
IDLE_S = 75.0  # between requests
ANSWER_S = 30.0  # an answer that is not read
DRAIN_S = 2.0  # after a refusal
MOST = 2048  # connections of a process
_LOOK_S = 1.0
_KEPT = 64 << 10  # bytes of answers that wait for the end of a turn of the loop
_NEVER = float("inf")


class Refusal(Exception):  # noqa: N818  # passes through the parser, nobody's error
    """Ends the parsing of a request with a status."""


class Connections:
    """The connections of one port: its clock, who waits for bytes of the client, the longest first, and what is to be sent.

    Answers of one turn of the loop are sent together at its end: a caller of several connections, as a proxy is, is woken once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, state: ServerState) -> None:
        self._loop = loop
        self._state = state
        self.now = loop.time()  # as of the last look
        self.waiting: dict[Bounded, None] = {}
        self.most = min(MOST, descriptors.limit() // 2)
        self._answers: list[tuple[Bounded, bytes]] = []
        self._bytes = 0  # of these
        loop.call_later(_LOOK_S, self._look)

    @classmethod
    def of(cls, state: Any, loop: asyncio.AbstractEventLoop) -> Connections:
        """Those of the server with this state."""
        made: Connections | None = getattr(state, "lever_connections", None)
        if made is None:
            made = state.lever_connections = cls(loop, state)
        return made

    def make_room(self, newest: Bounded) -> None:
        """One connection too many: that which waits the longest ends; where all are at work, the newest."""
        oldest = next(iter(self.waiting), newest)
        oldest.cut()

    def send(self, connection: Bounded, answer: bytes) -> None:
        """Send it at the end of this turn of the loop, or with all the others at once where they become many bytes."""
        if not self._answers:
            self._loop.call_soon(self.flush)
        self._answers.append((connection, answer))
        self._bytes += len(answer)
        if self._bytes > _KEPT:
            self.flush()

    def flush(self) -> None:
        """Send what waits. To be called before anything else is sent on a connection, or it is closed."""
        answers, self._answers, self._bytes = self._answers, [], 0
        for connection, answer in answers:
            try:
                connection.transport.write(answer)
            except (OSError, RuntimeError):  # the other side is gone
                connection.cut()

    def _look(self) -> None:
        self.now = self._loop.time()
        self._loop.call_later(_LOOK_S, self._look)
        for connection in tuple(self._state.connections):
            if isinstance(connection, Bounded):
                try:
                    connection.look(self.now)
                except (OSError, RuntimeError):  # the other side was quicker: it is gone, or the transport is closing
                    connection.cut()


class Bounded(HttpToolsProtocol):
    """One connection."""

    _all: Connections
    _due = _NEVER  # when what it waits for must have come
    _latest = _NEVER  # when the request in hand must be here as a whole
    _stuck = _NEVER  # since when its answer is not read
    _within = False  # a request has begun and is not here as a whole
    _in_head = False
    _head = 0  # bytes of headers, as parsed
    _fed = 0  # bytes of headers that are not parsed yet
    _body = 0
    _refused = 0  # the status

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It counts as waiting from its beginning."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._all = Connections.of(self.server_state, self.loop)
        self._due = self._all.now + HEAD_S
        if len(self.connections) > self._all.most:
            self._all.make_room(self)
        if not self.transport.is_closing():
            self._all.waiting[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._all.waiting.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what the parser keeps to itself: one header may come in many pieces."""
        if self._refused:
            return
        super().data_received(data)
        if self._in_head and not self._refused:
            self._fed += len(data)
            if self._fed > URL_BYTES + HEADER_BYTES:
                self.refuse(431)

    def on_message_begin(self) -> None:
        """A request's first byte."""
        now = self._all.now
        self._due, self._latest = now + HEAD_S, now + REQUEST_S
        self._within = self._in_head = True
        self._head = self._fed = self._body = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of it."""
        super().on_url(url)
        if len(self.url) > URL_BYTES:
            self._stop(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole one; trailers too. What uvicorn does with it is done here, as there are many."""
        self._head += len(name) + len(value)
        headers = self.headers
        if self._head > HEADER_BYTES or len(headers) >= HEADERS:
            self._stop(431)
        name = name.lower()
        headers.append((name, value))
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        elif name == b"content-length" and (len(value) > 18 or int(value) > BODY_BYTES):
            self._stop(413)

    def on_headers_complete(self) -> None:
        """The body's time begins."""
        self._in_head = False
        self._due = self._all.now + PROGRESS_S
        self.take()

    def take(self) -> None:
        """The headers are here."""
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Some of it came."""
        self._due = self._all.now + PROGRESS_S
        self._body += len(body)
        if self._body > BODY_BYTES:
            self._stop(413)
        self.keep(body)

    def keep(self, body: bytes) -> None:
        """A piece of the body."""
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Now it waits for us."""
        self._within = False
        self._due = self._latest = _NEVER
        self._all.waiting.pop(self, None)
        self.answer()

    def answer(self) -> None:
        """The request is here as a whole."""
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Now it waits for the client again."""
        self._due = self._all.now + (PROGRESS_S if self._within else IDLE_S)
        self._all.waiting[self] = None
        super().on_response_complete()

    def served(self) -> None:
        """What on_response_complete does, for an answer that was written at once: without uvicorn's timer, `look` is one."""
        self.server_state.total_requests += 1
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        self._due = self._all.now + IDLE_S
        self._all.waiting.pop(self, None)
        self._all.waiting[self] = None

    def pause_writing(self) -> None:
        """The client does not read."""
        self._stuck = self._all.now
        super().pause_writing()

    def resume_writing(self) -> None:
        """It does."""
        self._stuck = _NEVER
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """The parser gave up, by itself or as it was told to."""
        self._all.flush()
        if not self._refused:
            super().send_400_response(msg)
            self._due = self._all.now + DRAIN_S

    def eof_received(self) -> None:
        """The client sends no more."""
        self._all.flush()
        super().eof_received()

    def shutdown(self) -> None:
        """The port closes."""
        self._all.flush()
        super().shutdown()

    def look(self, now: float) -> None:
        """End it if it is late."""
        if now - self._stuck > ANSWER_S or (self._refused and now > self._due):
            self.cut()
        elif self.flow.read_paused:  # it is we who do not read
            self._due = now + PROGRESS_S
        elif now > self._due or now > self._latest:
            if self.transport.is_closing():
                self.cut()
            elif self._within:
                self.refuse(408)
            else:
                self.transport.close()
                self._due = now + DRAIN_S

    def cut(self) -> None:
        """End it at once."""
        self._all.waiting.pop(self, None)
        self.transport.abort()

    def refuse(self, status: int) -> None:
        """Say why unless an answer has begun, read no more, and let it drain for a moment."""
        self._all.flush()
        self._refused = status
        self._due = self._all.now + DRAIN_S
        self._all.waiting[self] = None
        cycle: Any = self.cycle  # None at first, whatever its type says
        begun = cycle is not None and not cycle.response_complete and cycle.response_started
        if cycle is not None:
            cycle.disconnected = True  # an application that waits for the body hears that there is no more
            cycle.message_event.set()
        if self.transport.is_closing():
            return
        if not begun:
            self.transport.write(STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _stop(self, status: int) -> None:
        self.refuse(status)
        raise Refusal
