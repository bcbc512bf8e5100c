"""`python -m loadtest start`: what a start costs: the first one of a machine, which compiles the kernels, and the next.

And what each kernel costs to compile: CPU seconds of its own, without those of the parts that it calls, in one process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numba.core import event

from loadtest.rig import processes, report
from loadtest.rig.server import Server, ServerError

SHOWN = 20


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 on success, 1 where a server does not start."""
    made = argparse.ArgumentParser("python -m loadtest start", description=__doc__)
    made.add_argument("--out", type=Path, help="write the costs of all kernels to this file")
    made.add_argument("--json", action="store_true", help="one JSON line last on stdout")
    made.add_argument("--kernels", action="store_true", help="the kernels alone: no server is started")
    options = made.parse_args(arguments)
    out = report.console()
    try:
        found = {} if options.kernels else measure()
    except ServerError as error:
        out.print(f"ServerError: {error}", markup=False)
        return 1
    costs = kernels()
    rows = [[name, f"{count}", f"{seconds:.2f}"] for name, (count, seconds) in list(costs.items())[:SHOWN]]
    out.print(report.table("CPU to compile, the dearest", ["kernel", "times", "seconds"], rows))
    record: dict[str, object] = {
        **found,
        "kernels_cpu_s": round(sum(seconds for _, seconds in costs.values()), 2),
        "kernels": len(costs),
        "specialisations": sum(count for count, _ in costs.values()),
    }
    if options.out is not None:
        report.save(options.out, record | {"machine": report.machine(), "costs": costs})
    if options.json:
        report.emit(record)
    return 0


def measure() -> dict[str, float]:
    """Keys of the last line: CPU seconds of all processes until a first start serves both ports; seconds of a second one."""
    with tempfile.TemporaryDirectory(prefix="lever-start-") as scratch:
        cache = str(Path(scratch) / "cache")
        cold, _ = _start(Path(scratch) / "first", cache)
        _, warm = _start(Path(scratch) / "second", cache)
    return {"start_cpu_s": round(cold, 2), "start_warm_s": round(warm, 2)}


def _start(folder: Path, cache: str) -> tuple[float, float]:
    """CPU seconds and seconds until it says that it is ready."""
    begun = time.perf_counter()
    # Set to nothing, the caller's own cache of kernels is not used.
    with Server(folder, "--web-port", "0", LEVER_CACHE=cache, NUMBA_CACHE_DIR="") as server:
        took = time.perf_counter() - begun
        return processes.cpu_s(server.pid, *server.children()), took


def kernels() -> dict[str, tuple[int, float]]:
    """By kernel, the dearest first: for how many sets of types it is compiled, and the CPU seconds of that."""
    with tempfile.TemporaryDirectory(prefix="lever-kernels-") as cache:
        command = [sys.executable, "-m", "loadtest.speed.start"]
        env = {**os.environ, "NUMBA_CACHE_DIR": cache}
        said = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    return {name: (count, seconds) for name, count, seconds in json.loads(said)}


class _Costs(event.Listener):
    """Hears of every kernel that Numba compiles, and of the parts that it compiles meanwhile."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.times: Counter[str] = Counter()
        self._open: list[list[float]] = []  # (begun, seconds of its parts) of those under way

    def on_start(self, event: Any) -> None:
        self._open.append([time.process_time(), 0.0])

    def on_end(self, event: Any) -> None:
        begun, parts = self._open.pop()
        took, function = time.process_time() - begun, event.data["dispatcher"].py_func
        name = f"{function.__module__}.{function.__qualname__}"
        self.seconds[name] += took - parts  # type: ignore[assignment]  # a Counter counts in anything
        self.times[name] += 1
        if self._open:
            self._open[-1][1] += took


def _compile() -> None:
    """Compile all kernels into an empty cache, and print what each cost."""
    from bandits.warmup import warm

    costs = _Costs()
    event.register("numba:compile", costs)  # type: ignore[no-untyped-call]
    warm()
    rows = [(name, costs.times[name], round(seconds, 3)) for name, seconds in costs.seconds.most_common()]
    sys.stdout.write(json.dumps(rows))


if __name__ == "__main__":
    _compile()
