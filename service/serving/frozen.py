"""What a batch draws from, kept by the caller: a mailing of many calls is chosen from one snapshot, on any server.

It is sealed, as kernels trust what they read, and holds for one version of the configuration and until a date
changes what is eligible.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from bandits.pmf import fill
from service import __version__
from service.errors import InvalidError, PreconditionError
from service.experiment.compiled import Experiment
from service.serving.snapshot import Snapshot
from service.serving.token import TokenKeys

BYTES = 8 << 20  # of a frozen snapshot, sealed

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Odds(Protocol):
    """One segment: its eligible arms, and how they are drawn."""

    @property
    def arms(self) -> Ints:
        """Eligible arm numbers, ascending."""

    @property
    def contextual(self) -> bool:
        """Whether the odds depend on features; then `packed` has what they depend on, else `pmf_of` says them."""

    @property
    def packed(self) -> Floats:
        """The posterior as kernels read it."""

    def pmf_of(self, arms: Ints) -> Floats:
        """The pmf over some of the eligible arms where it does not depend on features."""


class _Segment(msgspec.Struct, array_like=True):
    """The same as bytes; `point` are the average features."""

    number: int
    contextual: bool
    arms: bytes
    pmf: bytes
    point: bytes
    packed: bytes


class _Frozen(msgspec.Struct, array_like=True):
    made_by: str  # other versions of Lever may lay posteriors out in another way
    uid: str
    version: int
    expires_ms: int | None
    segments: list[_Segment]


@dataclass(frozen=True, slots=True)
class _Kept:
    """Odds out of a frozen snapshot."""

    arms: Ints
    contextual: bool
    pmf: Floats
    point: Floats
    packed: Floats

    def pmf_of(self, arms: Ints) -> Floats:
        """As Slot.pmf_of, bit for bit: the same kernel reads the same numbers."""
        if len(arms) == len(self.arms):
            return self.pmf
        out = np.empty(len(arms))
        fill(self.packed, self.point, arms, out)
        return out


def freeze(keys: TokenKeys, snapshot: Snapshot) -> bytes:
    """What `thawed` makes odds of again. PreconditionError where there is too much of it."""
    exp = snapshot.experiment
    segments = [
        _Segment(
            slot.segment, slot.contextual, slot.arms.tobytes(), slot.pmf.tobytes(), slot.mean.tobytes(),
            slot.packed.tobytes(),
        )
        for slot in snapshot.slots
        if exp.segments.live[slot.segment] and not exp.segments.serves_default[slot.segment]
    ]  # fmt: skip
    plain = msgspec.msgpack.encode(_Frozen(__version__, exp.uid, exp.version, snapshot.expires_ms, segments))
    if len(plain) > BYTES - 64:
        said = f"what experiment {exp.name!r} believes takes {len(plain) >> 20} MB, a frozen snapshot has at most {BYTES >> 20}"
        raise PreconditionError(said, "TOO_LARGE_TO_FREEZE")
    return keys.wrap(plain)


def thawed(keys: TokenKeys, sealed: bytes, exp: Experiment, now: int) -> Mapping[int, Odds]:
    """The odds by segment. InvalidError for what is none of this experiment, PreconditionError SNAPSHOT_CHANGED."""
    kept, odds = _opened(keys, sealed)
    if kept.uid != exp.uid:
        raise InvalidError.field("frozen", f"is not of experiment {exp.name!r}")
    late = kept.expires_ms is not None and now >= kept.expires_ms
    if late or kept.made_by != __version__ or kept.version != exp.version:
        said = f"experiment {exp.name!r} has changed since this snapshot: freeze it anew"
        raise PreconditionError(said, "SNAPSHOT_CHANGED")
    return odds


@lru_cache(4)
def _opened(keys: TokenKeys, sealed: bytes) -> tuple[_Frozen, Mapping[int, Odds]]:
    try:
        kept = msgspec.msgpack.decode(keys.unwrap(sealed), type=_Frozen)
    except (InvalidError, msgspec.DecodeError):
        raise InvalidError.field("frozen", "not a frozen snapshot of this service") from None
    return kept, {
        one.number: _Kept(
            np.frombuffer(one.arms, np.int64), one.contextual, np.frombuffer(one.pmf), np.frombuffer(one.point),
            np.frombuffer(one.packed),
        )
        for one in kept.segments
    }  # fmt: skip
