"""A shorter way through uvicorn for what is answered at once: no task, no ASGI messages, no second pass over headers.

An evaluation takes about 20 us; uvicorn's way to an application and back takes about 40. What is not plain (an upgrade,
a query, escapes, a request behind an unanswered one, a client that does not read) goes uvicorn's way.

This leans on uvicorn's insides; protocol.py says whether they are what was tested, and only then imports this. A fault
here is one request's: before the answer it goes uvicorn's way, later it gets the status 500.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.http.app import Route, WebApp
from service.http.bounded import Bounded
from service.http.messages import Reply

_FAULT = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"


class FastProtocol(Bounded):
    """uvicorn's protocol, for a WebApp as its application."""

    _route: Route | None = None  # of the request in hand, if it is answered here
    _tail = ""
    _parts: list[bytes]
    _size = 0

    def take(self) -> None:
        """Take the request, or leave it to uvicorn."""
        self._route = None
        app: Any = self.config.app
        if isinstance(app, WebApp):
            try:
                self._choose(app)
            except Exception as error:  # noqa: BLE001 - the parser would call it the client's fault
                self._route = None
                app.faults.note(error)
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
        """Answer."""
        route = self._route
        if route is None:
            super().answer()
            return
        self._route = None
        app: Any = self.config.app
        try:
            body = b"".join(self._parts) if self._size <= route.limit else None
            made = _written(app.at_once(route, self._tail, dict(self.headers), body))
        except Exception as error:  # noqa: BLE001 - as above
            app.faults.note(error)
            made = _FAULT
        self.transport.write(made)
        self.on_response_complete()

    def _choose(self, app: WebApp) -> None:
        """Set the route if the request is one to be answered here."""
        if self._plain():
            route, tail = app.route(self.url.decode("ascii"))
            if route is not None and not route.waits and route.method == self.parser.get_method().decode("ascii"):
                self._route, self._tail, self._parts, self._size = route, tail, [], 0

    def _plain(self) -> bool:
        parser = self.parser
        before: Any = self.cycle  # None at first, whatever its type says
        return (
            parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and not self.expect_100_continue
            and not self.flow.write_paused
            and not self.pipeline
            and (before is None or before.response_complete)
            and self.url.isascii()
            and not any(mark in self.url for mark in (b"%", b"?", b"#", b"://"))
        )


def _written(reply: Reply) -> bytes:
    parts = [STATUS_LINE[reply.status]]
    for name, value in reply.headers:
        parts += (name, b": ", value, b"\r\n")
    if reply.kind:
        parts += (b"content-type: ", reply.kind, b"\r\ncontent-length: ", str(len(reply.body)).encode(), b"\r\n")
    parts += (b"\r\n", reply.body)
    return b"".join(parts)
