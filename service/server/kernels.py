"""The first start of a version: its kernels are compiled once, by all processes that start, side by side.

Each takes a module that nobody has in hand; what the others compiled it loads from the cache. `python -m service.server.kernels`
does the same ahead of any start, with a progress bar.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from rich.console import Console
from rich.progress import Progress

from bandits.warmup import kernels, warm
from service.process.kernel_cache import Share, use_kernel_cache

LOOK_S = 0.05  # how often a process looks whether another one is done
HELPERS = 3  # beside this process, at most: there are two halves, and one of them is a single module

Tell = Callable[[int, int], None]  # (kernels that are ready, all kernels)


def prepare(tell: Tell) -> None:
    """Every kernel is loaded, compiled first where that was not done. `tell` hears how far it is, while there is something to do."""
    with _no_collection():
        share = _share()
        if share is not None:
            try:
                _compile(share, tell)
            except OSError as error:  # a full disk: then each process compiles for itself
                structlog.get_logger("lever.kernels").warning("compiled kernels are not kept", error=str(error))
        warm()


@contextmanager
def _no_collection() -> Iterator[None]:
    """A compiler makes millions of objects, nearly all of which live until it is through: to look for garbage is a tenth of it."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def told(count: int, total: int) -> str:
    """How far it is, for people."""
    return f"compiling kernels, once: {count} of {total}"


def _share() -> Share | None:
    try:
        share = Share(Path(os.environ["NUMBA_CACHE_DIR"]))
    except (KeyError, OSError):
        return None
    return None if share.complete else share


def _compile(share: Share, tell: Tell) -> None:
    parts = kernels()
    left, total = list(parts), sum(map(len, parts.values()))
    while left:
        for part in tuple(left):
            with share.mine(part) as mine:
                if not mine:
                    continue
                for kernel in parts[part]:  # compiled here, or loaded where another process is through with them
                    kernel.ready()
                    share.done(f"{part}.{kernel.name}")
                    tell(share.count, total)
                left.remove(part)
        if left:
            tell(share.count, total)
            time.sleep(LOOK_S)
    share.end()


def main() -> int:
    """Compile what is not there yet, in as many processes as there are cores for it."""
    use_kernel_cache()
    if "--beside" in sys.argv:
        prepare(lambda *_: None)
        return 0
    if _share() is None:
        return 0
    others = min(len(os.sched_getaffinity(0)) - 1, HELPERS)
    command = [sys.executable, "-m", "service.server.kernels", "--beside"]
    helpers = [subprocess.Popen(command) for _ in range(others)]
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("compiling kernels, once", total=None)
        prepare(lambda count, total: bar.update(task, completed=count, total=total))
    return max((helper.wait() for helper in helpers), default=0)


if __name__ == "__main__":
    sys.exit(main())
