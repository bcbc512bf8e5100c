"""The sums of an exclusion's rows, folded again from the log as they once were."""

from __future__ import annotations

from collections.abc import Sequence

from bandits.asides import Exclusion
from bandits.state import State
from service.errors import CorruptError
from service.experiment.compiled import Experiment, read
from service.experiment.exclusions import exclusion
from service.learning.fold.batches import batches
from service.learning.fold.past import Past, reaches
from service.store.contract import Entry

MARGIN_MS = 1000  # that a decision's time may be ahead of its entry's: more than clocks of servers of one store differ


def exclusions_of(experiment: Experiment) -> tuple[Exclusion, ...]:
    """The exclusions as the fold takes them."""
    return tuple(exclusion(one) for one in experiment.exclusions)


def aside_of(state: State, what: Exclusion, experiment: Experiment, past: Past | None, entry: Entry) -> State:
    """What `state`, settled at `entry`, has of the exclusion's rows. `entry` brings `experiment`, which excludes them.

    CorruptError where the log no longer reaches back so far.
    """
    since = what.start - MARGIN_MS
    if past is None or not reaches(past.first(), since):
        raise CorruptError(f"the log of {experiment.uid} no longer has all that exclusion {what.number} takes out")
    out = state.hollow()
    rules = out.rules
    out.rules = rules._replace(products=_before(experiment, past, since, entry.id).design)
    for page in past.since(since, entry.id):
        run: list[Entry] = []
        for one in page:
            if one.config is not None:
                _add(out, what, run, experiment)
                run = []
                out.rules = rules._replace(products=read(one.config).design)
            else:
                run.append(one)
        _add(out, what, run, experiment)
    out.rules = rules
    out.settle(entry.time)
    out.tidy()
    return out


def _before(experiment: Experiment, past: Past, since: int, until: str) -> Experiment:
    """The configuration in force at that moment: the one before the first that came after it, up to this one."""
    configs = (entry.config for page in past.since(since, until) for entry in page if entry.config is not None)
    first = next((read(config).version for config in configs), experiment.version)
    record = past.record(first - 1) if first > 1 else past.record(1)
    if record is None:
        raise CorruptError(f"the configuration {first - 1} of {experiment.uid} is no longer kept")
    return read(record)


def _add(state: State, what: Exclusion, run: Sequence[Entry], experiment: Experiment) -> None:
    for rows, totals in batches(run, experiment):
        inside = what.holds(rows.time, rows.arm)
        if not inside.any():
            continue
        if totals is None:
            state.add_trials(rows.where(inside))
        else:
            state.add_rewards(rows.where(inside), totals.where(inside))
