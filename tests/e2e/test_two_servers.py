"""Two servers on one store: whatever the order, the duplicates and the cuts, they come to the same bits."""

from __future__ import annotations

import random
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bandits.state import State
from service.analysis.log_table import entries
from service.learning.replica import Replica
from service.server.assemble import Service
from service.serving.rewarder import RewardEvent
from service.serving.token import from_text
from service.store import rows as layout
from service.store.contract import Loaded, Outcome
from service.store.embedded import Embedded
from tests.oracles.state import OracleState, Row, cells
from tests.rig.stage import Stage, choose, stage

CONFIG = """
experiment: pair
arms: [{id: a}, {id: b}, {id: c}, {id: d}]
default_arm: a
algorithm: ALGORITHM
features:
  source: {type: category, values: [ads, search, mail]}
  visits: {type: number, min: 0, max: 20}
segments:
  - {id: mail, when: {source: mail}}
  - {id: loyal, when: {visits: {min: 10}}}
holdout: {share: 0.1, serve: uniform}
metrics:
  - {id: click, primary: true, window: 1h}
  - {id: spend, unit: 0.01, min: -50, max: 50, aggregate: sum, window: 1h}
"""
DECISIONS, REWARDS = 10_000, 10_000


def config(algorithm: str = "linucb") -> str:
    """The experiment; `auto` learns products too and looks again at the log from time to time."""
    return CONFIG.replace("ALGORITHM", algorithm)


@pytest.fixture(params=["valkey", "debian_redis"])
def engine(request: pytest.FixtureRequest) -> Embedded:
    built: Embedded = request.getfixturevalue(request.param)
    return built


def traffic(world: Stage, rng: random.Random) -> tuple[list[bytes], dict[tuple[bytes, str], set[str]]]:
    """Decisions and rewards through both servers, with duplicates, in no order; what was acknowledged as applied."""
    tokens = []
    for i in range(DECISIONS):
        context: dict[str, str | float] = {
            "source": rng.choice(["ads", "search", "mail"]),
            "visits": float(rng.randrange(25)),
        }
        deferred = rng.random() < 0.1
        server = world.services[i % 2]
        tokens.append(from_text(choose(server, "pair", f"s{i}", context=context, deferred=deferred).decision_id))
    events = []
    for i in range(REWARDS):
        token = rng.choice(tokens)
        if rng.random() < 0.5:
            events.append(RewardEvent(token, "click"))
        else:
            events.append(RewardEvent(token, "spend", rng.randint(-5000, 5000) / 100, f"e{i}"))
    events += rng.sample(events, REWARDS // 5)
    rng.shuffle(events)
    batches = [events[i : i + 23] for i in range(0, len(events), 23)]
    applied: dict[tuple[bytes, str], set[str]] = defaultdict(set)

    def send(numbered: tuple[int, list[RewardEvent]]) -> None:
        number, batch = numbered
        answers = world.services[number % 2].use_cases.reward(batch)
        for event, answer in zip(batch, answers, strict=True):
            assert answer in (Outcome.APPLIED, Outcome.DUPLICATE)
            if answer == Outcome.APPLIED:
                assert event.event_id not in applied[event.decision, event.metric]
                applied[event.decision, event.metric].add(event.event_id)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, enumerate(batches)))
    sent: dict[tuple[bytes, str], set[str]] = defaultdict(set)
    for event in events:
        sent[event.decision, event.metric].add(event.event_id)
    assert {k: v for k, v in applied.items() if v} == dict(sent)
    return tokens, applied


def oracle_rows(world: Stage, uid: str) -> list[Row]:
    """The log, row by row, by the plainest reading of its layout."""
    out = []
    for entry in entries(world.store(), uid):
        data = entry.trials or entry.rewards or b""
        for i in range(len(data) // entry.stride if data else 0):
            row = data[i * entry.stride : (i + 1) * entry.stride]
            _, _, version, time, _, p, segment, arm, flags, bucket, _ = layout.HEAD_STRUCT.unpack_from(row)
            if entry.trials:
                x = tuple(np.frombuffer(row[48:], "<i2").tolist())
                out.append(Row(time, segment, arm, flags, bucket, x, propensity=p, version=version))
                continue
            x = tuple(np.frombuffer(row[50:], "<i2").tolist())
            (metric,) = layout.TAIL_STRUCT.unpack_from(row, 48)
            old, new, exposes = entry.totals[i]
            named = -1 if metric == layout.NO_METRIC else metric
            out.append(Row(time, segment, arm, flags, bucket, x, named, old, new, exposes, entry.time, p, version))
    return out


def folded(world: Stage, uid: str, step: int) -> Replica:
    """The log folded from its first entry, `step` entries at a time."""
    replica = Replica(uid, Loaded(b""))
    log = list(entries(world.store(), uid))
    for i in range(0, len(log), step):
        replica.fold(log[i : i + step])
        replica.cut = None
    return replica


def beliefs(server: Service) -> list[bytes]:
    """The posteriors of a published snapshot, as bytes."""
    return [slot.posterior.packed.tobytes() for slot in server.directory.by_name["pair"].slots]


@pytest.mark.parametrize("algorithm", ["linucb", "auto"])
def test_two_servers_fold_to_the_bits_of_a_serial_replay(engine: Embedded, algorithm: str) -> None:
    with stage(engine.url) as world:
        first, _ = world.service(), world.service()
        first.experiments.put(config(algorithm), 0)
        world.settle()
        uid = first.experiments.get("pair").uid
        traffic(world, random.Random(12345))
        world.settle()

        serial = folded(world, uid, step=1)
        rows = oracle_rows(world, uid)
        assert sum(r.metric is None or r.exposes for r in rows) >= DECISIONS * 0.9
        assert cells(serial.state) == OracleState(serial.state.rules, rows).cells(serial.state.buckets)

        live = [s.feed.replicas[uid] for s in world.services]
        assert live[0].cursor == live[1].cursor == serial.cursor
        assert live[0].fields() == live[1].fields() == serial.fields() == folded(world, uid, step=77).fields()
        assert beliefs(world.services[0]) == beliefs(world.services[1])

        assert bool(serial.reviews.findings) == (algorithm == "auto")
        assert live[0].stored is not None, "at 20,000 rows a checkpoint is due"
        late = world.service()
        assert late.feed.replicas[uid].fields() == serial.fields()
        assert late.feed.replicas[uid].stored is not None
        assert beliefs(late) == beliefs(first)


def test_a_checkpoint_and_its_tail_equal_the_fold_from_the_start(engine: Embedded) -> None:
    with stage(engine.url) as world:
        server = world.service()
        server.experiments.put(config("auto"), 0)
        uid = server.experiments.get("pair").uid
        for i in range(12_000):
            choose(server, "pair", f"s{i}", context={"source": "ads"})
        world.settle()
        loaded = world.store().load(uid)
        assert loaded.checkpoint is not None
        assert loaded.checkpoint.rows >= 10_000
        restored = Replica(uid, loaded)
        log = list(entries(world.store(), uid))
        restored.fold(
            [e for e in log if tuple(map(int, e.id.split("-"))) > tuple(map(int, restored.cursor.split("-")))]
        )
        assert restored.fields() == folded(world, uid, step=5).fields()
        assert State.restore(restored.state.rules, restored.state.fields()).fields() == restored.state.fields()
