"""h2load (Debian: nghttp2-client) as a driver: a closed loop of unary calls at full speed.

It takes gRPC errors for successes, so whoever calls `run` compares with the server's own counters.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_FINISHED = re.compile(r"^finished in ([\d.]+)(ms|s|us), ([\d.]+) req/s", re.MULTILINE)
_GOOD = re.compile(r"^status codes: (\d+) 2xx", re.MULTILINE)
_REQUESTS = re.compile(r"^requests: .* (\d+) succeeded, (\d+) failed", re.MULTILINE)


class DriverError(Exception):
    """h2load is missing, or did not do what was asked; the text is for people."""


@dataclass(frozen=True)
class Driven:
    """One run: calls a second, and each call's latency in microseconds."""

    rps: float
    seconds: float
    latencies_us: list[int]


def run(address: str, path: str, body: Path, calls: int, scratch: Path, core: int, width: tuple[int, int]) -> Driven:
    """Send a gRPC body `calls` times from `width` = (connections, calls open on each). Raises DriverError."""
    headers = ["-H", "te: trailers", "-H", "content-type: application/grpc"]
    return _drive(headers, f"http://{address}{path}", body, calls, scratch, core, width)


def run_http(
    address: str, path: str, body: Path, calls: int, scratch: Path, core: int, width: tuple[int, int]
) -> Driven:
    """The same as `run` for a JSON body over HTTP/1.1."""
    headers = ["--h1", "-H", "content-type: application/json"]
    return _drive(headers, f"http://{address}{path}", body, calls, scratch, core, width)


def _drive(
    options: list[str], url: str, body: Path, calls: int, scratch: Path, core: int, width: tuple[int, int]
) -> Driven:
    binary = shutil.which("h2load")
    if binary is None:
        message = "h2load is not on PATH; Debian and Ubuntu have it in nghttp2-client"
        raise DriverError(message)
    log = scratch / "h2load.log"
    log.unlink(missing_ok=True)
    command = [binary, "-n", str(calls), "-c", str(width[0]), "-m", str(width[1]), "-t", "1", f"--log-file={log}"]
    command += [*options, "-d", str(body), url]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, preexec_fn=lambda: os.sched_setaffinity(0, {core})
    )
    finished, requests, good = (found.search(ended.stdout) for found in (_FINISHED, _REQUESTS, _GOOD))
    done = [int(found[1]) for found in (requests, good) if found is not None]
    if ended.returncode != 0 or finished is None or done != [calls, calls]:
        raise DriverError(f"h2load failed: {ended.stdout[-500:]}{ended.stderr[-500:]}")
    seconds = float(finished[1]) * {"s": 1.0, "ms": 1e-3, "us": 1e-6}[finished[2]]
    latencies = [int(line.split("\t")[2]) for line in log.read_text().splitlines()]
    return Driven(float(finished[3]), seconds, latencies)
