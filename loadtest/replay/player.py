"""Plays simulated visitors against a live server: choose, click or not, report the click."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue

import grpc
import numpy as np

from bandits.policy import POLICIES as KNOWN
from loadtest.replay.dataset import Dataset
from loadtest.replay.effects import Floats, Ints
from loadtest.replay.world import World
from loadtest.rig.server import channel
from service.pb.lever.v1 import experiment_pb2, experiment_pb2_grpc
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1 import personalization_pb2_grpc as rpc

CONTEXTUAL, CONTEXT_FREE = "linucb", "beta"
POLICIES = (CONTEXTUAL, CONTEXT_FREE)
TIMEOUT = 30.0
MESSAGE_REWARDS = 1000  # the contract's limit a stream message
Tick = Callable[[int], None]


class PlayError(Exception):
    """The server answered something a healthy run cannot have; the text is for people."""


@dataclass
class Played:
    """What one policy did with visitors 0..n-1: the arm it chose, whether it was clicked, and with what probability."""

    arms: Ints
    clicks: Ints
    propensity: Floats
    settle_seconds: float = field(default=0.0)

    @classmethod
    def empty(cls, visitors: int) -> Played:
        """Room for so many."""
        return cls(np.zeros(visitors, np.int64), np.zeros(visitors, np.int64), np.zeros(visitors))


def arm_id(item: int) -> str:
    """Name of an item's arm."""
    return f"item-{item}"


def config(data: Dataset, name: str, policy: str, rate: float | None) -> str:
    """An experiment over the items of a campaign, as JSON.

    `rate` is the click rate known from history, for the prior: one click in 1/rate views an item. For linear policies
    the same belief is a ridge of 1/rate: a coefficient's prior deviation noise / sqrt(lambda) = sqrt(rate) / sqrt(1/rate)
    is then the rate itself. None, and a policy with neither setting, leaves the settings as they come.
    """
    algorithm: dict[str, object] = {"name": policy}
    if rate is not None:
        views = round(1.0 / rate)
        prior = {"prior_a": 1, "prior_b": views - 1, "lambda": views}
        algorithm |= {name: value for name, value in prior.items() if name in KNOWN[policy].settings}
    experiment: dict[str, object] = {
        "experiment": name,
        "description": f"{data.name}: which item to recommend",
        "arms": [{"id": arm_id(k), "payload": {"item": k}} for k in range(data.items)],
        "default_arm": arm_id(0),
        "algorithm": algorithm,
        "metrics": [{"id": "click", "window": "1d"}],
    }
    if KNOWN[policy].contextual:
        experiment["features"] = {f.name: {"type": "category", "values": list(f.values)} for f in data.features}
    return json.dumps(experiment)


def history_rate(data: Dataset) -> float:
    """The click rate a shop would know before it starts: of its uniformly chosen items."""
    return float(data.click[data.uniform].mean())


def put(address: str, text: str) -> None:
    """Apply an experiment that must not be there yet."""
    with channel(address) as link:
        request = experiment_pb2.PutExperimentRequest(config=text, expected_version=0)
        experiment_pb2_grpc.ExperimentServiceStub(link).PutExperiment(request, timeout=TIMEOUT)


def delete(address: str, name: str) -> None:
    """Remove an experiment."""
    with channel(address) as link:
        request = experiment_pb2.DeleteExperimentRequest(name=name)
        experiment_pb2_grpc.ExperimentServiceStub(link).DeleteExperiment(request, timeout=TIMEOUT)


def context_of(data: Dataset, row: int) -> dict[str, pb.FeatureValue]:
    """A logged row's context as the contract wants it."""
    return {name: pb.FeatureValue(text=text) for name, text in data.texts(row).items()}


def counted(outcome: int, what: str) -> None:
    """A reward of this run is new and on time."""
    if outcome != pb.OUTCOME_APPLIED:
        raise PlayError(f"{what} was answered {pb.Outcome.Name(outcome)}")


def play_unary(
    address: str, world: World, seed: int, names: dict[str, str], decisions: int, threads: int, tick: Tick
) -> dict[str, Played]:
    """One Select and, where there is a click, one Reward a visitor and policy; `names` maps policy to experiment.

    Each thread takes every `threads`-th visitor, plays it to all policies and goes on: visitors come about in order.
    """
    played = {policy: Played.empty(decisions) for policy in names}
    contexts = world.contexts(seed, np.arange(decisions))
    arms = {arm_id(k): k for k in range(world.data.items)}

    def run(first: int) -> None:
        with channel(address) as link:
            stub = rpc.PersonalizationServiceStub(link)
            for visitor in range(first, decisions, threads):
                context = context_of(world.data, int(contexts[visitor]))
                for policy, name in names.items():
                    known = context if KNOWN[policy].contextual else {}
                    request = pb.SelectRequest(experiment=name, subject=f"{seed}-{visitor}", context=known)
                    answer = stub.Select(request, timeout=TIMEOUT)
                    arm = arms[answer.arm]
                    clicked = bool(world.clicks(seed, np.array([visitor]), np.array([arm]))[0])
                    if clicked:
                        reward = pb.RewardRequest(decision_id=answer.decision_id)
                        counted(stub.Reward(reward, timeout=TIMEOUT).outcome, f"the click of visitor {visitor}")
                    mine = played[policy]
                    mine.arms[visitor], mine.clicks[visitor] = arm, clicked
                    mine.propensity[visitor] = answer.propensity
                tick(1)

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(run, first) for first in range(threads)]:
            done.result()
    return played


class RewardStream:
    """One open StreamRewards call."""

    def __init__(self, stub: rpc.PersonalizationServiceStub) -> None:
        self._queue: SimpleQueue[pb.StreamRewardsRequest | None] = SimpleQueue()
        self._answers = stub.StreamRewards(self._requests())
        self._sequence = 0

    def _requests(self) -> Iterator[pb.StreamRewardsRequest]:
        while (request := self._queue.get()) is not None:
            yield request

    def send(self, decisions: list[bytes]) -> None:
        """Report one click for each decision and wait until all are acknowledged."""
        for start in range(0, len(decisions), MESSAGE_REWARDS):
            part = [pb.RewardRequest(decision=d) for d in decisions[start : start + MESSAGE_REWARDS]]
            self._sequence += 1
            self._queue.put(pb.StreamRewardsRequest(rewards=part, sequence=self._sequence))
            answer = next(self._answers)
            if answer.sequence != self._sequence or len(answer.results) != len(part):
                raise PlayError("a stream's answer does not fit its message")
            for result in answer.results:
                if result.code:
                    raise PlayError(f"a reward was refused: {result.message}")
                counted(result.outcome, "a streamed click")

    def close(self) -> None:
        """End the call."""
        self._queue.put(None)
        for _ in self._answers:
            pass


def batch_columns(data: Dataset, rows: Ints) -> list[pb.FeatureColumn]:
    """The contexts of logged rows, columnar."""
    return [
        pb.FeatureColumn(feature=f.name, texts=data.context[rows, c].tolist(), dictionary=f.values)
        for c, f in enumerate(data.features)
    ]


def play_batches(
    address: str, world: World, seed: int, names: dict[str, str], decisions: int, chunk: int, settle: float, tick: Tick
) -> dict[str, Played]:
    """SelectBatch for `chunk` visitors, their clicks by StreamRewards, `settle` seconds for the server to learn, again.

    As a mailer who sends in waves: nothing of a wave is known while it is chosen.
    """
    played = {policy: Played.empty(decisions) for policy in names}
    with channel(address) as link:
        stub = rpc.PersonalizationServiceStub(link)
        stream = RewardStream(stub)
        for start in range(0, decisions, chunk):
            visitors = np.arange(start, min(start + chunk, decisions))
            subjects = [f"{seed}-{v}" for v in visitors.tolist()]
            context = batch_columns(world.data, world.contexts(seed, visitors))
            for policy, name in names.items():
                known = context if KNOWN[policy].contextual else []
                request = pb.SelectBatchRequest(experiment=name, subjects=subjects, context=known)
                answer = stub.SelectBatch(request, timeout=TIMEOUT)
                numbers = np.array([int(a.removeprefix("item-")) for a in answer.arm_ids], dtype=np.int64)
                arms = numbers[np.array(answer.arms, dtype=np.int64)]
                clicks = world.clicks(seed, visitors, arms)
                mine = played[policy]
                mine.arms[visitors], mine.clicks[visitors] = arms, clicks
                mine.propensity[visitors] = answer.propensities
                stream.send([answer.decision_ids[i] for i in np.flatnonzero(clicks)])
            tick(len(visitors))
            time.sleep(settle)
        stream.close()
    return played


def explain(error: grpc.RpcError) -> str:
    """A failed call for people."""
    if isinstance(error, grpc.Call):
        return f"{error.code().name}: {error.details()}"
    return repr(error)
