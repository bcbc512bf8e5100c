"""What a connection does not show: that another engine answers at the same address, and that it may evict."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from service.store.scripts import info_lines, pairs
from service.store.wire.wire import Wire

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
        heard: dict[str, str] = {}
        for reply in replies:
            if isinstance(reply, bytes):
                heard |= info_lines(reply.decode(errors="replace"))
        engine = heard.get("master_replid", self._engine)
        if self._engine and engine != self._engine:
            self.changes += 1
        self._engine = engine
        self.eviction = heard.get("maxmemory_policy", self.eviction)


def told(engine: Wire, section: str = "default") -> tuple[Mapping[str, str], str]:
    """An engine's INFO by name (none where it is forbidden), and appendfsync ("" where it is not told). UnavailableError."""
    info = engine.told("INFO", section) or b""
    policy = dict(pairs(engine.told("CONFIG", "GET", "appendfsync") or []))
    return info_lines(info.decode(errors="replace")), policy.get(b"appendfsync", b"").decode()
