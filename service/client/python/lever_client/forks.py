"""What lives on in the child of a fork (gunicorn --preload, multiprocessing): its locks, threads and sockets are new."""

from __future__ import annotations

import os
import weakref
from abc import ABC, abstractmethod


class Forked(ABC):
    """Something that begins anew in a child."""

    @abstractmethod
    def forked(self) -> None:
        """In the child, before anything else runs."""


_ALIVE: weakref.WeakSet[Forked] = weakref.WeakSet()


def survive(one: Forked) -> None:
    """Call its `forked` in every child from now on."""
    _ALIVE.add(one)


def _in_child() -> None:
    for one in list(_ALIVE):
        one.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
