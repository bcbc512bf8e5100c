"""A stand-in for the use cases: canned decisions, and errors by name. For what the wire does."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import numpy as np

from service.analysis.guardrails import GuardrailReport
from service.analysis.report import ArmReport, Report, SegmentReport
from service.analysis.timeline import Asked, Timeline
from service.errors import ConflictError, InvalidError, LeverError, NotFoundError, PreconditionError, UnavailableError
from service.experiment.features.column import Column, Value
from service.management.exclusions import Exclusion
from service.management.past import Past
from service.management.protocols import Offline
from service.rpc.server import Limits, Server
from service.security.api_keys import Access
from service.serving.batch import BatchDecision
from service.serving.explainer import ArmReasons, Part, Reasons
from service.serving.journey import Credited, Journey
from service.serving.personalizer import Decision, Mode, Reason
from service.serving.rewarder import Exposure, RewardEvent
from service.store.contract import Event, Outcome
from service.telemetry.metrics import Metrics

LOCAL = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

RAISES: dict[str, Exception] = {
    "missing": NotFoundError("experiment", "experiment 'missing' does not exist"),
    "draft": PreconditionError("experiment 'draft' is a draft", "DRAFT"),
    "away": UnavailableError("the store does not answer", retry_s=1.25),
    "broken": RuntimeError("secret detail of the inside"),
}


@dataclass
class Standin:
    """Records what it was asked. Experiments named in RAISES raise; `hold` keeps a choice until it is released."""

    asked: list[tuple[Any, ...]] = field(default_factory=list)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    release: threading.Event = field(default_factory=threading.Event)
    answers: dict[str, Outcome | LeverError] = field(default_factory=dict)

    def _maybe_raise(self, experiment: str) -> None:
        if experiment in RAISES:
            raise RAISES[experiment]
        if experiment == "hold":
            self.entered.release()
            assert self.release.wait(20)

    def journey(self, journey: Journey) -> list[Credited]:
        self.asked.append((journey,))
        return [Credited(1.0, Outcome.APPLIED) for _ in journey.decisions]

    def select(
        self, experiment: str, subject: str, context: Mapping[str, Value], arms: Sequence[str],
        previous: str, deferred: bool, mode: Mode,
    ) -> Decision:  # fmt: skip
        self.asked.append((experiment, subject, dict(context), list(arms), previous, deferred, mode))
        self._maybe_raise(experiment)
        return Decision("dG9rZW4", "calm", '{"a":1}', 0.25, "visitors", True, True, 7, Reason.POLICY)

    def select_batch(
        self, experiment: str, subjects: Sequence[str], columns: Mapping[str, Column], arms: Sequence[str],
        deferred: bool, mode: Mode, frozen: bytes | None = None,
    ) -> BatchDecision:  # fmt: skip
        self.asked.append((experiment, list(subjects), columns, list(arms), deferred, mode))
        n = len(subjects)
        return BatchDecision(
            [b"%d" % i for i in range(n)], np.arange(n) % 2, ("calm", "loud"), ("1", "2"), np.full(n, 0.5),
            np.zeros(n, np.int64), ("default",), np.full(n, 1), bytes(n), False, 3, b"",
        )  # fmt: skip

    def reward(self, events: Sequence[RewardEvent | Exposure]) -> list[Outcome | LeverError]:
        self.asked.append(tuple(events))
        return [self._answer(event) for event in events]

    def _answer(self, event: RewardEvent | Exposure) -> Outcome | LeverError:
        if isinstance(event, Exposure):
            return self.answers.get(event.decision.decode("latin-1"), Outcome.DUPLICATE)
        if event.metric in ("broken", "hold"):
            self._maybe_raise(event.metric)
        return self.answers.get(event.metric, Outcome.APPLIED)

    def expose(self, decisions: Sequence[bytes], client: bool = False) -> list[Outcome | LeverError]:
        self.asked.append(tuple(decisions))
        return [self.answers.get(decision.decode("latin-1"), Outcome.DUPLICATE) for decision in decisions]


@dataclass(frozen=True)
class Kept:
    """As much of an experiment as the wire shows."""

    name: str = "hero"
    uid: str = "00ff"
    version: int = 4
    state: str = "active"
    text: str = "experiment: hero\n"
    applied_at_ms: int = 12
    arms: tuple[Any, ...] = ()
    algorithm: str = "beta"
    warnings: tuple[str, ...] = ()


class StandinExperiments:
    """One experiment, `hero`, at version 4."""

    def __init__(self) -> None:
        self.noted: list[Event] = []

    def put(self, text: str, expected: int | None, by: str = "") -> tuple[Any, bool]:
        if expected not in (None, 4):
            raise ConflictError(f"experiment 'hero' is at version 4, not {expected}")
        if text == "bad":
            from service.errors import Violation

            raise InvalidError([Violation("arms[0].id", "must be given", 3), Violation("state", "is unknown")])
        return Kept(text=text), text != Kept().text

    def get(self, name: str) -> Any:
        if name != "hero":
            raise NotFoundError("name", f"experiment {name!r} does not exist")
        return Kept()

    def list(self) -> list[Any]:
        return [Kept()]

    def delete(self, name: str, expected: int | None) -> None:
        self.get(name)

    def restore(self, name: str) -> Any:
        return self.get(name)

    def accept_loss(self, name: str) -> None:
        self.get(name)

    def explain(self, name: str, context: Mapping[str, Value]) -> Reasons:
        self.get(name)
        parts = tuple(Part((feature,), 0.5) for feature in context)
        return Reasons("hero", 4, "visitors", Reason.POLICY, (ArmReasons("calm", 1.0, 0.75, 0.1, 0.25, parts),))

    def explain_decision(self, name: str, decision_id: str) -> Reasons:
        return replace(self.explain(name or "hero", {}), arm="calm", propensity=0.5, at_ms=9)

    def note(self, event: Event) -> None:
        self.noted.append(event)

    def history(self, name: str, limit: int) -> Sequence[Past]:
        self.get(name)
        return [Past(event, Kept().text) for event in reversed(self.noted)][:limit]

    def exclude(self, name: str, what: Any, by: str = "") -> tuple[Any, Exclusion]:
        return self.get(name), Exclusion(1, what.from_ms, what.to_ms, tuple(what.arms), 5)

    def include(self, name: str, number: int, by: str = "") -> tuple[Any, Exclusion]:
        return self.get(name), Exclusion(number, 1, 2, (), 5)

    def exclusions(self, name: str) -> Sequence[Exclusion]:
        return ()

    def timeline(self, name: str, asked: Asked) -> Timeline:
        return Timeline(name, "click", 0, False, (), (), ())

    def report(self, name: str) -> Report:
        self.get(name)
        arm = ArmReport("calm", "active", 10, 4, 4.0, 0.4, 0.1, 0.7, 0.9, 0.01, 1.0, 2, 1.0, 0.39)
        rail = GuardrailReport("click", "max", 0.5, "bold", "paused", 90, 0.8, 0.6, 1.0, 0.99, 7)
        parts = (SegmentReport("default", (arm,)),)
        return Report("hero", 4, "beta", "click", "5-0", True, parts, "", (), None, guardrails=(rail,))


@contextmanager
def served(
    standin: Standin,
    limits: Limits | None = None,
    metrics: Metrics | None = None,
    access: Access | None = None,
    *,
    start: bool = True,
    offline: Offline | None = None,
) -> Iterator[tuple[grpc.Channel, Server]]:
    """A real server around the stand-in on a free loopback port, ready, and a channel to it."""
    server = Server(standin, StandinExperiments(), metrics or Metrics(), limits, access, offline)
    port = server.bind("127.0.0.1:0")
    if start:
        server.start()
    server.set_ready(ready=True)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=LOCAL) as channel:
            yield channel, server
    finally:
        standin.release.set()
        server.stop(5)
