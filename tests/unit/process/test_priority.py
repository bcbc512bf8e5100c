"""A thread that stands back: by itself, and no further than one may that can hold the interpreter."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from service.process.priority import give_way

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
