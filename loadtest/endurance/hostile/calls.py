"""Attacks on the gRPC port by calls that are not finished, not read, or too large. None has a key."""

from __future__ import annotations

import gzip
from contextlib import ExitStack

from loadtest.endurance.hostile.target import Target
from loadtest.rig.raw_http2 import RawConnection, message
from service.pb.lever.v1 import personalization_pb2 as pb

CHOICES, EXPERIMENTS = "/lever.v1.PersonalizationService/", "/lever.v1.ExperimentService/"
SELECT = CHOICES + "Select"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
WATCH = "/grpc.health.v1.Health/Watch"
UNARY = [
    *(CHOICES + name for name in ("Select", "SelectBatch", "Reward", "Expose")),
    *(EXPERIMENTS + name for name in ("PutExperiment", "GetExperiment", "ListExperiments", "GetReport", "Evaluate")),
    "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/List", WATCH,
]  # fmt: skip
STREAMS = [CHOICES + "StreamRewards", REFLECTION]
LINKS = 8
PER_LINK = 100
LARGE = 11 << 20  # bytes of a message whose end never comes


def half_open(target: Target) -> None:
    """Calls of every method with headers only, renewed as they are ended."""
    _keep_open(target, [*UNARY, *STREAMS], b"")


def half_open_selects(target: Target) -> None:
    """The same with Select alone."""
    _keep_open(target, [SELECT], b"")


def half_messages(target: Target) -> None:
    """Calls with most of a large message."""
    _keep_open(target, [SELECT, CHOICES + "SelectBatch"], message(bytes(LARGE))[:-1], per_link=2)


def _keep_open(target: Target, paths: list[str], data: bytes, per_link: int = PER_LINK) -> None:
    with ExitStack() as stack:
        links = [stack.enter_context(RawConnection(target.grpc)) for _ in range(LINKS)]
        for turn in target.turns(0.1):
            for link in links:
                if link.closed:
                    continue
                missing = per_link - ((link.next - 1) // 2 - len(link.ended))
                for number in range(min(missing, 20)):
                    link.open(paths[(turn + number) % len(paths)], data=data or None)
                for _ in range(20 if data else 1):
                    link.take_in(0.0)


def slow_readers(target: Target) -> None:
    """Whole calls of every method whose answers find no window."""
    ask = message(pb.SelectRequest(experiment="fuzzed", subject="ann").SerializeToString())
    with ExitStack() as stack:
        links = [stack.enter_context(RawConnection(target.grpc, window=0)) for _ in range(LINKS)]
        for _ in target.turns(0.02):
            for number, link in enumerate(links):
                missing = PER_LINK - ((link.next - 1) // 2 - len(link.ended))
                for path in [SELECT, UNARY[number % len(UNARY)], WATCH][: max(missing, 0)]:
                    link.open(path, data=ask if path == SELECT else message(b""), end=True)
                if missing > 0:
                    link.open(STREAMS[number % 2], data=message(b"") * 50)
                link.take_in(0.0)


def idle_streams(target: Target) -> None:
    """Streams of every streaming method on which nothing is said."""
    _keep_open(target, [*STREAMS, WATCH], b"")


def oversize(target: Target) -> None:
    """Messages that say they are larger than any may be, and some that are."""
    with ExitStack() as stack:
        links = [stack.enter_context(RawConnection(target.grpc)) for _ in range(4)]
        for turn in target.turns(0.05):
            for link in links:
                if not link.closed:
                    link.open(UNARY[turn % len(UNARY)], data=b"\0\x7f\xff\xff\xff" + bytes(100_000))
                    link.open(SELECT, data=message(bytes(1 << 20)), end=True)
                    for _ in range(20):
                        link.take_in(0.0)


def compressed_bombs(target: Target) -> None:
    """Small messages that unpack to large ones."""
    bomb = message(gzip.compress(bytes(256 << 20)), compressed=True)
    with ExitStack() as stack:
        links = [stack.enter_context(RawConnection(target.grpc)) for _ in range(4)]
        for turn in target.turns(0.1):
            for link in links:
                if not link.closed:
                    link.open(
                        [SELECT, CHOICES + "SelectBatch"][turn % 2], ("grpc-encoding", "gzip"), data=bomb, end=True
                    )
                    link.take_in(0.0)
