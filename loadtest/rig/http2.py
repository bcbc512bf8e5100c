"""An open-loop caller of one unary gRPC method, cheap enough to ask for more than a server can give.

grpc's own Python client costs about as much CPU a call as the server; this speaks just enough HTTP/2 (RFC 9113) over
plaintext. Calls arrive when they arrive, whatever the answers do; each has a deadline, is counted as missed when that
passes, and waits here while the server's limit of concurrent streams is reached, as grpc's clients do. Answers are not
decoded: a unary call that went well carries a DATA frame, one that was refused carries none.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_MAX_STREAMS = 3  # number of that setting
_CANCEL = struct.pack(">I", 8)
_STEP_MS = 10  # deadlines are told in such steps, so that headers can be made once


@dataclass
class Answers:
    """What became of the calls: seconds from arrival to answer of those that went well, and counts of the others."""

    seconds: float = 0.0
    arrived: int = 0
    latency_s: list[float] = field(default_factory=list)
    refused: int = 0
    late: int = 0  # the deadline passed after it was sent
    unsent: int = 0  # the deadline passed while it waited here


class Caller:
    """Connections to `address` over which one request is sent again and again."""

    def __init__(self, address: str, path: str, message: bytes, connections: int, deadline_s: float) -> None:
        self._message = b"\0" + struct.pack(">I", len(message)) + message
        self._deadline_s = deadline_s
        self._links = [_Link(address, path) for _ in range(connections)]

    def close(self) -> None:
        """End all connections."""
        for link in self._links:
            link.socket.close()

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
                self._links[turn % len(self._links)].queue.append(arrival)
                turn += 1
            answers.arrived += len(arrivals)
            self._turn(answers, now)
            now = time.perf_counter()
        answers.seconds = seconds
        return answers

    def _turn(self, answers: Answers, now: float) -> None:
        for link in self._links:
            link.expire(answers, now, self._deadline_s)
            link.send(self._message, now, self._deadline_s)
        ready, _, _ = select.select([link.socket for link in self._links], [], [], 0.0005)
        for link in self._links:
            if link.socket in ready:
                link.receive(answers)


class _Link:
    """One connection."""

    def __init__(self, address: str, path: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host.strip("[]"), int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.open: dict[int, float] = {}  # stream to arrival, in the order they were sent
        self.queue: deque[float] = deque()
        self._good: set[int] = set()
        self._next = 1
        self._most = 100
        self._window = 65_535
        self._in = bytearray()
        self._headers: dict[int, bytes] = {}
        self._path, self._authority = path, address
        window = struct.pack(">I", 2**31 - 1 - 65_535)
        self._out = bytearray(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + _frame(_WINDOW, 0, 0, window))

    def send(self, message: bytes, now: float, deadline_s: float) -> None:
        """Send what waits, as far as the server lets us."""
        while self.queue and len(self.open) < self._most and self._window >= len(message):
            arrival = self.queue.popleft()
            left = max(1, round((arrival + deadline_s - now) * 1000 / _STEP_MS)) * _STEP_MS
            block = self._headers.get(left)
            if block is None:
                block = self._headers[left] = _block(self._path, self._authority, left)
            stream, self._next = self._next, self._next + 2
            self._out += _frame(_HEADERS, _END_HEADERS, stream, block) + _frame(_DATA, _END_STREAM, stream, message)
            self._window -= len(message)
            self.open[stream] = arrival
        if self._out:
            with contextlib.suppress(BlockingIOError):
                del self._out[: self.socket.send(self._out)]

    def expire(self, answers: Answers, now: float, deadline_s: float) -> None:
        """Give up on calls whose deadline has passed."""
        while self.queue and self.queue[0] + deadline_s < now:
            self.queue.popleft()
            answers.unsent += 1
        while self.open:
            stream, arrival = next(iter(self.open.items()))
            if arrival + deadline_s >= now:
                return
            del self.open[stream]
            self._good.discard(stream)
            self._out += _frame(_RST, 0, stream, _CANCEL)
            answers.late += 1

    def receive(self, answers: Answers) -> None:
        """Take in what came. ConnectionError where the server hung up."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._in += data
        now, at = time.perf_counter(), 0
        while len(self._in) - at >= 9:
            size = int.from_bytes(self._in[at : at + 3], "big")
            if len(self._in) - at < 9 + size:
                break
            kind, flags = self._in[at + 3], self._in[at + 4]
            stream = int.from_bytes(self._in[at + 5 : at + 9], "big")
            self._take(answers, now, kind, flags, stream, bytes(self._in[at + 9 : at + 9 + size]))
            at += 9 + size
        del self._in[:at]

    def _take(self, answers: Answers, now: float, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._good.add(stream)
        elif (kind == _HEADERS and flags & _END_STREAM) or kind == _RST:
            arrival = self.open.pop(stream, None)
            good = stream in self._good
            self._good.discard(stream)
            if arrival is not None and good:
                answers.latency_s.append(now - arrival)
            elif arrival is not None:
                answers.refused += 1
        elif kind == _WINDOW and stream == 0:
            self._window += int.from_bytes(payload, "big")
        elif kind == _SETTINGS and not flags & _ACK:
            for number, value in struct.iter_unpack(">HI", payload):
                self._most = value if number == _MAX_STREAMS else self._most
            self._out += _frame(_SETTINGS, _ACK, 0, b"")
        elif kind == _PING and not flags & _ACK:
            self._out += _frame(_PING, _ACK, 0, payload)
        elif kind == _GOAWAY:
            raise ConnectionError("the server renews its connections; run it shorter")


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def _block(path: str, authority: str, timeout_ms: int) -> bytes:
    """Header fields as HPACK literals (RFC 7541, 6.2.2) without compression: no state to keep."""
    fields = (
        (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", authority), ("te", "trailers"),
        ("content-type", "application/grpc"), ("grpc-timeout", f"{timeout_ms}m"),
    )  # fmt: skip
    return b"".join(b"\0" + bytes((len(n),)) + n.encode() + bytes((len(v),)) + v.encode() for n, v in fields)
