"""`lever exclude`: data taken back, and given back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.connection import LOCAL, TIMEOUT_S, AsJson, Server, connect, print_json
from service.cli.experiments import Name, moment
from service.remote.plain import plain

if TYPE_CHECKING:
    from service.pb.lever.v1.experiment_pb2 import Exclusion

_AWAIT_S = 120.0  # the log is read again from the first moment on


def exclude(
    experiment: Name,
    first: Annotated[
        str, typer.Option("--from", metavar="TIME", help="First moment: 2026-11-20T14:00, UTC if not said otherwise.")
    ] = "",
    last: Annotated[str, typer.Option("--to", metavar="TIME", help="First moment after it; now, if not given.")] = "",
    arm: Annotated[list[str] | None, typer.Option(help="An arm, may be repeated; all, if not given.")] = None,
    undo: Annotated[int | None, typer.Option(min=1, help="Number of an exclusion to take back.")] = None,
    server: Server = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Let the decisions of a time no longer count, with all that they earned or will earn; or take that back with --undo.

    They are left out of learning, reports, lift and timelines, exactly as if they had never been; choices show it at once. The
    log keeps them, and so does `lever history` who excluded what. Without options, list what is excluded.
    """
    from service.pb.lever.v1.experiment_pb2 import ExcludeRequest, GetReportRequest, IncludeRequest

    if undo and (first or last or arm):
        raise _wrong("--undo", "takes no other options")
    if not first and (last or arm):
        raise _wrong("--from", "must be given")
    with connect(server) as client:
        if undo:
            request = IncludeRequest(name=experiment, number=undo)
            _tell(client.experiments.Include(request, timeout=_AWAIT_S).exclusion, "counts again", as_json)
        elif first:
            until = _ms(last, "--to") if last else round(dt.datetime.now(dt.UTC).timestamp() * 1000)
            asked = ExcludeRequest(name=experiment, arms=arm or [], from_ms=_ms(first, "--from"), to_ms=until)
            _tell(client.experiments.Exclude(asked, timeout=_AWAIT_S).exclusion, "no longer counts", as_json)
        else:
            report = client.experiments.GetReport(GetReportRequest(name=experiment), timeout=TIMEOUT_S)
            _list(report.exclusions, as_json)


def _ms(text: str, option: str) -> int:
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        raise _wrong(option, f"{text!r} is no time like 2026-11-20T14:00") from None
    return round((time if time.tzinfo else time.replace(tzinfo=dt.UTC)).timestamp() * 1000)


def _wrong(option: str, why: str) -> typer.Exit:
    typer.echo(f"error: {option}: {why}", err=True)
    return typer.Exit(2)


def _tell(one: Exclusion, what: str, as_json: bool) -> None:
    if as_json:
        print_json(plain(one))
    else:
        typer.echo(f"{what}: {in_words(one)}")


def _list(exclusions: Sequence[Exclusion], as_json: bool) -> None:
    if as_json:
        print_json([plain(one) for one in exclusions])
    else:
        typer.echo("\n".join(map(in_words, exclusions)) or "Nothing is excluded.")


def in_words(one: Exclusion) -> str:
    """An exclusion in a line."""
    of = ", ".join(one.arms) or "all arms"
    return f"exclusion {one.number}, {one.trials:,} trials of {of} from {moment(one.from_ms)} to {moment(one.to_ms)}"
