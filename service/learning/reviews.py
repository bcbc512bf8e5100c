"""What `auto` finds out from the log beside its sums: how much prior each segment needs, and what of its past counts.

Both are pure functions of the fold, made at entries that the log itself sets: the first with trials after the rows
have grown by a 64th, or after a quarter of a fine time bucket has gone by. They are kept in the checkpoint as whole
numbers. So every server comes to the same findings at the same entry without telling the others, as design decision
14 asks. A look begins from all sums and binds no later one (bandits/memory.py): nothing is ever lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from bandits import recall
from bandits.auto import Side, chosen
from bandits.buckets import fine_width
from bandits.cells import HISTORY, POLICY
from bandits.evidence import RIDGES, Choice
from bandits.memory import look
from bandits.policy import POLICIES
from bandits.recall import Recall
from bandits.state import Rules, State, Weights
from bandits.watch import advice

if TYPE_CHECKING:
    from service.experiment.compiled import Experiment

FIELD = "memory"
OLD_FIELDS = ("reviews", "findings")  # of checkpoints from before: what was found then is found anew
SHARE = 64  # rows grow by a 64th between two reviews,
LEAST = 16  # and at least by so many;
QUARTERS = 4  # or as many pass in a fine bucket,
LEAST_MS = 10_000  # and at least so long between two
TORN = 0.01  # share of trials that may be missing though they were rewarded: a killed server loses some
CHOICE_SHARE = 16  # trials of a segment grow by a 16th between two choices of its model


class Finding(msgspec.Struct, frozen=True, array_like=True):
    """What is known of a segment: its choice (`ratio` None: no products), trials at which to choose again, its past."""

    ridge: float
    ratio: float | None
    choose: int
    past: Recall

    @property
    def choice(self) -> Choice:
        """The choice of model."""
        return Choice(self.ridge, math.inf if self.ratio is None else self.ratio)


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    due: int
    due_ms: int
    findings: dict[int, Finding]


class Reviews:
    """The findings of one experiment; used by the thread that folds."""

    def __init__(self, kept: bytes | None = None) -> None:
        found = msgspec.json.decode(kept, type=_Kept) if kept else _Kept(0, 0, {})
        self._due, self._due_ms = found.due, found.due_ms
        self.findings = dict(found.findings)

    def fields(self) -> dict[str, bytes]:
        """For the checkpoint: canonical, empty before the first review."""
        if not self._due:
            return {}
        kept = _Kept(self._due, self._due_ms, dict(sorted(self.findings.items())))
        return {FIELD: msgspec.json.encode(kept)}

    def due(self, rows: int, now_ms: int) -> bool:
        """Whether to look at the entry of this time, with which so many rows are folded."""
        return rows >= self._due or now_ms >= self._due_ms

    def review(self, state: State, experiment: Experiment, rows: int, now_ms: int) -> set[int]:
        """Look again at every segment; `rows` and `now_ms` are those of the entry. Returns what changed."""
        every = max(fine_width(state.rules.horizon_ms) // QUARTERS, LEAST_MS)
        self._due, self._due_ms = rows + max(LEAST, rows // SHARE), now_ms - now_ms % every + every
        changed = set()
        for segment in range(state.rules.segments):
            known = self.findings.get(segment)
            found = _look(state, experiment, segment, known, now_ms)
            if found is not None and found != known:
                self.findings[segment] = found
                changed.add(segment)
        return changed

    def weights(self, state: State, experiment: Experiment, segment: int, now_ms: int) -> Weights | None:
        """What of the segment's past counts; None: all of it."""
        found = self.findings.get(segment) if reviewed(experiment) else None
        return aged(recall.weights(found.past, state) if found else None, state, experiment, now_ms)

    def side(self, experiment: Experiment, rules: Rules, segment: int) -> Side:
        """What the policy is told beside the sums."""
        found = self.findings.get(segment)
        if found is None:
            return Side(rules.design, Choice(), rules.least, experiment.default_arm)
        return Side(
            rules.design, found.choice, rules.least, experiment.default_arm,
            floor=recall.share(found.past), watch=recall.watched(found.past, rules.arms),
        )  # fmt: skip

    def pasts(self, experiment: Experiment) -> Mapping[int, Recall]:
        """What was found of each segment's past, where it is in force."""
        return {s: found.past for s, found in sorted(self.findings.items())} if reviewed(experiment) else {}


def reviewed(experiment: Experiment) -> bool:
    """Whether the experiment's algorithm is one that is reviewed."""
    return POLICIES[experiment.algorithm].informed is not None


def aged(weights: Weights | None, state: State, experiment: Experiment, now_ms: int) -> Weights | None:
    """The weights with what is forgotten by the configured half-life."""
    if experiment.half_life_ms is None:
        return weights
    ones = np.ones((len(state.buckets), state.rules.arms))
    trials, rewards = weights or Weights(ones, ones)
    left = state.aged(now_ms, experiment.half_life_ms)[:, None]
    return Weights(trials * left, rewards * left)


def _look(state: State, experiment: Experiment, segment: int, known: Finding | None, now_ms: int) -> Finding | None:
    """The segment's finding now; the known one (or None) where there is nothing to look at."""
    trials = _trials(state, segment)
    if trials == 0:
        return known
    plain = state.sums(segment)
    missing = np.maximum(plain.rewarded - plain.xx[:, 0, 0], 0.0)
    if missing.sum() > TORN * plain.n.sum():  # rewards of trials that another server still buffers: another time
        return known
    choice, again = (known.choice, known.choose) if known else (Choice(), 0)
    found = look(state, segment, now_ms, choice)
    past = recall.recall(found, advice(found))
    if trials >= again:
        weights = aged(recall.weights(past, state), state, experiment, now_ms)
        choice = chosen(state.sums(segment, weights), state.rules.design)
        if found.story.inside:  # for some visitors something changed: features matter, whatever is left tells of them
            choice = choice._replace(ridge=min(choice.ridge, RIDGES[-1]))
        again = trials + max(LEAST // 2, trials // CHOICE_SHARE)
    return Finding(choice.ridge, None if math.isinf(choice.ratio) else choice.ratio, again, past)


def _trials(state: State, segment: int) -> int:
    blocks = state.index[:, segment].ravel()
    return int(state.counts[blocks[blocks >= 0]][:, [POLICY, HISTORY]].sum())
