"""Open streams: how many there may be, and how they end when the server stops.

A stream's thread sits in grpc waiting for the next message, where nothing of ours can wake it. So an idle stream
is ended from outside, by sending its status, and one that is at work ends itself once its answer is sent. Without
this, one idle client would hold up every stop for the whole grace.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from service.errors import ExhaustedError, UnavailableError
from service.rpc.status import Ending


class Stream:
    """The messages of one stream, as its handler iterates over them."""

    def __init__(self, requests: Iterator[Any], context: grpc.ServicerContext, send: Callable[[Any], None]) -> None:
        self._requests = requests
        self._context = context
        self._send = send
        self._lock = threading.Lock()
        self._waiting = True
        self._ending = False
        self._closed = False

    def __iter__(self) -> Iterator[Any]:
        for request in self._requests:
            with self._lock:
                if self._closed:
                    return
                self._waiting = False
            yield request  # the answer is sent before the next one is asked for
            with self._lock:
                self._waiting = True
                if self._ending:
                    raise _stopping()

    def end(self) -> None:
        """End it now if it waits, else after the message in hand."""
        with self._lock:
            self._ending = True
            if not self._waiting or self._closed:
                return
            self._closed = True
            status = Ending.of(_stopping())
            self._context.set_code(status.code)
            self._context.set_details(status.details)
            self._context.set_trailing_metadata(status.trailing_metadata)
            self._send(None)

    def close(self) -> None:
        """The handler is through; say OK unless the end was told already."""
        with self._lock:
            if not self._closed and self._context.is_active():
                self._closed = True
                self._send(None)


class Streams:
    """All open streams of a server, at most `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.refused: Callable[[], None] = lambda: None  # called where there are too many
        self._open: set[Stream] = set()
        self._lock = threading.Lock()
        self._ended = False

    @contextmanager
    def opened(self, requests: Any, context: grpc.ServicerContext, send: Callable[[Any], None]) -> Iterator[Stream]:
        """A stream for as long as it is handled. Raises ExhaustedError, TOO_MANY_STREAMS."""
        stream = Stream(requests, context, send)
        with self._lock:
            if self._ended:
                raise _stopping()
            if len(self._open) >= self._limit:
                self.refused()
                message = f"{self._limit} streams are open, which is the most"
                raise ExhaustedError(message, "TOO_MANY_STREAMS", retry_s=1.0)
            self._open.add(stream)
        try:
            yield stream
        finally:
            with self._lock:
                self._open.discard(stream)

    def end(self) -> None:
        """End every stream, and let no other begin."""
        with self._lock:
            self._ended = True
            streams = list(self._open)
        for stream in streams:
            stream.end()


def _stopping() -> UnavailableError:
    return UnavailableError("this server is stopping, send it again", "STOPPING", retry_s=0.1)
