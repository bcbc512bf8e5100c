"""What the system says of a process: its CPU, its memory, its children; and which core it may use."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
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


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, its threads' too, those that ended included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def children(pid: int, word: str) -> list[int]:
    """Processes that `pid` started and whose command has `word` in it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and word in (entry / "cmdline").read_text():
                found.append(int(entry.name))
    return sorted(found)


def settled(read: Callable[[], int], seconds: float = 10.0, quiet: float = 1.5) -> int:
    """A counter's value once it has stood still for `quiet` seconds."""
    value, since, until = read(), time.monotonic(), time.monotonic() + seconds
    while time.monotonic() - since < quiet and time.monotonic() < until:
        time.sleep(0.1)
        now = read()
        if now != value:
            value, since = now, time.monotonic()
    return value


def median(values: Iterable[float]) -> float:
    """The median; nan of nothing."""
    given = list(values)
    return statistics.median(given) if given else float("nan")


def quantile(values: Sequence[float], q: float) -> float:
    """The value below which a share q lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("nan")
