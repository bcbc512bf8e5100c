"""Tells the log what was refused and dropped, now and then: a line for each would be as many as there are calls."""

from __future__ import annotations

import time
from collections.abc import Mapping

import structlog

from service.telemetry.metric_families import LabelValues
from service.telemetry.metrics import Counter, Metrics

EVERY_S = 10.0  # between two lines
LOOK_S = 1.0  # between two looks, while there is nothing to tell


class Refusals:
    """Looks at counters that stand still while all is well. Used by one thread."""

    def __init__(self, metrics: Metrics) -> None:
        self._counters: Mapping[str, Counter] = {
            "overloaded": metrics.shed,
            "denied": metrics.denied,
            "trials_dropped": metrics.trials_dropped,
        }
        self._seen = {what: self._sums(what) for what in self._counters}
        self._due = 0.0
        self._log = structlog.get_logger("lever.worker")

    def tell(self, *, last: bool = False) -> None:
        """Say what was counted since the last line, if it is time to look, or if this is the `last` chance."""
        now = time.monotonic()
        if now < self._due and not last:
            return
        news = {what: self._news(what) for what in self._counters}
        told = {what: counts for what, counts in news.items() if counts}
        if told:
            self._log.warning("calls were refused, or trials lost", **told)
        self._due = now + (EVERY_S if told else LOOK_S)

    def _news(self, what: str) -> dict[str, int]:
        seen, sums = self._seen[what], self._sums(what)
        self._seen[what] = sums
        return {" ".join(key): round(n - seen.get(key, 0.0)) for key, n in sums.items() if n > seen.get(key, 0.0)}

    def _sums(self, what: str) -> dict[LabelValues, float]:
        return {key: value for key, (value,) in self._counters[what].samples()}
