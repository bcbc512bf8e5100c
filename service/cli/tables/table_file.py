"""Records as a file, some at a time: .csv or .parquet."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

Columns = Sequence[tuple[str, str]]  # names, with text, integer, unsigned, number or flag
Write = Callable[[Iterable[Mapping[str, object]]], int]  # how many records were written
_GROUP = 50_000  # rows of a Parquet file that are together


@contextmanager
def table_file(path: Path, columns: Columns) -> Iterator[Write]:
    """Writes records, which may lack columns; what has no column is left out."""
    with (_parquet if path.suffix == ".parquet" else _csv)(path, columns) as write:
        yield write


@contextmanager
def _csv(path: Path, columns: Columns) -> Iterator[Write]:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [name for name, _ in columns], restval="", extrasaction="ignore")
        writer.writeheader()

        def write(records: Iterable[Mapping[str, object]]) -> int:
            count = 0
            for record in records:
                writer.writerow(record)
                count += 1
            return count

        yield write


@contextmanager
def _parquet(path: Path, columns: Columns) -> Iterator[Write]:
    import pyarrow as pa
    from pyarrow import parquet

    types = {
        "text": pa.string(), "integer": pa.int64(), "unsigned": pa.uint64(), "number": pa.float64(), "flag": pa.bool_()
    }  # fmt: skip
    schema = pa.schema([(name, types.get(kind, pa.string())) for name, kind in columns])
    with parquet.ParquetWriter(path, schema) as writer:

        def write(records: Iterable[Mapping[str, object]]) -> int:
            count, given = 0, iter(records)
            while some := list(islice(given, _GROUP)):
                writer.write_table(pa.Table.from_pylist(some, schema=schema))
                count += len(some)
            return count

        yield write
