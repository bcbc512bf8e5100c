"""The process of the HTTP door. Started by the supervisor with the socket it serves on."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import uvicorn

from service import __version__, logs
from service.http.app import WebApp
from service.http.backend import Backend
from service.http.fast_protocol import FastProtocol
from service.http.operator_port import UntilSignal
from service.process import child
from service.security.api_keys import Access
from service.server.worker import SWITCH_S, TICK_S, follow, made, make
from service.telemetry.dumps import Reporter
from service.telemetry.metrics import Metrics

DRAIN_S = 5


class Opener:
    """A thread that opens the service, tells the door and the reporter how it stands, and closes it again."""

    def __init__(self, orders: child.Orders, desk: Backend, access: Access | None, metrics: Metrics) -> None:
        self._orders = orders
        self._desk = desk
        self._access = access
        self._metrics = metrics
        self._reporter = Reporter(Path(orders.report), orders.name, metrics)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lever-keeper")

    def start(self) -> None:
        """Begin."""
        self._reporter.start()
        self._thread.start()

    def stop(self) -> None:
        """Flush what was decided; to be called when nothing more is served."""
        self._stop.set()
        self._thread.join()
        self._reporter.stop()

    def _run(self) -> None:
        desk, orders = self._desk, self._orders
        desk.why = "waiting for the store"
        parts = made(make, orders.resolved(), orders.url, self._metrics, self._reporter, self._stop)
        if parts is None or parts.service is None:
            return
        desk.uses, desk.directory, desk.clock = parts.uses, parts.service.directory, parts.service.clock
        parts.start()
        desk.why = "nothing is loaded yet: the store has not answered"
        while not self._stop.wait(TICK_S):
            if not desk.open and parts.ready():
                gc.collect()
                gc.freeze()
                desk.open = True
                child.say("ready")
            self._reporter.say(ready=desk.open, why="" if desk.open else desk.why)
            follow(self._access)
        self._reporter.say(ready=False, why="stopping")
        parts.stop()


async def serve(orders: child.Orders) -> None:
    """Serve until a signal; what was asked before it is answered, and what was decided is flushed."""
    settings = orders.resolved()
    metrics, desk = Metrics(), Backend()
    metrics.build_info.set(1, (__version__,))
    access = Access(settings.keys_file) if settings.keys_file is not None else None
    door = WebApp(desk, access, metrics, settings.reward_threads, settings.max_waiting)
    keeper = Opener(orders, desk, access, metrics)
    config = uvicorn.Config(
        door, lifespan="off", access_log=False, log_config=None, server_header=False, date_header=False, http=FastProtocol,
        ws="none", timeout_graceful_shutdown=DRAIN_S, timeout_keep_alive=75, proxy_headers=False,
    )  # fmt: skip
    config.load()
    keeper.start()
    await UntilSignal(config).serve(sockets=[socket.socket(fileno=orders.listener)])
    door.close()
    await asyncio.to_thread(keeper.stop)


def main() -> None:
    """Entry point of the door's process."""
    orders = child.orders()
    settings = orders.resolved()
    logs.configure(settings.log_level, settings.log_json, process="door")
    sys.setswitchinterval(SWITCH_S)
    runner: Any = asyncio.run
    if sys.platform != "win32":
        import uvloop

        runner = uvloop.run
    runner(serve(orders))


if __name__ == "__main__":
    main()
