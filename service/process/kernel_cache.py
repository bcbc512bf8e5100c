"""Where things are kept that can be made again: compiled kernels, downloads."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping, MutableMapping
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
