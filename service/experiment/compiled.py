"""An experiment, compiled: everything a decision, a reward or the fold asks of its configuration.

The record is what the store keeps: one version as JSON, with the text as it was applied, the checked Spec and the
numbers. `build` makes it, `read` compiles it; both are pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.errors import CorruptError, InvalidError, Violation
from service.experiment.doubts import lookalikes
from service.experiment.encoder import Encoder
from service.experiment.guardrails import Pause, Pauses
from service.experiment.metric import Metric, metric_of
from service.experiment.numbering import Numbers, number, with_products
from service.experiment.parsing.metrics import whole_weights
from service.experiment.parsing.settings import warnings_of
from service.experiment.products import design_of
from service.experiment.segments import Segments
from service.experiment.served import unservable, winner_learned
from service.experiment.spec import ArmSpec, ExclusionSpec, GuardrailSpec, Kept, Spec
from service.experiment.state_bound import check_state, room_for_products
from service.store.rows import Composite
from service.text.fields import nearest

if TYPE_CHECKING:
    from bandits.expansion import Design

FORMAT = 1
NO_HOLDOUT = (
    "holdout: there is none, so you will not be able to say what it was worth; `holdout: {share: 0.05}` keeps 5 % of the "
    "subjects on the default arm"
)
_STEADY = ("fixed", "uniform")  # algorithms that learn nothing: what each arm is worth is seen without a holdout


class Record(Kept, frozen=True):
    """One stored version of an experiment. `by` is the name of the key that wrote it; no part of what it means."""

    format: int
    uid: str
    version: int
    applied_at_ms: int
    text: str
    spec: Spec
    numbers: Numbers
    by: str = ""
    pauses: Pauses = Pauses()
    exclusions: tuple[ExclusionSpec, ...] = ()
    excluded: int = 0  # exclusions that there ever were


@dataclass(frozen=True, slots=True)
class Arm:
    """One variant; `segments` are numbers, None means everywhere. Active from start_ms to before end_ms."""

    number: int
    id: str
    payload_json: str
    attributes: Mapping[str, str | bool | int | float]
    segments: frozenset[int] | None
    state: str
    start_ms: int | None
    end_ms: int | None
    cost: float  # of showing it once, in the primary metric's own unit

    def active(self, segment: int, now_ms: int) -> bool:
        """Whether it may be drawn in that segment now."""
        return (
            self.state == "active"
            and (self.segments is None or segment in self.segments)
            and _within(self.start_ms, self.end_ms, now_ms)
        )


@dataclass(frozen=True, slots=True)
class Experiment:
    """One version of an experiment. Arms, segments and metrics are indexed by number and hold dropped ones too.

    `metric_numbers` has only metrics that still take rewards. `columns` counts the constant and dropped columns, but
    not products, which `design` has too.
    `settings` are complete: those given over the algorithm's defaults; for `fixed` also weights by arm number.
    """

    uid: str
    name: str
    version: int
    applied_at_ms: int
    text: str
    state: str
    winner: int | None  # one arm for all, in an experiment that has ended
    winner_learned: bool  # or each segment's own
    start_ms: int | None
    end_ms: int | None
    arms: tuple[Arm, ...]
    arm_numbers: Mapping[str, int]
    default_arm: int
    algorithm: str
    settings: Mapping[str, float]
    encoder: Encoder
    segments: Segments
    metrics: tuple[Metric, ...]
    metric_numbers: Mapping[str, int]
    primary: Metric
    composites: tuple[tuple[Composite, int], ...]  # with the version from which on decisions move each
    priors: Mapping[int, tuple[float, float]]  # by arm number: mean / scale of the primary metric, weight
    holdout_share: float
    holdout_uniform: bool
    sticky_ms: int | None
    half_life_ms: int | None
    horizon_ms: int
    keep_ms: int
    keep_bytes: int
    salt: int
    columns: int
    design: Design
    spec: Spec
    numbers: Numbers
    guardrails: tuple[GuardrailSpec, ...]
    pauses: Pauses
    exclusions: tuple[ExclusionSpec, ...]
    excluded: int

    @property
    def costs(self) -> NDArray[np.float64] | None:
        """f8[arms]: what showing each costs, in units of the primary metric's scale; None: nothing."""
        if not any(arm.cost for arm in self.arms):
            return None
        return np.array([arm.cost / self.primary.scale for arm in self.arms])

    def moved(self, metric: int, version: int) -> tuple[Composite, ...]:
        """The sums of metrics that a reward of this one moves, of a decision of this version."""
        return tuple(one for one, since in self.composites if version >= since and metric in dict(one.parts))

    def eligible(self, segment: int, now_ms: int) -> tuple[int, ...]:
        """Numbers of the arms that may be drawn in the segment now, ascending."""
        return tuple(arm.number for arm in self.arms if arm.active(segment, now_ms))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is taken but hardly meant: settings without effect, values that differ in nothing one sees, no holdout."""
        from bandits.policy import POLICIES

        given = self.spec.algorithm
        settings = warnings_of(POLICIES[given.name], given.settings)
        told = self.holdout_share or self.algorithm in _STEADY or self.state == "ended"
        lift = () if told else (NO_HOLDOUT,)
        said = (f"algorithm.{one}" for one in settings)
        return (*said, *lookalikes(self.spec.features), *lift, *self.pauses.warnings)

    def live(self, now_ms: int) -> bool:
        """Whether it chooses now: active and inside its dates."""
        return self.state == "active" and _within(self.start_ms, self.end_ms, now_ms)

    def next_change(self, now_ms: int) -> int | None:
        """The next moment after now at which a date changes what `live` or `eligible` say."""
        dates = [self.start_ms, self.end_ms]
        for arm in self.arms:
            if arm.state == "active":
                dates += [arm.start_ms, arm.end_ms]
        return min((date for date in dates if date is not None and date > now_ms), default=None)


def build(
    spec: Spec, text: str, uid: str, now_ms: int, old: Experiment | None, state_max: int = 256 << 20, by: str = "",
    pausing: Mapping[str, Pause] | None = None,
) -> bytes:  # fmt: skip
    """The record of the next version: `old`'s version + 1, or 1, written `by` a key of that name, or a guardrail.

    Raises InvalidError for what the file alone does not show: a default arm or winner that is not there at some time,
    changes that are refused, too many numbers with those of dropped things, a state that could outgrow `state_max` bytes.
    """
    if old is not None and spec.experiment != old.name:
        message = f'cannot be renamed from "{old.name}" to "{spec.experiment}"'
        raise InvalidError([Violation("experiment", message, nearest(spec.lines, "experiment"))])
    unserved = unservable(spec, now_ms)
    if unserved:
        raise InvalidError(unserved)
    version = 1 if old is None else old.version + 1
    numbers = number(spec, old.numbers if old is not None else None, version)
    numbers = with_products(numbers, spec, room_for_products(numbers, state_max))
    check_state(numbers, spec.lines, state_max)
    kept = msgspec.structs.replace(spec, lines={})
    pauses = (Pauses() if old is None else old.pauses).carried(pausing or {}, spec.arms)
    exclusions, excluded = (old.exclusions, old.excluded) if old is not None else ((), 0)
    made = Record(FORMAT, uid, version, now_ms, text, kept, numbers, by, pauses, exclusions, excluded)
    return msgspec.json.encode(made)


@lru_cache(maxsize=32)
def read(record: bytes) -> Experiment:
    """Compile a record. CorruptError if it does not decode or does not fit together.

    A record passes here several times on its way (checked when it is put, folded, read back), so the last few are kept:
    equal bytes are the same, immutable, Experiment.
    """
    try:
        decoded = msgspec.json.decode(record, type=Record)
        if decoded.format != FORMAT:
            raise CorruptError(
                f"an experiment's record has format {decoded.format}; this version of Lever reads {FORMAT}"
            )
        return _compile(decoded)
    except (msgspec.MsgspecError, LookupError, StopIteration, UnicodeDecodeError) as error:
        newer = " (a newer version of Lever wrote it)" if "unknown field" in str(error) else ""
        raise CorruptError(f"an experiment's record does not decode: {error}{newer}") from error


def _compile(record: Record) -> Experiment:
    spec, numbers = record.spec, record.numbers
    segments = Segments(numbers.segments, spec.segments)
    arms = tuple(_arm(place, arm, segments) for place, arm in enumerate(numbers.arms))
    arm_numbers = {arm.id: arm.number for arm in arms}
    live = {metric.id for metric in spec.metrics}
    metrics = tuple(metric_of(place, metric, metric.id in live) for place, metric in enumerate(numbers.metrics))
    return Experiment(
        uid=record.uid,
        name=spec.experiment,
        version=record.version,
        applied_at_ms=record.applied_at_ms,
        text=record.text,
        state=spec.state,
        winner=None if spec.winner is None or winner_learned(spec) else arm_numbers[spec.winner],
        winner_learned=winner_learned(spec),
        start_ms=spec.start_ms,
        end_ms=spec.end_ms,
        arms=arms,
        arm_numbers=arm_numbers,
        default_arm=arm_numbers[spec.default_arm],
        algorithm=spec.algorithm.name,
        settings=_settings(spec, arm_numbers),
        encoder=Encoder(numbers.columns, spec.features),
        segments=segments,
        metrics=metrics,
        metric_numbers={metric.id: metric.number for metric in metrics if metric.live},
        primary=next(metric for metric in metrics if metric.primary),
        composites=_composites(numbers),
        priors=_priors(numbers.arms, next(metric for metric in metrics if metric.primary)),
        holdout_share=spec.holdout_share,
        holdout_uniform=spec.holdout_uniform,
        sticky_ms=spec.sticky_ms,
        half_life_ms=spec.half_life_ms,
        horizon_ms=max(metric.window_ms + metric.grace_ms for metric in spec.metrics),
        keep_ms=spec.keep_ms,
        keep_bytes=spec.keep_bytes,
        salt=int.from_bytes(hashlib.blake2b(record.uid.encode(), digest_size=8).digest(), "little"),
        columns=len(numbers.columns),
        design=design_of(numbers.columns, numbers.features, numbers.products),
        spec=spec,
        numbers=numbers,
        guardrails=spec.guardrails,
        pauses=record.pauses,
        exclusions=record.exclusions,
        excluded=record.excluded,
    )


def _composites(numbers: Numbers) -> tuple[tuple[Composite, int], ...]:
    """Dropped ones too: what they came to is to stay the sum of their parts."""
    by_id = {metric.id: metric for metric in numbers.metrics}
    places = {metric.id: place for place, metric in enumerate(numbers.metrics)}
    return tuple(
        (
            Composite(places[name], tuple((places[part], w) for part, w in whole_weights(by_id[name], by_id).items())),
            since,
        )
        for name, since in numbers.since.items()
    )


def _arm(place: int, spec: ArmSpec, segments: Segments) -> Arm:
    where = None if spec.segments is None else frozenset(segments.numbers[segment] for segment in spec.segments)
    return Arm(
        place, spec.id, spec.payload, spec.attributes, where, spec.state, spec.start_ms, spec.end_ms, spec.cost or 0.0
    )


def _priors(arms: Sequence[ArmSpec], primary: Metric) -> Mapping[int, tuple[float, float]]:
    given = [(number, arm.prior) for number, arm in enumerate(arms) if arm.prior is not None]
    return {number: (prior.mean / primary.scale, prior.weight) for number, prior in given}


def _settings(spec: Spec, arm_numbers: Mapping[str, int]) -> Mapping[str, float]:
    from bandits.policy import POLICIES

    weights = {str(arm_numbers[arm]): weight for arm, weight in spec.algorithm.weights.items()}
    return POLICIES[spec.algorithm.name].complete(spec.algorithm.settings | weights)


def _within(start_ms: int | None, end_ms: int | None, now_ms: int) -> bool:
    return (start_ms is None or start_ms <= now_ms) and (end_ms is None or now_ms < end_ms)
