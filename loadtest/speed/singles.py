"""Rewards that come one a call, as most do: how many a second, and how long each waits to be durable.

The worker and the store share one core; nothing but the reward's own work is there.
"""

from __future__ import annotations

import select
import time
from collections.abc import Sequence

import numpy as np

from loadtest.rig import pinned, processes, summaries
from loadtest.rig.http2 import DATA, HEADERS, UNHELD, Connection, body
from loadtest.rig.pinned import Stand
from loadtest.rig.server import channel
from loadtest.rig.timed_calls import Call, Wire, poisson
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1 import personalization_pb2_grpc as pb_grpc

REWARD = "/lever.v1.PersonalizationService/Reward"
APPLIED = pb.RewardResponse(outcome=pb.OUTCOME_APPLIED).SerializeToString()
COUNT = 20_000
ROUNDS = 3
WIDTH = (4, 16)  # connections, and calls open on each
SECONDS = 4.0
PATIENCE_S = 5.0


def measure(lever: Stand, experiment: str = "homepage-linucb") -> dict[str, float]:
    """Keys of the last line: rewards a second at full speed, CPU of worker and store for each, p99 at half of it."""
    store = lever.store
    processes.pin(store, lever.core)
    rates, costs = [], []
    try:
        _closed_loop(lever, _messages(lever, experiment, COUNT // 10))
        for _ in range(ROUNDS):
            messages = _messages(lever, experiment, COUNT)
            before, begun = processes.cpu_s(lever.worker, store), time.perf_counter()
            _closed_loop(lever, messages)
            took, cpu = time.perf_counter() - begun, processes.cpu_s(lever.worker, store) - before
            rates.append(COUNT / took)
            costs.append(cpu / COUNT * 1e6)
        rate = summaries.median(rates)
        tails = [_half_load(lever, experiment, rate / 2, number) for number in range(ROUNDS)]
    finally:
        processes.pin(store, lever.other)
    return {
        "single_reward_rps": rate, "single_reward_cpu_us": summaries.median(costs),
        "single_reward_p99_ms": summaries.median(tails),
    }  # fmt: skip


def _messages(lever: Stand, experiment: str, count: int) -> list[bytes]:
    """Requests for as many rewards of as many decisions, none of which was rewarded before."""
    made: list[bytes] = []
    with channel(lever.address) as link:
        stub = pb_grpc.PersonalizationServiceStub(link)
        while len(made) < count:
            answer = stub.SelectBatch(pinned.batch(experiment, time.time_ns() % 2**31), timeout=60)
            made += [pb.RewardRequest(decision=token).SerializeToString() for token in answer.decision_ids]
    return made[:count]


def _closed_loop(lever: Stand, messages: Sequence[bytes]) -> None:
    """Send them all, so many open at a time; RuntimeError unless each is answered with APPLIED."""
    left = list(messages)
    lines = [_Line(Connection(lever.address, UNHELD), left) for _ in range(WIDTH[0])]
    try:
        for line in lines:
            line.fill()
        by_socket = {line.connection.socket: line for line in lines}
        while any(line.open for line in lines):
            for one in select.select(list(by_socket), [], [], PATIENCE_S)[0]:
                by_socket[one].turn()
    finally:
        for line in lines:
            line.connection.socket.close()
    applied = sum(line.applied for line in lines)
    if applied != len(messages):
        raise RuntimeError(f"{applied:,} of {len(messages):,} single rewards were applied")


class _Line:
    """One connection that takes from the common heap."""

    def __init__(self, connection: Connection, left: list[bytes]) -> None:
        self.connection, self._left = connection, left
        self.open = self.applied = 0

    def fill(self) -> None:
        while self._left and self.open < WIDTH[1] and self.connection.window > 20_000:
            self.connection.call(REWARD, body(self._left.pop()))
            self.open += 1
        self.connection.flush()

    def turn(self) -> None:
        """Take in what came, then send as many again."""
        for kind, _, ends, payload in self.connection.read():
            self.applied += kind == DATA and payload[5:] == APPLIED
            self.open -= kind == HEADERS and ends
        self.fill()


def _half_load(lever: Stand, experiment: str, rate: float, seed: int) -> float:
    """p99 in ms of an open loop at this rate. RuntimeError unless each is applied."""
    times = poisson(np.random.default_rng(seed), rate, SECONDS)
    messages = _messages(lever, experiment, len(times) + 200)
    wire = Wire(lever.address)
    try:
        wire.drive(times[:200], [Call(REWARD, messages[-200:])] * 200)
        answers = wire.drive(times, [Call(REWARD, messages[: len(times)])] * len(times), keep=True)
    finally:
        wire.close()
    applied = sum(payload == APPLIED for payload in answers.bodies.values())
    if applied != len(times):
        raise RuntimeError(f"{applied:,} of {len(times):,} single rewards at half load were applied")
    return float(np.percentile(answers.latencies * 1000, 99))
