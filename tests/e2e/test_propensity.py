"""The propensity that is answered is the frequency that is served, and the log supports honest off-policy estimates.

False alarms: ids of decisions are random, so what is drawn is another sample in each run. A correct server fails here less than once in a
million runs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from service.analysis.log_table import LogTable, entries
from service.experiment.features.column import Column
from service.server.assemble import Service
from service.serving.personalizer import Mode
from service.serving.rewarder import RewardEvent
from service.store.embedded import Embedded
from tests.rig.stage import Stage, choose, reward, stage

ALARM = 1e-7
SELECTS = 200_000
BATCH = 10_000
SOURCES = ("ads", "search", "mail")
RATES = {"a": 0.1, "b": 0.3, "c": 0.35, "d": 0.2}

CONFIG = """
experiment: {name}
arms: [{{id: a}}, {{id: b}}, {{id: c}}, {{id: d}}]
default_arm: a
algorithm: {algorithm}
features:
  source: {{type: category, values: [ads, search, mail]}}
  visits: {{type: number, min: 0, max: 20}}
metrics: [{{id: click, window: 1h}}]
"""


@pytest.fixture(scope="module")
def world(valkey: Embedded) -> Iterator[Stage]:
    with stage(valkey.url) as built:
        built.service()
        yield built


def learn(server: Service, world: Stage, name: str, seed: int) -> None:
    """Some trials and rewards, so that the posterior is neither flat nor sure."""
    rng = random.Random(seed)
    for i in range(400):
        context: dict[str, str | float] = {"source": rng.choice(SOURCES), "visits": float(rng.randrange(20))}
        decision = choose(server, name, f"learner {i}", context=context)
        if rng.random() < RATES[decision.arm]:
            reward(server, decision)
    world.settle()


@pytest.mark.parametrize(
    "algorithm", ["beta", "nig", "linucb", "lints", "uniform", "{name: fixed, weights: {a: 1, b: 3}}"]
)
def test_served_frequency_is_the_propensity(world: Stage, algorithm: str) -> None:
    server = world.services[0]
    name = "freq-" + "".join(c for c in algorithm if c.isalpha())[:16]
    server.experiments.put(CONFIG.format(name=name, algorithm=algorithm), 0)
    learn(server, world, name, seed=5)
    rng = np.random.default_rng(11)
    expected: dict[tuple[int, float], float] = {}  # by context: the pmf is the same within one
    observed: dict[tuple[int, float], np.ndarray] = {}
    weights: dict[tuple[int, float], np.ndarray] = {}
    for start in range(0, SELECTS, BATCH):
        source = rng.integers(0, 3, BATCH)
        visits = rng.choice([0.0, 5.0, 19.0], BATCH)
        columns = {"source": Column(codes=source, dictionary=SOURCES), "visits": Column(numbers=visits)}
        subjects = [f"s{start + i}" for i in range(BATCH)]
        drawn = server.use_cases.select_batch(name, subjects, columns, (), False, Mode.UNCOUNTED)
        for key in {(int(s), float(v)) for s, v in zip(source, visits, strict=True)}:
            here = (source == key[0]) & (visits == key[1])
            counts = np.bincount(drawn.arms[here], minlength=4)
            observed[key] = observed.get(key, np.zeros(4)) + counts
            expected[key] = expected.get(key, 0.0) + here.sum()
            for arm in range(4):
                p = drawn.propensities[here & (drawn.arms == arm)]
                if len(p):
                    assert np.ptp(p) == 0.0  # one context, one snapshot, one pmf
                    weights.setdefault(key, np.zeros(4))[arm] = p[0]
    statistic, freedom = 0.0, 0
    for key, counts in observed.items():
        p = weights[key]
        assert p.sum() == pytest.approx(1.0, abs=1e-9)
        served = p > 0
        statistic += float((((counts - expected[key] * p) ** 2)[served] / (expected[key] * p)[served]).sum())
        freedom += int(served.sum()) - 1
    assert stats.chi2.sf(statistic, freedom) > ALARM


def test_single_choices_and_batches_draw_alike(world: Stage) -> None:
    server = world.services[0]
    name = "alike"
    server.experiments.put(CONFIG.format(name=name, algorithm="linucb") + "sticky: 1d\n", 0)
    learn(server, world, name, seed=6)
    subjects = [f"s{i}" for i in range(500)]
    columns = {
        "source": Column(codes=np.zeros(500, np.int64), dictionary=SOURCES),
        "visits": Column(numbers=np.full(500, 3.0)),
    }
    batch = server.use_cases.select_batch(name, subjects, columns, (), False, Mode.UNCOUNTED)
    for i, subject in enumerate(subjects):
        one = choose(server, name, subject, context={"source": "ads", "visits": 3.0}, mode=Mode.UNCOUNTED)
        assert one.arm == batch.arm_ids[batch.arms[i]]
        assert one.propensity == batch.propensities[i]


def test_returning_visitors_do_not_bias_first_row_estimates(world: Stage) -> None:
    """Who saw arm a first returns as `mail`, where everything converts: all rows together mislead, first rows do not."""
    server = world.services[0]
    name = "returning"
    config = CONFIG.format(name=name, algorithm="{name: fixed, weights: {a: 1, b: 1, c: 1, d: 1}}") + "sticky: 1d\n"
    server.experiments.put(config, 0)
    rng = random.Random(8)
    truth = 0.1
    for i in range(6000):
        subject = f"visitor {i}"
        first = choose(server, name, subject, context={"source": "ads"})
        if rng.random() < truth:
            reward(server, first)
        if first.arm == "a":
            for _ in range(2):
                again = choose(server, name, subject, context={"source": "mail"})
                assert again.arm == "a"
                if rng.random() < 0.9:
                    reward(server, again)
    world.settle()
    units: dict[int, list[tuple[str, float, str]]] = {}
    rewarded = set()
    book = LogTable()
    for entry in entries(world.store(), server.experiments.get(name).uid):
        for record in book.records(entry):
            if record["kind"] == "trial":
                row = (str(record["decision"]), float(str(record["propensity"])), str(record["arm"]))
                units.setdefault(int(str(record["unit"])), []).append(row)
            elif record["kind"] == "reward":
                rewarded.add(str(record["decision"]))

    def value_of_a(rows: list[tuple[str, float, str]]) -> float:
        scores = [(arm == "a") / p * (decision in rewarded) for decision, p, arm in rows]
        return sum(scores) / len(scores)

    firsts = [rows[0] for rows in units.values()]
    assert len(firsts) == 6000
    assert value_of_a(firsts) == pytest.approx(truth, abs=stats.norm.isf(ALARM / 2) * (truth * 4 / 6000) ** 0.5)
    assert value_of_a([row for rows in units.values() for row in rows]) > 2 * truth


def test_rewards_of_batches_are_taken_as_bytes(world: Stage) -> None:
    server = world.services[0]
    name = "bytes"
    server.experiments.put(CONFIG.format(name=name, algorithm="beta"), 0)
    drawn = server.use_cases.select_batch(name, ["s", "t"], {}, (), True, Mode.NORMAL)
    answers = server.use_cases.reward([RewardEvent(token) for token in drawn.tokens])
    assert [int(a) for a in answers if not isinstance(a, Exception)] == [1, 1]
    world.settle()
    arms = server.experiments.report(name).segments[0].arms
    assert (sum(a.trials for a in arms), sum(a.rewarded for a in arms)) == (2, 2)


def test_a_cold_batch_is_worth_as_many_rows_as_it_has(world: Stage) -> None:
    """20,000 letters before anything is known: the log can speak of "always this arm" as that of an even split can."""
    server = world.services[0]
    name, arms = "cold", [f"a{k}" for k in range(8)]
    ids = ", ".join(f"{{id: {arm}}}" for arm in arms)
    config = CONFIG.format(name=name, algorithm="auto").replace("{id: a}, {id: b}, {id: c}, {id: d}", ids)
    server.experiments.put(config.replace("default_arm: a", "default_arm: a0"), 0)
    rng = np.random.default_rng(21)
    weights: dict[str, list[float]] = {arm: [] for arm in arms}
    for start in range(0, 2 * BATCH, BATCH):
        columns = {
            "source": Column(codes=rng.integers(0, 3, BATCH), dictionary=SOURCES),
            "visits": Column(numbers=rng.uniform(0.0, 20.0, BATCH)),
        }
        subjects = [f"letter {start + i}" for i in range(BATCH)]
        server.use_cases.select_batch(name, subjects, columns, (), False, Mode.NORMAL)
        world.settle()
    book = LogTable()
    for entry in entries(world.store(), server.experiments.get(name).uid):
        for record in book.records(entry):
            if record["kind"] == "trial":
                weights[str(record["arm"])].append(1.0 / float(str(record["propensity"])))
    assert sum(map(len, weights.values())) == 2 * BATCH
    for w in map(np.array, weights.values()):
        assert w.sum() ** 2 / (w * w).sum() / len(w) > 0.99
        assert len(w) == pytest.approx(BATCH / 4, rel=0.1)
