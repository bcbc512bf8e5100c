"""What every learning segment believes of its arms, as gauges: for dashboards, and to see an arm run away.

One worker of a server tells it, as all believe the same. The numbers are those of a report, and cost as much: so a
thread makes them beside the rest, one segment at a time, only for segments whose beliefs changed, and rests in between.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import structlog

from bandits.pmf import fill
from service.experiment.compiled import Experiment
from service.process.priority import give_way
from service.serving.published import Published
from service.serving.snapshot import Slot, Snapshot
from service.telemetry.metric_families import LabelValues
from service.telemetry.metrics import MAX_SERIES, Gauge, Metrics

EVERY_S = 15.0  # between two looks at one experiment, at the least
TICK_S = 1.0  # between two looks for experiments that are new or due
SHARE = 50  # the numbers take at most one part in so many of the time


@dataclass(slots=True)
class _Exported:
    """What was last exported of one experiment."""

    snapshot: Snapshot | None = None
    due: float = 0.0  # when to look again
    slots: dict[int, Slot] = field(default_factory=dict)
    arms: dict[int, list[LabelValues]] = field(default_factory=dict)  # the keys of each segment's arms


class Beliefs:
    """A thread that keeps the gauges posterior_mean, probability_best and propensity_min."""

    def __init__(self, directory: Published, metrics: Metrics, every_s: float = EVERY_S) -> None:
        self._directory = directory
        self._metrics = metrics
        self._every_s = every_s
        self._exported: dict[str, _Exported] = {}  # by the experiment's name
        self._series = 0
        self._stop = threading.Event()
        self._log = structlog.get_logger("lever.learning")
        self._thread = threading.Thread(target=self._run, name="lever-learning", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; the gauges stay as they are."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        give_way()
        while not self._stop.wait(TICK_S):
            self.turn()

    def turn(self) -> None:
        """Bring the gauges of all experiments up to date that are due, resting in between."""
        snapshots: Mapping[str, Snapshot] = self._directory.by_name
        for name in self._exported.keys() - snapshots.keys():
            self._forget(name)
        for name, snapshot in snapshots.items():
            exported = self._exported.setdefault(name, _Exported())
            if exported.snapshot is not snapshot and time.monotonic() >= exported.due:
                exported.snapshot, exported.due = snapshot, time.monotonic() + self._every_s
                try:
                    self._follow(snapshot, exported)
                except Exception:  # noqa: BLE001 - whatever it is, the others go on, and no gauge stands still
                    self._log.exception("what an experiment learned cannot be told", experiment=name)
                    self._forget(name)

    def _follow(self, snapshot: Snapshot, exported: _Exported) -> None:
        for slot in snapshot.slots:
            if exported.slots.get(slot.segment) is not slot and not self._stop.is_set():
                begun = time.thread_time()
                self._export(snapshot.experiment, slot, exported)
                self._stop.wait(SHARE * (time.thread_time() - begun))

    def _export(self, experiment: Experiment, slot: Slot, exported: _Exported) -> None:
        """The gauges of one segment; those of arms that are no longer eligible go."""
        place = (experiment.name, experiment.segments.ids[slot.segment])
        learns = len(slot.arms) > 0 and experiment.segments.draws(slot.segment)
        keys: list[LabelValues] = [(*place, experiment.arms[arm].id) for arm in slot.arms.tolist()] if learns else []
        before = exported.arms.get(slot.segment, [])
        if self._series - len(before) + len(keys) > MAX_SERIES:
            keys = []  # a value that stands for many arms would say nothing
        exported.slots[slot.segment], exported.arms[slot.segment] = slot, keys
        self._series += len(keys) - len(before)
        self._drop(set(before) - set(keys), set() if keys else {place})
        beliefs = slot.beliefs(experiment.primary) if keys else None
        if beliefs is not None:
            scale = experiment.primary.scale
            told = slot.told(beliefs)
            for key, mean, best in zip(keys, (told.mean * scale).tolist(), told.best.tolist(), strict=True):
                _tell(self._metrics.posterior_mean, key, mean)
                _tell(self._metrics.probability_best, key, best)
            self._metrics.propensity_min.set(least(slot), place)

    def _forget(self, name: str) -> None:
        for keys in self._exported.pop(name).arms.values():
            self._series -= len(keys)
            self._drop(set(keys), {key[:2] for key in keys})

    def _drop(self, arms: set[LabelValues], places: set[LabelValues]) -> None:
        for key in arms:
            self._metrics.posterior_mean.remove(key)
            self._metrics.probability_best.remove(key)
        for place in places:
            self._metrics.propensity_min.remove(place)


def _tell(gauge: Gauge, key: LabelValues, value: float) -> None:
    """A gauge that says nothing where a report says nothing."""
    if math.isnan(value):
        gauge.remove(key)
    else:
        gauge.set(value, key)


def least(slot: Slot) -> float:
    """The least probability any eligible arm has at the slot's average features, floor included."""
    if not slot.contextual:
        return float(slot.pmf.min())
    out = np.empty(slot.arms.size)
    fill(slot.posterior.packed, slot.mean, slot.arms, out)
    return float(out.min())
