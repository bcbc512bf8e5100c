"""Sends the trials that wait in the buffers, each chunk until it is answered."""

from __future__ import annotations

import secrets

from service.errors import UnavailableError
from service.serving.published import Published
from service.store.contract import LostError, Store
from service.telemetry.metrics import Metrics


class Flusher:
    """One writer of the store's watermarks. Used by one thread at a time."""

    def __init__(self, store: Store, directory: Published, metrics: Metrics) -> None:
        self._store = store
        self._directory = directory
        self._metrics = metrics
        self._writer = secrets.token_hex(8)

    def flush(self) -> bool:
        """Send every waiting chunk; false if the store is away."""
        for uid, buffer in list(self._directory.buffers.items()):
            snapshot = self._directory.by_uid.get(uid)
            if snapshot is None:
                continue
            experiment = snapshot.experiment
            while (chunk := buffer.chunk()) is not None:
                try:
                    late = self._store.append(
                        uid, self._writer, chunk.sequence, chunk.stride, chunk.rows, experiment.horizon_ms
                    )
                    if late:
                        self._metrics.trials_dropped.add((experiment.name, "late"), late)
                except LostError:
                    self._metrics.trials_dropped.add((experiment.name, "lost"), chunk.count)
                except UnavailableError:
                    return False
                buffer.done()
            if buffer.dropped:
                dropped, buffer.dropped = buffer.dropped, 0
                self._metrics.trials_dropped.add((experiment.name, "full"), dropped)
        self._metrics.flush_age.mark()
        return True
