"""lever.v1.ExperimentService: from messages to the catalogue and back."""

from __future__ import annotations

from dataclasses import fields
from typing import Protocol

import grpc

from service.errors import InvalidError
from service.experiment import Experiment
from service.pb.lever.v1 import experiment_pb2 as pb
from service.pb.lever.v1 import experiment_pb2_grpc as pb_grpc
from service.report import ArmReport, Report

CONFIG_BYTES = 1 << 20


class Experiments(Protocol):
    """What the catalogue offers. Writes raise ConflictError, InvalidError and UnavailableError."""

    def put(self, text: str, expected: int | None) -> tuple[Experiment, bool]:
        """Create or update; whether that changed anything."""

    def get(self, name: str) -> Experiment:
        """One experiment, or NotFoundError."""

    def list(self) -> list[Experiment]:
        """All, by name."""

    def delete(self, name: str, expected: int | None) -> None:
        """Delete one."""

    def report(self, name: str) -> Report:
        """What one has learned."""


class ExperimentServicer(pb_grpc.ExperimentServiceServicer):
    """What marketers and their tools talk to."""

    def __init__(self, catalogue: Experiments) -> None:
        self._catalogue = catalogue

    def PutExperiment(
        self, request: pb.PutExperimentRequest, context: grpc.ServicerContext
    ) -> pb.PutExperimentResponse:
        """Create or update."""
        if not request.config:
            raise InvalidError.field("config", "must be given")
        if len(request.config) > CONFIG_BYTES:
            raise InvalidError.field("config", f"is longer than {CONFIG_BYTES:,} characters")
        experiment, changed = self._catalogue.put(request.config, _expected(request))
        return pb.PutExperimentResponse(experiment=_experiment(experiment), changed=changed)

    def GetExperiment(
        self, request: pb.GetExperimentRequest, context: grpc.ServicerContext
    ) -> pb.GetExperimentResponse:
        """One experiment."""
        return pb.GetExperimentResponse(experiment=_experiment(self._catalogue.get(_named(request.name))))

    def ListExperiments(
        self, request: pb.ListExperimentsRequest, context: grpc.ServicerContext
    ) -> pb.ListExperimentsResponse:
        """All experiments."""
        return pb.ListExperimentsResponse(experiments=[_experiment(one) for one in self._catalogue.list()])

    def DeleteExperiment(
        self, request: pb.DeleteExperimentRequest, context: grpc.ServicerContext
    ) -> pb.DeleteExperimentResponse:
        """Remove an experiment with all it has learned."""
        self._catalogue.delete(_named(request.name), _expected(request))
        return pb.DeleteExperimentResponse()

    def GetReport(self, request: pb.GetReportRequest, context: grpc.ServicerContext) -> pb.GetReportResponse:
        """What was shown and earned, and what the policy believes."""
        report = self._catalogue.report(_named(request.name))
        return pb.GetReportResponse(
            name=report.name, version=report.version, algorithm=report.algorithm, metric=report.metric,
            log_id=report.log_id, stale=report.stale,
            segments=[
                pb.SegmentReport(segment=segment.segment, arms=[_arm(arm) for arm in segment.arms])
                for segment in report.segments
            ],
        )  # fmt: skip


def _named(name: str) -> str:
    if not name:
        raise InvalidError.field("name", "must be given")
    return name


def _expected(request: pb.PutExperimentRequest | pb.DeleteExperimentRequest) -> int | None:
    return request.expected_version if request.HasField("expected_version") else None


def _experiment(experiment: Experiment) -> pb.Experiment:
    return pb.Experiment(
        name=experiment.name, uid=experiment.uid, version=experiment.version, state=experiment.state,
        config=experiment.text, applied_at_ms=experiment.applied_at_ms, arms=[arm.id for arm in experiment.arms],
        algorithm=experiment.algorithm,
    )  # fmt: skip


def _arm(arm: ArmReport) -> pb.ArmReport:
    # One name for one thing: the report's fields are the message's.
    return pb.ArmReport(**{field.name: getattr(arm, field.name) for field in fields(arm)})
