"""A report as one HTML file that needs nothing else: the sentence, the lift, and each segment's arms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from importlib import resources

from service.pb.lever.v1.experiment_pb2 import (
    GetReportResponse,
    GetTimelineResponse,
    GuardrailReport,
    Lift,
    SegmentReport,
)
from service.remote.plain import plain
from service.remote.words import arriving, moment, number, stopping, unexposed
from service.sheet import drawing
from service.sheet.arriving import arriving_curve
from service.sheet.figure import Figures, count, share, signed

_PLACE = 160.0  # width of an interval's drawing
_LIFT = ("segment", "metric", "policy", "holdout", "relative", "95 % at any time", "a trial", "95 % at any time")
_GUARDED = ("guardrail", "arm", "state", "trials", "estimate", "at any time")
_ARMS = ("arm", "trials", "share", "mean", "expected", "", "95 % interval", "P(best)", "", "loss")


def page(report: GetReportResponse, timeline: GetTimelineResponse) -> str:
    """The whole file."""
    figures = Figures(plain(report))
    css = resources.files("service.sheet").joinpath("sheet.css").read_text(encoding="utf-8")
    parts = [
        _head(report, timeline), _curve(report, timeline), _lifts(figures, report), _guardrails(figures, report),
        *(_segment(figures, report, place) for place in range(len(report.segments))), _arrival(report), _foot(report),
    ]  # fmt: skip
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(report.name)}: report</title><style>{css}</style></head>\n<body><main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main></body></html>\n"
    )


def days(report: GetReportResponse, timeline: GetTimelineResponse) -> list[tuple[int, float, float, float]]:
    """The relative lift of the primary metric by the end of each day on which it was known: ms, value, low, high."""
    return [
        (lift.to_ms, lift.relative, lift.relative_low, lift.relative_high)
        for lift in timeline.lifts
        if lift.metric == report.metric and not lift.too_early and math.isfinite(lift.relative)
    ]


def unbroken(sentence: str) -> str:
    """A number and its sign of per cent stay in one line."""
    return sentence.replace(" %", "\u00a0%")


def _head(report: GetReportResponse, timeline: GetTimelineResponse) -> str:
    until = max((lift.to_ms for lift in report.lifts), default=0)
    if not until and timeline.periods:
        until = timeline.periods[-1].end_ms
    facts = [f"metric {report.metric}", f"version {report.version}", report.algorithm]
    if timeline.kept_from_ms and until:
        facts.insert(0, f"{moment(timeline.kept_from_ms)} to {moment(until)}")
    stale = '<p class="alarm">The store is away: this is the last snapshot.</p>' if report.stale else ""
    return (
        f'<header><p class="name">{escape(report.name)}</p><h1>{escape(unbroken(report.headline))}</h1>'
        f'<p class="quiet">{escape(" · ".join(facts))}</p>{stale}</header>'
    )


def _curve(report: GetReportResponse, timeline: GetTimelineResponse) -> str:
    drawn = drawing.curve(days(report, timeline))
    if not drawn:
        return ""
    title = f"Lift in {escape(report.metric)} over the holdout, by the end of each day"
    return f'<section><h2>{title}</h2><div class="wide">{drawn}</div></section>'


def _arrival(report: GetReportResponse) -> str:
    if not report.HasField("arrival"):
        return ""
    told = f"{arriving(report.arrival)}; the band holds the truth with 95 %."
    drawn = arriving_curve(report.arrival)
    return (
        f"<section><h2>How soon {escape(report.metric)} comes in</h2>"
        f'<p class="quiet">{escape(unbroken(told[0].upper() + told[1:]))}</p><div class="wide">{drawn}</div></section>'
    )


def _lifts(figures: Figures, report: GetReportResponse) -> str:
    if not report.lifts:
        return ""
    rows = "".join(_lift(figures, lift, f"lifts.{i}") for i, lift in enumerate(report.lifts))
    return f"<section><h2>Policy over holdout</h2>{_table(_LIFT, rows, 2)}</section>"


def _lift(figures: Figures, lift: Lift, at: str) -> str:
    means = [
        number(total / n) if n else "–"
        for total, n in ((lift.policy_reward_sum, lift.policy_trials), (lift.holdout_reward_sum, lift.holdout_trials))
    ]
    names = f'<th scope="row">{escape(lift.segment) or "all"}</th><td class="word">{escape(lift.metric)}</td>'
    cells = "".join(f"<td>{mean}</td>" for mean in means)
    if lift.too_early:
        return f'<tr>{names}{cells}<td class="word quiet" colspan="4">too early</td></tr>'

    def span(low: str, high: str, shown: object) -> str:
        form = signed if shown is signed else number
        if not math.isfinite(getattr(lift, low)):
            return "–"
        return f"{figures.number(f'{at}.{low}', form)} to {figures.number(f'{at}.{high}', form)}"

    return (
        f"<tr>{names}{cells}<td><b>{figures.number(f'{at}.relative', signed)}</b></td>"
        f"<td>{span('relative_low', 'relative_high', signed)}</td>"
        f"<td>{figures.number(f'{at}.difference', number)}</td><td>{span('low', 'high', number)}</td></tr>"
    )


def _guardrails(figures: Figures, report: GetReportResponse) -> str:
    if not report.guardrails:
        return ""
    rows = "".join(_guardrail(figures, one, f"guardrails.{i}") for i, one in enumerate(report.guardrails))
    return f"<section><h2>Guardrails</h2>{_table(_GUARDED, rows, 3)}</section>"


def _guardrail(figures: Figures, one: GuardrailReport, at: str) -> str:
    form = number if one.kind == "max" else signed
    span = (
        f"{figures.number(f'{at}.low', form)} to {figures.number(f'{at}.high', form)}"
        if math.isfinite(one.low)
        else "–"
    )
    state = f"paused since {moment(one.paused_since_ms)}" if one.state == "paused" else one.state
    return (
        f'<tr><th scope="row">{escape(f"{one.metric} {one.kind} {one.limit:g}")}</th><td class="word">{escape(one.arm)}</td>'
        f'<td class="word">{escape(state)}</td><td>{figures.number(f"{at}.trials", count)}</td>'
        f"<td>{figures.number(f'{at}.estimate', form)}</td><td>{span}</td></tr>"
    )


def _segment(figures: Figures, report: GetReportResponse, place: int) -> str:
    segment = report.segments[place]
    held = next((t for t in segment.totals if t.group == "holdout" and t.metric == report.metric and t.trials), None)
    tops = [arm.credible_high for arm in segment.arms] + [arm.mean for arm in segment.arms]
    high = max([top for top in tops if math.isfinite(top)], default=1.0)
    low = min([0.0, *(arm.credible_low for arm in segment.arms if math.isfinite(arm.credible_low))])
    scale = drawing.Scale(low, high, 4.0, _PLACE - 4.0)
    order = sorted(range(len(segment.arms)), key=lambda i: rank(segment, i))
    rows = "".join(
        _arm(figures, segment, f"segments.{place}.arms.{i}", i, scale, None if held is None else held.mean)
        for i in order
    )
    others = tuple(total.metric for total in segment.arms[0].metrics[1:]) if segment.arms else ()
    name = segment.segment if len(report.segments) > 1 or segment.segment != "default" else "Arms"
    notes = "".join(f'<p class="{kind}">{escape(said)}</p>' for kind, said in _notes(segment))
    if held is not None:
        at = list(segment.totals).index(held)
        path = f"segments.{place}.totals.{at}"
        notes += (
            f'<p class="quiet">Holdout: {figures.number(f"{path}.trials", count)} trials, '
            f"{escape(held.metric)} {figures.number(f'{path}.mean', number)} (the hair line).</p>"
        )
    return f"<section><h2>{escape(name)}</h2>{_table(_ARMS + others, rows, 1)}{notes}</section>"


def rank(segment: SegmentReport, place: int) -> tuple[float, int]:
    """The likeliest best arm first, then those with the most trials."""
    arm = segment.arms[place]
    return (-arm.probability_best if math.isfinite(arm.probability_best) else 1.0, -arm.trials)


def _leads(segment: SegmentReport, place: int) -> bool:
    chances = [arm.probability_best for arm in segment.arms if math.isfinite(arm.probability_best)]
    return bool(chances) and segment.arms[place].probability_best == max(chances) > 0.0


def _arm(
    figures: Figures, segment: SegmentReport, at: str, place: int, scale: drawing.Scale, held: float | None
) -> str:
    arm = segment.arms[place]
    state = "" if arm.state == "active" else f' <span class="quiet">({escape(arm.state)})</span>'
    known = math.isfinite(arm.posterior_mean) and arm.eligible
    if known:
        drawn = drawing.interval(arm.credible_low, arm.posterior_mean, arm.credible_high, scale, held)
        expected = figures.number(f"{at}.posterior_mean", number)
        span = f"{figures.number(f'{at}.credible_low', number)} to {figures.number(f'{at}.credible_high', number)}"
    else:
        drawn, expected, span = "", "untried" if arm.eligible else "not eligible", ""
    told = known and math.isfinite(arm.probability_best)
    chance = figures.number(f"{at}.probability_best", share) if told else "too early" if known else ""
    others = "".join(
        f"<td>{figures.number(f'{at}.metrics.{i}.mean', number) if arm.trials else '–'}</td>"
        for i in range(1, len(arm.metrics))
    )
    return (
        f'<tr{" class=best" if _leads(segment, place) else ""}><th scope="row">{escape(arm.arm)}{state}</th>'
        f"<td>{figures.number(f'{at}.trials', count)}</td><td>{figures.number(f'{at}.traffic_share', share)}</td>"
        f"<td>{figures.number(f'{at}.mean', number) if arm.trials else '–'}</td><td>{expected}</td>"
        f'<td class="drawn">{drawn}</td><td>{span}</td><td>{chance}</td>'
        f'<td class="drawn">{drawing.bar(arm.probability_best) if told else ""}</td>'
        f"<td>{figures.number(f'{at}.expected_loss', number) if told else ''}</td>{others}</tr>"
    )


def _notes(segment: SegmentReport) -> Iterator[tuple[str, str]]:
    """What else is to be said of a segment, each with how loud."""
    if segment.HasField("outage"):
        since, seen = moment(segment.outage.from_ms), moment(segment.outage.seen_ms)
        yield "alarm", f"Outage: from {since} to {seen} next to nothing was earned; those trials do not teach."
    if segment.served:
        yield "note", f"Ended: everybody in this segment is served {segment.served}."
    for change in segment.changes:
        now = f"{change.times:.2g} times what it did" if change.times else "differently from some visitors"
        yield "note", f"Since {moment(change.from_ms)} the arm {change.arm} earns {now}."
    if unexposed(segment):
        yield "note", "Every trial was rewarded: are deferred choices exposed only where they succeed?"
    if segment.HasField("stop"):
        yield "said", stopping(segment.stop).capitalize() + "."


def _table(headings: tuple[str, ...], rows: str, words: int) -> str:
    """The first `words` columns are read, the others are compared."""
    heads = "".join(
        f'<th scope="col"{" class=word" if i < words else ""}>{escape(heading)}</th>'
        for i, heading in enumerate(headings)
    )
    return f'<div class="wide" tabindex="0" role="region" aria-label="table"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def _foot(report: GetReportResponse) -> str:
    return (
        '<footer class="quiet"><p>Lift is what a trial of the policy earned over one of the holdout. Its intervals hold at any time: '
        "whoever looks every day and stops when it looks good is misled in at most 5 of 100 experiments. What is expected of an arm, "
        "its interval and its chance to be the best come from its own trials. Loss is what showing the arm to everyone is expected "
        f"to cost a trial.</p><p>Lever · <code>lever report {escape(report.name)} --json</code> has every number.</p></footer>"
    )
