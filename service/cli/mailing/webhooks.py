"""What e-mail systems post to webhooks, as rows of events. A file has one body a line, or is one JSON document."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TextIO

import msgspec

from service.errors import InvalidError
from service.text.csv_cells import csv_line

COLUMNS = ("decision_id", "subject", "event", "time", "event_id", "link")
_ID = "decision_id"
_DOCUMENT = 1 << 20  # characters of a document of several lines, at most

# What each calls it, and what it is called here.
_SES = {
    "Delivery": "delivered",
    "Click": "click",
    "Open": "open",
    "Complaint": "complaint",
    "Subscription": "unsubscribe",
}
_SENDGRID = {"group_unsubscribe": "unsubscribe", "spamreport": "complaint"}

Row = tuple[str, str, str, str, str, str]


class System(enum.StrEnum):
    """Whose webhooks."""

    CSV = "csv"
    SENDGRID = "sendgrid"
    SES = "ses"


def sendgrid(body: Any) -> Iterator[Row]:
    """A body of SendGrid's Event Webhook: a list of events, custom arguments beside their own fields."""
    for event in body if isinstance(body, list) else [body]:
        said = str(event["event"])
        at = str(round(1000 * float(event["timestamp"])))
        yield (
            str(event.get(_ID, "")), str(event.get("email", "")), _SENDGRID.get(said, said), at,
            str(event.get("sg_event_id", "")), str(event.get("url", "")),
        )  # fmt: skip


def ses(body: Any) -> Iterator[Row]:
    """An event that Amazon SES publishes, to Firehose or in the envelope of SNS; the id is a tag of the mail."""
    if isinstance(body, Mapping) and "Message" in body and "eventType" not in body:
        body = msgspec.json.decode(body["Message"])
    kind, mail = str(body["eventType"]), body["mail"]
    detail = body.get(kind[:1].lower() + kind[1:], {})
    ids = mail.get("tags", {}).get(_ID, [])
    who = mail.get("destination", [])
    yield (
        str(ids[0]) if ids else "", str(who[0]) if who else "", _SES.get(kind, kind),
        str(detail.get("timestamp", mail["timestamp"])), "", str(detail.get("link", "")),
    )  # fmt: skip


_READ: Mapping[System, Callable[[Any], Iterator[Row]]] = {System.SENDGRID: sendgrid, System.SES: ses}


def to_csv(system: System, file: TextIO, out: TextIO, key: str) -> int:
    """The events of a file as a CSV file; how many were left out as they have no `key`. InvalidError names the line."""
    place, others = COLUMNS.index(key), 0
    out.write(csv_line(COLUMNS))
    for number, body in _bodies(file):
        try:
            rows = list(_READ[system](body))
        except (KeyError, TypeError, ValueError, AttributeError, msgspec.DecodeError) as error:
            said = f"is no event of {system}: {type(error).__name__} {error}"
            raise InvalidError.field(f"line {number}", said) from None
        ours = [row for row in rows if row[place]]
        others += len(rows) - len(ours)
        out.writelines(map(csv_line, ours))
    return others


def _bodies(file: TextIO) -> Iterable[tuple[int, Any]]:
    head = file.read(_DOCUMENT + 1)
    if len(head) <= _DOCUMENT:
        try:
            return [(1, msgspec.json.decode(head))]
        except msgspec.DecodeError:
            pass  # then it has one body a line
    file.seek(0)
    return _lines(file)


def _lines(file: TextIO) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                yield number, msgspec.json.decode(line)
            except msgspec.DecodeError as error:
                raise InvalidError.field(f"line {number}", f"is no JSON: {error}") from None
