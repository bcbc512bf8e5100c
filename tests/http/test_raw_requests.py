"""Requests as bytes: both ways through uvicorn answer on one connection, in order, whatever the bytes come in."""

from __future__ import annotations

import json
import re
import socket

import pytest

from tests.rig.site import Site

FLAG = json.dumps({"context": {"targetingKey": "raw"}}).encode()
EVENTS = b'{"events":[{"decision_id":"forged"}]}'


def request(path: str, body: bytes, *headers: str, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def talk(lever: Site, *pieces: bytes) -> bytes:
    """What comes back for these pieces, sent one by one, until the server is through."""
    host, port = lever.web.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            link.sendall(piece)
        link.sendall(request("/openapi.json", b"", "Connection: close", method="GET"))
        got = b""
        while part := link.recv(65536):
            got += part
    return got


def statuses(answer: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def test_pipelined_requests_are_answered_in_order(lever: Site) -> None:
    flag, nobody = request("/ofrep/v1/evaluate/flags/hero", FLAG), request("/ofrep/v1/evaluate/flags/nobody", FLAG)
    events, query = request("/v1/events", EVENTS), request("/ofrep/v1/evaluate/flags/hero?x=1", FLAG)
    answer = talk(lever, flag + events + nobody + query + flag + request("/none", b""))
    assert statuses(answer) == [200, 200, 404, 200, 200, 404, 200]
    assert [m for m in re.findall(rb'"key":"(\w+)"|"(results)"', answer) if any(m)][:4] == [
        (b"hero", b""), (b"", b"results"), (b"nobody", b""), (b"hero", b""),
    ]  # fmt: skip


def test_a_body_may_come_in_pieces_and_chunks(lever: Site) -> None:
    whole = request("/ofrep/v1/evaluate/flags/hero", FLAG)
    assert statuses(talk(lever, *(whole[i : i + 7] for i in range(0, len(whole), 7)))) == [200, 200]
    head = b"POST /ofrep/v1/evaluate/flags/hero HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (FLAG[:5], FLAG[5:])) + b"0\r\n\r\n"
    assert statuses(talk(lever, head, chunks)) == [200, 200]
    huge = b"10000\r\n" + b" " * 65536 + b"\r\n"
    assert statuses(talk(lever, head, huge, huge, b"0\r\n\r\n")) == [400, 200]


def test_who_asks_first_is_told_to_go_on(lever: Site) -> None:
    whole = request("/ofrep/v1/evaluate/flags/hero", FLAG, "Expect: 100-continue")
    assert statuses(talk(lever, whole)) == [100, 200, 200]


@pytest.mark.parametrize(
    "noise",
    [b"\r\n\r\n\0\1\2", b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"POST http:// HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
     b"POST /ofrep/v1/evaluate/flags/\xff\xfe HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
     b"POST /ofrep/v1/evaluate/flags/hero HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
     b"POST /v1/select HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}", b"POST /v1/select HTTP/1.1\r\n" + b"x: y\r\n" * 5 + b"bad\r\n\r\n"],
)  # fmt: skip
def test_noise_is_no_fault_of_ours(lever: Site, noise: bytes) -> None:
    try:
        answer = talk(lever, noise)
    except (ConnectionError, BrokenPipeError):  # it hung up first
        answer = b""
    assert all(status < 500 for status in statuses(answer))
    assert lever.flag("hero", "still there").status == 200
