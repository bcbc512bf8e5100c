"""Why a visitor gets an arm: the odds, the beliefs, and what each feature adds, in the user's own names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bandits import explanation
from bandits.layout import HOLDOUT, UNCOUNTED, UNDRAWN
from service.errors import InvalidError
from service.experiment.compiled import Experiment
from service.experiment.features.column import Value
from service.serving.personalizer import Reason, full_vector
from service.serving.published import Published
from service.serving.snapshot import Slot, Snapshot
from service.serving.store_clock import StoreClock
from service.serving.token import Opened, TokenKeys, from_text

SMALL = 1e-9  # in units of the metric's scale: what adds less is not told


@dataclass(frozen=True, slots=True)
class Part:
    """What one feature, or two together, add to an arm's mean here, against the average visitor.

    No features: what combinations that this visitor does not have take away.
    """

    features: tuple[str, ...]
    effect: float


@dataclass(frozen=True, slots=True)
class ArmReasons:
    """Of one eligible arm, in the metric's unit; `base` is its mean for the average visitor. None: nothing is believed."""

    arm: str
    probability: float
    mean: float | None
    deviation: float | None
    base: float | None
    parts: tuple[Part, ...]  # the largest first


@dataclass(frozen=True, slots=True)
class Reasons:
    """Beliefs are those of now. `arm` and `propensity` are of the decision when it was made, "" and 0 without one."""

    experiment: str
    version: int
    segment: str
    reason: Reason
    arms: tuple[ArmReasons, ...]
    arm: str = ""
    propensity: float = 0.0
    at_ms: int = 0


class Explainer:
    """Explains choices from what is published; for any thread, off the hot path."""

    def __init__(self, directory: Published, keys: TokenKeys, clock: StoreClock) -> None:
        self._directory = directory
        self._keys = keys
        self._clock = clock

    def context(self, name: str, context: Mapping[str, Value]) -> Reasons:
        """Why a visitor of this context would get what it would. NotFoundError, InvalidError."""
        snapshot = self._directory.named(name)
        exp = snapshot.experiment
        segment = exp.segments.match(context)
        slot = snapshot.slots[segment]
        reason = Reason.POLICY
        if not exp.live(self._clock.now_ms()):
            reason = Reason.INACTIVE
        elif exp.segments.serves_default[segment]:
            reason = Reason.SEGMENT_DEFAULT
        elif len(slot.arms) == 0:
            reason = Reason.NO_ELIGIBLE_ARM
        arms = _arms(exp, slot, full_vector(exp.encoder.encode(context).x))
        return Reasons(exp.name, exp.version, exp.segments.ids[segment], reason, arms)

    def decision(self, name: str, decision_id: str) -> Reasons:
        """The same of a decision that was made, of the experiment `name` or, where that is "", of its own."""
        token = self._keys.open(from_text(decision_id))
        snapshot = self._directory.known(token.uid)
        exp = snapshot.experiment
        if name not in ("", exp.name):
            raise InvalidError.field("decision_id", f"is of the experiment {exp.name!r}")
        slot = snapshot.slots[token.segment]
        arms = _arms(exp, slot, full_vector(token.x))
        return Reasons(
            exp.name, token.version, exp.segments.ids[token.segment], _reason(token, snapshot), arms,
            exp.arms[token.arm].id, token.propensity, token.time,
        )  # fmt: skip


def _reason(token: Opened, snapshot: Snapshot) -> Reason:
    """As far as a decision id says it."""
    if token.flags & HOLDOUT:
        return Reason.HOLDOUT
    if not token.flags & UNDRAWN:
        return Reason.UNCOUNTED if token.flags & UNCOUNTED else Reason.POLICY
    if token.flags & UNCOUNTED:
        return Reason.INACTIVE
    serves = snapshot.experiment.segments.serves_default[token.segment]
    return Reason.SEGMENT_DEFAULT if serves else Reason.NO_ELIGIBLE_ARM


def _arms(exp: Experiment, slot: Slot, x: NDArray[np.int16]) -> tuple[ArmReasons, ...]:
    """Every eligible arm, the most probable first."""
    if len(slot.arms) == 0:
        return ()
    found = explanation.explain(slot.posterior, x, slot.mean, slot.arms)
    names = [column.feature for column in exp.numbers.columns]
    scale = exp.primary.scale
    made = []
    for at, arm in enumerate(slot.arms.tolist()):
        known = not np.isnan(found.mean[at])
        mean, sure, base = (float(v[at]) * scale if known else None for v in (found.mean, found.deviation, found.base))
        effects = _effects(names, found, at)
        parts = tuple(Part(features, effect * scale) for features, effect in effects if abs(effect) > SMALL)
        made.append(ArmReasons(exp.arms[arm].id, float(found.probability[at]), mean, sure, base, parts))
    return tuple(sorted(made, key=lambda one: -one.probability))


def _effects(names: Sequence[str], found: explanation.Explanation, at: int) -> list[tuple[tuple[str, ...], float]]:
    """What features and pairs of features add to the arm at this place, the largest first."""
    effects: dict[tuple[str, ...], float] = {}
    for column, effect in enumerate(found.main[at].tolist()):
        if column:  # the constant adds nothing
            effects[(names[column],)] = effects.get((names[column],), 0.0) + effect
    for (left, right), effect in zip(found.which.tolist(), found.pairs[at].tolist(), strict=True):
        pair = tuple(dict.fromkeys((names[left], names[right]))) if left >= 0 else ()
        effects[pair] = effects.get(pair, 0.0) + effect
    return sorted(effects.items(), key=lambda item: -abs(item[1]))
