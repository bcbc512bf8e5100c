"""The parts of an experiment's file about choosing and earning: arms, metrics, algorithm."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

from service.experiment.parsing.settings import read_settings
from service.experiment.spec import (
    DAY_MS,
    MAX_ARMS,
    MAX_METRICS,
    MAX_PAYLOAD,
    AlgorithmSpec,
    ArmSpec,
    FeatureSpec,
    MetricSpec,
    PriorSpec,
)
from service.text.fields import Fields
from service.text.tree import Item

ARM_STATES = ("active", "paused", "retired")
AGGREGATES = ("first", "sum", "last", "max")
CREDITS = ("last", "linear", "position", "time_decay")
MAX_EVENTS = 64  # distinct events of one decision and metric
MAX_TOTAL = 2**31 - 1
DEFAULT_ALGORITHM = "auto"
_WINDOW_MS = 400 * DAY_MS
_HOUR_MS = 3_600_000
_BIG = 1e12


def read_arms(fields: Fields) -> list[ArmSpec]:
    """The arms, in the order of the file."""
    arms: list[ArmSpec] = []
    seen: set[str] = set()
    for path, item in fields.items("arms", required=True):
        arm = _arm(Fields(fields.problems, path, item))
        if arm.id and arm.id in seen:
            fields.problems.add(f"{path}.id", f'the arm "{arm.id}" is given twice')
        seen.add(arm.id)
        arms.append(arm)
    if len(arms) > MAX_ARMS:
        fields.add("arms", f"{len(arms)} arms are too many, at most {MAX_ARMS}")
    return arms


def _arm(fields: Fields) -> ArmSpec:
    arm_id = fields.ident("id", required=True)
    payload = _payload(fields, fields.item("payload"))
    attributes = _attributes(fields.child("attributes"))
    segments = fields.texts("segments")
    state = fields.choice("state", ARM_STATES, "active")
    start, end = fields.span()
    prior = _prior(fields.child("prior"))
    fields.done()
    return ArmSpec(arm_id or "", payload, attributes, segments, state, start, end, prior)


def _prior(fields: Fields | None) -> PriorSpec | None:
    if fields is None:
        return None
    mean = fields.number("mean", -_BIG, _BIG, required=True)
    weight = fields.number("weight", 0.0, 1e6, required=True)
    fields.done()
    return None if mean is None or weight is None else PriorSpec(mean, weight)


def check_priors(fields: Fields, arms: Sequence[ArmSpec], metrics: Sequence[MetricSpec]) -> None:
    """A prior mean is one that the primary metric can have."""
    primary = next((metric for metric in metrics if metric.primary), None)
    for number, arm in enumerate(arms):
        if primary is None or arm.prior is None or primary.min <= arm.prior.mean <= primary.max:
            continue
        path = f"arms[{number}].prior.mean"
        fields.problems.add(path, f'must be between {primary.min:g} and {primary.max:g}, as the metric "{primary.id}"')


def _payload(fields: Fields, item: Item | None) -> str:
    if item is None:
        return "null"
    before = len(fields.problems.violations)
    text = json.dumps(item.plain(), ensure_ascii=False, separators=(",", ":"), default=lambda _: None)
    size = len(text.encode())
    if size > MAX_PAYLOAD and len(fields.problems.violations) == before:
        fields.add("payload", f"{size:,} bytes as JSON are too many, at most {MAX_PAYLOAD:,}")
    return text


def _attributes(fields: Fields | None) -> dict[str, str | bool | int | float]:
    found: dict[str, str | bool | int | float] = {}
    for key in fields.names() if fields else ():
        assert fields is not None
        item = fields.item(key)
        if item is not None and isinstance(item.value, (str, bool, int, float)):
            found[key] = item.value
        else:
            fields.add(key, "must be a text, a number or a flag")
    return found


def read_metrics(fields: Fields) -> list[MetricSpec]:
    """The metrics, exactly one of them primary."""
    found: list[tuple[MetricSpec, bool]] = []
    for path, item in fields.items("metrics", required=True):
        part = Fields(fields.problems, path, item)
        metric = _metric(part)
        if metric.id and any(metric.id == other.id for other, _ in found):
            part.add("id", f'the metric "{metric.id}" is given twice')
        found.append((metric, metric.primary))
    if len(found) > MAX_METRICS:
        fields.add("metrics", f"{len(found)} metrics are too many, at most {MAX_METRICS}")
    primaries = [number for number, (_, primary) in enumerate(found) if primary]
    if len(found) > 1 and not primaries:
        fields.add("metrics", "one of them must say `primary: true`")
    for number in primaries[1:]:
        fields.problems.add(f"metrics[{number}].primary", "only one metric can be the primary one")
    chosen = primaries[0] if primaries else 0
    return [_with_primary(metric, number == chosen) for number, (metric, _) in enumerate(found)]


def _with_primary(metric: MetricSpec, primary: bool) -> MetricSpec:
    return MetricSpec(**{name: getattr(metric, name) for name in metric.__struct_fields__} | {"primary": primary})


def _metric(fields: Fields) -> MetricSpec:
    metric_id = fields.ident("id", required=True)
    primary = fields.flag("primary", False)
    unit = fields.number("unit", 1e-9, _BIG)
    low, high = fields.number("min", -_BIG, _BIG), fields.number("max", -_BIG, _BIG)
    window = fields.duration("window", 16, _WINDOW_MS)
    grace = fields.duration("grace", 0, _WINDOW_MS)
    aggregate = fields.choice("aggregate", AGGREGATES, "first")
    clip = fields.choice("outliers", ("refuse", "clip"), "refuse") == "clip"
    client = fields.flag("client", False)
    credit = fields.choice("credit", CREDITS, "last")
    half_life = fields.duration("credit_half_life", 60_000, _WINDOW_MS)
    min_delay = fields.duration("min_delay", 0, _HOUR_MS) or 0
    if min_delay >= (DAY_MS if window is None else window):
        fields.add("min_delay", "must be below the window")
    if half_life is not None and credit != "time_decay":
        fields.add("credit_half_life", "is for `credit: time_decay`")
    fields.done()
    metric = MetricSpec(
        id=metric_id or "",
        primary=primary,
        unit=1.0 if unit is None else unit,
        min=0.0 if low is None else low,
        max=1.0 if high is None else high,
        window_ms=DAY_MS if window is None else window,
        grace_ms=grace or 0,
        aggregate=aggregate,
        clip=clip,
        client=client,
        credit=credit,
        credit_half_life_ms=7 * DAY_MS if half_life is None else half_life,
        min_delay_ms=min_delay,
    )
    if fields.fine("unit", "min", "max"):
        _check_range(fields, metric)
    if client:
        _check_client(fields, metric)
    return metric


def _check_client(fields: Fields, metric: MetricSpec) -> None:
    """Anybody can send it: so it counts once a decision, and only as 1."""
    if metric.aggregate != "first":
        fields.add(
            "client", f"a metric that browsers send counts once: aggregate must be first, not {metric.aggregate}"
        )
    if not metric.min <= 1.0 <= metric.max:
        fields.add(
            "client", f"a metric that browsers send has the value 1, which is outside {metric.min:g} to {metric.max:g}"
        )


def _check_range(fields: Fields, metric: MetricSpec) -> None:
    """Whole multiples of the unit, and totals that every int64 cell can hold for ever (design decision 4)."""
    if metric.max <= metric.min:
        fields.add("max", f"must be above min, {metric.min:g}")
        return
    for key, bound in (("min", metric.min), ("max", metric.max)):
        count = _exact(bound) / _exact(metric.unit)
        if abs(count - round(count)) > Fraction(1, 10**9):
            fields.add(key, f"{bound:g} is not a whole multiple of the unit, {metric.unit:g}")
    total = total_limit(metric)
    if total > MAX_TOTAL:
        events = f"{MAX_EVENTS} x " if metric.aggregate == "sum" else ""
        largest = max(abs(metric.min), abs(metric.max))
        fields.add(
            "unit",
            f"too small for the range: a total may reach {events}{largest:g} / {metric.unit:g} = {total:,} units, "
            f"at most {MAX_TOTAL:,}",
        )


def total_limit(metric: MetricSpec) -> int:
    """The largest |total| of one decision in units: 64 events of the largest value for `sum`, else that value."""
    largest = math.ceil(_exact(max(abs(metric.min), abs(metric.max))) / _exact(metric.unit) - Fraction(1, 10**9))
    return largest * (MAX_EVENTS if metric.aggregate == "sum" else 1)


def _exact(value: float) -> Fraction:
    """The decimal number that was written, so that 0.3 is three times 0.1."""
    return Fraction(Decimal(repr(value)))


def read_algorithm(
    fields: Fields, arms: Sequence[ArmSpec], features: Mapping[str, FeatureSpec], metrics: Sequence[MetricSpec]
) -> AlgorithmSpec:
    """The algorithm and its settings; the default follows from features and the primary metric."""
    from bandits.policy import POLICIES

    item = fields.item("algorithm")
    part: Fields | None = None
    if item is not None and isinstance(item.value, str):
        name = fields.choice("algorithm", tuple(POLICIES), DEFAULT_ALGORITHM)
    elif item is not None:
        part = Fields(fields.problems, "algorithm", item)
        name = part.choice("name", tuple(POLICIES), DEFAULT_ALGORITHM)
    else:
        name = DEFAULT_ALGORITHM
    declared = POLICIES[name].settings
    weights = _weights(part or fields, part, arms) if name == "fixed" else {}
    settings = read_settings(part, POLICIES[name]) if part else {}
    if part:
        part.done()
    floor = fields.number("floor", declared["floor"].low, declared["floor"].high)
    if floor is not None:
        if "floor" in settings:
            fields.add("floor", "given twice: here and under algorithm")
        settings["floor"] = floor
    return AlgorithmSpec(name, settings, weights)


def _weights(fields: Fields, part: Fields | None, arms: Sequence[ArmSpec]) -> dict[str, float]:
    """The weights of `fixed`, by arm id."""
    weights = part.child("weights", required=True) if part else None
    if weights is None:
        if part is None:
            fields.add("algorithm", "fixed needs weights: {name: fixed, weights: {an-arm: 1}}")
        return {}
    known = {arm.id for arm in arms}
    found: dict[str, float] = {}
    for key in weights.names():
        value = weights.number(key, 0.0, 1e6)
        if key not in known:
            weights.add(key, f'there is no arm "{key[:80]}"')
        elif value is not None:
            found[key] = value
    if not any(found.values()) and weights.readable:
        fields.add("weights", "at least one must be above zero")
    return found
