"""`lever history` and `lever rollback`: who changed what, and the way back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.connection import LOCAL, TIMEOUT_S, AsJson, Server, complain, connect, console, print_json
from service.cli.experiments import moment
from service.remote.fault import fault
from service.remote.plain import plain

if TYPE_CHECKING:
    from service.pb.lever.v1.experiment_pb2 import HistoryEvent


def history(
    experiment: Annotated[
        str,
        typer.Argument(metavar="[EXPERIMENT]", help="Name of the experiment, deleted ones too; none: all, and keys."),
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Events at most.")] = 100,
    diff: Annotated[bool, typer.Option("--diff", help="Show what each change of a configuration changed.")] = False,
    server: Server = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Show who changed what and when, the newest first."""
    from service.pb.lever.v1.experiment_pb2 import GetHistoryRequest

    with connect(server) as client:
        request = GetHistoryRequest(name=experiment, limit=limit)
        events = client.experiments.GetHistory(request, timeout=TIMEOUT_S).events
    if as_json:
        print_json([plain(event) for event in events])
        return
    if not events:
        typer.echo("Nothing was changed yet.")
        return
    _table(events)
    if diff:
        for line in _diffs(events):
            typer.echo(line)


def _table(events: Sequence[HistoryEvent]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("when", "what", "experiment"):
        table.add_column(heading)
    table.add_column("version", justify="right")
    table.add_column("by")
    table.add_column("detail", overflow="fold")
    for event in events:
        version = str(event.version) if event.version else ""
        table.add_row(moment(event.at_ms), event.what, event.experiment, version, event.by or "anyone", event.detail)
    console().print(table)


def _diffs(events: Sequence[HistoryEvent]) -> Iterator[str]:
    """Each kept configuration against the one that it replaced, as far as that is kept too."""
    from difflib import unified_diff
    from itertools import pairwise

    written = [event for event in events if event.config]
    for event, old in pairwise(written):
        if (old.experiment, old.version + 1) != (event.experiment, event.version):
            continue
        new, was = (f"{one.experiment} version {one.version}, {moment(one.at_ms)}" for one in (event, old))
        yield ""
        yield from unified_diff(old.config.splitlines(), event.config.splitlines(), was, new, lineterm="", n=2)


def rollback(
    experiment: Annotated[str, typer.Argument(help="Name of the experiment.")],
    to: Annotated[int | None, typer.Option(min=1, help="Version to go back to; the one before, if not given.")] = None,
    server: Server = LOCAL,
) -> None:
    """Apply an earlier configuration of an experiment again, as a new version. Nothing that was learned is forgotten."""
    import grpc

    from service.pb.lever.v1.experiment_pb2 import GetExperimentRequest, GetHistoryRequest, PutExperimentRequest

    with connect(server) as client:
        now = client.experiments.GetExperiment(GetExperimentRequest(name=experiment), timeout=TIMEOUT_S).experiment
        asked = GetHistoryRequest(name=experiment, limit=10_000)
        events = client.experiments.GetHistory(asked, timeout=TIMEOUT_S).events
        texts = {event.version: event.config for event in events if event.config}
        wanted = to if to is not None else now.version - 1
        if wanted not in texts or wanted == now.version:
            kept = ", ".join(str(version) for version in sorted(texts) if version != now.version) or "none"
            typer.echo(f"error: --to: version {wanted} of {experiment} is not kept; kept are {kept}", err=True)
            raise typer.Exit(1)
        request = PutExperimentRequest(config=texts[wanted], expected_version=now.version)
        try:
            answer = client.experiments.PutExperiment(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise
            complain(fault(error), server, f"version {wanted}")
            raise typer.Exit(1) from None
    version = answer.experiment.version
    said = f"as version {version}" if answer.changed else "and was so already"
    typer.echo(f"{experiment}  is as it was in version {wanted}, {said}")
