"""`lever log`: the log of an experiment as a table, for data scientists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.connection import LOCAL, Server, connect
from service.cli.store.store_access import DataDir, RedisUrl, opened, uid_of
from service.cli.tables.waiting import TIMEOUT_S, waiting

if TYPE_CHECKING:
    from service.pb.lever.v1.experiment_pb2 import ReadLogResponse

_SUFFIXES = (".csv", ".parquet")


def log(
    experiment: Annotated[str, typer.Argument(help="Name of the experiment.")],
    out: Annotated[Path, typer.Option(help="File to write; .csv or .parquet (needs the extra `parquet`).")],
    after: Annotated[str, typer.Option(help="Only what came after this entry, the last one of an earlier file.")] = "",
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
    server: Server = LOCAL,
) -> None:
    """Write an experiment's log as a table, one row per trial, exposure or reward; docs/log.md explains the columns.

    Asks the server, or with --data-dir or --redis-url reads the store itself.
    """
    from service.management.log_rows import messages

    if out.suffix not in _SUFFIXES:
        raise typer.BadParameter("must end in .csv or .parquet", param_hint="--out")
    _library(out)
    if data_dir is None and redis_url is None:
        from service.pb.lever.v1.experiment_pb2 import ReadLogRequest

        with waiting("reading the log"), connect(server) as client:
            request = ReadLogRequest(name=experiment, after=after)
            rows = _write(client.experiments.ReadLog(request, timeout=TIMEOUT_S), out)
    else:
        with opened(data_dir, redis_url) as store:
            rows = _write(messages(store, uid_of(store.poll({}).registry, experiment), after), out)
    typer.echo(f"{rows:,} rows in {out}")


def _library(out: Path) -> None:
    """Ends the command where what writes the file is not installed."""
    from importlib.util import find_spec

    if out.suffix == ".parquet" and find_spec("pyarrow") is None:
        typer.echo("error: Parquet files need pyarrow: pip install pyarrow, or write a .csv", err=True)
        raise typer.Exit(1)


def _write(told: Iterable[ReadLogResponse], out: Path) -> int:
    """The rows written; the file appears when it is whole."""
    from service.cli.tables.table_file import table_file
    from service.management.log_rows import records

    messages = iter(told)
    first = next(messages)  # has the columns
    with _staged(out) as staged, table_file(staged, [(c.name, c.type) for c in first.columns]) as write:
        return write(records(chain([first], messages)))


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A file beside `out` that takes its place at the end, and is gone where it comes to none."""
    staged = out.with_name(f".{out.stem}.new{out.suffix}")
    try:
        yield staged
        staged.replace(out)
    except OSError as error:
        typer.echo(f"error: {out}: {error.strerror}", err=True)
        raise typer.Exit(1) from None
    finally:
        staged.unlink(missing_ok=True)
