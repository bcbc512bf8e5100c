"""The part of an experiment's file about earning: metrics, and those that are sums of others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

import msgspec

from service.experiment.spec import DAY_MS, MAX_METRICS, MetricSpec
from service.text.fields import Fields

AGGREGATES = ("first", "sum", "last", "max")
CREDITS = ("last", "linear", "position", "time_decay")
MAX_EVENTS = 64  # distinct events of one decision and metric
MAX_TOTAL = 2**31 - 1
_WINDOW_MS = 400 * DAY_MS
_HOUR_MS = 3_600_000
_BIG = 1e12
_DERIVED = (
    "unit", "min", "max", "window", "grace", "aggregate", "outliers", "client", "credit", "credit_half_life", "min_delay",
)  # fmt: skip


def read_metrics(fields: Fields) -> list[MetricSpec]:
    """The metrics, exactly one of them primary."""
    found: list[MetricSpec] = []
    made: list[tuple[int, Fields]] = []  # place and weights of those that are sums of others
    for path, item in fields.items("metrics", required=True):
        part = Fields(fields.problems, path, item)
        weights = part.child("weights")
        metric = _metric(part) if weights is None else _unmade(part)
        if metric.id and any(metric.id == other.id for other in found):
            part.add("id", f'the metric "{metric.id}" is given twice')
        if weights is not None:
            made.append((len(found), weights))
        found.append(metric)
    parts = {metric.id: metric for place, metric in enumerate(found) if place not in dict(made)}
    for place, weights in made:
        found[place] = _composite(found[place], weights, parts)
    if len(found) > MAX_METRICS:
        fields.add("metrics", f"{len(found)} metrics are too many, at most {MAX_METRICS}")
    primaries = [number for number, metric in enumerate(found) if metric.primary]
    if len(found) > 1 and not primaries:
        fields.add("metrics", "one of them must say `primary: true`")
    for number in primaries[1:]:
        fields.problems.add(f"metrics[{number}].primary", "only one metric can be the primary one")
    chosen = primaries[0] if primaries else 0
    return [msgspec.structs.replace(metric, primary=number == chosen) for number, metric in enumerate(found)]


def _unmade(fields: Fields) -> MetricSpec:
    """A sum of other metrics, before its parts are known."""
    metric_id = fields.ident("id", required=True)
    primary = fields.flag("primary", False)
    for key in _DERIVED:
        if fields.item(key) is not None:
            fields.add(key, "follows from the metrics in `weights`: leave it out")
    fields.done()
    return MetricSpec(metric_id or "", primary, 1.0, 0.0, 1.0, DAY_MS, 0, "first", clip=False)


def _composite(metric: MetricSpec, fields: Fields, known: Mapping[str, MetricSpec]) -> MetricSpec:
    """The sum of the metrics that `fields` weighs: its unit is the largest in which every total is a whole number."""
    weights = _weights(fields, known)
    if not weights:
        if fields.readable and not fields.names():
            fields.problems.add(fields.path, "needs a metric and its weight, as {order: 1, signup: 0.2}")
        return metric
    parts = [(known[name], _exact(weight)) for name, weight in weights.items()]
    unit = _common([abs(weight) * _exact(part.unit) for part, weight in parts])
    ends = [(Fraction(0), weight * _exact(part.min), weight * _exact(part.max)) for part, weight in parts]
    window = max(part.window_ms for part, _ in parts)
    made = msgspec.structs.replace(
        metric,
        unit=float(unit),
        min=float(sum(min(each) for each in ends)),
        max=float(sum(max(each) for each in ends)),
        window_ms=window,
        grace_ms=max(part.window_ms + part.grace_ms for part, _ in parts) - window,
        aggregate="sum" if any(part.aggregate == "sum" for part, _ in parts) else "first",
        weights=weights,
    )
    total = total_limit(made)
    if total > MAX_TOTAL:
        said = f"too fine: in steps of {made.unit:g} a total may reach {total:,} of them, at most {MAX_TOTAL:,}; "
        fields.problems.add(fields.path, said + "round the weights, or give the metrics larger units")
    return made


def _weights(fields: Fields, known: Mapping[str, MetricSpec]) -> dict[str, float]:
    """The metrics that a sum has, and what one of each is worth in it."""
    found: dict[str, float] = {}
    for key in fields.names():
        weight = fields.number(key, -1e9, 1e9)
        if key not in known:
            fields.add(key, f"must be a metric that is no sum itself: {', '.join(known) or 'there is none'}")
        elif weight == 0.0:
            fields.add(key, "must not be 0: leave it out")
        elif weight is not None and fields.fine(key):
            found[key] = weight
    return found


def _common(steps: Sequence[Fraction]) -> Fraction:
    """The largest number of which all are whole multiples."""
    below = math.lcm(*(step.denominator for step in steps))
    return Fraction(math.gcd(*(int(step * below) for step in steps)), below)


def whole_weights(metric: MetricSpec, metrics: Mapping[str, MetricSpec]) -> dict[str, int]:
    """By part of a sum: how many of its units one unit of the part is."""
    unit = _exact(metric.unit)
    return {name: round(_exact(weight) * _exact(metrics[name].unit) / unit) for name, weight in metric.weights.items()}


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
