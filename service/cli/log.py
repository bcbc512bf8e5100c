"""`lever log`: the log of an experiment as a table, for data scientists."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Any

import typer


def log(
    experiment: Annotated[str, typer.Argument(help="Name of the experiment.")],
    out: Annotated[Path, typer.Option(help="File to write; .csv or .parquet (needs the extra `parquet`).")],
    data_dir: Annotated[Path | None, typer.Option(help="Data directory of a running `lever serve`.")] = None,
    redis_url: Annotated[str | None, typer.Option(help="The Redis or Valkey in use.")] = None,
) -> None:
    """Write an experiment's log as a table, one row per trial or reward; reads the store itself."""
    import os

    from service.analysis.log_table import LogTable, entries
    from service.errors import LeverError
    from service.process.settings import settings
    from service.store.embedded import Embedded
    from service.store.redis import RedisStore

    if out.suffix not in (".csv", ".parquet"):
        raise typer.BadParameter("must end in .csv or .parquet", param_hint="--out")
    given: dict[str, Any] = {"data_dir": data_dir, "redis_url": redis_url}
    try:
        resolved = settings({k: v for k, v in given.items() if v is not None}, os.environ)
        store = RedisStore(resolved.redis_url or Embedded(resolved.data_dir).attach())
        uid = store.poll({}).registry.get(experiment)
        if uid is None:
            typer.echo(f"error: experiment {experiment!r} does not exist", err=True)
            raise typer.Exit(1)
        book = LogTable()
        records = [record for entry in entries(store, uid) for record in book.records(entry)]
    except LeverError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    write(records, out)
    typer.echo(f"{len(records)} rows in {out}")


def write(records: list[dict[str, object]], out: Path) -> None:
    """Write records, which may differ in their columns, as .csv or .parquet."""
    columns = list(dict.fromkeys(name for record in records for name in record))
    if out.suffix == ".parquet":
        from pyarrow import Table, parquet

        table = Table.from_pydict({name: [r.get(name) for r in records] for name in columns})
        parquet.write_table(table, out)
        return
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(records)
