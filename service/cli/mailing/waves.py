"""A mailing in waves: a random share now, the rest when what it earned is known."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import typer

_WAVE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*%\s*,\s*(\S+)")


class Planned(NamedTuple):
    """One wave: its share of the list as a range within [0, 1], its file, and what it waits for."""

    low: float
    high: float
    out: Path
    after: Path | None = None  # the file of the wave before,
    wait_s: float = 0.0  # and how old it must be

    @property
    def done(self) -> bool:
        """Whether everybody in it has a choice."""
        return self.out.exists()

    def due_s(self) -> float:
        """Seconds until it may begin; below 0 it may."""
        return -1.0 if self.after is None else self.after.stat().st_mtime + self.wait_s - time.time()


def plan(waves: Sequence[str], out: Path) -> list[Planned]:
    """The waves of `10%,2h`: a tenth, and two hours later the next wave, or all the others. typer.BadParameter."""
    from service.text.fields import duration_ms

    if not waves:
        return [Planned(0.0, 1.0, out)]
    low, after, wait_s, made = 0.0, None, 0.0, list[Planned]()
    for number, given in enumerate(waves, 1):
        match = _WAVE.fullmatch(given)
        wait_ms = duration_ms(match[2]) if match else None
        if match is None or wait_ms is None:
            raise typer.BadParameter(f"{given!r} is not such as 10%,2h", param_hint="--wave")
        high = low + float(match[1]) / 100
        if not low < high < 1.0:
            raise typer.BadParameter(
                "each takes a share, and together they leave some for the last", param_hint="--wave"
            )
        made.append(Planned(low, high, _numbered(out, number), after, wait_s))
        low, after, wait_s = high, made[-1].out, wait_ms / 1000
    return [*made, Planned(low, 1.0, _numbered(out, len(waves) + 1), after, wait_s)]


def await_turn(wave: Planned) -> None:
    """Return when it may begin."""
    left = wave.due_s()
    if left > 0:
        at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time.time() + left))
        typer.echo(f"the next wave begins at {at}; stopped meanwhile, the same command goes on", err=True)
    while (left := wave.due_s()) > 0:
        time.sleep(min(left, 60.0))


def _numbered(out: Path, number: int) -> Path:
    return out.with_name(f"{out.stem}.wave-{number}{out.suffix}")
