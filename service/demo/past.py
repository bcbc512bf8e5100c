"""Weeks that went by: the real service over a store in memory whose clock is turned forward, an hour at a time."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from service.analysis.log_table import entries
from service.demo.world import DAY_MS, HOUR_MS, UNNOTICED_MS, WORLDS, World, broken_then
from service.experiment.features.column import Column
from service.experiment.parse import parse
from service.management.experiments import build_put, restoring
from service.security.secrets import Secrets, find
from service.server.assemble import Service, Tuning, build
from service.serving.personalizer import Mode
from service.serving.rewarder import RewardEvent
from service.store.contract import Put
from service.store.embedded import Embedded
from service.store.memory import MemoryStore
from service.store.redis import RedisStore
from service.telemetry.metrics import Metrics

_LEARNS = 3  # steps between two looks at what was learned: less than the shortest window
_OPENS_MS = 15 * HOUR_MS  # the shop's time of day when the past ends, wherever it is looked at
_GRAIN_MS = 3000  # events are sent together that happen within

Progress = Callable[[float], None]


@dataclass
class _Clock:
    """Of the store, and by it of the service."""

    now_ms: int

    def turn(self, to_ms: int, service: Service) -> None:
        """Forward only."""
        self.now_ms = to_ms
        service.clock.set(to_ms, time.monotonic_ns(), time.monotonic_ns())


@dataclass
class _Due:
    """Events that have not happened yet, by the time at which they will."""

    waiting: list[tuple[float, int, str, RewardEvent]] = field(default_factory=list)
    number: itertools.count[int] = field(default_factory=itertools.count)

    def add(self, at_ms: float, metric: str, event: RewardEvent) -> None:
        heapq.heappush(self.waiting, (at_ms, next(self.number), metric, event))

    def take(self, now_ms: float) -> list[tuple[str, RewardEvent]]:
        out = []
        while self.waiting and self.waiting[0][0] <= now_ms:
            _, _, metric, event = heapq.heappop(self.waiting)
            out.append((metric, event))
        return out


def past(secrets: Secrets, now_ms: int, days: int, progress: Progress = lambda _: None) -> list[Put]:
    """The three experiments after so many days of visitors, as writes that bring them into a store.

    `secrets` are those of the server they are for, so that who is in the holdout stays there.
    """
    begun, tuning = now_ms - days * DAY_MS, Tuning()
    clock = _Clock(begun)
    store, rng = MemoryStore(lambda: clock.now_ms), np.random.default_rng(1)
    service = build(store, secrets, Metrics(), tuning)
    for world in WORLDS:
        store.put(build_put(parse(world.text), world.text, None, begun, tuning.state_max, "demo"))
    service.feed.turn()
    due, before = _Due(), begun
    for number, at in enumerate(_steps(begun, now_ms)):
        while due.waiting and due.waiting[0][0] <= at:
            clock.turn(min(int(due.waiting[0][0]) + _GRAIN_MS, at), service)
            _happens(service, due.take(clock.now_ms))
        clock.turn(at, service)
        for world in WORLDS:
            n = int(rng.poisson(world.rate(at - now_ms + _OPENS_MS) * (at - before) / HOUR_MS))
            if n:
                _visits(service, world, n, due, rng, broken=broken_then(world, at, begun, now_ms), at_ms=at)
        if number % _LEARNS == 0 or at > now_ms - UNNOTICED_MS:
            service.feed.turn()
        progress((at - begun) / (now_ms - begun))
        before = at
    return [
        restoring(uid, one.whole(), now_ms, list(entries(store, uid))) for uid, one in service.feed.replicas.items()
    ]


def _steps(begun_ms: int, now_ms: int) -> Iterator[int]:
    """Times at which somebody comes: by the hour, and more often while a broken tag goes unnoticed."""
    last = now_ms - UNNOTICED_MS
    yield from range(begun_ms + HOUR_MS, last, HOUR_MS)
    yield from range(last, now_ms, HOUR_MS // 6)
    yield now_ms


def _visits(
    service: Service, world: World, n: int, due: _Due, rng: np.random.Generator, *, broken: bool, at_ms: float
) -> None:
    """n visitors are chosen for; what they will do is put down."""
    subjects, known = world.crowd(rng, n)
    columns = {name: column(world, name, values) for name, values in known.items()}
    chosen = service.use_cases.select_batch(world.name, subjects, columns, (), world.deferred, Mode.NORMAL)
    rows = list(zip(*known.values(), strict=True)) or [()] * n
    for i, token in enumerate(chosen.tokens):
        segment, arm = chosen.segment_ids[int(chosen.segments[i])], chosen.arm_ids[int(chosen.arms[i])]
        for event in world.events(rng, segment, arm, rows[i], broken=broken):
            reward = RewardEvent(token, event.metric, event.value, "order" if event.metric == "revenue" else "")
            due.add(at_ms + event.delay_ms, event.metric, reward)


def column(world: World, name: str, values: list[str | bool]) -> Column:
    """Values of a feature as a batch takes them."""
    if isinstance(values[0], bool):
        return Column(flags=np.array(values, np.bool_))
    dictionary = [str(value) for value in world.context[name]]
    places = {value: i for i, value in enumerate(dictionary)}
    return Column(codes=np.array([places[str(value)] for value in values]), dictionary=dictionary)


def _happens(service: Service, events: list[tuple[str, RewardEvent]]) -> None:
    """Exposures, then rewards."""
    shown = [event.decision for metric, event in events if not metric]
    if shown:
        service.use_cases.expose(shown)
    earned = [event for metric, event in events if metric]
    if earned:
        service.use_cases.reward(earned)


def begin(folder: Path, days: int, progress: Progress = lambda _: None) -> None:
    """Give the running server of a data directory its past; one that has experiments keeps its own."""
    store = RedisStore(Embedded(folder).attach(), timeout=30.0)
    try:
        now = store.poll({})
        if not now.registry:
            for put in past(find((), folder, store.secret), now.now, days, progress):
                store.put(put)
    finally:
        store.close()
