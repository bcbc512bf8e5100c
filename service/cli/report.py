"""`lever report`: what was shown, what it earned and what that says of its arms."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import typer

from service.cli.connection import LOCAL, TIMEOUT_S, AsJson, Server, connect, console, plain, print_json
from service.cli.experiments import Name

if TYPE_CHECKING:
    from rich.table import Table

    from service.pb.lever.v1.experiment_pb2 import ArmReport, SegmentReport

_BAR = 10
_TELLING = 30  # trials, all of them rewarded, are no chance
_HEADINGS = ("trials", "share", "rewarded", "mean", "expected", "95 % interval", "P(best)", "loss")
_ROOM_FOR_BARS = 110


def report(experiment: Name, server: Server = LOCAL, as_json: AsJson = False) -> None:
    """Report trials, rewards and what they say, per segment and arm.

    Observed is the mean; believed are the expected value with its 95 % credible interval, the probability of being the
    best arm, and the loss expected from serving this arm to everyone.
    """
    from service.pb.lever.v1.experiment_pb2 import GetReportRequest

    with connect(server) as client:
        answer = client.experiments.GetReport(GetReportRequest(name=experiment), timeout=TIMEOUT_S)
    if answer.stale:
        typer.echo("The store is away: this is the last snapshot.", err=True)
    if as_json:
        print_json(plain(answer))
        return
    typer.echo(f"{answer.name}  version {answer.version}  {answer.algorithm}  metric {answer.metric}")
    screen = console()
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
        held = sum(arm.holdout_trials for arm in segment.arms)
        if held:
            mean = sum(arm.holdout_reward_sum for arm in segment.arms) / held
            typer.echo(f"holdout: {held:,} trials, mean {number(mean)}")


def unexposed(segment: SegmentReport) -> bool:
    """Whether trials seem to count only by their rewards: then all arms look alike, or the wrong one best."""
    trials = sum(arm.trials for arm in segment.arms)
    return trials >= _TELLING and trials == sum(arm.rewarded for arm in segment.arms)


def moment(ms: int) -> str:
    """A time for people, UTC to the minute."""
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


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
    best = max((arm.probability_best for arm in segment.arms), default=0.0)
    for arm in segment.arms:
        leads = 0.0 < best == arm.probability_best
        table.add_row(escape(arm.arm), arm.state, *_cells(arm, bars, blocks), style="bold" if leads else None)
    return table


def _cells(arm: ArmReport, bars: bool, blocks: bool) -> tuple[str, ...]:
    best = f"{arm.probability_best:.1%}"
    return (
        f"{arm.trials:,}",
        f"{arm.traffic_share:.1%}",
        f"{arm.rewarded:,}",
        number(arm.mean) if arm.trials else "–" if blocks else "-",
        number(arm.posterior_mean),
        f"{number(arm.credible_low)} to {number(arm.credible_high)}",
        f"{bar(arm.probability_best, blocks)} {best:>6}" if bars else f"{best:>6}",
        number(arm.expected_loss),
    )


def bar(share: float, blocks: bool = True) -> str:
    """A bar of ten cells for a share in [0, 1], in eighths of a cell where the terminal can draw them."""
    eighths = round(min(max(share, 0.0), 1.0) * _BAR * 8)
    if not blocks:
        return ("#" * round(eighths / 8)).ljust(_BAR)
    rest = " ▏▎▍▌▋▊▉"[eighths % 8].strip()
    return ("█" * (eighths // 8) + rest).ljust(_BAR)


def number(value: float) -> str:
    """Four significant digits, never in powers of ten where a person would write it out."""
    if value == 0 or abs(value) < 5e-5:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4f}" if abs(value) < 1 else f"{value:.4g}"
