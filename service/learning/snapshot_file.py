"""The snapshot file: what a server learned last, kept beside it, so that it can serve before the store is back."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

import structlog

from service.errors import CorruptError
from service.learning.replica import Replica
from service.store.archive import Archived, pack, unpack
from service.store.contract import Loaded

EVERY_S = 3.0
SHARE = 50  # writing takes at most one part in so many of the time


def mark(url: str) -> str:
    """What tells the files of one store from those of another in a shared directory; "" is the embedded store."""
    return hashlib.blake2b(url.encode(), digest_size=6).hexdigest() if url else "embedded"


class SnapshotFile:
    """One file, replaced whole. Used by one thread. Without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._kept: dict[str, tuple[str, Archived]] = {}  # uid to what was written of it and the id it was at
        self._due = 0.0
        self._log = structlog.get_logger("lever.snapshot_file")

    def load(self) -> list[Replica]:
        """The experiments as they were; none if there is no file, or one that does not prove itself."""
        try:
            kept = unpack(self._path.read_bytes()) if self._path is not None else []
            return [Replica(one.uid, Loaded(one.record, one.state)) for one in kept]
        except FileNotFoundError:
            return []
        except (OSError, CorruptError) as error:
            self._log.error("the snapshot file is no use", error=str(error))
            return []

    def save(self, replicas: Iterable[Replica], *, now: bool = False) -> None:
        """Write what changed, if it is time to, or `now`."""
        begun = time.monotonic()
        if self._path is None or (begun < self._due and not now):
            return
        kept = {replica.uid: self._keep(replica) for replica in replicas if replica.begun}
        if {uid: at for uid, (at, _) in kept.items()} != {uid: at for uid, (at, _) in self._kept.items()}:
            try:
                _replace(self._path, pack([one for _, one in kept.values()], level=1))
                self._kept = kept
            except OSError as error:
                self._log.warning("the snapshot file cannot be written", error=str(error))
        spent = time.monotonic() - begun
        self._due = begun + max(EVERY_S, SHARE * spent)

    def _keep(self, replica: Replica) -> tuple[str, Archived]:
        known = self._kept.get(replica.uid)
        if known is not None and known[0] == replica.cursor:
            return known
        state = replica.whole()
        return replica.cursor, Archived(replica.uid, state.fields["config"], state)


def _replace(path: Path, data: bytes) -> None:
    """Nobody ever reads a part of it, also after a power loss."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            staged.unlink()
