"""The parts of an experiment's file about who is asking: features and segments."""

from __future__ import annotations

from collections.abc import Mapping

from service.experiment.spec import DEFAULT_SEGMENT, MAX_COLUMNS, MAX_SEGMENTS, ConditionSpec, FeatureSpec, SegmentSpec
from service.text.fields import ID, Fields
from service.text.yaml_tree import Bad, Item

TYPES = ("category", "number", "flag")
_VALUE = 256
_BIG = 1e12


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
    columns = 1 + sum(width(feature) for feature in found.values())
    if columns > MAX_COLUMNS:
        detail = ", ".join(f"{name} {width(feature)}" for name, feature in found.items())
        part.problems.add("features", f"need {columns} columns, at most {MAX_COLUMNS} (constant 1, {detail})")
    return found


def width(feature: FeatureSpec) -> int:
    """Columns of a feature: one a value, one for missing, and for a category one for unknown."""
    return len(feature.values) + 2 if feature.type == "category" else 2


def _feature(fields: Fields) -> FeatureSpec:
    kind = fields.choice("type", TYPES, None)
    if not fields.fine("type") or not fields.readable:
        return FeatureSpec("")
    values: tuple[str, ...] | None = ()
    low, high = 0.0, 0.0
    if kind == "category":
        values = fields.texts("values", required=True)
        for number, value in enumerate(values or ()):
            if not 0 < len(value) <= _VALUE:
                fields.add(f"values[{number}]", f"must have 1 to {_VALUE} characters")
    elif kind == "number":
        low = fields.number("min", -_BIG, _BIG, required=True) or 0.0
        high = fields.number("max", -_BIG, _BIG, required=True) or 0.0
        # Narrower ranges would not survive the rounding of the ends themselves.
        narrow = high - low < 1e-9 * max(1.0, abs(low), abs(high))
        if narrow and fields.fine("min", "max"):
            fields.add("max", f"must be above min, {low:g}")
    fields.done()
    return FeatureSpec(kind if fields.fine("values", "min", "max") else "", values or (), low, high)


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
    if feature.type == "category":
        return _texts(fields, name, item, feature)
    if feature.type == "flag":
        if not isinstance(item.value, (bool, Bad)):
            fields.add(name, "is a flag: must be true or false")
        return ConditionSpec(name, "flag", flag=item.value is True)
    return _numbers(fields, name, item)


def _texts(fields: Fields, name: str, item: Item, feature: FeatureSpec) -> ConditionSpec:
    items = item.value if isinstance(item.value, list) else [item]
    texts: list[str] = []
    for value in (element.value for element in items):
        if not isinstance(value, str):
            fields.add(name, "is a category: must be one of its values or a list of them")
        elif value not in feature.values:
            fields.add(name, f'"{value[:80]}" is not one of its values: {", ".join(feature.values)}')
        else:
            texts.append(value)
    if not items:
        fields.add(name, "must not be an empty list")
    return ConditionSpec(name, "category", texts=tuple(texts))


def _numbers(fields: Fields, name: str, item: Item) -> ConditionSpec:
    if isinstance(item.value, dict):
        span = Fields(fields.problems, fields.at(name), item)
        low, high = span.number("min"), span.number("max")
        span.done()
        if low is None and high is None and not item.value:
            fields.add(name, "must have min or max")
        if low is not None and high is not None and high < low:
            span.add("max", f"must not be below min, {low:g}")
        return ConditionSpec(name, "number", low=low, high=high)
    items = item.value if isinstance(item.value, list) else [item]
    numbers = [e.value for e in items if isinstance(e.value, (int, float)) and not isinstance(e.value, bool)]
    if len(numbers) < len(items) or not items:
        fields.add(name, "is a number: must be a number, a list of them or {min: …, max: …}")
    return ConditionSpec(name, "number", numbers=tuple(float(number) for number in numbers))
