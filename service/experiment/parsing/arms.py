"""The parts of an experiment's file about choosing: arms and algorithm."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from service.experiment.parsing.settings import read_settings
from service.experiment.spec import (
    MAX_ARMS,
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
DEFAULT_ALGORITHM = "auto"
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
    cost = fields.number("cost", 0.0, _BIG) or None
    fields.done()
    return ArmSpec(arm_id or "", payload, attributes, segments, state, start, end, prior, cost)


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
    primary = next((metric for metric in metrics if metric.primary), None)
    if name == "beta" and primary is not None and primary.weights:
        said = f'beta learns whether a reward came, not what it is worth; "{primary.id}" has parts of different worth: use auto'
        fields.add("algorithm", said)
    if name == "beta" and any(arm.cost for arm in arms):
        fields.add(
            "algorithm", "beta learns whether a reward came, not what it is worth: no arm may have a cost; use auto"
        )
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
