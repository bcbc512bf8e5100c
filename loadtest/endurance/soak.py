"""`python -m loadtest soak`: steady traffic of every kind for minutes or hours: do memory and descriptors grow?"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Sequence

import grpc

from loadtest.endurance.fuzz import prepare
from loadtest.rig import report
from loadtest.rig.malformed import Maker
from loadtest.rig.processes import descriptors, resident_mb
from loadtest.rig.server import Server, ServerError, channel, running
from loadtest.rig.summaries import slope
from service.pb.lever.v1 import experiment_pb2, experiment_pb2_grpc
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1 import personalization_pb2_grpc as rpc

WARM = 0.25  # share of the time before growth is looked at
SAMPLES = 200
RENEW = 500  # rounds after which the client connects anew


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser("python -m loadtest soak", description=__doc__)
    made.add_argument("--minutes", type=float, default=10.0)
    made.add_argument("--workers", type=int, default=1)
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--json", action="store_true", help="one JSON line last on stdout")
    return made


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 where the run came to its end and no worker ended."""
    options = parser().parse_args(arguments)
    out = report.console()
    try:
        with running("--workers", str(options.workers)) as server:
            record = _run(server, options)
    except (ServerError, grpc.RpcError) as error:
        out.print(f"{type(error).__name__}: {error}", markup=False)
        return 1
    out.print_json(data=record)
    if options.json:
        report.emit(record)
    return 0 if record["workers_alive"] else 1


def _run(server: Server, options: argparse.Namespace) -> dict[str, object]:
    rng, pids = random.Random(options.seed), server.workers()
    done: Counter[str] = Counter()
    seconds, memory, files = [], [], []
    begun = time.monotonic()
    end, due = begun + options.minutes * 60, begun
    link = channel(server.address)
    maker = prepare(link)
    while (now := time.monotonic()) < end:
        if now >= due:
            seconds.append(now - begun)
            memory.append(resident_mb(*pids))
            files.append(float(descriptors(*pids)))
            due = now + options.minutes * 60 / SAMPLES
        if done["rounds"] % RENEW == RENEW - 1:
            link.close()
            link = channel(server.address)
        traffic(link, maker, rng, done)
    link.close()
    warm = int(len(seconds) * WARM)
    return {
        "minutes": options.minutes,
        "done": dict(done),
        "workers_alive": server.workers() == pids,
        "resident_mb_first": round(memory[0], 1),
        "resident_mb_warm": round(memory[warm], 1),
        "resident_mb_last": round(memory[-1], 1),
        "resident_mb_slope_per_hour": round(slope(seconds[warm:], memory[warm:]), 2),
        "descriptors_warm": files[warm],
        "descriptors_last": files[-1],
        "descriptors_slope_per_hour": round(slope(seconds[warm:], files[warm:]), 2),
        "machine": report.machine(),
    }


def traffic(link: grpc.Channel, maker: Maker, rng: random.Random, done: Counter[str]) -> None:
    """One round: choices, some of them rewarded, a batch, a stream, a changed experiment, a report, malformed input."""
    choices, experiments = rpc.PersonalizationServiceStub(link), experiment_pb2_grpc.ExperimentServiceStub(link)
    ids = []
    for _ in range(20):
        request = pb.SelectRequest(experiment=maker.experiment, subject=f"s{rng.getrandbits(40)}")
        request.context["visits"].number = rng.randint(0, 60)
        ids.append(choices.Select(request, timeout=10).decision_id)
    choices.Reward(pb.RewardRequest(decision_id=ids[0]), timeout=10)
    rewards = [pb.RewardRequest(decision_id=one, metric="order", value=5, event_id="e") for one in ids[:5]]
    list(choices.StreamRewards(iter([pb.StreamRewardsRequest(rewards=rewards)]), timeout=10))
    done.update(rounds=1, selects=20, rewards=6)
    if rng.random() < 0.1:
        subjects = [f"b{rng.getrandbits(40)}" for _ in range(100)]
        choices.SelectBatch(pb.SelectBatchRequest(experiment=maker.experiment, subjects=subjects), timeout=10)
        done.update(batched=100)
    if rng.random() < 0.02:
        config = maker.config + f"description: round {done['rounds']}\n"
        experiments.PutExperiment(experiment_pb2.PutExperimentRequest(config=config), timeout=10)
        experiments.GetReport(experiment_pb2.GetReportRequest(name=maker.experiment), timeout=10)
        done.update(changes=1)
    path, data = maker.unary(rng)
    method: object = link.unary_unary(path)
    done.update(malformed=1)
    method.future(data, timeout=10).exception()  # type: ignore[attr-defined]  # bytes go out as they are
