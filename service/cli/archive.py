"""`lever export` and `lever import`: an experiment with its log in one file that proves itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.cli.store_access import DataDir, RedisUrl, opened, uid_of


def export(
    experiment: Annotated[str, typer.Argument(help="Name of the experiment.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
) -> None:
    """Write an experiment to a file: configuration, state and log, checked against one another first."""
    from service.management.transfer import take
    from service.store.archive import pack

    with opened(data_dir, redis_url) as store:
        kept = take(store, uid_of(store.poll({}).registry, experiment))
        data = pack([kept])
        staged = out.with_name(f".{out.name}.new")
        staged.write_bytes(data)
        staged.replace(out)
    typer.echo(f"{experiment} at {kept.state.id}: {len(kept.entries):,} log entries, {len(data):,} bytes in {out}")


def import_(
    file: Annotated[Path, typer.Argument(help="A file that `lever export` wrote.")],
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
) -> None:
    """Bring an experiment into the store of a running server, under its old uid. A file that does not prove itself is refused.

    What was counted for which decision is not in the file, so rewards of decisions made before now are answered LATE.
    """
    from service.experiment.compiled import read
    from service.management.transfer import bring
    from service.store.archive import unpack

    with opened(data_dir, redis_url) as store:
        for kept in unpack(file.read_bytes()):
            bring(store, kept)
            experiment = read(kept.record)
            typer.echo(f"{experiment.name} (uid {kept.uid}) is in the store at version {experiment.version}")
