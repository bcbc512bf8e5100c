"""Answers that are kept for a moment: who asks meanwhile gets the same, and while one is made all wait for that one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

BYTES = 32 << 20  # of all that is kept


@dataclass(slots=True)
class _Entry:
    made: float
    task: asyncio.Task[bytes]

    def bytes(self) -> int:
        done = self.task.done() and not self.task.cancelled() and self.task.exception() is None
        return len(self.task.result()) if done else 0


class Kept:
    """Bodies by what was asked. An answer is at most `fresh_s` old when it is given; what failed is told to those who waited."""

    def __init__(self, fresh_s: float, most: int = BYTES) -> None:
        self._fresh_s = fresh_s
        self._most = most
        self._entries: dict[tuple[str, ...], _Entry] = {}

    async def get(self, asked: tuple[str, ...], make: Callable[[], Awaitable[bytes]]) -> bytes:
        """The body; made at most once at a time. It goes on being made where one who waits goes away."""
        self._forget()
        found = self._entries.get(asked)
        if found is None:
            task = asyncio.ensure_future(_made(make))
            found = self._entries[asked] = _Entry(time.monotonic(), task)
            task.add_done_callback(lambda ended: self._done(asked, ended))
        return await asyncio.shield(found.task)

    def _done(self, asked: tuple[str, ...], ended: asyncio.Task[bytes]) -> None:
        entry = self._entries.get(asked)
        if entry is None or entry.task is not ended:
            return
        if ended.cancelled() or ended.exception() is not None:
            del self._entries[asked]
        else:
            entry.made = time.monotonic()

    def _forget(self) -> None:
        """What is old; and the oldest, where all together are too large."""
        now = time.monotonic()
        over = {key for key, one in self._entries.items() if one.task.done() and now - one.made >= self._fresh_s}
        for key in over:
            del self._entries[key]
        size = sum(one.bytes() for one in self._entries.values())
        for key in [key for key, one in self._entries.items() if one.task.done()]:
            if size <= self._most:
                break
            size -= self._entries.pop(key).bytes()


async def _made(make: Callable[[], Awaitable[bytes]]) -> bytes:
    return await make()
