"""What a process counts, cheaply: a hit is one append to a deque, and the sums are made off the hot path.

Nothing here knows Prometheus. A worker's `Metrics` is dumped once a second and sent to the HTTP process, which
merges the workers' dumps and renders them (exposition.py). `deque.append` is one atomic C call (0.03 us, and exact
under threads without a lock); a prometheus_client counter costs ten times that, and a lock.

    hit = metrics.decisions.hit                 # keep the bound method where it is called often
    hit(("homepage-hero", "calm", "POLICY"))    # label values in the order of the family's labels
"""

from __future__ import annotations

import threading
import time
from collections import Counter as Sums
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from service.telemetry.metric_families import FAMILIES, LabelValues, Samples

# Hits are summed this many at a time, so that no C call holds the interpreter for longer than about 0.1 ms.
SLICE = 1000

# Label values of one family in one process; what comes after them is counted as "other".
MAX_SERIES = 5_000
_NAMES = frozenset({"experiment", "arm", "segment"})  # labels whose values users make

Hit = TypeVar("Hit")


def bounded(name: str, key: LabelValues, kept: Collection[LabelValues]) -> LabelValues:
    """The key itself, or where a family has too many, one with `other` for every name that users gave."""
    if key in kept or len(kept) < MAX_SERIES:
        return key
    labels = FAMILIES[name].labels
    return tuple("other" if label in _NAMES else value for label, value in zip(labels, key, strict=True))


def drain(hits: deque[Hit]) -> Iterator[list[Hit]]:
    """Take what is in the deque now, in slices; what is appended meanwhile stays for the next time."""
    left = len(hits)
    while left > 0:
        part = [hits.popleft() for _ in range(min(left, SLICE))]
        left -= len(part)
        yield part


class Counter:
    """A family of sums that only grow, by label values."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._hits: deque[LabelValues] = deque()
        self._sums: Sums[LabelValues] = Sums()
        self._lock = threading.Lock()
        self.hit: Callable[[LabelValues], None] = self._hits.append
        if not FAMILIES[name].labels:
            self._sums[()] = 0

    def add(self, key: LabelValues, count: int) -> None:
        """Count many at once; takes a lock."""
        with self._lock:
            self._sums[bounded(self.name, key, self._sums)] += count

    def samples(self) -> Samples:
        """Sums so far."""
        with self._lock:
            for part in drain(self._hits):
                for key, count in Sums(part).items():
                    self._sums[bounded(self.name, key, self._sums)] += count
            return [(key, [float(value)]) for key, value in self._sums.items()]


class Histogram:
    """A family of distributions; `child(key)` is the append of that key's deque, to be kept by hot callers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._bounds = np.array(FAMILIES[name].bounds)
        self._hits: dict[LabelValues, deque[float]] = {}
        self._sums: dict[LabelValues, NDArray[np.float64]] = {}
        self._lock = threading.Lock()

    def child(self, key: LabelValues = ()) -> Callable[[float], None]:
        """What takes observations of one key."""
        with self._lock:
            if key not in self._hits:
                self._hits[key] = deque()
                self._sums[key] = np.zeros(len(self._bounds) + 2)
            return self._hits[key].append

    def observe(self, value: float, key: LabelValues = ()) -> None:
        """One observation, where it happens seldom."""
        hits = self._hits.get(key)
        (hits.append if hits is not None else self.child(key))(value)

    def samples(self) -> Samples:
        """Per key: counts between the bounds, the count above the last one, and the sum of the values."""
        with self._lock:
            for key, hits in self._hits.items():
                sums = self._sums[key]
                for part in drain(hits):
                    values = np.array(part, dtype=np.float64)
                    places = np.searchsorted(self._bounds, values, side="left")
                    sums[:-1] += np.bincount(places, minlength=len(self._bounds) + 1)
                    sums[-1] += values.sum()
            return [(key, sums.tolist()) for key, sums in self._sums.items()]


class Gauge:
    """A family of values that go up and down."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._values: dict[LabelValues, float] = {}

    def set(self, value: float, key: LabelValues = ()) -> None:
        """The value as it is now."""
        self._values[bounded(self.name, key, self._values)] = value

    def remove(self, key: LabelValues) -> None:
        """Forget a key."""
        self._values.pop(key, None)

    def forget(self, experiment: str) -> None:
        """Forget all keys of an experiment, where the family has one for each."""
        if FAMILIES[self.name].labels[:1] == ("experiment",):
            for key in [key for key in self._values.copy() if key[0] == experiment]:
                self.remove(key)

    def samples(self) -> Samples:
        """The values now."""
        return [(key, [value]) for key, value in self._values.copy().items()]


class Age(Gauge):
    """Seconds since something last happened. It goes on growing when whoever marks it has died."""

    def mark(self, key: LabelValues = (), age_s: float = 0.0) -> None:
        """It happened now, or `age_s` seconds ago."""
        self.set(time.monotonic() - age_s, key)

    def samples(self) -> Samples:
        """The ages now."""
        now = time.monotonic()
        return [(key, [now - value]) for key, value in self._values.copy().items()]


Instrument = Counter | Histogram | Gauge


class Rpc:
    """What one gRPC method counts: one append when a call starts, two when it ends."""

    def __init__(self, metrics: Metrics, kind: str, service: str, method: str) -> None:
        self._key = (kind, service, method)
        self._ok = (*self._key, "OK")
        self._started, self._handled = metrics.rpc_started.hit, metrics.rpc_handled.hit
        self._seconds = metrics.rpc_seconds.child(self._key)

    def start(self) -> None:
        """A call began."""
        self._started(self._key)

    def end(self, seconds: float, code: str | None = None) -> None:
        """A call ended; `code` is the name of the status where it is not OK."""
        self._handled(self._ok if code is None else (*self._key, code))
        self._seconds(seconds)


class Metrics:
    """All instruments of one process, one attribute a family (families.py says what each means)."""

    def __init__(self) -> None:
        self.rpc_started = Counter("grpc_server_started_total")
        self.rpc_handled = Counter("grpc_server_handled_total")
        self.rpc_seconds = Histogram("grpc_server_handling_seconds")
        self.http_requests = Counter("lever_http_requests_total")
        self.http_seconds = Histogram("lever_http_seconds")
        self.decisions = Counter("lever_decisions_total")
        self.rewards = Counter("lever_rewards_total")
        self.reward_delay = Histogram("lever_reward_delay_seconds")
        self.features_clipped = Counter("lever_features_clipped_total")
        self.features_unknown = Counter("lever_features_unknown_total")
        self.trials_dropped = Counter("lever_trials_dropped_total")
        self.snapshot_age = Age("lever_snapshot_age_seconds")
        self.checkpoint_age = Age("lever_checkpoint_age_seconds")
        self.log_entries = Gauge("lever_log_entries")
        self.flush_age = Age("lever_flush_age_seconds")
        self.store_up = Gauge("lever_store_up")
        self.store_errors = Counter("lever_store_errors_total")
        self.store_seconds = Histogram("lever_store_seconds")
        self.shed = Counter("lever_shed_total")
        self.overloaded = Gauge("lever_overloaded")
        self.denied = Counter("lever_denied_total")
        self.fast_path_faults = Counter("lever_fast_path_faults_total")
        self.posterior_mean = Gauge("lever_posterior_mean")
        self.probability_best = Gauge("lever_probability_best")
        self.propensity_min = Gauge("lever_propensity_min")
        self.changes = Gauge("lever_changes")
        self.outage = Gauge("lever_outage")
        self.lift = Gauge("lever_lift")
        self.lift_low = Gauge("lever_lift_low")
        self.lift_high = Gauge("lever_lift_high")
        self.guardrail_paused = Gauge("lever_guardrail_paused")
        self.divergence = Gauge("lever_divergence")
        self.log_ends_lost = Counter("lever_log_ends_lost_total")
        self.states_offered = Counter("lever_states_offered_total")
        self.states_loaded = Counter("lever_states_loaded_total")
        self.store_evicts = Gauge("lever_store_evicts")
        self.lost = Gauge("lever_lost")
        self.unreadable = Gauge("lever_unreadable")
        self.build_info = Gauge("lever_build_info")

    def forget(self, experiment: str) -> None:
        """An experiment was deleted: gauges of it would stand still for ever. Counters stay, as sums must."""
        for instrument in vars(self).values():
            if isinstance(instrument, Gauge):
                instrument.forget(experiment)

    def samples(self) -> dict[str, Samples]:
        """Everything counted so far, by family name. Call it about once a second: it empties the deques."""
        instruments: list[Instrument] = list(vars(self).values())
        return {instrument.name: instrument.samples() for instrument in instruments}

    def in_flight(self) -> int:
        """RPCs that began and have not ended."""
        started, handled = self.rpc_started.samples(), self.rpc_handled.samples()
        return round(sum(value for _, (value,) in started) - sum(value for _, (value,) in handled))
