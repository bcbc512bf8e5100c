"""Several processes that start over one cache compile each kernel once, and what one left undone another does."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from bandits._jit import Kernel, waits
from service.process import kernel_cache
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
    monkeypatch.setattr(kernels, "kernels", lambda: parts | {"z": [Kernel("z", "z0", lambda: ready("z0"))]})
    monkeypatch.setattr(kernels, "kernels_of_choices", lambda: parts)
    monkeypatch.setattr(kernels, "warm", lambda: None)
    monkeypatch.setattr(kernels, "warm_choices", lambda: None)
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
    assert (set(later), set(compiled.values())) == ({TOTAL}, {1})
    kernels._compile_all(lambda *_: None)
    assert compiled["z0"] == 1
    later.clear()
    kernels.prepare(lambda count, _: later.append(count))
    assert (later, set(compiled.values())) == ([], {1})


BEHIND = """
import sys, time
from pathlib import Path
from service.process.kernel_cache import Share
share = Share(Path(sys.argv[1]))
time.sleep(0.1)
share.done("z.z0")
(Path(sys.argv[1]).parent / "z0").touch()
share.end() if sys.argv[2] == "well" else sys.exit(1)
"""


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_what_choices_do_not_need_is_compiled_behind_and_who_calls_it_waits(
    compiled: Counter[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ends: str
) -> None:
    monkeypatch.setattr(kernels, "COMMAND", (sys.executable, "-c", BEHIND, str(tmp_path / "kernels"), ends))
    monkeypatch.setattr(kernels, "give_way", lambda: None)  # it is for good
    kernels.prepare(lambda *_: None)
    assert "z0" not in compiled
    kernels.finish()
    (wait,) = waits
    (thread,) = [one for one in threading.enumerate() if one.name == "lever-kernels"]
    free = True
    while free and thread.is_alive():  # until another process is at it
        with Share(tmp_path / "kernels").mine(kernels.BEHIND) as free:
            pass
    wait("z", "z0")
    assert (tmp_path / "z0").exists()
    thread.join(60)
    assert "z0" not in compiled
    assert not waits


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


def test_kernels_of_versions_that_nobody_used_lately_are_removed(tmp_path: Path) -> None:
    now, own = time.time(), tmp_path / "kernels-own"
    for name, days in {"own": 90, "new": 0.1, **{f"{n}": n for n in range(2, 9)}}.items():
        Share(tmp_path / f"kernels-{name}").done("a.a0")
        os.utime(tmp_path / f"kernels-{name}", (now - 86_400 * days,) * 2)
    (tmp_path / "valkey").mkdir()
    env = {"LEVER_CACHE": str(tmp_path), "NUMBA_CACHE_DIR": str(own)}
    kernel_cache.forget_old(env | {"LEVER_CACHE": "/elsewhere"})
    kernel_cache.forget_old(env | {"NUMBA_CACHE_DIR": str(tmp_path / "valkey")})
    assert len(list(tmp_path.iterdir())) == 10
    kernel_cache.forget_old(env)
    left = {path.name.removeprefix("kernels-") for path in tmp_path.iterdir()}
    assert left == {"own", "new", "2", "3", "4", "valkey"}
    for name in ("5", "6"):
        Share(tmp_path / f"kernels-{name}")  # used today
    kernel_cache.forget_old(env)
    assert {path.name.removeprefix("kernels-") for path in tmp_path.iterdir()} == {
        "own",
        "new",
        "5",
        "6",
        "2",
        "valkey",
    }
    Share(own)
    assert own.stat().st_mtime > now - 1
