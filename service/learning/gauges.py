"""What a server exports of each experiment it follows: how current it is, how far its checkpoint, what is wrong.

An age is marked by whoever made progress, and grows by itself where nobody does: also where a thread hangs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import structlog

from service.learning.replica import Replica
from service.telemetry.metrics import Metrics

MARK_S = 0.5
_DROPPED = ("late", "lost", "full")  # causes of a lost trial


class Gauges:
    """Called by the thread that folds."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._due: dict[str, float] = {}  # by name: when it is to be marked again
        self._evicts = False
        self._log = structlog.get_logger("lever.feed")

    def restored(self, replica: Replica, now_ms: int) -> None:
        """It comes from the snapshot file: known to be current when its newest entry was written."""
        if replica.begun:
            self._metrics.snapshot_age.mark((replica.experiment.name,), max(now_ms - replica.touched, 0) / 1000)

    def loaded(self, replica: Replica, *, diverged: bool) -> None:
        """It was loaded from the store. What alerts look at is there before its first event, as a rate needs."""
        if replica.begun:
            name, metrics = replica.experiment.name, self._metrics
            self.tell(name, lost=0, unreadable=0, divergence=diverged)
            metrics.features_clipped.add((name,), 0)
            metrics.features_unknown.add((name,), 0)
            for counter in (metrics.log_ends_lost, metrics.states_offered, metrics.states_loaded):
                counter.add((name,), 0)
            for cause in _DROPPED:
                metrics.trials_dropped.add((name, cause), 0)

    def current(self, replicas: Iterable[Replica], diverged: Callable[[str], bool]) -> None:
        """Everything that the store has of them is published. Marked twice a second at the most: ages need it no finer."""
        now = time.monotonic()
        for replica in replicas:
            if replica.begun and now >= self._due.get(name := replica.experiment.name, 0.0):
                self._due[name] = now + MARK_S
                key, stored = (name,), replica.stored
                self._metrics.snapshot_age.mark(key)
                self._metrics.log_entries.set(max(replica.rows - (stored.rows if stored else 0), 0), key)
                if replica.cut is None and not diverged(replica.uid):
                    self._metrics.checkpoint_age.mark(key)

    def derived(self, replica: Replica) -> None:
        """A new snapshot was derived from it."""
        experiment = replica.experiment
        self.tell(experiment.name, guardrail_paused=len(experiment.pauses.paused))
        for segment, past in replica.reviews.pasts(experiment).items():
            place = (experiment.name, experiment.segments.ids[segment])
            self._metrics.changes.set(len(past.shifts), place)
            self._metrics.outage.set(float(past.outage is not None), place)

    def end_lost(self, name: str) -> None:
        """The store lost the end of its log."""
        self._metrics.log_ends_lost.hit((name,))

    def evicts(self, policy: str) -> None:
        """The store's eviction policy, as it is now; a word in the log where it changed for the worse."""
        evicts = policy not in ("", "noeviction")
        if evicts != self._evicts:
            say = self._log.error if evicts else self._log.warning
            say(
                "the store may evict, and rewards be counted twice" if evicts else "the store no longer evicts",
                policy=policy,
            )
        self._evicts = evicts
        self._metrics.store_evicts.set(float(evicts))

    def tell(self, name: str, **what: float) -> None:
        """The values of some gauges, by attribute of Metrics."""
        for family, value in what.items():
            getattr(self._metrics, family).set(float(value), (name,))

    def deleted(self, name: str, others: Iterable[Replica]) -> None:
        """It was deleted: no gauge of it is left, unless one of the others took its name."""
        if any(replica.begun and replica.experiment.name == name for replica in others):
            self.tell(name, lost=0, unreadable=0)
        else:
            self._metrics.forget(name)
            self._due.pop(name, None)
