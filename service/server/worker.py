"""A serving process: the working parts of assemble.py behind a gRPC server. Started by the supervisor, one or more."""

from __future__ import annotations

import gc
import hashlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from bandits.warmup import eager
from service import __version__, logs
from service.analysis.worth import Worth
from service.errors import LeverError, UnavailableError
from service.learning import snapshot_file
from service.learning.agreement import Agreement
from service.learning.beliefs import Beliefs
from service.learning.snapshot_file import SnapshotFile
from service.management.offline import Apart
from service.process import child
from service.process.settings import Settings
from service.rpc.server import Limits, Server
from service.security import certificates, secrets
from service.security.api_keys import Access, Key, difference
from service.server import kernels
from service.server.assemble import Service, Tuning, build
from service.store.contract import Event, Journal
from service.store.counted import Counted
from service.store.durability import durability
from service.store.redis import RedisStore
from service.telemetry.dumps import STARTING, Reporter
from service.telemetry.metrics import Metrics
from service.telemetry.refusals import Refusals

if TYPE_CHECKING:
    from service.tracing.spans import Traces

# A thread that computes in Python keeps the interpreter this long while a choice waits. Beside a busy one, Select's
# median was 5.5 ms at the default of 5 ms and 0.9 ms at 0.5 ms; without one there was no difference (2 cores).
SWITCH_S = 0.0005
# A worker joins the port once it can answer, but no later than this: from then on it says why it cannot.
JOIN_S = 2.0
TICK_S = 0.05
REST_S = 1.0  # an experiment that nobody asks this process for is brought up to date this seldom
FIRST = "0"  # what the supervisor calls the first worker


def make(settings: Settings, url: str, metrics: Metrics, traces: Traces | None = None) -> Service:
    """The service over the store at `url`. UnavailableError while the store does not give the keys.

    PreconditionError where they are none, or not those of the store's other servers, and for a store of no use.
    """
    store, mark = RedisStore(url, replicas=settings.store_replicas), snapshot_file.mark(settings.redis_url)
    shared = secrets.remembered(settings.data_dir, mark, store.secret)
    try:
        held = secrets.find(settings.token_keys, None if settings.redis_url else settings.data_dir, shared)
        agreement = Agreement(
            meet=lambda: secrets.agree(held.tokens, store.agree),
            reaffirm=lambda: secrets.reaffirm(held, store.secret) if settings.redis_url else None,
        )
        with suppress(
            UnavailableError
        ):  # away: it starts from its snapshot file, and the feed asks before it does anything
            agreement.meet()
        _tell_durability(store)
    except LeverError:
        store.close()
        raise
    service = build(
        Counted(store, metrics) if traces is None else traces.store(store, metrics), held, metrics,
        Tuning(settings.poll_ms, settings.flush_ms, settings.buffer_bytes, settings.state_max, REST_S),
        offline=Apart(url), snapshot_file=SnapshotFile(settings.data_dir / f"snapshot-{mark}.bin"),
        agreement=agreement,
    )  # fmt: skip
    if settings.share_from:
        service.feed.share(store.states, settings.share_from)
    if traces is not None:
        service.feed.flush = traces.flush(service.feed.flush, service.feed.waiting)
    return replace(service, close=store.close)


def _tell_durability(store: RedisStore) -> None:
    """Log what an acknowledged reward survives. UnavailableError for a store that would forget claims."""
    try:
        facts = store.facts()
    except UnavailableError:
        return  # away: what it kept when it was last reached still holds
    structlog.get_logger("lever.worker").info(durability(facts), **facts)


def run(orders: child.Orders) -> int:
    """Serve until a signal, then let running calls end, flush, and return 0. 1 where the store turns out not to be ours."""
    settings = orders.resolved()
    logs.configure(settings.log_level, settings.log_json, worker=orders.name)
    log = structlog.get_logger("lever.worker")
    sys.setswitchinterval(SWITCH_S)
    metrics = Metrics()
    metrics.build_info.set(1, (__version__,))
    reporter = Reporter(Path(orders.report), orders.name, metrics)
    reporter.start()
    with traced(settings.traces) as traces, child.stopping() as stop:
        service = await_store(settings, orders.url, metrics, reporter, stop, traces)
        if service is not None:
            gc.disable()  # until it is ready: looking again and again at what only grows was a third of a start
            service.start()
            try:
                with _telling_beliefs(service, orders):
                    _serve(service, orders, settings, reporter, stop, traces)
            finally:  # its threads would keep a process alive that serves nobody
                log.info("stopping: flushing trials")
                service.stop()
        reporter.stop()
    if service is not None and service.feed.refused is not None:
        log.error(str(service.feed.refused))
        return 1
    log.info("stopped")
    return 0


@contextmanager
def traced(share: float | None) -> Iterator[Traces | None]:
    """What puts spans around things, None where no traces are asked for; what is left of them is sent in the end."""
    if share is None:
        yield None
        return
    from service.tracing.provider import provider
    from service.tracing.spans import Traces

    made = provider(share)
    try:
        yield Traces(made.get_tracer("lever", __version__))
    finally:
        made.shutdown()


def await_store(
    settings: Settings, url: str, metrics: Metrics, reporter: Reporter, stop: threading.Event | child.Stop,
    traces: Traces | None = None,
) -> Service | None:  # fmt: skip
    """The service, as soon as the store lets it be made; None if asked to stop before."""
    log = structlog.get_logger("lever.worker")
    if reason := eager():
        log.warning("kernels are compiled or loaded all at once, before the server listens", reason=reason)

    def tell(count: int, total: int) -> None:
        reporter.say(ready=False, why=f"{STARTING}: {kernels.told(count, total)}")
        child.say(kernels.told(count, total))

    reporter.say(ready=False, why=f"{STARTING}: kernels are loaded")
    with child.expendable():
        if stop.is_set():
            return None
        kernels.prepare(tell)
    why = ""
    while not stop.is_set():
        try:
            return make(settings, url, metrics, traces)
        except UnavailableError as error:
            if str(error) != why:
                why = str(error)
                log.warning("waiting for the store", error=why)
            metrics.store_up.set(0)
            reporter.say(ready=False, why=f"waiting for the store: {error}")
            stop.wait(0.25)
        except LeverError as error:
            log.error(str(error))  # noqa: TRY400  # the text is for people; there is nothing to trace
            sys.stderr.flush()
            os._exit(1)  # nothing was served or decided yet; the supervisor gives up after some attempts
    return None


@contextmanager
def _telling_beliefs(service: Service, orders: child.Orders) -> Iterator[None]:
    """While it lasts, the first worker says what was learned; the others believe the same."""
    if orders.name != FIRST:
        yield
        return
    beliefs = Beliefs(service.directory, service.metrics)
    worth = Worth(service.feed, service.directory, service.metrics)
    beliefs.start()
    worth.start()
    try:
        yield
    finally:
        worth.stop()
        beliefs.stop()


def _serve(
    service: Service, orders: child.Orders, settings: Settings, reporter: Reporter, stop: child.Stop,
    traces: Traces | None,
) -> None:  # fmt: skip
    """Take calls until asked to stop, saying whether we are ready as that changes."""
    limits = Limits(
        settings.choice_threads, settings.reward_threads, settings.max_streams, settings.max_waiting, settings.max_calls
    )
    access = None
    if settings.keys_file is not None:
        access = Access(settings.keys_file, (Key.of(orders.key, "supervisor", frozenset(("admin",))),))
    server = Server(
        service.use_cases, service.experiments, service.metrics, limits, access, service.offline,
        trace=None if traces is None else traces.method,
    )  # fmt: skip
    join = time.monotonic() + JOIN_S
    while not (service.feed.ready or stop.is_set()) and time.monotonic() < join:
        stop.wait(TICK_S)
    _bind(server, orders, settings)
    server.start()
    refusals = Refusals(service.metrics)
    ready = store_up = False
    why = "nothing is loaded yet: the store has not answered, and there is no snapshot file"
    while not stop.is_set() and service.feed.refused is None:
        if store_up != service.feed.store_up:
            store_up = not store_up
            server.set_store(up=store_up)
        if not ready and service.feed.ready:
            ready, why = True, ""
            _settle()
            server.set_ready(ready=True)
            child.answering(service.feed.refresh)
            child.say("ready")
            kernels.finish()
        elif not ready:
            server.set_ready(ready=False, why=why)
        reporter.say(ready=ready, why=why)
        follow(access, service.journal)
        refusals.tell()
        stop.wait(TICK_S)
    reporter.say(ready=False, why="stopping")
    server.stop(settings.grace_s)
    refusals.tell(last=True)


def _bind(server: Server, orders: child.Orders, settings: Settings) -> None:
    """Listen on the shared port, with TLS if there is a certificate; then on the supervisor's own socket too."""
    if settings.tls_cert is None or settings.tls_key is None:
        server.bind(orders.address)
        return
    files = certificates.Files(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    server.bind(orders.address, certificates.credentials(files))
    server.bind(f"unix:{orders.inner}")


def follow(access: Access | None, journal: Journal | None = None) -> None:
    """Take over what changed in the file of API keys, and note it in the journal."""
    if access is None:
        return
    log = structlog.get_logger("lever.worker")
    before = access.keys
    try:
        if access.refresh():
            log.info("API keys reloaded", keys=list(access.names))
            if journal is not None:
                _note(journal, before, access.keys, log)
    except LeverError as error:
        log.warning("the API keys were not reloaded; the old ones stay", error=str(error))


def _note(journal: Journal, before: tuple[Key, ...], after: tuple[Key, ...], log: structlog.BoundLogger) -> None:
    """Once for all workers and servers that read the same file."""
    lines = "\n".join(key.line() for key in after)
    event = Event("API keys changed", "the file of keys", detail=difference(before, after))
    try:
        journal.note(event, hashlib.sha256(lines.encode()).hexdigest()[:16])
    except UnavailableError as error:
        log.warning("not in the history", what=event.what, error=str(error))


def _settle() -> None:
    """What was made by now stays: the collector need not look at it again."""
    gc.enable()
    gc.collect()
    gc.freeze()


def main() -> None:
    """Entry point of a worker process."""
    child.leave(run(child.orders()))


if __name__ == "__main__":
    main()
