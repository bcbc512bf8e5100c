"""Unary gRPC calls at times fixed in advance.

An answer is timed when its last frame is read. Latency counts from the time a call was *meant* to be sent, so a
stalled server is charged for every call that should have gone out meanwhile (no coordinated omission).
"""

from __future__ import annotations

import select
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from loadtest.rig.http2 import DATA, HEADERS, UNHELD, Connection, body, ending

MOST_OPEN = 90  # calls on a connection; Lever's own bound is 100


@dataclass
class Call:
    """A method and the messages to send it, one after the other, from the first again at the end."""

    path: str
    messages: Sequence[bytes]
    sent: int = 0

    def next(self) -> bytes:
        """The next message."""
        self.sent += 1
        return self.messages[(self.sent - 1) % len(self.messages)]


@dataclass
class Answers:
    """What came of a schedule: seconds from the intended time to the answer's end, nan where it failed."""

    latencies: NDArray[np.float64]
    bodies: dict[int, bytes] = field(default_factory=dict)  # message of call i, where asked for
    endings: Counter[str] = field(default_factory=Counter)  # how those ended that failed

    @property
    def failed(self) -> int:
        """Calls that were answered by an error, or not at all."""
        return int(np.isnan(self.latencies).sum())

    def told(self) -> str:
        """How many failed and why, for people."""
        why = ", ".join(f"{count:,} {ending}" for ending, count in self.endings.most_common())
        return (
            f"{self.failed:,} of {len(self.latencies):,} calls failed: {why}. The slowest answer took"
            f" {np.nanmax(self.latencies, initial=0.0):.2f} s"
        )


class Wire:
    """Some connections to one server: a server takes a bounded number of calls on each."""

    def __init__(self, address: str, connections: int = 8) -> None:
        self._lines = [_Line(address) for _ in range(connections)]

    def close(self) -> None:
        """Hang up."""
        for line in self._lines:
            line.connection.socket.close()

    def drive(
        self, times: Sequence[float], calls: Sequence[Call], keep: bool = False, patience_s: float = 5.0
    ) -> Answers:
        """Send call i at `times[i]` seconds from now, ascending; return when all are answered or patience ends."""
        answers = Answers(np.full(len(times), np.nan))
        begun = time.perf_counter()
        by_socket = {line.connection.socket: line for line in self._lines}
        sent, total = 0, len(times)
        while sent < total or any(line.open for line in self._lines):
            now = time.perf_counter() - begun
            line = self._lines[sent % len(self._lines)]
            free = sent < total and line.free  # else it waits here, which its latency will tell
            if free and times[sent] <= now:
                line.send(sent, times[sent], calls[sent])
                sent += 1
                continue
            wait = times[sent] - now if free else patience_s
            readable, _, _ = select.select(list(by_socket), [], [], max(0.0, wait))
            for one in readable:
                by_socket[one].read(answers, begun, keep)
            if not readable and not free:
                break
        for line in self._lines:
            answers.endings[f"without an answer after {patience_s:.0f} s"] += len(line.open)
            line.open.clear()
        answers.endings["never sent"] += total - sent
        answers.endings = +answers.endings
        return answers


class _Line:
    """One connection."""

    def __init__(self, address: str) -> None:
        self.connection = Connection(address, UNHELD)
        self.connection.flush()
        self.open: dict[int, tuple[int, float]] = {}  # stream -> (number of the call, when it was meant to go)
        self._answered: dict[int, list[bytes]] = {}

    @property
    def free(self) -> bool:
        """Whether the server takes another call here."""
        return self.connection.window > 20_000 and len(self.open) < MOST_OPEN

    def send(self, number: int, meant: float, call: Call) -> None:
        stream = self.connection.call(call.path, body(call.next()))
        self.open[stream] = (number, meant)
        self.connection.flush()

    def read(self, answers: Answers, begun: float, keep: bool) -> None:
        """Take in what came. ConnectionError where the server hung up."""
        for kind, stream, ends, payload in self.connection.read():
            if kind == DATA:
                self._answered.setdefault(stream, []).append(payload)
            elif ends:
                number, meant = self.open.pop(stream, (-1, 0.0))
                parts = self._answered.pop(stream, None)
                if number < 0:
                    continue  # of a schedule that was given up
                if kind == HEADERS and parts is not None:  # an error has no message
                    answers.latencies[number] = time.perf_counter() - begun - meant
                    if keep:
                        answers.bodies[number] = b"".join(parts)[5:]
                else:
                    answers.endings[ending(kind, payload)] += 1


def poisson(rng: np.random.Generator, rate: float, seconds: float) -> list[float]:
    """Send times of a Poisson stream of `rate` a second, fixed in advance."""
    gaps = rng.exponential(1.0 / rate, int(rate * seconds))
    return np.cumsum(gaps).tolist()  # type: ignore[no-any-return]
