"""Choices on their lane answer, fail and end as those of a pool do."""

from __future__ import annotations

import itertools
import threading
from concurrent import futures
from typing import Any

import grpc
import pytest

from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.rpc import fast_unary
from service.rpc.fast_unary import FastUnary
from service.rpc.status import Ending
from service.telemetry.metrics import Metrics
from tests.rig.standin import Standin, served

SELECT = "/lever.v1.PersonalizationService/Select"


def test_this_grpc_is_one_we_know() -> None:
    assert fast_unary.available(grpc.server(futures.ThreadPoolExecutor(1)))


def test_another_grpc_gets_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_unary, "_METHODS", ("register_method", "what_this_grpc_has_not"))
    standin = Standin()
    threads = noting(standin, monkeypatch)
    with served(standin) as (channel, _):
        stub = PersonalizationServiceStub(channel)
        assert stub.Select(pb.SelectRequest(experiment="hero", subject="ann"), timeout=20).arm == "calm"
    assert {name.partition("_")[0] for name in threads} == {"choices"}


def noting(standin: Standin, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the threads that choose, as they do."""
    threads: list[str] = []
    select = standin.select

    def noted(*given: Any) -> Any:
        threads.append(threading.current_thread().name)
        return select(*given)

    monkeypatch.setattr(standin, "select", noted)
    return threads


def test_a_choice_runs_on_one_thread_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    standin = Standin()
    threads = noting(standin, monkeypatch)
    with served(standin) as (channel, _):
        stub = PersonalizationServiceStub(channel)
        calls = [
            stub.Select.future(pb.SelectRequest(experiment="hero", subject=f"s{i}"), timeout=60) for i in range(90)
        ]
        assert {call.result().arm for call in calls} == {"calm"}
    assert sorted(asked[1] for asked in standin.asked) == sorted(f"s{i}" for i in range(90))
    assert set(threads) == {"lever-lane"}


def test_what_is_wrong_is_said_as_ever_and_the_next_call_is_answered() -> None:
    standin = Standin()
    with served(standin) as (channel, _):
        stub = PersonalizationServiceStub(channel)
        for subject, code in (("", grpc.StatusCode.INVALID_ARGUMENT), ("x" * 600, grpc.StatusCode.INVALID_ARGUMENT)):
            with pytest.raises(grpc.RpcError) as caught:
                stub.Select(pb.SelectRequest(experiment="hero", subject=subject), timeout=20)
            assert caught.value.code() is code
        raw: Any = channel.unary_unary(SELECT)
        with pytest.raises(grpc.RpcError) as caught:
            raw(b"\xff\xff\xff", timeout=20)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert stub.Select(pb.SelectRequest(experiment="hero", subject="after"), timeout=20).arm == "calm"


def test_callers_who_go_away_leave_nothing_behind() -> None:
    standin = Standin()
    with served(standin) as (channel, _):
        stub = PersonalizationServiceStub(channel)
        for number in range(50):
            call = stub.Select.future(pb.SelectRequest(experiment="hero", subject=f"gone{number}"), timeout=20)
            call.cancel()
        never: Any = channel.stream_unary(SELECT)  # opens the call and sends no message
        hanging = never.future(iter(()), timeout=20)
        with pytest.raises(grpc.RpcError) as caught:
            hanging.result()
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert stub.Select(pb.SelectRequest(experiment="hero", subject="after"), timeout=20).arm == "calm"


def test_a_fault_of_one_call_is_not_the_end_of_the_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    send, sent = FastUnary._send, itertools.count()

    def once(lane: FastUnary, call: Any, made: bytes | Ending) -> None:
        if next(sent) == 0:
            raise RuntimeError("a fault of ours")
        send(lane, call, made)

    monkeypatch.setattr(FastUnary, "_send", once)
    with served(Standin()) as (channel, _):
        stub = PersonalizationServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Select(pb.SelectRequest(experiment="hero", subject="first"), timeout=20)
        assert caught.value.code() is grpc.StatusCode.INTERNAL  # it is not left hanging
        assert stub.Select(pb.SelectRequest(experiment="hero", subject="second"), timeout=20).arm == "calm"
    for thread in threading.enumerate():
        if thread.name == "lever-lane":
            thread.join(20)
            assert not thread.is_alive()


def test_a_request_may_be_compressed_and_large() -> None:
    standin = Standin()
    with served(standin) as (channel, _):
        stub = PersonalizationServiceStub(channel)
        request = pb.SelectRequest(experiment="hero", subject="ann")
        for number in range(256):
            request.context[f"feature{number}"].text = "x" * 1000
        call = stub.Select(request, timeout=20, compression=grpc.Compression.Gzip)
        assert call.arm == "calm"
    assert len(standin.asked[0][2]) == 256


def test_a_gate_that_is_shut_says_why() -> None:
    with served(Standin()) as (channel, server):
        server.set_ready(ready=False, why="still warming")
        with pytest.raises(grpc.RpcError) as caught:
            PersonalizationServiceStub(channel).Select(pb.SelectRequest(experiment="hero", subject="ann"), timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert caught.value.details() == "not ready: still warming"


def test_a_stop_under_load_answers_or_refuses_every_call_and_ends_the_lane() -> None:
    standin, metrics = Standin(), Metrics()
    with served(standin, metrics=metrics) as (channel, server):
        stub = PersonalizationServiceStub(channel)
        held = stub.Select.future(pb.SelectRequest(experiment="hold", subject="ann"), timeout=60)
        assert standin.entered.acquire(timeout=20)
        calls = [
            stub.Select.future(pb.SelectRequest(experiment="hero", subject=f"s{i}"), timeout=60) for i in range(200)
        ]
        stopping = threading.Thread(target=server.stop, args=(20,))
        stopping.start()
        standin.release.set()
        assert held.result().arm == "calm"
        codes = {call.code() for call in calls}
        stopping.join(20)
        assert not stopping.is_alive()
    # grpc cancels what reaches a connection between the order to stop and the client's hearing of it.
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert metrics.in_flight() == 0
    lanes = [thread for thread in threading.enumerate() if thread.name == "lever-lane"]
    for lane in lanes:
        lane.join(20)
    assert not any(lane.is_alive() for lane in lanes)
