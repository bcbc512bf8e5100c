"""Experiments that are served from their last snapshot: the store has lost them, or cannot show what it has of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import structlog

from service.errors import LeverError, PreconditionError
from service.learning.gauges import Gauges
from service.learning.replica import Replica
from service.serving.published import Published

_AGAIN_S = 5.0  # before an experiment that cannot be read is tried again


class _Unreadable(NamedTuple):
    name: str  # as it was told to the gauge, "" for none
    why: str
    again: float  # by the monotonic clock


class Quarantine:
    """What is wrong with which experiment; says so once. Used by the polling thread, or while it is paused."""

    def __init__(self, directory: Published, gauges: Gauges, reaffirm: Callable[[], None]) -> None:
        """`reaffirm` gives the store back what is not an experiment's."""
        self._directory = directory
        self._gauges = gauges
        self._reaffirm = reaffirm
        self.lost: dict[str, Replica | None] = {}  # as it was last folded, where it could be read then
        self._unreadable: dict[str, _Unreadable] = {}
        self._registry: Mapping[str, str] = {}  # as the store lists them
        self._names: Mapping[str, str] = {}  # the same by uid
        self._log = structlog.get_logger("lever.feed")

    def __iter__(self) -> Iterator[str]:
        return iter({*self.lost, *self._unreadable})

    def listed(self, registry: Mapping[str, str]) -> None:
        """The store lists these: what an experiment is called that could never be read here."""
        if registry is self._registry:
            return
        self._registry = registry
        self._names = {uid: name for name, uid in registry.items()}

    def lose(self, uid: str, replica: Replica | None) -> None:
        """The store no longer lists it, and nobody deleted it. Its replica is kept for `restore`."""
        if uid in self.lost:
            return
        self.lost[uid] = replica
        self._log.error("the store has lost an experiment; serving its last snapshot", **self.labels(uid))
        self._reaffirm()
        self._gauge(uid, lost=1)

    def shut(self, uid: str, error: Exception) -> None:
        """It cannot be read or folded. A fault of ours is told with its story."""
        why = str(error) if isinstance(error, LeverError) else f"{type(error).__name__}: {error}"
        if uid not in self._unreadable or self._unreadable[uid].why != why:
            story = None if isinstance(error, LeverError) else error
            message = "an experiment cannot be read; serving its last snapshot"
            self._log.error(message, error=why, exc_info=story, **self.labels(uid))
        name = self.labels(uid).get("experiment", "")
        self._unreadable[uid] = _Unreadable(name, why, time.monotonic() + _AGAIN_S)
        self._gauge(uid, unreadable=1)

    def waits(self, uid: str) -> bool:
        """Whether it could not be read a moment ago, so that trying again can wait."""
        return uid in self._unreadable and time.monotonic() < self._unreadable[uid].again

    def release(self, uid: str) -> None:
        """It could be loaded."""
        if uid in self.lost or uid in self._unreadable:
            self._log.warning("an experiment is back", **self.labels(uid))
        self.forget(uid)

    def forget(self, uid: str) -> None:
        """Nothing is wrong with it now, or it is gone for good."""
        self.lost.pop(uid, None)
        told = self._unreadable.pop(uid, None)
        if told is not None and told.name:
            self._gauges.tell(told.name, unreadable=0)

    def held(self, name: str) -> Replica:
        """What is left here of an experiment that the store has lost. PreconditionError if it has not."""
        for replica in self.lost.values():
            if replica is not None and replica.begun and replica.experiment.name == name:
                return replica
        raise PreconditionError(
            f"the store has not lost experiment {name!r}, or nothing of it is left here", "NOT_LOST"
        )

    def labels(self, uid: str) -> dict[str, str]:
        """What logs call an experiment: by its own name, or, where it was never read, by the one the store lists."""
        snapshot = self._directory.by_uid.get(uid)
        name = self._names.get(uid) if snapshot is None else snapshot.experiment.name
        return {"uid": uid} if name is None else {"uid": uid, "experiment": name}

    def _gauge(self, uid: str, **value: float) -> None:
        name = self.labels(uid).get("experiment")
        if name is not None:
            self._gauges.tell(name, **value)
