"""Which experiments a poll asks about: those in use at every one, the others in turn.

Asking about one without news costs some ten microseconds, which with thousands would be most of what a server does. So where there are
more than a hundred, each that is not in use is asked about at every tenth poll at the least, and so is the registry.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import NamedTuple

POLLS = 10  # of a round, at the most
LEAST = 100  # experiments of a poll, where there are as many
IN_USE_S = 10.0  # after the last news of it an experiment is asked about at every poll


class Asked(NamedTuple):
    """What one poll asks about."""

    uids: Collection[str]
    listed: bool  # the registry too


class Rounds:
    """Used by the polling thread; `use` by any."""

    def __init__(self) -> None:
        self._coming: list[list[str]] = []  # what is left of this round, its end first
        self._used: dict[str, float] = {}  # until when

    def use(self, uid: str) -> None:
        """There is news of it, or will be in a moment."""
        self._used[uid] = time.monotonic() + IN_USE_S

    def next(self, uids: Collection[str], *, whole: bool) -> Asked:
        """What to ask about next of these, which have a quick `in`; all of them where it is to be the `whole`."""
        if whole or polls(len(uids)) == 1:
            self._coming.clear()
            return Asked(list(uids), listed=True)
        begins = not self._coming
        if begins:
            every, size = list(uids), -(-len(uids) // polls(len(uids)))
            self._coming = [every[at : at + size] for at in range(0, len(every), size)][::-1]
            self._expire()
        asked = [uid for uid in (*self._coming.pop(), *list(self._used)) if uid in uids]
        return Asked(dict.fromkeys(asked), begins)

    def _expire(self) -> None:
        now = time.monotonic()
        for uid, until in list(self._used.items()):
            if until < now:
                self._used.pop(uid, None)


def polls(count: int) -> int:
    """How many polls a round over so many experiments takes."""
    return max(1, min(POLLS, -(-count // LEAST)))
