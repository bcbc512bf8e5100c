"""The command report: tables, bars, JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from service.cli.report import bar
from service.pb.lever.v1 import experiment_pb2 as epb
from service.remote.words import number, stopping
from tests.rig.canned import Canned, lever

# --- report


HEADLINE = (
    "No difference is shown yet: +14 % click over the default, between -20 % and +50 %; safe to look at any time."
)


def report(**fields: Any) -> epb.GetReportResponse:
    shown: dict[str, Any] = {"trials": 12345, "rewarded": 987, "reward_sum": 987.0, "mean": 0.08, "traffic_share": 0.75}
    believed: dict[str, Any] = {
        "credible_low": 0.075,
        "credible_high": 0.085,
        "posterior_mean": 0.0799,
        "probability_best": 0.875,
    }
    calm = epb.ArmReport(arm="calm", state="active", **shown, **believed, expected_loss=0.00012, eligible=True)
    bold = epb.ArmReport(
        effect=epb.ArmEffect(low=-0.011, high=0.004),
        arm="[b]old",
        state="paused",
        holdout_trials=200,
        holdout_reward_sum=14,
    )
    segments = [epb.SegmentReport(segment="enterprise", arms=[calm, bold])]
    sums: dict[str, Any] = {
        "policy_trials": 12345,
        "policy_reward_sum": 987.0,
        "holdout_trials": 200,
        "holdout_reward_sum": 14.0,
    }
    known: dict[str, Any] = {"difference": 0.01, "low": -0.02, "high": 0.04, "relative": 0.1421, "p_value": 1.0}
    ends: dict[str, Any] = {"relative_low": -0.2, "relative_high": 0.5}
    early = epb.Lift(metric="[b]uy", segment="enterprise", too_early="few", difference=float("nan"))
    return epb.GetReportResponse(
        name="hero", version=3, algorithm="linucb", metric="click", segments=segments, headline=HEADLINE,
        lifts=[epb.Lift(metric="click", **sums, **known, **ends), early], **fields,
    )  # fmt: skip


def test_report_is_a_table_per_segment(canned: Canned) -> None:
    canned.answers["report"] = report()
    result = lever("report", "hero")
    assert result.exit_code == 0, result.output
    out = result.stdout
    assert "hero  version 3  linucb  metric click" in out
    assert "segment enterprise" in out
    row = next(line for line in out.splitlines() if line.startswith("calm"))
    for cell in (
        "active",
        "12,345",
        "75.0%",
        "987",
        "0.0800",
        "0.0799",
        "0.0750 to 0.0850",
        "████████▊",
        "87.5%",
        "0.0001",
    ):
        assert cell in row, cell
    assert "-0.0110 to 0.0040" in next(
        line for line in out.splitlines() if line.startswith("[b]old")
    )  # markup in an id is only text
    assert out.splitlines()[0] == HEADLINE
    row = next(line for line in out.splitlines() if line.startswith("all"))
    for cell in ("click", "0.0800", "0.0700", "0.0100", "-0.0200 to 0.0400", "+14.2%", "-20.0% to +50.0%", "1"):
        assert cell in row, cell
    assert next(line for line in out.splitlines() if line.startswith("enterprise")).split()[1:] == [
        "[b]uy",
        "-",
        "-",
        "too",
        "early",
    ]
    assert "…" not in out  # nothing is cut
    assert result.stderr == ""


def test_report_says_where_only_rewarded_choices_count(canned: Canned) -> None:
    told = {}
    for trials, rewarded in ((40, 40), (40, 39), (29, 29)):
        answer = report()
        answer.segments[0].arms[0].trials, answer.segments[0].arms[0].rewarded = trials, rewarded
        canned.answers["report"] = answer
        told[trials, rewarded] = "every trial was rewarded" in lever("report", "hero").stdout
    assert told == {(40, 40): True, (40, 39): False, (29, 29): False}


def test_report_as_json(canned: Canned) -> None:
    canned.answers["report"] = report(stale=True)
    result = lever("report", "hero", "--json")
    assert "store is away" in result.stderr
    told = json.loads(result.stdout)
    assert told["stale"] is True
    arm = told["segments"][0]["arms"][0]
    assert (arm["trials"], arm["probability_best"], arm["holdout_trials"]) == (12345, 0.875, 0)


def test_when_to_stop() -> None:
    settled = epb.Stop(leader="calm", loss=0.0042, remaining=0.031, settled=True)
    assert stopping(settled) == (
        "stop: calm may be shown for good; expected loss 0.42% of what it earns, with 95 % no more than 3.1% is left to win"
    )
    assert stopping(epb.Stop(leader="calm", loss=0.042, remaining=0.2)).startswith("go on: showing calm for good")
    assert "is not believed to earn" in stopping(epb.Stop(leader="calm", loss=float("nan")))


def test_too_early_stands_where_nothing_can_be_said_yet(canned: Canned) -> None:
    answer = report()
    answer.segments[0].too_early = True
    for arm in answer.segments[0].arms:
        arm.probability_best = arm.expected_loss = float("nan")
    canned.answers["report"] = answer
    row = next(line for line in lever("report", "hero").stdout.splitlines() if line.startswith("calm"))
    assert "too early" in row
    assert "nan" not in row


def test_nothing_is_expected_of_arms_that_are_untried_or_not_eligible(canned: Canned) -> None:
    answer = report()
    calm, bold = answer.segments[0].arms
    calm.posterior_mean = calm.credible_low = calm.credible_high = float("nan")
    bold.eligible = False
    canned.answers["report"] = answer
    lines = lever("report", "hero").stdout.splitlines()
    row, other = (next(line for line in lines if line.startswith(name)) for name in ("calm", "[b]old"))
    assert "untried" in row
    assert "not eligible" in other
    assert "0.0%" not in other.partition("not eligible")[2]
    assert "nan" not in row + other
    assert json.loads(lever("report", "hero", "--json").stdout)["segments"][0]["arms"][0]["posterior_mean"] is None


def test_what_goes_along_with_earning_more(canned: Canned) -> None:
    answer = report()
    answer.features.append(
        epb.Influence(
            name="device", value="mobile", difference=0.02, low=0.01, high=0.03, share=0.25, standard_error=0.005
        )
    )
    answer.features.append(epb.Influence(name="visits", step=2.5, difference=-0.01, low=-0.02, high=0.0, share=1.0))
    answer.features.append(epb.Influence(name="member", value="true", too_early="few"))
    answer.segments[0].attributes.append(
        epb.Influence(name="tone", value="warm", difference=0.1, low=-0.1, high=0.3, share=0.5)
    )
    canned.answers["report"] = answer
    lines = [" ".join(line.split()) for line in lever("report", "hero").stdout.splitlines()]
    for line in (
        "device = mobile 0.0200 0.0100 to 0.0300 25%",
        "visits + 2.5 -0.0100 -0.0200 to 0 100%",
        "tone = warm 0.1000 -0.1000 to 0.3000 50%",
    ):
        assert line in lines, lines
    assert not any("member" in line for line in lines)


def test_everyone_is_in_the_report_and_every_metric(canned: Canned) -> None:
    answer = report()
    for group, trials in (("policy", 12345), ("default", 77)):
        for metric in ("click", "revenue"):
            total = epb.Total(
                group=group, metric=metric, trials=trials, rewarded=7, reward_sum=70.5, mean=70.5 / trials
            )
            answer.totals.append(total)
            answer.segments[0].totals.append(total)
            if group == "policy":
                answer.segments[0].arms[0].metrics.append(total)
    canned.answers["report"] = answer
    lines = lever("report", "hero").stdout.splitlines()
    assert [line.split() for line in lines if line.startswith("default")][1] == [
        "default",
        "77",
        "revenue",
        "7",
        "70.5",
        "0.9156",
    ]
    assert "served the default without a draw: 77 trials, revenue 0.9156" in lines
    calm = next(line for line in lines if line.startswith("calm"))
    assert calm.split()[-1] == "0.0057"


def test_the_json_has_the_lift_and_no_numbers_where_there_are_none(canned: Canned) -> None:
    canned.answers["report"] = report()
    told = json.loads(lever("report", "hero", "--json").stdout)
    assert (told["lifts"][0]["relative_low"], told["lifts"][0]["holdout_trials"]) == (-0.2, 200)
    assert told["lifts"][1]["difference"] is None
    assert (told["lifts"][1]["buckets"], told["sample_ratio"]) == (None, None)


def test_report_as_json_has_no_nan(canned: Canned) -> None:
    answer = report()
    answer.segments[0].arms[0].credible_low = float("nan")
    canned.answers["report"] = answer
    assert json.loads(lever("report", "hero", "--json").stdout)["segments"][0]["arms"][0]["credible_low"] is None


def test_bar() -> None:
    assert [bar(0), bar(1), bar(0.5), bar(0.06)] == [" " * 10, "█" * 10, "█████     ", "▋         "]
    assert bar(0.5, blocks=False) == "#####     "
    assert bar(1.0000001) == "█" * 10


def test_number() -> None:
    values = (0, 0.00001, 0.0123456, 0.5, 12.3456, -3.25, 1234567.8)
    assert [number(v) for v in values] == ["0", "0", "0.0123", "0.5000", "12.35", "-3.25", "1,234,568"]


def test_guardrails_have_a_table(canned: Canned) -> None:
    nan = float("nan")
    watched = [
        epb.GuardrailReport(
            metric="[l]eft", kind="max", limit=0.004, arm="bold", state="paused", trials=5120, estimate=0.0121,
            low=0.0062, high=0.018, paused_since_ms=1764165600000,
        ),
        epb.GuardrailReport(
            metric="revenue", kind="max_drop", limit=0.05, arm="calm", state="holding", trials=900, estimate=-0.021,
            low=-0.4, high=0.358,
        ),
        epb.GuardrailReport(
            metric="revenue", kind="max_drop", limit=0.05, arm="new", state="too early", estimate=nan, low=nan, high=nan
        ),
        epb.GuardrailReport(
            metric="revenue", kind="max_drop", limit=0.05, arm="odd", state="holding", estimate=1.5, low=-math.inf, high=math.inf
        ),
    ]  # fmt: skip
    canned.answers["report"] = report(guardrails=watched)
    lines = [line.rstrip() for line in lever("report", "hero").stdout.splitlines()]
    first = lines.index("guardrails")
    said = [line.split() for line in lines[first + 2 : first + 6]]
    since = ["paused", "since", "2025-11-26", "14:00", "UTC"]
    assert said == [
        ["[l]eft", "max", "0.004", "bold", *since, "5,120", "0.0121", "0.0062", "to", "0.0180"],
        ["revenue", "max_drop", "0.05", "calm", "holding", "900", "-2.1%", "-40.0%", "to", "+35.8%"],
        ["revenue", "max_drop", "0.05", "new", "too", "early", "0", "-"],
        ["revenue", "max_drop", "0.05", "odd", "holding", "0", "+150.0%", "-"],
    ]


def test_report_writes_files_to_hand_around(canned: Canned, tmp_path: Path) -> None:
    canned.answers |= {"report": report(), "timeline": epb.GetTimelineResponse(name="hero")}
    html, png = tmp_path / "hero.html", tmp_path / "hero.png"
    result = lever("report", "hero", "--html", html, "--png", png)
    assert (result.exit_code, result.stdout) == (0, "")
    assert HEADLINE.replace(" %", "\u00a0%") in html.read_text(encoding="utf-8")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert json.loads(lever("report", "hero", "--json", "--html", html).stdout)["headline"] == HEADLINE


def test_a_file_that_cannot_be_written_is_named(canned: Canned, tmp_path: Path) -> None:
    canned.answers |= {"report": report(), "timeline": epb.GetTimelineResponse(name="hero")}
    result = lever("report", "hero", "--html", tmp_path / "none" / "hero.html")
    assert result.exit_code == 1
    assert "none/hero.html" in result.stderr
