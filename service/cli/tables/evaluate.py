"""`lever evaluate`: what a policy would have earned."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.connection import LOCAL, AsJson, Server, connect, console, print_json
from service.cli.tables.csv_file import (
    Columns,
    Decimal,
    Delimiter,
    Encoding,
    LeaveOut,
    document_of,
    format_of,
    refused,
    text_of,
)
from service.cli.tables.waiting import TIMEOUT_S, bar, waiting
from service.remote.words import number

if TYPE_CHECKING:
    from rich.table import Table

    from bandits.ope import Estimate
    from service.analysis.evaluation import Evaluation
    from service.pb.lever.v1.experiment_pb2 import EvaluateResponse, PolicyEstimate
    from service.text.csv_format import Format

_HEADINGS = ("estimate", "error", "95 % interval", "bootstrap", "at any time")


def evaluate(
    experiment: Annotated[str | None, typer.Argument(metavar="[EXPERIMENT]", help="Name of the experiment.")] = None,
    policy: Annotated[Path, typer.Option(help="The policy, YAML: `algorithm` and its settings.")] = Path("policy.yaml"),
    csv: Annotated[Path | None, typer.Option(help="Logged decisions of your own instead of an experiment's.")] = None,
    low: Annotated[float | None, typer.Option("--min", help="Least reward that the CSV may have.")] = None,
    high: Annotated[float | None, typer.Option("--max", help="Largest reward that the CSV may have.")] = None,
    columns: Columns = "",
    leave_out: LeaveOut = "",
    category: Annotated[str, typer.Option(help="Columns of the CSV whose numbers are names, such as `zip,code`.")] = "",
    delimiter: Delimiter = "",
    decimal: Decimal = "",
    encoding: Encoding = "",
    out: Annotated[Path | None, typer.Option(help="PNG to draw (needs the extra `plot`).")] = None,
    server: Server = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Estimate what another policy would have earned on logged traffic, or say why the log cannot tell.

    Exit code 0: estimated, 1: something is wrong, 3: the log cannot tell.
    """
    if (experiment is None) == (csv is None):
        raise typer.BadParameter("give the name of an experiment, or --csv FILE", param_hint="EXPERIMENT")
    if out is not None and out.suffix != ".png":
        raise typer.BadParameter("must end in .png", param_hint="--out")
    form = format_of(delimiter, decimal, columns, leave_out, category)
    if csv is not None:
        found = _from_csv(csv, text_of(csv, encoding), form, policy, low, high)
    else:
        assert experiment is not None
        found = _from_server(experiment, document_of(policy), str(policy), server)
    for said in found.warnings:
        typer.echo(f"{policy}: warning: {said}", err=True)
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(_plain(found)))
    else:
        _show(found)
    if out is not None:
        draw(found, out)
    if found.support.refused:
        raise typer.Exit(3)


# -- where the answer comes from ---------------------------------------------------------------------------------


def _from_server(experiment: str, policy: str, file: str, server: str) -> Evaluation:
    import grpc

    from service.cli.connection import complain
    from service.pb.lever.v1.experiment_pb2 import EvaluateRequest
    from service.remote.fault import fault

    with waiting("reading the log"), connect(server) as client:
        try:
            request = EvaluateRequest(name=experiment, policy=policy)
            return _received(client.experiments.Evaluate(request, timeout=TIMEOUT_S))
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.INVALID_ARGUMENT:
                raise
            complain(fault(error), server, file)
            raise typer.Exit(1) from None


def _from_csv(csv: Path, text: str, form: Format, file: Path, low: float | None, high: float | None) -> Evaluation:
    from service.analysis.evaluation import evaluate as run
    from service.analysis.trials_from_csv import trials_of
    from service.errors import InvalidError

    policy, at = document_of(file), csv
    try:
        with bar("evaluating") as progress:
            trials = trials_of(text, low, high, form)
            at = file
            return run(trials, policy, progress)
    except InvalidError as error:
        raise refused(at, error) from None


def _received(answer: EvaluateResponse) -> Evaluation:
    from bandits.ope import Support
    from service.analysis.evaluation import Evaluation

    said = answer.support
    support = Support(
        said.trials, said.effective_trials, said.largest_share, said.mean_weight, said.unsupported, said.refused
    )
    logged = _estimate(answer.logged) if answer.HasField("logged") else None
    estimates = tuple(_estimate(one) for one in answer.estimates)
    left = {one.reason: one.rows for one in answer.left_out}
    return Evaluation(
        answer.algorithm, support, logged, estimates, left, answer.open_trials, tuple(answer.warnings),
        answer.approximate, answer.holdout_trials,
    )  # fmt: skip


def _estimate(one: PolicyEstimate) -> Estimate:
    from bandits.ope import Estimate

    return Estimate(
        one.estimator, one.value, one.standard_error, one.low, one.high,
        one.bootstrap_low, one.bootstrap_high, one.anytime_low, one.anytime_high,
    )  # fmt: skip


# -- how it is shown ---------------------------------------------------------------------------------------------


def _plain(found: Evaluation) -> dict[str, object]:
    """The answer for programs."""
    estimates = [found.logged, *found.estimates] if found.logged is not None else []
    return {
        "algorithm": found.policy,
        "refused": found.support.refused or None,
        "support": {k: v for k, v in found.support._asdict().items() if k != "refused"},
        "estimates": [
            {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in one._asdict().items()}
            for one in estimates
        ],
        "left_out": dict(found.left_out),
        "open_trials": found.open_rows,
        "approximate": found.approximate,
        "holdout_trials": found.held_rows,
    }


def _show(found: Evaluation) -> None:
    said, screen = found.support, console()
    worth = f"effective sample size {said.ess:,.0f}; the heaviest trial has {said.share:.1%} of the weight"
    typer.echo(f"{found.policy}: {said.rows:,} trials, {worth}")
    if found.held_rows:
        typer.echo(f"{found.held_rows:,} of them are the holdout's")
    if found.left_out:
        left = ", ".join(f"{count:,} {why}" for why, count in found.left_out.items())
        typer.echo(f"left out: {left}")
    if found.open_rows:
        typer.echo(
            f"{found.open_rows:,} trials may still be rewarded: all values are low, compare them with one another"
        )
    if found.logged is not None:
        screen.print()
        screen.print(estimates_table(found))
        for note in _notes(found):
            typer.echo(note)
    if said.refused:
        typer.echo(f"\nThe log cannot tell what {found.policy} would have earned: {said.refused}.", err=True)


def _notes(found: Evaluation) -> Iterator[str]:
    """What has to be said of the numbers."""
    if any(math.isnan(one.error) for one in found.estimates):
        yield "DM has no interval: how far its model is off cannot be told from the log. DR corrects it where it can."
    if found.estimates and found.approximate:
        yield (
            f"{found.policy} learns: what is estimated is approximately this policy, as the log taught it and then held "
            "still."
        )


def estimates_table(found: Evaluation) -> Table:
    """One row an estimate, the logging policy's own mean first."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("reward per trial")
    for heading in _HEADINGS:
        table.add_column(heading, justify="right")
    for one in (found.logged, *found.estimates):
        if one is not None:
            spans = ((one.low, one.high), (one.boot_low, one.boot_high), (one.any_low, one.any_high))
            cells = [number(one.error), *(f"{number(low)} to {number(high)}" for low, high in spans)]
            table.add_row(one.name, f"{one.value:.6g}", *(["none"] * 4 if math.isnan(one.error) else cells))
    return table


def draw(found: Evaluation, out: Path) -> None:
    """Draw the estimates with their intervals: thick at a fixed sample size, thin at any time."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        typer.echo("error: drawing needs matplotlib: pip install 'lever-bandits[plot]'", err=True)
        raise typer.Exit(1) from None

    shown = [one for one in (found.logged, *found.estimates) if one is not None]
    figure = Figure(figsize=(7, 1.2 + 0.5 * len(shown)), layout="constrained")
    axes = figure.subplots()
    for place, one in enumerate(reversed(shown)):
        colour = "0.4" if one.name == "logged" else "C0"
        if not math.isnan(one.error):
            axes.plot([one.any_low, one.any_high], [place, place], color=colour, linewidth=1)
            axes.plot([one.low, one.high], [place, place], color=colour, linewidth=4)
        axes.plot([one.value], [place], "o", color=colour)
    axes.set_yticks(range(len(shown)), [one.name for one in reversed(shown)])
    axes.set_xlabel("reward per trial; thick: 95 % interval, thin: at any time")
    title = f"{found.policy}, {found.support.rows:,} trials"
    axes.set_title(f"{title}: the log cannot tell" if found.support.refused else title)
    figure.savefig(out, dpi=120)
