"""`python -m loadtest kernels`: decide and learn in process, beside bare NumPy and the peers that are installed.

Beside LinUCB in Numba stands the same in a dozen lines of NumPy with Sherman-Morrison, as many services have it, and
MABWiser, Vowpal Wabbit and bayesianbandits (dependency group `peers`). Each call is timed by itself; the
compiled batch is timed whole. What a call is compared on is one decision from a context that is ready: an array of its own
for us, NumPy and MABWiser, a parsed example's text for Vowpal Wabbit, whose parsing is part of its call. NumPy's finds the
arm with the highest index and no more; ours are the exact probabilities of all arms, over 32 widths, and a draw from them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bandits.layout import X_SCALE
from bandits.policy import POLICIES, decide, decide_batch
from bandits.posterior import Posterior, Sums
from bandits.state import Rows, Rules, State, Totals
from loadtest.rig import report
from loadtest.rig.summaries import quantile
from loadtest.speed import peers

SIZES = ((3, 26), (5, 8), (10, 16), (50, 32), (200, 64))
OURS = ("linucb", "lints")
BATCH = 10_000
Floats = NDArray[np.float64]


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser("python -m loadtest kernels", description=__doc__)
    made.add_argument("--seconds", type=float, default=0.5, help="for each of the timings")
    made.add_argument("--sizes", type=int, nargs=2, action="append", metavar=("K", "D"))
    made.add_argument("--out", type=Path, help="write everything to this file")
    made.add_argument("--json", action="store_true", help="one JSON line last on stdout")
    return made


def main(arguments: Sequence[str]) -> int:
    """Exit code 0."""
    options = parser().parse_args(arguments)
    out = report.console()
    rows: list[dict[str, object]] = []
    for arms, columns in options.sizes or SIZES:
        for name, timing in _size(arms, columns, options.seconds):
            rows.append({"K": arms, "d": columns, "what": name} | timing)
        shown = [r for r in rows if r["K"] == arms and r["d"] == columns]
        cells = [[str(r["what"]), *(f"{r[k]:,.2f}" for k in ("median_us", "p95_us", "p99_us"))] for r in shown]
        out.print(report.table(f"{arms} arms, {columns} columns, us", ["what", "median", "p95", "p99"], cells))
    fold = fold_costs()
    record = {**_headlines(rows), **fold, "machine": report.machine()}
    out.print(
        report.table("", ["what", "value"], [(k, f"{v:,.3f}") for k, v in record.items() if isinstance(v, float)])
    )
    if options.out is not None:
        report.save(options.out, {**record, "rows": rows})
    if options.json:
        report.emit(record)
    return 0


def timed(call: Callable[[int], object], seconds: float, most: int = 20_000, per: int = 1) -> dict[str, float]:
    """Median, p95 and p99 of calls in microseconds; `call` gets the number of the call, which does `per` things.

    A call that does many is timed by its thread's CPU: it is long enough to be interrupted by others.
    """
    for i in range(20 if per == 1 else 2):
        call(i)
    taken: list[float] = []
    until = time.perf_counter() + seconds
    clock = time.perf_counter_ns if per == 1 else time.thread_time_ns
    while time.perf_counter() < until and len(taken) < most:
        for i in range(20 if per == 1 else 1):
            begun = clock()
            call(i)
            taken.append((clock() - begun) / per)
    return {f"{name}_us": quantile(taken, q) / 1000 for name, q in (("median", 0.5), ("p95", 0.95), ("p99", 0.99))}


def contexts(n: int, columns: int, seed: int = 1) -> Floats:
    """n contexts of length 1 with the constant in front, as in ParetoBandit's table."""
    x = np.random.default_rng(seed).standard_normal((n, columns))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x[:, 0] = 1.0
    return np.clip(x, -1.0, 1.0)


def posterior(name: str, arms: int, columns: int) -> Posterior:
    """A belief after some hundred trials of each arm."""
    rng = np.random.default_rng(arms)
    sums = Sums(
        np.zeros(arms), np.zeros(arms), np.zeros(arms), np.zeros(arms),
        np.zeros((arms, columns, columns)), np.zeros((arms, columns)),
    )  # fmt: skip
    for arm in range(arms):
        x = contexts(300, columns, arm)
        r = (rng.random(300) < 0.1 + 0.2 * rng.random()).astype(float)
        sums.n[arm], sums.rewarded[arm], sums.s1[arm], sums.s2[arm] = 300, r.sum(), r.sum(), r.sum()
        sums.xx[arm], sums.xr[arm] = x.T @ x, x.T @ r
    return POLICIES[name].derive(sums, {}, np.arange(arms))


class ShermanMorrison:
    """LinUCB in NumPy with a running inverse: the bare minimum, without propensities, tokens or logs."""

    def __init__(self, arms: int, columns: int) -> None:
        self.inverse = np.stack([np.eye(columns)] * arms)
        self.b = np.zeros((arms, columns))
        self.theta = np.zeros((arms, columns))

    def decide(self, x: Floats) -> int:
        """The arm with the highest upper bound."""
        return int(np.argmax(self.theta @ x + np.sqrt(np.einsum("i,kij,j->k", x, self.inverse, x))))

    def update(self, arm: int, x: Floats, reward: float) -> None:
        """Sherman and Morrison (1950)."""
        moved = self.inverse[arm] @ x
        self.inverse[arm] -= np.outer(moved, moved) / (1.0 + x @ moved)
        self.b[arm] += reward * x
        self.theta[arm] = self.inverse[arm] @ self.b[arm]


def _size(arms: int, columns: int, seconds: float) -> Iterator[tuple[str, dict[str, float]]]:
    x = contexts(BATCH, columns)
    cells = np.rint(x * X_SCALE).astype(np.int16)
    rows, vectors = list(cells), list(x)
    everyone, out = np.arange(arms), np.empty(arms)
    units = np.arange(BATCH, dtype=np.uint64)
    chosen, propensity = np.empty(BATCH, np.int64), np.empty(BATCH)
    for name in OURS:
        post = posterior(name, arms, columns)
        packed = post.packed
        yield f"{name} decide", timed(lambda i, p=packed: decide(p, rows[i], everyone, i, 7, out), seconds)  # type: ignore[misc]
        n = BATCH if name == "linucb" else BATCH // 10
        yield f"{name} decide, in a batch", timed(
            lambda _, p=post, n=n: decide_batch(p, cells[:n], everyone, units[:n], 7, chosen[:n], propensity[:n]),  # type: ignore[misc]
            seconds, 200, n,
        )  # fmt: skip
    bare = ShermanMorrison(arms, columns)
    for i in range(300 * arms):
        bare.update(i % arms, x[i % BATCH], float(i % 7 == 0))
    yield "numpy decide", timed(lambda i: bare.decide(vectors[i]), seconds)
    yield "numpy update", timed(lambda i: bare.update(i % arms, x[i], 1.0), seconds)
    for peer in peers.installed(arms, columns, x):
        yield f"{peer.name} decide", timed(peer.decide, seconds, 2000)
        yield f"{peer.name} update", timed(peer.update, seconds, 2000)


def fold_costs(columns: int = 16, n: int = 4000, repeats: int = 50) -> dict[str, float]:
    """Microseconds to fold a trial and a reward of d = 16, amortised over runs of 4,000 rows as a poll has them."""
    rng = np.random.default_rng(2)
    state = State(Rules(4, 10, 1, columns, 0, 0, 1, 2_100_000))
    one_hot = np.zeros((n, columns - 1), np.int16)
    for at in (0, 7, 13):  # as the homepage example: two categories and a flag
        one_hot[np.arange(n), at + rng.integers(0, 2, n)] = X_SCALE
    dense = rng.integers(-X_SCALE, X_SCALE + 1, (n, columns - 1)).astype(np.int16)
    ones = np.ones(n, np.int64)

    def rows(x: NDArray[np.int16]) -> Rows:
        return Rows(
            ones * 1_000_000, rng.integers(0, 4, n), rng.integers(0, 10, n), ones * 0, rng.integers(0, 256, n), x
        )

    totals = Totals(ones * 0, ones * 0, ones, ones * 0, ones * 5000)
    found: dict[str, float] = {}
    for name, x in (("", one_hot), ("_dense", dense)):
        mine = rows(x)
        trial = timed(lambda _, mine=mine: state.add_trials(mine), 2.0, repeats, n)  # type: ignore[misc]
        reward = timed(lambda _, mine=mine: state.add_rewards(mine, totals), 2.0, repeats, n)  # type: ignore[misc]
        found |= {f"fold_trial{name}_us": trial["median_us"], f"fold_reward{name}_us": reward["median_us"]}
    return found


def _headlines(rows: Sequence[Mapping[str, object]]) -> dict[str, float]:
    """The ratios that the issue asks for."""
    median = {(r["K"], r["d"], r["what"]): float(str(r["median_us"])) for r in rows}
    found: dict[str, float] = {}

    def ratio(name: str, size: tuple[int, int], slow: str, fast: str) -> None:
        a, b = median.get((*size, slow)), median.get((*size, fast))
        if a is not None and b is not None:
            found[name] = a / b

    ratio("numpy_over_call", (3, 26), "numpy decide", "linucb decide")
    ratio("numpy_over_batch", (3, 26), "numpy decide", "linucb decide, in a batch")
    for peer in ("vowpalwabbit", "mabwiser", "bayesianbandits"):
        ratio(f"{peer}_over_call", (10, 16), f"{peer} decide", "linucb decide")
        ratio(f"{peer}_over_batch", (10, 16), f"{peer} decide", "linucb decide, in a batch")
    return found
