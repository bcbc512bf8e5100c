"""Choices on grpc's own thread answer, fail and end as those of a pool do."""

from __future__ import annotations

import threading
from typing import Any

import grpc
import pytest
from grpc import _server as private

from service import rpc_inline
from service.interceptors import Pool
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.rpc_inline import Inline
from service.rpc_server import Limits
from tests.rpc.standin import Standin, served

SELECT = "/lever.v1.PersonalizationService/Select"
HERE = Limits(choices=0)


def test_this_grpc_is_one_we_know() -> None:
    assert rpc_inline.available()
    assert isinstance(rpc_inline.choices(0, 9), Inline)
    assert not isinstance(rpc_inline.choices(3, 9), Inline)


def test_another_grpc_gets_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    def another(state: object, call: object, request_deserializer: object, more: object) -> None: ...

    monkeypatch.setattr(private, "_receive_message", another)
    assert not rpc_inline.available()
    assert type(rpc_inline.choices(0, 9)) is Pool
    monkeypatch.delattr(private, "_receive_message")
    assert not rpc_inline.available()


def test_a_choice_runs_on_one_thread_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    standin = Standin()
    threads: set[int] = set()
    select = standin.select

    def noted(*given: Any) -> Any:
        threads.add(threading.get_ident())
        return select(*given)

    monkeypatch.setattr(standin, "select", noted)
    with served(standin, HERE) as (channel, _):
        stub = PersonalizationServiceStub(channel)
        calls = [
            stub.Select.future(pb.SelectRequest(experiment="hero", subject=f"s{i}"), timeout=60) for i in range(90)
        ]
        assert {call.result().arm for call in calls} == {"calm"}
    assert sorted(asked[1] for asked in standin.asked) == sorted(f"s{i}" for i in range(90))
    assert len(threads) == 1


def test_what_is_wrong_is_said_as_ever_and_the_next_call_is_answered() -> None:
    standin = Standin()
    with served(standin, HERE) as (channel, _):
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
    with served(standin, HERE) as (channel, _):
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
