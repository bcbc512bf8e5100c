"""`lever serve`: builds the process tree, applies the experiments, says when it is ready, and takes it down again."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from service import __version__, logs
from service.errors import LeverError
from service.process import descriptors
from service.process.child import Orders
from service.process.kernel_cache import unwritable, use_kernel_cache
from service.process.settings import Settings, chosen, packed
from service.security import api_keys, certificates
from service.server.apply import Refused, apply
from service.server.supervisor import TICK_S, Asked, Child, Children, Ports, Signals, address_of, module
from service.store.embedded import Embedded

HTTP, WEB = "http", "web"  # names of the children that are no workers
FLUSH_S = 10.0  # for a worker's last flush, beyond its grace
HTTP_S = 10.0
HOPELESS = 4  # starts in a row that failed before the tree was ever ready
RESTART_S = 1.0  # between two attempts to start the store again


def serve(settings: Settings, worker: Sequence[str] | None = None) -> int:
    """Serve until a signal. Returns the exit status: 0 after a clean stop, 2 where the input was wrong.

    `worker` is the command of the workers, for tests that put something else behind the ports.
    """
    logs.configure(settings.log_level, settings.log_json)
    use_kernel_cache()  # inherited by the workers, as is this:
    descriptors.raise_limit()
    log = structlog.get_logger("lever")
    try:
        web = None if settings.web_port is None else (settings.web_host, settings.web_port)
        ports = Ports.take((settings.grpc_host, settings.grpc_port), (settings.http_host, settings.http_port), web)
    except OSError as error:
        log.error(error.strerror)  # noqa: TRY400  # the text is for people; there is nothing to trace
        return 1
    run_dir = Path(tempfile.mkdtemp(prefix="lever-"))
    try:
        _keep_kernels(run_dir)
        if settings.tls_cert is not None and settings.tls_key is not None:
            certificates.Files(settings.tls_cert, settings.tls_key, settings.tls_client_ca).read()
        return ProcessTree(settings, worker or module("service.server.worker"), ports, run_dir).run()
    except LeverError as error:
        log.error(str(error))  # noqa: TRY400  # as above
        return 1
    finally:
        ports.close()
        shutil.rmtree(run_dir, ignore_errors=True)


def _keep_kernels(run_dir: Path) -> None:
    """Where the cache of kernels cannot be written, those of this run are compiled into its own folder."""
    why = unwritable()
    if why:
        structlog.get_logger("lever").warning("compiled kernels cannot be kept: every start compiles anew", why=why)
        os.environ["NUMBA_CACHE_DIR"] = str(run_dir / "kernels")


class Line:
    """How far a start is: a line of a terminal that changes in place, elsewhere one line of the log."""

    def __init__(self) -> None:
        self._shown = ""

    def show(self, text: str) -> None:
        """The text as it is now; an empty one clears the line."""
        if text == self._shown:
            return
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K{text}")
            sys.stderr.flush()
        elif not self._shown:
            structlog.get_logger("lever").info(
                "kernels are compiled, once for this machine; /readyz says how far it is"
            )
        self._shown = text


class ProcessTree:
    """The tree of one `lever serve`. Everything happens on the main thread: children end with the thread that
    started them.
    """

    def __init__(self, settings: Settings, worker: Sequence[str], ports: Ports, run_dir: Path) -> None:
        self._settings = settings
        self._worker = worker
        self._ports = ports
        self._run_dir = run_dir
        self._report = str(run_dir / "report.sock")
        self._key = api_keys.new_secret()  # for its own calls, where calls need one
        self._family = Children(settings.watchdog_s)
        self._store = None if settings.redis_url else Embedded(settings.data_dir)
        self._store_due = 0.0
        self._url = settings.redis_url
        self._log = structlog.get_logger("lever")
        self._begun = time.monotonic()
        self._why = ""  # the store does not start, as it was told
        self._signals = Signals(self._family.kill)

    def run(self) -> int:
        """Start, serve, stop; the exit status."""
        status = 0
        try:
            self._signals.interruptible = True
            if self._store is not None:
                self._url = self._store.start()
            self._signals.interruptible = False
            self._start()
            if self._await_ready():
                status = self._apply() or self._await_current()
            if status == 0 and not self._signals.asked:
                self._announce()
            while status == 0 and not self._signals.asked:
                self._tend()
        except Asked:
            pass
        finally:
            self._signals.interruptible = False
            well = self._stop()
        return status if well else status or 1

    def _start(self) -> None:
        ports = {"grpc": address_of(self._ports.grpc), "http": address_of(self._ports.http)}
        self._log.info("starting", version=__version__, **ports, settings=chosen(self._settings))
        http = self._orders(HTTP, "", self._ports.http.fileno())
        http.inner = self._inner()  # whom the console asks
        self._family.add(Child(module("service.server.operator_worker"), http))
        for index in range(self._settings.workers):
            orders = self._orders(str(index), address_of(self._ports.grpc))
            self._family.add(Child(self._worker, orders))
        if self._ports.web is not None:
            self._family.add(
                Child(module("service.server.http_worker"), self._orders(WEB, "", self._ports.web.fileno()))
            )

    def _orders(self, name: str, address: str, listener: int = -1) -> Orders:
        inner = self._socket(name) if address and self._settings.tls_cert else ""
        told = packed(self._settings)
        return Orders(name, os.getpid(), told, self._url, self._report, address, listener, inner, self._key)

    def _socket(self, name: str) -> str:
        return str(self._run_dir / f"worker-{name}.sock")

    def _inner(self) -> str:
        """Where a worker answers calls of our own: its socket where the port takes TLS."""
        return f"unix:{self._socket('0')}" if self._settings.tls_cert else address_of(self._ports.grpc)

    @property
    def _workers(self) -> list[Child]:
        return [child for child in self._family.children if child.orders.address]

    @property
    def _serving(self) -> list[Child]:
        """Those that work with the store, and flush into it."""
        return [child for child in self._family.children if child.name != HTTP]

    def _tend(self) -> None:
        self._family.tend(TICK_S)
        now = time.monotonic()
        if self._store is None or self._store.alive() or now < self._store_due:
            return
        self._log.error("the store ended unasked and starts again")
        self._store_due = now + RESTART_S
        try:
            url = self._store.restart()
        except LeverError as error:
            if str(error) != self._why:
                self._why = str(error)
                self._log.error("the store does not start; trying again", error=self._why)
            return
        self._why = ""
        self._log.info("the store runs again")
        if url != self._url:  # its socket is elsewhere now: workers learn of it as they start
            self._url = url
            for child in self._serving:
                child.orders.url = url
                child.send(signal.SIGTERM)

    def _await_ready(self) -> bool:
        """Whether all children are ready; false if asked to stop before. LeverError if one cannot even start."""
        progress = Line()
        while not self._signals.asked:
            progress.show(self._family.progress)
            if all(child.ready for child in self._family.children):
                progress.show("")
                return True
            for child in self._family.children:
                if child.failures >= HOPELESS:
                    raise LeverError(f"{child.name} does not start; its messages are above")
            self._tend()
        return False

    def _apply(self) -> int:
        if self._settings.experiments is None:
            return 0
        try:
            self._signals.interruptible = True
            apply(self._settings.experiments, self._inner(), self._key if self._settings.keys_file else "")
        except Refused as refused:
            for line in refused.lines:
                sys.stderr.write(f"error: {line}\n")
            return 2
        finally:
            self._signals.interruptible = False
        return 0

    def _await_current(self) -> int:
        """What was applied is known to every process that chooses: one that is asked the moment after must not say NOT_FOUND."""
        if self._settings.experiments is not None:
            for child in self._serving:
                child.ask()
            while not self._signals.asked and not all(child.current for child in self._serving):
                self._tend()
        return 0

    def _announce(self) -> None:
        grpc, http = address_of(self._ports.grpc), address_of(self._ports.http)
        store = "the embedded store in " + str(self._settings.data_dir) if self._store else "the given store"
        web = f"websites on http://{address_of(self._ports.web)}, " if self._ports.web is not None else ""
        sys.stdout.write(
            f"Lever is ready: gRPC on {grpc}, http://{http}/metrics, {web}{store}. "
            f"The console: http://{http}/. Ctrl-C stops it.\n"
        )
        sys.stdout.flush()
        self._log.info("ready", seconds=round(time.monotonic() - self._begun, 1), workers=self._settings.workers)

    def _stop(self) -> bool:
        self._log.info("stopping")
        well = True
        if any(child.ready for child in self._serving):  # else there is nothing to flush, and all end together
            well = self._family.end(self._serving, self._settings.grace_s + FLUSH_S)
        well &= self._family.end(self._family.children, HTTP_S)
        if self._store is not None:
            self._store.stop()
        self._log.info("stopped")
        return well
