"""`lever report`: what was shown, what it earned and what that says of its arms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.connection import LOCAL, TIMEOUT_S, AsJson, Server, connect, console, print_json
from service.cli.experiments import Name
from service.cli.past.exclude import in_words
from service.remote.plain import plain
from service.remote.words import arriving, moment, number, stopping, unexposed

if TYPE_CHECKING:
    from rich.table import Table

    from service.pb.lever.v1.experiment_pb2 import (
        ArmReport,
        GetReportResponse,
        GetTimelineResponse,
        GuardrailReport,
        Influence,
        Lift,
        SegmentReport,
        Total,
    )

_BAR = 10
_HEADINGS = ("trials", "share", "rewarded", "mean", "expected", "95 % interval", "P(best)", "loss", "over the default")
_ROOM_FOR_BARS = 130
_INFLUENCES = 10  # of features that are shown; --json has all


def report(
    experiment: Name,
    server: Server = LOCAL,
    as_json: AsJson = False,
    html: Annotated[Path | None, typer.Option(help="Write it to one HTML file that needs nothing else.")] = None,
    png: Annotated[Path | None, typer.Option(help="Draw a slide: each segment's winner, and the lift by day.")] = None,
) -> None:
    """Report what the policy is worth, then trials, rewards and what they say, per segment and arm.

    First comes the lift: policy over holdout, with intervals that hold at any time. --json has the sums behind it; --html and --png write
    files to hand around instead of printing.

    Observed is the mean; believed are the expected value with its 95 % credible interval, the probability of being the
    best arm, and the loss expected from serving this arm to everyone; these two once it is not too early: when every
    arm that was shown has 30 trials and two arms have a reward, or one of them 30. Nothing is believed of an arm that
    nobody was shown ("untried"), nor of one that cannot be drawn in the segment ("not eligible"). "Over the default" is
    what the arm earns a trial beyond the default arm, a 95 % interval at any time, whatever the policy did. Then come the means of the other metrics.

    Of visitors' features and arms' attributes it tells what goes along with earning more, with a 95 % interval for one look.
    """
    from service.pb.lever.v1.experiment_pb2 import GetReportRequest, GetTimelineRequest

    files = html is not None or png is not None
    with connect(server) as client:
        answer = client.experiments.GetReport(GetReportRequest(name=experiment), timeout=TIMEOUT_S)
        if files:
            asked = GetTimelineRequest(name=experiment, step="TIMELINE_STEP_DAY")
            past = client.experiments.GetTimeline(asked, timeout=TIMEOUT_S)
    if answer.stale:
        typer.echo("The store is away: this is the last snapshot.", err=True)
    if files:
        _write(answer, past, html, png)
    if as_json:
        print_json(plain(answer))
    elif not files:
        _print(answer)


def _write(answer: GetReportResponse, past: GetTimelineResponse, html: Path | None, png: Path | None) -> None:
    """The report as files."""
    from service.sheet.page import page
    from service.sheet.slide import slide

    try:
        if html is not None:
            html.write_text(page(answer, past), encoding="utf-8")
        if png is not None:
            slide(answer, past, png)
    except OSError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    except ImportError:
        typer.echo("error: drawing needs matplotlib: pip install 'lever-bandits[plot]'", err=True)
        raise typer.Exit(1) from None


def _print(answer: GetReportResponse) -> None:
    if answer.headline:  # not of an older server
        typer.echo(answer.headline)
    typer.echo(f"{answer.name}  version {answer.version}  {answer.algorithm}  metric {answer.metric}")
    for one in answer.exclusions:
        typer.echo(f"left out: {in_words(one)}")
    if answer.HasField("arrival"):
        typer.echo(arriving(answer.arrival))
    screen = console()
    if answer.totals:
        screen.print()
        screen.print(totals_table(answer.totals))
    if answer.lifts:
        screen.print()
        screen.print(lift_table(answer.lifts))
    if answer.guardrails:
        screen.print()
        screen.print(guardrail_table(answer.guardrails))
    told = [one for one in answer.features if not one.too_early][:_INFLUENCES]
    if told:
        screen.print()
        screen.print(influence_table(told, "visitors: what goes along with earning more"))
    for segment in answer.segments:
        screen.print()
        screen.print(segment_table(segment, screen.width >= _ROOM_FOR_BARS, screen.encoding.startswith("utf")))
        if segment.served:
            typer.echo(f"ended: everybody in this segment is served {segment.served}")
        for change in segment.changes:
            now = f"{change.times:.2g} times what it did" if change.times else "differently from some visitors"
            typer.echo(f"change: since {moment(change.from_ms)} the arm {change.arm} earns {now}")
        if segment.HasField("outage"):
            since, seen = moment(segment.outage.from_ms), moment(segment.outage.seen_ms)
            typer.echo(f"outage: from {since} to {seen} next to nothing was earned; those trials do not teach")
        if unexposed(segment):
            typer.echo(
                "every trial was rewarded: are deferred choices exposed only where they succeed? Expose all that were shown."
            )
        if segment.HasField("stop"):
            typer.echo(stopping(segment.stop))
        if any(not one.too_early for one in segment.attributes):
            screen.print(
                influence_table(segment.attributes, f"arms of {segment.segment}: what goes along with earning more")
            )
        for total in segment.totals:
            if total.group != "policy":
                who = "served the default without a draw" if total.group == "default" else total.group
                typer.echo(f"{who}: {total.trials:,} trials, {total.metric} {number(total.mean)}")


def totals_table(totals: Sequence[Total]) -> Table:
    """Everyone who came: one row for each way of choosing and metric."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="everyone", title_justify="left", box=None, pad_edge=False)
    table.add_column("chosen by")
    table.add_column("trials", justify="right")
    table.add_column("metric", overflow="fold")
    costly = any(total.cost for total in totals)
    for heading in ("rewarded", *(["cost"] if costly else ()), "sum", "mean"):
        table.add_column(heading, justify="right")
    for total in totals:
        cost = (number(total.cost) if total.cost else "",) if costly else ()
        cells = (f"{total.rewarded:,}", *cost, number(total.reward_sum), number(total.mean))
        table.add_row(total.group, f"{total.trials:,}", escape(total.metric), *cells)
    return table


def lift_table(lifts: Sequence[Lift]) -> Table:
    """Policy against holdout: one row a metric over all segments, then those of each segment."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="policy over holdout", title_justify="left", box=None, pad_edge=False)
    for heading in ("segment", "metric"):
        table.add_column(heading, overflow="fold")
    for heading in ("policy", "holdout", "difference", "95 % at any time", "relative", "95 % at any time", "p"):
        table.add_column(heading, justify="right", overflow="fold")
    for lift in lifts:
        means = [
            number(total / n) if n else "-"
            for total, n in (
                (lift.policy_reward_sum, lift.policy_trials),
                (lift.holdout_reward_sum, lift.holdout_trials),
            )
        ]
        said = ("too early", *[""] * 4) if lift.too_early else _lift_cells(lift)
        table.add_row(escape(lift.segment) or "all", escape(lift.metric), *means, *said)
    return table


def _lift_cells(lift: Lift) -> tuple[str, ...]:
    relative = "-" if math.isnan(lift.relative) else f"{lift.relative:+.1%}"
    endless = not math.isfinite(lift.relative_low)
    return (
        number(lift.difference),
        f"{number(lift.low)} to {number(lift.high)}",
        relative,
        "-" if endless else f"{lift.relative_low:+.1%} to {lift.relative_high:+.1%}",
        f"{lift.p_value:.3g}",
    )


def influence_table(influences: Sequence[Influence], title: str) -> Table:
    """What goes along with earning more: one row a value, those of which most is known first."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", box=None, pad_edge=False)
    table.add_column("with", overflow="fold")
    for heading in ("earns more", "95 % interval", "share"):
        table.add_column(heading, justify="right", overflow="fold")
    for one in influences:
        name = f"{one.name} = {one.value}" if one.value else f"{one.name} + {one.step:.3g}"
        told = (
            (one.too_early, "")
            if one.too_early
            else (number(one.difference), f"{number(one.low)} to {number(one.high)}")
        )
        table.add_row(escape(name), *told, f"{one.share:.0%}")
    return table


def guardrail_table(guardrails: Sequence[GuardrailReport]) -> Table:
    """One row for each guardrail and arm."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="guardrails", title_justify="left", box=None, pad_edge=False)
    for heading in ("guardrail", "arm", "state"):
        table.add_column(heading, overflow="fold")
    for heading in ("trials", "estimate", "at any time"):
        table.add_column(heading, justify="right", overflow="fold")
    for one in guardrails:
        state = f"paused since {moment(one.paused_since_ms)}" if one.state == "paused" else one.state
        shown = number if one.kind == "max" else "{:+.1%}".format
        early = math.isnan(one.estimate)
        bounds = "" if early else f"{shown(one.low)} to {shown(one.high)}" if math.isfinite(one.low) else "-"
        cells = (f"{one.trials:,}", "-" if early else shown(one.estimate), bounds)
        table.add_row(escape(f"{one.metric} {one.kind} {one.limit:g}"), escape(one.arm), state, *cells)
    return table


def segment_table(segment: SegmentReport, bars: bool, blocks: bool) -> Table:
    """One row an arm, in the order of their numbers; the likeliest best arm in bold.

    `bars`: there is room for them. `blocks`: the terminal can draw them in eighths of a cell.
    """
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"segment {escape(segment.segment)}", title_justify="left", box=None, pad_edge=False)
    table.add_column("arm", overflow="fold")
    table.add_column("state")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == "P(best)" else "right", overflow="fold")
    others = [total.metric for total in segment.arms[0].metrics[1:]] if segment.arms else []
    for metric in others:
        table.add_column(escape(metric), justify="right", overflow="fold")
    best = max((arm.probability_best for arm in segment.arms if not math.isnan(arm.probability_best)), default=0.0)
    for arm in segment.arms:
        leads = 0.0 < best == arm.probability_best
        table.add_row(escape(arm.arm), arm.state, *_cells(arm, bars, blocks), style="bold" if leads else None)
    return table


def _cells(arm: ArmReport, bars: bool, blocks: bool) -> tuple[str, ...]:
    if not arm.eligible:
        chance, loss = "", ""
    elif math.isnan(arm.probability_best):
        chance, loss = "too early", ""
    else:
        best, loss = f"{arm.probability_best:.1%}", number(arm.expected_loss)
        chance = f"{bar(arm.probability_best, blocks)} {best:>6}" if bars else f"{best:>6}"
    return (
        f"{arm.trials:,}",
        f"{arm.traffic_share:.1%}",
        f"{arm.rewarded:,}",
        number(arm.mean) if arm.trials else "–" if blocks else "-",
        *_expected(arm),
        chance,
        loss,
        _over(arm),
        *(number(total.mean) if total.trials else "-" for total in arm.metrics[1:]),
    )


def _expected(arm: ArmReport) -> tuple[str, str]:
    """What is believed of its mean, or why nothing is."""
    if not arm.eligible:
        return "not eligible", ""
    if math.isnan(arm.posterior_mean):
        return "untried", ""
    return number(arm.posterior_mean), f"{number(arm.credible_low)} to {number(arm.credible_high)}"


def _over(arm: ArmReport) -> str:
    """The interval of the arm's effect; nothing for the default arm itself."""
    if not arm.HasField("effect"):
        return ""
    effect = arm.effect
    return "too early" if effect.too_early else f"{number(effect.low)} to {number(effect.high)}"


def bar(share: float, blocks: bool = True) -> str:
    """A bar of ten cells for a share in [0, 1], in eighths of a cell where the terminal can draw them."""
    eighths = round(min(max(share, 0.0), 1.0) * _BAR * 8)
    if not blocks:
        return ("#" * round(eighths / 8)).ljust(_BAR)
    rest = " ▏▎▍▌▋▊▉"[eighths % 8].strip()
    return ("█" * (eighths // 8) + rest).ljust(_BAR)
