"""The first start of a version: its kernels are compiled once, by all processes that start, side by side.

Each takes a module that nobody has in hand; what the others compiled it loads from the cache. A process serves once
the kernels of choices are there. Those that learn, review and report are compiled behind it, by a process that
stands back behind all others: who calls one sooner waits for it. `python -m service.server.kernels` compiles all ahead
of any start, with a progress bar.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import structlog
from rich.console import Console
from rich.progress import Progress

from bandits.warmup import Kernel, kernels, kernels_of_choices, waits, warm, warm_choices
from service.process.child import die_with
from service.process.kernel_cache import Share, forget_old, use_kernel_cache
from service.process.priority import give_way, stand_behind

LOOK_S = 0.05  # how often a process looks whether another one is done
BEHIND = "behind"  # what a process has in hand that compiles behind those who serve
COMMAND = (sys.executable, "-m", "service.server.kernels")
HELPERS = 3  # beside this process, at most: there are two halves, and one of them is a single module

Tell = Callable[[int, int], None]  # (kernels that are ready, all kernels)


def prepare(tell: Tell) -> None:
    """The kernels of choices are loaded, compiled first where that was not done, and with them all that are in the cache.

    `tell` hears how far it is, while there is something to do.
    """
    with _no_collection():
        share = _share()
        if share is None:
            warm()
            return
        try:
            _compile(share, kernels_of_choices(), tell)
        except OSError as error:  # a full disk: then each process compiles for itself
            structlog.get_logger("lever.kernels").warning("compiled kernels are not kept", error=str(error))
        warm_choices()


def finish() -> None:
    """Have what `prepare` left compiled behind this process, which serves already, and load it as it comes."""
    share = _share()
    if share is not None:
        waits.append(partial(_wait, share))
        threading.Thread(target=_finish, args=(share,), name="lever-kernels", daemon=True).start()


def _finish(share: Share) -> None:
    give_way()
    try:
        while not share.complete:
            with share.mine(BEHIND) as mine:
                if mine and not share.complete:
                    _run_behind()
                    if not share.complete:
                        break  # it failed: then they are compiled here
            time.sleep(LOOK_S)
    except OSError as error:
        structlog.get_logger("lever.kernels").warning("compiled kernels are not kept", error=str(error))
    waits.clear()
    for found in kernels().values():
        for kernel in found:
            kernel.ready()


def _run_behind() -> None:
    """Compile what is left in a process that ends with this one; stdout is the line to the supervisor, so not for others."""
    nowhere = subprocess.DEVNULL
    command = [*COMMAND, "--behind", str(os.getpid())]
    subprocess.run(command, check=False, stdin=nowhere, stdout=nowhere, start_new_session=True)


def _wait(share: Share, module: str, name: str) -> None:
    """Until a kernel is in the cache, or nobody is compiling what is left."""
    with suppress(OSError):
        while not share.has(f"{module}.{name}"):
            with share.mine(BEHIND) as free:
                if free:
                    return
            time.sleep(LOOK_S)


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


def named(kernel: Kernel) -> str:
    """Its name in the cache."""
    return f"{kernel.module}.{kernel.name}"


def _compile(share: Share, parts: dict[str, list[Kernel]], tell: Tell) -> None:
    left, names = list(parts), [named(kernel) for found in parts.values() for kernel in found]

    def count() -> None:
        tell(sum(map(share.has, names)), len(names))

    while left:
        for part in tuple(left):
            with share.mine(part) as mine:
                if not mine:
                    continue
                for kernel in parts[part]:  # compiled here, or loaded where another process is through with them
                    kernel.ready()
                    share.done(named(kernel))
                    count()
                left.remove(part)
        if left:
            count()
            time.sleep(LOOK_S)


def _compile_all(tell: Tell) -> None:
    share = _share()
    if share is not None:
        with _no_collection():
            _compile(share, kernels(), tell)
        share.end()
        with suppress(OSError):  # somebody else removes them too
            forget_old()


def main() -> int:
    """Compile what is not there yet, in as many processes as there are cores for it."""
    use_kernel_cache()
    if "--behind" in sys.argv:  # a process that serves
        die_with(int(sys.argv[-1]))
        stand_behind()
    if len(sys.argv) > 1:
        _compile_all(lambda *_: None)
        return 0
    if _share() is None:
        return 0
    others = min(len(os.sched_getaffinity(0)) - 1, HELPERS)
    helpers = [subprocess.Popen([*COMMAND, "--beside"]) for _ in range(others)]
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("compiling kernels, once", total=None)
        _compile_all(lambda count, total: bar.update(task, completed=count, total=total))
    return max((helper.wait() for helper in helpers), default=0)


if __name__ == "__main__":
    sys.exit(main())
