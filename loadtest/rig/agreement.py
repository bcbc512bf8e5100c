"""Whether servers serve one snapshot: what each reports, and the odds it chooses by, compared bit by bit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.rig.server import channel
from service.pb.lever.v1 import experiment_pb2
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub

SUBJECTS = [f"witness-{i}" for i in range(500)]
PATIENCE_S = 10.0  # a poll is due every 100 ms


@dataclass(frozen=True, slots=True)
class Served:
    """What one server serves of an experiment without features, for which propensities depend on the snapshot alone."""

    address: str
    log_id: str
    report: bytes  # every count, and every figure of the posterior as an IEEE double
    odds: frozenset[tuple[int, str, float]]  # holdout, arm, propensity: of the arms that SUBJECTS were given


def served(address: str, experiment: str) -> Served:
    """Ask a server. Nothing is counted, so the log stays as it is. grpc.RpcError."""
    with channel(address) as link:
        # The report first: its log id is then the least that the choices are made from.
        report = ExperimentServiceStub(link).GetReport(experiment_pb2.GetReportRequest(name=experiment), timeout=30)
        request = pb.SelectBatchRequest(experiment=experiment, subjects=SUBJECTS, mode=pb.MODE_UNCOUNTED)
        choices = PersonalizationServiceStub(link).SelectBatch(request, timeout=30)
    arms = [choices.arm_ids[number] for number in choices.arms]  # drawn anew by every call; their odds are not
    odds = frozenset(zip(choices.holdout, arms, choices.propensities, strict=True))
    return Served(address, report.log_id, report.SerializeToString(deterministic=True), odds)


def differences(all_served: Sequence[Served], log_id: str) -> list[str]:
    """What keeps servers from serving one snapshot of the log that ends at `log_id`; empty where they do."""
    wrong = [
        f"{one.address} serves the log up to {one.log_id}, not {log_id}" for one in all_served if one.log_id != log_id
    ]
    if len({one.report for one in all_served}) > 1:
        wrong.append("the servers' snapshots differ: their reports are not the same bits")
    odds = frozenset[tuple[int, str, float]]().union(*(one.odds for one in all_served))
    if len(odds) > len({(holdout, arm) for holdout, arm, _ in odds}):
        wrong.append("the servers' snapshots differ: they choose one arm with different propensities")
    return wrong


def disagreements(addresses: Sequence[str], experiment: str, log_id: str) -> list[str]:
    """The same of running servers, once traffic has stopped; they get PATIENCE_S to come to the log's end."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        wrong = differences([served(address, experiment) for address in addresses], log_id)
        if not wrong or time.monotonic() > deadline:
            return wrong
        time.sleep(0.1)
