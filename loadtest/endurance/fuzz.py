"""`python -m loadtest fuzz`: malformed input against a real server: no crash, no internal error, flat memory."""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import grpc

from loadtest.rig import report
from loadtest.rig.malformed import Maker
from loadtest.rig.processes import resident_mb
from loadtest.rig.server import Server, ServerError, channel, running
from service.pb.lever.v1 import experiment_pb2, experiment_pb2_grpc
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1 import personalization_pb2_grpc as rpc
from service.serving.token import from_text

MESSAGE = 1000  # rewards of one stream message, the contract's limit
UNDER_WAY = 64  # unary calls at a time
WARM = 0.2  # share of the inputs before memory is first looked at: allocators and caches fill up first
FAULTS = frozenset({"INTERNAL", "UNKNOWN", "DATA_LOSS", "UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"})
CONFIG = """\
experiment: fuzzed
arms:
  - {id: calm, payload: {title: Calm}}
  - {id: loud, payload: {title: Loud}}
default_arm: calm
features:
  industry: {type: category, values: [software, retail]}
  visits: {type: number, min: 0, max: 50}
  returning: {type: flag}
segments:
  - id: enterprise
    when: {industry: software, visits: {min: 3, max: 10}}
metrics:
  - {id: click, primary: true, window: 1h}
  - {id: order, unit: 0.01, min: 0, max: 500, aggregate: sum}
holdout: {share: 0.05}
"""


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser("python -m loadtest fuzz", description=__doc__)
    made.add_argument("--inputs", type=int, default=1_000_000)
    made.add_argument("--unary", type=float, default=0.2, help="share that goes as calls of their own")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--json", action="store_true", help="one JSON line last on stdout")
    return made


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 where the server was not impressed, 1 where it was."""
    options = parser().parse_args(arguments)
    out = report.console()
    try:
        with running() as server:
            record = _run(server, options)
    except (ServerError, grpc.RpcError) as error:
        out.print(f"{type(error).__name__}: {error}", markup=False)
        return 1
    out.print_json(data=record)
    if options.json:
        report.emit(record)
    return 0 if record["clean"] else 1


def _run(server: Server, options: argparse.Namespace) -> dict[str, object]:
    rng = random.Random(options.seed)
    before = server.workers()
    answers: Counter[str] = Counter()
    memory: list[tuple[int, float]] = []
    begun = time.monotonic()
    with channel(server.address) as link:
        maker = prepare(link)
        done, share = 0, 0
        while done < options.inputs:
            step = min(20 * MESSAGE, options.inputs - done)
            share = round(step * options.unary)
            answers.update(unary(link, maker, rng, share))
            answers.update(streamed(link, maker, rng, step - share))
            done += step
            memory.append((done, round(resident_mb(*before), 1)))
        choose(link)  # it still does what it is for
    alive = server.workers() == before
    faults = {code: count for code, count in answers.items() if code in FAULTS}
    incidents = server.log.read_text("utf-8", "replace").count('"incident"')
    warm = [mb for n, mb in memory if n >= WARM * options.inputs]
    return {
        "inputs": done,
        "seed": options.seed,
        "clean": alive and not faults and not incidents,
        "crashes": 0 if alive else 1,
        "faults": faults,
        "incidents": incidents,
        "answers": dict(sorted(answers.items())),
        "resident_mb_first": memory[0][1],
        "resident_mb_warm": warm[0],
        "resident_mb_last": memory[-1][1],
        "resident_mb_every": [mb for _, mb in memory[:: max(1, len(memory) // 20)]],
        "seconds": round(time.monotonic() - begun, 1),
        "machine": report.machine(),
    }


def prepare(link: grpc.Channel) -> Maker:
    """An experiment to aim at, and a good decision of it to break."""
    stub = experiment_pb2_grpc.ExperimentServiceStub(link)
    stub.PutExperiment(experiment_pb2.PutExperimentRequest(config=CONFIG), timeout=30)
    return Maker("fuzzed", from_text(choose(link)), CONFIG)


def choose(link: grpc.Channel) -> str:
    """A proper choice."""
    request = pb.SelectRequest(experiment="fuzzed", subject="ann")
    for _ in range(100):
        try:
            return rpc.PersonalizationServiceStub(link).Select(request, timeout=10).decision_id
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:  # the server hears of it with its next poll
                raise
            time.sleep(0.05)
    raise ServerError("the experiment never came to be served")


def unary(link: grpc.Channel, maker: Maker, rng: random.Random, count: int) -> Counter[str]:
    """So many calls with bytes of their own; how they were answered."""
    answers: Counter[str] = Counter()
    calls: list[Any] = []
    for _ in range(count):
        path, data = maker.unary(rng)
        method: Any = link.unary_unary(path)  # bytes go out as they are
        calls.append(method.future(data, timeout=60))
        if len(calls) == UNDER_WAY:
            answers.update(_code(call) for call in calls)
            calls.clear()
    answers.update(_code(call) for call in calls)
    return answers


def _code(call: Any) -> str:
    error = call.exception()
    return "OK" if error is None else str(error.code().name)


def streamed(link: grpc.Channel, maker: Maker, rng: random.Random, count: int) -> Counter[str]:
    """So many rewards in large messages; how each was answered."""
    answers: Counter[str] = Counter()

    def messages() -> Iterator[pb.StreamRewardsRequest]:
        for at in range(0, count, MESSAGE):
            rewards = [maker.reward(rng) for _ in range(min(MESSAGE, count - at))]
            yield pb.StreamRewardsRequest(sequence=at, rewards=rewards)

    names = {code.value[0]: code.name for code in grpc.StatusCode}
    for answer in rpc.PersonalizationServiceStub(link).StreamRewards(messages(), timeout=120):
        answers.update(names[result.code] for result in answer.results)
    return answers
