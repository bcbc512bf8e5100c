"""The operators' port: /metrics, /livez, /readyz, and the console at /. In a process of its own: rendering costs no choice anything."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Protocol

import uvicorn
from prometheus_client.exposition import choose_encoder

from service.errors import LeverError
from service.http.messages import Receive, Scope, Send
from service.security.api_keys import HEADER, Access
from service.telemetry.exposition import Exposition

Page = Callable[[Mapping[bytes, bytes]], tuple[int, str, bytes]]

TEXT = "text/plain; charset=utf-8"


class More(Protocol):
    """An application that answers some of the paths."""

    def takes(self, path: str) -> bool:
        """Whether it answers this one."""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one request."""


class OperatorPort:
    """A raw ASGI application of a few pages, and what `more` has. With `access` /metrics takes an API key with the scope `read`."""

    def __init__(self, exposition: Exposition, access: Access | None = None, more: More | None = None) -> None:
        self._exposition = exposition
        self._more = more
        self._access = access
        self._pages: dict[str, Page] = {"/metrics": self._metrics, "/livez": self._livez, "/readyz": self._readyz}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        if self._more is not None and self._more.takes(scope["path"]):
            await self._more(scope, receive, send)
            return
        page = self._pages.get(scope["path"])
        if page is None:
            status, kind, body = 404, TEXT, b"not found\n"
        elif scope["method"] not in ("GET", "HEAD"):
            status, kind, body = 405, TEXT, b"only GET\n"
        else:
            status, kind, body = page(dict(scope["headers"]))
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _metrics(self, headers: Mapping[bytes, bytes]) -> tuple[int, str, bytes]:
        if self._access is not None:
            with contextlib.suppress(LeverError):  # the workers tell of it
                self._access.refresh()
            scopes = self._access.scopes(headers.get(HEADER.encode(), b"").decode("latin-1"))
            if scopes is None:
                return 401, TEXT, b"an API key is needed, as the header authorization: Bearer KEY\n"
            if "read" not in scopes:
                return 403, TEXT, b"this API key does not have the scope 'read'\n"
        encode, kind = choose_encoder(headers.get(b"accept", b"").decode("latin-1"))
        return 200, kind, encode(self._exposition.registry)

    def _livez(self, _headers: Mapping[bytes, bytes]) -> tuple[int, str, bytes]:
        return 200, TEXT, b"alive\n"

    def _readyz(self, _headers: Mapping[bytes, bytes]) -> tuple[int, str, bytes]:
        ready, lines = self._exposition.readiness()
        text = "\n".join(["ready" if ready else "not ready", *lines, ""])
        return (200 if ready else 503), TEXT, text.encode()


class UntilSignal(uvicorn.Server):
    """Ends on SIGTERM with status 0: uvicorn's own way raises the signal again once it is through."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn's hook: end on the first signal."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield
