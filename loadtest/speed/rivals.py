"""`python -m loadtest rivals`: choices a second of Lever and others, each with all its processes on one and the same core.

The same numbers for everybody, 64 calls open, in turn in every round; every answer is counted and has to be a success. Lever's store
writes through (`appendfsync always`), BanditDB is taken where it is on PATH, Vowpal Wabbit where it is installed: it has no server, so
what is told of it is a decision in process, without any transport. The empty servers do nothing: they are the floor.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadtest.rig import h2load, http2, pinned, processes, report, summaries
from loadtest.rig.echo import SELECT
from loadtest.rig.h2load import Driven
from loadtest.rig.pinned import Stand
from loadtest.rig.server import ServerError
from loadtest.speed import peers
from loadtest.speed.banditdb import BanditDB, banditdb
from service.pb.lever.v1 import personalization_pb2 as pb

Setting = tuple[str, int, int]  # algorithm, arms, numbers of a context
SHAPES = ((4, 5), (10, 16))
SETTINGS: tuple[Setting, ...] = tuple((algorithm, *shape) for algorithm in ("linucb", "lints") for shape in SHAPES)
GRPC_WIDTH = (4, 16)
HTTP_WIDTH = (64, 1)
TAUGHT = 300  # trials
WEB, EMPTY_WEB = "lever http", "empty http"
Drive = Callable[[int], Driven]


@dataclass(frozen=True)
class Contestant:
    """A server, or a side of one, in one setting."""

    name: str
    setting: str  # "" for those that do nothing
    pids: tuple[int, ...]  # of all its processes
    drive: Drive
    served: Callable[[], int] | None = None  # how many it says that it answered, where the driver cannot tell


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 on success, 1 where a server or the driver fails."""
    made = argparse.ArgumentParser("python -m loadtest rivals", description=__doc__)
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--calls", type=int, default=12_000, help="of each, a round")
    made.add_argument("--json", action="store_true", help="one JSON line last on stdout")
    options = made.parse_args(arguments)
    out = report.console()
    try:
        record = contest(SETTINGS, options.rounds, options.calls) + _in_process()
    except (ServerError, h2load.DriverError, RuntimeError, OSError) as error:
        out.print(f"{type(error).__name__}: {error}", markup=False)
        return 1
    rows = [
        [
            str(row["setting"] or "-"),
            str(row["who"]),
            f"{row['rps']:,.0f}",
            f"{row['cpu_us']:.0f}",
            f"{row['p50_ms']:.2f}",
        ]
        for row in record
    ]
    out.print(
        report.table("one core each, all processes", ["arms x numbers", "who", "a second", "CPU us", "p50 ms"], rows)
    )
    if options.json:
        report.emit({"contestants": record, "machine": report.machine()})
    return 0


def contest(settings: Sequence[Setting], rounds: int, calls: int) -> list[dict[str, object]]:
    """A row for each server in each setting, medians over rounds. ServerError, DriverError."""
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lever-rivals-")))
        lever = stack.enter_context(pinned.lever(web=True, together=True))
        rival = stack.enter_context(banditdb(scratch))
        if rival is not None:
            processes.pin(rival.pid, lever.core)
        everyone = [one for setting in settings for one in _players(setting, lever, rival, scratch)]
        everyone += [stack.enter_context(_empty(kind, everyone[0], lever, scratch)) for kind in ("http", "grpc")]
        samples: dict[tuple[str, str], list[tuple[float, ...]]] = defaultdict(list)
        for number in range(rounds + 1):  # the first is to get warm
            for one in everyone:
                sample = _turn(one, calls if number else calls // 4)
                if number:
                    samples[one.setting, one.name].append(sample)
    return [_row(setting, name, values) for (setting, name), values in samples.items()]


def _turn(one: Contestant, calls: int) -> tuple[float, ...]:
    counted = 0 if one.served is None else processes.settled(one.served)
    before = processes.cpu_s(*one.pids)
    driven = one.drive(calls)
    time.sleep(0.3)  # what it put off is its own as well
    cpu = (processes.cpu_s(*one.pids) - before) / calls * 1e6
    if one.served is not None and (answered := processes.settled(one.served) - counted) < calls:
        raise h2load.DriverError(f"{one.name}, {one.setting}: {answered} of {calls} calls were answered with a choice")
    return driven.rps, cpu, summaries.quantile(driven.latencies_us, 0.5) / 1000


def _row(setting: str, who: str, values: list[tuple[float, ...]]) -> dict[str, object]:
    rps, cpu, p50 = (round(summaries.median(list(column)), 2) for column in zip(*values, strict=True))
    return {"setting": setting, "who": who, "rps": rps, "cpu_us": cpu, "p50_ms": p50}


def _players(setting: Setting, lever: Stand, rival: BanditDB | None, scratch: Path) -> list[Contestant]:
    algorithm, arms, width = setting
    name = f"{algorithm}-{arms}x{width}"
    rows = np.random.default_rng(7).normal(size=(TAUGHT, width)).round(3).tolist()
    context = {f"f{i}": value for i, value in enumerate(rows[0])}
    _teach(lever, name, algorithm, arms, rows)
    request = pb.SelectRequest(experiment=name, subject="ann")
    for feature, value in context.items():
        request.context[feature].number = value
    grpc, http = scratch / f"{name}.bin", scratch / f"{name}.json"
    grpc.write_bytes(http2.body(request.SerializeToString()))
    http.write_text(json.dumps({"experiments": [name], "subject": "ann", "context": context}))
    pids = (lever.worker, lever.web_pid, lever.store)
    made = [
        Contestant(WEB, name, pids, _over_http(lever.web, "/v1/select", http, lever.other, scratch)),
        Contestant("lever grpc", name, pids, _over_grpc(lever.address, grpc, lever.other, scratch), lever.served),
    ]
    if rival is not None:
        rival.campaign(name, algorithm, arms, rows)
        asked = scratch / f"{name}.banditdb.json"
        asked.write_text(json.dumps({"campaign_id": name, "context": rows[0]}))
        made.append(
            Contestant(
                "banditdb", name, (rival.pid,), _over_http(rival.address, "/predict", asked, lever.other, scratch)
            )
        )
    return made


def _teach(lever: Stand, name: str, algorithm: str, arms: int, rows: list[list[float]]) -> None:
    """An experiment, taught as the others are, once both of Lever's sides know it."""
    config: dict[str, object] = {"experiment": name, "algorithm": algorithm, "default_arm": "a0"}
    config["arms"] = [{"id": f"a{i}"} for i in range(arms)]
    config["features"] = {f"f{i}": {"type": "number", "min": -4, "max": 4} for i in range(len(rows[0]))}
    config["metrics"] = [{"id": "click", "window": "1h"}]
    pinned.put(lever.address, config)
    pinned.teach_numbers(lever.address, name, rows)
    pinned.known(lever.web, name)


def _over_http(address: str, path: str, body: Path, core: int, scratch: Path) -> Drive:
    return lambda calls: h2load.run_http(address, path, body, calls, scratch, core, HTTP_WIDTH)


def _over_grpc(address: str, body: Path, core: int, scratch: Path) -> Drive:
    return lambda calls: h2load.run(address, SELECT, body, calls, scratch, core, GRPC_WIDTH)


@contextlib.contextmanager
def _empty(kind: str, like: Contestant, lever: Stand, scratch: Path) -> Iterator[Contestant]:
    """A server that does nothing, with Lever's own requests and answers of the same size."""
    answer = scratch / f"answer-{kind}"
    told = pinned.sample(lever.address, pb.SelectRequest(experiment=like.setting, subject="ann"))
    answer.write_bytes(told.SerializeToString() if kind == "grpc" else told.SerializeToString().hex().encode()[:400])
    command = [sys.executable, "-m", "loadtest.rig.echo", "sync" if kind == "grpc" else kind, str(answer)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = f"127.0.0.1:{int(server.stdout.readline())}"
            processes.pin(server.pid, lever.core)
            body = scratch / (f"{like.setting}.bin" if kind == "grpc" else f"{like.setting}.json")
            drive = (_over_grpc(address, body, lever.other, scratch) if kind == "grpc"
                     else _over_http(address, "/v1/select", body, lever.other, scratch))  # fmt: skip
            yield Contestant(EMPTY_WEB if kind == "http" else "empty grpc", "", (server.pid,), drive)
        finally:
            server.kill()


def _in_process() -> list[dict[str, object]]:
    """Vowpal Wabbit, which has no server."""
    made = []
    for arms, width in SHAPES:
        x = np.random.default_rng(7).normal(size=(2000, width))
        for model in peers.installed(arms, width, x):
            if model.name == "vowpalwabbit":
                begun = time.process_time()
                for i in range(len(x)):
                    model.decide(i)
                each = (time.process_time() - begun) / len(x)
                row = {"setting": f"{arms}x{width}", "who": f"{model.name} in process", "rps": round(1 / each)}
                made.append(row | {"cpu_us": round(each * 1e6, 2), "p50_ms": round(each * 1e3, 3)})
    return made
