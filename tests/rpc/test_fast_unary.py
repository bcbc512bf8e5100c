"""Choices on the fast path answer, fail and end as those of a pool do, and its own faults stay with one call."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from concurrent import futures
from importlib.metadata import version
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.process import fast_path
from service.rpc.guard import Guard
from service.rpc.unary import grpc_core
from service.rpc.unary.fast_unary import FastUnary
from service.telemetry.metrics import Metrics
from tests.rig.standin import Standin, served

SELECT = "/lever.v1.PersonalizationService/Select"


def test_this_grpc_is_one_we_know() -> None:
    assert grpc_core.available(grpc.server(futures.ThreadPoolExecutor(1)))


def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_path, "version", lambda name: "1.86.0.dev1" if name == "grpcio" else version(name))


def lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_core, "_METHODS", ("register_method", "what_this_grpc_has_not"))


@pytest.mark.parametrize(("change", "why"), [(newer, "not a tested version"), (lacking, "what_this_grpc_has_not")])
def test_another_grpc_gets_a_pool_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[pytest.MonkeyPatch], None], why: str
) -> None:
    change(monkeypatch)
    standin, metrics = Standin(), Metrics()
    threads = noting(standin, monkeypatch)
    with capture_logs() as lines, served(standin, metrics=metrics) as (channel, _):
        stub = PersonalizationServiceStub(channel)
        assert stub.Select(pb.SelectRequest(experiment="hero", subject="ann"), timeout=20).arm == "calm"
        with pytest.raises(grpc.RpcError) as caught:
            stub.Select(pb.SelectRequest(experiment="missing", subject="ann"), timeout=20)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert {name.partition("_")[0] for name in threads} == {"choices"}
    (line,) = (line for line in lines if line["log_level"] == "warning")
    assert line["event"].startswith("calls are answered by grpc's own threads")
    assert why in line["reason"]


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
    assert set(threads) == {"lever-choices"}


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


def faulty(name: str, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """A method of FastUnary raises the first times that it is called."""
    whole, calls = getattr(FastUnary, name), itertools.count()

    def broken(*given: Any) -> Any:
        if next(calls) < times:
            raise RuntimeError("a fault of ours")
        return whole(*given)

    monkeypatch.setattr(FastUnary, name, broken)


def sound(stub: PersonalizationServiceStub, calls: int = 100) -> None:
    """More calls than the core was asked for at once are answered."""
    for number in range(calls):
        assert stub.Select(pb.SelectRequest(experiment="hero", subject=f"s{number}"), timeout=20).arm == "calm"


def ended() -> None:
    """Its threads end with their servers."""
    for thread in threading.enumerate():
        if thread.name in ("lever-choices", "lever-calls"):
            thread.join(20)
            assert not thread.is_alive()


@pytest.mark.parametrize("step", ["_take", "end"])
def test_a_fault_is_one_calls_own(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    faulty(step, monkeypatch, 1)
    metrics = Metrics()
    with capture_logs() as lines, served(Standin(), metrics=metrics) as (channel, _):
        stub = PersonalizationServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Select(pb.SelectRequest(experiment="hero", subject="first"), timeout=20)
        assert caught.value.code() is grpc.StatusCode.INTERNAL  # it is not left hanging
        sound(stub)
    ended()
    assert metrics.fast_path_faults.samples() == [(("grpc",), [1.0])]
    assert [line["path"] for line in lines if line["log_level"] == "error"] == ["grpc"]


def test_many_faults_are_counted_and_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    faulty("_take", monkeypatch, 100)
    metrics = Metrics()
    with capture_logs() as lines, served(Standin(), metrics=metrics) as (channel, _):
        stub = PersonalizationServiceStub(channel)
        calls = [stub.Select.future(pb.SelectRequest(experiment="hero", subject="x"), timeout=60) for _ in range(100)]
        assert {call.code() for call in calls} == {grpc.StatusCode.INTERNAL}
        sound(stub)
    ended()
    assert metrics.fast_path_faults.samples() == [(("grpc",), [100.0])]
    assert len([line for line in lines if line["log_level"] == "error"]) == 1


def test_a_fault_among_calls_in_line_is_one_calls_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Guard, "_ending", lambda *_: 1 / 0
    )  # so what an error is told as is a fault, outside of its reach
    metrics = Metrics()
    with served(Standin(), metrics=metrics) as (channel, _):
        stub = PersonalizationServiceStub(channel)
        calls = [
            (name, stub.Select.future(pb.SelectRequest(experiment=name, subject="x"), timeout=60))
            for name in ("hero", "missing", "hero") * 30
        ]
        for name, call in calls:
            assert call.code() is (grpc.StatusCode.OK if name == "hero" else grpc.StatusCode.INTERNAL)
    ended()
    assert metrics.fast_path_faults.samples() == [(("grpc",), [30.0])]


def test_a_call_that_cannot_be_answered_at_all_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    faulty("end", monkeypatch, 2)  # the answer, and the word that there was a fault
    with served(Standin()) as (channel, _):
        stub = PersonalizationServiceStub(channel)
        with pytest.raises(grpc.RpcError):
            stub.Select(pb.SelectRequest(experiment="hero", subject="first"), timeout=5)
        sound(stub)
    ended()


class Raced(deque[Any]):
    """What was told, of which another thread takes the last between a look and the taking."""

    def __bool__(self) -> bool:
        return True


def test_two_threads_that_want_the_last_answer_lose_no_event() -> None:
    metrics = Metrics()
    with served(Standin(), metrics=metrics, start=False) as (channel, server):
        for fast in server._queues.all:  # type: ignore[union-attr]
            fast._told = Raced()
        server.start()
        stub = PersonalizationServiceStub(channel)
        sound(stub)
        reward = pb.RewardRequest(decision_id="abcd", metric="click")
        told = [stub.Reward.future(reward, timeout=20) for _ in range(200)]
        assert {call.code() for call in told} == {grpc.StatusCode.OK}
    ended()
    assert metrics.fast_path_faults.samples() in ([], [(("grpc",), [0.0])])


class Moody:
    """grpc's queue or its request for calls, with a fault at the given turns."""

    def __init__(self, whole: Callable[..., Any], *faults: int) -> None:
        self._whole, self._faults, self._turns = whole, faults, itertools.count()

    def __call__(self, *given: Any) -> Any:
        if next(self._turns) in self._faults:
            raise RuntimeError("a fault of the library's")
        return self._whole(*given)


def test_a_core_that_refuses_for_a_while_is_asked_again() -> None:
    metrics = Metrics()
    with served(Standin(), metrics=metrics, start=False) as (channel, server):
        fast: Any = server._queues.all[0]  # type: ignore[union-attr]
        fast._request = Moody(fast._request, 0, 1, 7, 40, 90)
        server.start()
        sound(PersonalizationServiceStub(channel))
    ended()
    assert metrics.fast_path_faults.samples() == [(("grpc",), [5.0])]


def test_a_tag_that_raises_does_not_end_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, events = FastUnary._over, itertools.count()

    def over(path: FastUnary, call: Any, event: Any) -> None:
        whole(path, call, event)
        if next(events) == 3:
            raise RuntimeError("a fault of ours")

    monkeypatch.setattr(FastUnary, "_over", over)
    metrics = Metrics()
    with served(Standin(), metrics=metrics) as (channel, _):
        sound(PersonalizationServiceStub(channel))
    ended()
    assert metrics.fast_path_faults.samples() == [(("grpc",), [1.0])]


def test_a_gate_that_is_shut_says_why() -> None:
    with served(Standin()) as (channel, server):
        server.set_ready(ready=False, why="still warming")
        with pytest.raises(grpc.RpcError) as caught:
            PersonalizationServiceStub(channel).Select(pb.SelectRequest(experiment="hero", subject="ann"), timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert caught.value.details() == "not ready: still warming"


def test_a_stop_under_load_answers_or_refuses_every_call_and_ends_the_thread() -> None:
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
    ended()
