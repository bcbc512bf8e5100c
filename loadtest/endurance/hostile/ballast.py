"""A process that does no harm and takes as much CPU as an attacker did: `python -m loadtest.endurance.hostile.ballast SHARE`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

PERIOD_S = 0.02  # within which it works and rests


def children_cpu_s() -> float:
    """CPU seconds of the children of this process that ended and were waited for."""
    times = os.times()
    return times.children_user + times.children_system


@contextmanager
def ballast(share: float) -> Iterator[None]:
    """It runs for as long as the block, and takes this share of one core."""
    command = [sys.executable, "-m", "loadtest.endurance.hostile.ballast", f"{share:.3f}"]
    with subprocess.Popen(command, start_new_session=True) as process:  # as the attacker is
        try:
            yield
        finally:
            process.kill()


def burn(share: float) -> None:
    """Until it is killed."""
    debt = 0.0  # CPU seconds that it should have taken by now and has not
    while True:
        begun, used = time.monotonic(), time.process_time()
        debt += PERIOD_S * share
        while time.process_time() - used < debt:
            pass
        debt -= time.process_time() - used
        time.sleep(max(0.0, PERIOD_S - (time.monotonic() - begun)))


if __name__ == "__main__":
    burn(float(sys.argv[1]))
