"""Data that does not count: records that exclude decisions by time and arm, and take that back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from bandits.asides import Exclusion
from service.errors import InvalidError, NotFoundError
from service.experiment.compiled import FORMAT, Experiment, Record
from service.experiment.guardrails import Pauses
from service.experiment.spec import ExclusionSpec

MOST = 16  # at a time


@dataclass(frozen=True, slots=True)
class Excluded:
    """What is to be excluded: decisions from `from_ms` until before `to_ms`, of these arms or, without any, of all."""

    from_ms: int
    to_ms: int
    arms: Sequence[str] = ()


def excluding(current: Experiment, what: Excluded, now_ms: int, by: str) -> bytes:
    """The record of the next version, which excludes that too. InvalidError names the field."""
    if what.from_ms <= 0:
        raise InvalidError.field("from_ms", "must be given")
    if what.to_ms <= what.from_ms:
        raise InvalidError.field("to_ms", "must be after from_ms")
    for arm in what.arms:
        if arm not in current.arm_numbers:
            raise InvalidError.field("arms", f"the experiment has no arm {arm!r}")
    if len(current.exclusions) >= MOST:
        raise InvalidError.field(
            "from_ms", f"{MOST} exclusions are in force, more are not possible: take one back first"
        )
    number, arms = current.excluded + 1, tuple(sorted({current.arm_numbers[arm] for arm in what.arms}))
    made = ExclusionSpec(number, what.from_ms, what.to_ms, arms)
    for one in current.exclusions:
        if exclusion(one).overlaps(exclusion(made)):
            raise InvalidError.field("from_ms", f"overlaps with exclusion {one.number}: take that back first")
    return _record(current, (*current.exclusions, made), number, now_ms, by)


def including(current: Experiment, number: int, now_ms: int, by: str) -> bytes:
    """The record of the next version, without this exclusion. NotFoundError where it is not in force."""
    left = tuple(one for one in current.exclusions if one.number != number)
    if len(left) == len(current.exclusions):
        there = ", ".join(str(one.number) for one in current.exclusions) or "none"
        raise NotFoundError("number", f"exclusion {number} of {current.name!r} is not in force; in force: {there}")
    return _record(current, left, current.excluded, now_ms, by)


def exclusion(spec: ExclusionSpec) -> Exclusion:
    """As the fold takes it."""
    return Exclusion(spec.number, spec.from_ms, spec.to_ms, spec.arms)


def _record(current: Experiment, exclusions: tuple[ExclusionSpec, ...], made: int, now_ms: int, by: str) -> bytes:
    pauses = Pauses(current.pauses.paused)
    head = (FORMAT, current.uid, current.version + 1, now_ms, current.text, current.spec, current.numbers, by)
    return msgspec.json.encode(Record(*head, pauses, exclusions, made))
