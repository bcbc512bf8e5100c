"""One HTTP/2 connection whose frames are the caller's own, whole or not: what a peer may send that no library would.

Plaintext (RFC 9113). It answers SETTINGS and PING, so that the other side has nothing to object to but what was asked for.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from collections import Counter
from typing import Self

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW = 4  # number of that setting
CANCEL = 8
FRAME_BYTES = 16_384


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def literal(name: str, value: str) -> bytes:
    """A header field as an HPACK literal (RFC 7541, 6.2.2) without compression: no state to keep."""
    return b"\0" + _text(name) + _text(value)


def _text(text: str) -> bytes:
    raw = text.encode()
    if len(raw) < 127:
        return bytes((len(raw),)) + raw
    size, left = bytearray((127,)), len(raw) - 127
    while left >= 128:
        size.append(left % 128 + 128)
        left //= 128
    return bytes((*size, left)) + raw


def message(data: bytes, *, compressed: bool = False) -> bytes:
    """A gRPC message with its prefix."""
    return bytes((compressed,)) + struct.pack(">I", len(data)) + data


class RawConnection:
    """Streams are opened by number, odd ones upwards."""

    def __init__(self, address: str, window: int | None = None, *, acknowledges: bool = True) -> None:
        """`window`: bytes of every answer that this side takes; 0: none is ever read.

        Not `acknowledges`: the other side is never told that its SETTINGS are in force, so to it they are not.
        """
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        settings = b"" if window is None else struct.pack(">HI", INITIAL_WINDOW, window)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
        self.authority = address
        self._acknowledges = acknowledges
        self.next = 1
        self.seen: Counter[int] = Counter()  # frames by kind
        self.ended: set[int] = set()  # streams that the other side ended
        self.closed = False
        self._got = bytearray()
        self._window = self._initial = 65_535  # bytes that the other side takes: on the connection, on a new stream
        self._windows: dict[int, int] = {}
        self._pending: dict[int, tuple[memoryview, int]] = {}  # what streams have to send still, and the last flags

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def headers(self, path: str, *extra: tuple[str, str]) -> bytes:
        """The block of a call's header fields."""
        fields = (
            (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", self.authority), ("te", "trailers"),
            ("content-type", "application/grpc"), *extra,
        )  # fmt: skip
        return b"".join(literal(name, value) for name, value in fields)

    def open(self, path: str, *extra: tuple[str, str], data: bytes | None = None, end: bool = False) -> int:
        """A stream with headers, and `data` if there is any; its number. Not `end`: this side leaves it open."""
        stream, self.next = self.next, self.next + 2
        last = END_STREAM if end else 0
        self.send(frame(HEADERS, END_HEADERS | (last if data is None else 0), stream, self.headers(path, *extra)))
        if data is not None:
            self._windows[stream] = self._initial
            self._pending[stream] = memoryview(data), last
            self._flush()
        return stream

    def _flush(self) -> None:
        """Send what the other side's windows allow."""
        for stream, (rest, last) in list(self._pending.items()):
            data, out = rest, bytearray()
            while data and (room := min(self._window, self._windows[stream], FRAME_BYTES)) > 0:
                part, data = data[:room], data[room:]
                out += frame(DATA, 0 if data else last, stream, bytes(part))
                self._window -= len(part)
                self._windows[stream] -= len(part)
            if data and stream not in self.ended:
                self._pending[stream] = data, last
            else:
                del self._pending[stream]
            if out:
                self.send(bytes(out))

    def send(self, data: bytes) -> bool:
        """Send, taking in meanwhile what comes; whether the connection is still there."""
        left = memoryview(data)
        while left and not self.closed:
            readable, writable, _ = select.select([self.socket], [self.socket], [], 10)
            if readable:
                self._receive()
            if writable and not self.closed:
                try:
                    left = left[self.socket.send(left[: 1 << 20]) :]
                except OSError:
                    self.closed = True
            if not readable and not writable:
                break
        return not self.closed

    def take_in(self, seconds: float) -> bool:
        """Take in what comes within so long; whether the connection is still there."""
        if not self.closed and select.select([self.socket], [], [], seconds)[0]:
            self._receive()
            self._flush()
        return not self.closed

    def _receive(self) -> None:
        try:
            got = self.socket.recv(1 << 18)
        except OSError:
            got = b""
        self.closed |= not got
        self._got += got
        while len(self._got) >= 9:
            size = int.from_bytes(self._got[:3], "big")
            if len(self._got) < 9 + size:
                return
            kind, flags, stream = self._got[3], self._got[4], int.from_bytes(self._got[5:9], "big")
            payload = bytes(self._got[9 : 9 + size])
            del self._got[: 9 + size]
            self._frame(kind, flags, stream, payload)

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self.seen[kind] += 1
        if kind in (RST, HEADERS) and (kind == RST or flags & END_STREAM):
            self.ended.add(stream)
        elif kind == WINDOW:
            more = int.from_bytes(payload, "big")
            if stream:
                self._windows[stream] = self._windows.get(stream, self._initial) + more
            else:
                self._window += more
        elif kind in (SETTINGS, PING) and not flags & ACK:
            for number, value in struct.iter_unpack(">HI", payload if kind == SETTINGS else b""):
                self._initial = value if number == INITIAL_WINDOW else self._initial
            if kind == SETTINGS and not self._acknowledges:
                return
            with contextlib.suppress(OSError):
                self.socket.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
