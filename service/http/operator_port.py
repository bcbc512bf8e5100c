"""The HTTP side port, in a process of its own: /metrics, /livez, /readyz. Rendering costs no choice anything."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import msgspec
import structlog
import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from service import logs
from service.errors import LeverError
from service.http.protocol import protocol
from service.process import child
from service.security.api_keys import HEADER, Access
from service.telemetry.dumps import FRAME
from service.telemetry.exposition import Dump, Exposition

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Page = Callable[[Mapping[bytes, bytes]], tuple[int, str, bytes]]

DUMP_BYTES = 64 << 20
TEXT = "text/plain; charset=utf-8"


class OperatorPort:
    """A raw ASGI application of a few pages. With `access` /metrics takes an API key with the scope `read`."""

    def __init__(self, exposition: Exposition, access: Access | None = None) -> None:
        self._exposition = exposition
        self._access = access
        self._pages: dict[str, Page] = {"/metrics": self._metrics, "/livez": self._livez, "/readyz": self._readyz}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
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


async def take_dumps(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, exposition: Exposition) -> None:
    """One worker's connection: its dumps, until it goes."""
    last: Dump | None = None
    try:
        while True:
            (size,) = FRAME.unpack(await reader.readexactly(FRAME.size))
            if size > DUMP_BYTES:
                break
            last = msgspec.msgpack.decode(await reader.readexactly(size), type=Dump)
            exposition.update(last)
    except (asyncio.IncompleteReadError, ConnectionError, msgspec.MsgspecError):
        pass
    finally:
        if last is not None:
            exposition.leave(last.worker, last.started)
        writer.close()


class UntilSignal(uvicorn.Server):
    """Ends on SIGTERM with status 0: uvicorn's own way raises the signal again once it is through."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn's hook: end on the first signal."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


async def serve(orders: child.Orders) -> None:
    """Serve until a signal."""
    keys_file = orders.resolved().keys_file
    access = Access(keys_file) if keys_file is not None else None
    exposition = Exposition(CollectorRegistry())
    path = Path(orders.report)
    path.unlink(missing_ok=True)  # noqa: ASYNC240  # before anything is served

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take_dumps(reader, writer, exposition)

    config = uvicorn.Config(
        OperatorPort(exposition, access), lifespan="off", access_log=False, log_config=None, server_header=False,
        timeout_graceful_shutdown=5, timeout_keep_alive=75, http=protocol(fast=False), ws="none",
    )  # fmt: skip
    config.load()
    server = UntilSignal(config)
    async with await asyncio.start_unix_server(take, path):
        child.say("ready")
        await server.serve(sockets=[socket.socket(fileno=orders.listener)])
    structlog.get_logger("lever.http").debug("ended")


def main() -> None:
    """Entry point of the HTTP process."""
    orders = child.orders()
    settings = orders.resolved()
    logs.configure(settings.log_level, settings.log_json, process="http")
    runner: Any = asyncio.run
    if sys.platform != "win32":
        import uvloop

        runner = uvloop.run
    runner(serve(orders))


if __name__ == "__main__":
    main()
