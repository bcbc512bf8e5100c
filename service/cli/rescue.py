"""`lever restore` and `lever accept-loss`: two ways out where the store has lost an experiment that is still served."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli.connection import LOCAL, Server, connect

Name = Annotated[str, typer.Argument(help="Name of the experiment.")]


def restore(experiment: Name, server: Server = LOCAL) -> None:
    """Write back what a running server still holds of an experiment that the store has lost.

    Rewards of earlier decisions are answered LATE from then on, as it is no longer known which were counted.
    """
    from service.cli.connection import TIMEOUT_S
    from service.pb.lever.v1 import experiment_pb2 as pb

    with connect(server) as client:
        request = pb.RestoreExperimentRequest(name=experiment)
        found = client.experiments.RestoreExperiment(request, timeout=TIMEOUT_S).experiment
    typer.echo(f"{found.name} (uid {found.uid}) is back at version {found.version}")


def accept_loss(
    experiment: Name,
    server: Server = LOCAL,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Give up an experiment that the store has lost: every server forgets it."""
    from service.cli.connection import TIMEOUT_S
    from service.pb.lever.v1 import experiment_pb2 as pb

    if not yes:
        typer.confirm(f"Forget {experiment} and all it has learned?", abort=True)
    with connect(server) as client:
        client.experiments.AcceptLoss(pb.AcceptLossRequest(name=experiment), timeout=TIMEOUT_S)
    typer.echo(f"{experiment} is forgotten")
