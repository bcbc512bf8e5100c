"""Batches from one frozen snapshot: whatever is learned in between, and on whichever server, all have the same odds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from service.errors import InvalidError, PreconditionError
from service.experiment.features.column import Column
from service.server.assemble import Service
from service.serving.batch import BatchDecision
from service.serving.personalizer import Mode
from service.store.embedded import Embedded
from tests.rig.stage import Stage, choose, reward, stage

CONFIG = """
experiment: {name}
arms: [{{id: a}}, {{id: b}}, {{id: c}}, {{id: d}}]
default_arm: a
algorithm: {algorithm}
features:
  source: {{type: category, values: [ads, search, mail]}}
  visits: {{type: number, min: 0, max: 20}}
segments:
  - {{id: buyers, when: {{source: ads}}}}
  - {{id: shown, when: {{source: search}}, serve: default}}
holdout: {{share: 0.1, serve: uniform}}
metrics: [{{id: click, window: 1h}}]
"""
N = 3_000
SOURCES = ("ads", "search", "mail")


@pytest.fixture(scope="module")
def world(valkey: Embedded) -> Iterator[Stage]:
    with stage(valkey.url) as built:
        built.service()
        built.service()
        yield built


def ask(server: Service, name: str, frozen: bytes | None, arms: tuple[str, ...] = ()) -> BatchDecision:
    codes = np.arange(N) % 3
    columns = {
        "source": Column(codes=codes, dictionary=SOURCES),
        "visits": Column(numbers=(np.arange(N) % 21).astype(np.float64)),
    }
    subjects = [f"s{i}" for i in range(N)]
    return server.use_cases.select_batch(name, subjects, columns, arms, True, Mode.UNCOUNTED, frozen)


def odds(batch: BatchDecision) -> dict[tuple[int, int, int, bool], float]:
    """The propensity of every arm at every point where it was drawn."""
    seen: dict[tuple[int, int, int, bool], float] = {}
    for i, (arm, p) in enumerate(zip(batch.arms.tolist(), batch.propensities.tolist(), strict=True)):
        held = batch.holdout[i] == 1
        assert seen.setdefault((i % 3, i % 21, arm, held), p) == p
    return seen


def agree(one: BatchDecision, other: BatchDecision) -> bool:
    mine, theirs = odds(one), odds(other)
    return all(mine[key] == theirs[key] for key in mine.keys() & theirs.keys())


def learn(world: Stage, name: str, liked: str) -> None:
    for i in range(120):
        made = choose(world.services[0], name, f"learner {i}", context={"source": "ads", "visits": float(i % 20)})
        if made.arm == liked or i % 10 == 0:
            reward(world.services[0], made)
    world.settle()


@pytest.mark.parametrize("algorithm", ["auto", "beta", "linucb"])
def test_all_batches_have_the_odds_of_the_first(world: Stage, algorithm: str) -> None:
    name = f"frozen-{algorithm}"
    one, two = world.services
    one.experiments.put(CONFIG.format(name=name, algorithm=algorithm), 0)
    world.settle()
    learn(world, name, "b")
    first = ask(one, name, b"")
    assert len(first.frozen) > 0
    few = ask(one, name, first.frozen, ("b", "c", "d"))
    learn(world, name, "d")
    for server in (one, two):
        again = ask(server, name, first.frozen)
        assert agree(first, again)
        assert again.frozen == b""
        assert agree(few, ask(server, name, first.frozen, ("b", "c", "d")))
    assert not agree(first, ask(one, name, None))  # it has learned since
    one.experiments.put(CONFIG.format(name=name, algorithm=algorithm).replace("{id: d}", "{id: e}"), 1)
    world.settle()
    with pytest.raises(PreconditionError) as caught:
        ask(two, name, first.frozen)
    assert caught.value.reason == "SNAPSHOT_CHANGED"


def test_what_is_no_snapshot_of_this_experiment_is_refused(world: Stage) -> None:
    one = world.services[0]
    for name in ("mine", "yours"):
        one.experiments.put(CONFIG.format(name=name, algorithm="auto"), 0)
    world.settle()
    made = ask(one, "mine", b"")
    forged = made.frozen[:-1] + bytes([made.frozen[-1] ^ 1])
    for wrong in (forged, b"\x02", b"nothing", made.tokens[0], made.frozen[:20]):
        with pytest.raises(InvalidError, match="not a frozen snapshot"):
            ask(one, "mine", wrong)
    with pytest.raises(InvalidError, match="is not of experiment 'yours'"):
        ask(one, "yours", made.frozen)
    with pytest.raises(InvalidError):
        reward(one, made.frozen)  # nor is a snapshot a decision
