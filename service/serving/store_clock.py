"""Store time, told from the local monotonic clock: nothing that teaches depends on a server's own wall clock."""

from __future__ import annotations

import time


class StoreClock:
    """Milliseconds of store time. Before the first poll it is the wall clock's."""

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def now_ms(self) -> int:
        """Store time now, as well as the last poll can tell."""
        return (time.monotonic_ns() + self._offset_ns) // 1_000_000

    def set(self, store_ms: int, asked_ns: int, answered_ns: int) -> None:
        """The store said `store_ms` between two readings of the monotonic clock."""
        self._offset_ns = store_ms * 1_000_000 - (asked_ns + answered_ns) // 2
