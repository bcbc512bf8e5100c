"""Messages that are sent again, whole or in part, for as long as what refuses them passes; each event counts once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

import grpc

from service.pb.lever.v1 import personalization_pb2 as pb
from service.remote.fault import fault

Event = TypeVar("Event")
Answer_co = TypeVar("Answer_co", covariant=True)

PATIENCE_S = 120.0  # without a single answer
_FIRST_S, _LONGEST_S = 0.2, 5.0
_PASSING = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
_AGAIN = frozenset(code.value[0] for code in _PASSING)


class Calling(Protocol[Answer_co]):
    """A call under way."""

    def result(self) -> Answer_co:
        """Its answer; grpc.RpcError."""


class Results(Protocol):
    """An answer with a result for each event."""

    @property
    def results(self) -> Iterable[pb.RewardResult]:
        """In the order sent."""


def insist(send: Callable[[], Calling[Answer_co]], begun: Calling[Answer_co] | None = None) -> Answer_co:
    """The answer of a call that may be sent again as it is; `begun` is the first sending. grpc.RpcError once it is final."""
    wait, until = _FIRST_S, time.monotonic() + PATIENCE_S
    call = begun or send()
    while True:
        try:
            return call.result()
        except grpc.RpcError as error:
            if error.code() not in (*_PASSING, grpc.StatusCode.DEADLINE_EXCEEDED) or time.monotonic() > until:
                raise
            time.sleep(max(wait, fault(error).retry_s or 0.0))
        wait = min(2 * wait, _LONGEST_S)
        call = send()


def settle(
    events: Sequence[Event], send: Callable[[Sequence[Event]], Calling[Results]], begun: Calling[Results] | None = None
) -> list[pb.RewardResult]:
    """A result for each event; what is refused for now is sent again, until patience ends. grpc.RpcError."""
    settled: dict[int, pb.RewardResult] = {}
    left, wait, until = list(range(len(events))), _FIRST_S, time.monotonic() + PATIENCE_S
    while left:
        some = [events[i] for i in left]
        answer = insist(lambda some=some: send(some), begun)  # type: ignore[misc]
        settled |= zip(left, answer.results, strict=True)
        left, begun = [i for i in left if settled[i].code in _AGAIN], None
        if not left or time.monotonic() > until:
            break
        time.sleep(wait)
        wait = min(2 * wait, _LONGEST_S)
    return [settled[i] for i in range(len(events))]
