"""What is sent in the background: bounded, in batches, again where it failed, and not lost at exit."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")

BATCH = 500
SLOWEST_S = 5.0  # between two attempts


class Outbox(Generic[Item]):
    """A queue and the thread that empties it.

    `send` gets up to 500 items and returns those that may be sent again; where it raises, that is all of them. Items
    are sent more than once where an answer got lost, so each must be one that the server counts once. When `most` wait,
    the oldest give way.
    """

    def __init__(self, send: Callable[[list[Item]], list[Item]], every_s: float = 0.2, most: int = 100_000) -> None:
        self._send = send
        self._every_s = every_s
        self._most = most
        self._waiting: deque[Item] = deque()
        self._turn = threading.Condition()
        self._sending = False
        self._closed = False
        self._hurry = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="lever-outbox", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def put(self, item: Item) -> None:
        """Send it soon."""
        with self._turn:
            self._waiting.append(item)
            self._shorten()
            if len(self._waiting) >= BATCH:
                self._turn.notify_all()

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Whether everything put so far was taken by the server within the time."""
        with self._turn:
            self._hurry = True
            self._turn.notify_all()
            return self._turn.wait_for(lambda: not self._waiting and not self._sending, timeout_s)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Flush and end; whether everything was taken."""
        done = self.flush(timeout_s)
        with self._turn:
            self._closed = True
            self._turn.notify_all()
        self._thread.join(1.0)
        atexit.unregister(self.close)
        return done

    def _run(self) -> None:
        wait_s = self._every_s
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._closed or self._hurry or len(self._waiting) >= BATCH, wait_s)
                if self._closed:
                    return
                self._hurry = False
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                self._sending = bool(batch)
            again = self._attempt(batch) if batch else []
            with self._turn:
                self._waiting.extendleft(reversed(again))
                self._shorten()
                self._sending = False
                self._hurry = bool(self._waiting) and not again
                self._turn.notify_all()
            if again:
                time.sleep(min(wait_s, SLOWEST_S))  # a server that is away is not helped by hurry
            wait_s = min(2 * wait_s, SLOWEST_S) if again else self._every_s

    def _attempt(self, batch: list[Item]) -> list[Item]:
        try:
            return self._send(batch)
        except Exception as error:  # noqa: BLE001  # whatever it is, the thread goes on
            logging.getLogger("lever.client").warning("%d events wait: %s", len(batch), error)
            return batch

    def _shorten(self) -> None:
        while len(self._waiting) > self._most:
            self._waiting.popleft()
            self.dropped += 1
