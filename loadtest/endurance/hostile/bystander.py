"""A good caller beside an attack: choices at a steady pace, and health, each on a connection that was there before."""

from __future__ import annotations

import threading
import time
from typing import Self

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from loadtest.rig.server import channel
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub

PACE_S = 0.02
DEADLINE_S = 5.0


class Bystander:
    """Asks from its beginning to its end."""

    def __init__(self, address: str, key: str) -> None:
        self._address = address
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.took_s: list[float] = []
        self.failed: list[str] = []
        self.health: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def ok(self) -> float:
        """The share of choices that were answered."""
        return len(self.took_s) / max(len(self.took_s) + len(self.failed), 1)

    def p99_ms(self) -> float:
        """Of those that were answered."""
        return float(np.percentile(self.took_s or [DEADLINE_S], 99)) * 1000

    def healthy(self) -> bool:
        """Whether health said SERVING every time."""
        return bool(self.health) and set(self.health) == {"SERVING"}

    def _run(self) -> None:
        request = pb.SelectRequest(experiment="fuzzed", subject="ann")
        with channel(self._address) as link:
            choices, health = PersonalizationServiceStub(link), health_pb2_grpc.HealthStub(link)
            turn = 0
            while not self._done.wait(PACE_S):
                begun = time.perf_counter()
                try:
                    choices.Select(request, timeout=DEADLINE_S, metadata=self._metadata)
                    self.took_s.append(time.perf_counter() - begun)
                except grpc.RpcError as error:
                    self.failed.append(error.code().name)
                if turn % 10 == 0:
                    self.health.append(_asked(health))
                turn += 1


def _asked(health: health_pb2_grpc.HealthStub) -> str:
    try:
        status = health.Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S).status
    except grpc.RpcError as error:
        return str(error.code().name)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(status))
