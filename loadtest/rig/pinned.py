"""The server under test: a real `lever serve` whose worker has a core to itself, with the homepage example.

The example is served once for each algorithm, as experiments of their own in one process, so that they can be
measured in turn. Callers, the store, the HTTP side and the supervisor share the other core.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml

from loadtest.rig import processes
from loadtest.rig.server import START_SECONDS, ServerError, channel, running
from service.pb.lever.v1 import experiment_pb2, experiment_pb2_grpc
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1 import personalization_pb2_grpc as pb_grpc

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy/examples/homepage.yaml"
INDUSTRIES = ("software", "retail", "health", "finance", "agency")
SOURCES = ("search", "ads", "social", "partner")
SUBJECTS = 10_000
FLAG = "/ofrep/v1/evaluate/flags/"


@dataclass(frozen=True)
class Stand:
    """A running Lever."""

    address: str
    http: str
    worker: int  # its process id
    engine: Path  # socket of the store
    core: int  # the worker's
    other: int  # everybody else's
    store: int  # the process id of the store, which is on the other
    web: str = ""  # of the web port, where one was asked for
    web_pid: int = 0  # on the worker's core too

    def served(self, method: str = "Select") -> int:
        """Calls of a method that the worker itself says it answered with OK."""
        return self._counted("grpc_server_handled_total{", f'grpc_method="{method}"', 'grpc_code="OK"')

    def flags_served(self) -> int:
        """Evaluations of single flags that the web port says it answered with 200."""
        return self._counted("lever_http_requests_total{", 'route="ofrep_flag"', 'status="200"')

    def _counted(self, name: str, *labels: str) -> int:
        page = urllib.request.urlopen(f"http://{self.http}/metrics", timeout=5).read().decode()
        lines = (line for line in page.splitlines() if line.startswith(name))
        return round(sum(float(line.split()[-1]) for line in lines if all(label in line for label in labels)))


@contextlib.contextmanager
def lever(*, web: bool = False, together: bool = False) -> Iterator[Stand]:
    """A server, on request with a web port, for as long as the block; the calling process moves to the other core.

    `together`: all of the server's processes share the core, its store too. Raises ServerError.
    """
    core, other = processes.cores()
    was = os.sched_getaffinity(0)
    with running(*(["--web-port", "0"] if web else [])) as server:
        try:
            (worker,), (store,) = server.workers(), server.children("-server ")
            web_processes = server.children("service.server.http_worker")
            everyone = [server.pid, *server.children()]
            mine = everyone if together else [worker, *web_processes]
            for task in [*everyone, os.getpid()]:
                processes.pin(task, core if task in mine else other)
            made = Stand(server.address, server.http, worker, server.data / "engine.sock", core, other, store)
            yield replace(made, web=server.web, web_pid=web_processes[0]) if web else made
        finally:
            os.sched_setaffinity(0, was)


def put(address: str, config: dict[str, object]) -> None:
    """Create an experiment."""
    with channel(address) as link:
        stub = experiment_pb2_grpc.ExperimentServiceStub(link)
        stub.PutExperiment(experiment_pb2.PutExperimentRequest(config=yaml.safe_dump(config)), timeout=30)


def homepage(algorithm: str) -> dict[str, object]:
    """The homepage example under another name and algorithm."""
    config: dict[str, object] = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    chosen = config["algorithm"] if algorithm == "linucb" else algorithm
    return config | {"experiment": f"homepage-{algorithm}", "algorithm": chosen}


def batch(experiment: str, seed: int, n: int = SUBJECTS) -> pb.SelectBatchRequest:
    """n subjects with random contexts; most fall into a segment that learns."""
    rng = np.random.default_rng(seed)
    subjects = [f"v{seed}-{i}" for i in range(n)]
    request = pb.SelectBatchRequest(experiment=experiment, subjects=subjects)
    request.context.add(feature="industry", dictionary=INDUSTRIES, texts=rng.integers(0, 5, n).tolist())
    request.context.add(feature="source", dictionary=SOURCES, texts=rng.integers(0, 4, n).tolist())
    request.context.add(feature="returning", flags=(rng.random(n) < 0.7).astype(np.uint8).tobytes())
    return request


def teach(address: str, experiment: str, seed: int = 1) -> None:
    """10,000 trials and rewards at rates that differ by arm, so that no posterior is its prior."""
    rng = np.random.default_rng(seed)
    with channel(address) as link:
        stub = pb_grpc.PersonalizationServiceStub(link)
        made = stub.SelectBatch(batch(experiment, seed), timeout=60)
        rates = 0.02 + 0.01 * np.arange(len(made.arm_ids))
        won = np.flatnonzero(rng.random(len(made.arms)) < rates[np.array(made.arms)])
        rewards = [pb.RewardRequest(decision=made.decision_ids[i]) for i in won.tolist()]
        pages = (pb.StreamRewardsRequest(rewards=rewards[i : i + 500]) for i in range(0, len(rewards), 500))
        for _ in stub.StreamRewards(pages, timeout=60):
            pass


def teach_numbers(address: str, experiment: str, rows: Sequence[Sequence[float]]) -> None:
    """A trial for each row of numbers, the features f0, f1 and so on; one in five is rewarded."""
    request = pb.SelectBatchRequest(experiment=experiment, subjects=[f"t{i}" for i in range(len(rows))])
    for number, column in enumerate(zip(*rows, strict=True)):
        request.context.add(feature=f"f{number}", numbers=column)
    with channel(address) as link:
        stub = pb_grpc.PersonalizationServiceStub(link)
        made = stub.SelectBatch(request, timeout=60)
        for decision in made.decision_ids[::5]:
            stub.Reward(pb.RewardRequest(decision=decision), timeout=5)


def known(web: str, experiment: str) -> None:
    """Return once the web port chooses in this experiment: it polls the store like any other server. ServerError."""
    body = json.dumps({"context": {"targetingKey": "first"}}).encode()
    request = urllib.request.Request(f"http://{web}{FLAG}{experiment}", body)  # http
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310  # as above
            if "value" in json.load(answer):
                return
        time.sleep(0.1)
    raise ServerError(f"the web port does not serve {experiment}")


def requests(address: str, experiment: str, count: int) -> list[pb.SelectRequest]:
    """Requests that are answered by the policy out of all ten arms: returning visitors outside the holdout."""
    found: list[pb.SelectRequest] = []
    with channel(address) as link:
        stub = pb_grpc.PersonalizationServiceStub(link)
        for number in itertools.count():
            request = pb.SelectRequest(experiment=experiment, subject=f"visitor-{number:06d}")
            request.context["industry"].text = INDUSTRIES[number % 5]
            request.context["source"].text = SOURCES[number % 4]
            request.context["returning"].flag = True
            if stub.Select(request, timeout=5).reason == pb.REASON_POLICY:
                found.append(request)
            if len(found) == count:
                return found
    raise AssertionError


def sample(address: str, request: pb.SelectRequest) -> pb.SelectResponse:
    """What the server answers."""
    with channel(address) as link:
        return pb_grpc.PersonalizationServiceStub(link).Select(request, timeout=5)


def bodies(messages: Sequence[pb.SelectRequest]) -> list[bytes]:
    """The messages as bytes."""
    return [message.SerializeToString() for message in messages]
