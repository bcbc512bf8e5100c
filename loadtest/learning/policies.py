"""The policies by name: Lever's, other libraries', textbook ones; and how a run of each is played."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bandits.policy import POLICIES
from loadtest.learning import fast, lever, peers, textbook
from loadtest.learning.learner import Played
from loadtest.learning.problems.world import World
from loadtest.learning.textbook import TEXTBOOK

UNTRIED = ("auto", "uniform", "fixed")  # `lever` is auto; the other two do not learn
GROUPS = {"peers": tuple(peers.PEERS), "textbook": tuple(TEXTBOOK)}


@dataclass(frozen=True)
class How:
    """How a policy is played: blocks of `batch` decisions, or of the share `grow` of the run so far where that is more.

    fast: Lever without the service around it, then also `timeless` (fast.py). Other libraries do not grow.
    """

    batch: int = 20
    fast: bool = False
    grow: float = 0.0
    timeless: bool = False


def is_lever(policy: str) -> bool:
    """Whether a policy is ours."""
    return policy.split(" ", 1)[0] == lever.NAME


def own() -> list[str]:
    """Lever's policies."""
    return [lever.NAME, *(f"{lever.NAME} {name}" for name in POLICIES if name not in UNTRIED)]


def chosen(names: Sequence[str]) -> list[str]:
    """The policies to run, in order, without repeats. ValueError for a name that does not exist."""
    wanted: list[str] = []
    for name in names:
        if is_lever(name):
            lever.algorithm(name)
        elif name not in GROUPS and name not in peers.PEERS and name not in TEXTBOOK:
            raise ValueError(f"unknown policy {name!r}: see --list")
        wanted.extend(GROUPS.get(name, (name,)))
    return list(dict.fromkeys(wanted))


def play(policy: str, world: World, seed: int, how: How) -> Played:
    """One run."""
    if is_lever(policy):
        if how.fast:
            return fast.play(world, policy, seed, how.batch, how.grow, how.timeless)
        return lever.play(world, policy, seed, how.batch)
    if policy in TEXTBOOK:
        return Played(textbook.play(world, policy, seed, how.batch, how.grow))
    return Played(peers.play(peers.PEERS[policy], world, seed, how.batch))
