"""What the servers of one store share beside experiments: their keys. The feed says when to see to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Agreement:
    """Calls that settle it; both raise UnavailableError while the store is away.

    `meet` comes before anything is read from the store or written to it, `reaffirm` after the store lost an experiment, as
    it may have lost the keys too. Where `meet` raises another LeverError, this store is none that the server may work with.
    """

    meet: Callable[[], None] = _nothing
    reaffirm: Callable[[], None] = _nothing
