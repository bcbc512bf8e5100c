"""What `auto` finds out from the log beside its sums: how much prior each segment needs, and that its arms changed.

Both are pure functions of the fold: made at entries that the log itself sets (the first with trials after the rows
have grown by a 64th), from the sums as they are at that entry, and kept in the checkpoint. So every server comes to
the same findings at the same entry without telling the others, as design decision 14 asks. A cut only gives the time
buckets before it the weight 0 when they are read, and no later merge crosses it: nothing is lost, `detector: 0` in a
newer version of the experiment undoes it on every server at that version's entry, and `detector: 1` brings it back. A
report and the metrics name every cut.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from bandits.auto import Side, chosen
from bandits.cells import HISTORY, POLICY
from bandits.detector import change
from bandits.evidence import Choice
from bandits.policy import POLICIES
from bandits.state import Rules, State

if TYPE_CHECKING:
    from service.experiment.compiled import Experiment

FIELD = "findings"
OLD_FIELD = "reviews"  # of checkpoints from before: what was found then was of another model, and is found again
SHARE = 64  # rows grow by a 64th between two reviews,
LEAST = 16  # and at least by so many
TORN = 0.01  # share of trials that may be missing though they were rewarded: a killed server loses some
CHOICE_SHARE = 16  # trials of a segment grow by a 16th between two choices of its model


class Cut(msgspec.Struct, frozen=True, array_like=True):
    """A change that was found: when (store time of the entry), and from which decision time on things differ."""

    found_ms: int
    from_ms: int


class Finding(msgspec.Struct, frozen=True, array_like=True):
    """What is known of a segment: its choice (`ratio` None: no products), trials at which to choose and to test again."""

    ridge: float
    ratio: float | None
    choose: int
    test: int
    cuts: tuple[Cut, ...] = ()


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    due: int
    findings: dict[int, Finding]


class Reviews:
    """The findings of one experiment; used by the thread that folds."""

    def __init__(self, kept: bytes | None = None) -> None:
        found = msgspec.json.decode(kept, type=_Kept) if kept else _Kept(0, {})
        self.due = found.due  # rows at which the next review is made
        self.findings = dict(found.findings)

    def fields(self) -> dict[str, bytes]:
        """For the checkpoint: canonical, empty before the first review."""
        if not self.due:
            return {}
        return {FIELD: msgspec.json.encode(_Kept(self.due, dict(sorted(self.findings.items()))))}

    def review(self, state: State, experiment: Experiment, rows: int, now_ms: int) -> set[int]:
        """Look again at what has grown; `rows` and `now_ms` are those of the entry. Returns what changed."""
        self.due = rows + max(LEAST, rows // SHARE)
        reviewed = set()
        for segment in range(state.rules.segments):
            trials = _trials(state, segment)
            known = self.findings.get(segment)
            if trials >= (known.test if known else 1):
                found = self._look(state, experiment, segment, trials, now_ms)
                if known is None or (found.ridge, found.ratio, found.cuts) != (known.ridge, known.ratio, known.cuts):
                    reviewed.add(segment)
                self.findings[segment] = found
        state.bar(self.barriers())
        return reviewed

    def _look(self, state: State, experiment: Experiment, segment: int, trials: int, now_ms: int) -> Finding:
        known = self.findings.get(segment)
        cuts = known.cuts if known else ()
        test = trials + max(LEAST // 2, trials // SHARE)
        at = None
        if known and watches(experiment):
            at = change(state, segment, now_ms, self.cut(experiment, segment), _choice(known))
        if known and at is None and trials < known.choose:
            return msgspec.structs.replace(known, test=test)
        if at is not None:
            cuts = (*cuts, Cut(now_ms, at))
        cut = at if at is not None else self.cut(experiment, segment)
        sums = state.sums(segment, state.weights(now_ms, experiment.half_life_ms, cut))
        missing = np.maximum(sums.rewarded - sums.xx[:, 0, 0], 0.0)
        if missing.sum() > TORN * sums.n.sum():  # rewards of trials that another server still buffers: another time
            return known or _finding(Choice(), trials + 1, trials + 1)
        choice = chosen(sums, state.rules.design)
        again = trials + max(LEAST // 2, trials // CHOICE_SHARE)
        return _finding(choice, again, test, cuts)

    def barriers(self) -> frozenset[int]:
        """The newest cut of every segment."""
        return frozenset(found.cuts[-1].from_ms for found in self.findings.values() if found.cuts)

    def cut(self, experiment: Experiment, segment: int) -> int:
        """The time before which the segment's past counts nothing; 0: all of it counts."""
        found = self.findings.get(segment)
        return found.cuts[-1].from_ms if found and found.cuts and watches(experiment) else 0

    def side(self, experiment: Experiment, rules: Rules, segment: int) -> Side:
        """What the policy is told beside the sums."""
        found = self.findings.get(segment)
        return Side(rules.design, _choice(found) if found else Choice(), rules.least, experiment.default_arm)

    def cuts(self) -> Mapping[int, tuple[Cut, ...]]:
        """All changes found, by segment."""
        return {segment: found.cuts for segment, found in sorted(self.findings.items()) if found.cuts}


def reviewed(experiment: Experiment) -> bool:
    """Whether the experiment's algorithm is one that is reviewed."""
    return POLICIES[experiment.algorithm].informed is not None


def watches(experiment: Experiment) -> bool:
    """Whether changes are looked for, and those that were found are in force."""
    return reviewed(experiment) and experiment.settings.get("detector", 0.0) >= 0.5


def _finding(choice: Choice, choose: int, test: int, cuts: tuple[Cut, ...] = ()) -> Finding:
    return Finding(choice.ridge, None if math.isinf(choice.ratio) else choice.ratio, choose, test, cuts)


def _choice(found: Finding) -> Choice:
    return Choice(found.ridge, math.inf if found.ratio is None else found.ratio)


def _trials(state: State, segment: int) -> int:
    blocks = state.index[:, segment].ravel()
    return int(state.counts[blocks[blocks >= 0]][:, [POLICY, HISTORY]].sum())
