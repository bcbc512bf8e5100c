"""What a terminal shows while something takes its time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

TIMEOUT_S = 660.0  # a server reads its whole log

Progress = Callable[[float], None]


@contextmanager
def bar(what: str) -> Iterator[Progress]:
    """A progress bar on stderr for work that tells its share."""
    with _progress() as shown:
        task = shown.add_task(what, total=1.0)
        yield lambda share: shown.update(task, completed=share)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A bar that only shows that something goes on: a server does not tell its share."""
    with _progress() as shown:
        shown.add_task(what, total=None)
        yield


def _progress() -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    screen = Console(stderr=True)
    return Bar(*columns, console=screen, transient=True, disable=not screen.is_terminal)
