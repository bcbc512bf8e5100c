"""What callers leave unfinished has a deadline and a bound: no pool, no place in line and no memory for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from loadtest.rig.raw_http2 import RawConnection, message
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.rpc import health, streams
from service.rpc import server as rpc_server
from service.rpc.server import EXPERIMENTS, PERSONALIZATION, STORE, Limits
from service.rpc.unary import unfinished
from service.security.api_keys import Access, Key, new_secret
from service.telemetry.metrics import Metrics
from tests.rig.calls import SELECT, SERVING, all_answer, port_of, shed
from tests.rig.standin import Standin, served
from tests.rig.waiting import eventually

CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
UNARY = [
    *(f"/{PERSONALIZATION}/{name}" for name in ("Select", "SelectBatch", "Reward", "Expose")),
    *(f"/{EXPERIMENTS}/{name}" for name in ("PutExperiment", "GetReport", "ListExperiments", "WarmStart")),
    CHECK, "/grpc.health.v1.Health/List", WATCH,
]  # fmt: skip
REFLECTED = reflection_pb2.ServerReflectionRequest(list_services="")


@pytest.fixture
def hold() -> Iterator[threading.Event]:
    """What half-open calls wait for."""
    event = threading.Event()
    yield event
    event.set()


def half_open(channel: grpc.Channel, path: str, hold: threading.Event, **given: Any) -> Any:
    """A call whose message never comes."""

    def never() -> Iterator[bytes]:
        hold.wait(60)
        yield from ()

    raw: Any = channel.stream_unary(path)
    return raw.future(never(), timeout=60, **given)


def test_half_open_calls_of_every_method_stop_no_other_call() -> None:
    with served(Standin(), Limits(rewards=2, waiting=4)) as (channel, _):
        links = [RawConnection(port_of(channel)) for _ in range(3)]
        for link in links:
            for path in UNARY:
                for _ in range(30):
                    link.open(path)
            link.take_in(0.1)
        all_answer(channel)
        for link in links:
            link.socket.close()


def test_who_has_no_key_is_told_so_before_anything_is_read(tmp_path: Path, hold: threading.Event) -> None:
    key, metrics = new_secret(), Metrics()
    file = tmp_path / "keys.yaml"
    file.write_text("keys:\n" + Key.of(key, "one", frozenset({"reward"})).line())
    with served(Standin(), metrics=metrics, access=Access(file)) as (channel, _):
        for path in (path for path in UNARY if "grpc.health" not in path):
            assert half_open(channel, path, hold).code() is grpc.StatusCode.UNAUTHENTICATED
        bearer = (("authorization", f"Bearer {key}"),)
        assert half_open(channel, SELECT, hold, metadata=bearer).code() is grpc.StatusCode.PERMISSION_DENIED
    assert shed(metrics, "unfinished") == 0


def test_a_message_that_does_not_come_in_time_ends_its_call(
    monkeypatch: pytest.MonkeyPatch, hold: threading.Event
) -> None:
    monkeypatch.setattr(rpc_server, "MESSAGE_S", 0.2)
    metrics = Metrics()
    with served(Standin(), metrics=metrics) as (channel, _):
        for path in (SELECT, f"/{PERSONALIZATION}/Reward", CHECK):
            assert half_open(channel, path, hold).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        with RawConnection(port_of(channel)) as link:  # nor does one of which a part came
            stream = link.open(SELECT, data=message(b"x" * 5000)[:1000])
            eventually(lambda: link.take_in(0.1) and stream in link.ended)
        all_answer(channel)
    assert shed(metrics, "unfinished") == 4


def test_where_many_are_missing_a_message_has_less_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "SHORT_S", 0.1)
    monkeypatch.setattr(rpc_server, "MESSAGE_S", 3600)
    metrics = Metrics()
    with served(Standin(), metrics=metrics) as (channel, _), RawConnection(port_of(channel)) as link:
        for _ in range(unfinished.MANY + 10):
            link.open(SELECT)
        eventually(lambda: not link.take_in(0.1) or shed(metrics, "unfinished") >= 10)
        assert shed(metrics, "unfinished") == 10  # as many as there may be stay


def test_one_too_many_ends_the_oldest(monkeypatch: pytest.MonkeyPatch, hold: threading.Event) -> None:
    monkeypatch.setattr(unfinished, "MOST", 4)
    metrics = Metrics()
    with served(Standin(), metrics=metrics) as (channel, _):
        oldest = half_open(channel, SELECT, hold)
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20)  # it is there
        others = [half_open(channel, SELECT, hold) for _ in range(4)]
        assert oldest.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert not any(call.done() for call in others)
        all_answer(channel)
    assert shed(metrics, "unfinished") >= 1


def test_an_answer_that_nobody_reads_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "ANSWER_S", 0.3)
    metrics = Metrics()
    request = message(pb.SelectRequest(experiment="hero", subject="ann").SerializeToString())
    with served(Standin(), metrics=metrics) as (channel, server):
        with RawConnection(port_of(channel), window=0) as link:
            opened = {link.open(SELECT, data=request, end=True) for _ in range(20)}
            eventually(lambda: link.take_in(0.1) and opened <= link.ended)
        assert shed(metrics, "unfinished") == 20
        queues = server._queues
        assert queues is not None
        eventually(lambda: not any(queue._open for queue in queues.all))
        all_answer(channel)


def test_a_reward_whose_answer_nobody_reads_holds_up_no_other() -> None:
    request = message(pb.RewardRequest(decision_id="abcd").SerializeToString())
    with served(Standin()) as (channel, server), RawConnection(port_of(channel), window=0) as link:
        stub = PersonalizationServiceStub(channel)
        for _ in range(20):  # one of these may be what the answering thread is woken by
            link.open(f"/{PERSONALIZATION}/Reward", data=request, end=True)
            calls = [stub.Reward.future(pb.RewardRequest(decision_id="abcd"), timeout=20) for _ in range(5)]
            assert {call.result().outcome for call in calls} == {pb.OUTCOME_APPLIED}
        with pytest.raises(grpc.RpcError):
            stub.Reward(pb.RewardRequest(), timeout=20)
        link.socket.close()
        queues = server._queues
        assert queues is not None
        eventually(lambda: not any(queue._open or queue._owed for queue in queues.all))


def test_a_watcher_that_does_not_read_holds_nobody_up_and_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE_S", 0.3)
    metrics, ask = Metrics(), health_pb2.HealthCheckRequest(service=STORE)
    with served(Standin(), metrics=metrics) as (channel, server), RawConnection(port_of(channel), window=0) as link:
        slow = [link.open(WATCH, data=message(ask.SerializeToString()), end=True) for _ in range(3)]
        watch = health_pb2_grpc.HealthStub(channel).Watch(ask, timeout=60)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        server.set_store(up=True)
        assert next(watch).status == SERVING
        eventually(lambda: link.take_in(0.1) and set(slow) <= link.ended)
        assert shed(metrics, "watches") == 3
        server.set_store(up=False)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        server.stop(3600)  # so long a grace would fail the test


def test_watchers_are_so_many_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "MOST", 2)
    with served(Standin()) as (channel, _):
        stub = health_pb2_grpc.HealthStub(channel)
        kept = [stub.Watch(health_pb2.HealthCheckRequest(), timeout=60) for _ in range(2)]
        assert [next(watch).status for watch in kept] == [SERVING] * 2
        with pytest.raises(grpc.RpcError) as caught:
            next(stub.Watch(health_pb2.HealthCheckRequest(), timeout=60))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        kept[0].cancel()
        eventually(lambda: told(stub))


def told(stub: health_pb2_grpc.HealthStub) -> bool:
    try:
        return bool(next(stub.Watch(health_pb2.HealthCheckRequest(), timeout=60)).status == SERVING)
    except grpc.RpcError:
        return False


def test_idle_streams_of_reflection_make_room_and_are_no_reward_streams() -> None:
    with served(Standin()) as (channel, _):
        links = [RawConnection(port_of(channel)) for _ in range(2)]
        for link in links:
            for _ in range(40):
                link.open("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        all_answer(channel)
        reflect = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        eventually(lambda: answered(lambda: next(reflect(iter([REFLECTED]), timeout=60))))
        for link in links:
            link.socket.close()


def answered(call: Callable[[], object]) -> bool:
    try:
        return bool(call())
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # noqa: PT017
        return False


def test_reward_streams_that_say_nothing_make_room(monkeypatch: pytest.MonkeyPatch, hold: threading.Event) -> None:
    monkeypatch.setattr(streams, "SILENT_S", 0.05)
    with served(Standin(), Limits(streams=2)) as (channel, server):
        silent = [half_open(channel, f"/{PERSONALIZATION}/StreamRewards", hold) for _ in range(2)]
        stub = PersonalizationServiceStub(channel)

        def ask() -> object:
            return list(stub.StreamRewards(iter([pb.StreamRewardsRequest(sequence=3)]), timeout=60))

        eventually(lambda: len(server._streams["streams"]._open) == 2)
        eventually(lambda: answered(ask))
        eventually(lambda: any(call.done() for call in silent))
        assert {call.code() for call in silent if call.done()} == {grpc.StatusCode.UNAVAILABLE}


def test_a_reward_stream_whose_answers_nobody_reads_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "ANSWER_S", 0.2)
    ask = message(pb.StreamRewardsRequest(sequence=3).SerializeToString())
    with served(Standin(), Limits(streams=1)) as (channel, _), RawConnection(port_of(channel), window=0) as link:
        stream = link.open(f"/{PERSONALIZATION}/StreamRewards", data=ask * 3)
        eventually(lambda: link.take_in(0.1) and stream in link.ended)
        stub = PersonalizationServiceStub(channel)
        eventually(lambda: answered(lambda: list(stub.StreamRewards(iter([pb.StreamRewardsRequest()]), timeout=60))))
