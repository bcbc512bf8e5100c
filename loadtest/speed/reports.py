"""`python -m loadtest reports`: Select's latency while reports of 50 segments x 20 arms are asked for, and while none are, in turns."""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from loadtest.rig import report
from loadtest.rig.server import ServerError, channel, running
from service.pb.lever.v1 import experiment_pb2 as epb
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub

SEGMENTS, ARMS, BATCHES, SUBJECTS = 50, 20, 20, 5_000
REWARDED = 0.05
TURNS, TURN_S, PAUSE_S = 16, 4.0, 0.3
RATE = 300.0  # choices a second
NAME = "big"


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 on success, 1 where no server starts."""
    made = argparse.ArgumentParser("python -m loadtest reports", description=__doc__)
    made.add_argument("--out", type=Path, help="write the figures to this file")
    made.add_argument("--json", action="store_true", help="one JSON line last on stdout")
    options = made.parse_args(arguments)
    out = report.console()
    try:
        record = measure()
    except ServerError as error:
        out.print(f"ServerError: {error}", markup=False)
        return 1
    out.print(report.table("Select beside reports", ["figure", "value"], [[k, f"{v:.4g}"] for k, v in record.items()]))
    if options.out is not None:
        report.save(options.out, {**record, "machine": report.machine()})
    if options.json:
        report.emit(record)
    return 0


def measure() -> dict[str, float]:
    """Keys of the last line: seconds of a report, and Select's latency in ms alone and beside one report a second."""
    with running() as server, channel(server.address) as calls, channel(server.address) as others:
        choices, experiments = PersonalizationServiceStub(calls), ExperimentServiceStub(others)
        experiments.PutExperiment(epb.PutExperimentRequest(config=config()), timeout=60)
        visit(choices)
        asking, end, took = threading.Event(), threading.Event(), list[float]()
        asker = threading.Thread(target=ask, args=(experiments, asking, end, took))
        asker.start()
        try:
            alone, beside = turns(choices, asking)
        finally:
            end.set()
            asker.join()
    return {
        "report_s": float(np.median(took)),
        "reports": len(took),
        "alone_p50_ms": float(np.percentile(alone, 50)),
        "alone_p99_ms": float(np.percentile(alone, 99)),
        "beside_p50_ms": float(np.percentile(beside, 50)),
        "beside_p99_ms": float(np.percentile(beside, 99)),
        "p99_ratio": float(np.percentile(beside, 99) / np.percentile(alone, 99)),
    }


def config() -> str:
    """An experiment whose segments are places 0 to 49."""
    arms = "".join(f"  - {{id: a{k}}}\n" for k in range(ARMS))
    segments = "".join(f"  - {{id: s{k}, when: {{place: {{min: {k}, max: {k}}}}}}}\n" for k in range(SEGMENTS))
    return (
        f"experiment: {NAME}\narms:\n{arms}default_arm: a0\nfeatures:\n  place: {{type: number, min: 0, max: {SEGMENTS}}}\n"
        f"segments:\n{segments}metrics: [{{id: click, window: 1h}}]\nholdout: {{share: 0.05}}\n"
    )


def visit(choices: PersonalizationServiceStub) -> None:
    """Trials in every segment, some of them rewarded."""
    draw, rewarded = random.Random(1), list[bytes]()
    for batch in range(BATCHES):
        places = pb.FeatureColumn(feature="place", numbers=[float(draw.randrange(SEGMENTS)) for _ in range(SUBJECTS)])
        subjects = [f"{batch}-{i}" for i in range(SUBJECTS)]
        asked = pb.SelectBatchRequest(experiment=NAME, subjects=subjects, context=[places])
        made = choices.SelectBatch(asked, timeout=60, wait_for_ready=True)
        rewarded += [decision for decision in made.decision_ids if draw.random() < REWARDED]

    def messages() -> Iterator[pb.StreamRewardsRequest]:
        for at in range(0, len(rewarded), 500):
            yield pb.StreamRewardsRequest(rewards=[pb.RewardRequest(decision=d) for d in rewarded[at : at + 500]])

    for _ in choices.StreamRewards(messages(), timeout=120):
        pass


def ask(experiments: ExperimentServiceStub, asking: threading.Event, end: threading.Event, took: list[float]) -> None:
    """A report a second while `asking` is set, until `end`."""
    while not end.wait(0.02):
        if asking.is_set():
            begun = time.perf_counter()
            experiments.GetReport(epb.GetReportRequest(name=NAME), timeout=60)
            took.append(time.perf_counter() - begun)
            end.wait(max(0.0, 1.0 - took[-1]))


def turns(choices: PersonalizationServiceStub, asking: threading.Event) -> tuple[list[float], list[float]]:
    """Latencies in ms of choices at a steady rate: without reports, and with them."""
    draw, found = random.Random(2), (list[float](), list[float]())
    for turn in range(TURNS):
        (asking.set if turn % 2 else asking.clear)()
        time.sleep(PAUSE_S)
        due = time.perf_counter()
        end = due + TURN_S
        while due < end:
            time.sleep(max(0.0, due - time.perf_counter()))
            begun = time.perf_counter()
            place = {"place": pb.FeatureValue(number=float(draw.randrange(SEGMENTS)))}
            choices.Select(pb.SelectRequest(experiment=NAME, subject=f"x{draw.random()}", context=place), timeout=10)
            found[turn % 2].append(1e3 * (time.perf_counter() - begun))
            due += 1.0 / RATE
    return found
