"""A worker's line to the HTTP process: once a second, and at once when something changed, it sends its dump."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import msgspec

from service.process.priority import give_way
from service.telemetry.exposition import FRAME, Dump
from service.telemetry.metrics import Metrics

EVERY_S = 1.0
STARTING = "starting"  # what a worker says first, and begins with until it asks for its store


class Reporter:
    """A thread that sends dumps over a unix socket, and connects again where the other side went away."""

    def __init__(self, path: Path, worker: str, metrics: Metrics) -> None:
        self._path = path
        self._metrics = metrics
        self._worker = worker
        self._started = time.time()
        self._state = (False, STARTING)
        self._changed = threading.Event()
        self._stopped = False
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name="lever-report", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def say(self, *, ready: bool, why: str) -> None:
        """Whether this worker answers choices, and if not, why."""
        if (ready, why) != self._state:
            self._state = (ready, why)
            self._changed.set()

    def stop(self) -> None:
        """Send the last dump and end."""
        self._stopped = True
        self._changed.set()
        self._thread.join(2 * EVERY_S)
        if self._socket is not None:
            self._socket.close()

    def _run(self) -> None:
        give_way()
        while not self._stopped:
            self._changed.wait(EVERY_S)
            self._changed.clear()
            # Made whether or not it can be sent: it also empties what was counted since.
            self._send(Dump(self._worker, self._started, *self._state, self._metrics.samples()))

    def _send(self, dump: Dump) -> None:
        data = msgspec.msgpack.encode(dump)
        try:
            if self._socket is None:
                self._socket = _connect(self._path)
            self._socket.sendall(FRAME.pack(len(data)) + data)
        except OSError:  # the HTTP process starts, or starts again; the next dump has all of this one
            if self._socket is not None:
                self._socket.close()
            self._socket = None


def _connect(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(EVERY_S)
    try:
        made.connect(str(path))
    except OSError:
        made.close()
        raise
    return made
