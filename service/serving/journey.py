"""A conversion that several decisions led to: its value is shared among them, in each experiment by its metric's own rule.

The shares are kept in the store before the first of them is counted, under the event's id. So whatever fails half-way, and
whatever configuration comes meanwhile, the same call again counts the same shares, each once; another list of decisions
under that id is refused.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from bandits.credit import shares
from bandits.layout import UNCOUNTED
from service.errors import InvalidError, NotFoundError, PreconditionError
from service.experiment.compiled import Experiment
from service.experiment.metric import Metric
from service.serving.rewarder import RewardAnswer, Rewarder, Share, claim_of, metric_of
from service.serving.store_clock import StoreClock
from service.serving.token import Opened
from service.store.contract import Claim, Outcome, Store

MARK_BYTES = 16


@dataclass(frozen=True, slots=True)
class Journey:
    """What a caller reports: raw tokens, the value (None: 1), the event's id, the metric (empty: each one's primary)."""

    decisions: Sequence[bytes]
    value: float | None
    event_id: str
    metric: str = ""


class Credited(NamedTuple):
    """What became of one decision's share: `value` is natural; IGNORED where the share is 0."""

    value: float
    answer: RewardAnswer


class _Touch(NamedTuple):
    token: Opened
    experiment: Experiment
    metric: Metric
    claim: Claim  # its value is not set yet

    @property
    def order(self) -> tuple[int, int, int]:
        return self.token.time, self.token.prefix, self.token.counter


class Journeys:
    """Counts journeys. Safe for any number of threads."""

    def __init__(self, rewarder: Rewarder, store: Store, clock: StoreClock) -> None:
        self._rewarder = rewarder
        self._store = store
        self._clock = clock

    def reward(self, journey: Journey) -> list[Credited]:
        """A share for each decision, in the order given. Raises LeverErrors, and has applied nothing then."""
        touches = [self._touch(journey, i) for i in range(len(journey.decisions))]
        first: dict[tuple[int, int, int], int] = {}
        for i, touch in enumerate(touches):
            at = first.setdefault(touch.order, i)
            if at != i:
                raise InvalidError.field(f"decision_ids[{i}]", f"is the same decision as decision_ids[{at}]")
        places = sorted(range(len(touches)), key=lambda i: touches[i].order)
        parts = dict(zip(places, self._agreed(journey, [touches[i] for i in places]), strict=True))
        some = [i for i in places if parts[i]]
        counted = self._rewarder.reward(
            [Share(touches[i].experiment.uid, replace(touches[i].claim, value=parts[i])) for i in some]
        )
        answers: dict[int, RewardAnswer] = dict(zip(some, counted, strict=True))
        return [
            Credited(parts[i] * touch.metric.unit, answers.get(i, Outcome.IGNORED)) for i, touch in enumerate(touches)
        ]

    def _touch(self, journey: Journey, i: int) -> _Touch:
        try:
            token, experiment = self._rewarder.open(journey.decisions[i])
            metric = metric_of(experiment, journey.metric)
        except InvalidError as error:
            raise InvalidError.field(f"decision_ids[{i}]", error.violations[0].message) from error
        except NotFoundError as error:
            field = f"decision_ids[{i}]" if error.field_name == "decision_id" else error.field_name
            raise NotFoundError(field, str(error)) from error
        deadline = token.time + min(metric.window_ms + metric.grace_ms, token.horizon_ms)
        event = journey.event_id.encode()
        claim = claim_of(token, experiment, metric, 0, event, deadline)
        return _Touch(token, experiment, metric, claim)

    def _agreed(self, journey: Journey, touches: Sequence[_Touch]) -> list[int]:
        """The share of each, in units: those of the first call with this event's id."""
        value = 1.0 if journey.value is None else journey.value
        if value < 0:
            raise InvalidError.field("value", "cannot be negative: take an event back of each decision with `retract`")
        parts = self._shares(value, touches)
        names = b"".join(struct.pack("<QQ", t.token.prefix, t.token.counter) for t in touches)
        mark = hashlib.blake2b(names, digest_size=MARK_BYTES).digest() + struct.pack("<d", value)
        word = hashlib.blake2b(f"{journey.metric}\0{journey.event_id}".encode(), digest_size=16).hexdigest()
        proposal = mark + struct.pack(f"<{len(parts)}q", *parts)
        kept = self._store.remember(word, proposal, max(touch.claim.expires for touch in touches))
        if kept[: len(mark)] != mark:
            said = "this event_id was reported with other decisions or another value; nothing of this call was counted"
            raise PreconditionError(said, "ANOTHER_JOURNEY")
        return list(struct.unpack(f"<{len(parts)}q", kept[len(mark) :]))

    def _shares(self, value: float, touches: Sequence[_Touch]) -> list[int]:
        """In each experiment the whole value, among its decisions that can still count; where none can, among all."""
        now, parts = self._clock.now_ms(), [0] * len(touches)
        for uid in {touch.experiment.uid for touch in touches}:
            all_ = [i for i, t in enumerate(touches) if t.experiment.uid == uid and not t.token.flags & UNCOUNTED]
            mine = [i for i in all_ if touches[i].claim.deadline >= now] or all_
            if not mine:
                continue
            metric = touches[mine[0]].metric
            times = np.array([touches[i].token.time for i in mine], np.int64)
            found = shares(metric.units(value), times, metric.credit, metric.credit_half_life_ms)
            for i, part in zip(mine, found.tolist(), strict=True):
                parts[i] = part
        return parts
