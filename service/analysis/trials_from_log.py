"""The log of an experiment as trials that an evaluation may use.

Only what was drawn counts, by a policy or for the holdout: fixed and imported rows are left out, and those whose caller named the
arms, as which ones is not logged. Rows of the holdout count where it was the same all the time: else its rows are of other
times than the policy's. Visits of one unit share one draw, so only a unit's first row counts, first by decision time, then
by id; a unit whose sticky period began before the kept log may have had its first row there, and is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bandits import layout as bits
from service.analysis.evaluation import MOST_CELLS, Trials
from service.errors import PreconditionError
from service.experiment.compiled import Experiment, read
from service.experiment.exclusions import exclusion
from service.learning.bounds import bounds_of
from service.learning.fold.rules import rules_of
from service.store import rows as layout
from service.store.contract import Entry
from service.store.entries import rows_of

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_WHY = (
    (bits.HISTORY, "history"),
    (bits.UNDRAWN, "fixed"),
    (bits.UNCOUNTED, "uncounted"),
    (bits.SUBSET, "of arms that the caller named"),
)


@dataclass
class Gathered:
    """A log read once: its configurations by version, and its rows in log order, a chunk an entry."""

    versions: dict[int, Experiment]
    trials: list[layout.Rows] = field(default_factory=list)
    rewards: list[tuple[layout.Rows, Ints]] = field(default_factory=list)
    kept_from: int = 0  # ms; decisions before it may be missing. 0: the log has its beginning
    last: int = 0  # time of the last entry

    @property
    def experiment(self) -> Experiment:
        """The newest configuration."""
        return self.versions[max(self.versions)]

    def add(self, entry: Entry) -> None:
        """Take in the next entry."""
        experiment = read(entry.config) if entry.config is not None else None
        if experiment is not None:
            self.versions[experiment.version] = experiment
        if not self.last and (experiment is None or experiment.version != 1 or entry.seeded):
            self.kept_from = entry.time
        self.last = entry.time
        if entry.config is not None or entry.late:
            return
        rows = rows_of(entry)
        if self.versions:
            bounds_of(self.experiment).check([entry], rows)
        if entry.trials:
            self.trials.append(rows)
        else:
            self.rewards.append((rows, np.array(entry.totals, np.int64).reshape(-1, 3)))


def gather(entries: Iterable[Entry], history: Mapping[int, bytes]) -> Gathered:
    """Read a log; `history` has configurations by version, for those that the kept log no longer has."""
    gathered = Gathered({version: read(record) for version, record in history.items()})
    for entry in entries:
        gathered.add(entry)
    if not gathered.versions:
        raise PreconditionError("the log is empty", "NO_LOG")
    return gathered


def trials_of(log: Gathered) -> Trials:
    """The trials an evaluation may use, at most MOST_CELLS / arms of the newest."""
    experiment = log.experiment
    rows = _heads(log, experiment.columns - 1)
    good, left = _usable(log, rows)
    rows = rows[good]
    order = np.lexsort((rows["counter"], rows["prefix"], rows["time"]))
    _, first = np.unique(rows["unit"][order], return_index=True)
    firsts = order[np.sort(first)]
    left["later visit of a unit"] = len(rows) - len(firsts)
    most = MOST_CELLS // len(experiment.arms)
    left["older than there is room for"] = max(0, len(firsts) - most)
    rows = rows[firsts[-most:]]
    choice, choices = _choices(log, rows)
    horizon = experiment.primary.window_ms + experiment.primary.grace_ms
    return Trials(
        arms=tuple(arm.id for arm in experiment.arms),
        arm=rows["arm"].astype(np.int64),
        segment=rows["segment"].astype(np.int64),
        propensity=rows["propensity"].astype(np.float64),
        total=_totals(log, rows, experiment.primary.number),
        x=np.ascontiguousarray(rows["x"]),
        choice=choice,
        choices=choices,
        rules=rules_of(experiment),
        unit=experiment.primary.unit,
        left_out={why: count for why, count in left.items() if count},
        open=rows["time"] + horizon > log.last,
        priors=experiment.priors,
        costs=experiment.costs,
        held=(rows["flags"] & bits.HOLDOUT) != 0,
    )


def _heads(log: Gathered, columns: int) -> layout.Rows:
    """All trials, also those that a first exposure or reward made, with features padded to `columns`."""
    chunks = [*log.trials, *(rows[totals[:, 2] == 1] for rows, totals in log.rewards)]
    out = np.zeros(sum(map(len, chunks)), layout.trial_dtype(columns))
    at = 0
    for chunk in chunks:
        here = out[at : at + len(chunk)]
        for name in layout.HEAD.names or ():
            here[name] = chunk[name]
        width = min(columns, chunk["x"].shape[1])
        here["x"][:, :width] = chunk["x"][:, :width]
        at += len(chunk)
    return out


def _usable(log: Gathered, rows: layout.Rows) -> tuple[Mask, dict[str, int]]:
    """Which rows a policy drew, and how many others there are by the first reason that holds for them."""
    flags, good = rows["flags"], np.ones(len(rows), np.bool_)
    left: dict[str, int] = {}

    def drop(bad: Mask, why: str) -> None:
        left[why] = left.get(why, 0) + int((good & bad).sum())
        good[bad] = False

    for bit, why in _WHY:
        drop((flags & bit) != 0, why)
    for one in log.experiment.exclusions:
        drop(exclusion(one).holds(rows["time"], rows["arm"]), "excluded")
    drop(~np.isin(rows["version"], list(log.versions)), "configuration no longer known")
    drop(~((rows["propensity"] > 0) & (rows["propensity"] <= 1)), "no propensity")
    known = (log.versions[v] for v in np.unique(rows["version"][good]).tolist())
    if len({(one.holdout_share, one.holdout_uniform) for one in known}) > 1:
        drop((flags & bits.HOLDOUT) != 0, "of a holdout that was changed")
    sticky = (flags & bits.STICKY) != 0
    for version in np.unique(rows["version"][sticky & good]).tolist():
        period = log.versions[version].sticky_ms
        if period is not None:
            here = sticky & (rows["version"] == version)
            drop(here & (rows["time"] - rows["time"] % period < log.kept_from), "period began before the kept log")
    return good, left


def _choices(log: Gathered, rows: layout.Rows) -> tuple[Ints, tuple[Ints, ...]]:
    """The arms that could be drawn for each row, by the configuration it was made under, at its time."""
    known: dict[tuple[int, ...], int] = {}
    out = np.zeros(len(rows), np.int64)
    pairs = np.stack([rows["version"].astype(np.int64), rows["segment"].astype(np.int64)], axis=1)
    for version, segment in np.unique(pairs, axis=0).tolist():
        experiment = log.versions[version]
        here = np.flatnonzero((pairs[:, 0] == version) & (pairs[:, 1] == segment))
        for time in _moments(experiment, rows["time"][here]):
            since = here[rows["time"][here] >= time]
            out[since] = known.setdefault(experiment.eligible(segment, time), len(known))
    return out, tuple(np.array(arms, np.int64) for arms in known)


def _moments(experiment: Experiment, times: Ints) -> list[int]:
    """The first of the times, and every later one at which a date changed what could be drawn, up to the last."""
    moments, end = [int(times.min())], int(times.max())
    while (change := experiment.next_change(moments[-1])) is not None and change <= end:
        moments.append(change)
    return moments


def _totals(log: Gathered, rows: layout.Rows, metric: int) -> Ints:
    """The newest total of each row's decision under a metric, 0 where no reward came."""
    out = np.zeros(len(rows), np.int64)
    known = [(r[r["metric"] == metric], t[r["metric"] == metric]) for r, t in log.rewards]
    if not len(rows) or not sum(len(r) for r, _ in known):
        return out
    prefix = np.concatenate([r["prefix"] for r, _ in known])
    counter = np.concatenate([r["counter"] for r, _ in known])
    total = np.concatenate([t[:, 1] for _, t in known])
    prefixes, code = np.unique(prefix, return_inverse=True)
    # Few prefixes, so that a decision fits 64 bits: which prefix, then the counter.
    name = code.astype(np.uint64) << np.uint64(32) | counter
    newest = np.unique(name[::-1], return_index=True)
    at = np.minimum(np.searchsorted(prefixes, rows["prefix"]), len(prefixes) - 1)
    wanted = at.astype(np.uint64) << np.uint64(32) | rows["counter"]
    place = np.minimum(np.searchsorted(newest[0], wanted), len(newest[0]) - 1)
    found = (prefixes[at] == rows["prefix"]) & (newest[0][place] == wanted)
    out[found] = total[::-1][newest[1][place]][found]
    return out
