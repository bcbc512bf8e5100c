"""A canned server that the commands find, and an address where nobody is."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from service.pb.lever.v1 import experiment_pb2_grpc, personalization_pb2_grpc
from tests.rig.canned import Canned


@pytest.fixture
def canned(monkeypatch: pytest.MonkeyPatch) -> Iterator[Canned]:
    """A served Canned; LEVER_SERVER names it."""
    servicer = Canned()
    server = grpc.server(ThreadPoolExecutor(2))
    experiment_pb2_grpc.add_ExperimentServiceServicer_to_server(servicer, server)
    personalization_pb2_grpc.add_PersonalizationServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("LEVER_SERVER", f"127.0.0.1:{port}")
    yield servicer
    server.stop(None).wait()


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address that refuses connections: its port is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"
