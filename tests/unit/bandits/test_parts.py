"""Parts of kernels may be called from Python in any order: each is compiled by itself then."""

from __future__ import annotations

from bandits._jit import jit


@jit
def inner(x: float) -> float:
    return x + 1.0


@jit
def outer(x: float) -> float:
    return 2.0 * inner(x)


def test_a_part_of_a_part_can_be_called_after_it() -> None:
    outer.recompile()  # type: ignore[attr-defined]  # as where nothing is cached
    assert [outer(1.0), inner(1.0), outer(2.0), inner(2.0)] == [4.0, 2.0, 6.0, 3.0]
