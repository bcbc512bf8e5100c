"""A TCP proxy between a server and its store, or a client and its server, that does what networks do: delay, cut, go silent, go slow."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from enum import Enum

CHUNK = 65536


class Fate(Enum):
    """What becomes of a request."""

    PASS = "passes"  # noqa: S105  # no secret
    BEFORE = "cut before it was sent on"
    AFTER = "cut after it was sent on, before the reply"


def always(_request: bytes) -> Fate:
    """Every request passes."""
    return Fate.PASS


class Proxy:
    """Listens on a loopback port, sends on to a Unix socket or to a `host:port`. Set the faults while it runs; they hold at once.

    `judge` decides on each chunk of request bytes. `silent`: connections stay open and nothing moves (half-open).
    `refusing`: new connections are closed, as a dead host's are; with `answering` they get these bytes first. `delay_s` is added to each chunk, `rate` limits
    bytes a second each way, 0: unlimited.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self.judge: Callable[[bytes], Fate] = always
        self.silent = False
        self.refusing = False
        self.answering = b""
        self.delay_s = 0.0
        self.rate = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """Where it listens, as host:port."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def url(self) -> str:
        """For RedisStore and --redis-url."""
        return f"redis://{self.address}/0"

    def cut(self) -> None:
        """End every connection now."""
        with self._lock:
            connections, self._open = self._open, set()
        for one in connections:
            _end(one)

    def close(self) -> None:
        """Stop."""
        self.refusing = True
        _end(self._listener)
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = None if self.refusing else self._connect()
            if server is None:
                threading.Thread(target=self._refuse, args=(client,), daemon=True).start()
                continue
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open |= {client, server}
            after = threading.Event()
            threading.Thread(target=self._pump, args=(client, server, after, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, after, False), daemon=True).start()

    def _refuse(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self.answering:
                client.settimeout(1.0)
                client.recv(CHUNK)
                client.sendall(self.answering)
                client.shutdown(socket.SHUT_WR)
                while client.recv(CHUNK):  # or the client is told of a reset in place of the answer
                    pass
        _end(client)

    def _connect(self) -> socket.socket | None:
        host, colon, port = self._target.rpartition(":")
        made = socket.socket(socket.AF_INET if colon else socket.AF_UNIX)
        try:
            made.connect((host, int(port)) if colon else self._target)
        except OSError:
            made.close()
            return None
        return made

    def _pump(self, source: socket.socket, sink: socket.socket, after: threading.Event, asks: bool) -> None:
        """Move bytes one way until either side ends. `after`: the reply to what was sent is never to arrive."""
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                fate = self.judge(data) if asks else Fate.PASS
                if fate is Fate.BEFORE or (not asks and after.is_set()):
                    break
                if fate is Fate.AFTER:
                    after.set()
                self._hinder(len(data))
                sink.sendall(data)
        with self._lock:
            self._open -= {source, sink}
        _end(source)
        _end(sink)

    def _hinder(self, size: int) -> None:
        while self.silent:
            time.sleep(0.01)
        wait = self.delay_s + (size / self.rate if self.rate else 0.0)
        if wait:
            time.sleep(wait)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
