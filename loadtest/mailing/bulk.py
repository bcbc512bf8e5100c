"""Exposures and rewards in bulk, through one worker: how many a second, and what each costs it."""

from __future__ import annotations

import base64
import csv
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from loadtest.rig.processes import cpu_s, resident_mb
from loadtest.rig.server import Server, ServerError, channel
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub

_MESSAGE = 1_000
_UNDER_WAY = 4


def measure(server: Server, choices: Path, count: int) -> dict[str, float]:
    """Every decision exposed, then rewarded. ServerError where one is refused."""
    with choices.open(newline="") as file:
        ids = [_raw(row["decision_id"]) for row in islice(csv.DictReader(file), count)]
    parts = [ids[start : start + _MESSAGE] for start in range(0, len(ids), _MESSAGE)]
    exposures = [pb.ExposeBatchRequest(exposures=[pb.ExposeRequest(decision=one) for one in part]) for part in parts]
    rewards = [pb.StreamRewardsRequest(rewards=[pb.RewardRequest(decision=one) for one in part]) for part in parts]
    with channel(server.address) as link:
        stub = PersonalizationServiceStub(link)
        store = server.children("-server ")
        memory = [resident_mb(*store)]
        found = {"exposures": _timed(server, len(ids), _exposed(stub, exposures))}
        memory.append(resident_mb(*store))
        found["rewards"] = _timed(server, len(ids), stub.StreamRewards(iter(rewards), timeout=600))
        memory.append(resident_mb(*store))
    made = {f"{name}_{what}": value for name, each in found.items() for what, value in each.items()}
    for name, more in zip(found, (memory[1] - memory[0], memory[2] - memory[0]), strict=True):
        made[f"store_mb_per_million_{name}"] = round(1e6 * more / len(ids))
    return made


def _exposed(
    stub: PersonalizationServiceStub, requests: Iterable[pb.ExposeBatchRequest]
) -> Iterator[pb.ExposeBatchResponse]:
    flying: deque[Any] = deque()
    for request in requests:
        flying.append(stub.ExposeBatch.future(request, timeout=60))
        if len(flying) == _UNDER_WAY:
            yield flying.popleft().result()
    while flying:
        yield flying.popleft().result()


def _timed(
    server: Server, count: int, answers: Iterable[pb.ExposeBatchResponse | pb.StreamRewardsResponse]
) -> dict[str, float]:
    workers = server.workers()
    cpu, begun = cpu_s(*workers), time.monotonic()
    applied = sum(r.outcome == pb.OUTCOME_APPLIED for answer in answers for r in answer.results)
    seconds, spent = time.monotonic() - begun, cpu_s(*workers) - cpu
    if applied != count:
        raise ServerError(f"{applied:,} of {count:,} were counted")
    return {"per_s": round(count / seconds), "per_cpu_s": round(count / spent)}


def _raw(decision_id: str) -> bytes:
    return base64.urlsafe_b64decode(decision_id + "=" * (-len(decision_id) % 4))
