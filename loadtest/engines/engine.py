"""One engine on a loopback port: a Valkey or Redis, or a Sentinel of its."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import redis

START_S = 30.0


class Engine:
    """Killed and started again it has its port and its data. `tls`: a folder with cert.pem and key.pem; then nobody gets in
    without TLS, other engines neither.
    """

    def __init__(self, binary: Path, folder: Path, port: int, options: Sequence[str], tls: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port
        self._folder = folder
        first = [options[0]] if options and not options[0].startswith("--") else []  # a file of its settings
        rest = options[len(first) :]
        place = ["--bind", "127.0.0.1", "--dir", str(folder)]
        secure = _secured(port, tls) if tls is not None else ["--port", str(port)]
        self._command = [str(binary), *first, *place, *secure, *rest]
        self._process: subprocess.Popen[bytes] | None = None
        trusted = f"s://127.0.0.1:{port}?ssl_ca_certs={tls}/cert.pem" if tls is not None else f"://127.0.0.1:{port}"
        self.client = redis.Redis.from_url(f"redis{trusted}", protocol=2)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self._folder / "engine.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        wait(self._answers, START_S)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.client.close()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def ask(self, *command: Any) -> Any:
        """Its own answer, as it comes, wherever the key is. redis.RedisError."""
        connection = self.client.connection_pool.get_connection()
        try:
            connection.send_command(*command)  # type: ignore[no-untyped-call]
            return connection.read_response()
        finally:
            self.client.connection_pool.release(connection)

    def in_step(self) -> bool:
        """Whether it is a replica that has all of its primary."""
        try:
            told = self.client.info("replication")
        except redis.RedisError:
            return False
        return bool(told["role"] == "slave" and told["master_link_status"] == "up")

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError):
            return bool(self.client.ping())
        return False


def _secured(port: int, tls: Path) -> list[str]:
    files = ["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file", "cert.pem"]
    named = [part if part.startswith("--") else str(tls / part) for part in files]
    return ["--port", "0", "--tls-port", str(port), *named, "--tls-auth-clients", "no", "--tls-replication", "yes"]


def wait(for_what: Callable[[], bool], seconds: float) -> None:
    """Return once it is true; TimeoutError."""
    deadline = time.monotonic() + seconds
    while not for_what():
        if time.monotonic() > deadline:
            raise TimeoutError("the engines did not come to it")
        time.sleep(0.02)
