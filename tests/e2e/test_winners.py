"""An experiment that has ended serves one winner for all, or in each segment the one that was learned there."""

from __future__ import annotations

import numpy as np

from service.experiment.features.column import Column
from service.serving.personalizer import Mode
from service.store.embedded import Embedded
from tests.rig.stage import choose, reward, stage

HERO = """
experiment: hero
arms: [{id: calm}, {id: bold}, {id: late, start: 2020-01-01}]
default_arm: calm
algorithm: uniform
features: {plan: {type: category, values: [free, paid, staff]}}
segments:
  - {id: free, when: {plan: free}}
  - {id: paid, when: {plan: paid}}
  - {id: staff, when: {plan: staff}, serve: default}
metrics: [{id: click, window: 1h}]
"""
BEST = {"free": "bold", "paid": "late"}


def test_each_segment_keeps_its_own_winner(valkey: Embedded) -> None:
    with stage(valkey.url) as world:
        server, other = world.service(), world.service()
        server.experiments.put(HERO, 0)
        for i in range(400):
            plan = ("free", "paid")[i % 2]
            made = choose(server, "hero", f"s{i}", context={"plan": plan})
            if made.arm == BEST[plan]:
                reward(server, made)
        world.settle()
        server.experiments.put(HERO + "state: ended\nwinner: learned\n", 1)
        world.settle()
        for one in (server, other):
            served = {p: choose(one, "hero", "new", context={"plan": p}).arm for p in ("free", "paid", "staff", "else")}
            assert served == {**BEST, "staff": "calm", "else": served["else"]}
            column = {"plan": Column(codes=np.arange(3), dictionary=("free", "paid", "staff"))}
            batch = one.use_cases.select_batch("hero", ["x", "y", "z"], column, (), False, Mode.NORMAL)
            assert [batch.arm_ids[arm] for arm in batch.arms] == ["bold", "late", "calm"]
            told = {segment.segment: segment.served for segment in one.experiments.report("hero").segments}
            assert {k: v for k, v in told.items() if k in BEST} == BEST
        server.experiments.put(HERO + "state: ended\nwinner: bold\n", 2)
        world.settle()
        assert {choose(other, "hero", "n", context={"plan": p}).arm for p in ("free", "paid", "staff")} == {"bold"}
