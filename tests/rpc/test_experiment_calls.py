"""What the wire does with calls about whole experiments; a real server, a stand-in behind it."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from service.pb.lever.v1 import experiment_pb2 as epb
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from tests.rig.calls import failure
from tests.rig.standin import Standin, served


@pytest.fixture(scope="module")
def experiments() -> Iterator[ExperimentServiceStub]:
    with served(Standin()) as (channel, _):
        yield ExperimentServiceStub(channel)


def test_experiments_both_ways(experiments: ExperimentServiceStub) -> None:
    put = experiments.PutExperiment(epb.PutExperimentRequest(config="new", expected_version=4))
    assert (put.changed, put.experiment.config, put.experiment.version) == (True, "new", 4)
    kept = experiments.GetExperiment(epb.GetExperimentRequest(name="hero")).experiment
    assert (kept.name, kept.uid, kept.state, kept.applied_at_ms, kept.algorithm) == (
        "hero",
        "00ff",
        "active",
        12,
        "beta",
    )
    assert list(experiments.ListExperiments(epb.ListExperimentsRequest()).experiments) == [kept]
    experiments.DeleteExperiment(epb.DeleteExperimentRequest(name="hero"))
    report = experiments.GetReport(epb.GetReportRequest(name="hero"))
    assert (report.name, report.log_id, report.stale) == ("hero", "5-0", True)
    arm = report.segments[0].arms[0]
    assert (arm.arm, arm.trials, arm.holdout_trials, arm.posterior_mean) == ("calm", 10, 2, 0.39)
    (rail,) = report.guardrails
    assert (rail.arm, rail.state, rail.limit, rail.trials, rail.low, rail.level) == (
        "bold",
        "paused",
        0.5,
        90,
        0.6,
        0.99,
    )
    assert rail.paused_since_ms == 7


def test_data_taken_back_and_given_back_is_in_the_history(experiments: ExperimentServiceStub) -> None:
    made = experiments.Exclude(epb.ExcludeRequest(name="hero", from_ms=1, to_ms=60_000, arms=["calm"])).exclusion
    assert (made.number, made.from_ms, made.to_ms, list(made.arms), made.trials) == (1, 1, 60_000, ["calm"], 5)
    assert experiments.Include(epb.IncludeRequest(name="hero", number=7)).exclusion.number == 7
    events = experiments.GetHistory(epb.GetHistoryRequest(name="hero", limit=2)).events
    assert [(event.what, event.version) for event in events] == [("included data again", 4), ("excluded data", 4)]
    assert events[1].detail == "number 1: from 1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z, arms calm, 5 trials"


def test_a_wrong_configuration_carries_lines(experiments: ExperimentServiceStub) -> None:
    error, (bad, info) = failure(experiments.PutExperiment, epb.PutExperimentRequest(config="bad"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [v.field for v in bad.field_violations] == ["arms[0].id", "state"]
    assert dict(info.metadata) == {"line.0": "3"}


def test_wrong_experiment_calls(experiments: ExperimentServiceStub) -> None:
    error, _ = failure(experiments.PutExperiment, epb.PutExperimentRequest(config="x", expected_version=0))
    assert error.code() is grpc.StatusCode.ABORTED
    error, _ = failure(experiments.PutExperiment, epb.PutExperimentRequest())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    error, _ = failure(experiments.PutExperiment, epb.PutExperimentRequest(config="x" * ((1 << 20) + 1)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    for call, request in (
        (experiments.GetExperiment, epb.GetExperimentRequest(name="nope")),
        (experiments.DeleteExperiment, epb.DeleteExperimentRequest(name="nope")),
        (experiments.GetReport, epb.GetReportRequest(name="nope")),
    ):
        error, _ = failure(call, request)
        assert error.code() is grpc.StatusCode.NOT_FOUND
