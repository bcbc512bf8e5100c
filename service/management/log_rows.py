"""The log of an experiment as messages of ReadLog, made where they cost choices nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from service.analysis.log_table import CONTEXT, ENCODED, Record, columns_of, entries, opened
from service.errors import InvalidError
from service.pb.lever.v1 import experiment_pb2 as pb
from service.store.contract import START, Store

ROWS = 200  # of a message
_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")


def messages(store: Store, uid: str, after: str) -> Iterator[pb.ReadLogResponse]:
    """The columns, then the rows of the entries after `after`, which may be empty. InvalidError, CorruptError."""
    if after and not _ID.fullmatch(after):
        raise InvalidError.field("after", f'"{after[:60]}" is not the id of an entry')
    table = opened(store, uid)
    newest = table.newest
    columns = columns_of(newest) if newest is not None else []
    made = pb.ReadLogResponse(columns=[pb.LogColumn(name=name, type=kind) for name, kind in columns])
    for record in (record for entry in entries(store, uid, after or START) for record in table.records(entry)):
        _fill(made.rows.add(), record)
        if len(made.rows) == ROWS:
            yield made
            made = pb.ReadLogResponse()
    yield made


def records(messages: Iterable[pb.ReadLogResponse]) -> Iterator[Record]:
    """The way back: the rows of messages as records."""
    for message in messages:
        for row in message.rows:
            record: Record = {field.name: getattr(row, field.name) for field in _PLAIN}
            for name, value in row.context.items():
                record[CONTEXT + name] = getattr(value, value.WhichOneof("value") or "text")
            yield record | {ENCODED + name: value for name, value in row.x.items()}


_PLAIN = [field for field in pb.LogRow.DESCRIPTOR.fields if not field.is_repeated]


def _fill(row: pb.LogRow, record: Record) -> None:
    for name, value in record.items():
        if name.startswith(ENCODED):
            row.x[name.removeprefix(ENCODED)] = float(value)
        elif name.startswith(CONTEXT):
            given = row.context[name.removeprefix(CONTEXT)]
            if isinstance(value, bool):
                given.flag = value
            elif isinstance(value, str):
                given.text = value
            else:
                given.number = value
        else:
            setattr(row, name, value)
