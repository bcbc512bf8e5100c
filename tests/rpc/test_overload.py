"""More calls than can be answered: they are refused in words a client understands, and nobody else notices."""

from __future__ import annotations

import queue
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from loadtest.rig import timed_calls
from loadtest.rig.http2 import RESET, ending
from loadtest.rig.timed_calls import Call, Wire
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.rpc.server import Limits
from service.telemetry.metrics import MAX_SERIES, Counter, Gauge, Metrics
from tests.rig.calls import SELECT, port_of
from tests.rig.standin import Standin, served

HOLD = pb.SelectRequest(experiment="hold", subject="ann")


def test_what_is_refused_says_when_to_come_back_and_health_is_serving() -> None:
    standin = Standin()
    with served(standin, Limits(choices=1, waiting=2)) as (channel, _):
        stub = PersonalizationServiceStub(channel)
        calls = [stub.Select.future(HOLD, timeout=60)]
        assert standin.entered.acquire(timeout=20)
        # One runs, three wait; the first to end among the others can only have been refused.
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(20):
            calls.append(stub.Select.future(HOLD, timeout=60))
            calls[-1].add_done_callback(ended.put)
        says_when_to_come_back(ended.get(timeout=20))
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        standin.release.set()
        for call in calls:
            call.exception()


def says_when_to_come_back(refused: Any) -> None:
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    retry, info = error_details_pb2.RetryInfo(), error_details_pb2.ErrorInfo()
    for detail in rpc_status.from_call(refused).details:
        detail.Unpack(retry) or detail.Unpack(info)
    assert info.reason == "OVERLOADED"
    assert 0 < retry.retry_delay.nanos < 1e9


def test_the_fast_path_refuses_what_comes_while_too_many_wait() -> None:
    standin, metrics = Standin(), Metrics()
    with served(standin, Limits(waiting=2), metrics) as (channel, _):
        stub = PersonalizationServiceStub(channel)
        first = stub.Select.future(HOLD, timeout=60)
        assert standin.entered.acquire(timeout=20)
        calls = [stub.Select.future(pb.SelectRequest(experiment="hero", subject="ann"), timeout=60) for _ in range(20)]
        # On the same connection, so that it is answered only after all of these have come.
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        standin.release.set()
        assert first.result().arm == "calm"
        refused = [call for call in calls if call.exception() is not None]
        assert stub.Select(pb.SelectRequest(experiment="hero", subject="after"), timeout=20).arm == "calm"
    assert 1 <= len(refused) <= 17
    for call in refused:
        says_when_to_come_back(call)
    assert dict(metrics.shed.samples())[("choices",)] == [len(refused)]


@pytest.mark.parametrize("threads", [0, 1])
def test_work_whose_deadline_has_passed_is_not_begun(threads: int) -> None:
    standin, metrics = Standin(), Metrics()
    with served(standin, Limits(choices=threads), metrics) as (channel, _):
        stub = PersonalizationServiceStub(channel)
        first = stub.Select.future(HOLD, timeout=60)
        assert standin.entered.acquire(timeout=20)
        late = stub.Select.future(pb.SelectRequest(experiment="hero", subject="late"), timeout=0.05)
        with pytest.raises(grpc.RpcError) as caught:
            late.result()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        standin.release.set()
        assert first.result(20).arm == "calm"
        stub.Select(pb.SelectRequest(experiment="hero", subject="after"), timeout=20)
        stub.Select(pb.SelectRequest(experiment="hero", subject="patient"))  # no deadline is no deadline
    assert [asked[1] for asked in standin.asked] == ["ann", "after", "patient"]


@pytest.mark.parametrize("family", ["lever_decisions_total", "lever_features_clipped_total"])
def test_series_beyond_the_limit_are_counted_as_other(family: str) -> None:
    counter = Counter(family)
    rest = ("arm", "POLICY") if family == "lever_decisions_total" else ()
    for i in range(MAX_SERIES + 50):
        counter.hit((f"e{i}", *rest))
        counter.add((f"e{i}", *rest), 1)
    sums = {key: value for key, (value,) in counter.samples()}
    other = ("other", "other", "POLICY") if rest else ("other",)
    assert len(sums) <= MAX_SERIES + 1
    assert sums[("e0", *rest)] == 2
    assert sum(sums.values()) == 2 * (MAX_SERIES + 50)
    assert sums[other] >= 100


def test_gauges_beyond_the_limit_are_one() -> None:
    gauge = Gauge("lever_log_entries")
    for i in range(MAX_SERIES + 50):
        gauge.set(float(i), (f"e{i}",))
    assert len(gauge.samples()) == MAX_SERIES + 1
    for gone in ("e0", "e1"):
        gauge.remove((gone,))
    gauge.set(1.0, ("late",))
    assert (("late",), [1.0]) in gauge.samples()


@pytest.mark.parametrize("connections", [1, 3])
def test_who_has_all_calls_open_that_a_connection_may_have_is_not_refused(
    connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The core counts a call until we have forgotten it, after its caller has the answer and sends the next."""
    monkeypatch.setattr(timed_calls, "MOST_OPEN", 100)
    select = Call(SELECT, [pb.SelectRequest(experiment="hero", subject="ann").SerializeToString()])
    with served(Standin(), Limits(connection=100)) as (channel, _):
        wire = Wire(port_of(channel), connections)  # which has 100 open on each, for as long as there are so many left
        answers = wire.drive([0.0] * 1000, [select] * 1000)
        wire.close()
    assert answers.failed < 10, answers.told()


def test_a_schedule_says_how_its_calls_failed() -> None:
    with served(Standin()) as (channel, _):
        wire = Wire(port_of(channel), connections=2)
        kinds = [Call(SELECT, [pb.SelectRequest(experiment=name, subject="ann").SerializeToString()])
                 for name in ("hero", "missing", "away")]  # fmt: skip
        answers = wire.drive([0.0] * 5, [*kinds, *kinds[1:]])
        wire.close()
    assert answers.failed == 4
    assert answers.endings == {
        "NOT_FOUND: experiment 'missing' does not exist": 2,
        "UNAVAILABLE: the store does not answer": 2,
    }
    assert answers.told().startswith("4 of 5 calls failed: 2 ")
    assert ending(RESET, b"\0\0\0\7") == "reset by the server, error 7"
