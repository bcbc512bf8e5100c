"""Rewards and retractions on their way at once, while connections are cut and the store is killed: each counts once."""

from __future__ import annotations

import os
import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

from service.serving.rewarder import RewardEvent
from service.store.contract import Outcome
from service.store.scripts import Script
from tests.rig.ground import Ground
from tests.rig.waiting import eventually

from loadtest.rig.proxy import Fate, always  # isort: skip

CLAIM = Script.load("claim").sha.encode()
DECISIONS = 60
ORDERS = ((4.0, "order"), (1.5, "more"), (-0.5, "less"))


def test_a_storm_of_both_under_kill_comes_to_what_was_meant(ground: Ground) -> None:
    """Of every decision one click and one of three orders are taken back, by whoever comes first, time and again."""
    servers = [ground.service() for _ in range(3)]
    tokens = ground.choose(servers[0], DECISIONS, deferred=True)
    events = [RewardEvent(t, "spend", value, name) for t in tokens for value, name in ORDERS]
    events += [RewardEvent(t, "spend", None, "more", retract=True) for t in tokens]
    events += [RewardEvent(t, "click", event_id="scanner", retract=back) for t in tokens for back in (False, True)]
    rng, lock = random.Random(11), threading.Lock()
    storm = events * 5
    rng.shuffle(storm)
    parts = [storm[at : at + 30] for at in range(0, len(storm), 30)]

    def judge(request: bytes) -> Fate:
        with lock:
            drawn = rng.random()
        if CLAIM not in request or drawn > 0.2:
            return Fate.PASS
        return Fate.AFTER if drawn < 0.1 else Fate.BEFORE

    ground.proxy.judge = judge
    with ThreadPoolExecutor(6) as pool:
        sent = [pool.submit(ground.insist, servers[n % 3], part) for n, part in enumerate(parts)]
        eventually(lambda: sum(one.done() for one in sent) > len(sent) // 3)
        assert ground.engine.pid is not None
        os.kill(ground.engine.pid, signal.SIGKILL)
        eventually(lambda: not ground.engine.alive())
        ground.engine.restart()
        for one in sent:
            one.result(120)
    ground.proxy.judge = always
    eventually(lambda: not any(server.directory.away for server in servers))
    found = ground.proved()
    assert (found.trials, found.records) == (DECISIONS, DECISIONS)
    store = ground.past()
    (uid,) = store.poll({}).registry.values()
    totals = [{metric: total for metric, (total, _, _) in held.totals.items()} for held in store.claims(uid)]
    store.close()
    assert totals == [{0: 0, 1: 350}] * DECISIONS
    again = servers[1].use_cases.reward(events)
    assert set(again) == {Outcome.DUPLICATE, Outcome.RETRACTED}
