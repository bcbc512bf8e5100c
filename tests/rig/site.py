"""A real `lever serve` with an web port, and plain calls to it."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from loadtest.rig.server import Server
from service.pb.lever.v1 import experiment_pb2
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from tests.rig.waiting import eventually

PAGE = "https://shop.example"


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Site:
    """The websites' side of a running Lever; calls go with `key` unless told otherwise."""

    web: str
    grpc: str = ""
    http: str = ""
    key: str = ""
    server: Server | None = None

    @property
    def url(self) -> str:
        return f"http://{self.web}"

    def call(self, method: str, path: str, body: object = None, address: str = "", **headers: str) -> Answer:
        """One request on a connection of its own; bytes and texts go as they are, the rest as JSON."""
        raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        send = {"content-type": "application/json"} | ({"authorization": f"Bearer {self.key}"} if self.key else {})
        send |= {name.replace("_", "-"): value for name, value in headers.items()}
        link = http.client.HTTPConnection(address or self.web, timeout=20)
        try:
            link.request(method, path, None if body is None else raw, send)
            answer = link.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, names, answer.read())
        finally:
            link.close()

    def await_experiments(self, names: Iterable[str]) -> None:
        """The web process learns of experiments by polling; return once it knows all of them."""
        eventually(lambda: all(self.flag(name, "first").status != 404 for name in names))

    def post(self, path: str, body: object, **headers: str) -> Answer:
        return self.call("POST", path, body, **headers)

    def flag(self, key: str, subject: str, **context: object) -> Answer:
        return self.post(f"/ofrep/v1/evaluate/flags/{key}", {"context": {"targetingKey": subject, **context}})

    def flags(self, subject: str, etag: str = "", **context: object) -> Answer:
        headers = {"if_none_match": etag} if etag else {}
        return self.post("/ofrep/v1/evaluate/flags", {"context": {"targetingKey": subject, **context}}, **headers)

    def event(self, decision_id: str, **given: object) -> dict[str, Any]:
        """One event; its result."""
        answer = self.post("/v1/events", {"events": [{"decision_id": decision_id, **given}]})
        (result,) = answer.json["results"]
        return dict(result)

    def trials(self, experiment: str) -> dict[str, tuple[int, int]]:
        """Trials and rewarded trials of each arm, all segments together, as the server's report has them now."""
        made: dict[str, tuple[int, int]] = {}
        with grpc.insecure_channel(self.grpc) as channel:
            asked = experiment_pb2.GetReportRequest(name=experiment)
            told = ExperimentServiceStub(channel).GetReport(asked, timeout=20, metadata=self._metadata())
        for segment in told.segments:
            for arm in segment.arms:
                trials, rewarded = made.get(arm.arm, (0, 0))
                made[arm.arm] = trials + arm.trials, rewarded + arm.rewarded
        return made

    def settled(self, experiment: str) -> dict[str, tuple[int, int]]:
        """trials() once it has stood still for ten flush intervals: what was decided before is in it."""
        last = self.trials(experiment)
        while True:
            time.sleep(1.0)
            now = self.trials(experiment)
            if now == last:
                return now
            last = now

    def await_trials(self, experiment: str, count: int) -> dict[str, tuple[int, int]]:
        """The report once it has so many trials."""
        eventually(lambda: sum(trials for trials, _ in self.trials(experiment).values()) >= count)
        return self.trials(experiment)

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.key}"),) if self.key else ()


@dataclass
class Keyed:
    """A Lever with keys, and the keys."""

    site: Site
    secret: str
    decide: str
    public: str
    beacon: str  # public, may only send events


@contextmanager
def site(
    folder: Path,
    experiments: Mapping[str, str],
    *options: str,
    key: str = "",
    variables: Mapping[str, str] | None = None,
) -> Iterator[Site]:
    """A Lever that serves these experiments (name to YAML) for as long as the block."""
    files = folder / "experiments"
    files.mkdir()
    for name, text in experiments.items():
        (files / f"{name}.yaml").write_text(text)
    with Server(folder, "--web-port", "0", "--experiments", str(files), *options, **(variables or {})) as server:
        made = Site(server.web, server.address, server.http, key, server)
        made.await_experiments(experiments)
        yield made
