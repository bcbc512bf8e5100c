"""Open streams: how many there may be, and how they end when the server stops, or when they keep others out.

A stream's thread sits in grpc waiting for the next message, where nothing of ours can wake it. So an idle stream
is ended from outside, by sending its status, and one that is at work ends itself once its answer is sent. Without
this, one idle client would hold up every stop for the whole grace.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import grpc

from service.errors import ExhaustedError, LeverError, UnavailableError
from service.rpc.status import Ending

SILENT_S = 1.0  # a stream that said nothing yet makes room for another after that
IDLE_S = 60.0  # one that did, after that
ANSWER_S = 10.0  # an answer is made and read by then, unless a method is given more time


class Stream:
    """The messages of one stream, as its handler iterates over them."""

    def __init__(
        self, requests: Iterator[Any], context: grpc.ServicerContext, send: Callable[[Any], None], answer_s: float
    ) -> None:
        self._requests = requests
        self._context = context
        self._send = send
        self._answer_s = answer_s
        self._lock = threading.Lock()
        self._waiting = True
        self._ending = False
        self._closed = False
        self._silent = True
        self._since = monotonic()  # it waits, or is at work

    def __iter__(self) -> Iterator[Any]:
        for request in self._requests:
            with self._lock:
                if self._closed:
                    return
                self._waiting = self._silent = False
                self._since = monotonic()
            yield request  # the answer is sent before the next one is asked for
            with self._lock:
                self._waiting = True
                self._since = monotonic()
                if self._ending:
                    raise _stopping()

    def sent(self) -> None:
        """One of several answers is sent: the next one has its time from now on. UnavailableError where it must end."""
        self._since = monotonic()
        if self._ending:
            raise _stopping()

    def spare(self, now: float) -> float:
        """How far it is beyond the time that it may be idle while others wait; negative: it is not."""
        return now - self._since - (SILENT_S if self._silent else IDLE_S) if self._waiting else -1.0

    def end(self, why: LeverError) -> None:
        """End it now if it waits, else after the message in hand."""
        with self._lock:
            self._ending = True
            if not self._waiting or self._closed:
                return
            self._closed = True
            status = Ending.of(why)
            self._context.set_code(status.code)
            self._context.set_details(status.details)
            self._context.set_trailing_metadata(status.trailing_metadata)
            self._send(None)

    def cut_off(self, now: float) -> None:
        """Cancel it if its answer is not read."""
        if not self._waiting and now - self._since > self._answer_s:
            self._context.cancel()

    def close(self) -> None:
        """The handler is through; say OK unless the end was told already."""
        with self._lock:
            if not self._closed and self._context.is_active():
                self._closed = True
                self._send(None)


class Streams:
    """All open streams of one method, at most `limit`."""

    def __init__(self, limit: int, answer_s: float = ANSWER_S) -> None:
        self._limit = limit
        self._answer_s = answer_s
        self.refused: Callable[[], None] = lambda: None  # called where there are too many
        self._open: set[Stream] = set()
        self._lock = threading.Lock()
        self._ended = False

    @contextmanager
    def opened(self, requests: Any, context: grpc.ServicerContext, send: Callable[[Any], None]) -> Iterator[Stream]:
        """A stream for as long as it is handled; it takes the place of one that is idle. ExhaustedError, TOO_MANY_STREAMS."""
        stream = Stream(requests, context, send, self._answer_s)
        with self._lock:
            if self._ended:
                raise _stopping()
            idle = self._make_room() if len(self._open) >= self._limit else None
            self._open.add(stream)
        if idle is not None:
            idle.end(UnavailableError("this stream was idle and another one came: open it again", "IDLE", retry_s=0.1))
        try:
            yield stream
        finally:
            with self._lock:
                self._open.discard(stream)

    def _make_room(self) -> Stream:
        """The stream that is idle for the longest is one no more."""
        now = monotonic()
        idle = max(self._open, key=lambda stream: stream.spare(now))
        if idle.spare(now) < 0:
            self.refused()
            message = f"{self._limit} streams are open, which is the most"
            raise ExhaustedError(message, "TOO_MANY_STREAMS", retry_s=1.0)
        self._open.discard(idle)
        return idle

    def look(self) -> None:
        """Cut off those who do not read their answers; to be called now and then."""
        now = monotonic()
        with self._lock:
            streams = tuple(self._open)
        for stream in streams:
            stream.cut_off(now)

    def end(self) -> None:
        """End every stream, and let no other begin."""
        with self._lock:
            self._ended = True
            streams = list(self._open)
        for stream in streams:
            stream.end(_stopping())


def _stopping() -> UnavailableError:
    return UnavailableError("this server is stopping, send it again", "STOPPING", retry_s=0.1)
