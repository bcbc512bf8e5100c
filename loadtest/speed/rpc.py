"""`python -m loadtest rpc`: what a full decision costs beside an empty call, on one core, in one run.

In turn and interleaved, for some rounds: an empty sync gRPC server, an empty grpc.aio server with and without uvloop,
and Lever with the homepage example under each algorithm (docs/performance.md). Throughput and CPU by h2load at full
speed; latency by an open loop at half of the capacity of the slower one, Lever or the empty sync server, the same schedule
for all; and of Lever at half of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from rich.console import Console

from loadtest.rig import h2load, http2, pinned, processes, report, summaries
from loadtest.rig.background import Background, background
from loadtest.rig.echo import COUNT, KINDS, SELECT
from loadtest.rig.pinned import Stand
from loadtest.rig.server import ServerError, channel
from loadtest.rig.timed_calls import Call, Wire, poisson
from loadtest.speed import extras

ALGORITHMS = ("linucb", "beta", "lints")
WIDTH = (4, 16)  # connections of h2load and calls open on each
REWARD_SHARE = 0.03
Samples = dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class Target:
    """One server, or one experiment of Lever, that is measured in turn with the others."""

    name: str
    address: str
    pid: int
    body: Path
    messages: Sequence[bytes]
    experiment: str = ""  # of Lever

    def served(self, lever: Stand) -> int:
        """Calls answered so far, by the server's own count."""
        if self.experiment:
            return processes.settled(lever.served)
        with channel(self.address) as link:
            count: Any = link.unary_unary(COUNT)
            return int(count(b"", timeout=5))


@dataclass
class Run:
    """What the rounds share."""

    lever: Stand
    beside: Background
    calls: int
    seconds: float
    scratch: Path
    sent: Counter[str] = field(default_factory=Counter)
    samples: Samples = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))

    def note(self, name: str, **values: float) -> None:
        """Keep values of one round."""
        for key, value in values.items():
            self.samples[name][key].append(value)

    def middle(self, name: str, key: str) -> float:
        """The median over rounds."""
        return summaries.median(self.samples[name][key])


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser("python -m loadtest rpc", description=__doc__)
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--calls", type=int, default=8000, help="calls of each server and round at full speed")
    made.add_argument("--seconds", type=float, default=3.0, help="of each server and round at half load")
    made.add_argument("--quick", action="store_true", help="throughput and CPU only")
    made.add_argument("--out", type=Path, help="write every round's values to this file")
    made.add_argument("--json", action="store_true", help="one JSON line last on stdout")
    return made


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 on success, 1 where a server or a driver fails."""
    options = parser().parse_args(arguments)
    out = report.console()
    try:
        with tempfile.TemporaryDirectory(prefix="lever-rpc-") as scratch, pinned.lever() as lever:
            record = _measure(options, lever, Path(scratch), out)
    except (ServerError, h2load.DriverError, RuntimeError) as error:
        out.print(f"{type(error).__name__}: {error}", markup=False)
        return 1
    except grpc.RpcError as error:
        out.print(f"a call failed: {error.code()} {error.details()}", markup=False)
        return 1
    if options.out is not None:
        report.save(options.out, record)
    if options.json:
        record.pop("rounds")
        report.emit(record)
    return 0


def _measure(options: argparse.Namespace, lever: Stand, scratch: Path, out: Console) -> dict[str, object]:
    mine = _lever_targets(lever, scratch)
    response = scratch / "response.bin"
    first = pinned.requests(lever.address, mine[0].experiment, 1)[0]
    response.write_bytes(pinned.sample(lever.address, first).SerializeToString())
    with _echoes(lever, response, mine[0]) as floors, background(lever.address) as beside:
        run = Run(lever, beside, options.calls, options.seconds, scratch)
        everyone = [*floors, *mine]
        for target in everyone:
            _full_speed(run, target, warm=True)
        counted, run.sent = {t.name: t.served(lever) for t in everyone}, Counter()
        with report.progress(out) as bar:
            task = bar.add_task("rounds at full speed", total=options.rounds * len(everyone))
            for number in range(options.rounds):
                for target in everyone if number % 2 == 0 else everyone[::-1]:
                    _full_speed(run, target)
                    if target.experiment:
                        _full_speed(run, target, rewards=True)
                    bar.advance(task)
        _check(lever, run, everyone, counted)
        if not options.quick:
            _half_load(options, run, [floors[0], *mine], out)
    record = _record(run)
    if not options.quick:
        record |= extras.measure(lever)
    record["rss_mb"] = round(processes.resident_mb(lever.worker), 1)
    _show(run, record, out)
    return record | {"machine": report.machine(), "rounds": run.samples}


def _lever_targets(lever: Stand, scratch: Path) -> list[Target]:
    made = []
    for algorithm in ALGORITHMS:
        experiment = f"homepage-{algorithm}"
        pinned.put(lever.address, pinned.homepage(algorithm))
        pinned.teach(lever.address, experiment)
        messages = pinned.bodies(pinned.requests(lever.address, experiment, 200))
        body = scratch / f"{algorithm}.bin"
        body.write_bytes(http2.body(messages[0]))
        made.append(Target(algorithm, lever.address, lever.worker, body, messages, experiment))
    return made


@contextlib.contextmanager
def _echoes(lever: Stand, response: Path, like: Target) -> Iterator[list[Target]]:
    """The empty servers on Lever's core; they wait without cost while another is measured."""
    running: list[subprocess.Popen[str]] = []
    made = []
    try:
        for kind in KINDS:
            command = [sys.executable, "-m", "loadtest.rig.echo", kind, str(response)]
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            assert running[-1].stdout is not None
            port = int(running[-1].stdout.readline())
            processes.pin(running[-1].pid, lever.core)
            made.append(Target(kind, f"127.0.0.1:{port}", running[-1].pid, like.body, like.messages))
        yield made
    finally:
        for one in running:
            one.terminate()
            one.wait()


def _full_speed(run: Run, target: Target, rewards: bool = False, warm: bool = False) -> None:
    """A closed loop; CPU from the process's own account, answers from the server's own counter."""
    rate = REWARD_SHARE * run.middle(target.name, "rps") if rewards else 0.0
    with run.beside.flowing(target.experiment, rate, 0) if rewards else contextlib.nullcontext():
        before, begun = processes.cpu_s(target.pid), time.perf_counter()
        driven = h2load.run(
            target.address,
            SELECT,
            target.body,
            run.calls // 4 if warm else run.calls,
            run.scratch,
            run.lever.other,
            WIDTH,
        )
        took, cpu = time.perf_counter() - begun, processes.cpu_s(target.pid) - before
    calls = len(driven.latencies_us)
    run.sent[target.name] += calls
    if not warm:
        end = "_rewards" if rewards else ""
        latencies = driven.latencies_us
        run.note(
            target.name, **{
                f"rps{end}": calls / took, f"cpu_us{end}": cpu / calls * 1e6,
                f"full_p50_ms{end}": summaries.quantile(latencies, 0.5) / 1000,
                f"full_p99_ms{end}": summaries.quantile(latencies, 0.99) / 1000,
            },
        )  # fmt: skip


def _check(lever: Stand, run: Run, targets: Sequence[Target], before: Mapping[str, int]) -> None:
    """h2load takes errors for successes: the servers' own counters must say that every call was answered with OK."""
    for target in targets:
        of = [t.name for t in targets if t.pid == target.pid]  # Lever counts the Selects of all experiments together
        sent, answered = sum(run.sent[name] for name in of), target.served(lever) - before[target.name]
        if answered != sent:
            raise h2load.DriverError(f"{target.name}: {answered:,} of {sent:,} calls were answered with OK")


def _half_load(options: argparse.Namespace, run: Run, targets: Sequence[Target], out: Console) -> None:
    """An open loop at one rate for all, and one at its own for Lever, which has rewards and one batch of 10,000 a second beside it."""
    own = 0.5 * run.middle("linucb", "rps_rewards")
    rate = min(own, 0.5 * run.middle("sync", "rps"))
    with report.progress(out) as bar:
        task = bar.add_task(f"rounds at {rate:.0f} and {own:.0f} a second", total=options.rounds * len(targets))
        for number in range(options.rounds):
            for target in targets:
                _open_loop(run, target, np.random.default_rng(number), rate, own)
                bar.advance(task)


def _open_loop(run: Run, target: Target, rng: np.random.Generator, shared: float, own: float) -> None:
    both, faster = poisson(rng, shared, run.seconds), poisson(rng, own, run.seconds)
    beside, alone, harder = ("beside", 1.0, shared, both), ("alone", 0.0, shared, both), ("own", 1.0, own, faster)
    wire = Wire(target.address)
    try:
        wire.drive(both[:200], [Call(SELECT, target.messages)] * 200)
        for name, batches, rate, times in (beside, alone, harder) if target.experiment else (beside,):
            flow = run.beside.flowing(target.experiment, REWARD_SHARE * rate, batches)
            with flow if target.experiment else contextlib.nullcontext():
                answers = wire.drive(times, [Call(SELECT, target.messages)] * len(times))
            if answers.failed:
                raise h2load.DriverError(f"{target.name}, {name}: {answers.told()}")
            ms = answers.latencies * 1000
            half = {f"half_p{q}_ms_{name}": float(np.percentile(ms, q)) for q in (50, 95, 99)}
            run.note(target.name, **half, **{f"half_rate_{name}": rate})
    finally:
        wire.close()


def _record(run: Run) -> dict[str, object]:
    """The line's keys; the headline is LinUCB with 3 % rewards, whose whole cost is charged to the Selects."""
    m = run.middle
    echo, select = m("sync", "cpu_us"), m("linucb", "cpu_us_rewards")
    record: dict[str, float] = {
        "select_cpu_us": select, "echo_cpu_us": echo,
        "aio_echo_cpu_us": m("aio", "cpu_us"), "uvloop_echo_cpu_us": m("uvloop", "cpu_us"),
        "cpu_ratio": _ratio(run, "linucb", "cpu_us_rewards"),
        "select_rps": m("linucb", "rps_rewards"), "echo_rps": m("sync", "rps"),
        "aio_echo_rps": m("aio", "rps"), "uvloop_echo_rps": m("uvloop", "rps"),
        "select_p99_ms": m("linucb", "half_p99_ms_beside"), "echo_p99_ms": m("sync", "half_p99_ms_beside"),
    }  # fmt: skip
    for algorithm in ALGORITHMS:
        record[f"cpu_us_{algorithm}"] = m(algorithm, "cpu_us")
        record[f"cpu_ratio_{algorithm}"] = _ratio(run, algorithm, "cpu_us_rewards")
        record[f"cpu_ratio_{algorithm}_alone"] = _ratio(run, algorithm, "cpu_us")
        record[f"p99_ratio_{algorithm}"] = _ratio(run, algorithm, "half_p99_ms_beside")
        record[f"own_half_p99_ms_{algorithm}"] = m(algorithm, "half_p99_ms_own")
    return {key: round(value, 4) for key, value in record.items() if not np.isnan(value)}


def _ratio(run: Run, name: str, key: str) -> float:
    """The median over rounds of a value over the empty sync server's in the same round."""
    floor = run.samples["sync"][key.removesuffix("_rewards")]
    return summaries.median(a / b for a, b in zip(run.samples[name][key], floor, strict=False))


def _show(run: Run, record: Mapping[str, object], out: Console) -> None:
    def cell(name: str, key: str) -> str:
        value = run.middle(name, key)
        return "" if np.isnan(value) else f"{value:,.2f}" if value < 20 else f"{value:,.0f}"

    keys = {
        "CPU us": "cpu_us", "with 3 % rewards": "cpu_us_rewards", "rps": "rps", "rps, rewards": "rps_rewards",
        "half load p50 ms": "half_p50_ms_beside", "p99 ms": "half_p99_ms_beside", "at its own half": "half_p99_ms_own", "p99 without batches": "half_p99_ms_alone",
    }  # fmt: skip
    rows = [[name, *(cell(name, key) for key in keys.values())] for name in run.samples]
    out.print(report.table("one core, medians over rounds", ["server", *keys], rows))
    known = [(k, f"{v:,.3f}") for k, v in record.items() if isinstance(v, float) and k not in keys]
    out.print(report.table("", ["what", "value"], known))
