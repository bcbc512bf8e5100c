"""`lever mcp`: tools for assistants."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli.connection import LOCAL, Server, open_channel


def mcp(
    http: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Serve over HTTP on this port of 127.0.0.1; 0: any.")
    ] = None,
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="Offer tools that apply, pause and resume experiments.")
    ] = False,
    server: Server = LOCAL,
) -> None:
    """Let an assistant look at experiments, over the Model Context Protocol: on stdin and stdout, or with --http.

    Its tools list, show, report, explain, evaluate, plan and tell the history. They act with the API key that this command is
    given (LEVER_KEY): give it one of scope `read`.
    """
    try:
        from service.assistant.server import over_http, over_stdio
        from service.assistant.server import server as make
    except ImportError:
        typer.echo("error: this needs the package mcp: pip install 'lever-bandits[mcp]'", err=True)
        raise typer.Exit(1) from None

    with open_channel(server) as channel:
        made = make(channel, changes=allow_changes)
        if http is None:
            over_stdio(made)
            return
        try:
            over_http(made, http, lambda address: typer.echo(f"Tools of {server} are at {address}. Ctrl-C stops it."))
        except OSError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from None
