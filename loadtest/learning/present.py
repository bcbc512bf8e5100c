"""The results as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from loadtest.learning import compare, policies, verdict
from loadtest.learning.compare import Ratio, Result
from loadtest.learning.peers import PEERS
from loadtest.learning.policies import is_lever
from loadtest.learning.problems import drawn
from loadtest.learning.problems.table import PROBLEMS
from loadtest.learning.textbook import TEXTBOOK
from loadtest.learning.verdict import Vote
from loadtest.rig import report


def listing(out: Console) -> None:
    """What can be asked for."""
    rows = [(p.family, p.set, p.name, f"{p.rounds:,}", p.what) for p in PROBLEMS.values()]
    out.print(report.table("problems", ("family", "set", "name", "decisions", "what"), rows))
    versions = [(peer.name, peer.package, peer.version or "not installed") for peer in PEERS.values()]
    plain = [(name, "", "") for name in (*policies.own(), *TEXTBOOK)]
    out.print(report.table("policies", ("name", "package", "version"), [*plain, *versions]))
    out.print("Settings follow a colon: 'lever linucb:alpha=0.5,floor=0'", markup=False)


def problems(found: Sequence[Result], out: Console) -> None:
    """A table a problem; the verdict on the first of Lever's policies, a line for each."""
    for problem, group in compare.by_problem(found).items():
        best = compare.toughest(group)
        rows = [_row(result, best) for result in group]
        title = (
            f"{problem}: {PROBLEMS[problem].what}; oracle {group[0].mean('oracle'):.4f}, {len(group[0].runs)} seed(s)"
        )
        header = ("policy", "reward", "± se", "regret", "last quarter", "over toughest's", "support", "resets", "s/run")
        out.print(report.table(title, header, rows))
    for place, policy in enumerate(own(found)):
        ratios = compare.ratios(found, policy)
        if not ratios:
            continue
        if place == 0:
            out.print(report.table(f"{policy}: regret over that of the toughest peer", *_ratios(ratios)))
            out.print(report.table(f"{policy}: families", *_families(found, policy)))
        out.print(_line(policy, ratios), markup=False)


def worlds(found: Sequence[Result], out: Console) -> None:
    """How each of Lever's policies does on drawn worlds, and what the worst of them are."""
    rows = []
    for policy in own(found):
        for part, field in (("whole", "regret"), ("last quarter", "late")):
            spread = verdict.spread(compare.ratios(found, policy, field))
            if spread is not None:
                rows.append((policy, part, *(f"{value:.2f}" for value in spread)))
    header = ("policy", "", *(name.replace("_", " ") for name in verdict.Spread._fields))
    out.print(report.table("drawn worlds: regret over that of the toughest", header, rows))
    for seed, value in verdict.worst_worlds(found, own(found)[0]).items() if own(found) else ():
        out.print(f"{value:.2f} in world {seed}: {drawn.shape(seed).what}", markup=False)


def own(found: Sequence[Result]) -> list[str]:
    """Lever's policies among the results."""
    return [policy for policy in dict.fromkeys(r.policy for r in found) if is_lever(policy)]


def _row(result: Result, best: Result | None) -> tuple[str, ...]:
    over = "" if best is None else _with_se(compare.ratio(result, best))
    return (
        result.policy + (" *" if result is best else ""),
        f"{result.mean('mean'):.4f}",
        "" if result.se is None else f"{result.se:.4f}",
        f"{result.mean('regret'):.4f}",
        f"{result.mean('late'):.4f}",
        over,
        "" if result.support is None else f"{result.support:.2f}",
        f"{result.mean('resets'):.1f}" if is_lever(result.policy) else "",
        f"{result.mean('seconds'):.1f}",
    )


def _with_se(found: Ratio | Vote) -> str:
    return f"{found.value:.2f}" + ("" if found.se is None else f" ± {found.se:.2f}")


def _ratios(ratios: Sequence[Ratio]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    rows = [(r.problem, r.peer, _with_se(r), "behind" if r.above_one else "") for r in ratios]
    return ("problem", "toughest peer", "ratio ± se", "by more than 2 se"), rows


def _families(found: Sequence[Result], policy: str) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Those first on which the policy is behind."""
    whole, late = (verdict.votes(compare.ratios(found, policy, field)) for field in ("regret", "late"))
    order = sorted(whole, key=lambda family: not whole[family].behind)
    rows = [
        (family, _with_se(whole[family]), _with_se(late[family]), "behind" if whole[family].behind else "")
        for family in order
    ]
    return ("family", "ratio ± se", "last quarter", "by more than 2 se"), rows


def _line(policy: str, ratios: Sequence[Ratio]) -> str:
    mean, without = verdict.overall(ratios), verdict.overall(ratios, verdict.TUTORIAL)
    worst = max(ratios, key=lambda r: r.value)
    ahead = sum(r.value < 1.0 for r in ratios)
    means = ", ".join(
        f"{name} {value:.3f}"
        for name, value in (("families", mean), ("without tutorial", without))
        if value is not None
    )
    return f"{policy}: {means}; worst {worst.value:.2f} ({worst.problem}), ahead on {ahead} of {len(ratios)} problems"
