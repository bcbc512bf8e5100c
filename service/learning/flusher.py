"""Sends the trials that wait in the buffers, each chunk until it is answered."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import structlog

from service.errors import UnavailableError
from service.experiment.compiled import Experiment
from service.serving.buffer import Buffer
from service.serving.published import Published
from service.store.contract import LostError, Store, UnreachableError
from service.telemetry.metrics import Metrics


class Flusher:
    """One writer of the store's watermarks. Used by one thread at a time."""

    def __init__(self, store: Store, directory: Published, metrics: Metrics, told: Callable[[str], None]) -> None:
        """`told` hears of each experiment that is sent something of."""
        self._store = store
        self._directory = directory
        self._metrics = metrics
        self._told = told
        self._writer = secrets.token_hex(8)
        self._log = structlog.get_logger("lever.feed")

    def flush(self) -> bool:
        """Send every waiting chunk; false if nobody is there. What is refused of one experiment hinders no other's."""
        taken = True
        for uid, buffer in list(self._directory.buffers.items()):
            if not (len(buffer) or buffer.dropped):
                continue
            snapshot = self._directory.by_uid.get(uid)
            if snapshot is None:
                continue
            self._told(uid)
            try:
                self._send(snapshot.experiment, buffer)
            except UnreachableError:  # nobody is there: the others would wait for the time-out too
                return False
            except UnavailableError:
                taken = False
            except Exception:  # noqa: BLE001 - whatever it is, the others' trials go on
                self._log.exception("trials cannot be sent; trying again", experiment=snapshot.experiment.name)
                taken = False
        if taken:
            self._metrics.flush_age.mark()
        return True

    def _send(self, experiment: Experiment, buffer: Buffer) -> None:
        """One experiment's trials. UnavailableError: what was not taken stays in the buffer."""
        dropped = self._metrics.trials_dropped
        while (chunk := buffer.chunk()) is not None:
            try:
                late = self._store.append(
                    experiment.uid, self._writer, chunk.sequence, chunk.stride, chunk.rows, experiment.horizon_ms
                )
                if late:
                    dropped.add((experiment.name, "late"), late)
            except LostError:
                dropped.add((experiment.name, "lost"), chunk.count)
            buffer.done()
        if buffer.dropped:
            full, buffer.dropped = buffer.dropped, 0
            dropped.add((experiment.name, "full"), full)
