"""`python -m loadtest spread`: one experiment among ever more of them, on a cluster of three primaries.

In one process, as a worker has it, without gRPC and without threads of its own: CPU of this process for a start, for a turn
(poll, fold, publish, flush) without news and with a few experiments in use, for a choice and for a call of rewards.
What one costs should not depend on how many others there are.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from bandits.warmup import warm
from loadtest.engines.cluster import cluster
from loadtest.rig import summaries
from loadtest.rig.report import emit, machine, save
from loadtest.speed.scale import KEYS, config
from service import logs
from service.experiment.compiled import Record, build
from service.experiment.features.column import Value
from service.experiment.parse import parse
from service.learning.rounds import POLLS
from service.server.assemble import Service, Tuning
from service.server.assemble import build as assemble
from service.serving.personalizer import Mode
from service.serving.rewarder import RewardEvent
from service.serving.token import from_text
from service.store.contract import Put
from service.store.embedded import find_binary
from service.store.redis import RedisStore
from service.telemetry.metrics import Metrics

SIZES = (1, 10, 100, 1000, 10_000)
VISITOR: Mapping[str, Value] = {"industry": "software", "source": "search", "returning": True}
USED = 10  # experiments with choices and rewards
CHOICES = 50  # of each of these, and as many rewards
ROUNDS = 15
TURNS = POLLS // 2  # of a round: one polls twice


def spread(store: RedisStore, first: int, last: int) -> None:
    """Experiments from this number to before that one, as `lever apply` writes them."""
    text = config("spread-0")
    made = msgspec.json.decode(build(parse(text), text, f"{0:016x}", int(time.time() * 1000), None), type=Record)
    for number in range(first, last):
        name, uid = f"spread-{number}", f"{number + 1:016x}"
        spec = msgspec.structs.replace(made.spec, experiment=name)
        record = msgspec.structs.replace(made, uid=uid, text=text.replace("spread-0", name), spec=spec)
        store.put(Put(uid, name, 1, 0, msgspec.json.encode(record)))


def _server(store: RedisStore) -> Service:
    service = assemble(store, KEYS, Metrics(), Tuning(state_max=1 << 30))
    service.feed.turn()
    return service


def spent(work: Callable[[], object], clock: Callable[[], int] = time.process_time_ns) -> float:
    """CPU microseconds of one time: the least of some rounds, as whatever else runs only adds to it."""
    found = []
    for _ in range(ROUNDS):
        begun = clock()
        work()
        found.append((clock() - begun) / 1000)
    return min(found)


def measure(url: str, size: int, few: Service) -> dict[str, float]:
    """A server over so many; `few` is one with ten, for what to compare with."""
    gc.collect()
    gc.disable()  # as a worker does until it is ready
    begun, cpu = time.perf_counter(), time.process_time()
    service = _server(RedisStore(url, timeout=30.0))
    found = {"experiments": size, "start_s": time.perf_counter() - begun, "start_cpu_s": time.process_time() - cpu}
    names = [f"spread-{number * size // USED if size > USED else number % size}" for number in range(USED)]
    service.feed.turn()
    gc.enable()
    gc.collect()
    gc.freeze()
    found["turn_us"] = spent(lambda: _turns(service)) / TURNS
    found |= _used(service, names, few)
    found["turn_us_of_one"] = found["turn_us"] / size
    gc.unfreeze()
    return {name: round(value, 3) for name, value in found.items()}


def _turns(service: Service) -> None:
    for _ in range(TURNS):
        service.feed.turn()


def _used(service: Service, names: Sequence[str], few: Service) -> dict[str, float]:
    """What choices, rewards and a turn cost; choices and rewards also by those of a server with ten experiments, in turn."""
    found: dict[str, list[float]] = {name: [] for name in ("choice", "reward", "turn", "choice_ratio", "reward_ratio")}
    for _ in range(ROUNDS):
        less, many = _round(few, [f"spread-{number}" for number in range(USED)]), _round(service, names)
        for what in ("choice", "reward", "turn"):
            found[what].append(many[what])
        for what in ("choice", "reward"):
            found[f"{what}_ratio"].append(many[what] / less[what])
    count = len(names) * CHOICES
    return {
        "choice_us": min(found["choice"]) / count, "reward_us": min(found["reward"]) / count, "turn_us_in_use": min(found["turn"]),
        "choice_by_few": summaries.median(found["choice_ratio"]), "reward_by_few": summaries.median(found["reward_ratio"]),
    }  # fmt: skip


def _round(service: Service, names: Sequence[str]) -> dict[str, float]:
    """CPU microseconds of choices and rewards with each of these experiments, and of a turn after them."""
    select, reward = service.use_cases.select, service.use_cases.reward
    times = [time.process_time_ns()]
    tokens = [
        select(name, f"visitor-{i}", VISITOR, (), "", False, Mode.NORMAL).decision_id
        for name in names
        for i in range(CHOICES)
    ]
    times.append(time.process_time_ns())
    reward([RewardEvent(from_text(token), "click") for token in tokens])
    times.append(time.process_time_ns())
    service.feed.turn()
    times.append(time.process_time_ns())
    return {
        what: (now - then) / 1000
        for what, (then, now) in zip(("choice", "reward", "turn"), pairwise(times), strict=True)
    }


def main(arguments: Sequence[str]) -> int:
    """Print a line of JSON for each size."""
    parser = argparse.ArgumentParser(prog="python -m loadtest spread", description=__doc__)
    parser.add_argument("--most", type=int, default=SIZES[-1])
    parser.add_argument("--out", type=Path, help="file for it")
    given = parser.parse_args(arguments)
    logs.configure("error", "false")
    warm()
    found, there = [], 0
    scratch = tempfile.TemporaryDirectory(prefix="lever-spread-")
    with scratch as folder, cluster(find_binary(), Path(folder), replicas=0) as engines:
        store, beside = (RedisStore(engines.url, prefix, timeout=30.0) for prefix in ("lever", "beside"))
        spread(beside, 0, USED)
        few = _server(beside)
        for size in (one for one in SIZES if one <= given.most):
            spread(store, there, size)
            there = size
            found.append(measure(engines.url, size, few))
            emit(found[-1])
    if given.out is not None:
        save(given.out, {"command": "python -m loadtest spread", "machine": machine(), "sizes": found})
    return 0
