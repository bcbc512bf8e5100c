"""The log as an auditor reads it: every decision's rewards, row by row, in the plainest way."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from bandits.layout import HISTORY
from service.store import rows as layout
from service.store.contract import Entry, Held
from service.store.entries import rows_of
from service.store.rows import Composite

DAY_MS = 86_400_000
Name = tuple[int, int]  # prefix and counter of a decision


class Recount:
    """What the rows of a log come to. `faults` says where they contradict one another.

    Each decision and metric has its totals in the order of the log, numbered; those up to `close` are past, of the
    rest a claim that was read meanwhile may show any.
    """

    def __init__(self, log: Iterable[Entry]) -> None:
        self.trials = 0
        self.rewards = 0
        self.faults: list[str] = []
        self._totals: dict[tuple[Name, int], tuple[int, int]] = {}  # (total, rows so far)
        self._later: dict[tuple[Name, int], list[tuple[int, int]]] = defaultdict(list)
        self._exposed: dict[Name, bool] = {}  # to whether it was before the close
        self._times: dict[Name, int] = {}
        self._versions: dict[Name, int] = {}  # of decisions; history may have a sum without its parts
        self._forgotten: set[Name] = set()  # of history that was taken back
        self._closed = False
        self._rewarded: dict[int, int] = defaultdict(int)
        self._sums: dict[int, int] = defaultdict(int)
        self.add(log)

    def add(self, log: Iterable[Entry]) -> None:
        """More entries, in the order of the log."""
        for entry in log:
            if entry.trials:
                self.trials += len(entry.trials) // entry.stride
            elif entry.rewards and not entry.late:
                self._rewards(entry)

    def close(self) -> None:
        """What comes now may, or may not, be in what is compared."""
        self._closed = True

    def counts(self) -> Counter[str]:
        """Counts by name, as the state should have them."""
        out = Counter(trials=self.trials)
        out.update({f"rewarded[{metric}]": count for metric, count in self._rewarded.items()})
        out.update({f"total[{metric}]": total for metric, total in self._sums.items()})
        return out

    def times(self) -> Iterator[tuple[Name, int]]:
        """Each rewarded decision and how many rows of the log reward it."""
        for (name, _), (_, rows) in self._totals.items():
            yield name, rows

    def expected(self, epoch: int, now_ms: int, horizon_ms: int) -> set[Name]:
        """Decisions that surely have a claim: rewarded or exposed before the close, since `epoch`, not expired."""
        past = {name for name, _ in self._totals} | {name for name, before in self._exposed.items() if before}
        past -= self._forgotten
        return {n for n in past if self._times[n] >= epoch and _expires(self._times[n], horizon_ms) > now_ms}

    def sums(self, composites: Sequence[tuple[Composite, int]]) -> list[str]:
        """Where a whole log contradicts that a metric is the sum of others: each with the first version that it counts."""
        wrong = []
        for name, version in self._versions.items() if composites else ():
            for (number, parts), since in composites:
                of_parts = sum(weight * self._newest(name, part) for part, weight in parts)
                told = self._newest(name, number)
                if version >= since and told != of_parts:
                    wrong.append(f"decision {_text(name)}, metric {number}: {told}, and its parts come to {of_parts}")
        return wrong

    def _newest(self, name: Name, metric: int) -> int:
        later = self._later.get((name, metric))
        return later[-1][0] if later else self._totals.get((name, metric), (0, 0))[0]

    def judge(self, held: Held, whole: bool) -> tuple[list[str], int]:
        """What is wrong with a claim, and whether (1 or 0) part of it is older than the log that is kept."""
        name, wrong, beyond = (held.prefix, held.counter), [], 0
        for metric, (total, least, most) in held.totals.items():
            moments = [*self._later.get((name, metric), ())]
            if (name, metric) in self._totals:
                moments.append(self._totals[name, metric])
            if not moments:
                beyond += 1
            elif not any(total == t and (not whole or least <= n <= most) for t, n in moments):
                wrong.append(
                    f"decision {_text(name)}, metric {metric}: the record has {total}, the log {moments[-1][0]}"
                )
        if held.exposed and name not in self._exposed:
            beyond += 1
        if whole and beyond:
            wrong.append(f"decision {_text(name)} has a record and is not in the log: a reward was lost")
        return wrong, min(beyond, 1)

    def _rewards(self, entry: Entry) -> None:
        packed = rows_of(entry)
        columns_of = (packed[name].tolist() for name in ("prefix", "counter", "time", "metric", "version", "flags"))
        for row, (old, new, exposes) in zip(zip(*columns_of, strict=True), entry.totals, strict=True):
            prefix, counter, time, metric, version, flags = row
            name = (prefix, counter)
            self._times[name] = time
            if not flags & HISTORY:
                self._versions[name] = version
            self._expose(name, exposes)
            if metric != layout.NO_METRIC:
                self._reward(name, metric, old, new)
            if exposes == 1:
                self._forgotten.discard(name)
            if exposes < 0:  # history taken back: nothing is remembered of it
                self._forgotten.add(name)
                self._exposed.pop(name, None)
                self._totals.pop((name, metric), None)
                self._later.pop((name, metric), None)

    def _expose(self, name: Name, exposes: int) -> None:
        self.trials += exposes
        if exposes == 1:
            if name in self._exposed:
                self.faults.append(f"decision {_text(name)} became a trial twice")
            self._exposed[name] = not self._closed

    def _reward(self, name: Name, metric: int, old: int, new: int) -> None:
        self.rewards += 1
        later = self._later.get((name, metric))
        known = later[-1] if later else self._totals.get((name, metric))
        if known is not None and known[0] != old:
            self.faults.append(f"decision {_text(name)}, metric {metric}: {old} follows {known[0]}")
        moment = (new, (known[1] if known else 0) + 1)
        if self._closed:
            self._later[name, metric].append(moment)
        else:
            self._totals[name, metric] = moment
        self._rewarded[metric] += (new != 0) - (old != 0)
        self._sums[metric] += new - old


def _expires(time: int, horizon_ms: int) -> int:
    """When the claim of a decision of that time may be gone, at the earliest (rewarder.py)."""
    return (time // DAY_MS + 1) * DAY_MS + horizon_ms + DAY_MS


def _text(name: Name) -> str:
    return f"{name[0]:016x}-{name[1]}"
