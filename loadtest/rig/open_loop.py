"""An open-loop caller of one unary gRPC method, cheap enough to ask for more than a server can give.

Calls arrive when they arrive, whatever the answers do; each has a deadline, is counted as missed when that passes, and
waits here while the server's limit of concurrent streams is reached, and is sent once more where the server refused its
stream, as grpc's clients do. Answers are not decoded.
"""

from __future__ import annotations

import select
import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from loadtest.rig.http2 import DATA, REFUSED_STREAM, RESET, Connection, body

_STEP_MS = 10  # deadlines are told in such steps, so that headers can be made once


@dataclass
class Answers:
    """What became of the calls: seconds from arrival to answer of those that went well, and counts of the others."""

    seconds: float = 0.0
    arrived: int = 0
    latency_s: list[float] = field(default_factory=list)
    again: int = 0  # sent once more, as its stream was refused
    refused: int = 0
    late: int = 0  # the deadline passed after it was sent
    unsent: int = 0  # the deadline passed while it waited here


class Caller:
    """Connections to `address` over which one request is sent again and again."""

    def __init__(self, address: str, path: str, message: bytes, connections: int, deadline_s: float) -> None:
        self._message = body(message)
        self._deadline_s = deadline_s
        self._links = [_Link(address, path) for _ in range(connections)]

    def close(self) -> None:
        """End all connections."""
        for link in self._links:
            link.connection.socket.close()

    def run(self, seconds: float, rate: float | None, seed: int = 1, in_flight: int = 0) -> Answers:
        """Call for so long: at `rate` a second with exponential gaps, or always `in_flight` at a time (rate None)."""
        gaps = np.random.default_rng(seed)
        answers = Answers()
        begun = now = time.perf_counter()
        due = begun
        turn = 0
        while now < begun + seconds or (any(link.open or link.queue for link in self._links)):
            calling = now < begun + seconds
            if calling and rate is None:
                busy = sum(len(link.open) + len(link.queue) for link in self._links)
                arrivals = [now] * max(0, in_flight - busy)
            else:
                arrivals = []
                while calling and rate is not None and due <= now:
                    arrivals.append(due)
                    due += gaps.exponential(1.0 / rate)
            for arrival in arrivals:
                self._links[turn % len(self._links)].queue.append((arrival, False))
                turn += 1
            answers.arrived += len(arrivals)
            self._turn(answers, now)
            now = time.perf_counter()
        answers.seconds = seconds
        return answers

    def _turn(self, answers: Answers, now: float) -> None:
        for link in self._links:
            link.expire(answers, now, self._deadline_s)
            link.send(answers, self._message, now, self._deadline_s)
        ready, _, _ = select.select([link.connection.socket for link in self._links], [], [], 0.0005)
        for link in self._links:
            if link.connection.socket in ready:
                link.receive(answers, self._deadline_s)


class _Link:
    """One connection."""

    def __init__(self, address: str, path: str) -> None:
        self.connection = Connection(address, blocking=False)
        # Stream to when the call came and whether this is the second time, in the order they were sent.
        self.open: dict[int, tuple[float, bool]] = {}
        self.queue: deque[tuple[float, bool]] = deque()
        self._good: set[int] = set()
        self._path = path

    def send(self, answers: Answers, message: bytes, now: float, deadline_s: float) -> None:
        """Send what waits, as far as the server lets us."""
        connection = self.connection
        while self.queue and len(self.open) < connection.most and connection.window >= len(message):
            arrival, again = self.queue.popleft()
            if arrival + deadline_s < now:
                answers.unsent += 1
                continue
            left = max(1, round((arrival + deadline_s - now) * 1000 / _STEP_MS)) * _STEP_MS
            self.open[connection.call(self._path, message, left)] = arrival, again
        connection.flush()

    def expire(self, answers: Answers, now: float, deadline_s: float) -> None:
        """Give up on calls whose deadline has passed."""
        while self.queue and self.queue[0][0] + deadline_s < now:
            self.queue.popleft()
            answers.unsent += 1
        while self.open:
            stream, (arrival, _) = next(iter(self.open.items()))
            if arrival + deadline_s >= now:
                return
            del self.open[stream]
            self._good.discard(stream)
            self.connection.cancel(stream)
            answers.late += 1

    def receive(self, answers: Answers, deadline_s: float) -> None:
        """Take in what came. ConnectionError where the server hung up."""
        now = time.perf_counter()
        for kind, stream, ends, payload in self.connection.read():
            if kind == DATA:
                self._good.add(stream)
            elif ends:
                found = self.open.pop(stream, None)
                good = stream in self._good
                self._good.discard(stream)
                if found is not None:
                    unseen = kind == RESET and payload == REFUSED_STREAM
                    self._ended(answers, found, now, deadline_s, good=good, unseen=unseen)

    def _ended(
        self, answers: Answers, call: tuple[float, bool], now: float, deadline_s: float, *, good: bool, unseen: bool
    ) -> None:
        arrival, again = call
        if good and now <= arrival + deadline_s:
            answers.latency_s.append(now - arrival)
        elif good:
            answers.late += 1
        elif unseen and not again:
            answers.again += 1
            self.queue.append((arrival, True))
        else:
            answers.refused += 1
