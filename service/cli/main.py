"""The `lever` command: what a person types. Commands import what they need when they run, so help is instant."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from service import __version__
from service.cli import (
    decisions,
    doctor,
    experiments,
    explain,
    key,
    plan,
    report,
    rescue,
)
from service.cli.connection import REACH, Reach
from service.cli.mailing import feed, mail
from service.cli.past import exclude, history, timeline
from service.cli.running import assistant, demo
from service.cli.store import archive, verify
from service.cli.tables import evaluate, log, warm_start
from service.process.kernel_cache import use_kernel_cache

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
    key: Annotated[
        str,
        typer.Option(envvar="LEVER_KEY", show_envvar=True, help="API key; better given as the environment variable."),
    ] = "",
    tls: Annotated[bool, typer.Option("--tls", envvar="LEVER_TLS", help="The server speaks TLS.")] = False,
    ca: Annotated[
        Path | None, typer.Option(envvar="LEVER_CA", help="PEM certificates to trust; implies --tls.")
    ] = None,
    cert: Annotated[Path | None, typer.Option(envvar="LEVER_CERT", help="PEM certificate of this client.")] = None,
    cert_key: Annotated[Path | None, typer.Option(envvar="LEVER_CERT_KEY", help="Its key.")] = None,
) -> None:
    """Lever chooses which variant to show and learns from the rewards.

    These options say how commands reach the server; give them before the command, or as environment variables.
    """
    REACH.set(Reach(key, tls, ca, cert, cert_key))
    use_kernel_cache()  # before anything imports numba, whatever command this is


@app.command()
def serve(
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the embedded store and the keys.")] = None,
    redis_url: Annotated[str | None, typer.Option(help="A Redis or Valkey to use instead of the embedded one.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="Port of the gRPC services.")] = None,
    http_port: Annotated[int | None, typer.Option(help="Port of /metrics, /livez and /readyz.")] = None,
    web_port: Annotated[int | None, typer.Option(help="Port for websites, over HTTP; off unless given.")] = None,
    door_port: Annotated[int | None, typer.Option(hidden=True, help="The former name of --web-port.")] = None,
    workers: Annotated[int | None, typer.Option(help="Serving processes on the one gRPC port.")] = None,
    experiments: Annotated[Path | None, typer.Option(help="A file or folder of experiments to apply.")] = None,
    keys_file: Annotated[Path | None, typer.Option(help="File of API keys; without it no key is needed.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate of the gRPC port, with its chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key.")] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option(help="PEM certificates that clients' certificates must be signed by.")
    ] = None,
    check: Annotated[bool | None, typer.Option("--check", help="Print the resolved settings and stop.")] = None,
) -> None:
    """Run the server. Every option is also an environment variable, LEVER_DATA_DIR and so on; options win."""
    from service.errors import InvalidError
    from service.process.settings import settings

    overrides: dict[str, Any] = {
        "data_dir": data_dir,
        "redis_url": redis_url,
        "grpc_port": grpc_port,
        "http_port": http_port,
        "web_port": door_port if web_port is None else web_port,
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

    from service.server.serve import serve as run

    raise typer.Exit(run(resolved))


app.command("demo")(demo.demo)
app.command("apply")(experiments.apply)
app.command("list")(experiments.list_)
app.command("show")(experiments.show)
app.command("delete")(experiments.delete)
app.command("history")(history.history)
app.command("rollback")(history.rollback)
app.command("report")(report.report)
app.command("timeline")(timeline.timeline)
app.command("exclude")(exclude.exclude)
app.command("explain", context_settings=decisions.ANY_ID)(explain.explain)
app.command("plan")(plan.plan)
app.command("mail")(mail.mail)
app.command("feed")(feed.feed)
app.command("log")(log.log)
app.command("evaluate")(evaluate.evaluate)
app.command("warm-start")(warm_start.warm_start)
app.command("mcp")(assistant.mcp)
app.add_typer(key.app, name="key")
app.command("doctor")(doctor.doctor)
app.command("verify")(verify.verify)
app.command("export")(archive.export)
app.command("import")(archive.import_)
app.command("restore")(rescue.restore)
app.command("accept-loss")(rescue.accept_loss)
app.command("select")(decisions.select)
app.command("expose", context_settings=decisions.ANY_ID)(decisions.expose)
app.command("journey", context_settings=decisions.ANY_ID)(decisions.journey)
app.command("reward", context_settings=decisions.ANY_ID)(decisions.reward)


def main() -> None:
    """Entry point of the console script."""
    app()
