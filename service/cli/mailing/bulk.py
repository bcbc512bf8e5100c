"""Exposures and rewards by the thousand: a few messages under way at a time, each event until it is settled."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import grpc

from service.cli.connection import Client
from service.cli.mailing.patience import Calling, Results, settle
from service.pb.lever.v1 import personalization_pb2 as pb

Event = TypeVar("Event")

MESSAGE = 1_000  # events
_UNDER_WAY = 4  # messages
TIMEOUT_S = 60.0


def deliver(
    events: Iterable[Event], send: Callable[[Sequence[Event]], Calling[Results]]
) -> Iterator[tuple[Event, pb.RewardResult]]:
    """Each event with its result, in order. grpc.RpcError."""
    flying: deque[tuple[list[Event], Calling[Results]]] = deque()
    given = iter(events)
    while some := list(islice(given, MESSAGE)):
        flying.append((some, send(some)))
        if len(flying) == _UNDER_WAY:
            yield from _landed(send, *flying.popleft())
    while flying:
        yield from _landed(send, *flying.popleft())


def _landed(
    send: Callable[[Sequence[Event]], Calling[Results]], some: list[Event], begun: Calling[Results]
) -> Iterator[tuple[Event, pb.RewardResult]]:
    return zip(some, settle(some, send, begun), strict=True)


class Exposing:
    """Tells that decisions were shown."""

    def __init__(self, client: Client) -> None:
        self._expose = client.choices.ExposeBatch

    def send(self, decisions: Sequence[bytes]) -> Calling[Results]:
        """At most MESSAGE."""
        request = pb.ExposeBatchRequest(exposures=[pb.ExposeRequest(decision=one) for one in decisions])
        return self._expose.future(request, timeout=TIMEOUT_S)


class _Stream:
    """One stream, and the answers that have come."""

    def __init__(self, client: Client) -> None:
        self.requests: queue.SimpleQueue[pb.StreamRewardsRequest | None] = queue.SimpleQueue()
        self._answers = client.choices.StreamRewards(iter(self.requests.get, None))
        self._came: dict[int, pb.StreamRewardsResponse] = {}
        self.broken = False

    def answer(self, sequence: int) -> pb.StreamRewardsResponse:
        while sequence not in self._came:
            try:
                answer = next(self._answers)
            except grpc.RpcError:
                self.broken = True
                raise
            self._came[answer.sequence] = answer
        return self._came.pop(sequence)


class _Sent:
    """A message in a stream."""

    def __init__(self, stream: _Stream, sequence: int) -> None:
        self._stream, self._sequence = stream, sequence

    def result(self) -> pb.StreamRewardsResponse:
        """Calling.result."""
        return self._stream.answer(self._sequence)


class Rewarding:
    """Reports rewards in a stream; in another one where that ends."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stream: _Stream | None = None
        self._sequence = 0

    def send(self, rewards: Sequence[pb.RewardRequest]) -> Calling[Results]:
        """At most MESSAGE."""
        if self._stream is None or self._stream.broken:
            self._stream = _Stream(self._client)
        self._sequence += 1
        self._stream.requests.put(pb.StreamRewardsRequest(rewards=rewards, sequence=self._sequence))
        return _Sent(self._stream, self._sequence)

    def close(self) -> None:
        """No more of them."""
        if self._stream is not None:
            self._stream.requests.put(None)
