"""Health watches that come and go while what they watch changes."""

from __future__ import annotations

import threading

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.rig.standin import Standin, served

ASKED = health_pb2.HealthCheckRequest


def test_watchers_that_leave_while_they_are_told_stop_nothing() -> None:
    done = threading.Event()
    with served(Standin()) as (channel, server):
        stub = health_pb2_grpc.HealthStub(channel)

        def flap() -> None:
            up = False
            while not done.is_set():
                server.set_store(up=up)
                up = not up

        flapping = threading.Thread(target=flap)
        flapping.start()
        try:
            for _ in range(60):
                watches = [stub.Watch(ASKED(service="lever.store"), timeout=20) for _ in range(8)]
                for watch in watches:
                    next(watch)
                    watch.cancel()
                assert stub.Check(ASKED(), timeout=20).status == health_pb2.HealthCheckResponse.SERVING
        finally:
            done.set()
            flapping.join(20)
        assert not flapping.is_alive()


def test_what_nobody_serves_is_not_found_and_a_watch_of_it_waits() -> None:
    with served(Standin()) as (channel, _):
        stub = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Check(ASKED(service="nobody"), timeout=20)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        watch = stub.Watch(ASKED(service="nobody"), timeout=20)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        watch.cancel()
