"""What came back of a mailing, in any order, on the disk: joined, sorted, and told as exposures and rewards.

What is judged here is what takes several events to tell: that a click came within `min_delay` of its delivery, or beside another one.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from pathlib import Path
from typing import NamedTuple, TextIO

from service.cli.mailing.choosing import raw
from service.cli.mailing.recipients import SUBJECT, Rejected
from service.errors import InvalidError
from service.experiment.spec import MetricSpec
from service.text.csv_cells import moment, quoted
from service.text.csv_format import Format
from service.text.csv_table import Part, parts

BESIDE_MS = 1_000  # two clicks of one mail in less are not two decisions of a person
TWO_LINKS, TWICE = "two links at once", "twice at once"
_SIZE = 10_000
_ROWS = """
create table choices (subject text primary key, decision blob) without rowid;
create table events (decision blob, event text, at integer, value real, id text, link text, line integer);
pragma journal_mode = off;
pragma synchronous = off;
"""


class Event(NamedTuple):
    """A row of the file that is fine by itself."""

    decision: bytes
    event: str
    at: int | None
    value: float | None
    id: str
    link: str
    line: int


class Told(NamedTuple):
    """A reward as it is to be reported; `verdict` says why it is not."""

    event: Event
    after_ms: int | None
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the file's events mean: those that expose, and the metrics of those that are rewards."""

    exposing: str
    metrics: Mapping[str, MetricSpec]

    @classmethod
    def of(cls, metrics: Iterable[MetricSpec], exposing: str, called: Mapping[str, str]) -> Meaning:
        """`called` gives metrics to names of events. InvalidError."""
        by_id = {metric.id: metric for metric in metrics}
        for event, metric in called.items():
            if metric in by_id and by_id[metric].weights:
                raise InvalidError.field(f"as {event}", f'"{metric}" is made of {", ".join(by_id[metric].weights)}')
            if metric not in by_id:
                raise InvalidError.field(f"as {event}", f'there is no metric "{metric}"; there are {", ".join(by_id)}')
        own = {event: metric for event, metric in by_id.items() if not metric.weights}
        meant = {event: metric for event, metric in own.items() if event not in called.values()}
        meant |= {event: by_id[metric] for event, metric in called.items()}
        if exposing in meant:
            said = f"{exposing!r} is the reward {meant[exposing].id!r} too: every choice that counts would be a success"
            raise InvalidError.field("expose", f"{said}. Expose by what reached the subject, such as a delivery")
        return cls(exposing, meant)


class Events:
    """The events of a file in a temporary database."""

    def __init__(self, meaning: Meaning) -> None:
        self._meaning = meaning
        self._db = sqlite3.connect("")  # a file of its own, gone with it
        self._db.executescript(_ROWS)
        self._joined = False
        self.header: list[str] = []
        self.unused: dict[str, int] = {}  # events that are neither

    def choices(self, file: TextIO, form: Format) -> None:
        """Choices as `lever mail` wrote them, by their first column. InvalidError."""
        self._joined = True
        for part in parts(file, ("decision_id",), form, _SIZE, ()):
            name = next(iter(part.table.columns))
            if part.broken:
                raise InvalidError.field(f"row {part.broken[0][0]}", part.broken[0][1])
            pairs = zip(part.table.columns[name], map(raw, part.table.columns["decision_id"]), strict=True)
            self._db.executemany("insert or replace into choices values (?, ?)", pairs)

    def read(self, file: TextIO, form: Format) -> Iterator[list[Rejected]]:
        """Take the file in, a portion at a time: what is wrong with its rows. InvalidError."""
        key = SUBJECT if self._joined else "decision_id"
        for part in parts(file, (key, "event"), form, _SIZE, ("value",)):
            self.header = part.header
            good = self._rows(part, key)
            self._db.executemany("insert into events values (?, ?, ?, ?, ?, ?, ?)", good)
            wrong = part.table.problems.reasons()
            rejected = [Rejected(part.rows[i][0], why, part.rows[i][1]) for i, why in wrong.items()]
            rejected += [Rejected(number, why, ()) for number, why in part.broken]
            yield sorted(rejected, key=lambda one: one.row)
        self._db.execute("create index by_decision on events (decision)")

    def _rows(self, part: Part, key: str) -> list[Event]:
        table, problems = part.table, part.table.problems
        blank = [""] * table.rows
        times, ids, links = (table.columns.get(name, blank) for name in ("time", "event_id", "link"))
        values = table.optional_numbers("value") if "value" in table.columns else None
        made: list[tuple[int, Event]] = []
        for i, (who, event) in enumerate(zip(table.columns[key], table.columns["event"], strict=True)):
            metric = self._meaning.metrics.get(event)
            if metric is None and event != self._meaning.exposing:
                self.unused[event] = self.unused.get(event, 0) + 1
                continue
            decision = self._decision(who)
            at = moment(times[i]) if times[i] else None
            if decision is None:
                problems.add(i, key, "has no choice" if self._joined else "is no decision id")
            if times[i] and at is None:
                problems.add(i, "time", f"must be a time such as 2026-11-01T09:30:00Z, not {quoted(times[i])}")
            if metric and metric.aggregate != "first" and not ids[i] and at is None:
                problems.add(i, "event_id", f"must be given, or the time, as the metric {metric.id} counts several")
            value = float(values[1][i]) if values is not None and values[0][i] else None
            made.append((i, Event(decision or b"", event, at, value, ids[i], links[i], part.rows[i][0])))
        wrong = problems.reasons()
        return [event for i, event in made if i not in wrong]

    def _decision(self, who: str) -> bytes | None:
        if self._joined:
            found = self._db.execute("select decision from choices where subject = ?", (who,)).fetchone()
            return None if found is None else bytes(found[0])
        try:
            return raw(who) or None
        except ValueError:
            return None

    def metric(self, event: Event) -> str:
        """Of which metric it is a reward."""
        return self._meaning.metrics[event.event].id

    def exposures(self) -> Iterator[tuple[bytes, int, int]]:
        """Each decision that was exposed, a line that says so, and how many others do."""
        asked = "select decision, min(line), count(*) - 1 from events where event = ? group by decision"
        yield from self._db.execute(asked, (self._meaning.exposing,))

    def rewards(self) -> Iterator[Told]:
        """The rewards by decision and time, with how long after the delivery each came."""
        asked = "select * from events order by decision, at, line"
        for _, of_one in groupby((Event(*row) for row in self._db.execute(asked)), lambda event: event.decision):
            events = list(of_one)
            shown = min((e.at for e in events if e.event == self._meaning.exposing and e.at is not None), default=None)
            rewards = [event for event in events if event.event != self._meaning.exposing]
            clicks = [event for event in rewards if self._meaning.metrics[event.event].min_delay_ms]
            verdicts = bursts(clicks)
            for event in rewards:
                yield self._told(event, shown, verdicts.get(event.line, ""))

    def _told(self, event: Event, shown: int | None, verdict: str) -> Told:
        after = None if shown is None or event.at is None else max(event.at - shown, 0)
        if self._meaning.metrics[event.event].aggregate != "first" and not event.id:
            event = event._replace(id=_named(event))
        return Told(event, after, verdict)


def bursts(clicks: Sequence[Event]) -> dict[int, str]:
    """What is wrong with clicks of one decision, by line: those that follow one another within BESIDE_MS are one burst.

    In a burst on several links all are a machine's; of one on a single link the first counts.
    """
    verdicts: dict[int, str] = {}
    timed = sorted((e for e in clicks if e.at is not None), key=lambda e: (e.event, e.at or 0, e.line))
    burst: list[Event] = []
    for click, following in zip_longest(timed, timed[1:]):
        burst.append(click)
        if following and following.event == click.event and (following.at or 0) - (click.at or 0) < BESIDE_MS:
            continue
        if len({one.link for one in burst}) > 1:
            verdicts |= {one.line: TWO_LINKS for one in burst}
        else:
            verdicts |= {one.line: TWICE for one in burst[1:]}
        burst = []
    return verdicts


def _named(event: Event) -> str:
    """An id that the same row has whenever it comes."""
    said = "\0".join([event.event, str(event.at), event.link, repr(event.value)])
    return "csv-" + hashlib.blake2b(said.encode(), digest_size=12).hexdigest()


def rejected_path(events: Path) -> Path:
    """Where the rows go that are refused."""
    return events.with_name(f"{events.stem}.rejected.csv")
