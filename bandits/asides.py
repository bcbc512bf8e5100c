"""What was excluded, set aside: the sums of rows that do not count, by exclusion, so that each can be taken back to the bit.

A row belongs to the exclusion that its decision lies in, at most one. It is folded there instead of into the experiment's
state, under the same rules; to exclude what was folded already is to take its sums away, to include it is to add them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits.rows import Rows, Rules, Totals
from bandits.state import State

PREFIX = "x"  # of the fields


class Exclusion(NamedTuple):
    """Decisions from `start` until before `end` (ms), of these arms or, where there are none, of all."""

    number: int
    start: int
    end: int
    arms: tuple[int, ...] = ()

    def holds(self, time: NDArray[np.int64], arm: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool[n]: which rows are excluded."""
        inside: NDArray[np.bool_] = (time >= self.start) & (time < self.end)
        return inside & np.isin(arm, self.arms) if self.arms else inside

    def overlaps(self, other: Exclusion) -> bool:
        """Whether a row could belong to both."""
        arms = not self.arms or not other.arms or bool({*self.arms} & {*other.arms})
        return arms and self.start < other.end and other.start < self.end


class Asides:
    """The states of one experiment's exclusions, by number. Used by the thread that folds."""

    def __init__(self, exclusions: Sequence[Exclusion] = ()) -> None:
        self.exclusions = tuple(exclusions)
        self.states: dict[int, State] = {}

    def add_trials(self, state: State, rows: Rows) -> None:
        """Fold trial rows, each where it belongs."""
        for exclusion in self.exclusions:
            out = exclusion.holds(rows.time, rows.arm)
            if out.any():
                self.states[exclusion.number].add_trials(rows.where(out))
                rows = rows.where(~out)
        if len(rows.time):
            state.add_trials(rows)

    def add_rewards(self, state: State, rows: Rows, totals: Totals) -> None:
        """Fold reward rows, each where it belongs."""
        for exclusion in self.exclusions:
            out = exclusion.holds(rows.time, rows.arm)
            if out.any():
                self.states[exclusion.number].add_rewards(rows.where(out), totals.where(out))
                rows, totals = rows.where(~out), totals.where(~out)
        if len(rows.time):
            state.add_rewards(rows, totals)

    def settle(self, now_ms: int) -> None:
        """Settle every state as the experiment's own."""
        for state in self.states.values():
            state.settle(now_ms)

    def adopt(self, rules: Rules) -> None:
        """Go on under new rules."""
        for state in self.states.values():
            state.adopt(rules)

    def exclude(self, state: State, exclusion: Exclusion, aside: State) -> None:
        """Take `aside`, all of the exclusion's rows so far, out of the experiment's state."""
        state.add(aside, -1)
        self.states[exclusion.number] = aside
        self.exclusions = (*self.exclusions, exclusion)

    def include(self, state: State, number: int) -> None:
        """Take an exclusion back."""
        state.add(self.states.pop(number), 1)
        self.exclusions = tuple(one for one in self.exclusions if one.number != number)

    def fields(self) -> dict[str, bytes]:
        """Canonical, as those of a State."""
        return {
            f"{PREFIX}/{number}/{name}": value
            for number, state in sorted(self.states.items())
            for name, value in state.fields().items()
        }

    @classmethod
    def restore(cls, rules: Rules, exclusions: Sequence[Exclusion], fields: dict[str, bytes]) -> Asides:
        """Those whose fields are among these, which are taken out. ValueError where they are not such fields."""
        out, apart = cls(exclusions), dict[int, dict[str, bytes]]()
        for name in [name for name in fields if name.split("/")[0] == PREFIX]:
            _, number, rest = name.split("/", 2)
            apart.setdefault(int(number), {})[rest] = fields.pop(name)
        for exclusion in exclusions:
            out.states[exclusion.number] = State.restore(rules, apart.pop(exclusion.number, {}))
        if apart:
            raise ValueError(f"sums of exclusions {sorted(apart)}, which the configuration does not have")
        return out
