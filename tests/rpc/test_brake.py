"""More choices than can be answered before their deadlines: some are refused at once, those that are answered are in time."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.rig import timed_calls
from loadtest.rig.timed_calls import Call, Wire
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.rpc.server import PENDING, Limits, Server
from service.rpc.unary import brake
from service.rpc.unary.brake import AT_ONCE, HOLD_S, MOST, Brake
from service.telemetry.metrics import Metrics
from tests.rig.calls import SELECT, port_of
from tests.rig.standin import Standin, served

HERO = pb.SelectRequest(experiment="hero", subject="ann")
HOLD = pb.SelectRequest(experiment="hold", subject="ann")
REFUSED = "reset by the server, error 7"  # REFUSED_STREAM: grpc's clients send it once more by themselves


class Over:
    """A call that is over, as far as a brake looks at it."""

    def __init__(self, deadline: float = math.inf) -> None:
        self.deadline, self.core = deadline, object()


def row(late: int, of: int) -> list[Any]:
    """So many calls whose deadline has passed, and others that have time, or all the time there is."""
    return [Over(time.time() - 1) for _ in range(late)] + [
        Over((math.inf, time.time() + 60)[i % 2]) for i in range(of - late)
    ]


@given(late=st.integers(0, 16), by_one=st.booleans())
def test_it_is_on_where_a_quarter_came_too_late(late: int, by_one: bool) -> None:
    told: list[float] = []
    one = Brake(told.append)
    calls = row(late, 16)
    for part in [[call] for call in calls] if by_one else [calls]:
        assert not one.on
        one.judge(part)
    assert one.on == (late >= 4)
    assert told == [1.0] * one.on


def test_it_is_off_again_a_while_after_the_last() -> None:
    told: list[float] = []
    one = Brake(told.append)
    for _ in range(3):
        one.judge(row(16, 16))
    now = time.perf_counter()
    one.look(now + HOLD_S / 2)
    assert one.on
    one.look(now + HOLD_S + 1)
    assert not one.on
    assert told == [1.0, 0.0]


@given(calls=st.integers(0, 3 * AT_ONCE), room=st.integers(-100, 200), on=st.booleans())
def test_as_many_are_let_go_as_there_is_room_for(calls: int, room: int, on: bool) -> None:
    one = Brake()
    one.on = on
    for _ in range(calls):
        one.keep(Over())  # type: ignore[arg-type]
    one.let_go(room)
    assert calls - len(one.kept) == min(calls, max(0, room) if on else AT_ONCE)
    one.end()
    assert not one.on
    assert not one.kept


def test_at_the_end_it_stays_off() -> None:
    one = Brake()
    one.end()
    one.judge(row(16, 16))
    assert not one.on


def test_it_keeps_no_more_than_it_may() -> None:
    one = Brake()
    for _ in range(MOST + 10):
        one.keep(Over())  # type: ignore[arg-type]
    assert len(one.kept) == MOST


@contextmanager
def overloaded(metrics: Metrics) -> Iterator[tuple[Any, Server, Standin]]:
    """A server in whose line the deadlines of many calls have just passed."""
    standin = Standin()
    with served(standin, Limits(connection=100), metrics) as (channel, server):
        stub = PersonalizationServiceStub(channel)
        first = stub.Select.future(HOLD, timeout=60)
        assert standin.entered.acquire(timeout=20)
        late = [stub.Select.future(HERO, timeout=0.2) for _ in range(60)]
        assert {call.code() for call in late} == {grpc.StatusCode.DEADLINE_EXCEEDED}
        standin.release.set()
        assert first.result(20).arm == "calm"
        assert stub.Select(HERO, timeout=20).arm == "calm"
        assert metrics.overloaded.samples() == [((), [1.0])]
        yield channel, server, standin


def drive(channel: Any, open_at_once: int, calls: int, monkeypatch: pytest.MonkeyPatch) -> timed_calls.Answers:
    """One connection with so many calls open all the time."""
    monkeypatch.setattr(timed_calls, "MOST_OPEN", open_at_once)
    select = Call(SELECT, [HERO.SerializeToString()])
    wire = Wire(port_of(channel), 1)
    try:
        return wire.drive([0.0] * calls, [select] * calls)
    finally:
        wire.close()


def test_who_asks_for_more_than_there_is_room_for_is_refused_some_and_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with overloaded(Metrics()) as (channel, _, _):
        many = drive(channel, 100, 5_000, monkeypatch)
        few = drive(channel, 8, 1_000, monkeypatch)
    assert set(many.endings) == {REFUSED}
    assert 0 < many.failed < 5_000
    assert few.failed == 0, few.told()


def test_once_it_is_over_nobody_is_refused_and_what_was_kept_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brake, "HOLD_S", 0.5)
    metrics = Metrics()
    with overloaded(metrics) as (channel, server, _):
        deadline = time.monotonic() + 20
        while metrics.overloaded.samples() != [((), [0.0])] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert metrics.overloaded.samples() == [((), [0.0])]
        assert drive(channel, 90, 2_000, monkeypatch).failed == 0
        queues = server._queues  # nothing else tells what it keeps
        assert queues is not None
        while any(queue._brake.kept for queue in queues.all) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not any(queue._brake.kept for queue in queues.all)


def test_a_server_ends_while_calls_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with overloaded(Metrics()) as (channel, _, _):
        drive(channel, 100, 1_000, monkeypatch)
    for thread in threading.enumerate():
        if thread.name in ("lever-choices", "lever-calls"):
            thread.join(20)
            assert not thread.is_alive()


def test_callers_without_deadlines_wait_as_ever() -> None:
    """However long the line is, who has time is answered."""
    standin, metrics = Standin(), Metrics()
    with served(standin, Limits(), metrics) as (channel, _):
        stub = PersonalizationServiceStub(channel)
        first = stub.Select.future(HOLD, timeout=60)
        assert standin.entered.acquire(timeout=20)
        calls = [stub.Select.future(HERO) for _ in range(95)]
        standin.release.set()
        assert first.result(20).arm == "calm"
        assert {call.result(20).arm for call in calls} == {"calm"}
        assert metrics.overloaded.samples() == [((), [0.0])]


def test_what_the_core_holds_of_calls_that_nobody_takes_is_bounded() -> None:
    standin = Standin()
    with served(standin, Limits(connection=100)) as (channel, _):
        stub = PersonalizationServiceStub(channel)
        first = stub.Select.future(HOLD, timeout=60)
        assert standin.entered.acquire(timeout=20)
        links = [grpc.insecure_channel(port_of(channel), [("grpc.use_local_subchannel_pool", 1)]) for _ in range(9)]
        try:
            calls = [
                PersonalizationServiceStub(link).Select.future(HERO, timeout=30) for link in links for _ in range(99)
            ]
            refused: list[Any] = []
            deadline = time.monotonic() + 20
            while len(refused) < 891 - 64 - 2 * PENDING and time.monotonic() < deadline:
                time.sleep(0.05)
                refused = [call for call in calls if call.done()]
            standin.release.set()
            assert {call.code() for call in refused} == {grpc.StatusCode.CANCELLED}
            rest = [call for call in calls if call not in refused]
            codes = {call.code() for call in rest}
        finally:
            for link in links:
                link.close()
        assert first.result(20).arm == "calm"
        assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED}
        assert grpc.StatusCode.OK in codes
