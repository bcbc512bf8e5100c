"""Choosing for many subjects at once: the same rules as personalizer.select, column by column."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bandits.draw import draw_many
from service import rows as layout
from service.errors import InvalidError
from service.experiment import Experiment
from service.features import Column
from service.identity import decision_units, sticky_units
from service.personalizer import Draw, Mode, Personalizer, Reason, arm_numbers, eligible, inactive
from service.rows import DEFERRED, FIXED, HOLDOUT, STICKY, UNCOUNTED
from service.snapshot import Slot, Snapshot
from service.token import NONCE, WHAT, WHOSE

Ints = NDArray[np.int64]
Pace = Callable[[int], Iterator[slice]]

# What a batch does row by row it does in parts of a few tenths of a millisecond, with a pause after each that lasts as
# long as single choices are being made, but no more than so many times: a Select hardly waits for a batch, and a batch
# comes to its end under any load.
_PART = 250
_PAUSE_S = 20e-6
_PAUSES = 10


@dataclass(slots=True)
class BatchDecision:
    """n choices as columns; arms and segments are numbers into the id tuples."""

    tokens: list[bytes]
    arms: Ints
    arm_ids: tuple[str, ...]
    payloads: tuple[str, ...]
    propensities: NDArray[np.float64]
    segments: Ints
    segment_ids: tuple[str, ...]
    reasons: Ints
    holdout: bytes
    stale: bool
    version: int


@dataclass(slots=True)
class _Draws:
    """What was drawn for n subjects, before they have names."""

    arm: Ints
    propensity: NDArray[np.float64]
    flags: Ints
    reason: Ints

    def fill(self, rows: Ints, draw: Draw) -> None:
        """One outcome for all these rows."""
        self.arm[rows] = draw.arm
        self.propensity[rows] = draw.propensity
        self.flags[rows] = draw.flags
        self.reason[rows] = draw.reason


def select_batch(
    personalizer: Personalizer,
    experiment: str,
    subjects: Sequence[str],
    columns: Mapping[str, Column],
    arms: Sequence[str],
    deferred: bool,
    mode: Mode,
) -> BatchDecision:
    """Choose for n subjects. Raises as Personalizer.select; a batch has no previews and repeats no decisions."""
    if mode == Mode.PREVIEW:
        raise InvalidError.field("mode", "a batch has no previews")
    snapshot = personalizer.directory.named(experiment)
    exp = snapshot.experiment
    now = personalizer.clock.now_ms()
    n = len(subjects)
    subset = arm_numbers(exp, arms) if arms else None
    encoded = exp.encoder.encode_columns(columns, n)
    personalizer.count_features(exp.name, encoded.clipped, encoded.unknown)
    segment = exp.segments.match_columns(columns, n).astype(np.int64)
    pace = partial(_politely, personalizer)
    who = np.concatenate([personalizer.hasher.identify_many(subjects[part], exp.uid) for part in pace(n)])
    prefix, first = personalizer.namer.take(n)
    draws = _Draws(np.zeros(n, np.int64), np.ones(n), np.zeros(n, np.int64), np.zeros(n, np.int64))
    units = np.zeros(n, np.uint64)
    if not exp.live(now):
        draws.fill(np.arange(n), inactive(exp))
    else:
        if exp.sticky_ms is None:
            units = decision_units(prefix, first, n)
        else:
            units = sticky_units(who["subject"], now // exp.sticky_ms)
        _choose(snapshot, segment, who["holdout"], encoded.x, subset, units, draws, pace)
        draws.flags |= (DEFERRED if deferred else 0) | (STICKY if exp.sticky_ms is not None else 0)
        if mode == Mode.UNCOUNTED:
            draws.flags |= UNCOUNTED
            draws.reason[draws.reason == Reason.POLICY] = Reason.UNCOUNTED
    tokens = _finish(personalizer, exp, who, (prefix, first), units, now, segment, encoded.x, draws, pace)
    _count(personalizer, exp, draws)
    return BatchDecision(
        tokens, draws.arm, tuple(a.id for a in exp.arms), tuple(a.payload_json for a in exp.arms),
        draws.propensity, segment, exp.segments.ids, draws.reason,
        ((draws.flags & HOLDOUT) != 0).astype(np.uint8).tobytes(), personalizer.directory.stale, exp.version,
    )  # fmt: skip


def _choose(
    snapshot: Snapshot,
    segment: Ints,
    holdout: NDArray[np.uint32],
    x: NDArray[np.int16],
    subset: frozenset[int] | None,
    units: NDArray[np.uint64],
    draws: _Draws,
    pace: Pace,
) -> None:
    exp = snapshot.experiment
    held = holdout < exp.holdout_share * 4294967296.0
    for number in np.unique(segment).tolist():
        here = np.flatnonzero(segment == number)
        if exp.segments.serves_default[number]:
            draws.fill(here, Draw(exp.default_arm, 1.0, FIXED, Reason.SEGMENT_DEFAULT))
            continue
        slot = snapshot.slots[number]
        arms = slot.arms if subset is None else eligible(slot, subset)
        out, drawn = here[held[here]], here[~held[here]]
        if not exp.holdout_uniform:
            draws.fill(out, Draw(exp.default_arm, 1.0, HOLDOUT, Reason.HOLDOUT))
        if len(arms) == 0:
            nobody = Draw(exp.default_arm, 1.0, FIXED, Reason.NO_ELIGIBLE_ARM)
            draws.fill(here if exp.holdout_uniform else drawn, nobody)
            continue
        if exp.holdout_uniform and len(out):
            even = np.full(len(arms), 1.0 / len(arms))
            _draw(slot, even, arms, x, units, out, exp, draws, pace)
            draws.flags[out], draws.reason[out] = HOLDOUT, Reason.HOLDOUT
        pmf = None if slot.contextual else slot.pmf_of(arms)
        _draw(slot, pmf, arms, x, units, drawn, exp, draws, pace)
        draws.reason[drawn] = Reason.POLICY


def _draw(
    slot: Slot,
    pmf: NDArray[np.float64] | None,
    arms: Ints,
    x: NDArray[np.int16],
    units: NDArray[np.uint64],
    rows: Ints,
    exp: Experiment,
    draws: _Draws,
    pace: Pace,
) -> None:
    """Draw for some rows: from `pmf` if given, else from the contextual policy at each row's features."""
    chosen, propensity = np.empty(len(rows), np.int64), np.empty(len(rows))
    if pmf is not None:
        draw_many(pmf, arms, units[rows], exp.salt, chosen, propensity)
    else:
        slot.decide_many(x[rows], arms, units[rows], exp.salt, chosen, propensity, pace(len(rows)))
    draws.arm[rows], draws.propensity[rows] = arms[chosen], propensity


def _finish(
    personalizer: Personalizer,
    exp: Experiment,
    who: NDArray[np.void],
    name: tuple[int, int],
    units: NDArray[np.uint64],
    now: int,
    segment: Ints,
    x: NDArray[np.int16],
    draws: _Draws,
    pace: Pace,
) -> list[bytes]:
    """Seal every decision and log those that are trials."""
    n, features = x.shape[0], x.shape[1] - 1
    rows = np.zeros(n, layout.trial_dtype(features))
    rows["prefix"], rows["counter"] = name[0], name[1] + np.arange(n)
    rows["version"], rows["time"], rows["unit"] = exp.version, now, units
    rows["propensity"], rows["segment"], rows["arm"] = draws.propensity, segment, draws.arm
    rows["flags"], rows["bucket"], rows["x"] = draws.flags, who["bucket"], x[:, 1:]
    packed = rows.tobytes()
    counted = (draws.flags & (UNCOUNTED | DEFERRED)) == 0
    if counted.any():
        logged = packed if counted.all() else rows[counted].tobytes()
        personalizer.directory.buffers[exp.uid].add(logged, int(counted.sum()))
    uid, horizon = int(exp.uid, 16), exp.horizon_ms // 1000 + 1
    seal, size = personalizer.keys.seal, rows.dtype.itemsize
    tokens: list[bytes] = []
    hashed = who["subject"].tolist()
    for part in pace(n):
        for i, subject in enumerate(hashed[part], part.start):
            row = packed[i * size : (i + 1) * size]
            tokens.append(seal(row[: NONCE.size], WHOSE.pack(uid, subject, horizon) + row[NONCE.size :]))
    return tokens


def _politely(personalizer: Personalizer, n: int) -> Iterator[slice]:
    """n rows in parts; between them single choices go first, as long as there are any, within bounds."""
    for start in range(0, n, _PART):
        yield slice(start, start + _PART)
        for _ in range(_PAUSES):
            made = personalizer.made
            time.sleep(_PAUSE_S)
            if personalizer.made == made:
                break


def _count(personalizer: Personalizer, exp: Experiment, draws: _Draws) -> None:
    codes, counts = np.unique(draws.reason * len(exp.arms) + draws.arm, return_counts=True)
    for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
        reason, arm = divmod(code, len(exp.arms))
        personalizer.metrics.decisions.add((exp.name, exp.arms[arm].id, Reason(reason).name), count)


assert WHAT.size + NONCE.size == layout.HEAD.itemsize
