"""What callers leave unfinished: calls whose message is not here, and answers that nobody reads. Both have a deadline,
and the first a bound.

The time for a message is short where many are missing, so that what they take is bounded by the time rather than by
their number alone. An honest caller's message comes right behind its headers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import grpc

from service.errors import ExhaustedError
from service.rpc.status import Ending
from service.rpc.unary.calls import Call

MOST = 1024  # calls without their message, of one queue; beyond that the oldest ends
MANY = 64  # from here on a message has SHORT_S
SHORT_S = 1.0
ANSWER_S = 30.0  # an answer is read by then

NO_MESSAGE = Ending(grpc.StatusCode.UNIMPLEMENTED, "exactly one request message is needed")
TOO_LATE = Ending(grpc.StatusCode.DEADLINE_EXCEEDED, "the call's message did not come in time")
TOO_MANY = Ending.of(ExhaustedError("overloaded: too many calls wait for their message", "OVERLOADED", 0.1))


class Unfinished:
    """Of one queue; only its thread changes it, but that any thread may add to `writing`."""

    def __init__(self, count: Callable[[], None]) -> None:
        """`count` hears of every call that is ended."""
        self._count = count
        self.reading: dict[Call, None] = {}  # their message is not here; the oldest first
        self.writing: dict[Call, None] = {}  # their answer is on the way

    def oldest(self) -> Call:
        """The call without a message that ends as there are too many; the caller ends it."""
        call = next(iter(self.reading))
        del self.reading[call]
        self._count()
        return call

    def late(self, now: float) -> Iterator[tuple[Call, Ending]]:
        """Calls whose message did not come in time, and how they end."""
        spare = len(self.reading) - MANY
        for call in list(self.reading):
            allowed = call.method.message_s if spare <= 0 else min(SHORT_S, call.method.message_s)
            if now - call.begun > allowed:
                spare -= 1
                del self.reading[call]
                self._count()
                yield call, TOO_LATE

    def unread(self, now: float) -> Iterator[Call]:
        """Calls whose answer nobody reads."""
        for call in list(self.writing):
            if now - call.sent > ANSWER_S:
                self.writing.pop(call, None)
                self._count()
                yield call
