"""`lever feed`: what came back of a mailing, told in bulk."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from service.cli.connection import LOCAL, TIMEOUT_S, AsJson, Server, connect, console, print_json
from service.cli.mailing.webhooks import System, to_csv
from service.cli.tables.csv_file import Columns, Decimal, Delimiter, Encoding, format_of, pairs_of, refused
from service.cli.tables.waiting import waiting
from service.remote.plain import word

if TYPE_CHECKING:
    from service.cli.connection import Client
    from service.cli.mailing.events import Events, Told
    from service.pb.lever.v1 import personalization_pb2 as pb
    from service.text.csv_format import Format


def feed(
    experiment: Annotated[str, typer.Argument(help="Name of the experiment.")],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="EVENTS.CSV", help="Columns decision_id and event; optional time, value, event_id, link."
        ),
    ],
    choices: Annotated[
        list[Path] | None, typer.Option(help="Choices of `lever mail`: the events name the subject, not the decision.")
    ] = None,
    expose: Annotated[str, typer.Option(help="The event that says that a choice reached its subject.")] = "delivered",
    called: Annotated[
        str, typer.Option("--as", help="Events that are called otherwise than their metrics, such as `clicked=click`.")
    ] = "",
    system: Annotated[
        System, typer.Option("--from", help="Whose file it is: csv, or webhooks' bodies as JSON, one a line.")
    ] = System.CSV,
    columns: Columns = "",
    delimiter: Delimiter = "",
    decimal: Decimal = "",
    encoding: Encoding = "",
    server: Server = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Report deliveries, clicks, orders: in any order, hours later, with what was reported before; each counts once.

    An event named as a metric is its reward. Rows that are wrong are written to EVENTS.rejected.csv with the reason.
    """
    from service.cli.mailing.events import Events, Meaning, rejected_path
    from service.errors import InvalidError
    from service.experiment.parse import known
    from service.pb.lever.v1.experiment_pb2 import GetExperimentRequest
    from service.text.csv_format import Format
    from service.text.encoding import text_file

    form, at = format_of(delimiter, decimal, columns, ""), file
    with connect(server) as client:
        found = client.experiments.GetExperiment(GetExperimentRequest(name=experiment), timeout=TIMEOUT_S)
        try:
            events = Events(
                Meaning.of(known(found.experiment.config).metrics, expose, pairs_of(called, "--as", "METRIC"))
            )
            with waiting("reading"):
                for at in choices or ():
                    with text_file(at) as text:
                        events.choices(text, Format(delimiter=","))
            at = file
            done = _Feed(events, expose, rejected_path(file))
            with waiting("reading"), text_file(file, encoding, "say which encoding it has, such as cp1252") as text:
                done.read(text, form, system, joined=bool(choices))
            with waiting("reporting"):
                done.report(client)
        except InvalidError as error:
            raise refused(at, error) from None
    _tell(done, events.unused, rejected_path(file), as_json)


class _Feed:
    """One run: counts by event and outcome, and the file of what was refused."""

    def __init__(self, events: Events, expose: str, rejects: Path) -> None:
        self._events, self._expose, self._rejects = events, expose, rejects
        self.counts: Counter[tuple[str, str]] = Counter()
        rejects.unlink(missing_ok=True)

    def read(self, text: TextIO, form: Format, system: System, joined: bool) -> None:
        """Take the file in. InvalidError."""
        with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as made:
            if system is not System.CSV:
                others = to_csv(system, text, made, "subject" if joined else "decision_id")
                self.counts["of other mails", "not used"] += others
                made.seek(0)
                text, form = made, type(form)(delimiter=",", decimal=".")
            for wrong in self._events.read(text, form):
                for one in wrong:
                    self._reject(one.row, "wrong rows", one.reason, one.cells)

    def report(self, client: Client) -> None:
        """Tell the server. grpc.RpcError."""
        from service.cli.mailing.bulk import Exposing, Rewarding, deliver

        lines = {}
        exposing, rewarding = Exposing(client), Rewarding(client)

        def decisions() -> Iterator[bytes]:
            for decision, line, more in self._events.exposures():
                lines[decision] = line
                self.counts[self._expose, "duplicate"] += more
                yield decision

        for decision, result in deliver(decisions(), exposing.send):
            self._count(self._expose, lines.pop(decision), result)
        told = ((told, self._request(told)) for told in self._rewards())
        for (one, _), result in deliver(told, lambda some: rewarding.send([request for _, request in some])):
            self._count(one.event.event, one.event.line, result)
        rewarding.close()

    def _rewards(self) -> Iterator[Told]:
        for told in self._events.rewards():
            if told.verdict:
                self.counts[told.event.event, told.verdict] += 1
            else:
                yield told

    def _request(self, told: Told) -> pb.RewardRequest:
        from service.pb.lever.v1 import personalization_pb2 as pb

        event = told.event
        return pb.RewardRequest(
            decision=event.decision, metric=self._events.metric(event), value=event.value, event_id=event.id,
            after_ms=told.after_ms,
        )  # fmt: skip

    def _count(self, event: str, line: int, result: pb.RewardResult) -> None:
        from service.pb.lever.v1 import personalization_pb2 as pb

        if result.code:
            self._reject(line, event, result.message)
        else:
            self.counts[event, _said(word("Outcome", pb.Outcome.Name(result.outcome)))] += 1

    def _reject(self, line: int, event: str, why: str, cells: Sequence[str] = ()) -> None:
        from service.text.csv_cells import csv_line

        self.counts[event, "refused"] += 1
        header = "" if self._rejects.exists() else csv_line(["row", "reason", *self._events.header])
        with self._rejects.open("a", encoding="utf-8", newline="") as out:
            out.write(header + csv_line([str(line), why, *cells]))


def _said(outcome: str) -> str:
    return "counted" if outcome == "APPLIED" else outcome.lower().replace("_", " ")


def _tell(done: _Feed, unused: Mapping[str, int], rejects: Path, as_json: bool) -> None:
    counts = done.counts
    counts.update({(event, "not used"): count for event, count in unused.items()})
    events = list(dict.fromkeys(event for (event, _), count in counts.items() if count))
    outcomes = list(dict.fromkeys(outcome for (_, outcome), count in counts.items() if count))
    if as_json:
        print_json({event: {o: counts[event, o] for o in outcomes if counts[event, o]} for event in events})
    else:
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        for name in ("event", *outcomes):
            table.add_column(name, justify="left" if name == "event" else "right")
        for event in events:
            table.add_row(event, *(f"{counts[event, outcome]:,}" for outcome in outcomes))
        console().print(table)
    if rejects.exists():
        typer.echo(f"what was refused, and why: {rejects}", err=True)
