"""Which features of visitors and which attributes of arms go along with earning more, in the user's own names."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bandits import contrast
from bandits.auto import restrict
from bandits.posterior import Sums
from bandits.summary import ENOUGH, net, shapes
from service.experiment.compiled import Experiment
from service.experiment.features.registry import TYPES
from service.experiment.spec import MISSING, VALUE, ColumnSpec
from service.learning.replica import Replica
from service.serving.snapshot import Slot, Snapshot, span_of

Floats = NDArray[np.float64]

_SELDOM = f"fewer than {contrast.FEWEST:.0f} rewards with it, or without"
_FEW = f"{contrast.ARMS} arms with it and {contrast.ARMS} without are needed, each of {ENOUGH:.0f} trials"


@dataclass(frozen=True, slots=True)
class Influence:
    """What a trial earns more with a value than without, or for `step` more of an amount; fields as in experiment.proto."""

    name: str
    value: str
    step: float
    too_early: str
    difference: float
    standard_error: float
    low: float
    high: float
    share: float


def of_features(snapshot: Snapshot, replica: Replica) -> tuple[Influence, ...]:
    """Every column of every feature, over all segments where the policy draws; the largest against its error first."""
    experiment, scale = snapshot.experiment, snapshot.experiment.primary.scale
    slots = [slot for slot in snapshot.slots if experiment.segments.draws(slot.segment)]
    columns = experiment.numbers.columns
    if len(columns) < 2 or not slots:
        return ()
    design = replica.state.rules.design
    parts = [restrict(replica.state.sums(slot.segment), design) for slot in slots]
    strata = Sums(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    crowding = np.repeat([slot.crowding for slot in slots], len(experiment.arms))
    found = contrast.features(strata, crowding, _absent(experiment))
    told = []
    for j, column in enumerate(columns):
        if column.feature not in experiment.spec.features or (math.isnan(found.low[j]) and column.role != VALUE):
            continue
        difference, error, low, high = (float(v[j]) * scale for v in found[:4])
        share, step = (0.0 if math.isnan(v[j]) else float(v[j]) for v in (found.share, found.step))
        early = _SELDOM if math.isnan(low) else ""
        step *= _reach(experiment, column)
        told.append(
            Influence(column.feature, _word(experiment, column), step, early, difference, error, low, high, share)
        )
    return tuple(sorted(told, key=lambda one: (bool(one.too_early), -_against(one))))


def of_attributes(experiment: Experiment, slot: Slot) -> tuple[Influence, ...]:
    """Every attribute of the arms, by what their means in a segment are believed to be."""
    known = [arm.number for arm in experiment.arms if slot.seen.n[arm.number] >= ENOUGH]
    span = net(slot.seen, span_of(experiment.primary))
    a, b, _ = shapes(slot.seen, span_of(experiment.primary))[known].T
    width = span.high - span.low
    mean, variance = a / (a + b), a * b / ((a + b) ** 2 * (a + b + 1.0))
    unit = width * experiment.primary.scale
    told = []
    for name, value, every in _designs(experiment):
        z = every[known]
        amount, few = not value, min(int(z.sum()), int((1.0 - z).sum())) < contrast.ARMS
        step = float(z.std()) if amount and len(z) else 1.0
        found = contrast.NOTHING if few and not amount else contrast.attribute(mean, variance, z)
        early = _FEW if math.isnan(found.low) else ""
        difference, error, low, high = (v * step * unit for v in found)
        share = 1.0 if amount else float(every.mean())
        told.append(Influence(name, value, step if amount else 0.0, early, difference, error, low, high, share))
    return tuple(told)


def _against(one: Influence) -> float:
    return abs(one.difference) / one.standard_error if one.standard_error > 0.0 else 0.0


def _absent(experiment: Experiment) -> NDArray[np.int64]:
    """As contrast.features wants it."""
    columns = experiment.numbers.columns
    numbers = {column: number for number, column in enumerate(columns)}
    out = np.full(len(columns), -2, np.int64)
    for j, column in enumerate(columns):
        if column.role == VALUE and _quantity(experiment, column):
            out[j] = numbers.get(ColumnSpec(column.feature, MISSING), -1)
    return out


def _quantity(experiment: Experiment, column: ColumnSpec) -> bool:
    feature = experiment.spec.features.get(column.feature)
    return feature is not None and TYPES[feature.type].quantity


def _reach(experiment: Experiment, column: ColumnSpec) -> float:
    """What one of a column is in the feature's own unit."""
    feature = experiment.spec.features[column.feature]
    return 0.5 * (feature.max - feature.min) if _quantity(experiment, column) else 0.0


def _word(experiment: Experiment, column: ColumnSpec) -> str:
    if column.role != VALUE:
        return f"({column.role})"
    return "" if _quantity(experiment, column) else column.value or "true"


def _designs(experiment: Experiment) -> Iterator[tuple[str, str, Floats]]:
    """Each attribute's values by arm, f8[arms]: amounts, or 1 for a value; of two that exclude each other only one."""
    for name in sorted({name for arm in experiment.arms for name in arm.attributes}):
        values = [arm.attributes.get(name) for arm in experiment.arms]
        if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
            yield name, "", np.array(values, np.float64)
            continue
        seen: list[Floats] = []
        for value in sorted({_text(one) for one in values if one is not None}, reverse=True):
            z = np.array([one is not None and _text(one) == value for one in values], np.float64)
            if not any(np.array_equal(1.0 - z, other) for other in seen):
                seen.append(z)
                yield name, value, z


def _text(value: str | bool | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
