"""The process tree of `lever serve`: keeps the children running, and ends them in order.

    supervisor ── store (where no URL was given) ── HTTP process ── workers, all on one gRPC port; the web process

Workers and the web process go first and flush into the store; the HTTP process tells of it until they are gone; the store goes last.
Children are in sessions of their own, so that a terminal's Ctrl-C reaches only the supervisor.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import structlog

from service.process.child import Orders

TICK_S = 0.1
BACKOFF_S = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)  # before the first, second, … start in a row that failed
STEADY_S = 10.0  # a child that lived this long starts anew in that count
PROGRESS = b"compiling"  # begins what a child says of how far it is
STARTING = 10  # times its patience, a child may be silent before its first word: libraries load, kernels may compile


@dataclass(slots=True)
class Child:
    """A child process and how often it failed in a row."""

    command: Sequence[str]
    orders: Orders
    process: subprocess.Popen[bytes] | None = None
    ready: bool = False
    current: bool = False  # it has read all that was in the store when it was last asked to
    failures: int = 0
    born: float = 0.0
    due: float = 0.0  # when to start it
    heard: float = 0.0  # when it last said something
    silent: bool = True  # it has said nothing yet

    @property
    def name(self) -> str:
        """What logs call it."""
        return self.orders.name

    def start(self) -> None:
        """Start it and give it its orders."""
        fds = (self.orders.listener,) if self.orders.listener >= 0 else ()
        self.ready, self.silent, self.born = False, True, time.monotonic()
        self.heard = self.born
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, pass_fds=fds
        )
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(msgspec.json.encode(self.orders) + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:  # it ended already; its status says why
            pass

    def ask(self) -> None:
        """Have it read what the store has now; it is `current` once it has. One that starts reads it anyway."""
        self.current = not self.ready
        if self.process is not None and self.process.stdin is not None and self.ready:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.write(b"current?\n")
                self.process.stdin.flush()

    def send(self, number: int) -> None:
        """Send a signal if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)


class Children:
    """Children that are kept running: those that end are started again, later each time. So are those that hang."""

    def __init__(self, patience_s: float = 0.0) -> None:
        """A child that is silent for so long is killed; 0: never."""
        self._patience_s = patience_s
        self.children: list[Child] = []
        self.progress = ""  # what a child said last of how far it is
        self._lines = selectors.DefaultSelector()
        self._log = structlog.get_logger("lever.supervisor")

    def add(self, child: Child) -> None:
        """Start a child and keep it running."""
        self.children.append(child)
        self._start(child)

    def tend(self, timeout_s: float) -> None:
        """Hear what children say for up to `timeout_s`, and start those that are due."""
        for key, _ in self._lines.select(timeout_s):
            child, said = key.data, os.read(key.fd, 4096)
            if not said:
                self._lines.unregister(key.fileobj)
                continue
            child.heard, child.silent = time.monotonic(), False
            words = said.split(b"\n")
            self.progress = next(
                (word.decode() for word in reversed(words) if word.startswith(PROGRESS)), self.progress
            )
            child.current |= b"current" in words
            if b"ready" in words:
                child.ready = True
                if child.failures:
                    self._log.info("a child is ready again", child=child.name)
        now = time.monotonic()
        for child in self.children:
            self._watch(child, now)
            if child.process is not None and child.process.poll() is not None:
                self._ended(child, now)
            if child.process is None and child.due <= now:
                self._start(child)

    def end(self, children: Sequence[Child], patience_s: float) -> bool:
        """End these children and wait; those that do not end in time are killed. Whether all ended well."""
        for child in children:
            child.send(signal.SIGTERM)
        deadline, well = time.monotonic() + patience_s, True
        for child in children:
            if child.process is None:
                continue
            try:
                status = child.process.wait(max(deadline - time.monotonic(), 0.01))
                # One that was still starting had nothing to flush and no handler yet.
                well &= status == 0 or (not child.ready and status == -signal.SIGTERM)
            except subprocess.TimeoutExpired:
                self._log.error("a child did not end in time and was killed", child=child.name)
                child.process.kill()
                child.process.wait()
                well = False
            self._hang_up(child.process)
        self.children = [child for child in self.children if child not in children]
        return well

    def kill(self) -> None:
        """End all at once."""
        for child in self.children:
            child.send(signal.SIGKILL)

    def _watch(self, child: Child, now: float) -> None:
        """End a child that is silent: it was stopped, or waits for what never comes. All that was said was heard before."""
        silent_s = now - child.heard
        if (
            child.process is not None
            and self._patience_s
            and silent_s > self._patience_s * (STARTING if child.silent else 1)
        ):
            self._log.error("a child does not answer and is killed", child=child.name, silent_s=round(silent_s))
            child.send(signal.SIGKILL)
            child.heard = now

    def _start(self, child: Child) -> None:
        child.start()
        assert child.process is not None
        assert child.process.stdout is not None
        self._lines.register(child.process.stdout, selectors.EVENT_READ, child)

    def _ended(self, child: Child, now: float) -> None:
        assert child.process is not None
        child.failures = 1 if now - child.born > STEADY_S else child.failures + 1
        wait = BACKOFF_S[min(child.failures - 1, len(BACKOFF_S) - 1)]
        status = child.process.returncode
        self._log.error("a child ended unasked and starts again", child=child.name, status=status, wait_s=wait)
        self._hang_up(child.process)
        child.process, child.ready, child.current, child.due = None, False, True, now + wait

    def _hang_up(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        if process.stdout in self._lines.get_map():
            self._lines.unregister(process.stdout)
        process.stdout.close()
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()


@dataclass(slots=True)
class Ports:
    """The addresses, held by the supervisor for as long as it lives, so that a restart cannot lose them."""

    grpc: socket.socket  # bound, never listening: it keeps the port's number while workers share the port
    http: socket.socket  # listening; the HTTP process inherits it
    web: socket.socket | None = None  # listening; the web process inherits it

    @classmethod
    def take(cls, grpc: tuple[str, int], http: tuple[str, int], web: tuple[str, int] | None = None) -> Ports:
        """Bind all. OSError names the address that is taken."""
        # Without SO_REUSEPORT first: another Lever on that port would share it with us in silence.
        bound = _bind(grpc, reuse_port=False)
        number: int = bound.getsockname()[1]
        bound.close()
        shared = _bind((grpc[0], number), reuse_port=True)
        ports = [shared]
        try:
            for address, backlog in ((http, 128), *(((web, 1024),) if web else ())):
                ports.append(_bind(address, reuse_port=False))
                ports[-1].listen(backlog)
        except OSError:
            for port in ports:
                port.close()
            raise
        return cls(*ports)

    def close(self) -> None:
        """Let go of them."""
        for port in (self.grpc, self.http, self.web):
            if port is not None:
                port.close()


def address_of(bound: socket.socket) -> str:
    """host:port, with brackets where the host is an IPv6 address."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def module(name: str) -> list[str]:
    """The command that runs one of our modules with this very Python."""
    return [sys.executable, "-m", name]


def _bind(address: tuple[str, int], *, reuse_port: bool) -> socket.socket:
    host, port = address
    family, kind, proto, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    made = socket.socket(family, kind, proto)
    try:
        # SO_REUSEADDR lets us take a port whose old connections linger; it does not share a listening one.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(where)
    except OSError as error:
        made.close()
        raise OSError(error.errno, f"cannot serve on {host}:{port}: {error.strerror}") from error
    return made


class Asked(BaseException):
    """A signal asked us to stop while we were waiting for something that knows no better."""


class Signals:
    """SIGTERM and SIGINT: the first asks, the second makes an end. Raises Asked out of `interruptible` code."""

    def __init__(self, at_once: Callable[[], None]) -> None:
        self.asked = False
        self.interruptible = False
        self._at_once = at_once
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def _handle(self, _number: int, _frame: object) -> None:
        if self.asked:
            self._at_once()
            os._exit(1)
        self.asked = True
        if self.interruptible:
            raise Asked
