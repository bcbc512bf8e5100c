"""`lever export` and `lever import`: an experiment with its log in one file that proves itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.cli.store.store_access import DataDir, RedisUrl, opened, uid_of


def export(
    experiment: Annotated[str | None, typer.Argument(metavar="[EXPERIMENT]", help="Name of the experiment.")] = None,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("lever.archive"),
    every: Annotated[bool, typer.Option("--all", help="All experiments of the store, in one file.")] = False,
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
) -> None:
    """Write an experiment, or --all, to a file: configuration, state and log, checked against one another first.

    Exit code 1 where one of them is left out because it does not prove itself; the others are written.
    """
    from service.errors import LeverError
    from service.management.transfer import take
    from service.store.archive import Archived, pack

    if (experiment is None) != every:
        raise typer.BadParameter("give the name of an experiment, or --all", param_hint="EXPERIMENT")
    kept: list[tuple[str, Archived]] = []
    with opened(data_dir, redis_url) as store:
        registry = store.poll({}).registry
        names = sorted(registry) if experiment is None else [experiment]
        for name in names:
            try:
                kept.append((name, take(store, uid_of(registry, name))))
            except LeverError as error:
                typer.echo(f"error: {name}: {error}", err=True)
        if kept or not names:
            data = pack([one for _, one in kept])
            staged = out.with_name(f".{out.name}.new")
            staged.write_bytes(data)
            staged.replace(out)
    for name, one in kept:
        typer.echo(f"{name} at {one.state.id}: {len(one.entries):,} log entries")
    if kept:
        typer.echo(f"{len(data):,} bytes in {out}")
    if len(kept) < len(names):
        raise typer.Exit(1)


def import_(
    file: Annotated[Path, typer.Argument(help="A file that `lever export` wrote.")],
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
) -> None:
    """Bring experiments into the store of a running server, under their old uids. A file that does not prove itself is refused.

    The file does not say which decisions were rewarded, so rewards of earlier decisions are answered LATE.
    Exit code 1 where one of several could not be brought back; the others are.
    """
    from service.errors import LeverError
    from service.experiment.compiled import read
    from service.management.transfer import bring
    from service.store.archive import unpack

    refused = 0
    with opened(data_dir, redis_url) as store:
        for kept in unpack(file.read_bytes()):
            try:
                bring(store, kept)
            except LeverError as error:
                refused += 1
                typer.echo(f"error: {error}", err=True)
                continue
            experiment = read(kept.record)
            typer.echo(f"{experiment.name} (uid {kept.uid}) is in the store at version {experiment.version}")
    if refused:
        raise typer.Exit(1)
