"""YAML (or JSON) to a checked Spec. All problems are found in one pass and reported with field and line.

docs/experiments.md is the reference of every key for people; this module is its only judge. What depends on the
experiment's past (numbers, refused changes, the state bound) is judged by experiment.build.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from service.errors import InvalidError
from service.experiment.guardrails import read_guardrails
from service.experiment.parsing.arms import check_priors, read_algorithm, read_arms
from service.experiment.parsing.context import read_features, read_segments
from service.experiment.parsing.metrics import read_metrics
from service.experiment.served import LEARNED
from service.experiment.spec import DAY_MS, ArmSpec, FeatureSpec, MetricSpec, SegmentSpec, Spec
from service.text.document import load
from service.text.fields import ID, Fields, Problems
from service.text.tree import Item

STATES = ("draft", "active", "paused", "ended")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
_YEARS = 10 * 366 * DAY_MS


def parse(text: str) -> Spec:
    """The experiment that the text describes.

    Raises InvalidError with every problem, in the order of the lines. Source of the keys: docs/experiments.md.
    """
    root, violations = load(text)
    problems = Problems(violations)
    spec = _experiment(root, problems)
    if problems.violations:
        raise InvalidError(sorted(problems.violations, key=lambda violation: violation.line or 0))
    return spec


class Known(NamedTuple):
    """What those who ask of an experiment have to know of it."""

    arms: list[ArmSpec]
    features: dict[str, FeatureSpec]
    metrics: list[MetricSpec]


def known(text: str) -> Known:
    """The same of the text of an experiment that was taken, without the kernels that `parse` looks settings up in."""
    root, violations = load(text)
    fields = Fields(Problems(violations), "", root)
    return Known(read_arms(fields), read_features(fields), read_metrics(fields))


def _experiment(root: Item, problems: Problems) -> Spec:
    fields = Fields(problems, "", root)
    name = fields.text("experiment", required=True)
    if name is not None and not _NAME.match(name):
        fields.add("experiment", f'"{name[:80]}" is not a name: 1 to 64 of a-z, 0-9 and "-", not "-" first')
    description = fields.text("description") or ""
    state = fields.choice("state", STATES, "active")
    winner = fields.ident("winner")
    start, end = fields.span()
    arms = read_arms(fields)
    default_arm = fields.ident("default_arm", required=True)
    features = read_features(fields)
    segments = read_segments(fields, features)
    metrics = read_metrics(fields)
    check_priors(fields, arms, metrics)
    algorithm = read_algorithm(fields, arms, features, metrics)
    share, uniform = _holdout(fields)
    guardrails = read_guardrails(fields, metrics, share, arms)
    sticky = fields.duration("sticky", 1, 400 * DAY_MS)
    half_life = fields.duration("half_life", 1, _YEARS)
    keep_ms, keep_bytes = _log(fields)
    client = fields.flag("client", False)
    fields.done()
    _references(fields, state, winner, default_arm, arms, segments)
    return Spec(
        experiment=name or "",
        description=description,
        state=state,
        winner=winner,
        start_ms=start,
        end_ms=end,
        arms=tuple(arms),
        default_arm=default_arm or "",
        algorithm=algorithm,
        features=features,
        segments=tuple(segments),
        metrics=tuple(metrics),
        holdout_share=share,
        holdout_uniform=uniform,
        sticky_ms=sticky,
        half_life_ms=half_life,
        keep_ms=keep_ms,
        keep_bytes=keep_bytes,
        client=client,
        guardrails=tuple(guardrails),
        lines=problems.lines,
    )


def _holdout(fields: Fields) -> tuple[float, bool]:
    holdout = fields.child("holdout")
    if holdout is None:
        return 0.0, False
    share = holdout.number("share", 0.0, 0.5, required=True)
    uniform = holdout.choice("serve", ("default", "uniform"), "default") == "uniform"
    holdout.done()
    return share or 0.0, uniform


def _log(fields: Fields) -> tuple[int, int]:
    keep, size = None, None
    log = fields.child("log")
    if log is not None:
        keep = log.duration("keep", 1, _YEARS)
        size = log.size("max", 1 << 20)
        log.done()
    return keep or 30 * DAY_MS, size or 512 << 20


def _references(
    fields: Fields,
    state: str,
    winner: str | None,
    default_arm: str | None,
    arms: Sequence[ArmSpec],
    segments: Sequence[SegmentSpec],
) -> None:
    """What one part says of another: ids that must exist, the winner, the arms' segments."""
    by_id = {arm.id: arm for arm in arms}
    known = {segment.id for segment in segments}
    if state == "ended" and winner is None:
        fields.add("winner", "is required when the state is ended: an arm, or `learned` for each segment's own")
    if state != "ended" and winner is not None:
        fields.add("winner", f"is only for the state ended, not {state}")
    for key, arm_id in (("winner", winner), ("default_arm", default_arm)):
        if arm_id is None or not ID.match(arm_id) or (key == "winner" and arm_id == LEARNED):
            continue
        if arm_id not in by_id:
            fields.add(key, f'there is no arm "{arm_id}"')
        elif by_id[arm_id].segments is not None:
            role = "default arm" if key == "default_arm" else "winner"
            fields.add(key, f'the arm "{arm_id}" is limited to some segments; the {role} is for everyone')
    for number, arm in enumerate(arms):
        for place, segment_id in enumerate(arm.segments or ()):
            if segment_id not in known:
                fields.problems.add(f"arms[{number}].segments[{place}]", f'there is no segment "{segment_id}"')
