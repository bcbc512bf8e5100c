"""What the system says of a process: its CPU, memory, descriptors, children; and which core it may use."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


def cores() -> tuple[int, int]:
    """(the core of what is measured, the core of everything else). RuntimeError on a machine with one."""
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) < 2:
        message = "two cores are needed: one for the server, one for those who call it"
        raise RuntimeError(message)
    return mine[-1], mine[0]


def pin(pid: int, core: int) -> None:
    """Let every thread of a process run on one core only. Threads made later inherit it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), {core})


def stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the state on (proc_pid_stat(5), number 3). OSError where there is no such process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def command(pid: int) -> str:
    """The command line, its words separated by spaces. OSError."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def alive(pid: int) -> bool:
    """Whether it runs; one that ended and was not waited for does not."""
    try:
        return stat(pid)[0] != "Z"
    except OSError:
        return False


def children(pid: int, word: str = "") -> list[int]:
    """Running processes that `pid` started and whose command has `word` in it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = stat(child := int(entry.name))[:2]
            if int(parent) == pid and state != "Z" and word in command(child):
                found.append(child)
    return sorted(found)


def cpu_s(*pids: int) -> float:
    """CPU seconds of these processes so far, their threads' too, those that ended included."""
    return sum(int(ticks) for pid in pids for ticks in stat(pid)[11:13]) * TICK_S


def resident_mb(*pids: int) -> float:
    """Resident memory of all these processes, MB."""
    return sum(int(stat(pid)[21]) for pid in pids) * os.sysconf("SC_PAGE_SIZE") / 2**20


def proportional_mb(*pids: int) -> float:
    """Memory of all these processes, MB; a page that n processes have in common counts as an n-th of each (PSS)."""
    rolled = [Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() for pid in pids]
    return sum(int(line.split()[1]) for lines in rolled for line in lines if line.startswith("Pss:")) / 1024


def descriptors(*pids: int) -> int:
    """Open descriptors of all these processes."""
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)  # noqa: PTH208  # only counted


def settled(read: Callable[[], int], seconds: float = 10.0, quiet: float = 1.5) -> int:
    """A counter's value once it has stood still for `quiet` seconds."""
    value, since, until = read(), time.monotonic(), time.monotonic() + seconds
    while time.monotonic() - since < quiet and time.monotonic() < until:
        time.sleep(0.1)
        now = read()
        if now != value:
            value, since = now, time.monotonic()
    return value
