"""The process of the web port. Started by the supervisor with the socket it serves on."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import uvicorn

from service import __version__, logs
from service.http.app import WebApp
from service.http.handlers.backend import Backend
from service.http.operator_port import UntilSignal
from service.http.protocol import protocol
from service.process import child
from service.security.api_keys import Access
from service.server import kernels
from service.server.worker import SWITCH_S, TICK_S, await_store, follow
from service.telemetry.dumps import Reporter
from service.telemetry.metrics import Metrics

DRAIN_S = 5


class Opener:
    """A thread that opens the service, tells the application and the reporter how it stands, and closes it again."""

    def __init__(self, orders: child.Orders, backend: Backend, access: Access | None, metrics: Metrics) -> None:
        self._orders = orders
        self._backend = backend
        self._access = access
        self._metrics = metrics
        self._reporter = Reporter(Path(orders.report), orders.name, metrics)
        self._stop = threading.Event()
        self._serving = False
        self._thread = threading.Thread(target=self._run, name="lever-opener", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._reporter.start()
        self._thread.start()

    def stop(self) -> None:
        """Flush what was decided; to be called when nothing more is served. Where nothing was, the process ends here."""
        self._stop.set()
        if not self._serving:
            os._exit(0)  # a thread that compiles, or waits for the store, would not hear of it soon
        self._thread.join()
        self._reporter.stop()

    def _run(self) -> None:
        backend, orders = self._backend, self._orders
        backend.why = "waiting for the store"
        service = await_store(orders.resolved(), orders.url, self._metrics, self._reporter, self._stop)
        if service is None or self._stop.is_set():
            return
        self._serving = True
        backend.use_cases, backend.directory, backend.clock = service.use_cases, service.directory, service.clock
        service.start()
        backend.why = "nothing is loaded yet: the store has not answered"
        while not self._stop.wait(TICK_S):
            if not backend.open and service.feed.ready:
                gc.collect()
                gc.freeze()
                backend.open = True
                child.answering(service.feed.refresh)
                child.say("ready")
                kernels.finish()
            self._reporter.say(ready=backend.open, why="" if backend.open else backend.why)
            follow(self._access)
        self._reporter.say(ready=False, why="stopping")
        service.stop()


async def serve(orders: child.Orders) -> None:
    """Serve until a signal; what was asked before it is answered, and what was decided is flushed."""
    settings = orders.resolved()
    metrics, backend = Metrics(), Backend()
    metrics.build_info.set(1, (__version__,))
    access = Access(settings.keys_file) if settings.keys_file is not None else None
    app = WebApp(backend, access, metrics, settings.reward_threads, settings.max_waiting)
    opener = Opener(orders, backend, access, metrics)
    config = uvicorn.Config(
        app, lifespan="off", access_log=False, log_config=None, server_header=False, date_header=False, http=protocol(),
        ws="none", timeout_graceful_shutdown=DRAIN_S, timeout_keep_alive=75, proxy_headers=False,
    )  # fmt: skip
    config.load()
    opener.start()
    await UntilSignal(config).serve(sockets=[socket.socket(fileno=orders.listener)])
    app.close()
    await asyncio.to_thread(opener.stop)


def main() -> None:
    """Entry point of the web process."""
    orders = child.orders()
    settings = orders.resolved()
    logs.configure(settings.log_level, settings.log_json, process="web")
    sys.setswitchinterval(SWITCH_S)
    runner: Any = asyncio.run
    if sys.platform != "win32":
        import uvloop

        runner = uvloop.run
    runner(serve(orders))
    child.leave(0)


if __name__ == "__main__":
    main()
