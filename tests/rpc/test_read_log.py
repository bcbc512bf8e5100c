"""Readers of logs: two at a time, cut off where they do not read, and nothing to those who choose."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest

from service.errors import CorruptError, NotFoundError
from service.pb.lever.v1 import experiment_pb2 as pb
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from service.rpc import server as rpc_server
from service.rpc.server import EXPERIMENTS
from tests.rig.calls import all_answer
from tests.rig.standin import Standin, served
from tests.rig.waiting import eventually

if TYPE_CHECKING:
    from service.management.protocols import Offline

ROW = pb.LogRow(entry="1-0", kind="trial", unit=2**64 - 1, segment="s" * 20_000)


class Logs:
    """Logs by name: `endless`, `short`, and such as fail."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.made = 0
        self._lock = threading.Lock()

    def log(self, name: str, after: str) -> Iterator[bytes]:
        if name == "nothing":
            raise NotFoundError("experiment", "there is none")
        with self._lock:
            self.made += 1
            number = self.made
            self.open.add(number)
        try:
            yield pb.ReadLogResponse(columns=[pb.LogColumn(name="entry", type="text")]).SerializeToString()
            while name == "endless":
                yield pb.ReadLogResponse(rows=[ROW]).SerializeToString()
            if name == "damaged":
                raise CorruptError("entry 7-0 does not match its checksum")
        finally:
            self.open.discard(number)


def read(channel: grpc.Channel, name: str) -> Iterator[pb.ReadLogResponse]:
    call: Iterator[pb.ReadLogResponse] = ExperimentServiceStub(channel).ReadLog(
        pb.ReadLogRequest(name=name), timeout=60
    )
    return call


def refused(channel: grpc.Channel, name: str) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        list(read(channel, name))
    return caught.value


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Logs, grpc.Channel]]:
    monkeypatch.setattr(rpc_server, "LOG_S", 1.0)
    given = Logs()
    with served(Standin(), offline=cast("Offline", given)) as (channel, _):
        yield given, channel


def test_a_log_comes_whole_or_with_an_error(logs: tuple[Logs, grpc.Channel]) -> None:
    given, channel = logs
    (only,) = read(channel, "short")
    assert [(column.name, column.type) for column in only.columns] == [("entry", "text")]
    for name, code in (("nothing", "NOT_FOUND"), ("damaged", "DATA_LOSS"), ("", "INVALID_ARGUMENT")):
        assert refused(channel, name).code().name == code
    assert not given.open


def test_two_read_while_all_else_is_answered(logs: tuple[Logs, grpc.Channel]) -> None:
    given, channel = logs
    calls = [read(channel, "endless") for _ in range(2)]
    assert all(next(call).columns for call in calls)
    error = refused(channel, "short")
    assert (error.code(), "2 streams are open" in str(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
    all_answer(channel)
    assert [next(call).rows[0].unit for call in calls] == [2**64 - 1] * 2
    for call in calls:
        call.cancel()  # type: ignore[attr-defined]  # an iterator that is a call
    eventually(lambda: not given.open)
    assert list(read(channel, "short"))


def test_who_does_not_read_is_cut_off(logs: tuple[Logs, grpc.Channel]) -> None:
    given, channel = logs
    calls = [read(channel, "endless") for _ in range(2)]
    eventually(lambda: len(given.open) == 2)
    eventually(lambda: not given.open)  # the connection's window is full, and nobody takes from it
    assert list(read(channel, "short"))
    with pytest.raises(grpc.RpcError) as caught:
        list(calls[0])
    assert caught.value.code() is grpc.StatusCode.CANCELLED


def test_calls_without_their_message_keep_nobody_out(logs: tuple[Logs, grpc.Channel]) -> None:
    _, channel = logs
    released = threading.Event()

    def never() -> Iterator[bytes]:
        released.wait(60)
        yield from ()

    raw: Any = channel.stream_stream(f"/{EXPERIMENTS}/ReadLog")
    half = [raw(never(), timeout=60) for _ in range(12)]

    def answered() -> bool:
        try:
            return bool(list(read(channel, "short")))
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # noqa: PT017
            return False

    eventually(answered)
    all_answer(channel)
    released.set()
    for call in half:
        call.cancel()


def test_a_server_that_stops_ends_its_readers() -> None:
    given = Logs()
    with served(Standin(), offline=cast("Offline", given)) as (channel, server):
        call = read(channel, "endless")
        next(call)
        stopping = threading.Thread(target=server.stop, args=(20,))
        stopping.start()
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        stopping.join(20)
        assert not given.open
