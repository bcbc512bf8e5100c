"""Checkpoints of the replicas: sent as they fall due, looked after once they are stored."""

from __future__ import annotations

import time

import structlog

from service.errors import CorruptError, UnavailableError
from service.learning.fold.digests import intact
from service.learning.replica import Replica
from service.store.contract import Checkpointed, Store
from service.telemetry.metrics import Metrics

AUDIT_S = 60.0  # between two looks at what is stored of an experiment
DIVERGED_S = 2.0  # the same while two servers differ over it
AUDIT_SHARE = 200  # looking takes at most one part in so many of the time, however many experiments there are
AGAIN_S = 1.0  # before a checkpoint that the store refused is sent again


class Checkpoints:
    """Sends, audits, heals. Used by the polling thread only. Nothing here hinders folding: a store that refuses
    checkpoints (full, read-only) is asked again later.
    """

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._log = structlog.get_logger("lever.checkpoints")
        self._diverged: set[str] = set()
        self._audits: dict[str, float] = {}  # uid to when it is due, 0: at once
        self._look = 0.0  # before that none is looked at but those that are due at once, or differ
        self._after = 0.0  # nothing is sent before
        self._refused = ""

    def send(self, replica: Replica) -> None:
        """Send the replica's checkpoint if one is due."""
        cut = replica.cut
        if cut is None or time.monotonic() < self._after:
            return
        if replica.uid in self._diverged:
            replica.cut = None
            return
        try:
            answer = self._store.checkpoint(replica.uid, cut)
            stored = self._store.load(replica.uid).checkpoint if answer is Checkpointed.STALE else None
        except (UnavailableError, CorruptError) as error:
            self._wait(replica, str(error))
            return
        if self._refused:
            self._refused = ""
            self._log.info("checkpoints are taken again")
        match answer:
            case Checkpointed.STORED | Checkpointed.SAME:
                replica.sent(cut)
            case Checkpointed.DIVERGED:
                replica.cut = None
                self._alarm(replica)
            case Checkpointed.STALE:
                replica.superseded(stored)

    def audit(self, replica: Replica) -> bool:
        """Now and then look at what is stored; whether the replica is to be loaded anew.

        A checkpoint that does not prove itself is replaced, whole. One that two servers differed over stays as it
        is, until `lever verify --repair` has settled it: then all load what was settled.
        """
        uid, begun = replica.uid, time.monotonic()
        if not self.due(uid) or begun < self._audits.setdefault(uid, begun + AUDIT_S):
            return False
        try:
            loaded = self._store.load(uid)
        except (UnavailableError, CorruptError):  # following the log finds out and says so
            self._audits[uid] = begun + AUDIT_S
            return False
        good = loaded.checkpoint is None or intact(loaded.checkpoint)
        if loaded.diverged:
            self._alarm(replica)
        elif uid in self._diverged:
            self._diverged.discard(uid)
            self._metrics.divergence.set(0, (replica.experiment.name,))
            self._log.warning("the difference was settled; loading", experiment=replica.experiment.name)
            return True
        elif loaded.damaged or not good:
            self._log.error("the stored checkpoint is damaged; replacing it", experiment=replica.experiment.name)
            replica.heal()
            self._after = 0.0
            self.send(replica)
        self._look = begun + AUDIT_SHARE * (time.monotonic() - begun)
        self._audits[uid] = max(begun + (DIVERGED_S if loaded.diverged else AUDIT_S), self._look)
        return False

    def due(self, uid: str) -> bool:
        """Whether it is time to look at what is stored."""
        now, at = time.monotonic(), self._audits.get(uid, 0.0)
        return now >= at and (now >= self._look or at == 0.0 or uid in self._diverged)

    def diverged(self, uid: str) -> bool:
        """Whether two servers are known to differ over it: then nothing is sent."""
        return uid in self._diverged

    def forget(self, uid: str) -> None:
        """The experiment is gone."""
        self._diverged.discard(uid)
        self._audits.pop(uid, None)

    def _alarm(self, replica: Replica) -> None:
        self._audits[replica.uid] = time.monotonic() + DIVERGED_S
        if replica.uid not in self._diverged:
            self._diverged.add(replica.uid)
            name = replica.experiment.name
            self._metrics.divergence.set(1, (name,))
            self._log.error("two servers came to different states from one log: see lever verify", experiment=name)

    def _wait(self, replica: Replica, why: str) -> None:
        self._after = time.monotonic() + AGAIN_S
        if why != self._refused:
            self._refused = why
            self._audits[replica.uid] = 0.0  # it may be refused for what is stored
            name = replica.experiment.name
            self._log.warning("a checkpoint was not taken; trying again", experiment=name, error=why)
