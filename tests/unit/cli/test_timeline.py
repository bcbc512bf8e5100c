"""The commands timeline and exclude."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import pytest

from service.cli.past.timeline import sparkline
from service.pb.lever.v1 import experiment_pb2 as epb
from tests.rig.canned import Canned, lever
from tests.rig.programs import ROOT

DAY = 86_400_000
AT = 1_700_006_400_000  # 2023-11-15T00:00:00Z
LEFT_OUT = epb.Exclusion(number=2, from_ms=AT, to_ms=AT + 60_000, arms=["calm"], trials=1234)


def series(arm: str, group: str = "policy", **lists: Any) -> epb.TimelineSeries:
    nothing: dict[str, Any] = {"rewarded": [1, 2], "reward_sum": [1.0, 2.0], "reward_square_sum": [1.0, 2.0]}
    return epb.TimelineSeries(arm=arm, metric="click", group=group, **(nothing | lists))


@pytest.fixture
def told(canned: Canned) -> Canned:
    """Two days of two arms; too early on the first."""
    lift: dict[str, Any] = {"metric": "click", "policy_trials": 9, "holdout_trials": 3, "from_ms": AT}
    canned.answers["timeline"] = epb.GetTimelineResponse(
        name="hero", metric="click",
        periods=[epb.TimelinePeriod(start_ms=AT + i * DAY, end_ms=AT + (i + 1) * DAY) for i in range(2)],
        series=[
            series("calm", trials=[10, 5], traffic_share=[0.5, 0.05], mean_propensity=[0.5, 0.1], probability_best=[math.nan, 0.02]),
            series("bold", trials=[10, 95], traffic_share=[0.5, 0.95], mean_propensity=[0.5, 0.9], probability_best=[math.nan, 0.98]),
            series("calm", "holdout", trials=[0, 7], rewarded=[0, 3]),
        ],
        lifts=[
            epb.Lift(to_ms=AT + DAY, too_early="nobody came", **lift),
            epb.Lift(to_ms=AT + DAY + 5, difference=0.1, low=0.05, high=0.15, relative=0.5, relative_low=0.2, relative_high=0.8, **lift),
        ],
        changes=[epb.HistoryEvent(at_ms=AT + DAY, what="updated", version=2, by="ann"), epb.HistoryEvent(at_ms=AT, what="created", version=1)],
        exclusions=[LEFT_OUT],
    )  # fmt: skip
    return canned


def test_the_past_in_small_pictures(told: Canned) -> None:
    result = lever("timeline", "hero", "--segment", "paid", "--step", "day")
    assert result.exit_code == 0, result.output
    assert (told.asked[0].segment, told.asked[0].step) == ("paid", epb.TIMELINE_STEP_DAY)
    lines = result.stdout.splitlines()
    assert lines[0] == "hero  metric click  2023-11-15 00:00:00 UTC to 2023-11-17 00:00:00 UTC"
    assert lines[1].startswith("left out: exclusion 2, 1,234 trials of calm from 2023-11-15 00:00:00 UTC")
    (bold,) = [line.split() for line in lines if line.startswith("bold")]
    assert bold[1:3] == ["105", "0.0286"]
    assert (bold[4], bold[-1]) == ("95.0%", "98.0%")
    assert any("too early" in line for line in lines if line.startswith("2023-11-15 "))
    assert any("+50.0%" in line and "+20.0% to +80.0%" in line for line in lines if line.startswith("2023-11-16 "))
    assert lines[-2:] == [
        "2023-11-15 00:00:00 UTC  created to version 1 by anyone  ",
        "2023-11-16 00:00:00 UTC  updated to version 2 by ann  ",
    ]


def test_the_past_as_rows(told: Canned) -> None:
    rows = list(csv.DictReader(io.StringIO(lever("timeline", "hero", "--csv").stdout)))
    assert told.asked[0].each_segment
    assert [(row["arm"], row["group"], row["trials"]) for row in rows] == [
        ("calm", "policy", "10"), ("calm", "policy", "5"), ("bold", "policy", "10"), ("bold", "policy", "95"),
        ("calm", "holdout", "7"),
    ]  # fmt: skip
    assert rows[0] | {"start": "2023-11-15T00:00:00Z", "traffic_share": "0.5", "probability_best": ""} == rows[0]
    assert (rows[-1]["rewarded"], rows[-1]["mean_propensity"]) == ("3", "")


def test_the_past_as_json(told: Canned) -> None:
    found = json.loads(lever("timeline", "hero", "--json").stdout)
    assert found["series"][1]["trials"] == [10, 95]
    assert found["series"][0]["probability_best"] == [None, 0.02]


def test_no_past(canned: Canned) -> None:
    canned.answers["timeline"] = epb.GetTimelineResponse(name="hero", stale=True)
    result = lever("timeline", "hero")
    assert result.stdout == "Nothing was shown yet.\n"
    assert "the last snapshot" in result.stderr


def test_a_picture_is_at_most_40_wide_and_has_gaps() -> None:
    assert sparkline([0.0, 0.5, 1.0], True) == "▁▅█"
    assert sparkline([0.0, math.nan, 0.95], False) == "0 9"
    assert len(sparkline([i / 99 for i in range(100)], True)) == 40
    assert sparkline([], True) == ""


def test_data_is_excluded_and_included_again(canned: Canned) -> None:
    canned.answers["exclude"] = epb.ExcludeResponse(exclusion=LEFT_OUT)
    canned.answers["include"] = epb.IncludeResponse(exclusion=LEFT_OUT)
    (line,) = [
        line for line in (ROOT / "docs/reports.md").read_text().splitlines() if line.startswith("lever exclude thu")
    ]
    result = lever(*line.split()[1:])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("no longer counts: exclusion 2, 1,234 trials of calm")
    asked = canned.asked[0]
    assert (asked.name, list(asked.arms), asked.to_ms - asked.from_ms) == (
        "thursday-letter",
        ["plain"],
        4.5 * 3_600_000,
    )
    assert lever("exclude", "hero", "--undo", "2").stdout.startswith("counts again: exclusion 2")
    assert (canned.asked[1].name, canned.asked[1].number) == ("hero", 2)
    lever("exclude", "hero", "--from", "2023-11-15T01:00+01:00")
    assert canned.asked[2].from_ms == AT
    assert canned.asked[2].to_ms > AT + DAY
    assert json.loads(lever("exclude", "hero", "--undo", "2", "--json").stdout)["trials"] == 1234


def test_what_is_excluded_is_listed(canned: Canned) -> None:
    canned.answers["report"] = epb.GetReportResponse(name="hero")
    assert lever("exclude", "hero").stdout == "Nothing is excluded.\n"
    canned.answers["report"] = epb.GetReportResponse(name="hero", exclusions=[LEFT_OUT])
    assert lever("exclude", "hero").stdout.startswith("exclusion 2, 1,234 trials of calm from")
    assert "left out: exclusion 2" in lever("report", "hero").stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--undo", "1", "--from", "2023-11-15"], "--undo"),
        (["--arm", "calm"], "--from"),
        (["--from", "yesterday"], "'yesterday' is no time like 2026-11-20T14:00"),
    ],
)
def test_options_that_make_no_sense(canned: Canned, options: list[str], said: str) -> None:
    result = lever("exclude", "hero", *options)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not canned.asked
