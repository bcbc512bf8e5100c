"""Data taken back over one real store: on every server, on those that come later, under `lever verify`, and back again."""

from __future__ import annotations

import time

from service.experiment.exclusions import Excluded
from service.learning.replica import Replica
from service.management.verify import examined
from service.server.assemble import Service
from service.store.embedded import Embedded
from tests.rig.stage import Stage, choose, reward, stage

CONFIG = """
experiment: hero
arms: [{id: calm}, {id: bold}]
default_arm: calm
holdout: {share: 0.2}
features: {plan: {type: category, values: [free, paid]}}
metrics: [{id: click, window: 1h}]
"""


def sums(service: Service) -> dict[str, bytes]:
    def of(_: object, replica: Replica, __: bool) -> dict[str, bytes]:
        return replica.fields()

    return service.feed.inspect("hero", of)


def visit(world: Stage, first: int, clicks: str) -> None:
    """250 visitors over both servers, of whom those of one arm click."""
    for i in range(first, first + 250):
        server = world.services[i % 2]
        made = choose(server, "hero", f"s{i}", context={"plan": ("free", "paid")[i % 3 == 0]})
        if made.arm == clicks and i % 2:
            reward(server, made)
        if i % 50 == 49:
            world.settle()
    world.settle()


def odds(service: Service) -> float:
    """Of bold, for everybody whom the policy chooses for."""
    found = service.experiments.explain("hero", {"plan": "free"})
    return sum(arm.probability or 0.0 for arm in found.arms if arm.arm == "bold")


def test_the_learner_forgets_what_is_excluded_on_every_server(valkey: Embedded) -> None:
    with stage(valkey.url) as world:
        server, other = world.service(), world.service()
        server.experiments.put(CONFIG, 0)
        visit(world, 0, "nobody")
        until = time.time_ns() // 1_000_000
        time.sleep(0.01)
        honest = odds(server)
        visit(world, 250, "bold")  # a robot that likes it
        fooled, before = odds(server), sums(server)
        made, one = server.experiments.exclude("hero", Excluded(until, until + 3_600_000))
        world.settle()
        assert (made.version, one.trials) == (2, 250)
        assert odds(server) == odds(other)
        assert abs(odds(server) - honest) < 0.15 < fooled - honest
        later = world.service()
        assert sums(server) == sums(other) == sums(later)
        store = world.store()
        verdict, _ = examined(store, store, made.uid)
        assert verdict.good, verdict.faults
        visit(world, 500, "calm")
        assert sums(server) == sums(other)
        other.experiments.include("hero", one.number)
        world.settle()
        after = sums(server)
        assert after == sums(other) == sums(world.service())
        assert {name for name in before if name[0] in "cd"} <= set(after)
        assert not [name for name in after if name[0] == "x"]
        verdict, _ = examined(store, store, made.uid)
        assert verdict.good, verdict.faults
