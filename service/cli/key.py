"""`lever key new`: API keys."""

from __future__ import annotations

from typing import Annotated

import typer

from service.security.api_keys import ORIGIN, PUBLIC_SCOPES, SCOPES, Key, new_secret
from service.text.fields import ID

app = typer.Typer(no_args_is_help=True, help="API keys.")


@app.callback()
def key() -> None:
    """API keys."""


@app.command("new")
def new(
    scope: Annotated[
        list[str] | None, typer.Option(help=f"What it allows: {', '.join(SCOPES)}; may be repeated.")
    ] = None,
    name: Annotated[str, typer.Option(help="Whose it is, for people.")] = "unnamed",
    origin: Annotated[
        list[str] | None,
        typer.Option(help="Makes a public key, for pages of this origin (https://www.example.com); may be repeated."),
    ] = None,
    public: Annotated[
        bool,
        typer.Option(
            "--public", help="A key for web pages: needs --origin; decides and rewards unless told otherwise."
        ),
    ] = False,
) -> None:
    """Make an API key. It is printed once; the file of keys takes a line with its hash."""
    if public and not origin:
        raise typer.BadParameter(
            "needs the origins of its pages, such as --origin https://www.example.com", param_hint="--public"
        )
    if not scope:
        if not origin:
            raise typer.BadParameter(f"must be given: {', '.join(SCOPES)}", param_hint="--scope")
        scope = sorted(PUBLIC_SCOPES)
    for one in scope:
        if one not in SCOPES:
            raise typer.BadParameter(f"{one!r} is not one of {', '.join(SCOPES)}", param_hint="--scope")
    if not ID.match(name):
        raise typer.BadParameter('must be 1 to 64 letters, digits, "_", "." and "-"', param_hint="--name")
    for one in origin or ():
        if not ORIGIN.fullmatch(one):
            raise typer.BadParameter(f"{one!r} is not an origin such as https://www.example.com", param_hint="--origin")
    if origin and set(scope) - PUBLIC_SCOPES:
        raise typer.BadParameter("a public key can decide and reward only", param_hint="--scope")
    secret = new_secret()
    # The key alone goes to stdout, so that it can be piped to where it is kept.
    typer.echo(secret)
    typer.echo("\nThis is the key, and it is not shown again. The file of keys (keys_file) takes:\n", err=True)
    typer.echo(f"keys:\n{Key.of(secret, name, frozenset(scope), frozenset(origin or ())).line()}", err=True)
