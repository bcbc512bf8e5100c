"""Connections and frames that no client library would send: the others are answered, and nothing is left behind."""

from __future__ import annotations

import struct
from socket import create_connection

import pytest

from loadtest.rig.raw_http2 import (
    CANCEL,
    CONTINUATION,
    END_HEADERS,
    HEADERS,
    RST,
    RawConnection,
    frame,
    literal,
)
from service.rpc import server as rpc_server
from service.rpc.server import Limits
from tests.rig.calls import SELECT, all_answer, port_of
from tests.rig.standin import Standin, served
from tests.rig.waiting import eventually


def test_streams_that_are_reset_at_once_are_refused_where_too_many_are_not_taken_down() -> None:
    with served(Standin(), Limits(connection=100)) as (channel, server), RawConnection(port_of(channel)) as link:
        block = link.headers(SELECT)
        for _ in range(20):
            out = bytearray()
            for _ in range(200):
                out += frame(HEADERS, END_HEADERS, link.next, block)
                out += frame(RST, 0, link.next, struct.pack(">I", CANCEL))
                link.next += 2
            link.send(bytes(out))
            link.take_in(0.0)
        all_answer(channel)
        queues = server._queues
        assert queues is not None
        eventually(lambda: not any(queue._open for queue in queues.all))


def test_headers_that_go_on_for_ever_end_their_stream() -> None:
    piece = b"".join(literal(f"x{number}", "y" * 100) for number in range(100))
    with served(Standin()) as (channel, _), RawConnection(port_of(channel)) as link:
        link.send(frame(HEADERS, 0, 1, link.headers(SELECT)))
        for _ in range(100):
            link.send(frame(CONTINUATION, 0, 1, piece))
        all_answer(channel)
        link.send(frame(CONTINUATION, END_HEADERS, 1, piece))
        eventually(lambda: not link.take_in(0.1) or 1 in link.ended)


def test_who_never_acknowledges_the_limits_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "grpc.http2.settings_timeout"
    monkeypatch.setattr(
        rpc_server, "OPTIONS", tuple((key, 300 if key == name else given) for key, given in rpc_server.OPTIONS)
    )
    with (
        served(Standin()) as (channel, _),
        RawConnection(port_of(channel), acknowledges=False) as silent,
        RawConnection(port_of(channel)) as speaks,
    ):
        eventually(lambda: not silent.take_in(0.1))
        assert speaks.take_in(0.1)
        all_answer(channel)


def test_a_connection_that_does_not_speak_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "grpc.server_handshake_timeout_ms"
    monkeypatch.setattr(
        rpc_server, "OPTIONS", tuple((key, 300 if key == name else given) for key, given in rpc_server.OPTIONS)
    )
    with served(Standin()) as (channel, _), RawConnection(port_of(channel)) as speaks:
        host, _, port = port_of(channel).rpartition(":")
        with create_connection((host, int(port)), timeout=30) as silent:
            while silent.recv(1000):
                pass
        assert speaks.take_in(0.1)
        all_answer(channel)


def test_one_connection_too_many_is_ended_and_a_freed_place_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_server, "CONNECTIONS", 3)
    with served(Standin()) as (channel, _):
        all_answer(channel)
        links = [RawConnection(port_of(channel)) for _ in range(3)]
        eventually(lambda: sum(link.take_in(0.1) for link in links) == 2)  # with the channel three
        all_answer(channel)
        for link in links:
            link.socket.close()

        def comes_in() -> bool:
            with RawConnection(port_of(channel)) as link:
                return link.take_in(1) and bool(link.seen)

        eventually(comes_in)
