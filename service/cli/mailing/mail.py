"""`lever mail`: a choice for everyone on a list of any length."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from service.cli.connection import LOCAL, TIMEOUT_S, AsJson, Server, connect, print_json
from service.cli.mailing.waves import Planned, await_turn, plan
from service.cli.tables.csv_file import Columns, Decimal, Delimiter, Encoding, format_of, refused, split
from service.cli.tables.waiting import bar

if TYPE_CHECKING:
    from service.cli.connection import Client
    from service.cli.mailing.choosing import Choosing
    from service.cli.mailing.journal import Begun, Journal
    from service.cli.mailing.recipients import Recipients
    from service.experiment.parse import Known
    from service.text.csv_format import Format


class Exposure(enum.StrEnum):
    """When a choice of a mailing becomes a trial."""

    SENT = "sent"
    DELIVERED = "delivered"


def mail(
    experiment: Annotated[str, typer.Argument(help="Name of the experiment.")],
    given: Annotated[Path, typer.Option("--in", help="The list, CSV: the column subject, and features by name.")],
    out: Annotated[Path, typer.Option("--out", help="The choices, CSV; it appears when everybody has one.")],
    exposure: Annotated[
        Exposure, typer.Option(help="sent: all count as shown; delivered: those that `lever feed` says were.")
    ] = Exposure.SENT,
    keep: Annotated[str, typer.Option(help="Columns of the list that are copied, such as `first_name,city`.")] = "",
    wave: Annotated[
        list[str] | None,
        typer.Option(
            help="A random share first, and how long to wait for what it earns, such as `10%,2h`; again for more."
        ),
    ] = None,
    columns: Columns = "",
    delimiter: Delimiter = "",
    decimal: Decimal = "",
    encoding: Encoding = "",
    server: Server = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Choose an arm for everyone on a list, from one snapshot of what is known; each has a draw of their own.

    Stopped or killed, the same command goes on where it was, and nobody gets a second choice. Rows that are wrong are left out and
    written to OUT.rejected.csv with the reason.
    """
    waves = plan(wave or [], out)
    asked = _Asked(
        experiment, given, format_of(delimiter, decimal, columns, ""), tuple(split(keep)), encoding, exposure
    )
    if wave and all(one.done for one in waves):
        typer.echo(f"error: {waves[-1].out}: is there already", err=True)
        raise typer.Exit(1)
    for one in waves:
        if wave and one.done:
            continue
        await_turn(one)
        with connect(server) as client:
            journal, choosing = asked.run(client, one)
        _tell(journal, choosing, one.out, as_json)


@dataclass(frozen=True)
class _Asked:
    """The options."""

    experiment: str
    given: Path
    form: Format
    keep: tuple[str, ...]
    encoding: str
    exposure: Exposure

    def run(self, client: Client, wave: Planned) -> tuple[Journal, Choosing]:
        """Choose for all that are in a wave; what is wrong ends the command with exit code 1."""
        from service.cli.mailing.recipients import Recipients, Wave
        from service.errors import InvalidError
        from service.experiment.parse import known
        from service.pb.lever.v1.experiment_pb2 import GetExperimentRequest
        from service.text.encoding import text_file

        found = client.experiments.GetExperiment(GetExperimentRequest(name=self.experiment), timeout=TIMEOUT_S)
        try:
            spec = known(found.experiment.config)
            with text_file(self.given, self.encoding, "say which encoding it has, such as --encoding cp1252") as file:
                part = Wave(wave.low, wave.high)
                recipients = Recipients(file, self.form, spec.features, self.experiment, self.keep, part)
                return self._choose(client, spec, recipients, file, wave.out)
        except InvalidError as error:
            raise refused(self.given, error) from None

    def _choose(
        self, client: Client, spec: Known, recipients: Recipients, file: TextIO, out: Path
    ) -> tuple[Journal, Choosing]:
        from itertools import chain

        from service.cli.mailing.choosing import Choosing, flat
        from service.cli.mailing.journal import Journal
        from service.errors import InvalidError

        portions = iter(recipients)
        first = next(portions)
        for name in recipients.absent:
            typer.echo(f"warning: {name}: the list has no such column, so it is missing for everybody", err=True)
        if recipients.unread:
            typer.echo(f"not read: {', '.join(recipients.unread)}", err=True)
        payload = list(dict.fromkeys(key for arm in spec.arms for key in flat(arm.payload)))
        begun = self._begun(recipients, payload)
        try:
            opened = Journal(out, begun)
        except InvalidError as error:
            raise refused(out, error) from None
        with opened as journal, _progress(file) as progress:
            choosing = Choosing(client, journal, self.experiment, payload, self.exposure is Exposure.SENT)
            if journal.last.rows:
                typer.echo(f"going on after row {journal.last.rows + 1:,}", err=True)
            try:
                choosing.run(chain([first], portions), progress)
            except BaseException:
                typer.echo(
                    f"stopped after row {journal.last.rows + 1:,}; the same command goes on from there", err=True
                )
                raise
            journal.finish()
        return journal, choosing

    def _begun(self, recipients: Recipients, payload: list[str]) -> Begun:
        from service.cli.mailing.choosing import OWN
        from service.cli.mailing.journal import Begun
        from service.errors import InvalidError

        own = [*recipients.copied, *OWN]
        named = [*own, *(f"payload_{key}" if key in own else key for key in payload)]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            said = "is what the choices call something else: rename it or leave it out"
            raise InvalidError.field(f"column {twice[0]}", said)
        return Begun(self.experiment, self.exposure, named, recipients.header, recipients.wave)


@contextmanager
def _progress(file: TextIO) -> Iterator[Callable[[], None]]:
    """A bar that follows the reading of the file."""
    size = max(os.fstat(file.fileno()).st_size, 1)
    with bar("choosing") as show:
        yield lambda: show(os.lseek(file.fileno(), 0, os.SEEK_CUR) / size)


def _tell(journal: Journal, choosing: Choosing, out: Path, as_json: bool) -> None:
    last = journal.last
    chosen = sum(last.arms.values())
    if choosing.changed:
        said = "the experiment was changed meanwhile, and later choices are from another snapshot than earlier ones"
        typer.echo(f"warning: {said}", err=True)
    if last.reasons.get("inactive"):
        typer.echo(
            "warning: the experiment does not choose now: everybody was given the same, and nothing counts", err=True
        )
    if as_json:
        print_json({"choices": chosen, "rejected": last.rejected, "arms": last.arms, "reasons": last.reasons})
        return
    typer.echo(f"{chosen:,} choices in {out}")
    for arm, count in sorted(last.arms.items(), key=lambda one: -one[1]):
        typer.echo(f"  {arm:<24} {count:>12,}  {count / chosen:6.1%}")
    if last.rejected:
        typer.echo(f"{last.rejected:,} rows left out: {journal.rejects}")
