"""Dumps of many processes become one page for Prometheus.

A worker sends a `Dump` every second; the HTTP process holds the last one of each and adds them up when it is
scraped. Counters of a worker that died are kept as a base, so that a restart never makes a sum go down.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import CollectorRegistry

from service.telemetry.metric_families import FAMILIES, Family, LabelValues, Samples

FRAME = struct.Struct("<I")  # the length of a dump on a worker's line


class Dump(msgspec.Struct, array_like=True):
    """What a worker says of itself. `started` tells one life of a worker from the next."""

    worker: str
    started: float
    ready: bool
    why: str  # why it is not ready; empty where it is
    samples: dict[str, Samples]


Sums = dict[str, dict[LabelValues, list[float]]]


@dataclass(slots=True)
class _Source:
    dump: Dump
    heard: float
    gone: bool = False


@dataclass(slots=True, eq=False)
class Exposition:
    """The merged view. A collector of `registry`, and what readiness is judged by.

    A worker not heard of for `patience_s` counts as gone: its gauges are left out and it is not ready.
    """

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    patience_s: float = 5.0
    clock: Callable[[], float] = time.monotonic
    _base: Sums = field(default_factory=dict)
    _sources: dict[str, _Source] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.registry.register(self)

    def update(self, dump: Dump) -> None:
        """Take a worker's newest dump."""
        with self._lock:
            old = self._sources.get(dump.worker)
            if old is not None and old.dump.started != dump.started:
                _add(self._base, old.dump.samples)
            self._sources[dump.worker] = _Source(dump, self.clock())

    def leave(self, worker: str, started: float) -> None:
        """A worker's connection ended: it is not ready, whatever it said last."""
        with self._lock:
            source = self._sources.get(worker)
            if source is not None and source.dump.started == started:
                source.gone = True

    def readiness(self) -> tuple[bool, list[str]]:
        """Whether at least one worker answers choices, and a line for each that does not."""
        with self._lock:
            sources = sorted(self._sources.items())
            lines = [f"worker {name}: {why}" for name, source in sources if (why := self._why(source))]
        if not sources:
            return False, ["no worker has reported yet"]
        return len(lines) < len(sources), lines

    def collect(self) -> Iterator[Metric]:
        """The families, merged."""
        with self._lock:
            up: list[dict[LabelValues, list[float]]]
            up = [{(name,): [float(not self._why(source))]} for name, source in self._sources.items()]
            live = [source.dump.samples for source in self._sources.values() if not self._lost(source)]
            sums: Sums = {name: {key: list(v) for key, v in values.items()} for name, values in self._base.items()}
            for source in self._sources.values():
                _add(sums, source.dump.samples)
        for family in FAMILIES.values():
            if family.kind == "gauge":
                workers = [dict(samples.get(family.name, ())) for samples in live]
                yield _gauge(family, up if family.name == "lever_worker_ready" else workers)
            else:
                yield _sum(family, sums.get(family.name, {}))

    def _lost(self, source: _Source) -> bool:
        return source.gone or self.clock() - source.heard > self.patience_s

    def _why(self, source: _Source) -> str:
        if self._lost(source):
            return "not heard of"
        return "" if source.dump.ready else source.dump.why or "not ready"


def _add(sums: Sums, samples: dict[str, Samples]) -> None:
    for name, rows in samples.items():
        if name not in FAMILIES or FAMILIES[name].kind == "gauge":
            continue
        into = sums.setdefault(name, {})
        for key, values in rows:
            old = into.get(key)
            into[key] = list(values) if old is None else [a + b for a, b in zip(old, values, strict=True)]


def _gauge(family: Family, workers: list[dict[LabelValues, list[float]]]) -> Metric:
    metric = GaugeMetricFamily(family.name, family.help, labels=family.labels)
    pick = min if family.merge == "min" else max
    for key in sorted({key for values in workers for key in values}):
        metric.add_metric(key, pick(values[key][0] for values in workers if key in values))
    return metric


def _sum(family: Family, rows: dict[LabelValues, list[float]]) -> Metric:
    if family.kind == "counter":
        counter = CounterMetricFamily(family.name, family.help, labels=family.labels)
        for key in sorted(rows):
            counter.add_metric(key, rows[key][0])
        return counter
    histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    names = [*map(str, family.bounds), "+Inf"]
    for key in sorted(rows):
        total, buckets = 0.0, []
        for name, count in zip(names, rows[key][:-1], strict=True):
            total += count
            buckets.append((name, total))
        histogram.add_metric(key, buckets, rows[key][-1])
    return histogram
