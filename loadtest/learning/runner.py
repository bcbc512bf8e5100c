"""`python -m loadtest learning`: Lever and other libraries on the same problems with the same luck (docs/learning.md)."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from bandits.policy import POLICIES
from loadtest.learning import compare, lever, plot
from loadtest.learning.compare import Ratio, Result
from loadtest.learning.peers import PEERS
from loadtest.learning.runs import FULL, How, Run, Task, is_lever, perform
from loadtest.learning.worlds import PROBLEMS
from loadtest.replay.dataset import DataError
from loadtest.rig import report
from service.process.kernel_cache import cache_dir

QUICK_SEEDS = 2
UNTRIED = ("auto", "uniform", "fixed")  # `lever` is auto; the other two do not learn
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser("python -m loadtest learning", description=__doc__)
    made.add_argument("--problems", nargs="+", choices=list(PROBLEMS), metavar="PROBLEM", help="default: all of them")
    made.add_argument("--policies", nargs="+", metavar="POLICY", help='as listed; "peers" for all other libraries')
    made.add_argument("--seeds", type=int, help="how many; default 10")
    made.add_argument("--first-seed", type=int, default=1, help="default 1; others are problems nobody tuned on")
    made.add_argument("--stale", type=int, default=20, help="decisions between two snapshots or batches (1, 20, 200)")
    made.add_argument("--fast", action="store_true", help="Lever without tokens, claims and store: the same choices")
    made.add_argument(
        "--grow", type=float, default=0.0, help="with --fast: snapshots also this share of the run old (0.01)"
    )
    made.add_argument(
        "--timeless", action="store_true", help="with --fast: decisions a millisecond apart, one time bucket"
    )
    made.add_argument("--quick", action="store_true", help=f"{QUICK_SEEDS} seeds")
    made.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1), help="default 2; 1: no worker")
    made.add_argument("--no-cache", action="store_true", help="run the other libraries again")
    made.add_argument("--out", type=Path, help="folder for the plot")
    made.add_argument("--json", action="store_true", help="JSON lines on stdout: one a result, a summary last")
    made.add_argument("--list", action="store_true", help="list problems and policies")
    return made


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 on success, 1 where a run of Lever failed or nothing could be run, 2 for wrong options."""
    options = parser().parse_args(arguments)
    out = report.console()
    if options.list:
        listing(out)
        return 0
    try:
        policies = chosen(options.policies)
    except ValueError as error:
        out.print(str(error), markup=False)
        return 2
    seeds = (QUICK_SEEDS if options.quick else 10) if options.seeds is None else options.seeds
    if min(seeds, options.first_seed, options.stale, options.processes) < 1:
        out.print("--seeds, --first-seed, --stale and --processes must be at least 1")
        return 2
    if (options.grow or options.timeless) and not options.fast:
        out.print("--grow and --timeless go with --fast")
        return 2
    policies = [p for p in policies if is_lever(p) or _installed(p, out)]
    problems = [p for p in options.problems or PROBLEMS if _possible(p, out)]
    cache = None if options.no_cache else cache_dir() / "learning"
    numbers = range(options.first_seed, options.first_seed + seeds)
    how = How(options.fast, options.grow, 1 if options.timeless else lever.STEP_MS)
    runs = perform_all(tasks(problems, policies, numbers, options.stale, cache, how), options.processes, out)
    found = compare.results(runs)
    present(found, out)
    if options.out is not None:
        rounds = {name: problem.rounds for name, problem in PROBLEMS.items()}
        title = f"cumulative regret, snapshots and batches of {options.stale}, {seeds} seeds"
        plot.curves(options.out / f"learning-{options.stale}.png", found, rounds, title)
    if options.json:
        emit(found, options.stale, numbers)
    failed = [run for run in runs if run.error and is_lever(run.policy)]
    return 1 if failed or not found else 0


def listing(out: Console) -> None:
    """What can be asked for."""
    rows = [(name, f"{problem.rounds:,}", problem.what) for name, problem in PROBLEMS.items()]
    out.print(report.table("problems", ("name", "decisions", "what"), rows))
    versions = [(peer.name, peer.package, peer.version or "not installed") for peer in PEERS.values()]
    own = [(name, "", "") for name in _own()]
    out.print(report.table("policies", ("name", "package", "version"), [*own, *versions]))
    out.print("Settings follow a colon: 'lever linucb:alpha=0.5,floor=0'", markup=False)


def _own() -> list[str]:
    return [lever.NAME, *(f"{lever.NAME} {name}" for name in POLICIES if name not in UNTRIED)]


def chosen(names: Sequence[str] | None) -> list[str]:
    """The policies to run, in order, without repeats. ValueError for a name that does not exist."""
    wanted: list[str] = []
    for name in names or [*_own(), "peers"]:
        if name == "peers":
            wanted.extend(PEERS)
        elif is_lever(name):
            lever.algorithm(name)
            wanted.append(name)
        elif name in PEERS:
            wanted.append(name)
        else:
            raise ValueError(f"unknown policy {name!r}: see --list")
    return list(dict.fromkeys(wanted))


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


def tasks(
    problems: Sequence[str],
    policies: Sequence[str],
    seeds: Sequence[int],
    batch: int,
    cache: Path | None,
    how: How = FULL,
) -> list[Task]:
    """Interleaved: all policies meet a problem one after the other, seed by seed, so that all share the machine's moods."""
    return [
        Task(problem, policy, seed, batch, cache, how) for seed in seeds for problem in problems for policy in policies
    ]


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Workers that start meanwhile leave the cores to one another."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _follow_parent() -> None:
    """End this worker with its parent, also where that was killed: a pool's workers would wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="follow-parent", daemon=True).start()


def perform_all(wanted: Sequence[Task], processes: int, out: Console) -> list[Run]:
    """Run the tasks in so many processes (1: here); runs in the order of the tasks."""
    made: dict[int, Run] = {}
    with _one_thread_each(), report.progress(out) as bar:
        progress = bar.add_task("runs", total=len(wanted))
        if processes == 1:
            for i, task in enumerate(wanted):
                made[i] = perform(task)
                bar.advance(progress)
                _complain(made[i], bar)
            return [made[i] for i in range(len(wanted))]
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=context, initializer=_follow_parent) as pool:
            futures = {pool.submit(perform, task): i for i, task in enumerate(wanted)}
            for future in as_completed(futures):
                made[futures[future]] = run = future.result()
                bar.advance(progress)
                _complain(run, bar)
    return [made[i] for i in range(len(wanted))]


def _complain(run: Run, bar: Progress) -> None:
    if run.error:
        bar.console.print(f"{run.problem}, {run.policy}, seed {run.seed}: {run.error}", markup=False)


def present(found: Sequence[Result], out: Console) -> None:
    """Tables for people."""
    for problem, group in compare.by_problem(found).items():
        best = compare.toughest(group)
        rows = [_row(result, best) for result in group]
        title = f"{problem}: {PROBLEMS[problem].what}; oracle {group[0].oracle:.4f}, {len(group[0].regrets)} seed(s)"
        header = ("policy", "mean reward", "± se", "regret", "over the toughest peer's", "resets", "s/run")
        out.print(report.table(title, header, rows))
    own = [policy for policy in dict.fromkeys(r.policy for r in found) if is_lever(policy)]
    for policy in own:
        ratios = compare.ratios(found, policy)
        if ratios and policy == own[0]:
            out.print(report.table(f"{policy}: regret over that of the toughest peer", *_overview(ratios)))
        mean = compare.geometric_mean(ratios)
        if mean is not None:
            worst = max(ratios, key=lambda r: r.value)
            wins = sum(r.value < 1.0 for r in ratios)
            text = f"{policy}: geometric mean {mean:.3f}, worst {worst.value:.2f} ({worst.problem})"
            out.print(f"{text}, ahead on {wins} of {len(ratios)}", markup=False)


def _row(result: Result, best: Result | None) -> tuple[str, ...]:
    over = "" if best is None else _with_se(compare.ratio(result, best))
    mark = " *" if result is best else ""
    se = "" if result.se is None else f"{result.se:.4f}"
    resets = f"{result.resets:.1f}" if is_lever(result.policy) else ""
    return (
        result.policy + mark,
        f"{result.mean:.4f}",
        se,
        f"{result.regret:.4f}",
        over,
        resets,
        f"{result.seconds:.1f}",
    )


def _with_se(found: Ratio) -> str:
    return f"{found.value:.2f}" + ("" if found.se is None else f" ± {found.se:.2f}")


def _overview(ratios: Sequence[Ratio]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    rows = [(r.problem, r.peer, _with_se(r), "behind" if r.above_one else "") for r in ratios]
    return ("problem", "toughest peer", "ratio ± se", "by more than 2 se"), rows


def emit(found: Sequence[Result], stale: int, seeds: Sequence[int]) -> None:
    """The JSON lines."""
    for result in found:
        report.emit(result.record())
    versions: Mapping[str, str | None] = {peer.package: peer.version for peer in PEERS.values()}
    resets = {r.problem: r.resets for r in found if r.policy == lever.NAME and r.resets}
    false = {name: mean for name, mean in resets.items() if not PROBLEMS[name].changes}
    facts = {
        "resets": resets,
        "false_resets": false,
        "seeds": list(seeds),
        "machine": report.machine(),
        "peers": versions,
    }
    report.emit(compare.summary(compare.ratios(found), stale) | facts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
