"""Heads that were read before: whatever the bytes are and however they are cut, the answers are those of the parser."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from service.http.app import WebApp
from service.http.fast_protocol import FastProtocol
from service.http.handlers.backend import Backend
from service.http.heads import END, LONGEST, MOST, Heads
from service.http.messages import Reply
from service.http.route import Route
from service.telemetry.metrics import Metrics

ROUTE = Route("any", "POST", lambda _: Reply(200))
FLAG = b'{"context":{"targetingKey":"ann"}}'
START = b"POST /ofrep/v1/evaluate/flags/%b HTTP/1.1\r\nHost: x\r\n"


def asked(name: bytes = b"hero", *lines: bytes, body: bytes = FLAG, length: bytes | None = None) -> bytes:
    size = b"Content-Length: %d\r\n" % len(body) if length is None else length
    return START % name + size + b"".join(lines) + b"\r\n" + body


KEPT = (
    asked(),
    asked(b"hero", b"If-None-Match: *\r\n"),
    asked(b"none", b"X-Api-Key: a\r\n", body=b"{}"),
    asked(b"no-json", body=b"not JSON"),
    asked(b"hero", b"Origin: https://elsewhere.example\r\n"),
    asked(b"hero", length=b"Content-Length: 0\r\n", body=b""),
    b"POST /v1/select HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
)
NOT_KEPT = (
    asked(b"he%72o"),
    asked(b"hero?key=a"),
    asked(b"hero", b"Transfer-Encoding: chunked\r\n", length=b"", body=b"22\r\n" + FLAG + b"\r\n0\r\n\r\n"),
    asked(b"hero", length=b"", body=b""),
    asked(b"hero", b"X: " + b"a" * LONGEST + b"\r\n"),
    asked(b"hero", b"Connection: close\r\n"),
    asked(b"hero", b"Expect: 100-continue\r\n"),
    b"\r\n\r\n" + asked(),
    asked().replace(b"\r\nHost", b"\nHost"),
    asked().replace(b"\r\n\r\n", b"\n\r\n"),
    asked().replace(b"\r\n\r\n", b"\r\n\n\r\n"),
    asked(b"hero", b"Content-Length: 1\r\n"),
    asked(b"hero", b"Transfer-Encoding: chunked\r\n"),
    asked(b"hero", length=b"Content-Length: +34\r\n"),
    b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
)


async def _answers(app: WebApp, pieces: list[bytes], stopping: bool = False) -> bytes:
    """All that is sent back on one connection; `stopping`: the port closes within the turn in which it answers."""
    config = uvicorn.Config(app, http=FastProtocol, ws="none", lifespan="off", log_config=None, date_header=False)
    config.load()
    state, loop = ServerState(), asyncio.get_running_loop()
    made: Any = FastProtocol
    if stopping:
        answer = app.at_once

        def at_once(*asked: Any) -> Reply:
            for connection in state.connections:
                loop.call_soon(connection.shutdown)
            return answer(*asked)

        vars(app)["at_once"] = at_once
    server = await loop.create_server(lambda: made(config=config, server_state=state, app_state={}), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        if not stopping:
            writer.write(asked(b"last", b"Connection: close\r\n"))
        got = b""
        with contextlib.suppress(ConnectionError):
            got = await asyncio.wait_for(reader.read(), 20)
        writer.close()
    return got


@pytest.fixture(scope="module")
def apps() -> Any:
    """One that keeps heads, and one that knows none."""
    keeps, plain = WebApp(Backend(), None, Metrics()), WebApp(Backend(), None, Metrics())
    plain.heads.note = lambda *_: None  # type: ignore[method-assign]
    for request in (*KEPT, *NOT_KEPT) * 3:  # so that what may be kept is
        asyncio.run(_answers(keeps, [request]))
    known = [request for request in (*KEPT, *NOT_KEPT) if keeps.heads.get(request[: request.find(END) + len(END)])]
    assert known == [*KEPT]
    yield keeps, plain
    keeps.close()
    plain.close()


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(KEPT) | st.sampled_from(NOT_KEPT), min_size=1, max_size=6),
    st.lists(st.integers(1, 400), max_size=6),
)
def test_the_answers_are_those_of_the_parser(apps: Any, requests: list[bytes], cuts: list[int]) -> None:
    sent, pieces = b"".join(requests), []
    for cut in cuts:
        pieces.append(sent[:cut])
        sent = sent[cut:]
    keeps, plain = apps
    assert asyncio.run(_answers(keeps, [*pieces, sent])) == asyncio.run(_answers(plain, [*pieces, sent]))


def test_a_head_that_came_twice_is_not_parsed_again() -> None:
    app = WebApp(Backend(), None, Metrics())
    try:
        for _ in range(2):
            asyncio.run(_answers(app, [asked(b"hero")]))
        known = app.heads.get(asked(b"hero")[: -len(FLAG)])
        assert known is not None
        assert (known.tail, known.size, known.headers[b"host"]) == ("hero", len(FLAG), b"x")
    finally:
        app.close()


@pytest.mark.parametrize(
    ("behind", "status"), [(b"noise\r\n\r\n", b"400"), (START % b"a" + b"Content-Length: 9999999\r\n\r\n", b"413")]
)
def test_what_was_answered_is_sent_before_the_connection_ends(behind: bytes, status: bytes) -> None:
    app = WebApp(Backend(), None, Metrics())
    try:
        for _ in range(3):
            got = asyncio.run(_answers(app, [asked() + behind]))
            assert re.findall(rb"HTTP/1.1 (\d{3})", got) == [b"200", status]
        assert asyncio.run(_answers(app, [asked()], stopping=True)).startswith(b"HTTP/1.1 200 ")
    finally:
        app.close()


def test_what_comes_once_drives_nothing_away_and_the_number_is_bounded() -> None:
    heads = Heads()

    def come(name: str, times: int) -> bytes:
        head = f"POST /{name} HTTP/1.1\r\ncontent-length: 2\r\n\r\n".encode()
        for _ in range(times):
            heads.note(head, ROUTE, "", [(b"content-length", b"2")], 2)
        return head

    steady = come("steady", 2)
    for i in range(3 * MOST):
        come(f"once/{i}", 1)
    assert heads.get(steady) is not None
    newer = [come(f"twice/{i}", 2) for i in range(MOST)]
    assert heads.get(steady) is None
    assert all(heads.get(head) is not None for head in newer)


@pytest.mark.parametrize("end", [b"\n\r\n\r\n", b"\r\r\n\r\n", b"\r\n\r\n\r\n", b"\r\n"])
def test_a_head_with_doubtful_ends_is_not_kept(end: bytes) -> None:
    heads = Heads()
    for ending, kept in ((end, False), (END, True)):
        head = b"POST / HTTP/1.1\r\ncontent-length: 2" + ending
        for _ in range(2):
            heads.note(head, ROUTE, "", [(b"content-length", b"2")], 2)
        assert (heads.get(head) is not None) == kept
