"""A whole server on libraries newer than any that its fast paths were tested with: slower, not wrong, and it says so."""

from __future__ import annotations

import json
import os
from pathlib import Path

import grpc

from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from tests.rig.experiments import HERO
from tests.rig.site import site

# Python runs this file first, in every process of the server.
NEWER = """\
import importlib.metadata
import numba

whole = importlib.metadata.version
importlib.metadata.version = lambda name: "99.0" if name in ("grpcio", "uvicorn") else whole(name)
numba.version_info = numba.version_info._replace(major=99)  # its text stays: the cache of kernels goes by that
"""


def test_choices_and_rewards_on_libraries_that_nobody_tested(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NEWER)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with site(tmp_path, {"hero": HERO}, variables={"PYTHONPATH": path, "LEVER_LOG_JSON": "true"}) as lever:
        flag = lever.flag("hero", "ann", plan="free")
        assert flag.status == 200
        assert flag.json["variant"] in {"calm", "loud"}
        with grpc.insecure_channel(lever.grpc, options=[("grpc.enable_http_proxy", 0)]) as channel:
            stub = PersonalizationServiceStub(channel)
            decision = stub.Select(pb.SelectRequest(experiment="hero", subject="ann"), timeout=20)
            assert 0.0 < decision.propensity < 1.0
            asked = pb.RewardRequest(decision_id=decision.decision_id, metric="click", value=1.0)
            assert stub.Reward(asked, timeout=20).outcome == pb.OUTCOME_APPLIED
        trials = lever.await_trials("hero", 2)
        assert sum(rewarded for _, rewarded in trials.values()) == 1
        lines = [json.loads(line) for line in (tmp_path / "server.log").read_text().splitlines()]
    told = sorted(
        line["event"].partition(",")[0] for line in lines if "is not a tested version" in line.get("reason", "")
    )
    assert told == [
        "HTTP requests go uvicorn's own way",  # the operators' port
        "HTTP requests go uvicorn's own way",  # the websites' port
        "calls are answered by grpc's own threads: Select at about twice the cost",
        "kernels are compiled or loaded all at once",  # the worker
        "kernels are compiled or loaded all at once",  # the web process
    ]
