"""`python -m loadtest learning`: Lever and other libraries on the same problems with the same luck (docs/learning.md)."""

from __future__ import annotations

import argparse
import os
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from loadtest.learning import compare, lever, plot, pool, present, verdict
from loadtest.learning.compare import Result
from loadtest.learning.peers import PEERS
from loadtest.learning.policies import How, chosen, is_lever, own
from loadtest.learning.problems.table import DRAWN, FAMILIES, PROBLEMS, REPORTING, SEEDS, TUNING, set_of
from loadtest.learning.runs import Task
from loadtest.replay.dataset import DataError
from loadtest.rig import report
from service.process.kernel_cache import cache_dir

QUICK_SEEDS = 2
GROW = 0.01  # of drawn worlds
ALL = "all"


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser("python -m loadtest learning", description=__doc__)
    what = made.add_argument_group("what")
    what.add_argument(
        "--set", choices=(TUNING, REPORTING, ALL), help="problems and seeds to choose constants on, or to report"
    )
    what.add_argument(
        "--problems", nargs="+", choices=list(PROBLEMS), metavar="PROBLEM", help="default: all of the set"
    )
    what.add_argument("--families", nargs="+", choices=FAMILIES, metavar="FAMILY", help="only these families")
    what.add_argument("--drawn", type=int, metavar="N", help="N drawn worlds, fast, against the textbook's policies")
    what.add_argument("--policies", nargs="+", metavar="POLICY", help='as listed; "peers", "textbook" for all of them')
    what.add_argument("--seeds", type=int, help="how many; default 10")
    what.add_argument("--first-seed", type=int, help=f"default {SEEDS[REPORTING]}, for tuning {SEEDS[TUNING]}")
    what.add_argument("--quick", action="store_true", help=f"{QUICK_SEEDS} seeds")
    how = made.add_argument_group("how")
    how.add_argument("--stale", type=int, default=20, help="decisions between two snapshots or batches (1, 20, 200)")
    how.add_argument("--fast", action="store_true", help="Lever without tokens, claims and store: the same choices")
    how.add_argument("--grow", type=float, help="with --fast: snapshots also this share of the run old (0.01)")
    how.add_argument("--timeless", action="store_true", help="with --fast: decisions a millisecond apart")
    how.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1), help="default 2; 1: no worker")
    how.add_argument("--no-cache", action="store_true", help="run the other libraries again")
    made.add_argument("--out", type=Path, help="folder for the plot")
    made.add_argument("--json", action="store_true", help="JSON lines on stdout: results, families, a summary last")
    made.add_argument("--list", action="store_true", help="list problems and policies")
    return made


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 on success, 1 where a run of Lever failed or nothing could be run, 2 for wrong options."""
    options = parser().parse_args(arguments)
    out = report.console()
    if options.list:
        present.listing(out)
        return 0
    try:
        check(options)
        policies = chosen(options.policies or (["lever", "textbook"] if options.drawn else [*own(), "peers"]))
    except ValueError as error:
        out.print(str(error), markup=False)
        return 2
    policies = [p for p in policies if p not in PEERS or _installed(p, out)]
    runs = pool.perform_all(tasks(options, policies, out), options.processes, out)
    found = compare.worlds(runs) if options.drawn else compare.results(runs)
    (present.worlds if options.drawn else present.problems)(found, out)
    if options.out is not None and not options.drawn:
        rounds = {name: problem.rounds for name, problem in PROBLEMS.items()}
        title = f"cumulative regret, snapshots and batches of {options.stale}"
        plot.curves(options.out / f"learning-{options.stale}.png", found, rounds, title)
    if options.json:
        emit(found, options)
    failed = [run for run in runs if run.error and is_lever(run.policy)]
    return 1 if failed or not found else 0


def check(options: Namespace) -> None:
    """ValueError for numbers that are too small and options that do not go together."""
    numbers = (options.seeds, options.first_seed, options.stale, options.processes, options.drawn)
    if any(number is not None and number < 1 for number in numbers):
        raise ValueError("--seeds, --first-seed, --stale, --processes and --drawn must be at least 1")
    if options.drawn and (options.problems or options.families):
        raise ValueError("--drawn has no --problems or --families")
    if (options.grow or options.timeless) and not (options.fast or options.drawn):
        raise ValueError("--grow and --timeless go with --fast")


def wanted(options: Namespace) -> list[str]:
    """The problems that were asked for."""
    named = options.problems or [
        name for name, problem in PROBLEMS.items() if options.set == ALL or problem.set == (options.set or REPORTING)
    ]
    return [name for name in named if not options.families or PROBLEMS[name].family in options.families]


def seeds(options: Namespace, problems: Sequence[str]) -> range:
    """Those that were asked for; else of the set, that of the problems where none was named."""
    tuned = options.set == TUNING or (
        options.set is None and problems and all(PROBLEMS[name].set == TUNING for name in problems)
    )
    first = options.first_seed or SEEDS[TUNING if tuned else REPORTING]
    return range(first, first + (options.drawn or options.seeds or (QUICK_SEEDS if options.quick else 10)))


def tasks(options: Namespace, policies: Sequence[str], out: Console) -> list[Task]:
    """What to run, interleaved: all policies meet a problem one after the other, so that all share the machine's moods."""
    cache = None if options.no_cache else cache_dir() / "learning"
    grow = options.grow if options.grow is not None else (GROW if options.drawn else 0.0)
    how = How(options.stale, bool(options.fast or options.drawn), grow, options.timeless)
    named = [DRAWN] if options.drawn else [p for p in wanted(options) if _possible(p, out)]
    numbers = seeds(options, [] if options.drawn else named)
    return [Task(problem, policy, seed, how, cache) for seed in numbers for problem in named for policy in policies]


def _installed(policy: str, out: Console) -> bool:
    if PEERS[policy].version is None:
        out.print(f"{policy} is left out: {PEERS[policy].package} is not installed (dependency group `peers`)")
        return False
    return True


def _possible(problem: str, out: Console) -> bool:
    try:
        PROBLEMS[problem].world(1)
    except (DataError, ImportError) as error:
        out.print(f"{problem} is left out: {error}", markup=False)
        return False
    return True


def emit(found: Sequence[Result], options: Namespace) -> None:
    """The JSON lines."""
    for result in found:
        report.emit(result.record() | ({"world": result.runs[0].seed} if options.drawn else {}))
    numbers = sorted({run.seed for result in found for run in result.runs})
    versions: Mapping[str, str | None] = {peer.package: peer.version for peer in PEERS.values()}
    facts = {
        "set": _set(found),
        "seeds": numbers,
        "stale": options.stale,
        "machine": report.machine(),
        "peers": versions,
    }
    own = present.own(found)
    if options.drawn:
        for policy in own:
            report.emit(verdict.drawn(found, policy) | {DRAWN: len(numbers)} | facts)
        return
    for policy in own:
        for line in verdict.families(found, policy):
            report.emit(line | {"set": facts["set"]})
    resets = {r.problem: r.mean("resets") for r in found if r.policy == lever.NAME and r.mean("resets")}
    false = {name: mean for name, mean in resets.items() if not PROBLEMS[name].changes}
    report.emit(verdict.summary(found, lever.NAME) | {"resets": resets, "false_resets": false} | facts)


def _set(found: Sequence[Result]) -> str | None:
    """That all results are of, "mixed" where there are several."""
    sets = {set_of(result.problem, [run.seed for run in result.runs]) for result in found}
    return sets.pop() if len(sets) == 1 else "mixed" if sets else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
