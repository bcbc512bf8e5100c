"""The parts of an experiment's file about who is asking: features and segments."""

from __future__ import annotations

from collections.abc import Mapping

from service.experiment.features.registry import TYPES, feature_columns
from service.experiment.spec import DEFAULT_SEGMENT, MAX_COLUMNS, MAX_SEGMENTS, ConditionSpec, FeatureSpec, SegmentSpec
from service.text.fields import ID, Fields


def read_features(fields: Fields) -> dict[str, FeatureSpec]:
    """The features by name, in the order of the file."""
    found: dict[str, FeatureSpec] = {}
    part = fields.child("features")
    if part is None:
        return found
    for name in part.names():
        if not ID.match(name):
            part.add(name, f'"{name[:80]}" is not an id: 1 to 64 letters, digits, "_", "." and "-"')
        feature = part.child(name)
        if feature is None:
            part.add(name, "must be a mapping such as {type: flag}")
        else:
            found[name] = _feature(feature)
    widths = {name: len(feature_columns(name, feature)) for name, feature in found.items()}
    columns = 1 + sum(widths.values())
    if columns > MAX_COLUMNS:
        detail = ", ".join(f"{name} {width}" for name, width in widths.items())
        part.problems.add("features", f"need {columns} columns, at most {MAX_COLUMNS} (constant 1, {detail})")
    return found


def _feature(fields: Fields) -> FeatureSpec:
    kind = fields.choice("type", tuple(TYPES), None)
    if not fields.fine("type") or not fields.readable:
        return FeatureSpec("")
    feature = TYPES[kind].read(fields)
    fields.done()
    return feature


def read_segments(fields: Fields, features: Mapping[str, FeatureSpec]) -> list[SegmentSpec]:
    """The segments in matching order; `default` ends the list, stated or not."""
    found: list[SegmentSpec] = []
    paths: list[str] = []
    for path, item in fields.items("segments"):
        part = Fields(fields.problems, path, item)
        segment = _segment(part, features)
        if segment.id and any(segment.id == other.id for other in found):
            part.add("id", f'the segment "{segment.id}" is given twice')
        found.append(segment)
        paths.append(path)
    for path, segment in zip(paths[:-1], found[:-1], strict=True):
        if segment.id == DEFAULT_SEGMENT:
            fields.problems.add(f"{path}.id", "the default segment takes everyone who is left: put it last")
    if not found or found[-1].id != DEFAULT_SEGMENT:
        found.append(SegmentSpec(DEFAULT_SEGMENT))
    if len(found) > MAX_SEGMENTS:
        fields.add("segments", f"{len(found)} segments with the default one are too many, at most {MAX_SEGMENTS}")
    return found


def _segment(fields: Fields, features: Mapping[str, FeatureSpec]) -> SegmentSpec:
    segment_id = fields.ident("id", required=True)
    default = segment_id == DEFAULT_SEGMENT
    when = fields.child("when", required=not default)
    conditions: list[ConditionSpec] = []
    if when is not None and default:
        fields.add("when", "the default segment takes everyone who is left and has no rule")
    elif when is not None:
        names = when.names()
        if not names and when.readable:
            fields.add("when", "must not be empty")
        conditions = [c for name in names if (c := _condition(when, name, features)) is not None]
    serve = fields.choice("serve", ("policy", "default"), "policy")
    fields.done()
    return SegmentSpec(segment_id or "", tuple(conditions), serve == "default")


def _condition(fields: Fields, name: str, features: Mapping[str, FeatureSpec]) -> ConditionSpec | None:
    feature = features.get(name)
    item = fields.item(name)
    if feature is None:
        known = ", ".join(features) or "none"
        fields.add(name, f"is not a declared feature; declared: {known}")
        return None
    if item is None:
        fields.add(name, "must not be empty")
    if item is None or not feature.type:  # a feature without a type was reported where it stands
        return None
    return TYPES[feature.type].read_condition(fields, name, item, feature)
