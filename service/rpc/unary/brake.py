"""What is done where calls come faster than they can be answered.

Clients queue what exceeds a connection's limit of open calls, first come first served. Once that line is as long as its
deadlines, every call that arrives has hardly any time left: all are answered, few in time. To take in such a call
and refuse it costs half of an answer or more. The core refuses one for a tenth of that (REFUSED_STREAM, UNAVAILABLE to its caller),
while a connection has as many as it may that are not taken down. So those that are over are kept, and one is let go for each
that there is room for: what comes in is answered within milliseconds, the rest is told at once, and no caller's line grows.

Where connections have few calls each nothing of this is felt; there the core's own limit of waiting calls stands.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter, time
from typing import Any

from service.rpc.unary.calls import Call

HOLD_S = 10.0  # so long after deadlines have passed here
MOST = 4096  # calls kept, up to 25 kB each: enough for 25 connections with all calls open
AT_ONCE = 64  # let go at a time once it is over: it takes the core some microseconds each
_ENOUGH = 16  # calls are judged so many at a time
_PART = 4  # one in so many of them came too late: a part that callers in a hurry are not, beside patient ones


class Brake:
    """Of one queue, for its thread alone."""

    def __init__(self, tell: Callable[[float], None] = lambda _: None) -> None:
        """`tell` hears 1 when it is on, 0 when it is off again."""
        self.on = False
        self._tell = tell
        self._ended = False
        self.kept: deque[Any] = deque()  # of calls that are over, what the core counts them by
        self._until = 0.0
        self._heard = self._late = 0

    def judge(self, row: Sequence[Call]) -> None:
        """Hear of calls whose turn has come, or whose caller gave up, while more wait: on, where the deadline of many has passed."""
        if self._ended:
            return
        now = time()
        self._heard += len(row)
        self._late += sum(call.deadline < now for call in row)
        if self._heard >= _ENOUGH:
            if self._late * _PART >= self._heard:
                self._set(on=True)
                self._until = perf_counter() + HOLD_S
            self._heard = self._late = 0

    def look(self, now: float) -> None:
        """Off again, some time after it was last called for; `now` is perf_counter()."""
        if now > self._until:
            self._set(on=False)

    def keep(self, call: Call) -> None:
        """A call is over."""
        if len(self.kept) < MOST:
            self.kept.append(call.core)

    def let_go(self, room: int) -> None:
        """As many as there is room for may come."""
        kept = self.kept
        for _ in range(min(room if self.on else AT_ONCE, len(kept))):
            kept.popleft()

    def end(self) -> None:
        """For good: the server shuts down, which waits for all calls."""
        self._ended = True
        self._set(on=False)
        self.kept.clear()

    def _set(self, *, on: bool) -> None:
        if on is not self.on:
            self.on = on
            self._tell(float(on))
