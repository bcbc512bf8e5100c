"""`lever apply | list | show | delete`: experiments from a terminal."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.connection import LOCAL, TIMEOUT_S, AsJson, Server, complain, connect, console, print_json
from service.remote.fault import fault
from service.remote.plain import plain

if TYPE_CHECKING:
    from service.cli.connection import Client

Name = Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Name of the experiment.")]


def apply(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FILE|DIR...", exists=True, help="Experiment files, or folders of them.")
    ],
    server: Server = LOCAL,
) -> None:
    """Create or update experiments from YAML or JSON files. Nothing that was learned is forgotten."""
    from service.text.document import SUFFIXES, files_of, repeated

    files = files_of(*paths)
    if not files:
        typer.echo(f"error: no {', '.join(SUFFIXES)} files in {', '.join(map(str, paths))}", err=True)
        raise typer.Exit(1)
    texts = {file: text for file in files if (text := _read(file)) is not None}
    twice = repeated(texts)
    if twice:
        typer.echo("\n".join((*twice, "nothing was applied")), err=True)
        raise typer.Exit(1)
    with connect(server) as client:
        applied = [_apply(client, file, text, server) for file, text in texts.items()]
    if not all(applied) or len(texts) < len(files):
        raise typer.Exit(1)


def _read(file: Path) -> str | None:
    from service.errors import InvalidError
    from service.text.document import read

    try:
        return read(file)
    except InvalidError as error:
        for wrong in error.violations:
            typer.echo(wrong.of_file(str(file)), err=True)
        return None


def _apply(client: Client, file: Path, config: str, server: str) -> bool:
    """Applies one file and says what became of it. A file that is refused does not stop the next; a dead server does."""
    import grpc

    from service.pb.lever.v1.experiment_pb2 import PutExperimentRequest

    try:
        answer = client.experiments.PutExperiment(PutExperimentRequest(config=config), timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            raise
        complain(fault(error), server, str(file))
        return False
    for said in answer.experiment.warnings:
        typer.echo(f"{file}: warning: {said}", err=True)
    done = "unchanged"
    if answer.changed:
        done = "created" if answer.experiment.version == 1 else "changed"
    typer.echo(f"{answer.experiment.name}  {done}  version {answer.experiment.version}")
    return True


def list_(server: Server = LOCAL, as_json: AsJson = False) -> None:
    """List all experiments."""
    from service.pb.lever.v1.experiment_pb2 import ListExperimentsRequest

    with connect(server) as client:
        answer = client.experiments.ListExperiments(ListExperimentsRequest(), timeout=TIMEOUT_S)
    if as_json:
        print_json([plain(experiment) for experiment in answer.experiments])
        return
    if not answer.experiments:
        typer.echo("No experiments yet. Create one with `lever apply FILE`.")
        return

    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("experiment", "state", "algorithm"):
        table.add_column(heading)
    for heading in ("arms", "version"):
        table.add_column(heading, justify="right")
    table.add_column("applied")
    for one in answer.experiments:
        row = (one.name, one.state, one.algorithm, str(len(one.arms)), str(one.version), moment(one.applied_at_ms))
        table.add_row(*row)
    console().print(table)


def show(experiment: Name, server: Server = LOCAL, as_json: AsJson = False) -> None:
    """Show an experiment's configuration as it was applied; what is printed can be applied again."""
    from service.pb.lever.v1.experiment_pb2 import GetExperimentRequest

    with connect(server) as client:
        answer = client.experiments.GetExperiment(GetExperimentRequest(name=experiment), timeout=TIMEOUT_S).experiment
    if as_json:
        print_json(plain(answer))
        return
    applied = moment(answer.applied_at_ms)
    # JSON has no comments: what goes into a file is the configuration and nothing else.
    said = f"# {answer.name}: {answer.state}, {answer.algorithm}, version {answer.version}, applied {applied}"
    typer.echo(said, err=True)
    typer.echo(answer.config.rstrip("\n"))


def delete(
    experiment: Name,
    version: Annotated[int | None, typer.Option(help="Delete only if this is still its version.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    server: Server = LOCAL,
) -> None:
    """Delete an experiment and all that it has learned."""
    from service.pb.lever.v1.experiment_pb2 import DeleteExperimentRequest

    if not yes:
        typer.confirm(f"Delete {experiment} with all it has learned?", abort=True)
    with connect(server) as client:
        request = DeleteExperimentRequest(name=experiment, expected_version=version)
        client.experiments.DeleteExperiment(request, timeout=TIMEOUT_S)
    typer.echo(f"{experiment}  deleted")


def moment(ms: int) -> str:
    """A time for people, UTC to the second."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
