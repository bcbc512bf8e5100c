"""Attacks on both HTTP ports. None has a key."""

from __future__ import annotations

import select
import socket
from contextlib import suppress

from loadtest.endurance.hostile.target import Target

LINKS = 50
PIECE = 64 << 10


def headers(target: Target) -> None:
    """Small headers without end."""
    piece = b"".join(b"x%d: y\r\n" % number for number in range(5000))
    _flood(target, b"GET /livez HTTP/1.1\r\nHost: x\r\n", piece)


def one_header(target: Target) -> None:
    """One header without end."""
    _flood(target, b"GET /livez HTTP/1.1\r\nHost: x\r\nx: ", b"y" * PIECE)


def urls(target: Target) -> None:
    """A path without end."""
    _flood(target, b"GET /", b"u" * PIECE)


def bodies(target: Target) -> None:
    """Bodies without end, in chunks."""
    head = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    _flood(target, head, b"%x\r\n" % PIECE + b" " * PIECE + b"\r\n")


def half_bodies(target: Target) -> None:
    """Requests whose body stops half way, and connections that say half a line."""
    links: list[socket.socket] = []
    for turn in target.turns(0.001):
        if len(links) >= 3000:
            links.pop(0).close()
        with suppress(OSError):
            links.append(_connect((target.web, target.operator)[turn % 2]))
            links[-1].send(
                b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{" if turn % 3 else b"GET /li"
            )
    for link in links:
        link.close()


def slow_readers(target: Target) -> None:
    """Requests by the hundred whose answers are not read."""
    links: list[socket.socket] = []
    asked = {target.web: b"GET /openapi.json", target.operator: b"GET /metrics"}
    for turn in target.turns(0.01):
        if len(links) >= 200:
            links.pop(0).close()
        address = (target.web, target.operator)[turn % 2]
        with suppress(OSError):
            links.append(_connect(address))
            links[-1].send((asked[address] + b" HTTP/1.1\r\nHost: x\r\n\r\n") * 200)
    for link in links:
        link.close()


def _connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    made = socket.create_connection((host, int(port)), timeout=1)
    made.setblocking(False)
    return made


def _flood(target: Target, head: bytes, piece: bytes) -> None:
    """Send `head`, then `piece` for ever, on many connections to both ports; those that end are opened again."""
    links: dict[socket.socket, str] = {}
    for turn in target.turns():
        if len(links) < LINKS:
            address = (target.web, target.operator)[turn % 2]
            with suppress(OSError):
                made = _connect(address)
                made.send(head)
                links[made] = address
        _, writable, _ = select.select([], list(links), [], 0.01)
        for link in writable:
            try:
                link.send(piece)
            except BlockingIOError:
                continue
            except OSError:
                del links[link]
                link.close()
    for link in links:
        link.close()
