"""What every child process of `lever serve` does first: read its orders, and arrange when to end.

Orders come on stdin, as secrets do not belong on a command line or in an environment; later lines there ask a child to read
what the store has. Stdout is the line to the supervisor: a child says `ready` there, `current` once it has read, and `alive`
every second: one that is silent for too long is replaced. Logs go to stderr.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import msgspec
import structlog

from service import logs
from service.errors import LeverError
from service.process.settings import Settings, settings

_PR_SET_PDEATHSIG = 1
_BEAT_S = 1.0


class Orders(msgspec.Struct):
    """What a child is told. `url` is the store's; `report` the socket where the HTTP process takes dumps.

    `inner` is a socket of a worker that only this server's processes can reach, and `key` the API key that the supervisor
    uses there; for the HTTP process, the address at which a worker answers it.
    """

    name: str
    parent: int
    settings: dict[str, str]
    url: str
    report: str
    address: str = ""  # host:port to serve on
    listener: int = -1  # or an inherited socket that listens already
    inner: str = ""
    key: str = ""

    def resolved(self) -> Settings:
        """The settings as the supervisor has them."""
        return settings(self.settings, {})


def orders() -> Orders:
    """Read the orders from stdin, end with the parent from now on, and be heard; an end by an error is logged."""
    logs.tell_uncaught()
    told = msgspec.json.decode(_line(), type=Orders)
    die_with(told.parent)
    threading.Thread(target=_beat, name="lever-beat", daemon=True).start()
    return told


def _line() -> bytes:
    """The next line of stdin; empty at its end. The next one comes only after an answer. No lock is held that an exit would wait for."""
    line = b""
    while not line.endswith(b"\n") and (more := os.read(0, 65536)):
        line += more
    return line


def _beat() -> None:
    """A thread of its own: it is heard while kernels are compiled and under any load, and not when the process is stopped."""
    while say("alive"):
        time.sleep(_BEAT_S)


def die_with(parent: int) -> None:
    """Be sent SIGTERM when the parent process ends in whatever way; so nothing outlives a killed supervisor."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before we asked
        raise SystemExit(1)


def say(word: str) -> bool:
    """Tell the supervisor; whether there is one."""
    try:
        os.write(sys.stdout.fileno(), f"{word}\n".encode())  # at once, so that no two words mix
    except BrokenPipeError:  # it is gone; the signal follows
        return False
    return True


def answering(look: Callable[[], None]) -> None:
    """From now on, on a thread of its own: whenever the supervisor asks, `look` reads what the store has, and that is said."""

    def answer() -> None:
        while _line():
            try:
                look()
            except LeverError as error:
                structlog.get_logger("lever").warning("what was applied may not be known here yet", error=str(error))
            say("current")

    threading.Thread(target=answer, name="lever-answer", daemon=True).start()


def leave(status: int) -> NoReturn:
    """End the process, once all is flushed: to take its libraries apart piece by piece is 0.1 s of CPU, more on a busy machine."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


@contextmanager
def expendable() -> Iterator[None]:
    """While it lasts, the first signal ends the process at once: nothing is held yet, and a compiler hears of no signal.

    On a thread that takes no signals, nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Stop:
    """Whether a signal asked to stop. As a threading.Event, but without its lock.

    A handler runs in the middle of whatever the main thread is at: an Event that the thread just waits for, or whose
    lock it just took, would be set by nobody (seen: a worker that outlived its supervisor for ever).
    """

    def __init__(self) -> None:
        self._asked = False
        self._read, self._write = os.pipe()

    def set(self) -> None:
        """Ask; wakes who waits."""
        self._asked = True
        os.write(self._write, b"x")

    def is_set(self) -> bool:
        """Whether it was asked."""
        return self._asked

    def wait(self, seconds: float) -> bool:
        """Wait for so long at most; whether it was asked."""
        if not self._asked:
            select.select([self._read], [], [], seconds)
        return self._asked


@contextmanager
def stopping() -> Iterator[Stop]:
    """What the first SIGTERM or SIGINT sets; the second ends the process at once."""
    asked = Stop()

    def handle(_number: int, _frame: object) -> None:
        if asked.is_set():
            os._exit(1)
        asked.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
