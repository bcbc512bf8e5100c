"""Both HTTP ports: what is too large or too slow ends with a status that says so, and nobody else notices."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from prometheus_client import CollectorRegistry

from service.http import bounded, protocol
from service.http.app import WebApp
from service.http.handlers.backend import Backend
from service.http.operator_port import OperatorPort
from service.telemetry.exposition import Exposition
from service.telemetry.metrics import Metrics
from tests.rig.waiting import eventually

LIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
PORTS = ["web", "operator"]


class Port:
    """A port served by a thread of this process, so that its times can be made short."""

    def __init__(self, kind: str) -> None:
        self.web = WebApp(Backend(), None, Metrics())
        app: Any = self.web if kind == "web" else OperatorPort(Exposition(CollectorRegistry()))
        made = protocol.protocol(fast=kind == "web")
        config = uvicorn.Config(app, http=made, ws="none", lifespan="off", log_config=None, access_log=False)
        self.server = uvicorn.Server(config)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = self.socket.getsockname()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.server.serve(sockets=[self.socket])))

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=30)

    def ask(self, *pieces: bytes) -> list[int]:
        """The statuses that come back for these pieces until the server is through."""
        with self.connect() as link:
            for piece in pieces:
                try:
                    link.sendall(piece)
                except OSError:
                    break
            return statuses(link)

    @property
    def open(self) -> int:
        return len(self.server.server_state.connections)


def statuses(link: socket.socket) -> list[int]:
    got = b""
    try:
        while part := link.recv(65536):
            got += part
    except ConnectionError:
        pass
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", got)]


@contextmanager
def port(kind: str) -> Iterator[Port]:
    made = Port(kind)
    made.thread.start()
    try:
        eventually(lambda: made.server.started)
        yield made
    finally:
        made.server.should_exit = True
        made.thread.join(30)
        made.web.close()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """All times are short."""
    for name in ("HEAD_S", "PROGRESS_S", "DRAIN_S"):
        monkeypatch.setattr(bounded, name, 0.2)
    monkeypatch.setattr(bounded, "_LOOK_S", 0.05)


HEAD = b"POST /v1/select HTTP/1.1\r\nHost: x\r\n"
SIZES: dict[str, tuple[int, list[bytes]]] = {
    "url": (414, [b"GET /" + b"u" * 9000, b"u" * 9000]),
    "url in one piece": (414, [b"GET /" + b"u" * 9000 + b" HTTP/1.1\r\n\r\n"]),
    "one large header": (431, [HEAD + b"x: ", *([b"y" * 10_000] * 5)]),
    "many headers": (431, [HEAD + b"".join(b"x%d: y\r\n" % i for i in range(200)) + b"\r\n"]),
    "large headers": (431, [HEAD + b"".join(b"x%d: %b\r\n" % (i, b"y" * 1000) for i in range(40)) + b"\r\n"]),
    "trailers": (431, [HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n", b"x: y\r\n" * 200]),
    "a body of a known size": (413, [HEAD + b"Content-Length: 99999999\r\n\r\n"]),
    "a body of an absurd size": (413, [HEAD + b"Content-Length: 9999999999999999999\r\n\r\n"]),
    "a body in chunks": (413, [HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *([b"80000\r\n" + b" " * 0x80000 + b"\r\n"] * 5)]),
}  # fmt: skip


@pytest.mark.parametrize("kind", PORTS)
def test_what_is_too_large_ends_with_its_status(hurried: None, kind: str) -> None:
    with port(kind) as served:
        for name, (status, pieces) in SIZES.items():
            got = served.ask(*pieces)
            # A body's size may be found when an answer to its headers went out already.
            assert got[-1:] == [status] or (name.startswith(("a body", "trailers")) and got), name
        eventually(lambda: served.open == 0)
        assert served.ask(LIVE.replace(b"Host", b"Connection: close\r\nHost"))[0] in (200, 404)


@pytest.mark.parametrize("kind", PORTS)
def test_what_does_not_come_ends_with_a_timeout(hurried: None, kind: str) -> None:
    body = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
    choice = body.replace(b"events", b"select")
    with port(kind) as served:
        assert served.ask(b"") == []  # nothing at all: nothing to say
        assert served.ask(b"GET /livez HT") == [408]
        assert served.ask(LIVE[:-2]) == [408]
        for half in (body, body + b"{", choice, choice + b"{"):
            assert served.ask(half)[-1] in (408, 405)
        eventually(lambda: served.open == 0)


def test_a_body_that_trickles_ends_with_its_request(hurried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "REQUEST_S", 0.5)
    with port("web") as served, served.connect() as link:
        link.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
        sent = 0
        while served.open:
            try:
                link.sendall(b" ")
            except OSError:
                break
            sent += 1
            assert sent < 600, "it trickles for ever"
            time.sleep(0.05)
        eventually(lambda: served.open == 0)


@pytest.mark.parametrize("kind", PORTS)
def test_one_connection_too_many_ends_the_one_that_waits_the_longest(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(bounded, "MOST", 8)
    with port(kind) as served:
        links = [served.connect() for _ in range(8)]
        eventually(lambda: served.open == 8)
        for _ in range(3):  # each is answered, whoever holds the others
            newest = served.connect()
            newest.sendall(LIVE)
            assert newest.recv(20).startswith(b"HTTP/1.1 ")
            links.append(newest)
        eventually(lambda: served.open == 8)
        assert [statuses(link) for link in links[:3]] == [[]] * 3
        for link in links:
            link.close()


def test_an_answer_that_nobody_reads_is_given_up(hurried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "ANSWER_S", 0.2)
    monkeypatch.setattr(bounded, "IDLE_S", 3600)
    with port("web") as served, socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.connect(served.address)
        link.settimeout(1)
        try:
            for _ in range(2000):
                link.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 10)
        except OSError:
            pass
        eventually(lambda: served.open == 0)
