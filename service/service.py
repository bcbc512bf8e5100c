"""One process's working parts, put together: what a worker runs and what a test can run in its own process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from service.batch import BatchDecision, select_batch
from service.catalogue import Catalogue
from service.clock import Clock
from service.directory import Directory
from service.feed import Feed
from service.identity import Hasher
from service.metrics import Metrics
from service.personalizer import Decision, Personalizer
from service.rewarder import Answer, Rewarder
from service.shelf import Shelf
from service.store import Outcome, Store
from service.token import TokenKeys

_NEWER_S = 2.0  # a reward waits so long for a configuration that another server has seen and this one not yet


@dataclass(frozen=True, slots=True)
class Secrets:
    """Token keys, the current one first, and the key that subjects are hashed with."""

    tokens: Sequence[bytes]
    subjects: bytes


@dataclass(frozen=True, slots=True)
class UseCases:
    """What a door (gRPC, HTTP) offers; see Personalizer.select, batch.select_batch and Rewarder."""

    select: Callable[..., Decision]
    select_batch: Callable[..., BatchDecision]
    reward: Callable[..., list[Answer]]
    expose: Callable[..., Outcome]


@dataclass(frozen=True, slots=True)
class Service:
    """The use cases and what feeds them."""

    personalizer: UseCases
    catalogue: Catalogue
    feed: Feed
    directory: Directory
    clock: Clock

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
    shelf: Shelf | None = None,
    clock: Clock | None = None,
    reaffirm: Callable[[], None] = lambda: None,
) -> Service:
    """Put the parts together over a store; with a shelf, what was learned last is kept beside it.

    `reaffirm` is called when the store has lost an experiment: it may have lost the secrets too.
    """
    clock, directory, keys = clock or Clock(), Directory(buffer_bytes), TokenKeys(secrets.tokens)
    feed = Feed(store, directory, clock, metrics, poll_ms, flush_ms, shelf, reaffirm)
    personalizer = Personalizer(directory, keys, Hasher(secrets.subjects), clock, metrics)
    rewarder = Rewarder(store, directory, keys, clock, metrics, partial(feed.refresh, _NEWER_S))
    catalogue = Catalogue(store, directory, feed, clock, state_max)
    batch = partial(select_batch, personalizer)
    use_cases = UseCases(personalizer.select, batch, rewarder.reward, rewarder.expose)
    return Service(use_cases, catalogue, feed, directory, clock)
