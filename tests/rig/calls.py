"""Calls to a server around the stand-in: one of every kind, and what it counts."""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.pb.lever.v1 import experiment_pb2 as xpb
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.rpc.server import PERSONALIZATION
from service.telemetry.metrics import Metrics

SELECT = f"/{PERSONALIZATION}/Select"
SERVING = health_pb2.HealthCheckResponse.SERVING


def port_of(channel: grpc.Channel) -> str:
    raw: Any = channel
    return str(raw._channel.target().decode()).rpartition("/")[2]


def shed(metrics: Metrics, pool: str) -> float:
    return sum(value for key, (value,) in metrics.shed.samples() if key == (pool,))


def all_answer(channel: grpc.Channel) -> None:
    """A good call of every pool."""
    choices, experiments = PersonalizationServiceStub(channel), ExperimentServiceStub(channel)
    assert choices.Select(pb.SelectRequest(experiment="hero", subject="ann"), timeout=20).arm == "calm"
    assert choices.SelectBatch(pb.SelectBatchRequest(experiment="hero", subjects=["ann"]), timeout=20).arm_ids
    assert choices.Reward(pb.RewardRequest(decision_id="abcd"), timeout=20).outcome == pb.OUTCOME_APPLIED
    assert experiments.PutExperiment(xpb.PutExperimentRequest(config="x"), timeout=20).experiment.name == "hero"
    stream = choices.StreamRewards(iter([pb.StreamRewardsRequest(sequence=3)]), timeout=20)
    assert [answer.sequence for answer in stream] == [3]
    health = health_pb2_grpc.HealthStub(channel)
    assert health.Check(health_pb2.HealthCheckRequest(), timeout=20).status == SERVING
    assert health.List(health_pb2.HealthListRequest(), timeout=20).statuses[""].status == SERVING
    watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=20)
    assert next(watch).status == SERVING
    watch.cancel()
