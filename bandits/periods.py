"""What happened when, for an experiment's whole life: nothing that is forgotten, trimmed or merged is lost here.

*Arms*, for (hour, segment, arm): the counts of a State's block (bandits/cells.py) and the sum of the propensities with which the
policy's trials were drawn. Hours become UTC days once these are 14 days old.

*Lift*, for (day, bucket of subjects): trials of policy and holdout, and of each metric the total, over all segments. What was
known by the end of a day is the sum over the days up to it. Counting begins anew where the holdout's share, or what it is
served, changes: an era. A row belongs to the era of the configuration that it was decided under, however late it comes.

Times are those of decisions. All cells are int64, so neither order nor cuts of the log matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits.cells import SUBJECT_BUCKETS, counts_size
from bandits.pages import Key, Pages
from bandits.period_rows import ARM_BITS, COUNTS, NAME, ODDS, SHOWN, add_arms, add_lift
from bandits.rows import NEVER

if TYPE_CHECKING:
    from bandits.rows import Rows, Rules, Totals
    from bandits.subjects import Subjects

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

HOUR = 3_600_000
DAY = 24 * HOUR
HOURS_MS = 14 * DAY  # after which a day is kept as one
_BUCKETS, _NOWHERE = np.arange(SUBJECT_BUCKETS), np.zeros((0, 1), np.int64)


class Era(NamedTuple):
    """A time in which the holdout is the same."""

    version: int  # of the configuration that it began with
    begun_ms: int
    held: int  # 1 where there is a holdout


class Past(NamedTuple):
    """The arms in one period: n rows of counts and propensities."""

    start: int  # ms
    end: int
    segment: Ints  # i8[n]
    arm: Ints  # i8[n]
    odds: Floats  # f8[n]: sum of the propensities of the policy's trials
    counts: Ints  # i8[n, counts_size]


class Periods:
    """The sums of one experiment. Part of a State, as safe as it."""

    KINDS = ("t", "l", "p")  # what the names of its fields begin with

    def __init__(self, rules: Rules) -> None:
        self.arms, self.days = Pages(), Pages()  # by (start, width); by (number of the era, start)
        self.eras = [_era(rules)._replace(version=0, begun_ms=0)]
        self.begun = 0  # ms; earlier rows are known by time bucket, or by the day they were taken over, only
        self._due = 0
        self._recent: Key | None = None  # pages that were added to last
        self._recent_day: Key | None = None

    # -- rules -------------------------------------------------------------------------------------------------

    def adopt(self, old: Rules, new: Rules) -> None:
        """Go on under new rules."""
        self._recent = self._recent_day = None
        if new.control != old.control and (self.eras[-1].held or new.control[0]):
            self.eras.append(_era(new))

    # -- fold --------------------------------------------------------------------------------------------------

    def add_trials(self, rows: Rows, rules: Rules) -> None:
        """Fold trial rows."""
        new = np.zeros(len(rows.time), np.int64)
        self._add(rows, rules, (new - 1, new, new, new + 1))

    def add_rewards(self, rows: Rows, totals: Totals, rules: Rules) -> None:
        """Fold reward rows; those that expose are trials too."""
        self._add(rows, rules, (totals.metric, totals.old, totals.new, totals.exposes))

    def _add(self, rows: Rows, rules: Rules, what: tuple[Ints, Ints, Ints, Ints]) -> None:
        self._add_arms(rows, COUNTS + counts_size(rules.metrics), what)
        if any(era.held for era in self.eras):
            self._add_lift(rows, 1 + 2 * (1 + rules.metrics), what)

    def _add_arms(self, rows: Rows, width: int, what: tuple[Ints, Ints, Ints, Ints]) -> None:
        time, left = rows.time, np.ones(len(rows.time), np.int64)
        odds = rows.propensity if rows.propensity is not None else np.zeros(len(time))
        key, todo = self._recent, len(time)
        while todo:
            if key is not None:
                page, ends = self.arms.page(key), (key[0], key[0] + key[1])
                todo = add_arms(page, *ends, time, rows.segment, rows.arm, rows.flags, odds, *what, left)
            if todo:  # rows of another period, or new ones
                first = int(time[left.argmax()])
                key = self._period(first - first % HOUR)
                inside = (left == 1) & (time >= key[0]) & (time < key[0] + key[1])
                self._open(self.arms, key, rows.segment[inside] << ARM_BITS | rows.arm[inside], width)
                self._recent = key

    def _add_lift(self, rows: Rows, width: int, what: tuple[Ints, Ints, Ints, Ints]) -> None:
        time, left = rows.time, np.ones(len(rows.time), np.int64)
        version = rows.version if rows.version is not None else np.zeros(len(time), np.int64)
        begun = np.array([era.version for era in self.eras])
        key, todo = self._recent_day, len(time)
        while todo:
            page, ends = _NOWHERE, (NEVER, NEVER, 0, 0)  # to leave out who is neither in policy nor holdout
            if key is not None:
                number, day = key
                until = int(begun[number + 1]) if number + 1 < len(begun) else NEVER
                ends = (int(begun[number]), until, day, day + DAY)
                page = self.days.page(key) if self.eras[number].held else _NOWHERE
            todo = add_lift(page, *ends, time, version, rows.bucket, rows.flags, *what, left)
            if todo:
                first = int(left.argmax())
                number = int(np.searchsorted(begun, version[first], side="right")) - 1
                key = number, int(time[first] - time[first] % DAY)
                if self.eras[number].held:
                    self._open(self.days, key, _BUCKETS, width)
                    self._recent_day = key

    def _open(self, pages: Pages, key: Key, names: Ints, width: int) -> None:
        pages.rows(key, names, width)
        self._due = 0

    def _period(self, hour: int) -> Key:
        """Where rows of an hour are kept: its own page, or that of its day."""
        day = (hour - hour % DAY, DAY)
        return day if day in self.arms else (hour, HOUR)

    def follow(self, other: Periods) -> None:
        """Count in the same eras as the other."""
        self.eras, self.begun = list(other.eras), other.begun

    def add(self, other: Periods, sign: int) -> None:
        """Add the other's sums (sign 1) or take them away (-1)."""
        self._recent = self._recent_day = None
        for mine, its in ((self.arms, other.arms), (self.days, other.days)):
            for key in its:
                mine.add(key, its.page(key), sign)
                if sign < 0:
                    mine.close(key)  # nothing is left of a page of zeros
        self._due = 0

    def settle(self, now_ms: int, horizon_ms: int) -> None:
        """Make days of the hours that are due when the entry of this time is folded; pack what rewards cannot reach."""
        if now_ms < self._due:
            return
        self._recent = self._recent_day = None
        for start, width in self.arms:
            if width == HOUR and _ripe(start) < now_ms:
                self.arms.merge((start, width), (start - start % DAY, DAY))
        for start, width in self.arms.opened():
            if start + width + horizon_ms < now_ms:
                self.arms.close((start, width))
        for number, day in self.days.opened():
            if day + DAY + horizon_ms < now_ms:
                self.days.close((number, day))
        ends = [_ripe(start) for start, width in self.arms if width == HOUR]
        ends += [start + width + horizon_ms for start, width in self.arms.opened()]
        ends += [day + DAY + horizon_ms for _, day in self.days.opened()]
        self._due = min(ends, default=2**62) + 1

    # -- what came before ---------------------------------------------------------------------------------------

    def take_over(self, time: int, segment: int, arm: int, counts: Ints) -> None:
        """Counts of an arm of which no more is known than that they are from `time` on."""
        name = np.array([segment << ARM_BITS | arm], np.int64)
        page, at = self.arms.rows((time - time % DAY, DAY), name, COUNTS + counts.size)
        page[at[0], COUNTS : COUNTS + counts.size] += counts

    def take_over_lift(self, subjects: Subjects, rules: Rules, now_ms: int) -> None:
        """Sums of lift that count since a version, by now; from now on, all is known by hour and day."""
        self.begun, held = now_ms, int(rules.control[0] > 0.0)
        self.eras = [Era(0, 0, 0)] if subjects.since else []
        self.eras.append(Era(subjects.since, subjects.since_ms, held))
        if held:
            names = np.arange(subjects.lift.shape[-1])
            page, _ = self.days.rows((len(self.eras) - 1, now_ms - now_ms % DAY), names, 1 + 2 * (1 + rules.metrics))
            page[:, 1:] = subjects.lift.sum(axis=0).transpose(2, 1, 0).reshape(names.size, -1)
        self._due = 0

    # -- reading -----------------------------------------------------------------------------------------------

    def spans(self) -> list[tuple[int, int]]:
        """Start and end of every period in which something was shown or earned, in order."""
        return [(start, start + width) for start, width in self.arms]

    def pasts(self) -> Iterator[Past]:
        """The arms in each of these periods."""
        for start, width in self.arms:
            page = self.arms.page((start, width))
            name = page[:, NAME]
            yield Past(
                start, start + width, name >> ARM_BITS, name & (1 << ARM_BITS) - 1,
                page[:, SHOWN] / ODDS, page[:, COUNTS:],
            )  # fmt: skip

    def lift(self, metrics: int) -> Iterator[tuple[int, int, Ints]]:
        """(number of the era, end of the day, i8[2, 1 + metrics, 256] up to then since the era began), in order of time."""
        total, of = np.zeros((2, 1 + metrics, 256), np.int64), -1
        for number, day in self.days:
            if number != of:
                total, of = np.zeros_like(total), number
            page = self.days.page((number, day), 1 + 2 * (1 + metrics))
            total[:, :, page[:, 0]] += page[:, 1:].reshape(len(page), 1 + metrics, 2).transpose(2, 1, 0)
            yield number, day + DAY, total.copy()

    # -- bytes -------------------------------------------------------------------------------------------------

    def fields(self) -> dict[str, bytes]:
        """Canonical: nothing is written of what is as in a new experiment."""
        out = dict(self.arms.fields("t")) | dict(self.days.fields("l"))
        if self.begun or len(self.eras) > 1:
            out["p"] = np.array([self.begun, *[n for era in self.eras for n in era]], "<i8").tobytes()
        return out

    def restore(self, kind: str, key: tuple[int, ...], value: bytes) -> None:
        """Take in a field, of one of KINDS."""
        if kind == "p":
            self.begun, *numbers = np.frombuffer(value, "<i8").tolist()
            self.eras = [Era(*numbers[i : i + 3]) for i in range(0, len(numbers), 3)]
        else:
            (self.arms if kind == "t" else self.days).restore((key[0], key[1]), value)


def _era(rules: Rules) -> Era:
    return Era(rules.version, rules.applied_ms, int(rules.control[0] > 0.0))


def _ripe(hour: int) -> int:
    """After when the day of an hour is kept as one."""
    return hour - hour % DAY + DAY + HOURS_MS
