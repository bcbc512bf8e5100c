"""`python -m loadtest http`: one evaluation by OFREP beside one gRPC Select, in turn on the same core.

The same homepage experiment, the same visitor; h2load keeps 64 requests open at each: 64 connections of HTTP/1.1, and
4 of HTTP/2 with 16 streams. Each server's own counter must agree with h2load.

In each round also BATCHES calls of /v1/select-batch, 10,000 subjects each, one after the other: decisions a second, and CPU each.

Then the same with all of Lever's processes, its store too, on one core beside an empty uvicorn there, as `loadtest rivals` has it:
door_rps, echo_rps, and door_cpu_us of all of them together for a choice.
"""

from __future__ import annotations

import argparse
import http.client
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from loadtest.rig import h2load, http2, pinned, processes, report, summaries
from loadtest.rig.echo import SELECT
from loadtest.rig.pinned import Stand
from loadtest.rig.server import ServerError
from loadtest.speed import rivals

GRPC_WIDTH = (4, 16)
HTTP_WIDTH = (64, 1)
BATCHES = 4
MANY = ("batch_decisions_per_s", "batch_cpu_us")
WHOLE = ("door_rps", "echo_rps", "door_cpu_us")


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 on success, 1 where a server or the driver fails."""
    made = argparse.ArgumentParser("python -m loadtest http", description=__doc__)
    made.add_argument("--rounds", type=int, default=9)
    made.add_argument("--calls", type=int, default=12_000, help="of OFREP a round; of Select a quarter of that")
    made.add_argument("--algorithm", default="linucb", choices=("linucb", "beta", "lints"))
    made.add_argument("--out", type=Path, help="write every round's values to this file")
    made.add_argument("--json", action="store_true", help="one JSON line last on stdout")
    options = made.parse_args(arguments)
    out = report.console()
    try:
        with tempfile.TemporaryDirectory(prefix="lever-http-") as scratch, pinned.lever(web=True) as lever:
            samples = _measure(options, lever, Path(scratch))
        record = _record(samples) | _whole(options)
    except (ServerError, h2load.DriverError, RuntimeError) as error:
        out.print(f"{type(error).__name__}: {error}", markup=False)
        return 1
    rows = [[name, f"{value:,.2f}"] for name, value in record.items()]
    out.print(report.table("one core, medians over rounds", ["what", "value"], rows))
    if options.out is not None:
        report.save(options.out, record | {"machine": report.machine(), "rounds": samples})
    if options.json:
        report.emit(
            {name: record[name] for name in ("ofrep_rps", "select_rps", "ratio", "ofrep_p99_ms", *MANY, *WHOLE)}
        )
    return 0


def _measure(options: argparse.Namespace, lever: Stand, scratch: Path) -> dict[str, list[float]]:
    """Values of each round; the servers take turns, so that whatever else the machine does hits both."""
    experiment = f"homepage-{options.algorithm}"
    pinned.put(lever.address, pinned.homepage(options.algorithm))
    pinned.teach(lever.address, experiment)
    (request,) = pinned.requests(lever.address, experiment, 1)
    grpc_body, http_body = scratch / "select.bin", scratch / "flag.json"
    grpc_body.write_bytes(http2.body(request.SerializeToString()))
    context: dict[str, object] = {"targetingKey": request.subject}
    context |= {name: getattr(value, str(value.WhichOneof("value"))) for name, value in request.context.items()}
    http_body.write_text(json.dumps({"context": context}))
    samples: dict[str, list[float]] = defaultdict(list)

    def ofrep(calls: int) -> h2load.Driven:
        return h2load.run_http(lever.web, pinned.FLAG + experiment, http_body, calls, scratch, lever.other, HTTP_WIDTH)

    def select(calls: int) -> h2load.Driven:
        return h2load.run(lever.address, SELECT, grpc_body, calls, scratch, lever.other, GRPC_WIDTH)

    pinned.known(lever.web, experiment)

    def turn(name: str, pid: int, calls: int, drive: Callable[[int], h2load.Driven], served: Callable[[], int]) -> None:
        drive(calls // 10)
        before, cpu = processes.settled(served), processes.cpu_s(pid)
        driven = drive(calls)
        cpu = processes.cpu_s(pid) - cpu
        answered = processes.settled(served) - before
        if answered < calls:
            raise h2load.DriverError(f"{name}: {answered} of {calls} calls were answered with a choice")
        samples[f"{name}_rps"].append(driven.rps)
        samples[f"{name}_cpu_us"].append(cpu / calls * 1e6)
        samples[f"{name}_p50_ms"].append(summaries.quantile(driven.latencies_us, 0.5) / 1000)
        samples[f"{name}_p99_ms"].append(summaries.quantile(driven.latencies_us, 0.99) / 1000)

    for _ in range(options.rounds):
        turn("select", lever.worker, options.calls // 4, select, lever.served)
        turn("ofrep", lever.web_pid, options.calls, ofrep, lever.flags_served)
        for name, value in zip(MANY, _batches(lever, experiment), strict=True):
            samples[name].append(value)
    return samples


def _batches(lever: Stand, experiment: str) -> tuple[float, float]:
    """Decisions a second of the web port's batches, and its process's CPU us for each. DriverError."""
    asked = pinned.batch(experiment, 3)
    context: dict[str, list[object]] = {
        column.feature: [column.dictionary[text] for text in column.texts] or [flag != 0 for flag in column.flags]
        for column in asked.context
    }
    body = json.dumps({"experiment": experiment, "subjects": list(asked.subjects), "context": context})
    link = http.client.HTTPConnection(lever.web, timeout=60)
    before, begun = processes.cpu_s(lever.web_pid), time.perf_counter()
    for _ in range(BATCHES):
        link.request("POST", "/v1/select-batch", body)
        answer = link.getresponse()
        if (told := answer.read()) and answer.status != 200:
            raise h2load.DriverError(f"a batch was answered with {answer.status}: {told[:200]!r}")
    took, cpu = time.perf_counter() - begun, processes.cpu_s(lever.web_pid) - before
    link.close()
    decisions = BATCHES * pinned.SUBJECTS
    return decisions / took, cpu / decisions * 1e6


def _whole(options: argparse.Namespace) -> dict[str, float]:
    """A choice over HTTP with all of Lever's processes on the core, beside an empty server there."""
    rows = rivals.contest([(options.algorithm, 10, 16)], options.rounds, options.calls)
    told = {str(row["who"]): row for row in rows}
    mine, empty = told[rivals.WEB], told[rivals.EMPTY_WEB]
    return dict(zip(WHOLE, (float(str(found)) for found in (mine["rps"], empty["rps"], mine["cpu_us"])), strict=True))


def _record(samples: dict[str, list[float]]) -> dict[str, float]:
    made = {name: round(summaries.median(values), 3) for name, values in samples.items()}
    ratio = summaries.median(a / b for a, b in zip(samples["ofrep_rps"], samples["select_rps"], strict=True))
    return made | {"ratio": round(ratio, 3)}
