"""Choosing for many subjects at once: the same rules as personalizer.select, column by column."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bandits.draw import draw_many
from bandits.layout import DEFERRED, HOLDOUT, STICKY, SUBSET, UNCOUNTED, UNDRAWN
from bandits.pmf import decide_rows
from service.errors import InvalidError
from service.experiment.features.column import Column
from service.serving.frozen import Odds, freeze, thawed
from service.serving.personalizer import Draw, Mode, Personalizer, Reason, arm_numbers, eligible, inactive
from service.serving.snapshot import Snapshot
from service.serving.subject import decision_units, sticky_units
from service.serving.token import told
from service.store import rows as layout

Ints = NDArray[np.int64]

SUBJECTS = 10_000  # of a call, at the most

# What a batch does row by row it does in parts of a few tenths of a millisecond, with a pause after each that lasts as
# long as single choices are being made, but no more than so many times: a Select hardly waits for a batch, and a batch
# comes to its end under any load.
_PART = 400
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
    frozen: bytes  # where it was asked for


def select_batch(
    personalizer: Personalizer,
    experiment: str,
    subjects: Sequence[str],
    columns: Mapping[str, Column],
    arms: Sequence[str],
    deferred: bool,
    mode: Mode,
    frozen: bytes | None = None,
) -> BatchDecision:
    """Choose for n subjects. Raises as Personalizer.select; a batch has no previews and repeats no decisions.

    `frozen`: what to choose from, as an earlier answer had it; empty: choose from the newest snapshot and give it back;
    None: just choose from the newest.
    """
    if mode == Mode.PREVIEW:
        raise InvalidError.field("mode", "a batch has no previews")
    snapshot = personalizer.directory.named(experiment)
    exp = snapshot.experiment
    subset = arm_numbers(exp, arms) if arms else None
    batch = _Batch(personalizer, snapshot, subjects, columns)
    if exp.live(batch.now):
        slots = thawed(personalizer.keys, frozen, exp, batch.now) if frozen else dict(enumerate(snapshot.slots))
        batch.choose(slots, subset)
        batch.mark(deferred, mode)
    else:
        batch.serve()
    rows = batch.rows()
    batch.log(rows)
    tokens = batch.seal(rows)
    batch.count()
    return BatchDecision(
        tokens, batch.arm, tuple(a.id for a in exp.arms), tuple(a.payload_json for a in exp.arms),
        batch.propensity, batch.segment, exp.segments.ids, batch.reason,
        ((batch.flags & HOLDOUT) != 0).astype(np.uint8).tobytes(), personalizer.directory.outdated(exp.uid), exp.version,
        freeze(personalizer.keys, snapshot) if frozen == b"" else b"",
    )  # fmt: skip


class _Batch:
    """n subjects of one call, as columns: who they are, what they bring, and what is drawn for them."""

    def __init__(
        self, personalizer: Personalizer, snapshot: Snapshot, subjects: Sequence[str], columns: Mapping[str, Column]
    ) -> None:
        """Raises InvalidError for columns that the experiment does not take."""
        self._personalizer, self._snapshot, self._exp = personalizer, snapshot, snapshot.experiment
        exp, n = self._exp, len(subjects)
        self.now = personalizer.clock.now_ms()
        encoded = exp.encoder.encode_columns(columns, n)
        personalizer.count_features(exp.name, encoded.clipped, encoded.unknown)
        self._x = encoded.x
        self.segment = exp.segments.match_columns(columns, n).astype(np.int64)
        identify = personalizer.hasher.identify_many
        self._who = np.concatenate([identify(subjects[part], exp.uid) for part in self._parts(n)])
        self._name = personalizer.namer.take(n)
        self._unit = np.zeros(n, np.uint64)
        self.arm, self.propensity = np.zeros(n, np.int64), np.ones(n)
        self.flags, self.reason = np.zeros(n, np.int64), np.zeros(n, np.int64)

    def fill(self, rows: Ints, draw: Draw) -> None:
        """One outcome for all these rows."""
        self.arm[rows] = draw.arm
        self.propensity[rows] = draw.propensity
        self.flags[rows] = draw.flags
        self.reason[rows] = draw.reason

    def serve(self) -> None:
        """What an experiment serves that does not choose. Raises PreconditionError for a draft."""
        for number in np.unique(self.segment).tolist():
            self.fill(np.flatnonzero(self.segment == number), inactive(self._snapshot, number))

    def choose(self, slots: Mapping[int, Odds], subset: frozenset[int] | None) -> None:
        """Draw an arm for everyone by the odds of their segments, among `subset` where one is given."""
        exp, who = self._exp, self._who
        if exp.sticky_ms is None:
            self._unit = decision_units(*self._name, len(who))
        else:
            self._unit = sticky_units(who["subject"], self.now // exp.sticky_ms)
        held = who["holdout"] < exp.holdout_share * 4294967296.0
        for number in np.unique(self.segment).tolist():
            here = np.flatnonzero(self.segment == number)
            if exp.segments.serves_default[number]:
                self.fill(here, Draw(exp.default_arm, 1.0, UNDRAWN, Reason.SEGMENT_DEFAULT))
                continue
            slot = slots[number]
            arms = slot.arms if subset is None else eligible(slot, subset)
            self._choose_in(slot, arms, here[held[here]], here[~held[here]])

    def _choose_in(self, slot: Odds, arms: Ints, held: Ints, free: Ints) -> None:
        """The rows of one segment: those in the holdout, and those that the policy draws for."""
        exp = self._exp
        if len(arms) == 0:
            nobody = Draw(exp.default_arm, 1.0, UNDRAWN, Reason.NO_ELIGIBLE_ARM)
            self.fill(np.concatenate([held, free]), nobody)
            return
        own = SUBSET if len(arms) < len(slot.arms) else 0
        if not exp.holdout_uniform:
            self.fill(held, Draw(exp.default_arm, 1.0, HOLDOUT | own, Reason.HOLDOUT))
        elif len(held):
            self._draw(slot, np.full(len(arms), 1.0 / len(arms)), arms, held)
            self.flags[held], self.reason[held] = HOLDOUT | own, Reason.HOLDOUT
        self._draw(slot, None if slot.contextual else slot.pmf_of(arms), arms, free)
        self.flags[free], self.reason[free] = own, Reason.POLICY

    def _draw(self, slot: Odds, pmf: NDArray[np.float64] | None, arms: Ints, rows: Ints) -> None:
        """Draw for some rows: from `pmf` if given, else from the contextual policy at each row's features."""
        chosen, propensity = np.empty(len(rows), np.int64), np.empty(len(rows))
        units, salt = self._unit[rows], self._exp.salt
        if pmf is not None:
            draw_many(pmf, arms, units, salt, chosen, propensity)
        else:
            x = self._x[rows]
            for part in self._parts(len(rows)):
                decide_rows(slot.packed, x[part], arms, units[part], salt, chosen[part], propensity[part])
        self.arm[rows], self.propensity[rows] = arms[chosen], propensity

    def mark(self, deferred: bool, mode: Mode) -> None:
        """What the call says of all its choices."""
        self.flags |= (DEFERRED if deferred else 0) | (STICKY if self._exp.sticky_ms is not None else 0)
        if mode == Mode.UNCOUNTED:
            self.flags |= UNCOUNTED
            self.reason[self.reason == Reason.POLICY] = Reason.UNCOUNTED

    def rows(self) -> NDArray[np.void]:
        """The decisions as rows of the log."""
        n, features = self._x.shape[0], self._x.shape[1] - 1
        rows = np.zeros(n, layout.trial_dtype(features))
        rows["prefix"], rows["counter"] = self._name[0], self._name[1] + np.arange(n)
        rows["version"], rows["time"], rows["unit"] = self._exp.version, self.now, self._unit
        rows["propensity"], rows["segment"], rows["arm"] = self.propensity, self.segment, self.arm
        rows["flags"], rows["bucket"], rows["x"] = self.flags, self._who["bucket"], self._x[:, 1:]
        return rows

    def log(self, rows: NDArray[np.void]) -> None:
        """Keep those that are trials for the next flush."""
        counts = (self.flags & (UNCOUNTED | DEFERRED)) == 0
        trials = rows if counts.all() else rows[counts]
        if len(trials):
            self._personalizer.directory.buffer(self._exp).add(trials.tobytes(), len(trials))

    def seal(self, rows: NDArray[np.void]) -> list[bytes]:
        """A token for each."""
        names, plains = told(rows, self._exp.uid, self._who["subject"], self._exp.horizon_ms)
        seal = self._personalizer.keys.seal_many
        return [token for part in self._parts(len(rows)) for token in seal(names[part], plains[part])]

    def count(self) -> None:
        """Into the metrics, by arm and reason."""
        exp = self._exp
        counts = np.bincount(self.reason * len(exp.arms) + self.arm)
        for code in np.flatnonzero(counts).tolist():
            reason, arm = divmod(code, len(exp.arms))
            self._personalizer.metrics.decisions.add(
                (exp.name, exp.arms[arm].id, Reason(reason).name), int(counts[code])
            )

    def _parts(self, n: int) -> Iterator[slice]:
        """n rows in parts; between them single choices go first, as long as there are any, within bounds."""
        for start in range(0, n, _PART):
            yield slice(start, start + _PART)
            for _ in range(_PAUSES):
                begun = self._personalizer.begun
                time.sleep(_PAUSE_S)
                if self._personalizer.begun == begun:
                    break
