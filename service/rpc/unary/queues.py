"""Which unary methods share a queue: choices have one to themselves, so that nothing keeps them waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health

from service.rpc.guard import Guard
from service.rpc.health import Health, Watches
from service.rpc.status import Ending
from service.rpc.unary.brake import Brake
from service.rpc.unary.calls import Method
from service.rpc.unary.fast_unary import FastUnary
from service.rpc.unary.unfinished import Unfinished
from service.telemetry.faults import Faults
from service.telemetry.metrics import Metrics

SELECT = "/lever.v1.PersonalizationService/Select"
_NONE = Ending(grpc.StatusCode.UNIMPLEMENTED, "a watch has no one answer")


class Queues:
    """Add the methods, make the queues, start them when the server did."""

    def __init__(self, server: grpc.Server, guard: Guard, metrics: Metrics, waiting: int) -> None:
        self._server = server
        self._waiting = waiting
        self._faults = Faults(metrics, "grpc")
        self._overloaded = metrics.overloaded
        self._count = guard.shedding("unfinished")
        self._count_watch = guard.shedding("watches")
        self._methods: list[Method] = []
        self.all: list[FastUnary] = []

    def add(self, method: Method) -> None:
        """One more method."""
        self._methods.append(method)

    def make(self, statuses: Health, look: Callable[[], None]) -> None:
        """The queues, with Health/Watch in the second; `look` is called ten times a second."""
        watches = Watches(statuses.status, self._count_watch)

        def tick(now: float) -> None:
            watches.tell(now)
            look()

        choices = [method for method in self._methods if method.path == SELECT and method.pool is None]
        others = [method for method in self._methods if method not in choices]
        others.append(
            Method(
                f"/{health.SERVICE_NAME}/Watch", lambda _: None, lambda *_: _NONE, lambda: _NONE,
                take=watches.take, gone=watches.gone,
            )
        )  # fmt: skip
        self._overloaded.set(0.0)
        self._make("lever-choices", choices, Brake(self._overloaded.set))
        self._make("lever-calls", others, Brake(), tick=tick)

    def start(self) -> None:
        """Take calls."""
        for queue in self.all:
            queue.start()

    def send(self) -> None:
        """Let what was told of calls be sent, from any thread."""
        for queue in self.all:
            queue.send()

    def _make(self, name: str, methods: list[Method], brake: Brake, **given: Any) -> None:
        if methods:
            unfinished = Unfinished(self._count)
            made = FastUnary(self._server, name, methods, self._waiting, self._faults, unfinished, brake, **given)
            self.all.append(made)
