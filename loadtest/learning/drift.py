"""`python -m loadtest drift`: fourteen days of a shop in which something changes, and what `auto` loses by it.

Four arms, 4,000 decisions a day, nothing known of visitors; a snapshot every 100 decisions, looks where the service makes
them. The sums, the looks and the policy are the service's own; tokens, log and store are left out.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bandits.auto import Side, auto
from bandits.buckets import fine_width
from bandits.evidence import Choice
from bandits.memory import look
from bandits.policy import POLICIES, probabilities
from bandits.recall import Recall, recall, share, watched, weights
from bandits.state import Rows, Rules, State, Totals
from bandits.watch import advice
from loadtest.rig import report

DAY = 86_400_000
START = 1_767_225_600_000
A_DAY, STEP, DAYS = 4_000, 100, 14
ARMS = np.arange(4)
SETTINGS = {name: setting.default for name, setting in POLICIES["auto"].settings.items()}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Weather:
    """What is true at a time, in days: mean rewards of the arms, and the level of all."""

    rates: Callable[[float], Sequence[float]]
    level: Callable[[float], float] = lambda _: 1.0
    change: float = 0.0  # day of it, 0: none to be found
    late: float = 0.0  # mean delay of rewards, days
    spread: float = 0.0  # days over which delays are even, instead
    window: int = 1  # days
    fourth: float = 0.0  # day on which the last arm arrives


USUAL, SWAPPED = (0.05, 0.08, 0.04, 0.03), (0.08, 0.05, 0.04, 0.03)


def _leader(times: float, since: float, until: float = DAYS) -> Callable[[float], Sequence[float]]:
    return lambda t: (0.05, 0.08 * (times if since <= t < until else 1.0), 0.04, 0.03)


def _weekend(t: float) -> float:
    return 0.5 if int(t) % 7 >= 5 else 1.0


def _arrival(late: float, window: int) -> Weather:
    return Weather(lambda _: (0.08, 0.07, 0.06, 0.11), change=7, late=late, window=window, fourth=7)


WORLDS = {
    "stationary": Weather(lambda _: USUAL),
    "outage": Weather(lambda _: USUAL, lambda t: 0.02 if 6 <= t < 7 else 1.0),
    "weekends": Weather(lambda _: USUAL, _weekend),
    "nights": Weather(lambda _: USUAL, lambda t: 0.5 if t % 1 < 1 / 3 else 1.0),
    "swap": Weather(lambda t: USUAL if t < 7 else SWAPPED, change=7),
    "halves": Weather(_leader(0.5, 7), change=7),
    "breaks": Weather(_leader(0.05, 5, 8), change=5),
    "weekends-swap": Weather(lambda t: USUAL if t < 7 else SWAPPED, _weekend, change=7),
    "rises": Weather(lambda t: (0.05, 0.10, 0.06 if t < 4 else 0.15, 0.04), change=4),
    "arrives-3d": _arrival(3.0, 14),
    "arrives-1d": _arrival(1.0, 7),
    "arrives-6h": _arrival(0.25, 7),
}


@dataclass
class Outcome:
    """A run, step by step: regret and the best there was, the best arm's share; whether an alarm was set."""

    regret: list[float] = field(default_factory=list)
    best: list[float] = field(default_factory=list)
    share: list[float] = field(default_factory=list)
    changed: bool = False
    outage: bool = False

    def lost(self, days: int = DAYS) -> float:
        """Regret in % of the reward there was in the last days."""
        steps = days * A_DAY // STEP
        return 100.0 * sum(self.regret[-steps:]) / sum(self.best[-steps:])

    def found(self, day: float) -> float:
        """Days until the best arm had half of the traffic over a quarter of a day; infinite where it never had."""
        size = A_DAY // STEP // 4
        shares = np.convolve(self.share[int(day * A_DAY / STEP) :], np.ones(size) / size, "valid")
        return float(np.argmax(shares >= 0.5) + size) * STEP / A_DAY if (shares >= 0.5).any() else float("inf")


class Shop:
    """One run; `remembers` False: everything counts alike, nothing is looked at."""

    def __init__(self, weather: Weather, seed: int, holdout: float, *, remembers: bool) -> None:
        self.weather, self.holdout, self.remembers = weather, holdout, remembers
        self.rng = np.random.default_rng(seed)
        self.state = State(Rules(1, len(ARMS), 1, 1, 0, 0, 1, weather.window * DAY))
        self.every = fine_width(weather.window * DAY) // 4
        self.waiting: list[tuple[int, int, int, int]] = []  # rewards on their way: when they come, decision, arm, flags
        self.kept: Recall | None = None
        self.due = 0
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Fourteen days."""
        for first in range(0, DAYS * A_DAY, STEP):
            now = START + first * DAY // A_DAY
            self._rewards(now)
            self.state.settle(now)
            if self.remembers and first and now >= self.due:
                self._look(now)
            self._decide(first / A_DAY, now)
        return self.outcome

    def _rewards(self, now: int) -> None:
        came = []
        while self.waiting and self.waiting[0][0] <= now:
            came.append(heapq.heappop(self.waiting))
        if came:
            arrived, when, arm, flags = np.array(came, np.int64).T
            zero = np.zeros(len(came), np.int64)
            rows = Rows(when.copy(), zero, arm.copy(), flags.copy(), zero, np.zeros((len(came), 0), np.int16))
            self.state.add_rewards(rows, Totals(zero, zero, zero + 1, zero, arrived - when))

    def _look(self, now: int) -> None:
        found = look(self.state, 0, now, Choice())
        self.kept = recall(found, advice(found))
        self.due = now - now % self.every + self.every
        self.outcome.changed |= bool(self.kept.shifts)
        self.outcome.outage |= self.kept.outage is not None

    def _delay(self) -> int:
        """How long a reward is on its way, ms."""
        if self.weather.spread:
            return int(self.rng.uniform(0.0, self.weather.spread * DAY))
        return int(self.rng.exponential(self.weather.late * DAY)) if self.weather.late else 0

    def _decide(self, day: float, now: int) -> None:
        arms, rates = ARMS[: 3 if day < self.weather.fourth else 4], np.array(self.weather.rates(day))
        side, counted = Side(choice=Choice(), least=0.0, control=0), None
        if self.kept is not None:
            side = side._replace(floor=share(self.kept), watch=watched(self.kept, len(ARMS)))
            counted = weights(self.kept, self.state)
        odds = probabilities(auto(self.state.sums(0, counted), SETTINGS, arms, side), np.ones(1), arms)
        held = self.rng.random(STEP) < self.holdout
        chosen = np.where(held, 0, self.rng.choice(arms, STEP, p=odds / odds.sum()))
        level, zero = self.weather.level(day), np.zeros(STEP, np.int64)
        when = now + np.arange(STEP) * (DAY // A_DAY)
        self.state.add_trials(Rows(when, zero, chosen, held.astype(np.int64), zero, np.zeros((STEP, 0), np.int16)))
        for i in np.flatnonzero(self.rng.random(STEP) < rates[chosen] * level).tolist():
            delay = self._delay()
            if delay <= self.weather.window * DAY:
                heapq.heappush(self.waiting, (int(when[i]) + delay, int(when[i]), int(chosen[i]), int(held[i])))
        most, free = float(rates[arms].max()), ~held
        self.outcome.regret.append(float((most - rates[chosen[free]]).sum()) * level)
        self.outcome.best.append(most * level * float(free.sum()))
        self.outcome.share.append(float((rates[chosen[free]] == most).mean()))


def record(name: str, runs: Sequence[Outcome]) -> dict[str, str | float | None]:
    """What the runs of one world come to: losses in %, days until a change was found in the median."""
    change = WORLDS[name].change
    found = float(np.median([run.found(change) for run in runs])) if change else float("inf")
    return {
        "world": name,
        "runs": len(runs),
        "lost": float(np.mean([run.lost() for run in runs])),
        "lost_last_five_days": float(np.mean([run.lost(5) for run in runs])),
        "found_after_days": found if np.isfinite(found) else None,
        "never_found": sum(run.found(change) == float("inf") for run in runs) if change else None,
        "changes_told": sum(run.changed for run in runs),
        "outages_told": sum(run.outage for run in runs),
    }


def text(row: Mapping[str, str | float | None]) -> str:
    """The same for people."""
    days = f", found after {row['found_after_days']:.1f} days" if row["found_after_days"] is not None else ""
    return (
        f"{row['world']}: lost {row['lost']:.2f} %, in the last five days {row['lost_last_five_days']:.2f} %{days}; "
        f"changes told in {row['changes_told']}, outages in {row['outages_told']} of {row['runs']} runs"
    )


def main(arguments: Sequence[str]) -> int:
    """A line for each world. Exit code 0."""
    options = argparse.ArgumentParser("python -m loadtest drift", description=__doc__)
    options.add_argument("worlds", nargs="*", default=list(WORLDS), help=f"of {', '.join(WORLDS)}; default: all")
    options.add_argument("--runs", type=int, default=5, help="default 5")
    options.add_argument("--holdout", type=float, default=0.0, help="share of visitors; default 0")
    options.add_argument("--first-seed", type=int, default=0, help="default 0")
    options.add_argument("--json", action="store_true", help="JSON lines")
    options.add_argument("--off", action="store_true", help="everything counts alike")
    given = options.parse_args(arguments)
    if unknown := [name for name in given.worlds if name not in WORLDS]:
        options.error(f"unknown world {unknown[0]!r}: one of {', '.join(WORLDS)}")
    seeds = range(given.first_seed, given.first_seed + given.runs)
    for name in given.worlds:
        runs = [Shop(WORLDS[name], seed, given.holdout, remembers=not given.off).run() for seed in seeds]
        row = record(name, runs)
        if given.json:
            report.emit(row | {"holdout": given.holdout, "seeds": [seeds[0], seeds[-1]], "machine": report.machine()})
        else:
            print(text(row), flush=True)
    return 0
