"""A `lever serve` of one's own, with its data in a folder and on ports that are free."""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from service.errors import UnavailableError

START_S = 180.0  # kernels are compiled on the first start of a machine
STOP_S = 60.0
_READY = re.compile(r"gRPC on (\S+), http://(\S+)/metrics")


class Server:
    """Started and ready inside a `with`; ended when that is left."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "server.log"
        self.grpc = self.http = ""  # host:port
        self._process: subprocess.Popen[str] | None = None

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process is not None and self._process.poll() is None

    def __enter__(self) -> Self:
        """Start it. UnavailableError where it does not come up."""
        command = [sys.executable, "-m", "service", "serve", "--data-dir", str(self.folder)]
        env = {
            name: value for name, value in os.environ.items() if not name.startswith("LEVER_") or name == "LEVER_CACHE"
        }
        env |= {"LEVER_GRPC_PORT": "0", "LEVER_HTTP_PORT": "0"}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=env, text=True
            )
        try:
            self._await(self._process)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _await(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        until = time.monotonic() + START_S
        while not select.select([process.stdout], [], [], 0.2)[0]:
            if time.monotonic() > until:
                break
        else:
            found = _READY.search(process.stdout.readline())
            if found is not None:
                self.grpc, self.http = found[1], found[2]
                return
        said = "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-10:])
        raise UnavailableError(f"the server did not start:\n{said}")

    def __exit__(self, *_: object) -> None:
        """Ask it to end, and wait until it has."""
        process = self._process
        if process is None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
