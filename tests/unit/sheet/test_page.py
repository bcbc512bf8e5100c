"""A report as one HTML file: it needs nothing else, and every number on it is the report's."""

from __future__ import annotations

import json
import math
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.pb.lever.v1 import experiment_pb2 as pb
from service.remote.plain import plain
from service.sheet.drawing import curve, marks
from service.sheet.figure import Figures
from service.sheet.page import days, page
from tests.rig.demo.shop import told

EXPERIMENTS = ("homepage-hero", "morning-letter", "cart-offer")
NAN = math.nan


class Seen(HTMLParser):
    """Tags with their attributes, numbers with what is written for them, and all text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.numbers: list[tuple[str, float, str]] = []
        self.text = ""
        self._open: dict[str, str | None] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = dict(attrs) if tag == "data" else None

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._open is not None:
            self.numbers.append((str(self._open["data-at"]), json.loads(str(self._open["value"])), data))
            self._open = None


def read(shown: str) -> tuple[float, float]:
    """The number that a person reads, and half of its last digit."""
    digits = shown.replace(",", "").replace("\u2013", "").removesuffix(" %")
    unit = 0.01 if shown.endswith("%") else 1.0
    decimals = len(digits.partition(".")[2])
    return float(digits) * unit, 0.51 * unit * 10.0**-decimals


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_number_is_the_reports(name: str) -> None:
    report, timeline = told()[name]
    figures, seen = Figures(plain(report)), Seen(page(report, timeline))
    assert len(seen.numbers) > 5 * sum(len(segment.arms) for segment in report.segments)
    for at, value, shown in seen.numbers:
        assert value == figures.at(at), at
        told_value, rounding = read(shown)
        assert told_value == pytest.approx(value, abs=max(rounding, 6e-5), rel=6e-4), at


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_arm_and_every_lift_is_there(name: str) -> None:
    report, timeline = told()[name]
    seen = Seen(page(report, timeline))
    places = {at for at, _, _ in seen.numbers}
    for s, segment in enumerate(report.segments):
        assert {f"segments.{s}.arms.{i}.trials" for i in range(len(segment.arms))} <= places
    for i, lift in enumerate(report.lifts):
        assert (f"lifts.{i}.relative" in places) == (not lift.too_early)
    assert report.headline.replace(" %", "\u00a0%") in seen.text
    assert ("Outage" in seen.text) == any(segment.HasField("outage") for segment in report.segments)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_it_needs_nothing_else(name: str) -> None:
    html = page(*told()[name])
    seen = Seen(html)
    assert not {tag for tag, _ in seen.tags} & {"script", "link", "img", "iframe", "object", "base"}
    assert not [one for _, one in seen.tags if {"src", "href", "srcset", "onload"} & set(one)]
    assert "url(" not in html
    assert "@import" not in html


def test_guardrails_are_there() -> None:
    known: dict[str, Any] = {
        "metric": "left",
        "kind": "max",
        "limit": 0.005,
        "low": 0.0156,
        "high": 0.0252,
        "estimate": 0.0204,
    }
    paused = pb.GuardrailReport(arm="loud", state="paused", trials=15_051, paused_since_ms=1_790_000_000_000, **known)
    drop = pb.GuardrailReport(
        metric="buy", kind="max_drop", limit=0.1, arm="calm", state="holding", estimate=-0.02, low=-math.inf, high=0.1
    )
    early = pb.GuardrailReport(
        metric="left", kind="max", limit=0.005, arm="calm", state="too early", estimate=NAN, low=NAN, high=NAN
    )
    report = pb.GetReportResponse(name="hero", metric="buy", guardrails=[paused, drop, early])
    seen = Seen(page(report, pb.GetTimelineResponse()))
    for words in ("paused since 2026-09-21", "15,051", "0.0156 to 0.0252", "-2.0 %", "left max 0.005", "too early"):
        assert words in seen.text, words
    assert {at for at, _, _ in seen.numbers} >= {"guardrails.0.low", "guardrails.1.estimate", "guardrails.2.trials"}


def test_what_is_not_known_is_said_in_words() -> None:
    believed: dict[str, Any] = {
        "credible_low": NAN,
        "credible_high": NAN,
        "posterior_mean": NAN,
        "probability_best": NAN,
        "expected_loss": NAN,
    }
    untried = pb.ArmReport(arm="<b>old", state="active", eligible=True, **believed)
    away = pb.ArmReport(arm="away", state="paused", trials=5, mean=0.2, eligible=False, **believed)
    young = pb.ArmReport(
        arm="young", state="active", trials=9, eligible=True, credible_low=0.1, credible_high=0.4, posterior_mean=0.2,
        probability_best=NAN, expected_loss=NAN,
    )  # fmt: skip
    early = pb.Lift(metric="buy", too_early="few", relative=NAN, difference=NAN)
    endless = pb.Lift(
        metric="buy", relative=0.1, difference=0.1, relative_low=-math.inf, relative_high=math.inf, low=0.0, high=0.2
    )
    report = pb.GetReportResponse(
        name="hero", metric="buy", headline="<i>Too early.", lifts=[early, endless],
        segments=[pb.SegmentReport(segment="<s>", arms=[untried, away, young]), pb.SegmentReport(segment="empty")],
    )  # fmt: skip
    html = page(report, pb.GetTimelineResponse())
    seen = Seen(html)
    assert {"b", "i", "s"}.isdisjoint({tag for tag, _ in seen.tags} - {"b"})
    assert "<b>old" in seen.text
    for words in ("untried", "not eligible", "too early"):
        assert words in seen.text
    assert "nan" not in html.lower().replace("governance", "")
    assert "infinity" not in html.lower()


@given(st.floats(-5, 5), st.floats(0.01, 9))
def test_marks_are_inside_and_few(low: float, width: float) -> None:
    found = marks(low, low + width)
    assert 1 <= len(found) <= 7
    assert all(low - 1e-9 <= mark <= low + width + 1e-9 for mark in found)


def test_a_curve_stays_inside_its_frame() -> None:
    far: list[tuple[int, float, float, float]] = [(i * 86_400_000, 0.1, -1.0, 90.0 if i < 2 else 0.3) for i in range(9)]
    drawn = Seen(curve(far))
    points = [one["points"] for _, one in drawn.tags if "points" in one]
    for x, y in (place.split(",") for line in points for place in str(line).split()):
        assert 0 <= float(x) <= 720
        assert 0 <= float(y) <= 220
    assert curve(far[:2]) == ""


def test_the_curve_is_the_timelines_primary_metric() -> None:
    report, timeline = told()["cart-offer"]
    known: list[Any] = [one for one in timeline.lifts if one.metric == "revenue" and not one.too_early]
    assert [day[0] for day in days(report, timeline)] == [one.to_ms for one in known]


def test_how_soon_rewards_come_is_drawn_and_said() -> None:
    hour = 3_600_000.0
    found = pb.Arrival(
        rewards=90, half_ms=5 * hour, most_ms=50.4 * hour, age_ms=[0.0, hour / 8, hour, 8 * hour, 128 * hour],
        share=[0.0, 0.1, 0.3, 0.6, 1.0], low=[0.0, 0.05, 0.2, 0.5, 1.0], high=[0.0, 0.2, 0.4, 0.7, 1.0],
    )  # fmt: skip
    report = pb.GetReportResponse(name="letter", metric="value", arrival=found)
    seen = Seen(page(report, pb.GetTimelineResponse()))
    assert "Half of the rewards are in after 5 h, 90\u00a0% after 2.1 days" in seen.text
    assert "How soon value comes in" in seen.text
    (line,) = (attributes["points"] for tag, attributes in seen.tags if tag == "polyline")
    heights = [float(point.split(",")[1]) for point in str(line).split()]
    assert heights == sorted(heights, reverse=True)
    assert "How soon" not in Seen(page(pb.GetReportResponse(name="letter"), pb.GetTimelineResponse())).text
