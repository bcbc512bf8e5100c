"""Numbers outlive names: arms, segments, metrics and feature columns get a number when first seen, never reused.

Rows and tokens hold numbers, so whatever an update drops keeps its place: an arm becomes retired, a segment matches
nobody, a metric takes no more rewards, a column is zero. What would change the meaning of sums already kept is
refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from bandits.layout import COARSE_GRID, FINE_GRID
from service.errors import InvalidError, Violation
from service.experiment.features.registry import TYPES, feature_columns
from service.experiment.products import ProductSpec, products
from service.experiment.spec import (
    CONSTANT,
    DEFAULT_SEGMENT,
    MAX_ARMS,
    MAX_COLUMNS,
    MAX_METRICS,
    MAX_SEGMENTS,
    ArmSpec,
    ColumnSpec,
    FeatureSpec,
    Kept,
    MetricSpec,
    SegmentSpec,
    Spec,
)
from service.text.fields import nearest


class Numbers(Kept, frozen=True):
    """Everything ever seen, by number, in its newest form; `features` also has those that were dropped.

    `columns` are the main columns, as rows have them; what is learned over are these and the products.
    """

    arms: tuple[ArmSpec, ...]
    segments: tuple[SegmentSpec, ...]
    metrics: tuple[MetricSpec, ...]
    columns: tuple[ColumnSpec, ...]
    features: dict[str, FeatureSpec]
    products: tuple[ProductSpec, ...] = ()
    grid: int = COARSE_GRID  # of what rewards teach; records that do not say are older than the fine one
    since: dict[str, int] = msgspec.field(
        default_factory=dict
    )  # by sum of metrics: the version from which on decisions move it

    @property
    def learning_columns(self) -> int:
        """Main columns and product columns."""
        return len(self.columns) + len({term.column for term in self.products})


Named = TypeVar("Named", ArmSpec, SegmentSpec, MetricSpec)


def number(spec: Spec, old: Numbers | None, version: int = 1) -> Numbers:
    """The numbers after `spec`, which becomes this version: those of `old` and, behind them, what is new.

    Raises InvalidError for changes that sums already kept forbid, and where there are more numbers than fit.
    """
    violations = _refused(spec, old) if old else []
    empty = Numbers((), (SegmentSpec(DEFAULT_SEGMENT),), (), (ColumnSpec("", CONSTANT),), {}, grid=FINE_GRID)
    before = old or empty
    kept_arms = tuple(_gone(arm) for arm in before.arms)
    numbers = Numbers(
        arms=_merge(spec.arms, kept_arms),
        segments=_merge(spec.segments, before.segments),
        metrics=_merge(spec.metrics, before.metrics),
        columns=_columns(spec, before.columns),
        features=before.features | spec.features,
        products=before.products,
        grid=before.grid,
        since={metric.id: version for metric in spec.metrics if metric.weights} | before.since,
    )
    violations += _too_many(numbers, spec)
    if violations:
        raise InvalidError([Violation(v.field, v.message, nearest(spec.lines, v.field)) for v in violations])
    return numbers


def with_products(numbers: Numbers, spec: Spec, room: int) -> Numbers:
    """The numbers with products where the algorithm asks for them, in at most `room` new columns."""
    if spec.algorithm.name != "auto":
        return numbers
    terms = products(numbers.columns, spec.features, numbers.products, room)
    return msgspec.structs.replace(numbers, products=terms)


def _merge(new: Sequence[Named], old: Sequence[Named]) -> tuple[Named, ...]:
    """Old places with new definitions, then what is new."""
    by_id = {item.id: item for item in new}
    seen = {item.id for item in old}
    return tuple([by_id.get(item.id, item) for item in old] + [item for item in new if item.id not in seen])


def _gone(arm: ArmSpec) -> ArmSpec:
    """What stays of an arm that the newest file does not name: its place and its name."""
    return ArmSpec(arm.id, "null", arm.attributes, arm.segments, "retired", cost=arm.cost)


def _columns(spec: Spec, old: Sequence[ColumnSpec]) -> tuple[ColumnSpec, ...]:
    wanted = [column for name, feature in spec.features.items() for column in feature_columns(name, feature)]
    seen = set(old)
    return (*old, *(column for column in wanted if column not in seen))


def _refused(spec: Spec, old: Numbers) -> list[Violation]:
    """Changes of what the sums mean (design decision 15)."""
    found: list[Violation] = []

    def refuse(field: str, was: Any, now: Any) -> None:
        if was != now:
            text = f"cannot change from {_show(was)} to {_show(now)}: what was learned depends on it; "
            found.append(Violation(field, text + "make a new experiment"))

    for name, feature in spec.features.items():
        known = old.features.get(name)
        if known is not None:
            refuse(f"features.{name}.type", known.type, feature.type)
            if known.type == feature.type:
                was, now = (TYPES[feature.type].fixed(one) for one in (known, feature))
                for key in now:
                    refuse(f"features.{name}.{key}", was[key], now[key])
    metrics = {metric.id: metric for metric in old.metrics}
    for place, metric in enumerate(spec.metrics):
        if metric.id in metrics:
            for key in (
                ("weights",) if metric.weights or metrics[metric.id].weights else ("unit", "min", "max", "aggregate")
            ):
                refuse(f"metrics[{place}].{key}", getattr(metrics[metric.id], key), getattr(metric, key))
    taught = next(metric.id for metric in old.metrics if metric.primary)
    place, primary = next((place, metric) for place, metric in enumerate(spec.metrics) if metric.primary)
    refuse(f"metrics[{place}].primary", taught, primary.id)
    return found


def _too_many(numbers: Numbers, spec: Spec) -> list[Violation]:
    """parse.py has judged the file alone; here dropped things count too."""
    counts = (
        ("arms", len(numbers.arms), len(spec.arms), MAX_ARMS),
        ("segments", len(numbers.segments), len(spec.segments), MAX_SEGMENTS),
        ("metrics", len(numbers.metrics), len(spec.metrics), MAX_METRICS),
        ("features", len(numbers.columns), _live_columns(spec), MAX_COLUMNS),
    )
    return [
        Violation(
            field,
            f"{total} {'columns' if field == 'features' else field} with {total - live} dropped earlier are too many, "
            f"at most {most}; numbers are never reused: make a new experiment",
        )
        for field, total, live, most in counts
        if total > most
    ]


def _live_columns(spec: Spec) -> int:
    return 1 + sum(len(feature_columns(name, feature)) for name, feature in spec.features.items())


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return " + ".join(f"{weight:g} x {name}" for name, weight in value.items()) or "a metric of its own"
    return f"{value:g}" if isinstance(value, float) else str(value)
