"""`lever warm-start`: history for a new experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.cli.connection import LOCAL, AsJson, Server, connect, print_json
from service.cli.tables.csv_file import Columns, Decimal, Delimiter, Encoding, LeaveOut, format_of, text_of
from service.cli.tables.waiting import TIMEOUT_S, waiting


def warm_start(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Name of the experiment.")],
    file: Annotated[Path, typer.Argument(metavar="HISTORY.CSV", help="Columns arm and reward, and others.")],
    columns: Columns = "",
    leave_out: LeaveOut = "",
    delimiter: Delimiter = "",
    decimal: Decimal = "",
    encoding: Encoding = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge the file and write nothing.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take back what this very file taught.")] = False,
    server: Server = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Teach an experiment from history. A file sent again counts once; a file with mistakes is refused whole.

    Columns: arm, reward (the total of one trial, 0 for none); optional metric, segment, time, and features by name.
    """
    from service.pb.lever.v1 import experiment_pb2 as pb
    from service.text.csv_format import MOST_BYTES

    if dry_run and undo:
        raise typer.BadParameter("a dry run takes nothing back: give one of --dry-run and --undo", param_hint="--undo")
    form = format_of(delimiter, decimal, columns, leave_out)
    given = pb.CsvFormat(delimiter=form.delimiter, decimal=form.decimal, columns=form.columns, leave_out=form.leave_out)
    text = text_of(file, encoding)
    if len(text.encode()) > MOST_BYTES:
        typer.echo(f"{file}: has more than {MOST_BYTES >> 20} MB: put its rows into several files", err=True)
        raise typer.Exit(1)
    with waiting("writing history"), connect(server) as client:
        request = pb.WarmStartRequest(name=experiment, csv=text, format=given, dry_run=dry_run, undo=undo)
        answer = client.experiments.WarmStart(request, timeout=TIMEOUT_S)
    if as_json:
        print_json({name: getattr(answer, name) for name in answer.DESCRIPTOR.fields_by_name})
        return
    became = "would count: nothing was written" if dry_run else "no longer count" if undo else "count now"
    typer.echo(f"{answer.applied:,} rows of history {became}; {answer.rewarded:,} of the file have a reward")
    if answer.repeated:
        typer.echo(f"{answer.repeated:,} rows of this file {'did not count' if undo else 'counted already'}")
    if answer.unknown_values:
        typer.echo(f"{answer.unknown_values:,} values are not declared by the experiment and count as unknown")
