"""One process's working parts, put together: what a worker runs and what a test can run in its own process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from service.learning.feed import Feed
from service.learning.snapshot_file import SnapshotFile
from service.management.experiments import Catalogue
from service.security.secrets import Secrets
from service.serving.batch import select_batch
from service.serving.personalizer import Personalizer
from service.serving.published import Published
from service.serving.rewarder import Rewarder
from service.serving.store_clock import StoreClock
from service.serving.subject import Hasher
from service.serving.token import TokenKeys
from service.serving.use_cases import UseCases
from service.store.contract import Store
from service.telemetry.metrics import Metrics

_NEWER_S = 2.0  # a reward waits so long for a configuration that another server has seen and this one not yet


@dataclass(frozen=True, slots=True)
class Service:
    """The use cases and what feeds them."""

    personalizer: UseCases
    catalogue: Catalogue
    feed: Feed
    directory: Published
    clock: StoreClock

    def start(self) -> None:
        """Begin to poll and flush."""
        self.feed.start()

    def stop(self, flush_s: float = 5.0) -> None:
        """Flush what waits and end; call it when no more choices are made."""
        self.feed.stop(flush_s)


def build(
    store: Store,
    secrets: Secrets,
    metrics: Metrics,
    *,
    poll_ms: int = 100,
    flush_ms: int = 100,
    buffer_bytes: int = 64 << 20,
    state_max: int = 256 << 20,
    snapshot_file: SnapshotFile | None = None,
    clock: StoreClock | None = None,
    reaffirm: Callable[[], None] = lambda: None,
) -> Service:
    """Put the parts together over a store; with a snapshot file, what was learned last is kept beside it.

    `reaffirm` is called when the store has lost an experiment: it may have lost the secrets too.
    """
    clock, directory, keys = clock or StoreClock(), Published(buffer_bytes), TokenKeys(secrets.tokens)
    feed = Feed(store, directory, clock, metrics, poll_ms, flush_ms, snapshot_file, reaffirm)
    personalizer = Personalizer(directory, keys, Hasher(secrets.subjects), clock, metrics)
    rewarder = Rewarder(store, directory, keys, clock, metrics, partial(feed.refresh, _NEWER_S))
    catalogue = Catalogue(store, directory, feed, clock, state_max)
    batch = partial(select_batch, personalizer)
    use_cases = UseCases(personalizer.select, batch, rewarder.reward, rewarder.expose)
    return Service(use_cases, catalogue, feed, directory, clock)
