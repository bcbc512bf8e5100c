"""Who goes first where cores are short: choices, before all that can wait a few milliseconds."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

# Of a core that both want, a thread gets a quarter beside one that makes choices. Not less: it may hold the interpreter,
# and then choices wait for as long as it gets no core. Where grpc's threads took both, at nice 15 that was 0.1 s.
_NICE = 5
_NICE_APART = 15  # nobody waits for another process's interpreter: a thirtieth


def give_way() -> None:
    """Let the calling thread stand back behind those of choices; for good. Where a thread has no niceness, nothing.

    A thread that flushes or folds holds the interpreter for moments only, but woken by the kernel it would take the
    core from the thread that chooses, and with it some milliseconds. One of SCHED_BATCH takes it from nobody.
    """
    if sys.platform == "linux":  # elsewhere it would be the whole process
        os.nice(_NICE)
        with suppress(OSError):  # a sandbox that does not know it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def stand_behind() -> None:
    """Let the calling process, which serves nobody, stand back behind all those that serve."""
    os.nice(_NICE_APART)
