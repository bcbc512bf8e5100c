"""Requests that come packed: read as any other, and never unpacked beyond a bound, by whichever method."""

from __future__ import annotations

import tracemalloc
import zlib
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import given
from hypothesis import strategies as st

from service.pb.lever.v1 import experiment_pb2, personalization_pb2
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.rpc.requests.reading import AT_ONCE_BYTES, MALFORMED, reader
from service.rpc.server import EXPERIMENTS, PERSONALIZATION
from tests.rig.standin import Standin, served

GZIP, ZLIB = 31, 15
ALGORITHMS = (grpc.Compression.Gzip, grpc.Compression.Deflate)
AT_ONCE = [
    f"/{PERSONALIZATION}/Select", f"/{PERSONALIZATION}/Reward", f"/{PERSONALIZATION}/Expose",
    "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch",
]  # fmt: skip
IN_POOLS = [f"/{PERSONALIZATION}/SelectBatch", f"/{EXPERIMENTS}/PutExperiment"]
STREAMED = [f"/{PERSONALIZATION}/StreamRewards"]


def packed(data: bytes, wbits: int) -> bytes:
    """As gzip or zlib has it."""
    packing = zlib.compressobj(wbits=wbits)
    return packing.compress(data) + packing.flush()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_request_may_be_packed_and_large(algorithm: grpc.Compression) -> None:
    standin = Standin()
    given: dict[str, Any] = {"timeout": 20, "compression": algorithm}
    with served(standin) as (channel, _):
        stub = PersonalizationServiceStub(channel)
        request = pb.SelectRequest(experiment="hero", subject="ann")
        for number in range(256):
            request.context[f"feature{number}"].text = "x" * 1000
        assert stub.Select(request, **given).arm == "calm"
        subjects = [f"subject-{number}" for number in range(10_000)]
        batch = pb.SelectBatchRequest(experiment="hero", subjects=subjects)
        assert len(stub.SelectBatch(batch, **given).decision_ids) == 10_000
        rewards = [pb.RewardRequest(decision_id="abcd")] * 100
        assert list(stub.StreamRewards(iter([pb.StreamRewardsRequest(rewards=rewards)]), **given))
        health = health_pb2_grpc.HealthStub(channel)
        for answer in (health.Check, lambda *it, **more: next(health.Watch(*it, **more))):
            assert answer(health_pb2.HealthCheckRequest(service=PERSONALIZATION), **given).status == 1
    assert [len(asked[2 if asked[1] == "ann" else 1]) for asked in standin.asked[:2]] == [256, 10_000]


@pytest.mark.parametrize("path", [*AT_ONCE, *IN_POOLS, *STREAMED])
def test_what_unpacks_to_more_than_a_message_may_have_is_refused(path: str) -> None:
    data = bytes((1 if path in AT_ONCE else 9) << 20)
    with served(Standin()) as (channel, _):
        call: Any = channel.stream_stream(path)
        with pytest.raises(grpc.RpcError) as caught:
            list(call(iter([data]), timeout=20, compression=grpc.Compression.Gzip))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "unpacks to more" in (caught.value.details() or "")


@given(st.binary(max_size=200), st.sampled_from([GZIP, ZLIB]))
def test_it_reads_what_was_packed_and_nothing_of_what_is_cut_or_goes_on(data: bytes, wbits: int) -> None:
    read, whole = reader(bytes), packed(data, wbits)
    assert read(whole) == data
    assert read(whole[:-1]) is MALFORMED
    assert read(whole + b"x") is MALFORMED


@pytest.mark.parametrize("wbits", [GZIP, ZLIB])
def test_it_stops_at_the_bound(wbits: int) -> None:
    read = reader(bytes, at_once=True)
    most, over = (packed(bytes(AT_ONCE_BYTES + more), wbits) for more in (0, 1))
    bomb = packed(bytes(16 << 20), wbits)
    assert read(most) == bytes(AT_ONCE_BYTES)
    assert read(over) is MALFORMED
    tracemalloc.start()
    try:
        assert read(bomb) is MALFORMED
        assert tracemalloc.get_traced_memory()[1] < 3 * AT_ONCE_BYTES
    finally:
        tracemalloc.stop()


def test_no_request_could_be_taken_for_a_packed_one() -> None:
    """`reading._PACKED`: gzip begins with a wire type that there is not, zlib with field 15 as a number."""
    files = (personalization_pb2, experiment_pb2)
    services = [one for file in files for one in file.DESCRIPTOR.services_by_name.values()]
    requests = {method.input_type for service in services for method in service.methods}
    assert len(requests) > 10
    assert [one.full_name for one in requests if 15 in one.fields_by_number] == []
