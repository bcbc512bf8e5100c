"""Means, ratios and the toughest peer; runs, their cache, and the command from end to end."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from loadtest.learning import compare, peers, policies, pool, runner, runs
from loadtest.learning.compare import Ratio
from loadtest.learning.learner import Played
from loadtest.learning.peers import PEERS, Peer
from loadtest.learning.policies import How
from loadtest.learning.problems import drawn, table
from loadtest.learning.problems.table import PROBLEMS
from loadtest.learning.problems.world import Ints, World
from loadtest.learning.runs import Run, Task, perform
from loadtest.learning.textbook import TEXTBOOK


def run(policy: str, seed: int, mean: float, error: str = "", problem: str = "news", late: float = 0.1) -> Run:
    return Run(problem, policy, seed, mean, 1.0, late, 0.9, (0.5, 1.0), 1.0, error, best=mean - 0.25)


RUNS = [
    run("lever", 1, 0.9), run("lever", 2, 0.7), run("vw squarecb", 1, 0.8), run("vw squarecb", 2, 0.6),
    run("mabwiser lints 1", 1, 0.5, late=0.05), run("mabwiser lints 1", 2, 0.5, late=0.05), run("vw cover 4", 1, 0.99),
    run("vw cover 4", 2, 0.0, "Boom: it broke"),
]  # fmt: skip


def test_results_are_means_over_all_seeds() -> None:
    found = {r.policy: r for r in compare.results(RUNS)}
    assert set(found) == {"lever", "vw squarecb", "mabwiser lints 1"}  # one run of cover failed
    mine = found["lever"]
    assert mine.record() == {
        "problem": "news", "family": "tutorial", "set": "tuning", "policy": "lever", "mean_reward": pytest.approx(0.8),
        "se": pytest.approx(0.1), "oracle": 1.0, "regret": pytest.approx(0.2), "late_regret": pytest.approx(0.1),
        "support": None, "found": 0.5,
    }  # fmt: skip
    alone = compare.results([run("lever", 1, 0.9)])
    assert alone[0].se is None


def test_the_ratio_is_to_the_toughest_peer_and_paired() -> None:
    (found,) = compare.ratios(compare.results(RUNS), "lever")
    assert found.peer == "vw squarecb"
    assert found.value == pytest.approx(2 / 3)
    # regrets (.1, .3) against (.2, .4): differences from 2/3 of the peer's are -+ 1/30; over the peer's mean .3
    assert found.se == pytest.approx(math.sqrt(2 * (1 / 30) ** 2 / 1 / 2) / 0.3)
    assert not found.above_one
    assert Ratio("p", "lever", "x", 1.3, 0.1).above_one
    assert not Ratio("p", "lever", "x", 1.3, 0.2).above_one
    assert not Ratio("p", "lever", "x", 1.3, None).above_one


def test_the_last_quarter_has_a_toughest_peer_of_its_own() -> None:
    (found,) = compare.ratios(compare.results(RUNS), "lever", "late")
    assert found.peer == "mabwiser lints 1"
    assert found.value == pytest.approx(2.0)


def test_regret_of_nothing_keeps_ratios_finite() -> None:
    perfect = compare.results([run("lever", 1, 1.0), run("vw squarecb", 1, 1.0)])
    assert compare.ratios(perfect, "lever")[0].value == 1.0
    better = compare.results([run("lever", 1, 0.91), run("vw squarecb", 1, 1.0)])
    assert compare.ratios(better, "lever")[0].value == pytest.approx(0.09 / 0.0009)  # a thousandth of what is at stake


def test_a_run_is_judged_by_expected_rewards() -> None:
    world = PROBLEMS["marketing"].world(1).cut(500)
    task = Task("marketing", "lever", 1, How())
    best = runs.judge(task, world, Played(world.expected.argmax(axis=1)), 1.0)
    assert (best.regret, best.late, best.curve[-1], best.best) == (0.0, 0.0, 0.0, 1.0)
    first = runs.judge(task, world, Played(np.zeros(500, np.int64)), 1.0)
    assert first.mean == world.expected[:, 0].mean()
    assert first.late == (world.expected.max(axis=1) - world.expected[:, 0])[375:].mean()
    assert first.best == (world.expected.argmax(axis=1) == 0)[375:].mean()
    assert first.stake == pytest.approx(world.oracle - world.expected.mean())
    assert first.curve[-1] == pytest.approx(500 * first.regret, abs=1e-5)
    assert len(first.curve) == runs.MARKS


def test_only_other_libraries_are_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def second(world: World, seed: int, batch: int) -> Ints:
        calls.append(batch)
        return np.ones(world.rounds, np.int64)

    table = {
        "slow": Peer("slow", "numpy", second, batches=False),
        "batched": Peer("batched", "numpy", second),
    }
    monkeypatch.setattr(peers, "PEERS", table)
    first = perform(Task("news", "slow", 1, How(20), tmp_path))
    assert first == perform(Task("news", "slow", 1, How(200), tmp_path))  # it learns one by one whatever is asked
    assert calls == [1]
    perform(Task("news", "slow", 2, How(20), tmp_path))
    perform(Task("news", "batched", 1, How(20), tmp_path))
    perform(Task("news", "batched", 1, How(200), tmp_path))
    perform(Task("news", "batched", 1, How(200), tmp_path))
    assert calls == [1, 1, 20, 200]
    perform(Task("news", "batched", 1, How(200), None))
    assert calls == [1, 1, 20, 200, 200]


def test_what_a_library_raises_is_reported() -> None:
    assert perform(Task("news", "no such peer", 1, How())).error == "KeyError: 'no such peer'"


def test_policies_are_chosen_by_name() -> None:
    assert policies.chosen(["lever", "peers", "lever"]) == ["lever", *PEERS]
    assert policies.chosen(["textbook"]) == list(TEXTBOOK)
    assert policies.own()[0] == "lever"
    assert {"lever linucb", "lever beta"} < set(policies.own())
    with pytest.raises(ValueError, match="unknown policy 'vv squarecb'"):
        policies.chosen(["vv squarecb"])


def made_of(*arguments: str) -> list[tuple[int, str, str]]:
    options = runner.parser().parse_args(arguments)
    return [(t.seed, t.problem, t.policy) for t in runner.tasks(options, ["lever", "x"], Console(quiet=True))]


def test_tasks_are_interleaved() -> None:
    assert made_of("--problems", "news", "arms-100", "--seeds", "2") == [
        (1, "news", "lever"), (1, "news", "x"), (1, "arms-100", "lever"), (1, "arms-100", "x"),
        (2, "news", "lever"), (2, "news", "x"), (2, "arms-100", "lever"), (2, "arms-100", "x"),
    ]  # fmt: skip


def test_a_set_brings_its_own_problems_and_seeds() -> None:
    tuned = made_of("--set", "tuning", "--families", "no context", "--seeds", "1")
    assert tuned == [(1, "no-context", "lever"), (1, "no-context", "x")]
    told = made_of("--families", "no context", "--seeds", "1")
    assert {(seed, problem) for seed, problem, _ in told} == {(1001, "one-and-two"), (1001, "twenty")}
    everything = made_of("--set", "all", "--families", "no context", "--quick")
    assert {(seed, problem) for seed, problem, _ in everything} == {
        (seed, name) for seed in (1001, 1002) for name in ("no-context", "one-and-two", "twenty")
    }
    assert {(seed, problem) for seed, problem, _ in made_of("--drawn", "2")} == {(1001, "drawn"), (1002, "drawn")}


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="the plot")
    arguments = [
        "--problems",
        "news",
        "--policies",
        "lever beta",
        "lever nig",
        "--seeds",
        "2",
        "--first-seed",
        "3",
        "--json",
    ]
    assert runner.main([*arguments, "--processes", "1", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    *lines, last = [json.loads(line) for line in printed.out.splitlines()]
    assert [(line["problem"], line["policy"]) for line in lines] == [("news", "lever beta"), ("news", "lever nig")]
    assert all(0.0 < line["support"] <= 1.0 for line in lines)
    assert (last["geometric_mean_ratio"], last["stale"], last["seeds"]) == (None, 20, [3, 4])  # no peer was asked
    assert (last["set"], last["late"]["median"]) == ("tuning", None)
    assert (tmp_path / "learning-20.png").stat().st_size > 1_000
    assert "news" in printed.err


def test_the_command_gives_families_and_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--problems", "one-and-two", "--policies", "lever", "textbook", "--seeds", "3", "--processes", "1"]
    assert runner.main([*arguments, "--fast", "--timeless", "--grow", "0.05", "--json"]) == 0
    *_, family, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (family["family"], family["policy"], family["set"]) == ("no context", "lever", "reporting")
    assert family["problems"] == ["one-and-two"]
    assert family["ratio"] == pytest.approx(last["geometric_mean_ratio"]) == pytest.approx(last["median"])
    assert last["ratios"]["one-and-two"]["peer"] in TEXTBOOK


def test_the_command_draws_worlds(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    small = functools.partial(lambda real, seed: real(seed).cut(300), drawn.world)
    monkeypatch.setattr(drawn, "world", small)
    table.lay_out.cache_clear()
    arguments = [
        "--drawn",
        "2",
        "--set",
        "tuning",
        "--policies",
        "lever linucb",
        "textbook",
        "--processes",
        "1",
        "--json",
    ]
    assert runner.main(arguments) == 0
    table.lay_out.cache_clear()
    *lines, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["world"] for line in lines if line["policy"] == "lever linucb"] == [1, 2]
    assert {line["set"] for line in lines} == {"tuning"}
    assert last["drawn"] == 2
    assert last["ratio"]["worst"] == max(last["worst_worlds"].values())
    assert set(last["late"]) == {"geometric_mean", "median", "p90", "worst"}


def test_workers_answer_in_the_order_of_the_tasks() -> None:
    wanted = [Task("news", f"none {i}", 1, How()) for i in range(5)]
    made = pool.perform_all(wanted, 2, Console(quiet=True))
    assert [run.error for run in made] == [f"KeyError: 'none {i}'" for i in range(5)]


def test_wrong_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(["--policies", "levver"]) == 2
    assert runner.main(["--policies", "lever", "--stale", "0"]) == 2
    assert runner.main(["--policies", "lever", "--grow", "0.1"]) == 2
    assert runner.main(["--drawn", "2", "--problems", "news"]) == 2
    assert "levver" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(PEERS))
def test_peers_learn(name: str) -> None:
    """A certain click in one of seven: 1/7 without learning. regcbopt and cover learn slowly."""
    peer = PEERS[name]
    if peer.version is None:
        pytest.skip(f"{peer.package} is in the dependency group peers")
    world = PROBLEMS["news"].world(1).cut(1_500)
    chosen = peers.play(peer, world, 1, 20)
    assert chosen.shape == (1_500,)
    assert world.expected[np.arange(1_000, 1_500), chosen[1_000:]].mean() > 0.2
