"""Compiling: dates, eligibility, metrics, the record, the state bound."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandits.cells import counts_size, learn_size
from bandits.guarded import Guarded
from bandits.state import Rules
from bandits.subjects import ARM_BUCKETS, SIDE
from service.errors import CorruptError, InvalidError
from service.experiment.compiled import Experiment, build, read
from service.experiment.parse import parse
from service.experiment.state_bound import state_bytes
from service.store.contract import Aggregate

EXAMPLES = Path(__file__).parents[3] / "deploy" / "examples"
NOW = 1_800_000_000_000

TEXT = """\
experiment: hero
start: 2027-01-01
end: 2027-03-01
arms:
  - {id: calm, payload: {headline: "Größe"}}
  - {id: bold, segments: [vip]}
  - {id: soon, start: 2027-01-10, end: 2027-01-20}
  - {id: rest, state: paused, start: 2027-01-12}
default_arm: calm
features: {visits: {type: number, min: 0, max: 10}}
segments: [{id: vip, when: {visits: {min: 5}}}]
metrics:
  - {id: click, primary: true, window: 1h}
  - {id: revenue, unit: 0.01, min: -5, max: 500, aggregate: sum, outliers: clip, window: 7d, grace: 1h}
holdout: {share: 0.25, serve: uniform}
"""
JAN_1, JAN_10, JAN_20, MAR_1 = 1798761600000, 1799539200000, 1800403200000, 1803859200000


def compiled(text: str = TEXT, old: Experiment | None = None, uid: str = "ab12") -> Experiment:
    return read(build(parse(text), text, uid, NOW, old))


def test_the_record_carries_everything() -> None:
    hero = compiled()
    assert (hero.uid, hero.name, hero.version, hero.applied_at_ms, hero.text) == ("ab12", "hero", 1, NOW, TEXT)
    assert (hero.arm_numbers, hero.default_arm) == ({"calm": 0, "bold": 1, "soon": 2, "rest": 3}, 0)
    assert json.loads(hero.arms[0].payload_json) == {"headline": "Größe"}
    assert hero.arms[1].segments == frozenset({1})
    assert (hero.segments.ids, hero.segments.serves_default) == (("default", "vip"), (False, False))
    assert (hero.columns, hero.encoder.columns) == (3, 3)
    assert hero.algorithm == "auto"
    assert (hero.holdout_share, hero.holdout_uniform) == (0.25, True)
    assert hero.horizon_ms == 7 * 86_400_000 + 3_600_000
    assert (hero.primary.id, hero.metric_numbers) == ("click", {"click": 0, "revenue": 1})
    assert 0 <= hero.salt < 2**64
    assert hero.salt != compiled(uid="ab13").salt
    with pytest.raises(dataclasses.FrozenInstanceError):
        hero.version = 2  # type: ignore[misc]


def test_an_update_is_the_next_version_of_the_same_experiment() -> None:
    old = compiled()
    new = compiled(TEXT.replace("share: 0.25", "share: 0.1"), old)
    assert (new.version, new.salt, new.holdout_share) == (2, old.salt, 0.1)


def test_eligible_and_live_change_exactly_at_the_dates_that_next_change_names() -> None:
    hero = compiled()
    assert hero.eligible(0, JAN_10 - 1) == (0,)
    assert hero.eligible(0, JAN_10) == (0, 2)
    assert hero.eligible(1, JAN_10) == (0, 1, 2)
    assert hero.eligible(0, JAN_20) == (0,)
    assert [hero.live(at) for at in (JAN_1 - 1, JAN_1, MAR_1 - 1, MAR_1)] == [False, True, True, False]
    moments: list[int] = []
    while (moment := hero.next_change(moments[-1] if moments else 0)) is not None:
        moments.append(moment)
    assert moments == [JAN_1, JAN_10, JAN_20, MAR_1]  # the paused arm's date changes nothing


@pytest.mark.parametrize("state", ["draft", "paused"])
def test_only_an_active_experiment_is_live(state: str) -> None:
    assert not compiled(f"state: {state}\n" + TEXT).live(JAN_10)


def test_an_ended_experiment_knows_its_winner() -> None:
    hero = compiled("state: ended\nwinner: calm\n" + TEXT)
    assert (hero.winner, hero.live(JAN_10)) == (0, False)


def test_metric_units() -> None:
    click, revenue = compiled().metrics
    assert (revenue.limit, revenue.scale, revenue.aggregate) == (64 * 50_000, 500.0, Aggregate.SUM)
    assert (click.limit, click.scale, click.aggregate) == (1, 1.0, Aggregate.FIRST)
    assert [revenue.units(v) for v in (0.29, 19.99, 500, 500.01, -7, 0.125, 0.375)] == [
        29, 1999, 50_000, 50_000, -500, 12, 38,
    ]  # fmt: skip
    refund = dataclasses.replace(revenue, minimum=0.0)
    assert (refund.floored, revenue.floored, click.floored) == (True, False, False)
    assert [refund.units(v) for v in (-7, -600, -1e12, 500.01)] == [-700, -60_000, -refund.limit, 50_000]
    assert [click.units(v) for v in (0, 1, 0.5)] == [0, 1, 0]
    with pytest.raises(InvalidError, match=r'^value: must be between 0 and 1 for the metric "click", not 1\.5$'):
        click.units(1.5)
    for value in (math.nan, math.inf, -math.inf):
        for metric in (click, revenue):
            with pytest.raises(InvalidError, match=r"^value: must be a finite number$"):
                metric.units(value)


@given(st.integers(-500, 50_000))
def test_whole_units_come_back_exactly(count: int) -> None:
    assert REVENUE.units(count / 100) == count
    assert REVENUE.units(float(f"{count / 100:.2f}")) == count


REVENUE = compiled().metrics[1]


def test_fixed_weights_are_settings_by_arm_number() -> None:
    text = TEXT + "algorithm: {name: fixed, weights: {soon: 3, calm: 1}}\n"
    settings = compiled(text).settings
    assert (settings["0"], settings["2"], settings["floor"]) == (1.0, 3.0, 0.0)


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"{}",
        b"\xff\xfe",
        b"[1]",
        build(parse(TEXT), TEXT, "ab12", NOW, None)[:-20],
        build(parse(TEXT), TEXT, "ab12", NOW, None).replace(b'"format":1', b'"format":9'),
        build(parse(TEXT), TEXT, "ab12", NOW, None).replace(b'"name":"auto"', b'"name":"magic"'),
        build(parse(TEXT), TEXT, "ab12", NOW, None).replace(b'"default_arm":"calm"', b'"default_arm":"gone"'),
        build(parse(TEXT), TEXT, "ab12", NOW, None).replace(b'"aggregate":"sum"', b'"aggregate":"mean"'),
    ],
)
def test_a_record_that_does_not_decode_is_corrupt(record: bytes) -> None:
    with pytest.raises(CorruptError):
        read(record)


def test_the_state_bound_counts_the_cells_of_the_fold() -> None:
    for columns, metrics in ((1, 1), (16, 2), (64, 16)):
        block = counts_size(metrics) + learn_size(columns)
        more = state_bytes(6, 3, columns, metrics) - state_bytes(5, 3, columns, metrics)
        guarded = Guarded(Rules(3, 1, metrics, columns, 0, 0, 1, 1000, guarded=(0,) * metrics)).cells.size
        assert more == (3 * (64 * block + 2 * SIDE * ARM_BUCKETS) + guarded) * 8


def test_a_state_that_could_not_fit_is_refused_with_what_would() -> None:
    text = "".join(
        [
            "experiment: wide\ndefault_arm: a0\nmetrics: [{id: click}]\narms:\n",
            *(f"  - id: a{n}\n" for n in range(40)),
            "features:\n  f: {type: category, values: [" + ", ".join(f"v{n}" for n in range(61)) + "]}\n",
            "segments:\n",
            *(f"  - {{id: s{n}, when: {{f: v{n}}}}}\n" for n in range(19)),
        ]
    )
    spec = parse(text)
    with pytest.raises(InvalidError) as caught:
        build(spec, text, "ab", NOW, None)
    (violation,) = caught.value.violations
    assert str(violation) == (
        "line 45: features: 40 arms x 20 segments x 64 feature columns with 1 metrics may need 850 MB of state, more than "
        "state.max, 256 MB; what would fit: 12 arms or 6 segments or 33 feature columns"
    )
    assert read(build(spec, text, "ab", NOW, None, state_max=1 << 30)).columns == 64


@pytest.mark.parametrize(("name", "columns"), [("homepage", 16), ("subject-line", 1), ("offer", 1)])
def test_shipped_examples_compile(name: str, columns: int) -> None:
    hero = compiled((EXAMPLES / f"{name}.yaml").read_text())
    assert hero.columns == columns
    assert hero.live(NOW)
    assert all(hero.eligible(segment, NOW) for segment in range(len(hero.segments.ids)))


def test_the_homepage_sends_each_visitor_to_its_segment() -> None:
    hero = compiled((EXAMPLES / "homepage.yaml").read_text())
    cases: list[tuple[dict[str, Any], str]] = [
        ({"industry": "finance", "source": "search", "returning": True}, "returning-visitors"),
        ({"industry": "software", "source": "ads", "returning": False}, "software-paid"),
        ({"industry": "software", "source": "search"}, "default"),
        ({"industry": "health"}, "regulated"),
        ({}, "default"),
    ]
    for context, segment in cases:
        number = hero.segments.match(context)
        assert hero.segments.ids[number] == segment
        assert hero.segments.serves_default[number] == (segment == "default")


def test_settings_that_no_longer_exist_are_taken_with_a_warning() -> None:
    """Also those of a record from before; `auto` goes on by its own lights."""
    old = compiled(TEXT + "algorithm: {name: auto, alpha: 0.4, width_lambda: 0.3, evidence: more}\n")
    settings = old.warnings
    assert [said.partition(";")[0] for said in settings] == [
        "algorithm.alpha: no longer exists",
        "algorithm.width_lambda: no longer exists",
    ]
    assert all("evidence" in said for said in settings)
    assert old.settings["evidence"] == 2.0
    assert compiled().warnings == ()
    assert compiled().settings["evidence"] == 1.0


def test_a_setting_of_words_takes_no_others() -> None:
    with pytest.raises(InvalidError, match=r'"much" is not one of less, usual, more'):
        compiled(TEXT + "algorithm: {name: auto, evidence: much}\n")
    with pytest.raises(InvalidError, match="must be one of less, usual, more, not the number 1"):
        compiled(TEXT + "algorithm: {name: auto, evidence: 1}\n")
