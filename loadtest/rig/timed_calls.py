"""Unary gRPC calls at times fixed in advance, over one plain HTTP/2 connection: some 30 us of client a call.

A Python gRPC client costs more than the server it measures. Here a call is a constant block of headers and its body;
an answer is timed when its last frame is read. Latency counts from the time a call was *meant* to be sent, so a
stalled server is charged for every call that should have gone out meanwhile (no coordinated omission). RFC 9113.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from loadtest.rig.h2load import frame

DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
WIDE = 2**31 - 1
MOST_OPEN = 90  # calls on a connection; Lever's own bound is 100
# HEADER_TABLE_SIZE 0: answers need no decoder of ours; INITIAL_WINDOW_SIZE: answers are never held back.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS = struct.pack(">HIHI", 1, 0, 4, WIDE)


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def _header_block(path: str, authority: str) -> bytes:
    """HPACK without tables: :method POST, :scheme http, then literals (RFC 7541)."""

    def text(value: str) -> bytes:
        return bytes([len(value)]) + value.encode()

    named = b"\x04" + text(path) + b"\x01" + text(authority)
    return b"\x83\x86" + named + b"\x0f\x10" + text("application/grpc") + b"\x00" + text("te") + text("trailers")


class WireError(Exception):
    """The server ended the connection or broke the protocol."""


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

    @property
    def failed(self) -> int:
        """Calls that were answered by an error, or not at all."""
        return int(np.isnan(self.latencies).sum())


class Wire:
    """Some connections to one server: a server takes a bounded number of calls on each."""

    def __init__(self, address: str, connections: int = 8) -> None:
        self._lines = [_Line(address) for _ in range(connections)]

    def close(self) -> None:
        """Hang up."""
        for line in self._lines:
            line.socket.close()

    def drive(
        self, times: Sequence[float], calls: Sequence[Call], keep: bool = False, patience_s: float = 5.0
    ) -> Answers:
        """Send call i at `times[i]` seconds from now, ascending; return when all are answered or patience ends."""
        answers = Answers(np.full(len(times), np.nan))
        begun = time.perf_counter()
        by_socket = {line.socket: line for line in self._lines}
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
            line.open.clear()
        return answers


class _Line:
    """One connection."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._authority = address
        self._blocks: dict[str, bytes] = {}
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(_HELLO + _frame(SETTINGS, 0, 0, _SETTINGS) + _frame(WINDOW, 0, 0, _open(WIDE - 65535)))
        self._unread = b""
        self._stream = 1
        self._window = 65535  # bytes the server still takes on this connection
        self._granted = 0  # bytes we have read since we last widened the server's window
        self.open: dict[int, tuple[int, float]] = {}  # stream -> (number of the call, when it was meant to go)
        self._answered: dict[int, list[bytes]] = {}

    @property
    def free(self) -> bool:
        """Whether the server takes another call here."""
        return self._window > 20_000 and len(self.open) < MOST_OPEN

    def send(self, number: int, meant: float, call: Call) -> None:
        block = self._blocks.get(call.path)
        if block is None:
            block = self._blocks[call.path] = _header_block(call.path, self._authority)
        body = frame(call.next())
        stream, self._stream = self._stream, self._stream + 2
        self.open[stream] = (number, meant)
        self._window -= len(body)
        self.socket.sendall(_frame(HEADERS, END_HEADERS, stream, block) + _frame(DATA, END_STREAM, stream, body))

    def read(self, answers: Answers, begun: float, keep: bool) -> None:
        got = self.socket.recv(1 << 18)
        if not got:
            message = "the server hung up"
            raise WireError(message)
        data, at = self._unread + got, 0
        while len(data) - at >= 9:
            head, flags, stream = struct.unpack_from(">IBI", data, at)
            end = at + 9 + (head >> 8)
            if end > len(data):
                break
            self._take(head & 255, flags, stream, data[at + 9 : end], answers, begun, keep)
            at = end
        self._unread = data[at:]

    def _take(
        self, kind: int, flags: int, stream: int, payload: bytes, answers: Answers, begun: float, keep: bool
    ) -> None:
        if kind == DATA:
            self._answered.setdefault(stream, []).append(payload)
            self._granted += len(payload)
            if self._granted > 1 << 30:
                self.socket.sendall(_frame(WINDOW, 0, 0, _open(self._granted)))
                self._granted = 0
        elif kind in {HEADERS, RESET} and (kind == RESET or flags & END_STREAM):
            number, meant = self.open.pop(stream, (-1, 0.0))
            body = self._answered.pop(stream, None)
            if kind == HEADERS and body is not None and number >= 0:  # an error has no message
                answers.latencies[number] = time.perf_counter() - begun - meant
                if keep:
                    answers.bodies[number] = b"".join(body)[5:]
        elif kind == WINDOW and stream == 0:
            self._window += struct.unpack(">I", payload)[0]
        elif kind == SETTINGS and not flags & ACK:
            self.socket.sendall(_frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.socket.sendall(_frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            raise WireError(f"the server says goodbye: {payload[8:].decode('utf-8', 'replace')}")


def _open(bytes_more: int) -> bytes:
    return struct.pack(">I", bytes_more)


def poisson(rng: np.random.Generator, rate: float, seconds: float) -> list[float]:
    """Send times of a Poisson stream of `rate` a second, fixed in advance."""
    gaps = rng.exponential(1.0 / rate, int(rate * seconds))
    return np.cumsum(gaps).tolist()  # type: ignore[no-any-return]
