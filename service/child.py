"""What every child process of `lever serve` does first: read its orders, and arrange when to end.

Orders come on stdin, as secrets do not belong on a command line or in an environment. Stdout is the line to the
supervisor: a child says `ready` there. Logs go to stderr.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from service import logs
from service.config import Settings, settings

_PR_SET_PDEATHSIG = 1


class Orders(msgspec.Struct):
    """What a child is told. `url` is the store's; `report` the socket where the HTTP process takes dumps.

    `inner` is a socket of a worker that only its supervisor can reach, and `key` the API key it uses there.
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
    """Read the orders from stdin, and end with the parent from now on; an end by an error is logged."""
    logs.tell_uncaught()
    told = msgspec.json.decode(sys.stdin.buffer.read(), type=Orders)
    die_with(told.parent)
    return told


def die_with(parent: int) -> None:
    """Be sent SIGTERM when the parent process ends in whatever way; so nothing outlives a killed supervisor."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before we asked
        raise SystemExit(1)


def say(word: str) -> None:
    """Tell the supervisor."""
    try:
        sys.stdout.write(word + "\n")
        sys.stdout.flush()
    except BrokenPipeError:  # it is gone; the signal follows
        pass


@contextmanager
def stopping(on_stop: Callable[[], None] | None = None) -> Iterator[threading.Event]:
    """An event that the first SIGTERM or SIGINT sets; the second ends the process at once."""
    asked = threading.Event()

    def handle(_number: int, _frame: object) -> None:
        if asked.is_set():
            os._exit(1)
        asked.set()
        if on_stop is not None:
            on_stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
