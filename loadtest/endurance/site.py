"""A small production to be hurt: a store that fsyncs always, a proxy, two servers; and the callers that keep account."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from loadtest.rig.proxy import Proxy
from loadtest.rig.server import OPTIONS, Server, channel
from service.pb.lever.v1 import experiment_pb2
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.store.embedded import Embedded

BATCH = 100  # decisions and rewards of a caller at a time
PAUSE_S = 0.4  # between two batches of one caller
PROBE_S = 0.005  # between two probing choices
CONFIG = """
experiment: chaos
arms: [{id: a}, {id: b}, {id: c}, {id: d}]
default_arm: a
algorithm: beta
holdout: {share: 0.05, serve: uniform}
metrics:
  - {id: click, primary: true, window: 1h}
"""


@dataclass
class Site:
    """All of it."""

    store: Embedded
    proxy: Proxy
    servers: list[Server]


@contextlib.contextmanager
def site(folder: Path, binary: Path | None = None) -> Iterator[Site]:
    """A site that serves, with the experiment `chaos`."""
    store = Embedded(folder / "store", binary=binary)
    proxy = Proxy(store.start().removeprefix("unix://"))
    servers = [Server(folder / f"server-{i}", "--redis-url", proxy.url) for i in range(2)]
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.ready()
        with channel(servers[0].address) as link:
            request = experiment_pb2.PutExperimentRequest(config=CONFIG)
            ExperimentServiceStub(link).PutExperiment(request, timeout=30)
        yield Site(store, proxy, servers)
    finally:
        proxy.silent = False
        for server in servers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.stop()
        proxy.close()
        store.stop()


@dataclass
class Account:
    """What callers were told: acknowledged decisions by the phase they fell in, and choices with their latencies."""

    phase: str = "before"
    acked: dict[bytes, str] = field(default_factory=dict)  # a decision's nonce to the phase of its acknowledgement
    again: int = 0  # rewards sent again after they were acknowledged
    forgotten: int = 0  # of these, how many were counted as if they had not come before
    strange: list[str] = field(default_factory=list)
    choices: list[tuple[str, float]] = field(default_factory=list)  # phase, milliseconds
    waited_s: float = 0.0  # the longest that a reward was refused before it was acknowledged
    errors: list[str] = field(default_factory=list)  # phase of each choice that no server made
    said: Counter[str] = field(default_factory=Counter)  # by phase, what the servers said to a call neither answered


class Callers:
    """Threads that choose and reward until they are stopped. A caller tries the other servers when one fails."""

    def __init__(
        self, servers: Sequence[Server], account: Account, rewarders: int, experiments: Sequence[str] = ("chaos",)
    ) -> None:
        self._account = account
        self._experiments = experiments
        self._stop = threading.Event()
        self._links = [_link(server.address) for server in servers]
        self._stubs = [PersonalizationServiceStub(link) for link in self._links]
        self._turn = itertools.count()
        self._threads = [threading.Thread(target=self._probe, daemon=True)]
        self._threads += [threading.Thread(target=self._reward, args=(i,), daemon=True) for i in range(rewarders)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No new decisions; what was decided is rewarded until it is acknowledged."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for link in self._links:
            link.close()

    def _either(self, call: Callable[[PersonalizationServiceStub], object]) -> object | None:
        """The answer of one server, else of another, else None."""
        first, count = next(self._turn), len(self._stubs)
        said = []
        for number in (at % count for at in range(first, first + count)):
            try:
                return call(self._stubs[number])
            except grpc.RpcError as error:
                said.append(f"server {number}: {error.code().name}: {(error.details() or '')[:160]}")
        self._account.said.update(f"{self._account.phase}: {words}" for words in said)
        return None

    def _probe(self) -> None:
        requests = itertools.cycle(
            [pb.SelectRequest(experiment=name, subject="prober", mode=pb.MODE_UNCOUNTED) for name in self._experiments]
        )
        while not self._stop.is_set():
            request = next(requests)
            phase, begun = self._account.phase, time.perf_counter()
            answer = self._either(lambda stub, r=request: stub.Select(r, timeout=2.0))  # type: ignore[misc]
            if answer is None:
                self._account.errors.append(phase)
            else:
                self._account.choices.append((phase, (time.perf_counter() - begun) * 1000))
            self._stop.wait(PROBE_S)

    def _reward(self, number: int) -> None:
        old: list[bytes] = []
        for turn in itertools.count():
            if self._stop.is_set():
                return
            subjects = [f"c{number}-{turn}-{i}" for i in range(BATCH)]
            name = self._experiments[(number + turn) % len(self._experiments)]
            request = pb.SelectBatchRequest(experiment=name, subjects=subjects)
            answer = self._either(lambda stub, r=request: stub.SelectBatch(r, timeout=5.0))  # type: ignore[misc]
            if not isinstance(answer, pb.SelectBatchResponse):
                self._account.errors.append(self._account.phase)
                continue
            tokens = list(answer.decision_ids)
            self._insist(tokens)
            if old:  # what was acknowledged is sent once more: it must be recognised
                self._account.again += len(old)
                self._insist(old, again=True)
            old = tokens[: BATCH // 10]
            self._stop.wait(PAUSE_S)

    def _insist(self, tokens: list[bytes], *, again: bool = False) -> None:
        """Send until every reward is acknowledged."""
        left, begun = tokens, time.monotonic()
        while left:
            message = pb.StreamRewardsRequest(rewards=[pb.RewardRequest(decision=token) for token in left])
            answer = self._either(lambda stub, m=message: next(iter(stub.StreamRewards(iter([m]), timeout=10.0))))  # type: ignore[misc]
            if not isinstance(answer, pb.StreamRewardsResponse):
                time.sleep(0.2)
                continue
            missing = []
            for token, result in zip(left, answer.results, strict=True):
                if result.outcome in (pb.OUTCOME_APPLIED, pb.OUTCOME_DUPLICATE):
                    if again and result.outcome == pb.OUTCOME_APPLIED:
                        self._account.forgotten += 1
                    self._account.acked.setdefault(token[2:14], self._account.phase)
                elif result.code == grpc.StatusCode.UNAVAILABLE.value[0]:
                    missing.append(token)
                else:
                    self._account.strange.append(f"{result.outcome} {result.code} {result.message}")
            if missing:
                time.sleep(0.2)
            left = missing
        self._account.waited_s = max(self._account.waited_s, time.monotonic() - begun)


def _link(address: str) -> grpc.Channel:
    """A caller's connection. Left to itself, gRPC waits longer and longer (up to two minutes) before it tries a server
    again that was away: with that, two servers killed in turn were both given up while one of them was up.
    """
    patience = [
        (f"grpc.{which}_reconnect_backoff_ms", ms) for which, ms in (("initial", 100), ("min", 100), ("max", 500))
    ]
    return grpc.insecure_channel(address, options=[*OPTIONS, ("grpc.use_local_subchannel_pool", 1), *patience])
