"""A unary call as the core gives it, and what its method is to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from service.process.pool import Pool
from service.rpc.status import Ending

if TYPE_CHECKING:
    from service.rpc.unary.fast_unary import FastUnary

Metadata = tuple[tuple[str, str | bytes], ...]
Admit = Callable[[Metadata], Ending | None]  # how a call ends that is not let in; nothing of it was read yet
# (request, metadata, deadline as time.time(), time.perf_counter() when it came) -> the answer's bytes, or how the call
# ends without one.
Answer = Callable[[bytes, Metadata, float, float], bytes | Ending]

# Calls of a method that the core may hand over before it is asked for more. When the server stops, these are answered
# still; what the core holds beyond them is cancelled.
AHEAD = 64
MESSAGE_S = 5.0  # a call's message is here by then


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """One method. Without a `pool` it is answered by the thread of the queue, so it must not wait for anything.

    `full` gives the end of a call that is one too many, which is where `crowded` says so. A method with `take` answers
    later, or more than once: it gets the call and its message, and `gone` tells it of the call's end.
    """

    path: str
    admit: Admit
    answer: Answer
    full: Callable[[], Ending]
    pool: Pool | None = None
    message_s: float = MESSAGE_S
    take: Callable[[FastUnary, Call, bytes], None] | None = None
    gone: Callable[[Call], None] | None = None
    crowded: Callable[[], bool] | None = None
    later: bool = field(init=False)  # it is answered once, by whoever took it
    told_end: bool = field(init=False)  # a call's end is asked for by itself, as it may come before the answer

    def __post_init__(self) -> None:
        object.__setattr__(self, "later", self.take is not None and self.gone is None)
        object.__setattr__(self, "told_end", self.pool is not None or self.gone is not None)


class Call:
    """A call that is not over."""

    __slots__ = ("begun", "core", "deadline", "ended", "gone", "left", "metadata", "method", "sent")

    def __init__(self, core: Any, method: Method, metadata: Metadata, deadline: float, begun: float) -> None:
        """`begun` is time.perf_counter() when it came, `deadline` the caller's as time.time()."""
        self.core, self.method, self.metadata = core, method, metadata
        self.begun, self.deadline = begun, deadline
        self.left = 1  # events that come still: that of the answer, and of what else was begun
        self.ended = False  # its answer or status is on the way
        self.gone = False  # the caller hung up
        self.sent = 0.0  # when that was, about


class Asked:
    """A method, and how many of its calls the core was asked for and has not given."""

    __slots__ = ("count", "method", "tag")

    def __init__(self, method: Method, come: Callable[[Asked, Any], None]) -> None:
        """`come` is the step of the events that tell of such a call."""
        self.method, self.count = method, 0
        self.tag = (come, self)
