"""`lever timeline`: what happened when, as small pictures, a table or rows."""

from __future__ import annotations

import csv
import datetime as dt
import math
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.connection import LOCAL, TIMEOUT_S, AsJson, Server, connect, console, print_json
from service.cli.experiments import Name, moment
from service.cli.past.exclude import in_words
from service.remote.plain import plain
from service.remote.words import number

if TYPE_CHECKING:
    from rich.table import Table

    from service.pb.lever.v1.experiment_pb2 import GetTimelineResponse, Lift, TimelineSeries

_COLUMNS = 40  # of a small picture
_BLOCKS, _DIGITS = "▁▂▃▄▅▆▇█", "0123456789"
_ROW = (
    "start", "end", "segment", "arm", "metric", "group", "trials", "rewarded", "reward_sum", "reward_square_sum",
    "traffic_share", "mean_propensity", "probability_best",
)  # fmt: skip


class Step(StrEnum):
    """How long a period is."""

    auto = "auto"
    hour = "hour"
    day = "day"


def timeline(
    experiment: Name,
    segment: Annotated[str, typer.Option(help="One segment; all together, if not given.")] = "",
    step: Annotated[Step, typer.Option(help="Length of a period; hours are kept for 14 days.")] = Step.auto,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print a row for each period, segment, arm, metric and group.")
    ] = False,
    server: Server = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Show what happened when: each arm's traffic and its chance to be the best, the lift by day, and what was changed.

    The past is kept for the experiment's life, by the hour for 14 days and by the day before. A reward belongs to the moment of
    its decision. Lift is what was known by the end of each day, with intervals of 95 % that hold at any time.
    """
    from service.pb.lever.v1.experiment_pb2 import GetTimelineRequest

    request = GetTimelineRequest(
        name=experiment, segment=segment, each_segment=as_csv and not segment,
        step="TIMELINE_STEP_" + ("UNSPECIFIED" if step is Step.auto else step.value.upper()),
    )  # fmt: skip
    with connect(server) as client:
        answer = client.experiments.GetTimeline(request, timeout=TIMEOUT_S)
    if answer.stale:
        typer.echo("The store is away: this is the last snapshot.", err=True)
    if as_json:
        print_json(plain(answer))
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(_ROW)
        writer.writerows(rows(answer))
    elif not answer.periods:
        typer.echo("Nothing was shown yet.")
    else:
        _show(answer)


def _show(answer: GetTimelineResponse) -> None:
    first, last = answer.periods[0], answer.periods[-1]
    typer.echo(f"{answer.name}  metric {answer.metric}  {moment(first.start_ms)} to {moment(last.end_ms)}")
    for one in answer.exclusions:
        typer.echo(f"left out: {in_words(one)}")
    screen = console()
    blocks = screen.encoding.startswith("utf")
    screen.print()
    screen.print(_arms(answer, blocks))
    lifts = [lift for lift in answer.lifts if lift.metric == answer.metric]
    if lifts:
        screen.print()
        screen.print(_lifts(lifts))
    for event in reversed(answer.changes):
        version = f" to version {event.version}" if event.version else ""
        typer.echo(f"{moment(event.at_ms)}  {event.what}{version} by {event.by or 'anyone'}  {event.detail}")


def _arms(answer: GetTimelineResponse, blocks: bool) -> Table:
    """One row an arm that the policy showed: its share of traffic and its chance to be the best, from left to right."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("arm", overflow="fold")
    for heading in ("trials", "mean"):
        table.add_column(heading, justify="right")
    table.add_column("traffic", no_wrap=True)
    table.add_column("P(best)", no_wrap=True)
    for series in answer.series:
        if series.group == "policy" and series.metric == answer.metric:
            trials = sum(series.trials)
            mean = number(sum(series.reward_sum) / trials) if trials else "-"
            pictures = (_ended(values, blocks) for values in (series.traffic_share, series.probability_best))
            table.add_row(escape(series.arm), f"{trials:,}", mean, *pictures)
    return table


def _ended(values: Sequence[float], blocks: bool) -> str:
    """A small picture of shares and the last of them."""
    last = next((value for value in reversed(values) if not math.isnan(value)), math.nan)
    return f"{sparkline(values, blocks)} {last:>6.1%}" if not math.isnan(last) else "too early"


def sparkline(values: Sequence[float], blocks: bool) -> str:
    """Shares from 0 to 1 as a line of at most 40 characters, means where there are more; a blank where there is none."""
    parts = min(len(values), _COLUMNS)
    marks, out = _BLOCKS if blocks else _DIGITS, ""
    for i in range(parts):
        some = [v for v in values[i * len(values) // parts : (i + 1) * len(values) // parts] if not math.isnan(v)]
        mean = sum(some) / len(some) if some else math.nan
        out += " " if math.isnan(mean) else marks[min(int(mean * len(marks)), len(marks) - 1)]
    return out


def _lifts(lifts: Sequence[Lift]) -> Table:
    from rich.table import Table

    table = Table(title="policy over holdout, by the end of", title_justify="left", box=None, pad_edge=False)
    table.add_column("day")
    for heading in ("policy", "holdout", "difference", "95 % at any time", "relative", "95 % at any time"):
        table.add_column(heading, justify="right")
    for lift in lifts:
        day = _moment(lift.to_ms - 1)[:10]
        trials = (f"{lift.policy_trials:,}", f"{lift.holdout_trials:,}")
        if lift.too_early:
            table.add_row(day, *trials, "too early")
            continue
        endless = not math.isfinite(lift.relative_low)
        table.add_row(
            day, *trials, number(lift.difference), f"{number(lift.low)} to {number(lift.high)}",
            "-" if math.isnan(lift.relative) else f"{lift.relative:+.1%}",
            "-" if endless else f"{lift.relative_low:+.1%} to {lift.relative_high:+.1%}",
        )  # fmt: skip
    return table


def rows(answer: GetTimelineResponse) -> Iterator[tuple[str | int | float, ...]]:
    """The series as rows, in order of time within each; empty where a column does not apply."""
    for series in answer.series:
        for i, period in enumerate(answer.periods):
            if not series.trials[i] and not series.rewarded[i]:
                continue
            yield (
                _moment(period.start_ms), _moment(period.end_ms), series.segment, series.arm, series.metric, series.group,
                series.trials[i], series.rewarded[i], series.reward_sum[i], series.reward_square_sum[i], *_beliefs(series, i),
            )  # fmt: skip


def _beliefs(series: TimelineSeries, i: int) -> Iterator[float | str]:
    for values in (series.traffic_share, series.mean_propensity, series.probability_best):
        yield values[i] if i < len(values) and not math.isnan(values[i]) else ""


def _moment(ms: int) -> str:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
