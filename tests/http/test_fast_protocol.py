"""The shorter way through uvicorn: its faults are one request's, and without it uvicorn's own way answers the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
import uvicorn
from structlog.testing import capture_logs
from uvicorn.server import ServerState

from service.http import fast_protocol, protocol
from service.http.app import WebApp
from service.http.fast_protocol import FastProtocol
from service.http.handlers.backend import Backend
from service.process import fast_path
from service.telemetry.metrics import Metrics

FLAG = b'{"context":{"targetingKey":"ann"}}'
ASK = b"POST /ofrep/v1/evaluate/flags/hero HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(FLAG), FLAG)
DOCUMENT = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"


async def _talk(app: WebApp, requests: tuple[bytes, ...]) -> list[tuple[int, bytes]]:
    """Status and body of each request, one after the other on one connection."""
    config = uvicorn.Config(app, http=protocol.protocol(), ws="none", lifespan="off", log_config=None)
    config.load()
    make: Any = config.http_protocol_class
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: make(config=config, server_state=state, app_state={}), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        got = []
        for request in requests:
            writer.write(request)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
            (size,) = (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            got.append((int(head[9:12]), await reader.readexactly(size)))
        writer.close()
        await writer.wait_closed()
    return got


def talk(metrics: Metrics, *requests: bytes) -> list[tuple[int, bytes]]:
    app = WebApp(Backend(), None, metrics)
    try:
        return asyncio.run(_talk(app, requests))
    finally:
        app.close()


def faulty(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    """A function raises the first two times that it is called."""
    whole, left = getattr(owner, name), [1, 1]

    def broken(*given: Any) -> Any:
        if left:
            left.pop()
            raise RuntimeError("a fault of ours")
        return whole(*given)

    monkeypatch.setattr(owner, name, broken)


def test_a_fault_while_answering_is_a_500_and_the_connection_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    good = talk(Metrics(), ASK, DOCUMENT)
    assert [status for status, _ in good] == [200, 200]
    faulty(monkeypatch, fast_protocol, "_written")
    metrics = Metrics()
    with capture_logs() as lines:
        assert talk(metrics, ASK, ASK, ASK, DOCUMENT) == [(500, b""), (500, b""), *good]
    assert metrics.fast_path_faults.samples() == [(("http",), [2.0])]
    assert [line["path"] for line in lines if line["log_level"] == "error"] == ["http"]


def test_a_fault_before_that_costs_the_request_only_its_short_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    good = talk(Metrics(), ASK, DOCUMENT)
    faulty(monkeypatch, FastProtocol, "_plain")
    metrics = Metrics()
    assert talk(metrics, ASK, DOCUMENT, ASK, DOCUMENT) == good * 2
    assert metrics.fast_path_faults.samples() == [(("http",), [2.0])]


def newer(package: str, number: str) -> Callable[[pytest.MonkeyPatch], None]:
    def change(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fast_path, "version", lambda name: number if name == package else version(name))

    return change


def lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "_CLASS", ("on_url", "what_this_uvicorn_has_not"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (newer("uvicorn", "0.55.0"), "uvicorn 0.55.0 is not a tested version"),
        (newer("httptools", "1.0"), "httptools 1.0 is not a tested version"),
        (lacking, "what_this_uvicorn_has_not"),
    ],
)
def test_without_it_uvicorn_answers_the_same_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[pytest.MonkeyPatch], None], why: str
) -> None:
    good = talk(Metrics(), ASK, DOCUMENT, ASK)
    change(monkeypatch)
    monkeypatch.setattr(fast_protocol.FastProtocol, "on_url", None)  # whoever comes here fails
    with capture_logs() as lines:
        assert talk(Metrics(), ASK, DOCUMENT, ASK) == good
    (line,) = (line for line in lines if line["log_level"] == "warning")
    assert line["event"].startswith("HTTP requests go uvicorn's own way")
    assert why in line["reason"]
