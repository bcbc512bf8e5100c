"""A store whose calls are counted: how long each took, and which failed.

Stands between the store and everything that uses it, where a call waits for the network anyway. A conflict over a
version is an answer, not a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter

from service.errors import CorruptError, UnavailableError
from service.store.contract import (
    Checkpoint,
    Checkpointed,
    Claim,
    Journal,
    Loaded,
    LostError,
    Outcome,
    PartAwayError,
    Poll,
    Put,
    SpoiltError,
    Store,
    UnreachableError,
)
from service.telemetry.metrics import Metrics

CALLS = ("put", "load", "poll", "append", "reward", "checkpoint")
KINDS = (UnreachableError, PartAwayError, LostError, SpoiltError, UnavailableError, CorruptError)


class Counted:
    """Store over another one."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._failed = metrics.store_errors.hit
        self._took: dict[str, Callable[[float], None]] = {call: metrics.store_seconds.child((call,)) for call in CALLS}
        for call in CALLS:
            for kind in KINDS:  # a rate does not see the first value of a series, so each is there from the start
                metrics.store_errors.add((call, kind.__name__), 0)

    @contextmanager
    def _counted(self, call: str) -> Iterator[None]:
        begun = perf_counter()
        try:
            yield
        except (UnavailableError, CorruptError) as error:
            self._failed((call, type(error).__name__))
            raise
        finally:
            self._took[call](perf_counter() - begun)

    def put(self, put: Put) -> None:
        """Store.put."""
        with self._counted("put"):
            self._store.put(put)

    def load(self, uid: str) -> Loaded:
        """Store.load."""
        with self._counted("load"):
            return self._store.load(uid)

    def poll(self, cursors: Mapping[str, str], limit: int = 1000, *, listed: bool = True) -> Poll:
        """Store.poll."""
        with self._counted("poll"):
            return self._store.poll(cursors, limit, listed=listed)

    def deleted(self, uids: Collection[str]) -> frozenset[str]:
        """Store.deleted."""
        with self._counted("poll"):
            return self._store.deleted(uids)

    def versions(self, uid: str) -> Mapping[int, bytes]:
        """Store.versions."""
        with self._counted("load"):
            return self._store.versions(uid)

    @property
    def journal(self) -> Journal:
        """Store.journal. Its calls are not counted: no decision and no reward waits for them."""
        return self._store.journal

    def append(self, uid: str, writer: str, sequence: int, stride: int, trials: bytes, horizon: int) -> int:
        """Store.append."""
        with self._counted("append"):
            return self._store.append(uid, writer, sequence, stride, trials, horizon)

    def claim(self, uid: str, claims: Sequence[Claim]) -> list[Outcome]:
        """Store.claim."""
        with self._counted("reward"):
            return self._store.claim(uid, claims)

    def remember(self, word: str, proposal: bytes, expires: int) -> bytes:
        """Store.remember."""
        with self._counted("reward"):
            return self._store.remember(word, proposal, expires)

    def claim_each(self, calls: Sequence[tuple[str, Sequence[Claim]]]) -> list[list[Outcome] | UnavailableError]:
        """Store.claim_each. One call; each part of it that failed is counted."""
        with self._counted("reward"):
            answers = self._store.claim_each(calls)
        for answer in answers:
            if isinstance(answer, UnavailableError):
                self._failed(("reward", type(answer).__name__))
        return answers

    def checkpoint(self, uid: str, checkpoint: Checkpoint) -> Checkpointed:
        """Store.checkpoint."""
        with self._counted("checkpoint"):
            return self._store.checkpoint(uid, checkpoint)
