"""What the console does not answer."""

from __future__ import annotations

import json

import pytest

from service.console.refusals import faulted, lonely
from service.errors import DeniedError, Violation
from service.remote.fault import Fault

OWN = ["localhost", "localhost:8080", "127.0.0.1:80", "[::1]:8080", "10.1.2.3", "lever.localhost:1"]
OTHERS = [
    "",
    "example.com",
    "example.com:8080",
    "localhost.example.com",
    "127.0.0.1.example.com:80",
    "[localhost]:evil",
]


@pytest.mark.parametrize("host", OWN)
def test_names_that_nobody_else_can_have_are_answered(host: str) -> None:
    lonely({b"host": host.encode()}, local=True, mutual=False)


@pytest.mark.parametrize("host", OTHERS)
def test_any_other_name_is_not(host: str) -> None:
    with pytest.raises(DeniedError):
        lonely({b"host": host.encode()}, local=True, mutual=False)
    lonely({b"host": host.encode()}, local=False, mutual=False)  # somebody put it on the network, under a name


def test_where_grpc_wants_certificates_a_browser_without_keys_gets_nothing() -> None:
    with pytest.raises(DeniedError, match="keys-file"):
        lonely({b"host": b"localhost"}, local=True, mutual=True)


@pytest.mark.parametrize(
    ("code", "status"),
    [("NOT_FOUND", 404), ("UNAVAILABLE", 503), ("DEADLINE_EXCEEDED", 504), ("ABORTED", 409), ("UNKNOWN", 500)],
)
def test_a_workers_refusal_has_its_status_and_its_lines(code: str, status: int) -> None:
    reply = faulted(Fault(code, "why", "REASON", (Violation("arms[0].id", "wrong", 3),), 0.5))
    told = json.loads(reply.body)["error"]
    assert (reply.status, told["code"], told["message"], told["retry_after_ms"]) == (status, code, "why", 500)
    assert told["fields"] == [{"field": "arms[0].id", "message": "wrong", "line": 3}]
