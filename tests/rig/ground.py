"""Stages for faults: an engine of the test's own, servers on it, and what must hold when the dust has settled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from loadtest.rig.proxy import Proxy
from service.errors import LeverError, UnavailableError
from service.management.verify import Examination, Verdict
from service.server.assemble import Service
from service.serving.rewarder import RewardEvent
from service.serving.token import from_text
from service.store.contract import Outcome
from service.store.embedded import Embedded
from service.store.redis import RedisStore
from service.store.scripts import STATE_FORMAT
from tests.rig.programs import redis_server
from tests.rig.stage import Stage, choose
from tests.rig.waiting import eventually

CONFIG = """
experiment: {name}
arms: [{{id: a}}, {{id: b}}, {{id: c}}]
default_arm: a
algorithm: beta
features:
  source: {{type: category, values: [ads, search]}}
segments:
  - {{id: ads, when: {{source: ads}}}}
holdout: {{share: 0.1, serve: uniform}}
metrics:
  - {{id: click, primary: true, window: 1h}}
  - {{id: spend, unit: 0.01, min: -50, max: 50, aggregate: sum, window: 1h}}
"""


@dataclass
class Ground:
    """An engine, a proxy before it, and services through the proxy."""

    engine: Embedded
    proxy: Proxy
    world: Stage
    tokens: list[bytes] = field(default_factory=list)
    acked: list[tuple[bytes, str, str]] = field(default_factory=list)

    @property
    def raw(self) -> redis.Redis:
        """A plain client of the engine, past the proxy."""
        return redis.Redis.from_url(self.engine.url, protocol=2)

    def service(self, name: str = "hero", **given: object) -> Service:
        """One more server; the first one creates the experiment."""
        made = self.world.service(**given)  # type: ignore[arg-type]
        if len(self.world.services) == 1:
            made.experiments.put(CONFIG.format(name=name), 0)
        made.feed.refresh(60.0)
        return made

    def choose(self, service: Service, count: int, deferred: bool = False) -> list[bytes]:
        """So many choices, which must succeed whatever happens."""
        tokens = []
        for i in range(count):
            source = "ads" if i % 3 == 0 else "search"
            made = choose(service, "hero", f"s{i}", context={"source": source}, deferred=deferred)
            assert 0 < made.propensity <= 1
            tokens.append(from_text(made.decision_id))
        self.tokens += tokens
        return tokens

    def click(self, service: Service, tokens: Sequence[bytes]) -> list[Outcome | LeverError]:
        """A click for each, in one call; what is acknowledged is remembered."""
        return self.send(service, [RewardEvent(token, "click") for token in tokens])

    def send(self, service: Service, events: Sequence[RewardEvent]) -> list[Outcome | LeverError]:
        answers = service.use_cases.reward(events)
        for event, answer in zip(events, answers, strict=True):
            if answer in (Outcome.APPLIED, Outcome.DUPLICATE):
                self.acked.append((event.decision, event.metric, event.event_id))
        return list(answers)

    def insist(self, service: Service, events: Sequence[RewardEvent]) -> None:
        """Send until everything is acknowledged, as a client should."""
        left = list(events)

        def through() -> bool:
            answers = self.send(service, left)
            assert all(isinstance(a, Outcome | UnavailableError) for a in answers), answers
            left[:] = [e for e, a in zip(left, answers, strict=True) if isinstance(a, UnavailableError)]
            return not left

        eventually(through)

    def with_checkpoint(self, service: Service) -> str:
        """A checkpoint is stored, and a tail after it; its key."""
        tokens = self.choose(service, 60)
        self.settle()
        self.click(service, tokens[:20])
        self.settle()
        (replica,) = service.feed.replicas.values()
        with service.feed.paused():
            replica.cut = replica.whole()
        eventually(lambda: replica.stored is not None)
        self.click(service, tokens[20:40])
        self.settle()
        return f"{self.world.prefix}:{{{replica.uid}}}:ck{STATE_FORMAT}"

    def settle(self) -> None:
        """Everybody has everything."""
        for service in self.world.services:
            eventually(lambda service=service: _calm(lambda: service.feed.flushed(60.0)))  # type: ignore[misc]
        for service in self.world.services:
            eventually(lambda service=service: _calm(lambda: service.feed.refresh(60.0)))  # type: ignore[misc]

    def proved(self, rewards: int | None = None) -> Verdict:
        """The store proves itself, and every server has the very bits that its log folds to."""
        self.settle()
        store = self.past()
        (uid,) = store.poll({}).registry.values()
        examination = Examination(store, store, uid)
        found = examination.run()
        assert not found.faults
        bits = examination.settled().fields()
        for service in self.world.services:
            assert service.feed.replicas[uid].fields() == bits
        assert len({s.feed.replicas[uid].cursor for s in self.world.services}) <= 1
        assert rewards is None or found.rewards == rewards
        store.close()
        return found

    def past(self) -> RedisStore:
        """The store, past the proxy."""
        return RedisStore(self.engine.url, prefix=self.world.prefix, timeout=20.0)


def _calm(call: Callable[[], object]) -> bool:
    try:
        call()
    except UnavailableError:
        return False
    return True


@contextmanager
def ground(folder: Path, kind: str = "valkey") -> Iterator[Ground]:
    """An engine that only this test hurts, cleared away at the end."""
    engine = Embedded(folder / "store", binary=redis_server() if kind == "redis" else None)
    engine.start()
    proxy = Proxy(engine.url.removeprefix("unix://"))
    world = Stage(proxy.url)
    try:
        yield Ground(engine, proxy, world)
    finally:
        for service in world.services:
            service.stop(flush_s=0.0)
        proxy.close()
        engine.stop(timeout=5.0)
