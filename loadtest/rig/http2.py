"""Just enough HTTP/2 (RFC 9113) over plaintext to make unary gRPC calls: some 30 us of client a call.

grpc's own Python client costs about as much CPU a call as the server that it is to measure. Here a call is a constant
block of headers and its body. A unary call that went well carries DATA, one that was refused carries none.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import urllib.parse
from collections.abc import Iterator

import grpc

DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
MAX_STREAMS = 3  # number of that setting
WIDE = 2**31 - 1
# HEADER_TABLE_SIZE 0: answers need no table to be read; INITIAL_WINDOW_SIZE: answers are never held back.
UNHELD = struct.pack(">HIHI", 1, 0, 4, WIDE)
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
REFUSED_STREAM = struct.pack(">I", 7)  # the code of a reset: nothing was done, it may be sent again (RFC 9113, 8.7)
_CANCEL = struct.pack(">I", 8)
_GRANT = 1 << 30  # bytes read until the server's window is widened again


class Connection:
    """One connection. Calls are queued by `call` and leave with `flush`; `read` brings what is said of them."""

    def __init__(self, address: str, settings: bytes = b"", *, blocking: bool = True) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host.strip("[]"), int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(blocking)
        self.window = 65_535  # bytes that the server still takes
        self.most = 100  # calls that it takes at a time
        self._authority, self._blocking = address, blocking
        self._blocks: dict[tuple[str, int], bytes] = {}
        self._stream = 1
        self._in = b""
        self._granted = 0  # bytes read since the server's window was last widened
        self._out = bytearray(_PREFACE + frame(SETTINGS, 0, 0, settings))
        self._out += frame(WINDOW, 0, 0, struct.pack(">I", WIDE - 65_535))

    def call(self, path: str, data: bytes, timeout_ms: int = 0) -> int:
        """Queue a call with this body; 0: without a deadline. Its stream."""
        block = self._blocks.get((path, timeout_ms))
        if block is None:
            block = self._blocks[path, timeout_ms] = header_block(path, self._authority, timeout_ms)
        stream, self._stream = self._stream, self._stream + 2
        self.window -= len(data)
        self._out += frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, END_STREAM, stream, data)
        return stream

    def cancel(self, stream: int) -> None:
        """Queue that nobody waits for this call any more."""
        self._out += frame(RESET, 0, stream, _CANCEL)

    def flush(self) -> None:
        """Send what is queued, as much as there is room for if the connection does not block."""
        if self._blocking:
            self.socket.sendall(self._out)
            self._out.clear()
        elif self._out:
            with contextlib.suppress(BlockingIOError):
                del self._out[: self.socket.send(self._out)]

    def read(self) -> Iterator[tuple[int, int, bool, bytes]]:
        """Receive once: (kind, stream, whether the stream ends, payload) of each DATA, HEADERS and RESET.

        ConnectionError where the server hung up or says that it will.
        """
        got = self.socket.recv(1 << 18)
        if not got:
            raise ConnectionError("the server closed the connection")
        data, at = self._in + got, 0
        while len(data) - at >= 9:
            head, flags, stream = struct.unpack_from(">IBI", data, at)
            end = at + 9 + (head >> 8)
            if end > len(data):
                break
            kind, payload = head & 255, data[at + 9 : end]
            if kind in (DATA, HEADERS, RESET):
                self._granted += len(payload)
                yield kind, stream, kind == RESET or bool(flags & END_STREAM), payload
            else:
                self._answer(kind, flags, stream, payload)
            at = end
        self._in = data[at:]
        if self._granted > _GRANT:
            self._out += frame(WINDOW, 0, 0, struct.pack(">I", self._granted))
            self._granted = 0
        if self._out:
            self.flush()

    def _answer(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """What concerns the connection."""
        if kind == WINDOW and stream == 0:
            self.window += int.from_bytes(payload, "big")
        elif kind == SETTINGS and not flags & ACK:
            for number, value in struct.iter_unpack(">HI", payload):
                self.most = value if number == MAX_STREAMS else self.most
            self._out += frame(SETTINGS, ACK, 0)
        elif kind == PING and not flags & ACK:
            self._out += frame(PING, ACK, 0, payload)
        elif kind == GOAWAY:
            raise ConnectionError(f"the server says goodbye: {payload[8:].decode('utf-8', 'replace')}")


def ending(kind: int, payload: bytes) -> str:
    """How a call ended of which these are the last frame's kind and payload: the name of a gRPC status and what it says.

    Of a block of header fields only literals are read, which is all that grpc sends to who keeps no table.
    """
    if kind == RESET:
        return f"reset by the server, error {int.from_bytes(payload, 'big')}"
    status, message = (_literal(payload, name) for name in (b"grpc-status", b"grpc-message"))
    known = next(
        (code.name for code in grpc.StatusCode if str(code.value[0]) == status), f"status {status or 'unknown'}"
    )
    return f"{known}: {urllib.parse.unquote(message)}" if message else known


def _literal(block: bytes, name: bytes) -> str:
    """The value of a header field that is an HPACK literal with its name and without Huffman coding; else empty."""
    before, _, after = block.partition(bytes([len(name)]) + name)
    if len(before) == len(block) or not after:
        return ""
    size, at = after[0], 1
    if size == 127:  # RFC 7541, 5.1; a value of 16,384 or more is not to be expected
        size, at = 127 + (after[1] & 127) + (after[2] << 7 if after[1] & 128 else 0), 3 if after[1] & 128 else 2
    return after[at : at + size].decode("ascii", "replace")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame."""
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def body(message: bytes) -> bytes:
    """A message as gRPC puts it into a body."""
    return b"\0" + struct.pack(">I", len(message)) + message


def header_block(path: str, authority: str, timeout_ms: int = 0) -> bytes:
    """HPACK without tables to keep: :method POST, :scheme http, then literals (RFC 7541, 6.2.2)."""

    def text(value: str) -> bytes:
        return bytes([len(value)]) + value.encode()

    named = b"\x04" + text(path) + b"\x01" + text(authority)
    deadline = b"\x00" + text("grpc-timeout") + text(f"{timeout_ms}m") if timeout_ms else b""
    return (
        b"\x83\x86"
        + named
        + b"\x0f\x10"
        + text("application/grpc")
        + b"\x00"
        + text("te")
        + text("trailers")
        + deadline
    )
