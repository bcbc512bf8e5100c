"""Faults of a fast path: code between a library's insides and the handlers, where an exception would end a thread."""

from __future__ import annotations

import structlog

from service.telemetry.metrics import Metrics


class Faults:
    """Counts the faults of one path; the first of each kind is told in the log, with its story."""

    def __init__(self, metrics: Metrics, path: str) -> None:
        self._count, self._path = metrics.fast_path_faults.hit, path
        self._told: set[type[Exception]] = set()
        self._log = structlog.get_logger("lever.fast_path")
        metrics.fast_path_faults.add((path,), 0)  # a rate needs the series before its first fault

    def note(self, error: Exception) -> None:
        """One fault, caught."""
        self._count((self._path,))
        if type(error) not in self._told:
            self._told.add(type(error))
            self._log.error(
                "a call failed in the fast path; more faults of this kind are only counted",
                path=self._path, exc_info=error,
            )  # fmt: skip
