"""Several processes that start over one cache compile each kernel once, and what one left undone another does."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from bandits._jit import Kernel
from service.process.kernel_cache import Share
from service.server import kernels

PARTS = {"a": 1, "b": 3, "c": 2, "d": 1}
TOTAL = sum(PARTS.values())
HOLD = """
import sys, time
from pathlib import Path
from service.process.kernel_cache import Share
with Share(Path(sys.argv[1])).mine("a") as mine:
    print(mine, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Counter[str]:
    """Parts of kernels that take a moment, in an empty cache: how often each was compiled."""
    counts: Counter[str] = Counter()

    def ready(name: str) -> None:
        kept = tmp_path / name
        if not kept.exists():
            time.sleep(0.005)
            counts[name] += 1
            kept.touch()

    parts = {
        part: [Kernel(part, f"{part}{i}", lambda name=f"{part}{i}": ready(name)) for i in range(size)]  # type: ignore[misc]
        for part, size in PARTS.items()
    }
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kernels"))
    monkeypatch.setattr(kernels, "kernels", lambda: parts)
    monkeypatch.setattr(kernels, "warm", lambda: None)
    return counts


def test_each_kernel_is_compiled_by_one_of_those_who_start(compiled: Counter[str]) -> None:
    told: list[list[tuple[int, int]]] = [[] for _ in range(4)]

    def start(number: int) -> None:
        kernels.prepare(lambda count, total: told[number].append((count, total)))

    threads = [threading.Thread(target=start, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(compiled.values()) == {1}
    assert len(compiled) == TOTAL
    for heard in told:
        assert heard == sorted(heard)
        assert all(total == TOTAL for _, total in heard)
        assert heard[-1] == (TOTAL, TOTAL)
    later: list[int] = []
    kernels.prepare(lambda count, _: later.append(count))
    assert (later, set(compiled.values())) == ([], {1})


def test_what_a_killed_process_had_in_hand_is_taken_over(compiled: Counter[str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "kernels")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        with Share(tmp_path / "kernels").mine("a") as mine:
            assert not mine
        thread = threading.Thread(target=kernels.prepare, args=(lambda *_: None,))
        thread.start()
        holder.kill()
        thread.join(60)
        assert not thread.is_alive()
    assert compiled == {f"{part}{i}": 1 for part, size in PARTS.items() for i in range(size)}


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_sharing(
    compiled: Counter[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "kernels"))
    kernels.prepare(lambda *_: pytest.fail("there is nothing to share"))
    assert not compiled
