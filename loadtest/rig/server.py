"""A real Lever server for a load test: started on free loopback ports over a new data directory, or somebody's own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

MESSAGE_LIMIT = 32 << 20
OPTIONS = (("grpc.max_receive_message_length", MESSAGE_LIMIT), ("grpc.max_send_message_length", MESSAGE_LIMIT))
START_SECONDS = 120.0  # kernels are compiled on the first start of a machine
STOP_SECONDS = 30.0


class ServerError(Exception):
    """The server did not come up; the text is for people."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server of our own: where it is, its supervisor's process id, and its log."""

    address: str
    http: str
    pid: int
    log: Path


@contextlib.contextmanager
def server(target: str | None = None, workers: int = 1, data_dir: Path | None = None) -> Iterator[str]:
    """The address of a server that is SERVING: `target` if given, else one that lives as long as the block.

    Raises ServerError where none comes up.
    """
    if target is not None:
        wait_serving(target, START_SECONDS)
        yield target
        return
    with running(workers, data_dir) as own:
        yield own.address


@contextlib.contextmanager
def running(
    workers: int = 1, data_dir: Path | None = None, variables: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """A server with these LEVER_ variables, for as long as the block. Raises ServerError."""
    with tempfile.TemporaryDirectory(prefix="lever-loadtest-") as scratch:
        folder = data_dir or Path(scratch) / "data"
        port, http_port = free_ports(2)
        command = [sys.executable, "-m", "service", "serve", "--data-dir", str(folder), "--workers", str(workers)]
        command += ["--grpc-port", str(port), "--http-port", str(http_port)]
        log = Path(scratch) / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **(variables or {})}
            )
        try:
            wait_serving(f"127.0.0.1:{port}", START_SECONDS, process, log)
            yield Running(f"127.0.0.1:{port}", f"127.0.0.1:{http_port}", process.pid, log)
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to end, and wait; it flushes what it has."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_ports(count: int) -> list[int]:
    """Loopback ports nobody listened on a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [int(s.getsockname()[1]) for s in sockets]
    finally:
        for s in sockets:
            s.close()


def wait_serving(
    address: str, seconds: float, process: subprocess.Popen[bytes] | None = None, log: Path | None = None
) -> None:
    """Return once the server's health is SERVING."""
    deadline = time.monotonic() + seconds
    said = "nothing"
    with channel(address) as link:
        stub = health_pb2_grpc.HealthStub(link)
        while time.monotonic() < deadline:
            if process is not None and process.poll() is not None:
                raise ServerError(f"the server ended with exit code {process.returncode}:\n{tail(log)}")
            try:
                status = stub.Check(health_pb2.HealthCheckRequest(), timeout=1.0).status
            except grpc.RpcError as error:
                said = str(error.code())
            else:
                if status == health_pb2.HealthCheckResponse.SERVING:
                    return
                said = health_pb2.HealthCheckResponse.ServingStatus.Name(status)
            time.sleep(0.05)
    raise ServerError(f"{address} is not serving after {seconds:.0f} s; last answer: {said}\n{tail(log)}")


def tail(log: Path | None, lines: int = 20) -> str:
    """The end of a server's log."""
    if log is None or not log.exists():
        return ""
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-lines:])


def channel(address: str) -> grpc.Channel:
    """A connection of its own to a server; close it, or use it as a context manager."""
    return grpc.insecure_channel(address, options=[*OPTIONS, ("grpc.use_local_subchannel_pool", 1)])
