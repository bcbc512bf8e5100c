"""Who goes first where cores are short: choices, before all that can wait a few milliseconds."""

from __future__ import annotations

import os
import sys

# Of a core that both want, a thread gets about a thirtieth beside one that makes choices.
_NICE = 15


def give_way() -> None:
    """Let the calling thread stand back behind those of choices; for good. Where a thread has no niceness, nothing.

    A thread that flushes or folds holds the interpreter for moments only, but woken by the kernel it would take the
    core from the thread that chooses, and with it some milliseconds.
    """
    if sys.platform == "linux":  # elsewhere it would be the whole process
        os.nice(_NICE)
