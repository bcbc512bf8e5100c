"""The shop while it is open: visitors who come now, over gRPC, as a website and a mailer would send them."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Sequence

import grpc
import numpy as np

from service.demo.world import LETTER, WORLDS, World, broken_now
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub

TIMEOUT_S = 10.0
A_SECOND = {"homepage-hero": 24.0, "cart-offer": 8.0}  # visitors
LETTER_S, LETTERS = 8.0, 120  # a letter goes out once in so many seconds, to so many
SOON_S = 8.0  # after so long rewards come on average at the most: nobody who looks on waits for two hours


class Shop:
    """Call `turn` several times a second. Not safe for threads."""

    def __init__(self, channel: grpc.Channel, seed: int | None = None) -> None:
        self._lever = PersonalizationServiceStub(channel)
        self._rng = np.random.default_rng(seed)
        self._due: list[tuple[float, int, str, pb.RewardRequest]] = []
        self._number = itertools.count()
        self._last_s = 0.0
        self._letter_s = 0.0
        self.choices: Counter[str] = Counter()
        self.rewards: Counter[str] = Counter()
        self.broken = False  # whether the homepage's tag is, now

    def turn(self, open_s: float) -> None:
        """All that happens until so many seconds after the opening. Raises grpc.RpcError."""
        passed, self._last_s = open_s - self._last_s, open_s
        self._report(open_s)
        self.broken = any(broken_now(world, open_s) for world in WORLDS)
        for world in WORLDS:
            if world is LETTER:
                if open_s >= self._letter_s:
                    self._letter_s = open_s + LETTER_S
                    self._mail(world, open_s)
            else:
                self._visits(world, int(self._rng.poisson(A_SECOND[world.name] * passed)), open_s)

    def _visits(self, world: World, n: int, open_s: float) -> None:
        subjects, known = world.crowd(self._rng, n)
        rows = list(zip(*known.values(), strict=True))
        for subject, values in zip(subjects, rows, strict=True):
            context = {name: _value(value) for name, value in zip(known, values, strict=True)}
            request = pb.SelectRequest(experiment=world.name, subject=subject, context=context)
            answer = self._lever.Select(request, timeout=TIMEOUT_S)
            self._plan(
                world, (answer.segment, answer.arm), values, pb.RewardRequest(decision_id=answer.decision_id), open_s
            )
        self.choices[world.name] += n

    def _mail(self, world: World, open_s: float) -> None:
        subjects, _ = world.crowd(self._rng, LETTERS)
        request = pb.SelectBatchRequest(experiment=world.name, subjects=sorted(set(subjects)), deferred=True)
        answer = self._lever.SelectBatch(request, timeout=TIMEOUT_S)
        for token, segment, arm in zip(answer.decision_ids, answer.segments, answer.arms, strict=True):
            place = answer.segment_ids[segment], answer.arm_ids[arm]
            self._plan(world, place, (), pb.RewardRequest(decision=token), open_s)
        self.choices[world.name] += len(answer.decision_ids)

    def _plan(
        self,
        world: World,
        place: tuple[str, str],
        known: Sequence[str | bool],
        decision: pb.RewardRequest,
        open_s: float,
    ) -> None:
        """What the visitor will do, if anything."""
        for event in world.events(self._rng, *place, known, broken=broken_now(world, open_s)):
            reward = pb.RewardRequest(metric=event.metric, value=event.value)
            reward.MergeFrom(decision)
            if event.metric == "revenue":
                reward.event_id = "order"
            after_s = event.delay_ms / 1000.0
            if event.metric:
                after_s *= min(1.0, SOON_S * 1000.0 / world.delay_ms)
            heapq.heappush(self._due, (open_s + after_s, next(self._number), world.name, reward))

    def _report(self, open_s: float) -> None:
        """Send the exposures and rewards that are due."""
        now = []
        while self._due and self._due[0][0] <= open_s:
            now.append(heapq.heappop(self._due))
        shown = [pb.ExposeRequest(decision=event.decision) for *_, event in now if not event.metric]
        if shown:
            self._lever.ExposeBatch(pb.ExposeBatchRequest(exposures=shown), timeout=TIMEOUT_S)
        earned = [event for *_, event in now if event.metric]
        if earned:
            message = pb.StreamRewardsRequest(sequence=1, rewards=earned)
            list(self._lever.StreamRewards(iter([message]), timeout=TIMEOUT_S))
        self.rewards.update(name for *_, name, event in now if event.metric)


def _value(value: str | bool) -> pb.FeatureValue:
    return pb.FeatureValue(flag=value) if isinstance(value, bool) else pb.FeatureValue(text=value)
