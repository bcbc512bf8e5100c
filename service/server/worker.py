"""A serving process: the working parts of service.py behind a gRPC server. Started by the supervisor, one or more."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from bandits.warmup import eager, warm
from service import __version__, logs
from service.errors import LeverError, UnavailableError
from service.learning import snapshot_file
from service.learning.beliefs import Beliefs
from service.management.offline import Apart, Offline
from service.process import child
from service.process.settings import Settings
from service.rpc.experiments import Experiments
from service.rpc.server import Limits, Server
from service.security import certificates, secrets
from service.security.api_keys import Access, Key
from service.server.assemble import Service, build
from service.serving.use_cases import UseCases
from service.store.counted import Counted
from service.store.durability import promise
from service.store.redis import RedisStore
from service.telemetry.dumps import Reporter
from service.telemetry.metrics import Metrics
from service.telemetry.refusals import Refusals

# A thread that computes in Python keeps the interpreter this long while a choice waits. Beside a busy one, Select's
# median was 5.5 ms at the default of 5 ms and 0.9 ms at 0.5 ms; without one there was no difference (2 cores).
SWITCH_S = 0.0005
# A worker joins the port once it can answer, but no later than this: from then on it says why it cannot.
JOIN_S = 2.0
TICK_S = 0.05
FIRST = "0"  # what the supervisor calls the first worker


@dataclass(frozen=True)
class Parts:
    """What a worker serves. `ready` and `store_up` are asked often; `stop` flushes."""

    uses: UseCases
    catalogue: Experiments
    start: Callable[[], None]
    stop: Callable[[], None]
    ready: Callable[[], bool]
    store_up: Callable[[], bool]
    offline: Offline | None = None
    service: Service | None = None


Make = Callable[[Settings, str, Metrics], Parts]


def make(settings: Settings, url: str, metrics: Metrics) -> Parts:
    """The real parts, over the store at `url`. UnavailableError while the store does not give the keys."""
    warm()
    store, mark = RedisStore(url), snapshot_file.mark(settings.redis_url)
    shared = secrets.remembered(settings.data_dir, mark, store.secret)
    try:
        held = secrets.find(settings.token_keys, None if settings.redis_url else settings.data_dir, shared)
        _tell_promise(store)
    except UnavailableError:
        store.close()
        raise
    service = build(
        Counted(store, metrics), held, metrics, poll_ms=settings.poll_ms, flush_ms=settings.flush_ms,
        buffer_bytes=settings.buffer_bytes, state_max=settings.state_max,
        shelf=snapshot_file.SnapshotFile(settings.data_dir / f"snapshot-{mark}.bin"),
        reaffirm=lambda: secrets.reaffirm(held, store.secret) if settings.redis_url else None,
    )  # fmt: skip

    def stop() -> None:
        service.stop()
        store.close()

    return Parts(
        service.personalizer, service.catalogue, service.start, stop,
        lambda: service.feed.ready, lambda: service.feed.store_up, Apart(url), service,
    )  # fmt: skip


def _tell_promise(store: RedisStore) -> None:
    """Log what an acknowledged reward survives. UnavailableError for a store that would forget claims."""
    try:
        facts = store.facts()
    except UnavailableError:
        return  # away: what it kept when it was last reached still holds
    told = promise(facts)
    structlog.get_logger("lever.worker").info(told, **facts)


def run(orders: child.Orders, make: Make = make) -> int:
    """Serve until a signal, then let running calls end, flush, and return 0."""
    settings = orders.resolved()
    logs.configure(settings.log_level, settings.log_json, worker=orders.name)
    log = structlog.get_logger("lever.worker")
    sys.setswitchinterval(SWITCH_S)
    metrics = Metrics()
    metrics.build_info.set(1, (__version__,))
    reporter = Reporter(Path(orders.report), orders.name, metrics)
    reporter.start()
    with child.stopping() as stop:
        parts = made(make, settings, orders.url, metrics, reporter, stop)
        if parts is not None:
            parts.start()
            try:
                with telling(parts, orders, metrics):
                    _serve(parts, orders, settings, metrics, reporter, stop)
            finally:  # its threads would keep a process alive that serves nobody
                log.info("stopping: flushing trials")
                parts.stop()
        reporter.stop()
    log.info("stopped")
    return 0


def made(
    make: Make, settings: Settings, url: str, metrics: Metrics, reporter: Reporter, stop: threading.Event | child.Stop
) -> Parts | None:
    """The parts, as soon as the store lets them be made; None if asked to stop before."""
    log = structlog.get_logger("lever.worker")
    if why := eager():
        log.warning("kernels are compiled or loaded all at once, before the server listens", reason=why)
    told = ""
    while not stop.is_set():
        try:
            return make(settings, url, metrics)
        except UnavailableError as error:
            if str(error) != told:
                told = str(error)
                log.warning("waiting for the store", error=told)
            metrics.store_up.set(0)
            reporter.say(ready=False, why=f"waiting for the store: {error}")
            stop.wait(0.25)
    return None


@contextmanager
def telling(parts: Parts, orders: child.Orders, metrics: Metrics) -> Iterator[None]:
    """While it lasts, the first worker says what was learned; the others believe the same."""
    if parts.service is None or orders.name != FIRST:
        yield
        return
    learning = Beliefs(parts.service.directory, metrics)
    learning.start()
    try:
        yield
    finally:
        learning.stop()


def _serve(
    parts: Parts, orders: child.Orders, settings: Settings, metrics: Metrics, reporter: Reporter, stop: child.Stop
) -> None:
    """Take calls until asked to stop, saying whether we are ready as that changes."""
    limits = Limits(
        settings.choice_threads, settings.reward_threads, settings.max_streams, settings.max_waiting, settings.max_calls
    )
    access = None
    if settings.keys_file is not None:
        access = Access(settings.keys_file, (Key.of(orders.key, "supervisor", frozenset(("admin",))),))
    server = Server(parts.uses, parts.catalogue, metrics, limits, access, parts.offline)
    join = time.monotonic() + JOIN_S
    while not (parts.ready() or stop.is_set()) and time.monotonic() < join:
        stop.wait(TICK_S)
    _bind(server, orders, settings)
    server.start()
    tally = Refusals(metrics)
    ready = store_up = False
    why = "nothing is loaded yet: the store has not answered, and there is no snapshot file"
    while not stop.is_set():
        if store_up != parts.store_up():
            store_up = not store_up
            server.set_store(up=store_up)
        if not ready and parts.ready():
            ready, why = True, ""
            _settle()
            server.set_ready(ready=True)
            child.say("ready")
        elif not ready:
            server.set_ready(ready=False, why=why)
        reporter.say(ready=ready, why=why)
        follow(access)
        tally.tell()
        stop.wait(TICK_S)
    reporter.say(ready=False, why="stopping")
    server.stop(settings.grace_s)
    tally.tell(last=True)


def _bind(server: Server, orders: child.Orders, settings: Settings) -> None:
    """Listen on the shared port, with TLS if there is a certificate; then on the supervisor's own socket too."""
    if settings.tls_cert is None or settings.tls_key is None:
        server.bind(orders.address)
        return
    files = certificates.Files(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    server.bind(orders.address, certificates.credentials(files))
    server.bind(f"unix:{orders.inner}")


def follow(access: Access | None) -> None:
    """Take over what changed in the file of API keys."""
    if access is None:
        return
    log = structlog.get_logger("lever.worker")
    try:
        if access.refresh():
            log.info("API keys reloaded", keys=list(access.names))
    except LeverError as error:
        log.warning("the API keys were not reloaded; the old ones stay", error=str(error))


def _settle() -> None:
    """What was made by now stays: the collector need not look at it again."""
    gc.collect()
    gc.freeze()


def main() -> None:
    """Entry point of a worker process."""
    sys.exit(run(child.orders()))


if __name__ == "__main__":
    main()
