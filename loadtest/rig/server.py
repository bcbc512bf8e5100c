"""A real Lever server for a load test: started on free loopback ports over a new data directory, or somebody's own."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from loadtest.rig.processes import alive, children

MESSAGE_LIMIT = 32 << 20
OPTIONS = (("grpc.max_receive_message_length", MESSAGE_LIMIT), ("grpc.max_send_message_length", MESSAGE_LIMIT))
START_SECONDS = 300.0  # kernels are compiled on the first start of a machine, which others may use
STOP_SECONDS = 60.0
READY = re.compile(r"gRPC on (\S+), http://(\S+)/metrics(?:, websites on http://([^\s,]+))?")


class ServerError(Exception):
    """The server did not come up; the text is for people."""


class Server:
    """One `lever serve` in a folder of its own, which has its data and its log. Started again, it has the ports it had.

    `options` are those of its command line; `variables` are added to this process's environment at each start.
    """

    def __init__(self, folder: Path, *options: str, **variables: str) -> None:
        self.folder, self.data, self.log = folder, folder / "data", folder / "server.log"
        self.address = self.http = self.web = ""  # host:port of its three sides, known once it was ready
        self._options, self.variables = options, variables
        self._process: subprocess.Popen[str] | None = None
        self._announced = False

    @property
    def process(self) -> subprocess.Popen[str]:
        """The supervisor. ServerError before it was started."""
        if self._process is None:
            raise ServerError("the server was not started")
        return self._process

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        return self.process.pid

    def start(self) -> Self:
        """Start it; it is not ready yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "service", "serve", "--data-dir", str(self.data), *self._options]
        ports = {"LEVER_GRPC_PORT": self.address, "LEVER_HTTP_PORT": self.http}
        same = {name: place.rpartition(":")[2] for name, place in ports.items() if place}
        env = {**os.environ, "LEVER_GRPC_PORT": "0", "LEVER_HTTP_PORT": "0", **self.variables, **same}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=env, text=True
            )
        self._announced = False
        return self

    def ready(self) -> Self:
        """Return once it serves: when it says so first, later by its health. ServerError."""
        if self._announced:
            wait_serving(self.address, START_SECONDS, self.process, self.log)
            return self
        out = self.process.stdout
        heard = out is not None and select.select([out], [], [], START_SECONDS)[0]
        found = READY.search(out.readline()) if out is not None and heard else None
        if found is None:
            raise ServerError(f"the server is not ready; its log ends with:\n{tail(self.log)}")
        self.address, self.http, self.web = found[1], found[2], found[3] or ""
        self._announced = True
        return self

    def children(self, word: str = "") -> list[int]:
        """Its running processes whose command has `word` in it."""
        return children(self.pid, word)

    def workers(self) -> list[int]:
        """The processes that answer gRPC."""
        return self.children("service.server.worker")

    def stop(self) -> int:
        """Ask it to end, and wait: it flushes what it has. The exit status."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL of all its processes; nothing is left of it, and its ports are free."""
        if self._process is None:
            return
        with self._process as process:
            process.send_signal(signal.SIGSTOP)  # it shall start nothing new meanwhile
            family = self.children() if process.poll() is None else []
            for pid in (*family, process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        while any(alive(pid) for pid in family):
            time.sleep(0.01)

    @contextlib.contextmanager
    def starting(self) -> Iterator[Self]:
        """Started, whether it comes to be ready or not; nothing is left of it after the block."""
        try:
            yield self.start()
        finally:
            self.kill()

    def __enter__(self) -> Self:
        """Start it, and wait until it is ready."""
        try:
            return self.start().ready()
        except BaseException:
            self.kill()
            raise

    def __exit__(self, *_: object) -> None:
        """However the block ended, all of it ends."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        self.kill()


@contextlib.contextmanager
def server(target: str | None = None) -> Iterator[str]:
    """The address of a server that is SERVING: `target` if given, else one that lives as long as the block.

    Raises ServerError where none comes up.
    """
    if target is not None:
        wait_serving(target, START_SECONDS)
        yield target
        return
    with running() as own:
        yield own.address


@contextlib.contextmanager
def running(*options: str, **variables: str) -> Iterator[Server]:
    """A server over an empty folder, for as long as the block. Raises ServerError."""
    scratch = tempfile.TemporaryDirectory(prefix="lever-loadtest-")
    with scratch as folder, Server(Path(folder), *options, **variables) as own:
        yield own


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
    address: str, seconds: float, process: subprocess.Popen[str] | None = None, log: Path | None = None
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
