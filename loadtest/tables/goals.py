"""The goals of docs/performance.md beside one run of each command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loadtest.tables.numbers import Numbers, table

LINUCB, BETA, LINTS = NAMES = ("linucb", "beta", "lints")


def goals(numbers: Numbers) -> str:
    """Every goal, what was seen, and whether that meets it."""
    calls, kernels = _of_calls(numbers["rpc"]), _of_kernels(numbers["kernels"])
    rest = [*_of_rewards(numbers["rpc"]), *_of_growth(numbers["scale"])]
    return table("what | goal | seen | ", [*calls, *kernels, *rest])


def _goal(what: str, aims: str, seen: str, *met: bool) -> list[str]:
    """A row; `met` is of each aim in turn."""
    words = ["met" if one else "not met" for one in met]
    return [what, aims, seen, ", ".join(words if len(set(words)) > 1 else words[:1])]


def _of_calls(rpc: Any) -> list[list[str]]:
    cpu, p99, batch, us = (
        {name: rpc[f"{figure}_{name}"] for name in NAMES} for figure in ("cpu_ratio", "p99_ratio", "batch_decisions_per_s", "batch_cpu_us")
    )  # fmt: skip
    aio, uvloop = (rpc["select_rps"] / rpc[f"{name}_rps"] for name in ("aio_echo", "uvloop_echo"))
    empty = f"{rpc['select_rps']:,.0f} beside {rpc['aio_echo_rps']:,.0f} and {rpc['uvloop_echo_rps']:,.0f}; empty sync {rpc['echo_rps']:,.0f}"
    beside = f"{rpc['cpu_us_linucb']:.0f} us beside {rpc['echo_cpu_us']:.0f}"
    tail = f"{rpc['select_p99_ms']:.1f} ms beside {rpc['echo_p99_ms']:.1f}"
    own = ", ".join(f"{rpc[f'own_half_p99_ms_{name}']:.1f}" for name in NAMES)
    return [
        _goal("CPU per Select / empty sync call, LinUCB", "0.75", f"{cpu[LINUCB]:.2f} with rewards and flushes, {beside}", cpu[LINUCB] <= 0.75),
        _goal("the same, Beta", "0.75", f"{cpu[BETA]:.2f}", cpu[BETA] <= 0.75),
        _goal("the same, linear Thompson", "1.35", f"{cpu[LINTS]:.2f}", cpu[LINTS] <= 1.35),
        _goal("Select a second / empty aio, uvloop", "1.15, 1.0", f"{aio:.2f}, {uvloop:.2f} ({empty})", aio >= 1.15, uvloop >= 1.0),
        _goal(
            "p99 at half load / empty call's, beside a batch of 10,000 each second", "1.5",
            f"{p99[LINUCB]:.2f} ({tail}); Beta {p99[BETA]:.2f}, linear Thompson {p99[LINTS]:.2f}; at half of its own capacity {own} ms", *(each <= 1.5 for each in p99.values()),
        ),
        _goal(
            "SelectBatch, LinUCB and Beta, decisions a second", "100,000",
            f"{batch[LINUCB]:,.0f} and {batch[BETA]:,.0f}; {us[LINUCB]:.1f} and {us[BETA]:.1f} us CPU each", batch[LINUCB] >= 1e5, batch[BETA] >= 1e5,
        ),
        _goal(
            "SelectBatch, linear Thompson", "150,000",
            f"{batch[LINTS]:,.0f}, {us[LINTS]:.1f} us CPU each: {us[LINTS] / us[LINUCB]:.1f} times LinUCB's", batch[LINTS] >= 1.5e5,
        ),
    ]  # fmt: skip


def _of_kernels(kernels: Any) -> list[list[str]]:
    us = {(row["K"], row["d"], row["what"]): row["median_us"] for row in kernels["rows"]}
    call, batch = (us[3, 26, f"linucb decide{how}"] for how in ("", ", in a batch"))
    bare = us[3, 26, "numpy decide"]
    one, many = (us[10, 16, f"linucb decide{how}"] for how in ("", ", in a batch"))
    others = [us[10, 16, f"{name} decide"] for name in ("vowpalwabbit", "mabwiser")]
    batched, called = ([other / mine for other in others] for mine in (many, one))
    trial, reward = kernels["fold_trial_us"], kernels["fold_reward_us"]
    dense = f"dense features: {kernels['fold_trial_dense_us']:.3f} and {kernels['fold_reward_dense_us']:.3f}"
    return [
        _goal(
            "decide / bare NumPy at (3,26), call and batch", "5, 15",
            f"{bare / call:.1f} and {bare / batch:.0f} ({call:.2f} and {batch:.2f} us beside {bare:.1f})", bare / call >= 5, bare / batch >= 15,
        ),
        _goal(
            "decide at (10,16) / Vowpal Wabbit, MABWiser, each of a batch", "20, 50",
            f"{batched[0]:.0f} and {batched[1]:.0f} ({many:.2f} us beside {others[0]:.1f} and {others[1]:.0f})", batched[0] >= 20, batched[1] >= 50,
        ),
        _goal("the same, a call; see the floor below", "20, 50", f"{called[0]:.0f} and {called[1]:.0f} ({one:.2f} us)", called[0] >= 20, called[1] >= 50),
        _goal("adding a trial at d = 16, or a reward, to the state", "0.3, 0.05 us", f"{trial:.3f} and {reward:.3f} ({dense})", trial <= 0.3, reward <= 0.05),
    ]  # fmt: skip


def _of_rewards(rpc: Any) -> list[list[str]]:
    single, tail = rpc["single_reward_rps"], rpc["single_reward_p99_ms"]
    streamed = f"{rpc['reward_rps']:,.0f}; floor (the script driven bare) {rpc['reward_floor_rps']:,.0f}"
    start, again, fresh = rpc["start_cpu_s"], rpc["start_warm_s"], rpc["freshness_p99_ms"]
    return [
        _goal("rewards through StreamRewards a second", "10,000", streamed, rpc["reward_rps"] >= 10_000),
        _goal(
            "rewards one a call, a second, worker and store on one core",
            "8,000",
            f"{single:,.0f}, p99 {tail:.1f} ms at half of that",
            single >= 8000,
        ),
        _goal(
            "a first start, CPU of all processes, and seconds of the next",
            "20 s, 5 s",
            f"{start:.1f} and {again:.1f}",
            start <= 20,
            again <= 5,
        ),
        _goal(
            "from acknowledged reward to changed choices, p99",
            "300 ms",
            f"{fresh:.0f} ms, without load beside it",
            fresh <= 300,
        ),
    ]


def _of_growth(scale: Any) -> list[list[str]]:
    def row(what: str, costs: Sequence[float], sizes: str) -> list[str]:
        return _goal(
            what,
            "flat in 10 %",
            f"{', '.join(f'{cost:.1f}' for cost in costs)} us at {sizes}",
            costs[-1] <= 1.1 * costs[0],
        )

    experiments, sizes = scale["experiments"], "1, 10, 100, 1,000"
    return [
        row(
            "cost as history grows 1,000x",
            [one["select_us"] for one in scale["history"]],
            "10^4, 10^5, 10^6, 10^7 rows",
        ),
        row(
            "cost of one as experiments grow 1,000x",
            [one.get("same_us", one["select_us"]) for one in experiments],
            sizes,
        ),
        row("the same, all asked in turn", [one["select_us"] for one in experiments], sizes),
    ]
