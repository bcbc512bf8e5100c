"""What a connection does not show: that another engine answers at the same address, and that it may evict."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from service.store.scripts import info_lines

EVERY_S = 2.0


class Watch:
    """Asked along with polls, every few seconds. An engine that does not tell is taken to be the same."""

    COMMANDS = (("INFO", "replication"), ("INFO", "memory"))

    def __init__(self) -> None:
        self.changes = 0  # how often another engine answered; grows by one each time
        self.eviction = ""  # its maxmemory-policy, "" where it is not told
        self._engine = ""
        self._due = 0.0

    def commands(self) -> Sequence[tuple[str, str]]:
        """What to ask now."""
        if time.monotonic() < self._due:
            return ()
        self._due = time.monotonic() + EVERY_S
        return self.COMMANDS

    def hear(self, replies: Sequence[Any]) -> None:
        """The answers to `commands`. An engine's replication id changes when it starts and when it is promoted."""
        told: dict[str, str] = {}
        for reply in replies:
            if isinstance(reply, bytes):
                told |= info_lines(reply.decode(errors="replace"))
        engine = told.get("master_replid", self._engine)
        if self._engine and engine != self._engine:
            self.changes += 1
        self._engine = engine
        self.eviction = told.get("maxmemory_policy", self.eviction)
