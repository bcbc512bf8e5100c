"""The `lever` command: what a person types. Commands import what they need when they run, so help is instant."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from service import __version__, cli_decisions, cli_experiments, cli_log, cli_report

app = typer.Typer(
    name="lever",
    help="Lever chooses which variant to show and learns from the rewards.",
    no_args_is_help=True,
    add_completion=False,
    # Locals may hold keys.
    pretty_exceptions_show_locals=False,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"lever {__version__}")
        raise typer.Exit


@app.callback()
def lever(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Lever chooses which variant to show and learns from the rewards."""


@app.command()
def serve(
    data_dir: Annotated[Path | None, typer.Option(help="Where the embedded store and the keys live.")] = None,
    redis_url: Annotated[str | None, typer.Option(help="A Redis or Valkey to use instead of the embedded one.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="Port of the gRPC services.")] = None,
    http_port: Annotated[int | None, typer.Option(help="Port of /metrics, /livez and /readyz.")] = None,
    workers: Annotated[int | None, typer.Option(help="Serving processes on the one gRPC port.")] = None,
    experiments: Annotated[Path | None, typer.Option(help="A file or folder of experiments to apply.")] = None,
    check: Annotated[bool | None, typer.Option("--check", help="Print the resolved settings and stop.")] = None,
) -> None:
    """Serve. Every option is also an environment variable, LEVER_DATA_DIR and so on; options win."""
    from service.config import settings
    from service.errors import InvalidError

    overrides: dict[str, Any] = {
        "data_dir": data_dir,
        "redis_url": redis_url,
        "grpc_port": grpc_port,
        "http_port": http_port,
        "workers": workers,
        "experiments": experiments,
    }
    try:
        resolved = settings({name: value for name, value in overrides.items() if value is not None}, os.environ)
    except InvalidError as error:
        for violation in error.violations:
            typer.echo(f"error: {violation}", err=True)
        raise typer.Exit(2) from None
    if check:
        typer.echo(resolved)
        return

    from service.app import serve as run

    raise typer.Exit(run(resolved))


app.command("apply")(cli_experiments.apply)
app.command("list")(cli_experiments.list_)
app.command("show")(cli_experiments.show)
app.command("delete")(cli_experiments.delete)
app.command("report")(cli_report.report)
app.command("log")(cli_log.log)
app.command("select")(cli_decisions.select)
app.command("expose", context_settings=cli_decisions.ANY_ID)(cli_decisions.expose)
app.command("reward", context_settings=cli_decisions.ANY_ID)(cli_decisions.reward)


def main() -> None:
    """Entry point of the console script."""
    app()
