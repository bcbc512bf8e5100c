"""What schema.py accepts, and every refusal with its line, field and words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.errors import InvalidError
from service.experiment.parse import parse
from service.experiment.spec import DAY_MS, Spec

EXAMPLES = Path(__file__).parents[3] / "deploy" / "examples"

GOOD = """\
experiment: hero
arms:
  - id: calm
  - id: bold
default_arm: calm
metrics:
  - id: click
"""


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidError) as caught:
        parse(text)
    return [str(violation) for violation in caught.value.violations]


def edited(**changes: str) -> str:
    """GOOD with the named top-level blocks replaced or added; each stands from a known line on."""
    blocks = {
        "experiment": "experiment: hero",
        "arms": "arms:\n  - id: calm\n  - id: bold",
        "default_arm": "default_arm: calm",
        "metrics": "metrics: [{id: click}]",
    }
    return "\n".join((blocks | changes).values()) + "\n"


def test_the_least_file_gets_every_default() -> None:
    spec = parse(GOOD)
    assert (spec.experiment, spec.state, spec.winner, spec.default_arm) == ("hero", "active", None, "calm")
    assert [arm.id for arm in spec.arms] == ["calm", "bold"]
    assert (spec.arms[0].payload, spec.arms[0].state, spec.arms[0].segments) == ("null", "active", None)
    assert (spec.algorithm.name, spec.algorithm.settings) == ("auto", {})
    assert [segment.id for segment in spec.segments] == ["default"]
    (metric,) = spec.metrics
    assert (metric.primary, metric.unit, metric.min, metric.max) == (True, 1.0, 0.0, 1.0)
    assert (metric.window_ms, metric.grace_ms, metric.aggregate, metric.clip) == (DAY_MS, 0, "first", False)
    assert (spec.holdout_share, spec.holdout_uniform, spec.sticky_ms, spec.half_life_ms) == (0.0, False, None, None)
    assert (spec.keep_ms, spec.keep_bytes) == (30 * DAY_MS, 512 << 20)


def test_everything_that_can_be_said() -> None:
    spec = parse(
        """\
experiment: hero
state: ended
winner: calm
start: 2026-11-01T00:00:00Z
end: 2027-02-01
arms:
  - {id: calm, payload: {headline: "Größe", n: [1, 2.5, true, null]}, attributes: {tone: calm, weight: 3}}
  - {id: bold, segments: [enterprise, default], state: paused, start: 2026-11-02, end: 2026-11-03T12:00:00+01:00}
default_arm: calm
algorithm: {name: linucb, alpha: 0.8}
floor: 0.02
features:
  industry: {type: category, values: [software, "no"]}
  visits: {type: number, min: 0, max: 50}
  returning: {type: flag}
segments:
  - {id: enterprise, when: {industry: [software, no], visits: {min: 3}, returning: true}}
  - {id: loyal, when: {visits: [1, 2]}, serve: policy}
  - {id: default, serve: default}
metrics:
  - {id: order, aggregate: last}
  - {id: revenue, primary: true, unit: 0.01, min: -20, max: 500, aggregate: sum, outliers: clip, window: 7d, grace: 1.5h}
holdout: {share: 0.05, serve: uniform}
sticky: 30m
half_life: 14d
log: {keep: 90d, max: 2GB}
"""
    )
    assert (spec.state, spec.winner, spec.start_ms, spec.end_ms) == ("ended", "calm", 1793491200000, 1801440000000)
    assert json.loads(spec.arms[0].payload) == {"headline": "Größe", "n": [1, 2.5, True, None]}
    assert spec.arms[0].attributes == {"tone": "calm", "weight": 3}
    assert (spec.arms[1].start_ms, spec.arms[1].end_ms) == (1793577600000, 1793703600000)
    assert (spec.algorithm.name, spec.algorithm.settings) == ("linucb", {"alpha": 0.8, "floor": 0.02})
    assert [(s.id, s.serve_default) for s in spec.segments] == [
        ("enterprise", False),
        ("loyal", False),
        ("default", True),
    ]
    assert spec.segments[0].when[0].texts == ("software", "no")
    assert (spec.segments[0].when[1].low, spec.segments[0].when[1].high) == (3.0, None)
    assert spec.segments[1].when[0].numbers == (1.0, 2.0)
    revenue = spec.metrics[1]
    assert (revenue.primary, revenue.clip, revenue.aggregate, revenue.min) == (True, True, "sum", -20.0)
    assert (revenue.window_ms, revenue.grace_ms) == (7 * DAY_MS, 5_400_000)
    assert (spec.holdout_share, spec.holdout_uniform) == (0.05, True)
    assert (spec.sticky_ms, spec.half_life_ms) == (1_800_000, 14 * DAY_MS)
    assert (spec.keep_ms, spec.keep_bytes) == (90 * DAY_MS, 2 << 30)


@pytest.mark.parametrize(
    ("changes", "algorithm"),
    [
        ({}, "auto"),
        ({"metrics": "metrics: [{id: a, max: 5}]"}, "auto"),
        ({"features": "features: {f: {type: flag}}"}, "auto"),
        ({"features": "features: {f: {type: flag}}", "algorithm": "algorithm: beta"}, "beta"),
    ],
)
def test_default_algorithm(changes: dict[str, str], algorithm: str) -> None:
    assert parse(edited(**changes)).algorithm.name == algorithm


def test_json_with_tabs_and_surrogate_pairs_is_read_too() -> None:
    text = (
        '{\n\t"experiment":"x",\n\t"arms":[{"id":"a","payload":{"e":"\\ud83d\\ude00","n":1e5,"u":"\\/"}}],'
        '\n\t"default_arm":"a","metrics":[{"id":"c"}]}'
    )
    assert json.loads(parse(text).arms[0].payload) == {"e": "😀", "n": 100000.0, "u": "/"}


def test_scalars_are_those_of_yaml_1_2() -> None:
    payload = "{a: no, b: on, c: 12:30, d: 02139, e: 1e3, f: !!str 5, g: ~, h: 0, i: -1.5, j: 2026-11-01, k: 0x10}"
    spec = parse(edited(arms=f"arms:\n  - {{id: calm, payload: {payload}}}"))
    expected: dict[str, Any] = dict(zip("abcdefghijk", ["no", "on", "12:30", "02139", 1000.0, "5", None], strict=False))
    expected |= {"h": 0, "i": -1.5, "j": "2026-11-01", "k": 16}
    assert json.loads(spec.arms[0].payload) == expected


F = "features:\n  f: {type: category, values: [a, b]}\n  n: {type: number, min: 0, max: 5}\n  y: {type: flag}\nsegments:\n"
BAD: list[tuple[str, list[str]]] = [
    ("", ["line 1: config: is empty"]),
    ("- a", ["line 1: config: must be a mapping of keys to values, not a list"]),
    (
        "a: [1, 2",
        ["line 1: config: not valid YAML: while parsing a flow sequence expected ',' or ']', but got '<stream end>' (column 9)"],
    ),
    ("a: b\n\x07", ['line 2: config: not valid YAML: the character U+0007 is not allowed (column 1); write it as "\\u0007" in double quotes']),
    ("a: 1\n---\nb: 2", ["line 2: config: not valid YAML: expected a single document in the stream but found another document (column 1)"]),
    ("[" * 50_000, ["config: nested too deeply"]),
    ("x" * 600_000, ["config: 600,000 bytes are too many, at most 524,288"]),
    (edited(x="state: activ"), ['line 7: state: "activ" is not one of draft, active, paused, ended; did you mean "active"?']),
    (edited(x="stat: active"), ['line 7: stat: unknown key; did you mean "state"?']),
    (edited(x="state: active\nstate: draft"), ["line 8: state: given twice, first on line 7"]),
    (edited(x="<<: {state: draft}"), ["line 7: <<: merge keys are not supported"]),
    (edited(experiment="experiment: Hero"), [
        'line 1: experiment: "Hero" is not a name: 1 to 64 of a-z, 0-9 and "-", not "-" first']),
    (edited(experiment=""), ["line 2: experiment: is required"]),
    (edited(default_arm="default_arm: clam"), ['line 5: default_arm: there is no arm "clam"']),
    (edited(x="state: ended"), ["line 1: winner: is required when the state is ended: an arm, or `learned` for each segment's own"]),
    (edited(x="winner: calm"), ["line 7: winner: is only for the state ended, not active"]),
    (edited(x="state: ended\nwinner: x"), ['line 8: winner: there is no arm "x"']),
    (edited(x="start: 2026-11-02\nend: 2026-11-01"), ["line 8: end: must be after start"]),
    (edited(x="start: 2026-11-31"), [
        'line 7: start: "2026-11-31" is not a date such as 2026-11-01 or 2026-11-01T09:30:00Z']),
    (edited(x="end: 20261101"), [
        "line 7: end: must be a date such as 2026-11-01 or 2026-11-01T09:30:00Z, not the number 20261101"]),
    (edited(arms="arms:\n  - id: calm\n  - {id: bold, segments: []}"), [
        "line 4: arms[1].segments: must not be empty"]),
    (edited(arms="arms: []"), ["line 2: arms: must not be empty", 'line 3: default_arm: there is no arm "calm"']),
    (edited(arms="arms:\n  - id: calm\n  - id: calm"), ['line 4: arms[1].id: the arm "calm" is given twice']),
    (edited(arms="arms:\n  - id: calm\n  - id: 5"), [
        'line 4: arms[1].id: must be text, not the number 5: put it in quotes, "5"']),
    (edited(arms="arms:\n  - id: calm\n  - id: a b"), [
        'line 4: arms[1].id: "a b" is not an id: 1 to 64 letters, digits, "_", "." and "-"']),
    (edited(arms="arms:\n  - id: calm\n  - payload: 1"), ["line 4: arms[1].id: is required"]),
    (edited(arms="arms:\n  - id: calm\n    segments: [vip]"), [
        'line 4: arms[0].segments[0]: there is no segment "vip"',
        'line 5: default_arm: the arm "calm" is limited to some segments; the default arm is for everyone']),
    (edited(arms="arms:\n  - id: calm\n    payload:\n      x: .nan"), [
        "line 5: arms[0].payload.x: must be a finite number"]),
    (edited(arms="arms:\n  - id: calm\n    payload: !!binary aGk="), [
        "line 4: arms[0].payload: the tag tag:yaml.org,2002:binary is not supported"]),
    (edited(arms=f"arms:\n  - id: calm\n    payload: {'x' * 65535}"), [
        "line 4: arms[0].payload: 65,537 bytes as JSON are too many, at most 65,536"]),
    (edited(arms="arms:\n  - id: calm\n    attributes: {a: [1]}"), [
        "line 4: arms[0].attributes.a: must be a text, a number or a flag"]),
    (edited(arms="arms:\n" + "\n".join(f"  - id: a{i}" for i in range(201)), default_arm="default_arm: a0"), [
        "line 2: arms: 201 arms are too many, at most 200"]),
    (edited(x="algorithm: linucp"), [
        'line 7: algorithm: "linucp" is not one of auto, beta, nig, linucb, lints, greedy, squarecb, revenue, uniform, fixed; did you mean "linucb"?']),
    (edited(x="algorithm: {name: linucb, alfa: 1}"), ['line 7: algorithm.alfa: unknown key; did you mean "alpha"?']),
    (edited(x="algorithm: {name: linucb, floor: 0.1}\nfloor: 0.2"), [
        "line 8: floor: given twice: here and under algorithm"]),
    (edited(x="floor: 0.6"), ["line 7: floor: must be between 0 and 0.5, not 0.6"]),
    (edited(x="algorithm: fixed"), [
        "line 7: algorithm: fixed needs weights: {name: fixed, weights: {an-arm: 1}}"]),
    (edited(x="algorithm: {name: fixed, weights: {calm: 0, bolt: 1}}"), [
        'line 7: algorithm.weights.bolt: there is no arm "bolt"',
        "line 7: algorithm.weights: at least one must be above zero"]),
    (edited(x="features: {f: {type: flags}}"), [
        'line 7: features.f.type: "flags" is not one of category, number, flag; did you mean "flag"?']),
    (edited(x="features: {f: {type: category, values: [a, a]}}"), ['line 7: features.f.values[1]: "a" is given twice']),
    (edited(x="features: {f: {type: category}}"), ["line 7: features.f.values: is required"]),
    (edited(x="features: {f: {type: number, min: 3, max: 3}}"), ["line 7: features.f.max: must be above min, 3"]),
    (edited(x="features: {f: {type: number, min: .inf, max: 3}}"), ["line 7: features.f.min: must be a finite number"]),
    (edited(x="features: {f: {type: flag, max: 3}}"), ["line 7: features.f.max: unknown key; known here: type"]),
    (edited(x="features: {f: {type: category, values: [" + ", ".join(f"v{i}" for i in range(62)) + "]}}"), [
        "line 7: features: need 65 columns, at most 64 (constant 1, f 64)"]),
    (edited(x=F + "  - {id: s, when: {f: c}}"), ['line 12: segments[0].when.f: "c" is not one of its values: a, b']),
    (edited(x=F + "  - {id: s, when: {g: c}}"), [
        "line 12: segments[0].when.g: is not a declared feature; declared: f, n, y"]),
    (edited(x=F + "  - {id: s, when: {y: 1}}"), ["line 12: segments[0].when.y: is a flag: must be true or false"]),
    (edited(x=F + "  - {id: s, when: {n: a}}"), [
        "line 12: segments[0].when.n: is a number: must be a number, a list of them or {min: …, max: …}"]),
    (edited(x=F + "  - {id: s, when: {n: {min: 3, max: 2}}}"), [
        "line 12: segments[0].when.n.max: must not be below min, 3"]),
    (edited(x=F + "  - {id: s, when: {n: {}}}"), ["line 12: segments[0].when.n: must have min or max"]),
    (edited(x=F + "  - {id: s}"), ["line 12: segments[0].when: is required"]),
    (edited(x=F + "  - {id: default}\n  - {id: s, when: {y: true}}"), [
        "line 12: segments[0].id: the default segment takes everyone who is left: put it last"]),
    (edited(x=F + "  - {id: default, when: {y: true}}"), [
        "line 12: segments[0].when: the default segment takes everyone who is left and has no rule"]),
    (edited(metrics="metrics: [{id: a}, {id: b}]"), ["line 6: metrics: one of them must say `primary: true`"]),
    (edited(metrics="metrics: [{id: a, primary: true}, {id: b, primary: true}]"), [
        "line 6: metrics[1].primary: only one metric can be the primary one"]),
    (edited(metrics="metrics: [{id: a, primary: yes}]"), [
        'line 6: metrics[0].primary: must be true or false, not the text "yes"']),
    (edited(metrics="metrics: [{id: a, unit: 0.3}]"), [
        "line 6: metrics[0].max: 1 is not a whole multiple of the unit, 0.3"]),
    (edited(metrics="metrics: [{id: a, min: 2}]"), ["line 6: metrics[0].max: must be above min, 2"]),
    (edited(metrics="metrics: [{id: a, unit: 0.0001, max: 5000, aggregate: sum}]"), [
        ("line 6: metrics[0].unit: too small for the range: a total may reach 64 x 5000 / 0.0001 = 3,200,000,000 units, "
         "at most 2,147,483,647")]),
    (edited(metrics="metrics: [{id: a, window: 7 days}]"), [
        "line 6: metrics[0].window: must be a duration such as 250ms, 30s, 10m, 4h or 7d"]),
    (edited(metrics="metrics: [{id: a, window: 30s, min_delay: 30s}]"), [
        "line 6: metrics[0].min_delay: must be below the window"]),
    (edited(metrics="metrics: [{id: a, min_delay: 2h}]"), ["line 6: metrics[0].min_delay: must be from 0 to 1h"]),
    (edited(metrics="metrics: [{id: a, window: 500d}]"), ["line 6: metrics[0].window: must be from 16ms to 400d"]),
    (edited(x="holdout: {share: 0.6}"), ["line 7: holdout.share: must be between 0 and 0.5, not 0.6"]),
    (edited(x="log: {max: 12}"), ["line 7: log.max: must be a size such as 64kB, 512MB or 2GB"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), BAD, ids=range(len(BAD)))
def test_refusals_name_line_and_field(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


def test_all_problems_come_at_once_in_the_order_of_the_lines() -> None:
    found = problems("experiment: X\narms:\n  - id: a\n    stat: x\nsticky: 5\nmetrics: [{id: m, unit: a}]\n")
    assert [line.split(":")[0] for line in found] == ["line 1", "line 1", "line 4", "line 5", "line 6"]


def test_aliases_are_followed_but_cannot_unfold_without_end() -> None:
    spec = parse(edited(arms="arms:\n  - {id: calm, payload: &p {a: 1}}\n  - {id: bold, payload: *p}"))
    assert spec.arms[1].payload == '{"a":1}'
    levels = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}' if i else 'x'] * 10)}]" for i in range(9))
    (found,) = problems(levels)
    assert found.endswith("too large once its aliases are followed")
    (found,) = problems("a: &a [*a]")
    assert found.endswith("nested deeper than 64 levels")


@pytest.mark.parametrize(
    ("name", "arms", "algorithm", "primary"),
    [
        ("homepage", 10, "linucb", "click"),
        ("subject-line", 5, "beta", "click"),
        ("offer", 5, "nig", "revenue"),
    ],
)
def test_shipped_examples(name: str, arms: int, algorithm: str, primary: str) -> None:
    spec: Spec = parse((EXAMPLES / f"{name}.yaml").read_text())
    assert (len(spec.arms), spec.algorithm.name) == (arms, algorithm)
    assert [metric.id for metric in spec.metrics if metric.primary] == [primary]


GUARDED = edited(
    metrics=(
        "metrics:\n  - {id: click, primary: true}\n  - {id: left, max: 5, aggregate: sum}\n"
        "  - {id: profit, min: -10, max: 10}\nholdout: {share: 0.1}"
    ),
    guardrails="guardrails:\n  - {metric: left, max: 0.004}\n  - {metric: profit, max_drop: 0.05}\n  - metric: click\n    max_rise: 0",
)


def test_guardrails() -> None:
    found = [(one.metric, one.kind, one.limit) for one in parse(GUARDED).guardrails]
    assert found == [("left", "max", 0.004), ("profit", "max_drop", 0.05), ("click", "max_rise", 0.0)]
    assert parse(edited()).guardrails == ()


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ("metric: left", "metric: lefd", 'line 12: guardrails[0].metric: there is no metric "lefd"; declared: click, left, profit'),
        ("{metric: left, max", "{max", "line 12: guardrails[0].metric: is required"),
        (", max: 0.004", "", "line 12: guardrails[0]: needs exactly one of max, max_drop, max_rise"),
        ("max: 0.004", "max: 1, max_rise: 1", "line 12: guardrails[0]: needs exactly one of max, max_drop, max_rise"),
        ("max: 0.004", "max: 0", "line 12: guardrails[0].max: must be above 0"),
        ("max_drop: 0.05", "max_drop: 1", "line 13: guardrails[1].max_drop: must be between 0 and 0.99, not 1"),
        ("    max_rise: 0", "    max: 1", 'line 15: guardrails[2].max: can never be exceeded: the metric "click" is at most 1'),
        (
            "profit, max_drop: 0.05", "profit, max: 1",
            'line 13: guardrails[1].max: the metric "profit" may be negative: what has not come yet may lower it; use max_rise',
        ),
        (
            "metric: click\n    max_rise: 0", "metric: left\n    max: 0.1",
            'line 15: guardrails[2].max: given twice for the metric "left"',
        ),
        ("max: 0.004", "max: 0.004, arm: b", "line 12: guardrails[0].arm: unknown key; known here: metric, max, max_drop, max_rise"),
    ],
)  # fmt: skip
def test_guardrails_that_are_refused(was: str, now: str, said: str) -> None:
    assert was in GUARDED
    assert problems(GUARDED.replace(was, now)) == [said]


def test_a_guardrail_that_compares_needs_a_holdout() -> None:
    said = "compares with the holdout, and there is none: `holdout: {share: 0.05}`"
    lines = problems(GUARDED.replace("holdout: {share: 0.1}\n", ""))
    assert lines == [f"line 12: guardrails[1].max_drop: {said}", f"line 14: guardrails[2].max_rise: {said}"]
    assert len(problems(edited(guardrails="guardrails: [" + "{metric: click, max: 0.1}, " * 17 + "]"))) == 17
