"""The `lever` command: what a person types. Commands import what they need when they run, so help is instant."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from service import (
    __version__,
    cli_archive,
    cli_decisions,
    cli_doctor,
    cli_evaluate,
    cli_experiments,
    cli_key,
    cli_log,
    cli_report,
    cli_rescue,
    cli_verify,
)
from service.cli_client import REACH, Reach

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
    key: Annotated[str, typer.Option(envvar="LEVER_KEY", show_envvar=True, help="API key; better as a variable.")] = "",
    tls: Annotated[bool, typer.Option("--tls", envvar="LEVER_TLS", help="The server speaks TLS.")] = False,
    ca: Annotated[
        Path | None, typer.Option(envvar="LEVER_CA", help="PEM certificates to trust; implies --tls.")
    ] = None,
    cert: Annotated[Path | None, typer.Option(envvar="LEVER_CERT", help="PEM certificate of this client.")] = None,
    cert_key: Annotated[Path | None, typer.Option(envvar="LEVER_CERT_KEY", help="Its key.")] = None,
) -> None:
    """Lever chooses which variant to show and learns from the rewards.

    The options here say how commands reach the server, and come before the command; as variables they hold for all.
    """
    REACH.set(Reach(key, tls, ca, cert, cert_key))


@app.command()
def serve(
    data_dir: Annotated[Path | None, typer.Option(help="Where the embedded store and the keys live.")] = None,
    redis_url: Annotated[str | None, typer.Option(help="A Redis or Valkey to use instead of the embedded one.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="Port of the gRPC services.")] = None,
    http_port: Annotated[int | None, typer.Option(help="Port of /metrics, /livez and /readyz.")] = None,
    door_port: Annotated[
        int | None, typer.Option(help="Port of the HTTP door for websites; without it there is none.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Serving processes on the one gRPC port.")] = None,
    experiments: Annotated[Path | None, typer.Option(help="A file or folder of experiments to apply.")] = None,
    keys_file: Annotated[Path | None, typer.Option(help="API keys; without it nobody needs one.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate, and its chain, of the gRPC port.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key.")] = None,
    tls_client_ca: Annotated[Path | None, typer.Option(help="PEM certificates whose clients may connect.")] = None,
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
        "door_port": door_port,
        "workers": workers,
        "experiments": experiments,
        "keys_file": keys_file,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "tls_client_ca": tls_client_ca,
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
app.command("evaluate")(cli_evaluate.evaluate)
app.command("warm-start")(cli_evaluate.warm_start)
app.add_typer(cli_key.app, name="key")
app.command("doctor")(cli_doctor.doctor)
app.command("verify")(cli_verify.verify)
app.command("export")(cli_archive.export)
app.command("import")(cli_archive.import_)
app.command("restore")(cli_rescue.restore)
app.command("accept-loss")(cli_rescue.accept_loss)
app.command("select")(cli_decisions.select)
app.command("expose", context_settings=cli_decisions.ANY_ID)(cli_decisions.expose)
app.command("reward", context_settings=cli_decisions.ANY_ID)(cli_decisions.reward)


def main() -> None:
    """Entry point of the console script."""
    app()
