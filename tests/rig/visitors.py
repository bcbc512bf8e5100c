"""Sites to be hurt, and their visitors: a store, servers on it, and one thread that keeps choosing and rewarding."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import yaml

from loadtest.rig.server import Server, channel
from service.pb.lever.v1 import experiment_pb2
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.store.embedded import Embedded

TICK_S = 0.25
CONFIG = """
experiment: {name}
arms: [{{id: a}}, {{id: b}}]
default_arm: a
algorithm: beta
features:
  visits: {{type: number, min: 0, max: 50}}
  source: {{type: category, values: [ads, search]}}
metrics: [{{id: click, window: 1h}}]
"""
# Its buckets of time are a second, so an outage is known in seconds.
BRIEF: dict[str, Any] = {
    "experiment": "brief",
    "arms": [{"id": "a"}, {"id": "b"}],
    "default_arm": "a",
    "algorithm": "auto",
    "metrics": [{"id": "click", "window": "30s"}],
}
# Nobody may be annoyed by it.
LETTER: dict[str, Any] = {
    "experiment": "letter",
    "arms": [{"id": "a"}, {"id": "b"}],
    "default_arm": "a",
    "algorithm": "uniform",
    "metrics": [{"id": "complaint", "window": "1h"}],
    "guardrails": [{"metric": "complaint", "max": 0.1}],
}
# A choice that takes long enough to be caught in the middle.
DEAR: dict[str, Any] = {
    "experiment": "dear",
    "arms": [{"id": f"arm-{i}"} for i in range(200)],
    "default_arm": "arm-0",
    "algorithm": "lints",
    "features": {f"x{i}": {"type": "number", "min": 0, "max": 1} for i in range(12)},
    "metrics": [{"id": "click", "window": "1h"}],
}

# What the servers of this test run with: pools small enough to be overrun by one caller.
FAULT = (("planted", "fault"),)  # metadata of a call that meets the planted fault
SETTINGS = {"LEVER_REWARD_THREADS": "1", "LEVER_MAX_WAITING": "8"}


@dataclass
class Caller:
    """A connection to one server, with what the visitors of these tests do."""

    server: Server
    link: grpc.Channel = field(init=False)

    def __post_init__(self) -> None:
        self.link = channel(self.server.address)
        self.stub = PersonalizationServiceStub(self.link)

    def put(self, *names: str) -> None:
        """Create experiments."""
        own = {"dear": DEAR, "brief": BRIEF, "letter": LETTER}
        for config in (own.get(name) or yaml.safe_load(CONFIG.format(name=name)) for name in names):
            request = experiment_pb2.PutExperimentRequest(config=yaml.safe_dump(config))
            ExperimentServiceStub(self.link).PutExperiment(request, timeout=30)

    def choose(self, experiment: str, count: int, visits: float = 5, source: str = "ads") -> pb.SelectBatchResponse:
        """So many choices at once."""
        request = pb.SelectBatchRequest(experiment=experiment, subjects=[f"s{i}" for i in range(count)])
        if experiment in ("brief", "letter"):  # they have no features
            return self.stub.SelectBatch(request, timeout=30)
        request.context.add(feature="visits", numbers=[visits] * count)
        request.context.add(feature="source", dictionary=[source], texts=[0] * count)
        return self.stub.SelectBatch(request, timeout=30)

    def reward(self, decisions: Sequence[bytes]) -> None:
        """A click for each, in one message of a stream."""
        message = pb.StreamRewardsRequest(rewards=[pb.RewardRequest(decision=one) for one in decisions])
        for _ in self.stub.StreamRewards(iter([message]), timeout=30):
            pass

    def reward_singly(self, decisions: Sequence[bytes]) -> None:
        """A call for each, all at once; whatever becomes of them."""
        calls = [self.stub.Reward.future(pb.RewardRequest(decision=one), timeout=30) for one in decisions]
        for call in calls:
            call.exception()


def planted(folder: Path) -> dict[str, str]:
    """Variables of a server with a fault in its fast path, in front of the handlers."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_PLANT.format(fault=FAULT[0]))
    return {"PYTHONPATH": str(folder)}


_PLANT = """
from service.rpc.unary.fast_unary import FastUnary

whole = FastUnary._take

def take(queue, call):
    if {fault!r} in call.metadata:
        raise RuntimeError("planted")
    whole(queue, call)

FastUnary._take = take
"""


@contextlib.contextmanager
def ticking(turn: Callable[[], object], every_s: float = TICK_S) -> Iterator[None]:
    """`turn` over and over for as long as the block. A turn that a fault cuts short is part of the play."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(every_s):
            with contextlib.suppress(grpc.RpcError):
                turn()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """SIGSTOP, and SIGCONT in the end."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def starved(pid: int, run_s: float = 0.01, wait_s: float = 0.09) -> Iterator[None]:
    """A process that gets the CPU now and then only, as a container does that has used up its quota."""

    def wait() -> None:
        with frozen(pid):
            time.sleep(wait_s)

    with ticking(wait, run_s):
        yield


@contextlib.contextmanager
def refusing_writes(store: Embedded) -> Iterator[None]:
    """The store answers, but takes no writes: it wants a replica that it does not have."""
    import redis

    def tell(replicas: int) -> None:
        with redis.Redis.from_url(store.url, protocol=2) as raw:
            raw.config_set("min-replicas-to-write", replicas)

    tell(1)
    try:
        yield
    finally:
        tell(0)


def hurried(server: Server, calls: int = 60) -> contextlib.AbstractContextManager[None]:
    """Somebody who asks for so many dear choices at a time, and waits 30 ms for them."""
    request = pb.SelectRequest(experiment="dear", subject="bob")

    def ask(stub: PersonalizationServiceStub) -> None:
        for call in [stub.Select.future(request, timeout=0.03) for _ in range(calls)]:
            call.exception()

    return _asking(server, ask, 1)


def crowded(server: Server, callers: int = 16) -> contextlib.AbstractContextManager[None]:
    """So many callers who ask for a dear choice, one after the other."""
    request = pb.SelectRequest(experiment="dear", subject="ann")
    for name in DEAR["features"]:
        request.context[name].number = 0.5

    def ask(stub: PersonalizationServiceStub) -> None:
        with contextlib.suppress(grpc.RpcError):
            stub.Select(request, timeout=30)

    return _asking(server, ask, callers)


@contextlib.contextmanager
def _asking(server: Server, ask: Callable[[PersonalizationServiceStub], None], callers: int) -> Iterator[None]:
    """So many callers, each with a connection, who ask again and again."""
    stop = threading.Event()

    def run() -> None:
        with channel(server.address) as link:
            stub = PersonalizationServiceStub(link)
            while not stop.is_set():
                ask(stub)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
