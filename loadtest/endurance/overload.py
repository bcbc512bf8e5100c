"""`python -m loadtest overload`: calls arrive faster than they can be answered; what is answered, and how fast?

Goodput counts answers within the deadline. The callers are what gRPC's clients are: they honour the limit of calls that a
connection may have open, and send once more what was refused unseen. Over few connections the excess waits in their lines, and the
core refuses it for little; over many all of it comes to the server, and what it costs to refuse a call is the floor of what is left.
The callers run beside the server, so that they take of what there is for answers.
"""

from __future__ import annotations

import argparse
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from typing import Self

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.console import Console

from loadtest.endurance.fuzz import prepare
from loadtest.rig import report
from loadtest.rig.open_loop import Answers, Caller
from loadtest.rig.processes import cpu_s
from loadtest.rig.server import Server, ServerError, channel, running
from service.pb.lever.v1 import personalization_pb2 as pb

PATH = "/lever.v1.PersonalizationService/Select"
LOADS = (1.0, 2.0, 5.0)
WINDOWS = (16, 64, 160)  # calls at a time, among which the peak is looked for; below two connections' limit


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser("python -m loadtest overload", description=__doc__.partition("\n")[0])
    made.add_argument("--seconds", type=float, default=10.0, help="of each load")
    made.add_argument("--connections", type=int, nargs="+", default=[2, 20, 200], help="of all callers, in turn")
    made.add_argument("--deadline", type=float, default=0.2, help="seconds a caller waits")
    made.add_argument("--json", action="store_true", help="one JSON line last on stdout")
    return made


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 where it could be measured."""
    options = parser().parse_args(arguments)
    out = report.console()
    try:
        runs = [_runs(options, connections) for connections in options.connections]
    except (ServerError, ConnectionError, grpc.RpcError) as error:
        out.print(f"{type(error).__name__}: {error}", markup=False)
        return 1
    rows = [row for run in runs for row in run]
    show(rows, out)
    if options.json:
        report.emit({"deadline_s": options.deadline, "loads": rows, "machine": report.machine()})
    return 0


def _runs(options: argparse.Namespace, connections: int) -> list[dict[str, object]]:
    with running() as server:
        with channel(server.address) as link:
            prepare(link)
        message = pb.SelectRequest(experiment="fuzzed", subject="ann")
        message.context["industry"].text = "software"
        message.context["visits"].number = 12
        caller = Caller(server.address, PATH, message.SerializeToString(), connections, options.deadline)
        try:
            return _loads(server, caller, options, connections)
        finally:
            caller.close()


def _loads(server: Server, caller: Caller, options: argparse.Namespace, connections: int) -> list[dict[str, object]]:
    pids = server.workers()
    caller.run(max(3.0, options.seconds), None, in_flight=WINDOWS[-1])  # warm
    rows = []
    for load in LOADS:
        before, answer_us = _peak(caller, pids, options.seconds)
        used, counted = cpu_s(*pids), handled(server.http)
        with _Health(server.address) as health:
            answers = caller.run(options.seconds, load * before)
        spent_us, codes = (cpu_s(*pids) - used) * 1e6, handled(server.http)
        codes.subtract(counted)
        after, _ = _peak(caller, pids, options.seconds)
        # The peak must hold on both sides of the load, or the machine did something else meanwhile.
        row = summary(answers, max(before, after), load, connections) | health.row()
        row |= {"peak_before": round(before), "peak_after": round(after), "server": dict(+codes)}
        row |= {"arrivals_of_peak": round(answers.arrived / answers.seconds / max(before, after), 2)}
        row["answer_cpu_us"] = round(answer_us, 1)
        others = sum(codes.values()) - codes["OK"]
        if others > codes["OK"] / 10:
            row["refusal_cpu_us"] = round((spent_us - codes["OK"] * answer_us) / others, 1)
        rows.append(row)
    return rows


def _peak(caller: Caller, pids: Sequence[int], seconds: float) -> tuple[float, float]:
    """The most answers a second over several numbers of calls at a time, and the CPU of one, microseconds."""
    best, cost = 0.0, 0.0
    for window in WINDOWS:
        used = cpu_s(*pids)
        answers = caller.run(seconds / len(WINDOWS), None, in_flight=window)
        rate = len(answers.latency_s) / answers.seconds
        if rate > best:
            best, cost = rate, (cpu_s(*pids) - used) / max(len(answers.latency_s), 1) * 1e6
    return best, cost


def handled(http: str) -> Counter[str]:
    """How the server says it ended Selects, by status; SHED are those it refused before they were queued."""
    time.sleep(2.5)  # workers report once a second
    with urllib.request.urlopen(f"http://{http}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    found: Counter[str] = Counter()
    for line in lines:
        if line.startswith("grpc_server_handled_total{") and '"Select"' in line:
            found[line.partition('grpc_code="')[2].partition('"')[0]] += int(float(line.rpartition(" ")[2]))
        elif line.startswith('lever_shed_total{pool="choices"}'):
            found["SHED"] += int(float(line.rpartition(" ")[2]))
    return found


def summary(answers: Answers, peak: float, load: float, connections: int) -> dict[str, object]:
    """One load in numbers; latencies are from a call's arrival to its answer, of those answered in time."""
    took = np.asarray(answers.latency_s or [0.0]) * 1000
    goodput = len(answers.latency_s) / answers.seconds
    return {
        "connections": connections,
        "load": load,
        "peak_per_s": round(peak),
        "arrivals_per_s": round(answers.arrived / answers.seconds),
        "goodput_per_s": round(goodput),
        "goodput_of_peak": round(goodput / peak, 3),
        "p50_ms": round(float(np.percentile(took, 50)), 2),
        "p99_ms": round(float(np.percentile(took, 99)), 2),
        "sent_again": answers.again,
        "ended_without_answer": answers.refused,
        "late": answers.late,
        "unsent": answers.unsent,
    }


class _Health:
    """Asks for health four times a second, on a connection of its own."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._done = threading.Event()
        self._said: list[str] = []
        self._slowest_s = 0.0
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _ask(self) -> None:
        with channel(self._address) as link:
            stub = health_pb2_grpc.HealthStub(link)
            while not self._done.wait(0.25):
                begun = time.perf_counter()
                try:
                    status = stub.Check(health_pb2.HealthCheckRequest(), timeout=5).status
                    self._said.append(health_pb2.HealthCheckResponse.ServingStatus.Name(status))
                except grpc.RpcError as error:
                    self._said.append(error.code().name)
                self._slowest_s = max(self._slowest_s, time.perf_counter() - begun)

    def row(self) -> dict[str, object]:
        """How often it was asked, what else than SERVING it said, and the longest it took."""
        return {
            "health_asked": len(self._said),
            "health_not_serving": dict(Counter(said for said in self._said if said != "SERVING")),
            "health_slowest_ms": round(self._slowest_s * 1000, 1),
        }


def show(rows: Sequence[dict[str, object]], out: Console) -> None:
    """The table for people."""
    names: tuple[str, ...] = (
        "connections",
        "load",
        "peak_per_s",
        "arrivals_per_s",
        "goodput_per_s",
        "goodput_of_peak",
        "p50_ms",
        "p99_ms",
    )
    names += (
        "sent_again",
        "ended_without_answer",
        "late",
        "unsent",
        "health_not_serving",
        "answer_cpu_us",
        "refusal_cpu_us",
    )
    out.print(report.table("overload", names, [[str(row.get(name, "")) for name in names] for row in rows]))
