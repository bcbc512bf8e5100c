"""Trials on their way to the store: bounded, appended in frozen chunks, each sent until it is answered.

One buffer an experiment and process. `add` is called by the choosing threads and takes no lock; `chunk` and `done`
by the one flushing thread. A chunk keeps its sequence number and its rows until the store has answered, so that
sending it again is recognised. A killed process loses what was not yet flushed, and nothing else.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

CHUNK_ROWS = 4000


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows in flight."""

    sequence: int
    stride: int
    rows: bytes
    count: int


class Buffer:
    """Rows of one experiment, oldest first."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._waiting: deque[tuple[int, bytes]] = deque()  # (rows, their bytes); rows of an item have one stride
        self._bytes = 0
        self._sequence = 0
        self._flying: Chunk | None = None
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting) + (self._flying is not None)

    def add(self, rows: bytes, count: int = 1) -> None:
        """Append `count` packed trial rows of one stride. The oldest give way when the buffer is full."""
        self._waiting.append((count, rows))
        # Racing threads may miscount by a few rows between two flushes; the bound is a safety, not an account.
        self._bytes += len(rows)
        while self._bytes > self._limit and self._waiting:
            gone, old = self._waiting.popleft()
            self._bytes -= len(old)
            self.dropped += gone

    def chunk(self) -> Chunk | None:
        """The rows to send now: the unanswered chunk if there is one, else a new one, else None."""
        if self._flying is None and self._waiting:
            self._flying = self._freeze()
        return self._flying

    def done(self) -> None:
        """The store has answered the chunk."""
        self._flying = None

    def _freeze(self) -> Chunk:
        taken: list[tuple[int, bytes]] = []
        rows = 0
        while self._waiting and rows < CHUNK_ROWS:
            item = self._waiting.popleft()
            taken.append(item)
            rows += item[0]
        self._bytes = 0 if not self._waiting else max(0, self._bytes - sum(len(b) for _, b in taken))
        stride = max(len(b) // n for n, b in taken)
        self._sequence += 1
        return Chunk(self._sequence, stride, b"".join(_widen(n, b, stride) for n, b in taken), rows)


def _widen(count: int, rows: bytes, stride: int) -> bytes:
    """The rows padded with zero features to `stride`."""
    size = len(rows) // count
    if size == stride:
        return rows
    return b"".join(rows[i * size : (i + 1) * size].ljust(stride, b"\0") for i in range(count))
