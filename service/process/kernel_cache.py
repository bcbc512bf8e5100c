"""Where things are kept that can be made again: compiled kernels, downloads."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path


def cache_dir(env: Mapping[str, str] = os.environ) -> Path:
    """LEVER_CACHE, else `lever` in the user's cache directory."""
    if env.get("LEVER_CACHE"):
        return Path(env["LEVER_CACHE"])
    return Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lever"


def unwritable(env: Mapping[str, str] = os.environ) -> str:
    """Why what is compiled cannot be kept where `use_kernel_cache` points to; "" where it can."""
    folder = Path(env["NUMBA_CACHE_DIR"])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        name = "LEVER_CACHE" if folder.parent == cache_dir(env) else "NUMBA_CACHE_DIR"
        return f"{folder}: {error.strerror}; set {name} to a folder that can be written"


def use_kernel_cache(env: MutableMapping[str, str] = os.environ) -> None:
    """Point Numba to a cache that belongs to exactly these kernels. Call it before anything imports numba.

    Numba looks only at the file a cached kernel stands in, not at the kernels it calls: after an update of some files
    it would run stale code. NUMBA_CACHE_DIR in the environment wins (an image with its kernels compiled in).
    """
    if env.get("NUMBA_CACHE_DIR"):
        return
    sources = hashlib.sha256(version("numba").encode())
    spec = find_spec("bandits")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for file in sorted(Path(folder).glob("*.py")):
            sources.update(file.name.encode() + b"\0" + file.read_bytes())
    env["NUMBA_CACHE_DIR"] = str(cache_dir(env) / f"kernels-{sources.hexdigest()[:16]}")


KEPT, UNUSED_S = 4, 86_400.0  # so many other versions' kernels are kept, and all that were used within a day


def forget_old(env: Mapping[str, str] = os.environ) -> None:
    """Remove the kernels of versions that nobody used lately, where `use_kernel_cache` chose the folder.

    Each update of the kernels leaves a folder of several MB. A process that lost its own compiles again what it still lacks.
    """
    own = Path(env["NUMBA_CACHE_DIR"])
    if own.parent != cache_dir(env) or not own.name.startswith("kernels-"):
        return
    used = {folder: folder.stat().st_mtime for folder in own.parent.glob("kernels-*") if folder != own}
    for folder in sorted(used, key=used.__getitem__, reverse=True)[KEPT:]:
        if used[folder] < time.time() - UNUSED_S:
            shutil.rmtree(folder, ignore_errors=True)


COMPLETE = "complete"  # the name of a file that is there once all kernels are


class Share:
    """Who compiles what, where several processes start over one cache at once: each kernel is compiled by one of them.

    Locks are those of the system, so that of a process that ends is free. Every method may raise OSError.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):  # an image's cannot be written
            os.utime(folder)  # so that `forget_old` knows what is used

    @contextmanager
    def mine(self, part: str) -> Iterator[bool]:
        """Whether nobody else has this part in hand; while the block lasts nobody will."""
        with (self._folder / f"{part}.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def done(self, kernel: str) -> None:
        """A kernel is in the cache."""
        (self._folder / f"{kernel}.done").touch()

    def has(self, kernel: str) -> bool:
        """Whether a kernel is in the cache."""
        return (self._folder / f"{kernel}.done").exists()

    @property
    def complete(self) -> bool:
        """Nothing is left to compile."""
        return (self._folder / COMPLETE).exists()

    def end(self) -> None:
        """Everything is in the cache."""
        (self._folder / COMPLETE).touch()
