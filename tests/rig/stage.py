"""Servers of a test: services over one real store, each with its own connections, as separate processes would be."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from service.analysis.report import Report, report
from service.experiment.features.column import Value
from service.security.secrets import Secrets
from service.server.assemble import Service, Tuning, build
from service.serving.personalizer import Decision, Mode
from service.serving.rewarder import RewardEvent
from service.serving.token import from_text
from service.store.contract import Outcome
from service.store.counted import Counted
from service.store.redis import RedisStore
from service.telemetry.metrics import Metrics

CONFIG = """
experiment: {name}
arms: [{{id: a}}, {{id: b}}]
default_arm: a
algorithm: beta
metrics: [{{id: click, primary: true, window: 1h}}]
"""
KEYS = Secrets([b"a token key for tests only"], b"a subject key for tests only")


@dataclass
class Stage:
    """Services that share one store under a prefix of their own."""

    url: str
    prefix: str = field(default_factory=lambda: "t" + secrets.token_hex(6))
    services: list[Service] = field(default_factory=list)
    replicas: int = 0  # that must have a write

    def store(self) -> RedisStore:
        """Another connection to the same data."""
        return RedisStore(self.url, prefix=self.prefix, replicas=self.replicas)

    def service(self, poll_ms: int = 20, flush_ms: int = 20) -> Service:
        """One more server, started and ready."""
        metrics = Metrics()
        service = build(Counted(self.store(), metrics), KEYS, metrics, Tuning(poll_ms, flush_ms))
        self.services.append(service)
        service.start()
        service.feed.refresh(60.0)
        return service

    def settle(self) -> None:
        """Everything that was decided is flushed, and every server has folded it."""
        for service in self.services:
            service.feed.flushed(60.0)
        for service in self.services:
            service.feed.refresh(60.0)

    def stop(self) -> None:
        """Stop all servers."""
        for service in self.services:
            service.stop()


@contextmanager
def stage(url: str) -> Iterator[Stage]:
    """A stage that is cleared away at the end."""
    built = Stage(url)
    try:
        yield built
    finally:
        built.stop()


def choose(
    service: Service,
    experiment: str,
    subject: str,
    *,
    context: Mapping[str, Value] | None = None,
    arms: Sequence[str] = (),
    previous: str = "",
    deferred: bool = False,
    mode: Mode = Mode.NORMAL,
) -> Decision:
    """Select with the rest left at its defaults."""
    return service.use_cases.select(experiment, subject, context or {}, arms, previous, deferred, mode)


def reward(service: Service, decision: Decision | bytes, **given: object) -> Outcome:
    """One reward; raises what it is answered with if that is an error."""
    token = decision if isinstance(decision, bytes) else from_text(decision.decision_id)
    answer = service.use_cases.reward([RewardEvent(token, **given)])[0]  # type: ignore[arg-type]
    if isinstance(answer, Exception):
        raise answer
    return answer


def one_valued(metrics: Metrics, family: str) -> dict[tuple[str, ...], float]:
    """Samples of a counter or gauge, by their labels."""
    return {key: value for key, (value,) in metrics.samples()[family]}


SHOP = """
experiment: shop
arms: [{id: old}, {id: new}]
default_arm: old
algorithm: {name: fixed, weights: {new: 1}}
holdout: {share: SHARE}
features: {paid: {type: flag}}
segments: [{id: paid, when: {paid: true}}]
metrics:
  - {id: order, primary: true, window: 1h}
  - {id: revenue, unit: 0.01, min: 0, max: 1000, window: 1h}
"""


def shop(share: float) -> str:
    """Its experiment, with a holdout of this share."""
    return SHOP.replace("SHARE", str(share))


def visit(service: Service, first: int, n: int) -> None:
    """Visitors of whom every second orders for 20.50 where the new arm is shown, every fourth for 10.25 else."""
    for i in range(first, first + n):
        made = choose(service, "shop", f"s{i}", context={"paid": i % 3 == 0})
        if i % (2 if made.arm == "new" else 4) == 0:
            reward(service, made, metric="order", value=1.0)
            reward(service, made, metric="revenue", value=20.5 if made.arm == "new" else 10.25)
    service.feed.flushed(60.0)
    service.feed.refresh(60.0)


def told(service: Service) -> Report:
    """The report now."""
    return service.feed.inspect("shop", report)
