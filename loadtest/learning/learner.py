"""How a policy meets a world: it chooses for rounds in blocks and hears of rewards when they are known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

from loadtest.learning.problems.world import Floats, Ints, World, one_hot


class Agent(Protocol):
    """What learns in batches. x f8[n, d] with the constant first, arms i8[n], rewards f8[n] of usual size 1."""

    def choose(self, x: Floats) -> Ints:
        """Arms for n contexts, from what is known now."""

    def learn(self, x: Floats, arms: Ints, rewards: Floats) -> None:
        """Take in n outcomes."""


class Post:
    """Outcomes on their way: each is handed out once, in the first round after it is known."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._due: dict[int, list[int]] = {}
        self._next = 0

    def send(self, row: int, arm: int) -> None:
        """The arm was shown in this round."""
        delay = 0 if self._world.delay is None else int(self._world.delay[row, arm])
        self._due.setdefault(row + 1 + delay, []).append(row)

    def collect(self, now: int) -> list[int]:
        """The rounds whose outcomes have become known since the last call, before round `now` is chosen."""
        rows = [row for due in range(self._next, now + 1) for row in self._due.pop(due, ())]
        self._next = now + 1
        return rows


class Played(NamedTuple):
    """What was chosen in T rounds: arms i8[T]; of Lever the logged propensities f8[T], and how often it reset."""

    arms: Ints
    propensity: Floats | None = None
    resets: int = 0


def blocks(rounds: int, size: int, grow: float = 0.0) -> Iterator[tuple[int, int]]:
    """Half-open ranges of `size` rounds, or of the share `grow` of what lies before where that is more."""
    start = 0
    while start < rounds:
        end = min(start + max(size, int(grow * start)), rounds)
        yield start, end
        start = end


def play(world: World, agent: Agent, batch: int) -> Ints:
    """The arms an agent chooses, i8[T]: it learns what is known before each block of `batch` rounds."""
    x = one_hot(world.features, world.context)
    chosen = np.empty(world.rounds, np.int64)
    post = Post(world)
    for start, end in blocks(world.rounds, batch):
        rows = np.array(post.collect(start), np.int64)
        if len(rows):
            agent.learn(x[rows], chosen[rows], world.drawn[rows, chosen[rows]] / world.typical)
        chosen[start:end] = agent.choose(x[start:end])
        for row in range(start, end):
            post.send(row, int(chosen[row]))
    return chosen
