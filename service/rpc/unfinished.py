"""What callers leave unfinished: calls whose message is not here, and answers that nobody reads. Both have a deadline,
and the first a bound.

The time for a message is short where many are missing, so that what they take is bounded by the time rather than by
their number alone. An honest caller's message comes right behind its headers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import grpc

from service.errors import ExhaustedError
from service.rpc.calls import Call
from service.rpc.status import Ending

MOST = 1024  # calls without their message, of one queue; beyond that the oldest ends
MANY = 64  # from here on a message has SHORT_S
SHORT_S = 1.0
ANSWER_S = 30.0  # an answer is read by then

NO_MESSAGE = Ending(grpc.StatusCode.UNIMPLEMENTED, "exactly one request message is needed")
TOO_LATE = Ending(grpc.StatusCode.DEADLINE_EXCEEDED, "the call's message did not come in time")
TOO_MANY = Ending.of(ExhaustedError("overloaded: too many calls wait for their message", "OVERLOADED", 0.1))


class Unfinished:
    """Of one queue; only its thread changes it, but for `answered`, which any thread may call."""

    def __init__(self, count: Callable[[], None]) -> None:
        """`count` hears of every call that is ended."""
        self._count = count
        self._reading: dict[Call, None] = {}  # the oldest first
        self._writing: dict[Call, None] = {}
        self._now = 0.0  # as of the last look

    def begin(self, call: Call) -> Call | None:
        """A call's message is awaited; the oldest one to end, where there are too many."""
        reading, oldest = self._reading, None
        if len(reading) >= MOST:
            oldest = next(iter(reading))
            del reading[oldest]
            self._count()
        reading[call] = None
        return oldest

    def came(self, call: Call) -> None:
        """Its message is here, or will never be."""
        self._reading.pop(call, None)

    def answered(self, call: Call) -> None:
        """Its answer is on the way."""
        call.sent = self._now
        self._writing[call] = None

    def read(self, call: Call) -> None:
        """The answer left, or nobody wants it."""
        self._writing.pop(call, None)

    def late(self, now: float) -> Iterator[tuple[Call, Ending]]:
        """Calls whose message did not come in time, and how they end."""
        self._now = now
        spare = len(self._reading) - MANY
        for call in list(self._reading):
            allowed = call.method.message_s if spare <= 0 else min(SHORT_S, call.method.message_s)
            if now - call.begun > allowed:
                spare -= 1
                self.came(call)
                self._count()
                yield call, TOO_LATE

    def unread(self, now: float) -> Iterator[Call]:
        """Calls whose answer nobody reads."""
        for call in list(self._writing):
            if now - call.sent > ANSWER_S:
                self.read(call)
                self._count()
                yield call
