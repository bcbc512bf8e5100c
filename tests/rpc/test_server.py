"""Pools, limits, health, reflection and the end of a server; a real server, a stand-in behind it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from service.errors import LeverError
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.rpc.server import PERSONALIZATION, STORE, Limits
from service.serving.rewarder import Exposure, RewardEvent
from service.store.contract import Outcome
from service.telemetry.metrics import Metrics
from tests.rig.standin import Standin, served

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def check(channel: grpc.Channel, name: str) -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    return int(stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=20).status)


class Open:
    """A reward stream that stays open; messages are sent one by one."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.messages: queue.Queue[pb.StreamRewardsRequest | None] = queue.Queue()
        self.answers = PersonalizationServiceStub(channel).StreamRewards(iter(self.messages.get, None))

    def ask(self, sequence: int, metric: str = "") -> int:
        reward = pb.RewardRequest(decision_id="abcd", metric=metric)
        self.messages.put(pb.StreamRewardsRequest(sequence=sequence, rewards=[reward]))
        return int(next(self.answers).sequence)

    def close(self) -> None:
        self.messages.put(None)


def test_health_follows_readiness_and_the_store_has_its_own_name() -> None:
    with served(Standin()) as (channel, server):
        assert [check(channel, name) for name in ("", PERSONALIZATION, STORE)] == [SERVING, SERVING, NOT_SERVING]
        server.set_store(up=True)
        server.set_ready(ready=False, why="loading")
        assert [check(channel, name) for name in ("", PERSONALIZATION, STORE)] == [NOT_SERVING, NOT_SERVING, SERVING]
        with pytest.raises(grpc.RpcError) as caught:
            PersonalizationServiceStub(channel).Select(pb.SelectRequest(experiment="hero", subject="ann"))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "loading" in (caught.value.details() or "")
        with pytest.raises(grpc.RpcError) as caught:
            Open(channel).ask(1)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_health_watch_is_told_and_holds_no_thread() -> None:
    with served(Standin()) as (channel, server):
        watches = [health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()) for _ in range(12)]
        assert [next(watch).status for watch in watches] == [SERVING] * 12
        PersonalizationServiceStub(channel).Select(pb.SelectRequest(experiment="hero", subject="ann"), timeout=20)
        server.set_ready(ready=False)
        assert [next(watch).status for watch in watches] == [NOT_SERVING] * 12


def test_reflection_names_the_services() -> None:
    with served(Standin()) as (channel, _):
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answer = next(reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request])))
        names = {service.name for service in answer.list_services_response.service}
        assert {PERSONALIZATION, "lever.v1.ExperimentService", "grpc.health.v1.Health"} <= names


def test_an_unknown_method_is_unimplemented() -> None:
    with served(Standin()) as (channel, _):
        call: Any = channel.unary_unary("/lever.v1.PersonalizationService/Guess")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=20)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_each_kind_of_call_runs_in_its_own_pool() -> None:
    names: dict[str, str] = {}

    class Watching(Standin):
        def _maybe_raise(self, experiment: str) -> None:
            names[experiment] = threading.current_thread().name

        def reward(self, events: Sequence[RewardEvent | Exposure]) -> list[Outcome | LeverError]:
            assert isinstance(events[0], RewardEvent)
            names[events[0].metric] = threading.current_thread().name
            return super().reward(events)

    with served(Watching()) as (channel, _):
        stub = PersonalizationServiceStub(channel)
        stub.Select(pb.SelectRequest(experiment="one", subject="ann"))
        stub.Reward(pb.RewardRequest(decision_id="abcd", metric="unary"))
        stream = Open(channel)
        stream.ask(1, "stream")
        stream.close()
    assert {key: name.split("_")[0] for key, name in names.items()} == {
        "one": "lever-choices", "unary": "lever-group-commit", "stream": "streams",
    }  # fmt: skip


def test_idle_streams_and_hanging_rewards_cost_no_choice_its_thread() -> None:
    standin = Standin()
    limits = Limits(choices=1, rewards=2, streams=8, waiting=4)
    with served(standin, limits) as (channel, _), ThreadPoolExecutor(4) as threads:
        stub = PersonalizationServiceStub(channel)
        streams = [Open(channel) for _ in range(8)]
        assert [stream.ask(5) for stream in streams] == [5] * 8
        hanging = [threads.submit(stub.Reward, pb.RewardRequest(decision_id="abcd", metric="hold")) for _ in range(2)]
        assert standin.entered.acquire(timeout=20)
        answer = stub.Select(pb.SelectRequest(experiment="hero", subject="ann"), timeout=20)
        assert answer.arm == "calm"
        standin.release.set()
        assert [one.result(20).outcome for one in hanging] == [pb.OUTCOME_APPLIED] * 2
        for stream in streams:
            stream.close()


def test_one_stream_too_many_is_refused_and_a_freed_place_is_taken() -> None:
    metrics = Metrics()
    with served(Standin(), Limits(streams=2), metrics) as (channel, _):
        kept = [Open(channel), Open(channel)]
        for stream in kept:
            stream.ask(1)
        refused = Open(channel)
        with pytest.raises(grpc.RpcError) as caught:
            refused.ask(1)
        refused.close()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert dict(metrics.shed.samples())[("streams",)] == [1]
        kept[0].close()
        assert list(kept[0].answers) == []  # its end was answered, so its place is free
        assert Open(channel).ask(4) == 4
        kept[1].close()


def test_a_full_pool_sheds_and_the_others_go_on() -> None:
    standin, metrics = Standin(), Metrics()
    with served(standin, Limits(choices=1, waiting=2), metrics) as (channel, _):
        stub = PersonalizationServiceStub(channel)
        request = pb.SelectRequest(experiment="hold", subject="ann")
        calls = [stub.Select.future(request, timeout=60)]
        assert standin.entered.acquire(timeout=20)
        refused: list[Any] = []
        while not refused:  # one runs, a few wait, and sooner or later one is one too many
            calls.append(stub.Select.future(request, timeout=60))
            refused = [call.exception() for call in calls if call.done()]
            assert len(calls) < 1000
        assert refused[0].code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stub.Reward(pb.RewardRequest(decision_id="abcd"), timeout=20).outcome == pb.OUTCOME_APPLIED
        standin.release.set()
        outcomes: list[Any] = [call.exception() for call in calls]
        assert sum(error is None for error in outcomes) >= 3
        assert {error.code() for error in outcomes if error} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        shed = {key: count for key, (count,) in metrics.shed.samples() if count}
        assert shed == {("choices",): sum(error is not None for error in outcomes)}


def test_stopping_ends_idle_streams_at_once_and_lets_calls_end() -> None:
    standin = Standin()
    with served(standin) as (channel, server):
        idle = Open(channel)
        idle.ask(1)
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == SERVING
        running = PersonalizationServiceStub(channel).Select.future(pb.SelectRequest(experiment="hold", subject="a"))
        assert standin.entered.acquire(timeout=20)
        stopper = threading.Thread(target=server.stop, args=(3600,))  # so long a grace would fail the test
        stopper.start()
        with pytest.raises(grpc.RpcError) as caught:
            next(idle.answers)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "stopping" in (caught.value.details() or "")
        assert next(watch).status == NOT_SERVING
        assert not running.done()
        standin.release.set()
        assert running.result(20).arm == "calm"
        stopper.join(60)
        assert not stopper.is_alive()
        idle.close()


def test_stopping_lets_a_stream_answer_the_message_in_hand() -> None:
    standin = Standin()
    with served(standin) as (channel, server):
        stream = Open(channel)
        stream.messages.put(message_of("hold"))
        assert standin.entered.acquire(timeout=20)
        stopper = threading.Thread(target=server.stop, args=(3600,))
        stopper.start()
        standin.release.set()
        assert next(stream.answers).sequence == 1
        with pytest.raises(grpc.RpcError) as caught:
            next(stream.answers)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        stopper.join(60)
        assert not stopper.is_alive()
        stream.close()


def message_of(metric: str) -> pb.StreamRewardsRequest:
    return pb.StreamRewardsRequest(sequence=1, rewards=[pb.RewardRequest(decision_id="abcd", metric=metric)])


def test_a_cancelled_stream_frees_its_place() -> None:
    metrics = Metrics()
    with served(Standin(), Limits(streams=1), metrics) as (channel, _):
        first = Open(channel)
        first.ask(1)
        first.answers.cancel()
        for _ in range(1000):  # the server hears of it in its own time
            again = Open(channel)
            try:
                assert again.ask(2) == 2
                break
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # noqa: PT017
            finally:
                again.close()
        else:
            pytest.fail("the place was never freed")


def test_calls_are_counted_by_method_and_code() -> None:
    metrics = Metrics()
    with served(Standin(), metrics=metrics) as (channel, _):
        stub = PersonalizationServiceStub(channel)
        for name in ("hero", "hero", "missing"):
            with suppress(grpc.RpcError):
                stub.Select(pb.SelectRequest(experiment=name, subject="ann"))
        stream = Open(channel)
        stream.ask(1)
        stream.close()
        assert list(stream.answers) == []
    handled = dict(counts(metrics))
    assert handled[("unary", PERSONALIZATION, "Select", "OK")] == 2
    assert handled[("unary", PERSONALIZATION, "Select", "NOT_FOUND")] == 1
    assert handled[("bidi_stream", PERSONALIZATION, "StreamRewards", "OK")] == 1
    assert metrics.in_flight() == 0


def counts(metrics: Metrics) -> Iterator[tuple[tuple[str, ...], float]]:
    for key, (value,) in metrics.rpc_handled.samples():
        yield key, value
