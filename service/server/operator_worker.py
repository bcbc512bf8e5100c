"""The process of the operators' port. Started by the supervisor with the socket it serves on."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

import msgspec
import structlog
import uvicorn

from service import logs
from service.console.app import Console
from service.http.operator_port import OperatorPort, UntilSignal
from service.http.protocol import protocol
from service.process import child
from service.process.settings import is_loopback
from service.security.api_keys import Access
from service.telemetry.exposition import FRAME, Dump, Exposition

DUMP_BYTES = 64 << 20


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
    except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, msgspec.MsgspecError):
        pass  # cancelled where we end; asyncio's streams of Python 3.11 would log that as an error
    finally:
        if last is not None:
            exposition.leave(last.worker, last.started)
        writer.close()


async def serve(orders: child.Orders) -> None:
    """Serve until a signal."""
    settings = orders.resolved()
    access = Access(settings.keys_file) if settings.keys_file is not None else None
    exposition = Exposition()
    path = Path(orders.report)
    path.unlink(missing_ok=True)  # noqa: ASYNC240  # before anything is served

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take_dumps(reader, writer, exposition)

    console = Console(
        orders.inner,
        exposition,
        access,
        local=is_loopback(settings.http_host),
        mutual=settings.tls_client_ca is not None,
    )
    config = uvicorn.Config(
        OperatorPort(exposition, access, console), lifespan="off", access_log=False, log_config=None, server_header=False,
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
    child.leave(0)


if __name__ == "__main__":
    main()
