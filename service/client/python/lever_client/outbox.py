"""What is sent in the background: bounded, in batches, again where that can help, and not lost at exit in silence."""

from __future__ import annotations

import atexit
import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from lever_client.forks import Forked, survive

Item = TypeVar("Item")
Verdict = str | None  # of one item: TAKEN, AGAIN, or why it never will be taken

TAKEN = ""
AGAIN = None
BATCH = 500
SLOWEST_S = 2.0  # between two attempts
LOG = logging.getLogger("lever.client")


class Outbox(Forked, Generic[Item]):
    """A queue and the thread that empties it; the thread starts with the first item.

    `send` gets up to 500 items and returns a verdict for each. Items are sent more than once where an answer got lost,
    so each must be one that the server counts once. Where `send` raises, the batch is halved until the item that it
    cannot take is alone. When `most` wait, the oldest give way. Everything that is lost is counted and logged.

    After a fork the child begins with an empty queue: what waited is the parent's to send.
    """

    def __init__(
        self, send: Callable[[list[Item]], Sequence[Verdict]], every_s: float = 0.2, most: int = 100_000
    ) -> None:
        self._send = send
        self._every_s = every_s
        self._most = most
        self._begin()
        atexit.register(self.close)
        survive(self)

    def _begin(self) -> None:
        self._waiting: deque[Item] = deque()
        self._turn = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._hurry = False
        self._full = False  # and said so
        self._given = 0
        self._settled = 0
        self._told = 0
        self.dropped = 0  # gave way to newer ones, or were still here at the end
        self.refused = 0  # by the server, for good

    def forked(self) -> None:
        """In the child of a fork."""
        self._begin()

    def put(self, item: Item) -> bool:
        """Send it soon. False where it is dropped, as the outbox is closed."""
        with self._turn:
            self._given += 1
            if self._closed:
                self._drop(1, "after close")
                return False
            self._waiting.append(item)
            self._shorten()
            if self._thread is None:
                self._start()
            if len(self._waiting) in (1, BATCH):
                self._turn.notify_all()
        return True

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Whether everything put so far is safe with the server: sent in time, and nothing lost since the last flush."""
        with self._turn:
            goal = self._given
            self._hurry = self._settled < goal
            self._turn.notify_all()
            done = self._turn.wait_for(lambda: self._settled >= goal, timeout_s)
            lost, self._told = self.dropped + self.refused - self._told, self.dropped + self.refused
            return done and not lost

    def close(self, timeout_s: float = 5.0) -> bool:
        """Flush and end; whether everything was taken. What is left is dropped, counted and logged."""
        if self._closed:
            return not self.dropped
        done = self.flush(timeout_s)
        with self._turn:
            self._closed = True
            left = self._given - self._settled
            if left:
                self._drop(left, "left when it was closed")
            self._waiting.clear()
            self._turn.notify_all()
        if self._thread is not None:
            self._thread.join(1.0)
        atexit.unregister(self.close)
        return done

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="lever-outbox", daemon=True)
        self._thread.start()
        multiprocessing = sys.modules.get("multiprocessing.util")
        if multiprocessing is not None:  # its children end without atexit
            multiprocessing.Finalize(None, self.close, exitpriority=10)

    def _run(self) -> None:
        pause_s = 0.0
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._closed or bool(self._waiting))
                if pause_s:  # a server that is away is not helped by hurry
                    self._turn.wait_for(lambda: self._closed, pause_s)
                else:
                    self._turn.wait_for(self._due, self._every_s)
                if self._closed:
                    return
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            verdicts = self._attempt(batch)
            with self._turn:
                if self._closed:  # counted as left
                    return
                again = self._settle(batch, verdicts)
            pause_s = min(max(2 * pause_s, 0.05), SLOWEST_S) if again else 0.0

    def _due(self) -> bool:
        return self._closed or self._hurry or len(self._waiting) >= BATCH

    def _settle(self, batch: list[Item], verdicts: Sequence[Verdict]) -> bool:
        """Count, put back what may be sent again; whether there is any."""
        again = [item for item, verdict in zip(batch, verdicts, strict=True) if verdict is AGAIN]
        refused = [verdict for verdict in verdicts if verdict]
        if refused:
            self.refused += len(refused)
            LOG.warning("%d events were refused for good, the first: %s", len(refused), refused[0])
        self._settled += len(batch) - len(again)
        self._waiting.extendleft(reversed(again))
        self._shorten()
        if not self._waiting:
            self._hurry = self._full = False
        self._turn.notify_all()
        return bool(again)

    def _attempt(self, batch: list[Item]) -> Sequence[Verdict]:
        try:
            verdicts = self._send(batch)
            if len(verdicts) == len(batch):
                return verdicts
            raise ValueError(f"{len(verdicts)} results for {len(batch)} events")  # noqa: TRY301
        except Exception as error:  # noqa: BLE001  # whatever it is, the thread goes on
            if len(batch) == 1:
                return [f"{type(error).__name__}: {error}"]
        half = len(batch) // 2
        return [*self._attempt(batch[:half]), *self._attempt(batch[half:])]

    def _shorten(self) -> None:
        many = len(self._waiting) - self._most
        for _ in range(many):
            self._waiting.popleft()
        if many > 0:
            self._settled += many
            self.dropped += many
            if not self._full:
                self._full = True
                LOG.warning("%d events wait, as many as may: the oldest are dropped for now", self._most)

    def _drop(self, count: int, why: str) -> None:
        self.dropped += count
        self._settled += count
        LOG.warning("%d events dropped: %s", count, why)
