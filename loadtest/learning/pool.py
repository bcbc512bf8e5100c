"""Runs in several processes, one thread each, so that all policies meet the same machine."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

from loadtest.learning.runs import Run, Task, perform
from loadtest.rig import report

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Workers that start meanwhile leave the cores to one another."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _follow_parent() -> None:
    """End this worker with its parent, also where that was killed: a pool's workers would wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="follow-parent", daemon=True).start()


def perform_all(wanted: Sequence[Task], processes: int, out: Console) -> list[Run]:
    """Run the tasks in so many processes (1: here); runs in the order of the tasks."""
    made: dict[int, Run] = {}
    with _one_thread_each(), report.progress(out) as bar:
        progress = bar.add_task("runs", total=len(wanted))
        if processes == 1:
            for i, task in enumerate(wanted):
                made[i] = perform(task)
                bar.advance(progress)
                _complain(made[i], bar)
            return [made[i] for i in range(len(wanted))]
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=context, initializer=_follow_parent) as pool:
            futures = {pool.submit(perform, task): i for i, task in enumerate(wanted)}
            for future in as_completed(futures):
                made[futures[future]] = run = future.result()
                bar.advance(progress)
                _complain(run, bar)
    return [made[i] for i in range(len(wanted))]


def _complain(run: Run, bar: Progress) -> None:
    if run.error:
        bar.console.print(f"{run.problem}, {run.policy}, seed {run.seed}: {run.error}", markup=False)
