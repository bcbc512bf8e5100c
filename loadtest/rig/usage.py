"""What a running server takes of its machine: resident memory and descriptors of its workers, from /proc."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def workers(parent: int) -> list[int]:
    """Process ids of the workers of the `lever serve` with this id."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if b"service.server.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def resident_mb(pids: Sequence[int]) -> float:
    """Resident memory of all these processes, MB."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def descriptors(pids: Sequence[int]) -> int:
    """Open descriptors of all these processes."""
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)  # noqa: PTH208  # only counted


def cpu_s(pids: Sequence[int]) -> float:
    """CPU time that these processes have used, seconds."""
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) / os.sysconf("SC_CLK_TCK")


def slope(seconds: Sequence[float], values: Sequence[float]) -> float:
    """Growth an hour: the median of the slopes between all pairs (Theil 1950, Sen 1968), which single jumps do not move."""
    t, v = np.asarray(seconds), np.asarray(values)
    i, j = np.triu_indices(len(t), 1)
    return float(np.median((v[j] - v[i]) / (t[j] - t[i])) * 3600.0) if len(t) > 1 else 0.0
