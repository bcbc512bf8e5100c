"""What the policy is worth, as gauges: the lift of every metric over the holdout with its interval, as a report has it.

One worker of a server tells it, on a thread beside the rest, and seldom. While its sums are copied the log waits, a
choice never does.
"""

from __future__ import annotations

import math
import time

import structlog

from service.analysis.lift import Lift, whole
from service.errors import LeverError
from service.learning.feed import Feed
from service.process.loop import Loop
from service.serving.published import Published
from service.serving.snapshot import Snapshot
from service.telemetry.metric_families import LabelValues
from service.telemetry.metrics import MAX_SERIES, Metrics

EVERY_S = 15.0  # between two looks at one experiment, at the least
TICK_S = 1.0


class Worth:
    """A thread that keeps the gauges lift, lift_low and lift_high."""

    def __init__(self, feed: Feed, directory: Published, metrics: Metrics, every_s: float = EVERY_S) -> None:
        self._feed = feed
        self._directory = directory
        self._gauges = metrics.lift, metrics.lift_low, metrics.lift_high
        self._every_s = every_s
        self._seen: dict[str, tuple[Snapshot, float]] = {}  # by name: what was looked at, when to look again
        self._keys: dict[str, set[LabelValues]] = {}  # by name: what is exported
        self._log = structlog.get_logger("lever.learning")
        self._loop = Loop("lever-lift", self.turn, TICK_S)

    def start(self) -> None:
        """Begin."""
        self._loop.start()

    def stop(self) -> None:
        """End; the gauges stay as they are."""
        self._loop.stop()

    def turn(self) -> bool:
        """Bring the gauges of all experiments up to date that are due."""
        snapshots = self._directory.by_name
        for name in self._keys.keys() - snapshots.keys():
            self._tell(name, ())
        for name, snapshot in snapshots.items():
            seen, due = self._seen.get(name, (None, 0.0))
            if seen is not snapshot and time.monotonic() >= due:
                self._seen[name] = snapshot, time.monotonic() + self._every_s
                try:
                    self._tell(name, self._feed.inspect(name, lambda _, replica, __: whole(replica))())
                except LeverError:  # deleted meanwhile, or lost: nothing is known of it
                    self._tell(name, ())
                except Exception:  # noqa: BLE001 - whatever it is, the others go on, and no gauge stands still
                    self._log.exception("what an experiment is worth cannot be told", experiment=name)
                    self._tell(name, ())
        return True

    def _tell(self, name: str, lifts: tuple[Lift, ...]) -> None:
        """These and no others; what is too early, or has no bounds, is not there."""
        before: set[LabelValues] = self._keys.pop(name, set())
        room = MAX_SERIES - sum(map(len, self._keys.values()))
        told: dict[LabelValues, tuple[float, float, float]] = {
            (name, lift.metric): (lift.relative, lift.relative_low, lift.relative_high)
            for lift in lifts
            if not lift.too_early
        }
        good = [(key, values) for key, values in told.items() if all(map(math.isfinite, values))][:room]
        for key, values in good:
            for gauge, value in zip(self._gauges, values, strict=True):
                gauge.set(value, key)
        for key in before - {key for key, _ in good}:
            for gauge in self._gauges:
                gauge.remove(key)
        if good:
            self._keys[name] = {key for key, _ in good}
        if name not in self._directory.by_name:
            self._seen.pop(name, None)
