"""Numbers outlive names: chains of updates, and the changes that are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.layout import COARSE_GRID as COARSE
from bandits.layout import FINE_GRID as FINE
from service.errors import InvalidError
from service.experiment.compiled import Experiment, build, read
from service.experiment.parse import parse
from service.learning.fold.rules import rules_of

BASE: dict[str, Any] = {
    "experiment": "hero",
    "arms": [{"id": "a"}, {"id": "b", "payload": 1}],
    "default_arm": "a",
    "features": {
        "industry": {"type": "category", "values": ["x", "y"]},
        "visits": {"type": "number", "min": 0, "max": 10},
    },
    "segments": [{"id": "s", "when": {"visits": {"min": 5}}}],
    "metrics": [
        {"id": "click", "primary": True},
        {"id": "money", "unit": 0.5, "max": 10, "aggregate": "sum"},
    ],
}


def applied(config: dict[str, Any], old: Experiment | None = None) -> Experiment:
    text = msgspec.json.encode(config).decode()
    return read(build(parse(text), text, "ab", 0, old))


def names(experiment: Experiment) -> list[tuple[str, str, str]]:
    return [(column.feature, column.role, column.value) for column in experiment.numbers.columns]


def test_columns_are_numbered_in_the_order_of_the_file() -> None:
    assert names(applied(BASE)) == [
        ("", "constant", ""),
        ("industry", "value", "x"),
        ("industry", "value", "y"),
        ("industry", "unknown", ""),
        ("industry", "missing", ""),
        ("visits", "value", ""),
        ("visits", "missing", ""),
    ]


def test_new_values_and_features_are_appended() -> None:
    old = applied(BASE)
    features = {"flag": {"type": "flag"}} | BASE["features"]
    features["industry"] = {"type": "category", "values": ["z", "x", "y"]}
    new = applied(BASE | {"features": features}, old)
    assert names(new)[:7] == names(old)
    assert names(new)[7:] == [("flag", "value", ""), ("flag", "missing", ""), ("industry", "value", "z")]


def test_what_is_dropped_keeps_its_number_and_takes_it_up_again() -> None:
    first = applied(BASE)
    less = {
        "arms": [{"id": "c"}, {"id": "a"}],
        "features": {"industry": {"type": "category", "values": ["y"]}},
        "segments": [{"id": "t", "when": {"industry": "y"}}],
        "metrics": [{"id": "order"}, {"id": "click", "primary": True}],
    }
    second = applied(BASE | less, first)
    assert second.arm_numbers == {"a": 0, "b": 1, "c": 2}
    assert (second.arms[1].state, second.arms[1].payload_json) == ("retired", "null")
    assert second.eligible(0, 0) == (0, 2)
    assert second.segments.ids == ("default", "s", "t")
    assert second.segments.live == (True, False, True)
    assert second.segments.match({"visits": 7.0, "industry": "x"}) == 0
    assert second.metric_numbers == {"click": 0, "order": 2}
    assert [metric.live for metric in second.metrics] == [True, False, True]
    assert second.primary.number == 0
    x, clipped, unknown = second.encoder.encode({"visits": 10.0, "industry": "x"})
    # visits is no longer read, x has become unknown
    assert (list(memoryview(x).cast("h")), clipped, unknown) == ([0, 0, 4096, 0, 0, 0], 0, 2)
    third = applied(BASE, second)
    assert (third.version, third.arm_numbers, third.eligible(0, 0)) == (3, second.arm_numbers, (0, 1))
    assert third.encoder.encode({"industry": "x", "visits": 3.0}) == first.encoder.encode(
        {"industry": "x", "visits": 3.0}
    )
    assert third.segments.match({"visits": 7.0}) == 1


def changed(path: Sequence[str | int], value: Any) -> dict[str, Any]:
    config: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(BASE))
    at: Any = config
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return config


LEARNED = ": what was learned depends on it; make a new experiment"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (changed(["experiment"], "other"), 'line 1: experiment: cannot be renamed from "hero" to "other"'),
        (
            changed(["features", "visits", "max"], 20),
            f"line 1: features.visits.max: cannot change from 10 to 20{LEARNED}",
        ),
        (
            changed(["features", "industry"], {"type": "flag"}),
            f"line 1: features.industry.type: cannot change from category to flag{LEARNED}",
        ),
        (changed(["metrics", 1, "max"], 20), f"line 1: metrics[1].max: cannot change from 10 to 20{LEARNED}"),
        (changed(["metrics", 1, "unit"], 1), f"line 1: metrics[1].unit: cannot change from 0.5 to 1{LEARNED}"),
        (changed(["metrics", 0, "min"], -1), f"line 1: metrics[0].min: cannot change from 0 to -1{LEARNED}"),
        (
            changed(["metrics", 1, "aggregate"], "max"),
            f"line 1: metrics[1].aggregate: cannot change from sum to max{LEARNED}",
        ),
        (
            changed(["metrics"], [{"id": "click"}, {"id": "other", "primary": True}]),
            f"line 1: metrics[1].primary: cannot change from click to other{LEARNED}",
        ),
    ],
)
def test_refused_changes(config: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidError) as caught:
        applied(config, applied(BASE))
    assert [str(violation) for violation in caught.value.violations] == [expected]


def test_a_dropped_feature_cannot_come_back_as_another() -> None:
    old = applied(BASE)
    without = BASE | {"features": {}, "segments": []}
    with pytest.raises(InvalidError, match=r"features\.visits\.min: cannot change from 0 to 1"):
        applied(changed(["features", "visits", "min"], 1), applied(without, old))


def test_limits_count_what_was_dropped() -> None:
    old = applied(BASE | {"arms": [{"id": f"a{n}"} for n in range(150)], "default_arm": "a0"})
    with pytest.raises(InvalidError) as caught:
        applied(BASE | {"arms": [{"id": f"b{n}"} for n in range(60)], "default_arm": "b0"}, old)
    (violation,) = caught.value.violations
    assert violation.field == "arms"
    assert violation.message == (
        "210 arms with 150 dropped earlier are too many, at most 200; numbers are never reused: make a new experiment"
    )


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    arms = draw(st.lists(st.sampled_from("abcdef"), min_size=1, unique=True))
    features: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(["c1", "c2", "n", "f"]), unique=True)):
        if name[0] == "c":
            values = draw(st.lists(st.sampled_from("stuvw"), min_size=1, unique=True))
            features[name] = {"type": "category", "values": values}
        else:
            features[name] = {"type": "number", "min": -1, "max": 3} if name == "n" else {"type": "flag"}
    segments = []
    if "f" in features:
        ids = draw(st.lists(st.sampled_from("pqr"), unique=True))
        segments = [{"id": segment, "when": {"f": True}} for segment in ids]
    metrics = ["m0", *draw(st.lists(st.sampled_from(["m1", "m2", "m3"]), unique=True))]
    return {
        "experiment": "chain",
        "arms": [{"id": arm} for arm in arms],
        "default_arm": arms[0],
        "features": features,
        "segments": segments,
        "metrics": [{"id": metric, "primary": metric == "m0"} for metric in draw(st.permutations(metrics))],
        "algorithm": draw(st.sampled_from(["auto", "linucb"])),
    }


CONTEXTS = st.fixed_dictionaries(
    {},
    optional={
        "c1": st.sampled_from("stuvw!"),
        "c2": st.sampled_from("stuvw!"),
        "n": st.floats(-2, 4),
        "f": st.booleans(),
    },
)


def meaning(experiment: Experiment, context: dict[str, Any]) -> dict[tuple[str, str, str], int]:
    """The columns that are not zero, by what they mean."""
    x = memoryview(experiment.encoder.encode(context).x).cast("h")
    return {name: value for name, value in zip(names(experiment)[1:], x, strict=True) if value}


@settings(deadline=None)
@given(st.lists(configs(), min_size=2, max_size=5), CONTEXTS)
def test_numbers_are_never_reused_and_old_columns_keep_their_encoding(
    chain: list[dict[str, Any]], context: dict[str, Any]
) -> None:
    old: Experiment | None = None
    for config in chain:
        new = applied(config, old)
        if old is not None:
            assert names(new)[: old.columns] == names(old)
            assert new.numbers.products[: len(old.numbers.products)] == old.numbers.products
            assert new.design.place[: old.columns].tolist() == old.design.place.tolist()
            assert new.segments.ids[: len(old.segments.ids)] == old.segments.ids
            assert [metric.id for metric in new.metrics][: len(old.metrics)] == [metric.id for metric in old.metrics]
            assert [arm.id for arm in new.arms][: len(old.arms)] == [arm.id for arm in old.arms]
        for ids in (names(new), new.segments.ids, list(new.arm_numbers), [metric.id for metric in new.metrics]):
            assert len(set(ids)) == len(ids)
        products = {term.column for term in new.numbers.products}
        assert sorted([*products, *new.design.place.tolist()]) == list(range(new.design.columns))
        assert not products or new.design.columns <= 64
        # whatever came before, the encoding means what it would mean without a past
        assert meaning(new, context) == meaning(applied(config), context)
        live = {arm["id"] for arm in config["arms"]}
        assert {arm.id for arm in new.arms if arm.state == "active"} == live
        old = new


def test_what_rewards_teach_keeps_its_grid_for_life() -> None:
    """A record of before the fine grid does not name one: its sums are on the coarse one, whatever is applied later."""
    fresh = applied(BASE)
    assert (rules_of(fresh).grid, rules_of(applied(BASE, fresh)).grid) == (FINE, FINE)
    text = msgspec.json.encode(BASE).decode()
    record = msgspec.json.decode(build(parse(text), text, "ab", 0, None))
    assert record["numbers"].pop("grid") == FINE
    old = read(msgspec.json.encode(record))
    assert (rules_of(old).grid, rules_of(applied(BASE, old)).grid) == (COARSE, COARSE)
