"""`python -m loadtest replay`: real logs of a fashion shop through the live gRPC server (docs/replay.md)."""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import grpc
import numpy as np
from rich.console import Console

from bandits.policy import POLICIES as KNOWN
from loadtest.replay import score
from loadtest.replay.dataset import ATTRIBUTION, CAMPAIGNS, DataError, Dataset, load
from loadtest.replay.effects import ITEM_GRIDS, grid
from loadtest.replay.matching import match, matched_record
from loadtest.replay.player import (
    CONTEXT_FREE,
    CONTEXTUAL,
    POLICIES,
    Played,
    PlayError,
    Tick,
    config,
    delete,
    explain,
    history_rate,
    play_batches,
    play_unary,
    put,
)
from loadtest.replay.score import Run
from loadtest.replay.world import World, build, implied, known
from loadtest.rig import report
from loadtest.rig.server import ServerError, server

BATCH_FROM = 100_000  # from so many decisions on, SelectBatch and StreamRewards


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser("python -m loadtest replay", description=__doc__)
    made.add_argument("--dataset", choices=list(CAMPAIGNS), default="obd-men")
    made.add_argument("--mode", choices=["world", "replay"], default="world")
    made.add_argument("--data", type=Path, help="own copy: a folder with random/ and bts/, or the wheel")
    made.add_argument("--decisions", type=_positive, default=50_000, help="visitors a seed (world mode)")
    made.add_argument("--seeds", type=_positive, default=1, help="repetitions with other visitors (world mode)")
    made.add_argument("--seed", type=int, default=1, help="the first seed")
    made.add_argument("--threads", type=_positive, default=4, help="concurrent callers of the unary mode")
    made.add_argument("--chunk", type=int, default=2000, help="visitors a SelectBatch (1 to 10,000)")
    made.add_argument("--settle", type=float, default=0.25, help="seconds between chunks for the server to learn")
    made.add_argument("--prior", choices=["history", "none"], default="history", help="start from the known click rate")
    made.add_argument("--policies", type=_policies, default=POLICIES, help="comma-separated; default: linucb,beta")
    made.add_argument("--fit", choices=list(ITEM_GRIDS), default="logged", help="item rates of the world")
    made.add_argument("--refit", action="store_true", help="choose the world's scales again (minutes)")
    made.add_argument("--target", help="host:port of a running server; default: start one")
    made.add_argument("--out", type=Path, help="folder for plots")
    made.add_argument("--json", action="store_true", help="one JSON line last on stdout")
    return made


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _policies(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in KNOWN:
            raise argparse.ArgumentTypeError(f"unknown policy {name!r}: some of {', '.join(KNOWN)}")
    return names


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 on success, 1 where data or server fail, 2 for wrong options."""
    options = parser().parse_args(arguments)
    out = report.console()
    if not 1 <= options.chunk <= 10_000:
        out.print("--chunk must be 1 to 10,000")
        return 2
    try:
        data = load(options.dataset, options.data)
        out.print(f"{options.dataset}: {len(data.item):,} rows, {data.items} items. Data: {ATTRIBUTION}")
        record = _world(options, data, out) if options.mode == "world" else _matching(options, data, out)
    except (DataError, ServerError, PlayError) as error:
        out.print(f"[red]{type(error).__name__}[/red]: {error}", markup=True)
        return 1
    except grpc.RpcError as error:
        out.print(f"the server refused a call: {explain(error)}", markup=False)
        return 1
    if options.json:
        report.emit(record)
    return 0


def _world(options: argparse.Namespace, data: Dataset, out: Console) -> dict[str, object]:
    if options.refit or not known(data):
        with report.progress(out) as bar:
            task = bar.add_task("fitting the world", total=len(grid(options.fit)))
            world = build(data, options.fit, options.refit, lambda: bar.advance(task))
    else:
        world = build(data, options.fit)
    describe(world, out)
    started = time.monotonic()
    with server(options.target) as address, report.progress(out) as bar:
        task = bar.add_task("visitors", total=options.decisions * options.seeds)
        runs = []
        for seed in range(options.seed, options.seed + options.seeds):
            played = _play(options, address, world, seed, lambda n: bar.advance(task, n))
            runs.append(score.score(world, seed, played))
    record = summarise(options.dataset, runs, time.monotonic() - started)
    fitted = {"fit": options.fit, "scales": world.scales._asdict(), "prior": options.prior}
    record |= {**fitted, "machine": report.machine()}
    show(runs, record, out)
    if options.out is not None:
        plot(options.out, options.dataset, runs)
        out.print(f"plots: {options.out}")
    return record


def describe(world: World, out: Console) -> None:
    """What the fit is and what it implies, before any policy is run on it."""
    limits = implied(world.rates)
    s = world.scales
    rows = [
        ("uniform", f"{limits.uniform:.5f}", ""),
        (
            f"best single item ({limits.best_item})",
            f"{limits.single:.5f}",
            report.percent(limits.single / limits.uniform - 1),
        ),
        ("oracle", f"{limits.oracle:.5f}", report.percent(limits.oracle / limits.uniform - 1)),
    ]
    out.print(f"fitted scales (logit): item {s.item}, context {s.context}, item x context {s.interaction}")
    out.print(report.table("what the world allows", ("choice", "click rate", "over uniform"), rows))


def _play(options: argparse.Namespace, address: str, world: World, seed: int, tick: Tick) -> dict[str, Played]:
    rate = history_rate(world.data) if options.prior == "history" else None
    tag = uuid.uuid4().hex[:8]
    names = {policy: f"replay-{options.dataset}-{policy}-{seed}-{tag}" for policy in options.policies}
    for policy, name in names.items():
        put(address, config(world.data, name, policy, rate))
    try:
        if options.decisions < BATCH_FROM:
            return play_unary(address, world, seed, names, options.decisions, options.threads, tick)
        return play_batches(address, world, seed, names, options.decisions, options.chunk, options.settle, tick)
    finally:
        for name in names.values():
            delete(address, name)


def summarise(dataset: str, runs: Sequence[Run], seconds: float) -> dict[str, object]:
    """The JSON line of the world mode; the first nine keys are for the better policy, means (counts: sums) over seeds."""
    best = score.better(runs)
    rate = score.mean([r.rate(best) for r in runs])
    uniform = score.mean([r.uniform_rate for r in runs])
    policies = {
        policy: {
            "reward_rate": score.mean([r.rate(policy) for r in runs]),
            "true_rate": score.mean([r.expected[policy] for r in runs]),
            "lift": score.mean([r.lift(policy) for r in runs]),
            "lift_interval": score.interval([r.lift(policy) for r in runs]),
            "true_lift": score.mean([r.expected_lift(policy) for r in runs]),
            "true_lift_interval": score.interval([r.expected_lift(policy) for r in runs]),
        }
        for policy in runs[0].clicked
    }
    return {
        "dataset": dataset,
        "mode": "world",
        "decisions": sum(r.visitors for r in runs),
        "rewards": sum(r.clicked[best] for r in runs),
        "policy_reward_rate": rate,
        "uniform_reward_rate": uniform,
        "oracle_reward_rate": score.mean([r.oracle_rate for r in runs]),
        "lift": rate / uniform - 1.0,
        "seconds": round(seconds, 3),
        "policy": best,
        "single_reward_rate": score.mean([r.single_rate for r in runs]),
        "seeds": [r.seed for r in runs],
        "overtakes": score.overtakes(runs) if score.compared(runs) else None,
        "ahead": score.mean(score.ahead(runs)) if score.compared(runs) else None,
        "ahead_interval": score.interval(score.ahead(runs)) if score.compared(runs) else None,
        "policies": policies,
    }


def show(runs: Sequence[Run], record: dict[str, object], out: Console) -> None:
    """The table for people."""
    rows = []
    for policy in runs[0].clicked:
        drawn, true = [r.lift(policy) for r in runs], [r.expected_lift(policy) for r in runs]
        rate = score.mean([r.rate(policy) for r in runs])
        clicks = str(sum(r.clicked[policy] for r in runs))
        lift = f"{report.percent(score.mean(true))}"
        interval = report.between(score.interval(true))
        rows.append((report.name(policy), clicks, f"{rate:.5f}", report.percent(score.mean(drawn)), lift, interval))
    uniform = score.mean([r.uniform_rate for r in runs])
    for name, value in (
        ("best single item", score.mean([r.single_rate for r in runs])),
        ("oracle", score.mean([r.oracle_rate for r in runs])),
    ):
        rows.append((name, "", f"{value:.5f}", "", report.percent(value / uniform - 1), ""))
    rows.append(("uniform", "", f"{uniform:.5f}", "", "", ""))
    title = f"{runs[0].visitors:,} visitors, {len(runs)} seed(s)"
    header = ("policy", "clicks", "click rate", "lift as drawn", "lift, true rates", "95 % over seeds")
    out.print(report.table(title, header, rows))
    if not score.compared(runs):
        return
    at, lead, spread = record["overtakes"], record["ahead"], score.interval(score.ahead(runs))
    text = f"contextual minus context-free at the end: {lead:+.1f} expected clicks"
    text += f" (95 % over seeds {spread[0]:+.1f} to {spread[1]:+.1f})" if spread else ""
    out.print(text + (f"; mean ahead for good after {at:,} visitors" if at else "; it does not overtake"))


def plot(folder: Path, dataset: str, runs: Sequence[Run]) -> None:
    """Learning curve and overtaking, as PNG files."""
    marks = runs[0].marks
    title = f"{dataset}, {runs[0].visitors:,} visitors, {len(runs)} seed(s)"
    uniform, oracle = np.stack([r.uniform_curve for r in runs]), np.stack([r.oracle_curve for r in runs])
    curves = {policy: np.stack([r.curves[policy] for r in runs]) for policy in runs[0].curves}
    report.plot_learning(folder / f"{dataset}-learning.png", title, marks, uniform, oracle, curves)
    if not score.compared(runs):
        return
    ahead = curves[CONTEXTUAL] - curves[CONTEXT_FREE]
    report.plot_overtaking(folder / f"{dataset}-overtaking.png", title, marks, ahead, score.overtakes(runs))


def _matching(options: argparse.Namespace, data: Dataset, out: Console) -> dict[str, object]:
    started = time.monotonic()
    with server(options.target) as address, report.progress(out) as bar:
        rows = int(data.uniform.sum())
        task = bar.add_task("logged rows", total=rows * len(options.policies))
        results = {p: match(address, data, p, options.prior, lambda n: bar.advance(task, n)) for p in options.policies}
    record = matched_record(options.dataset, data, results, time.monotonic() - started)
    record["machine"] = report.machine()
    lines = [
        (
            report.name(p),
            str(m.rows),
            str(m.clicks),
            f"{m.rate or 0:.5f}",
            f"{m.interval[0]:.5f} to {m.interval[1]:.5f}",
        )
        for p, m in results.items()
    ]
    header = ("policy", "rows matched", "clicks", "click rate", "95 % interval")
    out.print(report.table(f"replay by rejection, {rows:,} uniformly logged rows", header, lines))
    out.print("So few matched rows cannot tell a policy from the uniform choice: no lift is claimed.")
    return record


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
