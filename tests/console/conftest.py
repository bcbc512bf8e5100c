"""Two Levers for the console's tests, each with a story to tell: one with API keys, one without."""

from __future__ import annotations

import random
from collections.abc import Iterator

import grpc
import pytest

from loadtest.rig.server import Server
from service.demo.past import begin
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.experiment_pb2 import ListExperimentsRequest
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.security.api_keys import Key, new_secret
from tests.rig.lever import LOCAL
from tests.rig.site import Site, site
from tests.rig.told import Told
from tests.rig.waiting import eventually

SHOP = """\
# Two groups of visitors.
experiment: shop
description: What the shop opens with.
state: active  # since Monday

arms:
  - id: calm
  - id: loud
  - id: slow
default_arm: calm
algorithm: beta
features:
  plan: {type: category, values: [free, paid]}
  staff: {type: flag}
segments:
  - id: paid
    when: {plan: paid}
metrics:
  - {id: order, primary: true, unit: 0.5, min: 0, max: 40, window: 1h, aggregate: first}
  - {id: click, window: 1h}
holdout: {share: 0.3}
"""
QUIET = """\
experiment: quiet
arms: [{id: a}, {id: b}]
default_arm: a
algorithm: uniform
metrics: [{id: click, window: 1h}]
"""
EXPERIMENTS = {"shop": SHOP, "quiet": QUIET}
VISITORS = 900


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """With keys; `shop` has had visitors."""
    folder = tmp_path_factory.mktemp("console")
    everything, read, decide = (new_secret() for _ in range(3))
    lines = [
        Key.of(everything, "anna", frozenset({"decide", "reward", "admin", "read"})).line(),
        Key.of(read, "ben", frozenset({"read"})).line(),
        Key.of(decide, "site", frozenset({"decide"})).line(),
    ]
    keys = folder / "keys.yaml"
    keys.write_text("\n".join(["keys:", *lines, ""]))
    with site(folder, EXPERIMENTS, "--keys-file", str(keys), key=everything) as made:
        decision = visits(made, everything)
        made.settled("shop")
        yield Told(made, everything, read, decide, decision, keys)


@pytest.fixture(scope="session")
def unlocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Without keys; with the first three days of the simulated shop behind it."""
    with Server(tmp_path_factory.mktemp("unlocked")) as server:
        begin(server.data, 3)
        with grpc.insecure_channel(server.address, options=LOCAL) as channel:
            stub = ExperimentServiceStub(channel)
            eventually(lambda: len(stub.ListExperiments(ListExperimentsRequest(), timeout=20).experiments) == 3)
        yield server


def visits(made: Site, key: str) -> str:
    """Visitors of both plans; loud earns the most, and paid visitors more. The last decision's id."""
    draw, metadata, last = random.Random(11), (("authorization", f"Bearer {key}"),), ""
    with grpc.insecure_channel(made.grpc, options=LOCAL) as channel:
        stub = PersonalizationServiceStub(channel)
        for visitor in range(VISITORS):
            plan = "paid" if visitor % 3 == 0 else "free"
            context = {"plan": pb.FeatureValue(text=plan)}
            request = pb.SelectRequest(experiment="shop", subject=f"visitor-{visitor}", context=context)
            choice = stub.Select(request, timeout=20, metadata=metadata)
            last = choice.decision_id
            if draw.random() < {"calm": 0.35, "loud": 0.6, "slow": 0.45}[choice.arm]:
                value = 2.5 * draw.randrange(1, 4) + (5 if plan == "paid" else 0)
                stub.Reward(
                    pb.RewardRequest(decision_id=last, value=value, metric="order"), timeout=20, metadata=metadata
                )
                stub.Reward(pb.RewardRequest(decision_id=last, metric="click"), timeout=20, metadata=metadata)
    return last
