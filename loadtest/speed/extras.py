"""The rest of `python -m loadtest rpc`: batches and rewards at full speed, and how soon a reward is felt."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hiredis
import numpy as np

from loadtest.rig import pinned, processes, summaries
from loadtest.rig.pinned import SUBJECTS, Stand
from loadtest.rig.server import channel
from loadtest.speed import singles, start
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1 import personalization_pb2_grpc as pb_grpc
from service.store.contract import Aggregate, Claim
from service.store.scripts import Keys, Script, claim_call

BATCHES = 12
REWARDS = 30_000
STREAMS = 4
PAGE = 1000  # rewards of a message
SELECT_BATCH = "/lever.v1.PersonalizationService/SelectBatch"


def measure(lever: Stand) -> dict[str, float]:
    """Keys of the last line."""
    found: dict[str, float] = {}
    for algorithm in ("linucb", "beta", "lints"):
        rate, cpu_us = batches(lever, f"homepage-{algorithm}")
        found |= {f"batch_decisions_per_s_{algorithm}": rate, f"batch_cpu_us_{algorithm}": cpu_us}
    found["batch_decisions_per_s"] = found["batch_decisions_per_s_linucb"]
    found["reward_rps"], found["reward_cpu_us"] = rewards(lever, "homepage-beta")
    found |= singles.measure(lever) | start.measure()
    found["reward_floor_rps"] = floor(lever.engine)
    delays = freshness(lever)
    found |= {f"freshness_p{q}_ms": 1000 * summaries.quantile(delays, q / 100) for q in (50, 99)}
    return {key: round(value, 3) for key, value in found.items()}


def batches(lever: Stand, experiment: str) -> tuple[float, float]:
    """Decisions a second of SelectBatch with 10,000 subjects, two calls open, and worker's CPU us per decision."""
    body = pinned.batch(experiment, 3).SerializeToString()
    with channel(lever.address) as link:
        call: Any = link.unary_unary(SELECT_BATCH)  # bytes in, bytes out: the caller parses nothing
        call(body, timeout=60)
        before, begun = processes.cpu_s(lever.worker), time.perf_counter()
        flying = [call.future(body, timeout=60)]
        for _ in range(BATCHES - 1):
            flying = [flying[-1], call.future(body, timeout=60)]
            flying[0].result()
        flying[-1].result()
        took, cpu = time.perf_counter() - begun, processes.cpu_s(lever.worker) - before
    return BATCHES * SUBJECTS / took, cpu / (BATCHES * SUBJECTS) * 1e6


def rewards(lever: Stand, experiment: str) -> tuple[float, float]:
    """Rewards a second through StreamRewards, each applied and durable, and worker's CPU us for each."""
    with channel(lever.address) as link:
        stub = pb_grpc.PersonalizationServiceStub(link)
        tokens: list[bytes] = []
        while len(tokens) < REWARDS:
            tokens += stub.SelectBatch(pinned.batch(experiment, time.time_ns() % 2**31), timeout=60).decision_ids
        pages = [
            pb.StreamRewardsRequest(rewards=[pb.RewardRequest(decision=t) for t in tokens[i : i + PAGE]])
            for i in range(0, REWARDS, PAGE)
        ]
        applied: list[int] = []

        def send(mine: list[pb.StreamRewardsRequest]) -> None:
            answers = stub.StreamRewards(iter(mine), timeout=120)
            applied.extend(sum(r.outcome == pb.OUTCOME_APPLIED for r in answer.results) for answer in answers)

        threads = [threading.Thread(target=send, args=(pages[i::STREAMS],)) for i in range(STREAMS)]
        before, begun = processes.cpu_s(lever.worker), time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took, cpu = time.perf_counter() - begun, processes.cpu_s(lever.worker) - before
    return sum(applied) / took, cpu / max(sum(applied), 1) * 1e6


def floor(engine: Path, columns: int = 15) -> float:
    """Rewards a second when claim.lua is driven bare: packed in advance, sent by a socket, read by hiredis."""
    keys, uid = Keys("floor-" + secrets.token_hex(4)), secrets.token_hex(8)
    script = Script.load("claim")
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(engine))
        reader = hiredis.Reader()
        _ask(link, reader, _packed(("HSET", keys.config(uid), "version", 1)))
        _ask(link, reader, _packed(("SCRIPT", "LOAD", script.text)))
        packed = [_claims(keys, uid, script, page, columns) for page in range(REWARDS // PAGE)]
        begun = time.perf_counter()
        for command in packed:
            if _ask(link, reader, command) != [1] * PAGE:
                message = "the bare script did not apply every claim"
                raise RuntimeError(message)
        took = time.perf_counter() - begun
        _ask(link, reader, _packed(("UNLINK", *keys.all(uid))))
    return REWARDS / took


def _claims(keys: Keys, uid: str, script: Script, page: int, columns: int) -> bytes:
    now, prefix = time.time_ns() // 1_000_000, int.from_bytes(os.urandom(8), "little")
    row = bytes(50 + 2 * columns)
    made = [
        Claim(prefix, page * PAGE + i, now, row, 0, 1, Aggregate.FIRST, b"", now + 3_600_000, now + 9_000_000, False, 1)
        for i in range(PAGE)
    ]
    names, arguments = claim_call(keys, uid, made)
    tagged = [keys.config(uid), keys.log(uid), *names]
    return _packed(("EVALSHA", script.sha, len(tagged), *tagged, len(row), *arguments))


def _packed(command: Any) -> bytes:
    return bytes(hiredis.pack_command(command))


def _ask(link: socket.socket, reader: Any, command: bytes) -> Any:
    link.sendall(command)
    while (reply := reader.gets()) is False:
        reader.feed(link.recv(1 << 16))
    return reply


def freshness(lever: Stand, count: int = 200) -> list[float]:
    """Seconds from a reward's acknowledgement to the first Select whose probability has moved."""
    name = f"fresh-{secrets.token_hex(4)}"
    pinned.put(lever.address, pinned.homepage("beta") | {"experiment": name})
    rng = np.random.default_rng(5)
    with channel(lever.address) as link:
        stub = pb_grpc.PersonalizationServiceStub(link)
        request = pb.SelectRequest(experiment=name, mode=pb.MODE_UNCOUNTED)
        request.context["returning"].flag = True
        subjects = (f"s{i}" for i in range(1000))
        request.subject = next(s for s in subjects if _unheld(stub, request, s))
        delays = []
        for token in _deferred(stub, name, count):
            time.sleep(rng.uniform(0.0, 0.15))  # at no particular time of the server's polls
            before = _felt(stub, request)
            stub.Reward(pb.RewardRequest(decision=token), timeout=5)
            acknowledged = time.perf_counter()
            while _felt(stub, request) == before and time.perf_counter() < acknowledged + 5:
                time.sleep(0.001)
            delays.append(time.perf_counter() - acknowledged)
    return delays


def _felt(stub: Any, request: pb.SelectRequest) -> tuple[str, float]:
    answer = stub.Select(request, timeout=5)
    return answer.arm, answer.propensity


def _unheld(stub: Any, request: pb.SelectRequest, subject: str) -> bool:
    request.subject = subject
    return not stub.Select(request, timeout=5).holdout


def _deferred(stub: Any, experiment: str, count: int) -> Iterator[bytes]:
    """Decisions that nobody knows of until they are rewarded, in the segment that is asked about."""
    request = pinned.batch(experiment, 9, 4 * count)
    request.deferred = True
    made = stub.SelectBatch(request, timeout=60)
    segment = list(made.segment_ids).index("returning-visitors")
    good = [i for i in range(4 * count) if made.segments[i] == segment and made.reasons[i] == pb.REASON_POLICY]
    return (made.decision_ids[i] for i in good[:count])
