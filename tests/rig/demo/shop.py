"""The simulated shop of `lever demo` after some days: made once, whoever asks for it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from unittest import mock

from service.demo.past import past
from service.demo.world import WORLDS
from service.management.offline import Apart
from service.pb.lever.v1 import experiment_pb2 as pb
from service.rpc.experiments import ExperimentServicer
from service.security.secrets import Secrets
from service.server.assemble import Service, build
from service.serving import token
from service.store.contract import Put
from service.store.memory import MemoryStore
from service.telemetry.metrics import Metrics

NOW = 1_790_000_000_000
DAYS = 4
KEYS = Secrets([b"a token key for tests only"], b"a subject key for tests only")


@contextmanager
def same_luck() -> Iterator[None]:
    """Decisions are drawn with numbers that are random, but the same in every run."""
    numbers = random.Random(1)
    with mock.patch.object(token, "_prefix", partial(numbers.getrandbits, 64)):
        yield


@cache
def writes() -> tuple[Put, ...]:
    """What brings the experiments into a store."""
    with same_luck():
        return tuple(past(KEYS, NOW, DAYS))


def opened(clock: list[int]) -> Service:
    """A service that was given them; the clock of its store can be turned."""
    store = MemoryStore(lambda: clock[0])
    for put in writes():
        store.put(put)
    with same_luck():
        service = build(store, KEYS, Metrics())
    service.feed.turn()
    return service


@cache
def told() -> dict[str, tuple[pb.GetReportResponse, pb.GetTimelineResponse]]:
    """The report and the timeline of each experiment, as they go over the wire."""
    service = opened([NOW + 1000])
    servicer = ExperimentServicer(service.experiments, Apart("memory"))
    return {
        world.name: (
            servicer.GetReport(pb.GetReportRequest(name=world.name), None),  # type: ignore[arg-type]
            servicer.GetTimeline(pb.GetTimelineRequest(name=world.name, step="TIMELINE_STEP_DAY"), None),  # type: ignore[arg-type]
        )
        for world in WORLDS
    }
