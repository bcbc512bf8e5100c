"""A shorter way through uvicorn for what is answered at once: no task, no ASGI messages, no second pass over headers.

An evaluation takes about 10 us; uvicorn's way to an application and back takes about 40. What is not plain (an upgrade,
a query, escapes, a request behind an unanswered one, a client that does not read) goes uvicorn's way. A request that begins
with a head that was read before (heads.py) is not even parsed.

This leans on uvicorn's insides; protocol.py says whether they are what was tested, and only then imports this. A fault
here is one request's: before the answer it goes uvicorn's way, later it gets the status 500.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.http.app import WebApp
from service.http.bounded import Bounded
from service.http.heads import END, LONGEST
from service.http.messages import JSON, Reply
from service.http.route import Route

_ODD = re.compile(rb"[%?#\x80-\xff]|://")  # in a URL that is more than a path
_FAULT = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"
_PLAIN = {
    status: line + b"content-type: " + JSON + b"\r\ncontent-length: %d\r\n\r\n" for status, line in STATUS_LINE.items()
}


class FastProtocol(Bounded):
    """uvicorn's protocol, for a WebApp as its application."""

    _web: WebApp | None = None  # the application
    _route: Route | None = None  # of the request in hand, if it is answered here
    _tail = ""
    _as_sent = b""  # as it came, of the request that the parser has in hand, where it came as a whole
    _parts: list[bytes]
    _size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Its application is known from now on."""
        app: Any = self.config.app
        self._web = app if isinstance(app, WebApp) else None
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Answer the requests whose heads are known and that are here as a whole; leave the rest to the parser."""
        web = self._web
        if web is not None and not self._within and not self._refused and self._unencumbered():
            begin = self._answer_known(web, data)
            if begin == len(data):
                return
            data = data[begin:] if begin else data
            end = data.find(END, 0, LONGEST) + len(END)
            self._as_sent = data[:end] if end >= len(END) else b""
        super().data_received(data)
        self._as_sent = b""

    def take(self) -> None:
        """Take the request, or leave it to uvicorn."""
        self._route = None
        if self._web is not None:
            try:
                self._choose(self._web)
            except Exception as error:  # noqa: BLE001 - the parser would call it the client's fault
                self._route = None
                self._web.faults.note(error)
        if self._route is None:
            super().take()

    def keep(self, body: bytes) -> None:
        """Keep it, up to what the route takes."""
        if self._route is None:
            super().keep(body)
            return
        self._size += len(body)
        if self._size <= self._route.limit:
            self._parts.append(body)

    def answer(self) -> None:
        """Answer. The head is known from now on; of what comes behind it in the same piece it is not."""
        route, web, head = self._route, self._web, self._as_sent
        self._as_sent = b""
        if route is None or web is None:
            super().answer()
            return
        self._route = None
        body = b"".join(self._parts) if self._size <= route.limit else None
        self._tell(web, route, self._tail, dict(self.headers), body)
        if head:
            web.heads.note(head, route, self._tail, self.headers, self._size)

    def _answer_known(self, web: WebApp, data: bytes) -> int:
        """How many bytes were requests with known heads. They have been answered."""
        begin, whole, known_head = 0, len(data), web.heads.get
        while begin < whole:
            end = data.find(END, begin) + len(END)
            known = known_head(data[begin:end])
            if known is None or end + known.size > whole:
                break
            begin = end + known.size
            self._tell(web, known.route, known.tail, known.headers, data[end:begin])
            if self.flow.write_paused:
                break
        return begin

    def _tell(self, web: WebApp, route: Route, tail: str, headers: Mapping[bytes, bytes], body: bytes | None) -> None:
        """Answer a request that is here as a whole; `body` None: it was too large."""
        try:
            made = _written(web.at_once(route, tail, headers, body))
        except Exception as error:  # noqa: BLE001 - as above
            web.faults.note(error)
            made = _FAULT
        self._all.send(self, made)
        self.served()

    def _choose(self, web: WebApp) -> None:
        """Set the route if the request is one to be answered here."""
        if self._plain():
            route, tail = web.route(self.url.decode("ascii"))
            if route is not None and route.pool is None and route.method == self.parser.get_method().decode("ascii"):
                self._route, self._tail, self._parts, self._size = route, tail, [], 0

    def _plain(self) -> bool:
        parser = self.parser
        return (
            parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and not self.expect_100_continue
            and self._unencumbered()
            and _ODD.search(self.url) is None
        )

    def _unencumbered(self) -> bool:
        """Whether nothing is left to do for the requests before, and the client reads."""
        before: Any = self.cycle  # None at first, whatever its type says
        return (before is None or before.response_complete) and not self.flow.write_paused and not self.pipeline


def _written(reply: Reply) -> bytes:
    if reply.kind is JSON and not reply.headers:
        return _PLAIN[reply.status] % len(reply.body) + reply.body
    parts = [STATUS_LINE[reply.status]]
    for name, value in reply.headers:
        parts += (name, b": ", value, b"\r\n")
    if reply.kind:
        parts += (b"content-type: ", reply.kind, b"\r\ncontent-length: ", str(len(reply.body)).encode(), b"\r\n")
    parts += (b"\r\n", reply.body)
    return b"".join(parts)
