"""A thread that takes turns: the shape of everything that a server does beside answering."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from service.process.priority import give_way

_AGAIN_S = (0.05, 0.5)  # between turns that fail: at first, and at the most


class Loop:
    """Calls `turn` every so often until it is stopped: at once when nudged, ever later while it returns false."""

    def __init__(self, name: str, turn: Callable[[], bool], every_s: float) -> None:
        self._turn = turn
        self._every_s = every_s
        self._stopping = False
        self._wake = threading.Event()
        self._log = structlog.get_logger("lever.feed")
        self._thread = threading.Thread(target=self._run, name=name)

    def start(self) -> None:
        """Begin with a turn."""
        self._thread.start()

    def nudge(self) -> None:
        """Have a turn begin now, or as soon as the one under way is over."""
        self._wake.set()

    def stop(self) -> None:
        """End after the turn under way; returns once it has."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        give_way()
        wait_s = self._every_s
        while not self._stopping:
            self._wake.clear()
            try:
                wait_s = self._every_s if self._turn() else min(max(2 * wait_s, _AGAIN_S[0]), _AGAIN_S[1])
            except Exception:  # noqa: BLE001 - a thread that ends in silence would stop learning for good
                self._log.exception("a turn failed; going on")
                wait_s = _AGAIN_S[1]
            if not self._stopping:
                self._wake.wait(wait_s)
