"""Compile, or load from the cache, everything that a serving process calls, before it says that it is ready."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bandits._jit import KERNELS, Kernel, waits
from bandits._parts import obstacle
from bandits.auto import Side, chosen
from bandits.cells import count_offset
from bandits.draw import draw, draw_many
from bandits.evidence import Choice
from bandits.expansion import Design, expanded
from bandits.layout import X_SCALE
from bandits.memory import look
from bandits.pmf import ALONE
from bandits.policy import POLICIES, Policy, decide, decide_batch, probabilities
from bandits.posterior import Sums
from bandits.recall import recall, weights
from bandits.state import Rows, Rules, State, Totals
from bandits.summary import Span, seen, summary
from bandits.watch import advice

__all__ = ["Kernel", "eager", "kernels", "kernels_of_choices", "waits", "warm", "warm_choices"]

ARMS, COLUMNS, TRIALS = 3, 4, 6
CHOICES = "choices"
# What has to be there before choices are made: what makes them, half of everything, and what beliefs are derived by.
CHOOSING = (
    "bandits.pmf",
    "bandits.context_free",
    "bandits.basis",
    "bandits.linear",
    "bandits.ridges",
    "bandits.evidence",
    "bandits.draw",
)
LATER = ("revenue",)  # few use it: its kernel is made behind those, unless an experiment is there that asks for it
# What learns as soon as something happened; the rest reviews and reports.
LEARNING = ("bandits.revenue", "bandits.fold", "bandits.subjects", "bandits.period_rows", "bandits.guarded")


def warm(clock: Callable[[], float] | None = None) -> float:
    """Call every kernel once with the types of serving, read-only arrays included.

    Returns what it took by `clock`, 0 without one: this package has no clock of its own.
    """
    started = clock() if clock else 0.0
    sums = _fold()
    summary(seen(sums, np.ones(COLUMNS)), Span(0.0, 1.0, True), np.arange(ARMS, dtype=np.int64))
    _choose(sums, tuple(POLICIES))
    return clock() - started if clock else 0.0


def warm_choices() -> None:
    """Call every kernel of choices once, with the types of serving."""
    zeros = np.zeros(ARMS)
    sums = Sums(zeros, zeros, zeros, zeros, np.zeros((ARMS, COLUMNS, COLUMNS)), np.zeros((ARMS, COLUMNS)))
    _choose(sums, tuple(name for name in POLICIES if name not in LATER))


def kernels() -> dict[str, list[Kernel]]:
    """Every kernel that Python calls, in parts that a process compiles whole; what is needed first comes first.

    Kernels of a module are made of the same parts, which a process compiles once; those of choices are one part, as a
    process has to learn Numba's types, too, before it compiles the first.
    """
    found: dict[str, list[Kernel]] = {part: [] for part in (CHOICES, *LEARNING)}
    for kernel in KERNELS:
        found.setdefault(CHOICES if kernel.module in CHOOSING else kernel.module, []).append(kernel)
    return found


def kernels_of_choices() -> dict[str, list[Kernel]]:
    """Those of them that have to be there before choices are made."""
    return {CHOICES: kernels()[CHOICES]}


def eager() -> str:
    """Why all kernels are compiled when they are imported, each at once, rather than by `warm`; empty as a rule."""
    return obstacle()


def _fold() -> Sums:
    """A state that has seen some trials and rewards; rows come out of bytes, so their arrays are read-only."""
    state = State(Rules(1, ARMS, 1, COLUMNS, 0, 0, 1, 86_400_000))
    order = np.arange(TRIALS, dtype=np.int64)
    zero = np.zeros(TRIALS, np.int64)
    x = np.frombuffer(np.full((TRIALS, COLUMNS - 1), 2048, np.int16).tobytes(), np.int16).reshape(TRIALS, -1)
    rows = Rows(order, zero, order % ARMS, zero, zero, x)
    state.add_trials(rows)
    state.add_rewards(rows, Totals(zero, zero, order % 2, zero, zero))
    state.settle(1 << 42)
    count_offset(0, 0)  # reports call it by itself
    _look()
    return state.sums(0)


def _look() -> None:
    """A past of several buckets with enough rewards to be looked at, all of them late, and an indicator."""
    state = State(Rules(1, ARMS, 1, COLUMNS, 0, 0, 1, 86_400_000))
    many = np.repeat(np.arange(8, dtype=np.int64) * 6_000_000, 40)
    zero, one = np.zeros(many.size, np.int64), np.ones(many.size, np.int64)
    x = np.full((many.size, COLUMNS - 1), X_SCALE, np.int16)
    rows = Rows(many, zero, np.arange(many.size) % ARMS, zero, zero, x)
    state.add_trials(rows)
    state.add_rewards(rows, Totals(zero, zero, one, zero, 1_000 * one))
    found = look(state, 0, 48_000_000, Choice())
    weights(recall(found, advice(found)), state)


def _choose(sums: Sums, names: tuple[str, ...]) -> None:
    """Of each of these policies, every way to choose."""
    arms = np.arange(ARMS, dtype=np.int64)
    cells = np.frombuffer(np.full(COLUMNS, X_SCALE, np.int16).tobytes(), np.int16)
    rows = np.full((2, COLUMNS), X_SCALE, np.int16)
    units = np.arange(2, dtype=np.uint64)
    out, chosen, propensity = np.empty(ARMS), np.empty(2, np.int64), np.empty(2)
    x = np.ones(COLUMNS)
    for policy in map(POLICIES.__getitem__, names):
        post = policy.derive(sums, {}, arms)
        pmf = probabilities(post, x, arms)
        pmf.flags.writeable = False
        if post.kind not in ALONE:
            decide(post.packed, cells, arms, 1, 2, out)
        decide_batch(post, rows, arms, units, 2, chosen, propensity)
        draw(pmf, arms, 1, 2)
        draw_many(pmf, arms, units, 2, chosen, propensity)
        if policy.informed is not None:
            _inform(policy, sums, arms, rows)


def _inform(policy: Policy, sums: Sums, arms: NDArray[np.int64], rows: NDArray[np.int16]) -> None:
    """What a policy that is told more than the sums calls beside the rest: products."""
    assert policy.informed is not None
    terms = np.array([[COLUMNS, 1, 2, 1]], np.int64)
    design = Design(np.arange(COLUMNS), terms, np.array([-1, 2, -1, -1], np.int64))
    wide = Sums(*sums[:4], np.pad(sums.xx, ((0, 0), (0, 1), (0, 1))), np.pad(sums.xr, ((0, 0), (0, 1))))
    post = policy.informed(wide, policy.complete({}), arms, Side(design, Choice(ratio=1.0)))
    chosen(wide, design)
    decide(post.packed, rows[0], arms, 1, 2, np.empty(ARMS))
    expanded(rows, design)
