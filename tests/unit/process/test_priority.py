"""A thread that stands back: by itself, and no further than one may that can hold the interpreter."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from service.process.priority import give_way, let_give_way

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only there a thread has a niceness of its own")


def standing() -> tuple[int, int]:
    """Niceness and policy of the calling thread."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), os.sched_getscheduler(0)


def test_a_thread_stands_back_alone() -> None:
    before, found = standing(), []

    def patient() -> None:
        give_way()
        found.append(standing())

    thread = threading.Thread(target=patient)
    thread.start()
    thread.join()
    [(nice, policy)] = found
    # A third of the weight of others: it gets on still where they take all cores.
    assert before[0] < nice <= before[0] + 5
    assert policy == os.SCHED_BATCH
    assert standing() == before


def test_threads_of_a_library_stand_back_by_their_names() -> None:
    ends, begun = threading.Event(), threading.Barrier(3)
    ids: dict[str, int] = {}

    def waits(name: str) -> None:
        Path("/proc/self/task", str(threading.get_native_id()), "comm").write_text(name)
        ids[name] = threading.get_native_id()
        begun.wait()
        ends.wait()

    threads = [threading.Thread(target=waits, args=(name,)) for name in ("reads", "answers")]
    for thread in threads:
        thread.start()
    begun.wait()
    before = os.getpriority(os.PRIO_PROCESS, ids["answers"])
    let_give_way(("reads", "none"))
    assert os.getpriority(os.PRIO_PROCESS, ids["reads"]) > before
    assert os.getpriority(os.PRIO_PROCESS, ids["answers"]) == before
    ends.set()
    for thread in threads:
        thread.join()
