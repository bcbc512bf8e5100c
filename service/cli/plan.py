"""`lever plan`: how long until a report can say what the policy is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.connection import LOCAL, TIMEOUT_S, AsJson, Server, connect, print_json
from service.cli.tables.waiting import bar

if TYPE_CHECKING:
    from service.analysis.plan import Plan
    from service.experiment.compiled import Experiment


def plan(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Its name on the server, or its file.")],
    visits: Annotated[float, typer.Option(help="Trials a day.")],
    rate: Annotated[float, typer.Option(help="Share of the default arm's trials that have a reward.")],
    effect: Annotated[float, typer.Option(help="How much more the best arm earns: 0.1 is a tenth more.")],
    days: Annotated[int, typer.Option(help="Look so far ahead.")] = 60,
    holdout: Annotated[float | None, typer.Option(help="Another holdout than the experiment's.")] = None,
    experiments: Annotated[int, typer.Option(help="So many simulated experiments.")] = 100,
    server: Server = LOCAL,
    as_json: AsJson = False,
    out: Annotated[Path | None, typer.Option(help="Draw the share decided by day to this file.")] = None,
) -> None:
    """Plan: after how many days will the report say what the policy is worth? By simulation with the policy that serves.

    Decided is when the interval of the lift, which holds at any time, leaves 0 out.
    """
    from service.analysis.plan import Expected
    from service.analysis.plan import plan as run
    from service.errors import InvalidError

    try:
        one = _read(experiment, server)
        share = one.holdout_share if holdout is None else holdout
        with bar("simulating") as progress:
            found = run(one, Expected(visits, rate, effect, days, share, experiments), progress=progress)
    except InvalidError as error:
        for wrong in error.violations:
            typer.echo(f"error: {wrong}", err=True)
        raise typer.Exit(2) from None
    if as_json:
        print_json({"half_days": found.half, "most_days": found.most, "decided": found.decided, "wrong": found.wrong})
    else:
        typer.echo(found.sentence())
    if out is not None:
        draw(found, out)


def _read(experiment: str, server: str) -> Experiment:
    """From a file where there is one of that name, else from the server."""
    from service.experiment.compiled import build, read
    from service.experiment.parse import parse
    from service.pb.lever.v1.experiment_pb2 import GetExperimentRequest

    file = Path(experiment)
    if file.is_file():
        text = file.read_text(encoding="utf-8")
    else:
        with connect(server) as client:
            asked = GetExperimentRequest(name=experiment)
            text = client.experiments.GetExperiment(asked, timeout=TIMEOUT_S).experiment.config
    return read(build(parse(text), text, "0" * 16, 0, None))


def draw(found: Plan, out: Path) -> None:
    """The share of simulated experiments that are decided, by day."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        typer.echo("error: drawing needs matplotlib: pip install 'lever-bandits[plot]'", err=True)
        raise typer.Exit(1) from None

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.step(range(1, len(found.decided) + 1), [100.0 * share for share in found.decided], where="post")
    axes.set_ylim(0, 100)
    axes.set_xlabel("day")
    axes.set_ylabel("% of experiments decided")
    one = found.expected
    axes.set_title(
        f"{one.visits:,.0f} trials a day, base rate {one.rate:.3g}, {one.effect:+.0%}, holdout {one.holdout:.0%}"
    )
    figure.savefig(out, dpi=120)
