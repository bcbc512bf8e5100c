"""`lever verify`: proves on a live system that nothing was lost or counted twice. Exit code 1 where something is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.connection import AsJson, console, print_json
from service.cli.store.store_access import DataDir, RedisUrl, opened, uid_of

if TYPE_CHECKING:
    from service.management.verify import Verdict


def verify(
    experiment: Annotated[str | None, typer.Option("--experiment", "-e", help="Only this one.")] = None,
    since: Annotated[
        Path | None, typer.Option(help="An earlier export: prove the state from there, where the log is trimmed.")
    ] = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Replace a damaged or disputed checkpoint by the state that the log proves."),
    ] = False,
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
    as_json: AsJson = False,
) -> None:
    """Prove that every reward was counted once and that the state is what the log comes to; reads the store itself."""
    from service.management.verify import examined
    from service.management.verify import repair as settle
    from service.store.archive import unpack

    if repair and experiment is None:
        raise typer.BadParameter("needs --experiment", param_hint="--repair")
    with opened(data_dir, redis_url) as store:
        bases = {one.uid: one.state for one in unpack(since.read_bytes())} if since is not None else {}
        registry = store.poll({}).registry
        uids = [uid_of(registry, experiment)] if experiment is not None else sorted(registry.values())
        names = {uid: name for name, uid in registry.items()}
        found = []
        for uid in uids:
            finding, examination = examined(store, store, uid, bases.get(uid))
            if repair and not finding.good and examination is not None:
                at = settle(store, examination)
                typer.echo(f"{names[uid]}: the checkpoint was replaced by the proved state at {at}", err=True)
                finding, _ = examined(store, store, uid, bases.get(uid))
            finding.name = names[uid]
            found.append(finding)
    if as_json:
        import dataclasses

        print_json([dataclasses.asdict(finding) for finding in found])
    else:
        _print(found)
    raise typer.Exit(0 if all(finding.good for finding in found) else 1)


def _print(found: list[Verdict]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for column in ("experiment", "entries", "trials", "rewards", "records"):
        table.add_column(column, justify="left" if column == "experiment" else "right", no_wrap=True)
    table.add_column("proved")
    table.add_column("result")
    for one in found:
        numbers = [f"{n:,}" for n in (one.entries, one.trials, one.rewards, one.records)]
        words = "\n".join([*one.proved, *(f"but: {limit}" for limit in one.limits)])
        table.add_row(escape(one.name), *numbers, escape(words), "[green]good[/]" if one.good else "[red]WRONG[/]")
    console().print(table)
    for one in found:
        for fault in one.faults:
            typer.echo(f"error: {one.name}: {fault}", err=True)
