"""How fast an experiment's log grows, and whether that is so fast that one server should add it up for all."""

from __future__ import annotations

import time
from typing import NamedTuple

from service.learning.replica import Replica

WINDOW_S = 1.0  # over which rows are counted
STAYS = 0.5  # what is busy stays so down to this share of the rate from which it is


class _Seen(NamedTuple):
    at: float  # by the monotonic clock
    rows: int
    busy: bool


class Pace:
    """Rates of all experiments, by what their replicas have come to, whether they added it up or loaded it."""

    def __init__(self, rows_s: float, window_s: float = WINDOW_S) -> None:
        self._rows_s = rows_s
        self._window_s = window_s
        self._seen: dict[str, _Seen] = {}

    def busy(self, replica: Replica) -> bool:
        """Whether it had at least `rows_s` rows a second, as of the last whole window."""
        now = time.monotonic()
        seen = self._seen.get(replica.uid)
        if seen is None:
            self._seen[replica.uid] = _Seen(now, replica.rows, busy=False)
            return False
        passed = now - seen.at
        if passed >= self._window_s:
            wanted = self._rows_s * (STAYS if seen.busy else 1.0)
            seen = _Seen(now, replica.rows, replica.rows - seen.rows >= wanted * passed)
            self._seen[replica.uid] = seen
        return seen.busy

    def forget(self, uid: str) -> None:
        """The experiment is gone."""
        self._seen.pop(uid, None)
