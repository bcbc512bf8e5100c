"""`lever demo`: a server with a shop that uses it, to look at."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.connection import TIMEOUT_S, console, open_channel
from service.cli.tables.waiting import bar

if TYPE_CHECKING:
    from rich.table import Table

    from service.demo.server import Server
    from service.demo.shop import Shop
    from service.pb.lever.v1.experiment_pb2 import GetReportResponse
    from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub

_TURN_S = 0.25
_READ_S = 60.0
_SHOWN_S = 2.0  # between two tables on a terminal,
_TOLD_S = 10.0  # and between two lines elsewhere


def demo(
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep the data in this folder; without it they go when the demo ends.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=90, help="Days of visitors that the shop begins with.")] = 14,
    seconds: Annotated[float | None, typer.Option(min=0, help="Close the shop after so many seconds.")] = None,
) -> None:
    """Look at Lever at work: a server with three experiments of a simulated shop, weeks of visitors, and more who come now.

    A homepage for three kinds of visitors, the subject line of a letter, an offer judged by its revenue. Halfway through
    its past, for the first minute and a half, and later for ten minutes of every half hour the homepage's tag is broken: see what becomes of that.
    Everything is real but the visitors. Ctrl-C ends it.
    """
    from service.errors import LeverError

    try:
        with _folder(data_dir) as folder, _ended_by_signals():
            _run(folder, days, seconds)
    except KeyboardInterrupt:
        typer.echo("The shop is closed.")
    except (LeverError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="lever-demo-", ignore_cleanup_errors=True) as made:
        yield Path(made)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(folder: Path, days: int, seconds: float | None) -> None:
    from service import logs
    from service.demo.past import begin
    from service.demo.server import Server
    from service.demo.shop import Shop
    from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub

    typer.echo(f"Lever starts in {folder} (a very first start compiles its kernels first).")
    with Server(folder) as server:
        with bar(f"{days} days of visitors") as progress:
            logs.configure("error")  # what was found in the past is in the reports
            begin(folder, days, progress)
        with open_channel(server.grpc) as channel:
            experiments = ExperimentServiceStub(channel)
            _await(experiments)
            typer.echo(f"The shop is open: http://{server.http}/ shows it, and so does")
            typer.echo(f"  lever report homepage-hero --server {server.grpc}")
            typer.echo("Ctrl-C closes it.")
            _open(server, Shop(channel), experiments, seconds)
        typer.echo("The shop is closed.")


def _await(experiments: ExperimentServiceStub) -> None:
    """Return once the server has read its past."""
    from service.demo.world import WORLDS
    from service.errors import UnavailableError
    from service.pb.lever.v1.experiment_pb2 import ListExperimentsRequest

    until = time.monotonic() + _READ_S
    while time.monotonic() < until:
        listed = experiments.ListExperiments(ListExperimentsRequest(), timeout=TIMEOUT_S).experiments
        if {world.name for world in WORLDS} <= {one.name for one in listed}:
            return
        time.sleep(_TURN_S)
    raise UnavailableError("the server has not read what it was given")


def _open(server: Server, shop: Shop, experiments: ExperimentServiceStub, seconds: float | None) -> None:
    """Let visitors come until it is time, or somebody ends it."""
    import grpc
    from rich.live import Live

    from service.errors import UnavailableError

    screen = console()
    begun, told = time.monotonic(), 0.0
    try:
        with Live(console=screen, auto_refresh=False, transient=False) as live:
            while server.alive and (seconds is None or time.monotonic() - begun < seconds):
                open_s = time.monotonic() - begun
                shop.turn(open_s)
                if open_s >= told:
                    table = _table(shop, _reports(experiments), open_s)
                    if screen.is_terminal:
                        live.update(table, refresh=True)
                    else:
                        screen.print(table)
                    told = open_s + (_SHOWN_S if screen.is_terminal else _TOLD_S)
                time.sleep(_TURN_S)
    except grpc.RpcError as error:
        raise UnavailableError(f"the server does not answer any more: {error.details()}") from None
    if not server.alive:
        raise UnavailableError(f"the server has ended; {server.log} says why")


def _reports(experiments: ExperimentServiceStub) -> list[GetReportResponse]:
    from service.demo.world import WORLDS
    from service.pb.lever.v1.experiment_pb2 import GetReportRequest

    return [experiments.GetReport(GetReportRequest(name=world.name), timeout=TIMEOUT_S) for world in WORLDS]


def _table(shop: Shop, reports: list[GetReportResponse], open_s: float) -> Table:
    """One row an experiment and segment, with the arm that leads; how many came is said above."""
    from rich.table import Table

    came = f"{shop.choices.total():,} choices and {shop.rewards.total():,} rewards"
    tag = "; the homepage's tag is broken" if shop.broken else ""
    title = f"in {open_s:,.0f} s {came}{tag}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("experiment", "segment", "best arm", "P(best)", "trials"):
        table.add_column(heading, justify="right" if heading in {"P(best)", "trials"} else "left", overflow="fold")
    table.add_column("", overflow="fold")
    for report in reports:
        for segment in report.segments:
            best = max(segment.arms, key=lambda arm: arm.probability_best)
            trials = sum(arm.trials for arm in segment.arms)
            said = "outage: next to nothing is earned" if segment.HasField("outage") else ""
            chance = "too early" if segment.too_early else f"{best.probability_best:.1%}"
            leader = "" if segment.too_early else best.arm
            table.add_row(report.name, segment.segment, leader, chance, f"{trials:,}", said)
    return table
