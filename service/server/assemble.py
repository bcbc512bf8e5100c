"""One process's working parts, put together: what a worker runs and what a test can run in its own process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from service.learning.agreement import Agreement
from service.learning.feed import Feed
from service.learning.snapshot_file import SnapshotFile
from service.management.experiments import StoredExperiments
from service.management.guardian import Guardian
from service.management.protocols import Experiments, Offline
from service.security.secrets import Secrets
from service.serving.explainer import Explainer
from service.serving.journey import Journeys
from service.serving.personalizer import Personalizer
from service.serving.published import Published
from service.serving.rewarder import Rewarder
from service.serving.store_clock import StoreClock
from service.serving.subject import Hasher
from service.serving.token import TokenKeys
from service.serving.use_cases import LocalUseCases, UseCases
from service.store.contract import Journal, Store
from service.telemetry.metrics import Metrics

_NEWER_S = 2.0  # a reward waits so long for a configuration that another server has seen and this one not yet


@dataclass(frozen=True, slots=True)
class Tuning:
    """How often the store is asked and given to, how many bytes of trials wait, how large a state may become.

    `rest_s`: what nobody asks for is brought up to date this seldom; 0: at every poll.
    """

    poll_ms: int = 100
    flush_ms: int = 100
    buffer_bytes: int = 64 << 20
    state_max: int = 256 << 20
    rest_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Service:
    """What a process serves, and what feeds it. `offline` None: no evaluations and warm starts.

    `close` lets go of the store, where it is the service's own.
    """

    use_cases: UseCases
    experiments: Experiments
    feed: Feed
    guardian: Guardian
    directory: Published
    clock: StoreClock
    metrics: Metrics
    journal: Journal
    offline: Offline | None = None
    close: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin to poll and flush, and to look at guardrails."""
        self.feed.start()
        self.guardian.start()

    def stop(self, flush_s: float = 5.0) -> None:
        """Flush what waits and end; call it when no more choices are made."""
        self.guardian.stop()
        self.feed.stop(flush_s)
        self.close()


def build(
    store: Store,
    secrets: Secrets,
    metrics: Metrics,
    tuning: Tuning | None = None,
    *,
    offline: Offline | None = None,
    snapshot_file: SnapshotFile | None = None,
    clock: StoreClock | None = None,
    agreement: Agreement | None = None,
) -> Service:
    """Put the parts together over a store; with a snapshot file, what was learned last is kept beside it."""
    tuning, clock = tuning or Tuning(), clock or StoreClock()
    directory, keys = Published(tuning.buffer_bytes, rest_s=tuning.rest_s), TokenKeys(secrets.tokens)
    feed = Feed(store, directory, clock, metrics, tuning.poll_ms, tuning.flush_ms, snapshot_file, agreement)
    personalizer = Personalizer(directory, keys, Hasher(secrets.subjects), clock, metrics)
    rewarder = Rewarder(store, directory, keys, clock, metrics, partial(feed.refresh, _NEWER_S, _NEWER_S))
    experiments = StoredExperiments(store, directory, feed, clock, Explainer(directory, keys, clock), tuning.state_max)
    return Service(
        LocalUseCases(personalizer, rewarder, Journeys(rewarder, store, clock)),
        experiments,
        feed,
        Guardian(store, feed, clock, tuning.state_max),
        directory,
        clock,
        metrics,
        store.journal,
        offline,
    )
