"""Where the secrets come from: given, or made once and kept in the data directory or the store."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from service.service import Secrets

BYTES = 32


def find(token_keys: tuple[bytes, ...], data_dir: Path | None, shared: Callable[[str, bytes], bytes]) -> Secrets:
    """Token keys, given or made; and the key that subjects are hashed with, made once for ever.

    With a `data_dir` (the embedded store's) they are kept in its files; else in the store by `shared(name, proposal)`,
    so that all servers of one store agree. Raises UnavailableError, OSError.
    """

    def kept(name: str) -> bytes:
        return in_file(data_dir / f"{name}.key") if data_dir is not None else shared(name, secrets.token_bytes(BYTES))

    return Secrets(token_keys or (kept("token"),), kept("subject"))


def in_file(path: Path) -> bytes:
    """The key in the file, mode 600. If there is none yet, one is made; of several who try, one makes it."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Written whole beside it, then linked: nobody ever reads a part of a key.
    staged = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(BYTES))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(staged, path)
    except FileExistsError:
        pass
    finally:
        staged.unlink()
    return path.read_bytes()
